//! Debian's VictoriaMetrics, as an engine that holds the centre's readings.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::program::free_port;
use crate::{Program, ask, wait_for};

/// A running one, on a folder of its own.
pub struct Victoria {
    folder: PathBuf,
    port: u16,
    period: &'static str,
    /// The process.
    pub program: Program,
}

impl Victoria {
    /// Starts it on a free loopback port. It keeps ten years.
    pub fn start(folder: &Path) -> Self {
        Self::start_keeping(folder, "10y")
    }

    /// Starts it with another retention period.
    pub fn start_keeping(folder: &Path, period: &'static str) -> Self {
        let port = free_port();
        let program = Self::launch(folder, port, period);
        let mut engine = Self { folder: folder.to_owned(), port, period, program };
        engine.wait_until_listening();
        engine
    }

    fn launch(folder: &Path, port: u16, period: &str) -> Program {
        let mut command = Command::new("victoria-metrics");
        command.arg(format!("-storageDataPath={}", folder.join("victoria").display()));
        command.arg(format!("-httpListenAddr=127.0.0.1:{port}"));
        command.arg(format!("-retentionPeriod={period}"));
        command.args(["-dedup.minScrapeInterval=1ms", "-memory.allowedBytes=200MB"]);
        Program::start(folder, "victoria", &mut command)
    }

    fn wait_until_listening(&mut self) {
        let address = ("127.0.0.1", self.port);
        wait_for("victoria-metrics listening", 60, || {
            self.program.expect_alive();
            std::net::TcpStream::connect(address).ok()
        });
    }

    /// Settings of an ingestor that keeps its readings here.
    pub fn settings(&self) -> [String; 2] {
        ["storage.engine=victoriametrics".to_owned(), format!("storage.url=http://127.0.0.1:{}", self.port)]
    }

    /// How many readings it holds of a gateway, or what it says instead.
    pub fn holds(&self, gateway: &str) -> Result<u64, String> {
        let count = format!("sum(count_over_time(reading_seq%7Bgateway=%22{gateway}%22%7D[10d]))");
        let answer = ask(&format!("http://127.0.0.1:{}/api/v1/query?nocache=1&query={count}", self.port))?;
        let number =
            answer.pointer("/data/result/0/value/1").and_then(|number| number.as_str()?.parse().ok());
        number.ok_or_else(|| answer.to_string())
    }

    /// Starts it on its folder after [`Program::kill`].
    pub fn start_again(&mut self) {
        self.program = Self::launch(&self.folder, self.port, self.period);
        self.wait_until_listening();
    }
}
