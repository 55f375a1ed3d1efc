//! `cargo xtask demo`: the whole network on one machine. Builds everything, starts the simulated field, the ingestor with
//! its embedded broker and one gateway per base as separate programs, plays the incidents and tells what happens.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::api::Api;
use crate::setup;
use crate::stage::Stage;

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
    let bin = setup::programs(options.release)?;
    let stage = Stage::open(&options.directory, bin)?;
    let mut show = Show { options, api: Api::new(&options.listen), stage };
    let outcome = show.play();
    eprintln!("\nstopping …");
    drop(show);
    eprintln!(
        "stopped; the data stays in {} and the next start goes on with it",
        options.directory.display()
    );
    outcome
}

struct Show<'a> {
    options: &'a Options,
    api: Api,
    stage: Stage,
}

impl Show<'_> {
    fn play(&mut self) -> Result<()> {
        let field = self.options.directory.join("field");
        eprintln!("[3/4] simulated field: Modbus TCP servers and serial lines");
        let gateways = self.start_field(&field)?;
        eprintln!("[4/4] ingestor with embedded broker, {} gateways", gateways.len());
        self.start_ingestor()?;
        for gateway in &gateways {
            self.start_gateway(&field, gateway)?;
        }
        let Self { api, stage, .. } = self;
        stage.wait_until("all gateways online", Duration::from_secs(60), || {
            online(api) >= gateways.len() as u64
        })?;
        println!("\n  Sitian is running: open  http://{}/\n", self.options.listen);
        println!("  logs in {}/logs, Ctrl-C ends everything cleanly", self.options.directory.display());
        self.watch(&field)
    }

    fn start_field(&mut self, field: &Path) -> Result<Vec<String>> {
        let port = self.options.field_port.to_string();
        let seed = self.options.seed.to_string();
        let mut command = self.stage.program("sitian-simulator");
        command.arg("run").arg("--directory").arg(field);
        command.args([
            "--port",
            &port,
            "--seed",
            &seed,
            "--mqtt",
            &self.options.mqtt,
            "--incidents",
            "--season",
            SEASON,
        ]);
        let ready = field.join("ready.json");
        let _ = std::fs::remove_file(&ready);
        self.stage.start("field", command)?;
        self.stage.wait_until("field ready", Duration::from_secs(30), || ready.exists())?;
        let text = std::fs::read_to_string(&ready).context("failed to read what the field is made of")?;
        let parsed: Value =
            serde_json::from_str(&text).context("failed to read what the field is made of")?;
        let names =
            parsed["gateways"].as_array().into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned));
        Ok(names.collect())
    }

    fn start_ingestor(&mut self) -> Result<()> {
        let storage = self.options.directory.join("sitian.db");
        let mut command = self.stage.program("sitian-ingestor");
        command.arg("run");
        for setting in [
            format!("http.listen={}", self.options.listen),
            format!("broker.listen={}", self.options.mqtt),
            format!("storage.path={}", std::path::absolute(storage)?.display()),
            "alert.start_grace_s=20".to_owned(),
        ] {
            command.args(["--set", &setting]);
        }
        self.stage.start("ingestor", command)?;
        let Self { api, stage, .. } = self;
        stage.wait_until("ingestor answering", Duration::from_secs(30), || api.get("health").is_ok())
    }

    fn start_gateway(&mut self, field: &Path, gateway: &str) -> Result<()> {
        let mut command = self.stage.program("sitian-gateway");
        command.arg("run").arg("--config").arg(field.join(format!("{gateway}.toml")));
        self.stage.start(gateway, command)?;
        Ok(())
    }

    /// Tells the alerts as they come and switches one gateway off and on, until Ctrl-C.
    fn watch(&mut self, field: &Path) -> Result<()> {
        let start = Instant::now();
        let mut told = BTreeSet::new();
        let mut dark = false;
        loop {
            self.stage.check()?;
            if self.stage.stopped() {
                return Ok(());
            }
            let at = start.elapsed().as_secs();
            if self.options.seconds > 0 && at >= self.options.seconds {
                return Ok(());
            }
            let wanted = (DARK.1..DARK.1 + DARK.2).contains(&(at % ACT_S));
            if wanted && !dark {
                println!("  {at:>4} s  incident: gateway {} loses power", DARK.0);
                self.stage.kill(DARK.0)?;
            } else if dark && !wanted {
                println!("  {at:>4} s  incident ends: gateway {} has power again", DARK.0);
                self.start_gateway(field, DARK.0)?;
            }
            dark = wanted;
            self.tell_alerts(at, &mut told);
            std::thread::park_timeout(Duration::from_millis(500));
        }
    }

    /// Tells what has changed since it was last asked; at the very start, what is stored from before is no news.
    fn tell_alerts(&self, at: u64, told: &mut BTreeSet<String>) {
        let Ok(answer) = self.api.get("alerts?limit=50") else { return };
        for alert in answer["items"].as_array().into_iter().flatten().rev() {
            let text = |pointer: &str| alert.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            let line = format!(
                "{:8} {:6} {} · {} · {}",
                text("/phase"),
                text("/severity"),
                text("/base/name/zh"),
                text("/subject/name/zh"),
                text("/rule_name/zh")
            );
            let news = told.insert(format!("{} {line}", alert["id"]));
            if news && at > 0 && text("/phase") != "pending" {
                println!("  {at:>4} s  {line}");
            }
        }
    }
}

fn online(api: &Api) -> u64 {
    let city = api.get("rollups?scope=zhangye&depth=0").ok();
    city.and_then(|answer| answer.pointer("/items/0/gateways_online")?.as_u64()).unwrap_or(0)
}
