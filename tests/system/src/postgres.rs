//! Debian's PostgreSQL: a server of its own on a folder of its own, reached through a socket there. It refuses to run as
//! root, so it runs as somebody else where tests do.
//!
//! Tests of any room include this file by path.

#[allow(clippy::duplicate_mod, reason = "a room that includes this file has no other")]
#[path = "tally.rs"]
mod tally;

use std::io::Write;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// Making a cluster and recovering one take seconds on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Where Debian puts the servers, one folder for each version.
const VERSIONS: &str = "/usr/lib/postgresql";

/// What is not tested without a server, wherever that is.
const UNTESTED: tally::Fault = tally::Fault {
    number: "F38",
    title: "registry in PostgreSQL: contract, fence, leases, slots, crashes",
    injected: "a server of our own",
};

/// A running server.
pub struct Postgres {
    programs: PathBuf,
    /// Who it runs as, if not as whoever tests.
    user: Option<&'static str>,
    folder: tempfile::TempDir,
    child: Option<Child>,
    /// Of its socket, and of TCP where it listens.
    port: u16,
}

impl Postgres {
    /// Why there can be none here, if so.
    pub fn lacking() -> Option<&'static str> {
        if programs().is_none() {
            return Some("PostgreSQL is not installed");
        }
        (root() && user().is_none()).then_some("PostgreSQL refuses to run as root, and nobody else is here")
    }

    /// Makes a cluster and starts a server on it; `None`, with a row that says why, where that cannot be.
    pub fn start() -> Option<Self> {
        if let Some(why) = Self::lacking() {
            UNTESTED.skipped(why);
            return None;
        }
        let user = if root() { user() } else { None };
        let folder = tempfile::tempdir().expect("a folder");
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), open).expect("is ours");
        if let Some(name) = user {
            chown(folder.path(), Some(number("-u", name)), Some(number("-g", name))).expect("is given away");
        }
        let mut server = Self { programs: programs()?, user, folder, child: None, port: 5432 };
        let made = server
            .program("initdb")
            .args(["--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(server.data())
            .stdout(Stdio::null())
            .status();
        assert!(made.expect("runs").success(), "initdb makes a cluster");
        server.start_again();
        server.sql("postgres", "CREATE ROLE sitian LOGIN");
        Some(server)
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// One of its programs, run as the right person.
    fn program(&self, name: &str) -> Command {
        let path = self.programs.join(name);
        let mut command = match self.user {
            None => Command::new(path),
            Some(user) => {
                let mut command = Command::new("setpriv");
                let group = number("-g", user).to_string();
                command.args(["--reuid", user, "--regid", &group, "--clear-groups", "--"]).arg(path);
                command
            }
        };
        command.current_dir(self.folder.path());
        command
    }

    /// Starts it on its folder, with more settings than usual; waits until it answers.
    pub fn start_with(&mut self, settings: &[&str]) {
        let log = std::fs::File::options().create(true).append(true).open(self.folder.path().join("log"));
        let mut command = self.program("postgres");
        command.arg("-D").arg(self.data()).arg("-k").arg(self.folder.path());
        command.args(["-p", &self.port.to_string()]);
        for setting in
            ["listen_addresses=", "shared_buffers=16MB", "max_connections=60"].iter().chain(settings)
        {
            command.args(["-c", *setting]);
        }
        let begin = Instant::now();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.expect("a log"));
        let mut child = command.spawn().expect("starts");
        while !self.ready() {
            assert!(begin.elapsed() < PATIENCE, "PostgreSQL does not answer:\n{}", self.log());
            // After a crash the old processes have to be gone first.
            if child.try_wait().expect("is asked").is_some() {
                child = command.spawn().expect("starts");
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        self.child = Some(child);
    }

    /// Starts it on its folder.
    pub fn start_again(&mut self) {
        self.start_with(&[]);
    }

    fn ready(&self) -> bool {
        let mut asked = Command::new(self.programs.join("pg_isready"));
        asked.args(["-q", "-p", &self.port.to_string(), "-h"]).arg(self.folder.path());
        asked.status().expect("runs").success()
    }

    /// Starts it again on a port of this machine, with more settings than usual; gives the port.
    #[allow(dead_code)] // Not every room asks for it; so with the next three.
    pub fn listen(&mut self, settings: &[&str]) -> u16 {
        self.kill();
        self.port = free_port();
        self.start_with(&[&["listen_addresses=127.0.0.1"], settings].concat());
        self.port
    }

    /// Puts a file into its folder, readable for it alone, as it wants its key.
    #[allow(dead_code)]
    pub fn give(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).expect("is written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("is ours");
        if let Some(user) = self.user {
            chown(&path, Some(number("-u", user)), Some(number("-g", user))).expect("is given away");
        }
        path
    }

    /// Stops it in the middle of whatever it does, with all its processes: connections stay, and nobody answers.
    #[allow(dead_code)]
    pub fn freeze(&self) {
        self.signal("-STOP");
    }

    /// Lets it go on.
    #[allow(dead_code)]
    pub fn thaw(&self) {
        self.signal("-CONT");
    }

    #[allow(dead_code)]
    fn signal(&self, signal: &str) {
        let Some(child) = &self.child else { return };
        // The parent first: it starts no more processes then.
        let send = |pid: u32| {
            let mut command = Command::new("kill");
            command.args([signal, &pid.to_string()]).stderr(Stdio::null()).status().expect("runs").success()
        };
        assert!(send(child.id()), "it runs");
        for pid in children(child.id()) {
            // It may have ended meanwhile.
            send(pid);
        }
    }

    /// What it said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// kill -9 of the server and of all its processes, so that nothing is written in order.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let children = children(child.id());
        child.kill().expect("is killed");
        for pid in children {
            // It may be gone already.
            let _ = Command::new("kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status();
        }
        child.wait().expect("ends");
    }

    /// Makes a database that the role `sitian` owns; gives its address.
    pub fn database(&self, name: &str) -> String {
        self.sql("postgres", &format!("CREATE DATABASE {name} OWNER sitian TEMPLATE template0"));
        self.url("sitian", name)
    }

    /// The address of a database for a role.
    pub fn url(&self, role: &str, database: &str) -> String {
        let folder = self.folder.path().display().to_string().replace('/', "%2F");
        format!("postgresql://{role}@{folder}:{}/{database}", self.port)
    }

    /// Runs SQL as the server's owner; gives the lines of the answer, columns divided by `|`.
    pub fn sql(&self, database: &str, text: &str) -> String {
        let mut command = Command::new(self.programs.join("psql"));
        command.args([
            "-X",
            "-q",
            "-t",
            "-A",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "postgres",
            "-d",
            database,
            "-p",
            &self.port.to_string(),
            "-h",
        ]);
        command.arg(self.folder.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("runs");
        child.stdin.take().expect("is piped").write_all(text.as_bytes()).expect("listens");
        let output = child.wait_with_output().expect("ends");
        assert!(output.status.success(), "{text}");
        String::from_utf8(output.stdout).expect("text").trim().to_owned()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Below those that the kernel gives to outgoing connections, so that none of them takes it before the server does.
#[allow(dead_code)]
fn free_port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(89);
    let ports = std::iter::repeat_with(|| {
        10_000 + (start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % 20_000) as u16
    });
    let mut free = ports.filter(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok());
    free.next().expect("one of them is free")
}

/// The programs of the newest version that is installed.
fn programs() -> Option<PathBuf> {
    let entries = std::fs::read_dir(VERSIONS).ok()?.flatten().map(|entry| entry.path());
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = entries.filter(|path| version(path).is_some()).max_by_key(|path| version(path))?;
    let programs = newest.join("bin");
    programs.join("initdb").exists().then_some(programs)
}

fn root() -> bool {
    number("-u", "") == 0
}

fn user() -> Option<&'static str> {
    let there = |name: &&str| {
        let asked = Command::new("id").arg(name).stdout(Stdio::null()).stderr(Stdio::null()).status();
        asked.is_ok_and(|status| status.success())
    };
    ["postgres", "nobody"].into_iter().find(there)
}

/// The number of a person (`-u`) or of their group (`-g`); one's own without a name.
fn number(which: &str, name: &str) -> u32 {
    let mut command = Command::new("id");
    command.arg(which).args(Some(name).filter(|name| !name.is_empty()));
    let output = command.output().expect("runs");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("a number")
}

/// Processes that this one has started.
fn children(parent: u32) -> Vec<u32> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let is_child = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        // The name may hold anything; the parent is the second word behind it.
        let behind = stat.rsplit(") ").next().unwrap_or_default();
        behind.split(' ').nth(1).and_then(|word| word.parse().ok()) == Some(parent)
    };
    pids.filter(is_child).collect()
}
