//! A VictoriaMetrics of its own, on a folder and a port of its own.

use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Starting takes seconds on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Running {
    arguments: Vec<String>,
    port: u16,
    child: Option<Child>,
    folder: tempfile::TempDir,
}

impl Running {
    /// Starts one; `None`, said aloud, where it is not installed.
    pub fn start(arguments: &[&str]) -> Option<Self> {
        let mut asked = Command::new("victoria-metrics");
        if asked.arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_err() {
            println!("skipped: victoria-metrics is not installed");
            return None;
        }
        // A port is free until somebody else is quicker; then another one is taken.
        for _ in 0..10 {
            let mut running = Self {
                arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect(),
                port: TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port").port(),
                child: None,
                folder: tempfile::tempdir().expect("a folder"),
            };
            if running.up() {
                return Some(running);
            }
        }
        panic!("victoria-metrics does not start");
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("is killed");
            child.wait().expect("ends");
        }
    }

    pub fn start_again(&mut self) {
        assert!(self.up(), "victoria-metrics starts again on its folder");
    }

    pub fn kill_and_start(&mut self) {
        self.kill();
        self.start_again();
    }

    /// Starts it and waits until it listens. False if it has ended by itself.
    fn up(&mut self) -> bool {
        let mut child = Command::new("victoria-metrics")
            .arg(format!("-storageDataPath={}", self.folder.path().display()))
            .arg(format!("-httpListenAddr=127.0.0.1:{}", self.port))
            .args(["-retentionPeriod=100y", "-memory.allowedBytes=200MB"])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("starts");
        let begin = Instant::now();
        while begin.elapsed() < PATIENCE {
            if child.try_wait().expect("is asked").is_some() {
                child.wait().expect("has ended");
                return false;
            }
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                self.child = Some(child);
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        child.kill().and_then(|()| child.wait()).expect("ends");
        panic!("victoria-metrics does not listen");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
