//! `cargo xtask demo`: the whole network on one machine. Builds everything, starts the simulated field, the ingestor with
//! its embedded broker and one gateway per base as separate programs, plays the incidents and tells what happens.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::setup;

/// How the demonstration runs.
#[derive(clap::Args)]
pub struct Options {
    /// Where the demonstration keeps its data; a second start goes on with it.
    #[arg(long, default_value = "target/demo")]
    directory: PathBuf,
    /// Address of the console and the API.
    #[arg(long, default_value = "127.0.0.1:8340")]
    listen: String,
    /// Address of the embedded MQTT broker.
    #[arg(long, default_value = "127.0.0.1:18830")]
    mqtt: String,
    /// First port of the simulated Modbus TCP servers.
    #[arg(long, default_value_t = 15020)]
    field_port: u16,
    /// Seed of the simulated field.
    #[arg(long, default_value_t = 7)]
    seed: u64,
    /// Stop by itself after so many seconds (0: run until Ctrl-C).
    #[arg(long, default_value_t = 0)]
    seconds: u64,
    /// Use optimised programs (slower to build, for measuring).
    #[arg(long)]
    release: bool,
}

/// The gateway that goes dark, when, and for how long, in seconds of each 15-minute act.
const DARK: (&str, u64, u64) = ("liaoquan-01", 60, 150);
const ACT_S: u64 = 900;
/// The demonstration plays in the middle of September, when a frost night is news.
const SEASON: &str = "258";

/// Runs the demonstration until Ctrl-C.
pub fn run(options: &Options) -> Result<()> {
    eprintln!("[1/4] console: npm packages and build");
    setup::console()?;
    eprintln!("[2/4] programs: cargo build (the first time takes some minutes)");
    let bin = setup::programs(&["sitian-ingestor", "sitian-gateway", "sitian-simulator"], options.release)?;
    let stop = stop_flag()?;
    let mut stage = Stage { options, bin, programs: Vec::new(), stop };
    let outcome = stage.play();
    eprintln!("\nstopping …");
    stage.end();
    eprintln!("stopped; the data stays in {} and the next start goes on with it", options.directory.display());
    outcome
}

fn stop_flag() -> Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, stop.clone()).context("failed to listen for Ctrl-C")?;
    }
    Ok(stop)
}

struct Program {
    name: String,
    child: Child,
}

struct Stage<'a> {
    options: &'a Options,
    bin: PathBuf,
    programs: Vec<Program>,
    stop: Arc<AtomicBool>,
}

