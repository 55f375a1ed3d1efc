//! One process: started, watched through its log, ended politely or by `kill -9`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

/// A running process whose output goes to a file. It is killed when dropped.
pub struct Program {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts `command`; its output is appended to `<folder>/<name>.log`.
    pub fn start(folder: &Path, name: &str, command: &mut Command) -> Self {
        let log = folder.join(format!("{name}.log"));
        let out = File::options().create(true).append(true).open(&log).expect("a log file in a fresh folder");
        let err = out.try_clone().expect("a second handle");
        let child = command.stdin(Stdio::piped()).stdout(out).stderr(err).spawn();
        let child = child.unwrap_or_else(|e| panic!("{name} does not start ({command:?}): {e}"));
        Self { name: name.to_owned(), child, log }
    }

    /// The process's standard input.
    pub fn stdin(&mut self) -> &mut ChildStdin {
        self.child.stdin.as_mut().expect("piped")
    }

    /// Everything it has printed so far.
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until it has printed `text`.
    pub fn wait_for_output(&mut self, text: &str) {
        let what = format!("{} printing {text:?}", self.name);
        crate::wait_for(&what, 20, || {
            self.expect_alive();
            self.output().contains(text).then_some(())
        });
    }

    /// Panics with the end of its output if it has ended.
    pub fn expect_alive(&mut self) {
        if let Ok(Some(status)) = self.child.try_wait() {
            panic!("{} ended with {status}:\n{}", self.name, self.last_output());
        }
    }

    /// The last lines it has printed.
    pub fn last_output(&self) -> String {
        let output = self.output();
        let last: Vec<&str> = output.lines().rev().take(40).collect();
        last.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    /// Whether it has ended by itself.
    pub fn is_over(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// Sends it a signal, such as `STOP`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status();
        assert!(sent.is_ok_and(|status| status.success()), "{} is there to be signalled", self.name);
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to end (SIGTERM) and returns its exit code.
    pub fn end(&mut self) -> Option<i32> {
        self.signal("TERM");
        crate::wait_for(&format!("{} ending", self.name), 15, || self.child.try_wait().ok().flatten()).code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// One of our programs, as cargo built it; or one of another build, if `SITIAN_PROGRAMS` names its folder.
pub fn ours(name: &str) -> Command {
    let here = std::env::current_exe().expect("a test binary");
    let folder = here.parent().and_then(Path::parent).expect("target/<profile>/deps");
    let path = std::env::var_os("SITIAN_PROGRAMS").map_or(folder.into(), PathBuf::from).join(name);
    assert!(path.exists(), "{} is missing: run cargo build --workspace first", path.display());
    Command::new(path)
}

/// One of our programs as the last argument of the command `under`, if that is not empty.
pub fn ours_under(name: &str, under: &[&str]) -> Command {
    let program = ours(name);
    let Some((first, rest)) = under.split_first() else { return program };
    let mut command = Command::new(first);
    command.args(rest).arg(program.get_program());
    command
}

/// A loopback port that was free a moment ago, and that no other call of this process got. Below the range from which
/// the kernel serves outgoing connections, so that none of them takes it in between.
pub fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(97);
    let ports = std::iter::repeat_with(|| {
        10_000 + (start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000) as u16
    });
    let free = |port: &u16| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok();
    ports.take(1_000).find(free).expect("a free loopback port")
}
