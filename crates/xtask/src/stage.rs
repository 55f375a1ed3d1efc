//! Programs that run together: each with its log in one folder, watched while they run, ended together whatever
//! happens. Knows processes and signals; not what the programs are for.

use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How long a program may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(10);
/// Lines of a log that are shown when its program ended by itself.
const TAIL_LINES: usize = 8;

struct Program {
    name: String,
    child: Child,
}

/// Running programs; dropping the stage ends them.
pub struct Stage {
    logs: PathBuf,
    bin: PathBuf,
    programs: Vec<Program>,
    stop: Arc<AtomicBool>,
}

impl Stage {
    /// A stage for the programs in `bin`, with its logs in `<folder>/logs`; Ctrl-C and SIGTERM set [`Stage::stopped`].
    pub fn open(folder: &Path, bin: PathBuf) -> Result<Self> {
        let logs = folder.join("logs");
        std::fs::create_dir_all(&logs).with_context(|| format!("failed to make {}", logs.display()))?;
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
            signal_hook::flag::register(signal, stop.clone()).context("failed to listen for Ctrl-C")?;
        }
        Ok(Self { logs, bin, programs: Vec::new(), stop })
    }

    /// Whether somebody asked for the end.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// A command for one of our programs.
    pub fn program(&self, name: &str) -> Command {
        Command::new(self.bin.join(name))
    }

    /// Starts a program under a name that is also its log's; returns its process id.
    pub fn start(&mut self, name: &str, mut command: Command) -> Result<u32> {
        let log_path = self.log(name);
        let log =
            File::create(&log_path).with_context(|| format!("failed to make {}", log_path.display()))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        // Ctrl-C reaches the stage alone, which then ends its programs in order.
        command.process_group(0);
        let child = command.spawn().with_context(|| format!("failed to start {name}"))?;
        let id = child.id();
        self.programs.push(Program { name: name.to_owned(), child });
        Ok(id)
    }

    /// Waits until `done`; an error if a program ends, somebody asks for the end, or it takes longer than `most`.
    pub fn wait_until(&mut self, what: &str, most: Duration, done: impl Fn() -> bool) -> Result<()> {
        let start = Instant::now();
        while !done() {
            self.check()?;
            if self.stopped() {
                bail!("stopped before: {what}");
            }
            if start.elapsed() > most {
                bail!("waited {} s for: {what}; see {}", most.as_secs(), self.logs.display());
            }
            std::thread::park_timeout(Duration::from_millis(100));
        }
        Ok(())
    }

    /// An error with the end of the log if a program ended by itself.
    pub fn check(&mut self) -> Result<()> {
        for program in &mut self.programs {
            if let Some(status) = program.child.try_wait()? {
                let name = program.name.clone();
                let text = std::fs::read_to_string(self.log(&name)).unwrap_or_default();
                let lines: Vec<&str> = text.lines().collect();
                let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
                bail!("{name} ended with {status}:\n{}", tail.join("\n"));
            }
        }
        Ok(())
    }

    /// Kills one program without a warning, as a power cut would.
    pub fn kill(&mut self, name: &str) -> Result<()> {
        let Some(position) = self.programs.iter().position(|program| program.name == name) else {
            return Ok(());
        };
        let mut program = self.programs.remove(position);
        program.child.kill()?;
        program.child.wait()?;
        Ok(())
    }

    fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }
}

impl Drop for Stage {
    /// Asks every program to end, the last started first, and waits for each before it insists.
    fn drop(&mut self) {
        for program in self.programs.iter_mut().rev() {
            let asked = Command::new("kill").args(["-TERM", &program.child.id().to_string()]).status();
            let until = Instant::now() + PATIENCE;
            while asked.as_ref().is_ok_and(|s| s.success()) && Instant::now() < until {
                if !matches!(program.child.try_wait(), Ok(None)) {
                    break;
                }
                std::thread::park_timeout(Duration::from_millis(20));
            }
            if matches!(program.child.try_wait(), Ok(None)) {
                eprintln!("  {} did not end in {} s and was killed", program.name, PATIENCE.as_secs());
                let _ = program.child.kill();
                let _ = program.child.wait();
            }
        }
    }
}