impl Stage<'_> {
    fn play(&mut self) -> Result<()> {
        let field = self.options.directory.join("field");
        std::fs::create_dir_all(self.options.directory.join("logs")).context("failed to make the log folder")?;
        eprintln!("[3/4] simulated field: Modbus TCP servers and one RS-485 line");
        let gateways = self.start_field(&field)?;
        eprintln!("[4/4] ingestor with embedded broker, {} gateways", gateways.len());
        self.start_ingestor()?;
        for gateway in &gateways {
            self.start_gateway(&field, gateway)?;
        }
        self.wait_until("all gateways online", Duration::from_secs(60), |stage| stage.online() >= gateways.len() as u64)?;
        println!("\n  Sitian is running: open  http://{}/\n", self.options.listen);
        println!("  logs in {}/logs, Ctrl-C ends everything cleanly", self.options.directory.display());
        self.watch(&field)
    }

    fn start_field(&mut self, field: &Path) -> Result<Vec<String>> {
        let port = self.options.field_port.to_string();
        let seed = self.options.seed.to_string();
        let mut command = self.program("sitian-simulator");
        command.arg("run").arg("--directory").arg(field);
        command.args(["--port", &port, "--seed", &seed, "--mqtt", &self.options.mqtt, "--incidents", "--season", SEASON]);
        let ready = field.join("ready.json");
        let _ = std::fs::remove_file(&ready);
        self.start("field", command)?;
        self.wait_until("field ready", Duration::from_secs(30), |_| ready.exists())?;
        let text = std::fs::read_to_string(&ready).context("failed to read what the field is made of")?;
        let parsed: Value = serde_json::from_str(&text).context("failed to read what the field is made of")?;
        let names = parsed["gateways"].as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned));
        Ok(names.collect())
    }

    fn start_ingestor(&mut self) -> Result<()> {
        let storage = self.options.directory.join("sitian.db");
        let mut command = self.program("sitian-ingestor");
        command.arg("run");
        for setting in [
            format!("http.listen={}", self.options.listen),
            format!("mqtt.listen={}", self.options.mqtt),
            format!("storage.path={}", std::path::absolute(storage)?.display()),
            "alert.start_grace_s=20".to_owned(),
        ] {
            command.args(["--set", &setting]);
        }
        self.start("ingestor", command)?;
        self.wait_until("ingestor answering", Duration::from_secs(30), |stage| stage.get("health").is_some())
    }

    fn start_gateway(&mut self, field: &Path, gateway: &str) -> Result<()> {
        let mut command = self.program("sitian-gateway");
        command.arg("run").arg("--config").arg(field.join(format!("{gateway}.toml")));
        self.start(gateway, command)
    }

    fn program(&self, name: &str) -> Command {
        Command::new(self.bin.join(name))
    }

    fn start(&mut self, name: &str, mut command: Command) -> Result<()> {
        let log_path = self.options.directory.join(format!("logs/{name}.log"));
        let log = File::create(&log_path).with_context(|| format!("failed to make {}", log_path.display()))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("failed to start {name}"))?;
        self.programs.push(Program { name: name.to_owned(), child });
        Ok(())
    }

    fn wait_until(&mut self, what: &str, most: Duration, done: impl Fn(&Self) -> bool) -> Result<()> {
        let start = Instant::now();
        while !done(self) {
            self.check_programs()?;
            if self.stop.load(Ordering::Relaxed) {
                bail!("stopped before: {what}");
            }
            if start.elapsed() > most {
                bail!("waited {} s for: {what}; see {}/logs", most.as_secs(), self.options.directory.display());
            }
            std::thread::park_timeout(Duration::from_millis(100));
        }
        Ok(())
    }

    fn check_programs(&mut self) -> Result<()> {
        for program in &mut self.programs {
            if let Some(status) = program.child.try_wait()? {
                let log = self.options.directory.join(format!("logs/{}.log", program.name));
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                let tail: Vec<&str> = text.lines().rev().take(8).collect();
                let tail: Vec<&str> = tail.into_iter().rev().collect();
                bail!("{} ended with {status}:\n{}", program.name, tail.join("\n"));
            }
        }
        Ok(())
    }

    /// Tells the alerts as they come and switches one gateway off and on, until Ctrl-C.
    fn watch(&mut self, field: &Path) -> Result<()> {
        let start = Instant::now();
        let mut told = BTreeSet::new();
        let mut dark = false;
        loop {
            self.check_programs()?;
            if self.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let at = start.elapsed().as_secs();
            if self.options.seconds > 0 && at >= self.options.seconds {
                return Ok(());
            }
            let wanted = (DARK.1..DARK.1 + DARK.2).contains(&(at % ACT_S));
            if wanted && !dark {
                println!("  {at:>4} s  incident: gateway {} loses power", DARK.0);
                self.kill(DARK.0)?;
            } else if dark && !wanted {
                println!("  {at:>4} s  incident ends: gateway {} has power again", DARK.0);
                self.start_gateway(field, DARK.0)?;
            }
            dark = wanted;
            self.tell_alerts(at, &mut told);
            std::thread::park_timeout(Duration::from_millis(500));
        }
    }

    fn kill(&mut self, name: &str) -> Result<()> {
        let Some(position) = self.programs.iter().position(|program| program.name == name) else { return Ok(()) };
        let mut program = self.programs.remove(position);
        program.child.kill()?;
        program.child.wait()?;
        Ok(())
    }

    fn tell_alerts(&self, at: u64, told: &mut BTreeSet<String>) {
        let Some(answer) = self.get("alerts?limit=50") else { return };
        for alert in answer["items"].as_array().into_iter().flatten().rev() {
            let text = |pointer: &str| alert.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            let line = format!(
                "{:8} {:6} {} · {} · {}",
                text("/phase"),
                text("/severity"),
                text("/base/name/zh"),
                text("/subject/name"),
                text("/rule_name/zh")
            );
            if told.insert(format!("{} {line}", alert["id"])) {
                println!("  {at:>4} s  {line}");
            }
        }
    }

    fn online(&self) -> u64 {
        let city = self.get("rollups?scope=zhangye&depth=0");
        city.and_then(|answer| answer.pointer("/items/0/gateways_online")?.as_u64()).unwrap_or(0)
    }

    fn get(&self, path: &str) -> Option<Value> {
        let url = format!("http://{}/api/v1/{path}", self.options.listen);
        let text = ureq::get(&url).call().ok()?.body_mut().read_to_string().ok()?;
        serde_json::from_str(&text).ok()
    }

    /// Asks every program to end, gateways first, and waits up to 10 s before it insists.
    fn end(&mut self) {
        for program in self.programs.iter_mut().rev() {
            let asked = Command::new("kill").args(["-TERM", &program.child.id().to_string()]).status();
            let until = Instant::now() + Duration::from_secs(10);
            while asked.as_ref().is_ok_and(|s| s.success()) && Instant::now() < until {
                if !matches!(program.child.try_wait(), Ok(None)) {
                    break;
                }
                std::thread::park_timeout(Duration::from_millis(20));
            }
            if matches!(program.child.try_wait(), Ok(None)) {
                eprintln!("  {} did not end in 10 s and was killed", program.name);
                let _ = program.child.kill();
            }
        }
    }
}
