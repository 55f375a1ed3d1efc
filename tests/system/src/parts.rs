//! The parts of a small network: field, broker, ingestor, gateway.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use serde_json::Value;

use crate::program::{Program, free_port, ours_under};
use crate::{ask, get, wait_for};

/// A Modbus device made of pymodbus.
pub struct Field {
    program: Program,
    set: usize,
}

impl Field {
    /// Serves Modbus TCP on this loopback port.
    pub fn tcp(folder: &Path, port: u16) -> Self {
        Self::start(folder, &["tcp", &port.to_string()])
    }

    /// Serves Modbus RTU at 9600 baud on this serial path.
    pub fn rtu(folder: &Path, path: &Path) -> Self {
        Self::start(folder, &["rtu", &path.to_string_lossy(), "9600"])
    }

    fn start(folder: &Path, arguments: &[&str]) -> Self {
        let program = python(folder, "modbus_field.py", arguments);
        Self { program, set: 0 }
    }

    /// Puts values into consecutive registers, and returns when they are in.
    pub fn set(&mut self, address: u16, values: &[u16]) {
        let words: Vec<String> = values.iter().map(u16::to_string).collect();
        writeln!(self.program.stdin(), "set {address} {}", words.join(" ")).expect("a listening field");
        self.set += 1;
        let wanted = self.set;
        wait_for("the field taking values", 5, || {
            let lines = self.program.output().lines().filter(|line| *line == "set").count();
            (lines >= wanted).then_some(())
        });
    }
}

/// A line with three sensors made of pymodbus: an XY-MD02 at unit 1, a soil probe at 3, a flow meter at 7.
pub struct SensorLine {
    _program: Program,
}

impl SensorLine {
    /// Serves Modbus TCP on this loopback port.
    pub fn tcp(folder: &Path, port: u16) -> Self {
        Self { _program: python(folder, "line_of_sensors.py", &["tcp", &port.to_string()]) }
    }

    /// Serves Modbus RTU at 9600 baud on this serial path.
    pub fn rtu(folder: &Path, path: &Path) -> Self {
        Self { _program: python(folder, "line_of_sensors.py", &["rtu", &path.to_string_lossy(), "9600"]) }
    }
}

/// Starts a script of `field/` and waits until it serves.
fn python(folder: &Path, script: &str, arguments: &[&str]) -> Program {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/python/bin/python");
    assert!(python.exists(), "{} is missing: cargo xtask test sets it up", python.display());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("field").join(script);
    let name = format!("field-{}", arguments[0]);
    let mut program = Program::start(folder, &name, Command::new(python).arg(path).args(arguments));
    program.wait_for_output("ready");
    program
}

/// Two connected pseudo-terminals made by socat: a serial line without a wire.
pub struct PtyPair {
    _program: Program,
    /// The gateway's end.
    pub gateway: PathBuf,
    /// The device's end.
    pub device: PathBuf,
}

impl PtyPair {
    /// Makes the pair in `folder`.
    pub fn start(folder: &Path) -> Self {
        let (gateway, device) = (folder.join("line-gateway"), folder.join("line-device"));
        let end = |path: &Path| format!("pty,raw,echo=0,link={}", path.display());
        let mut command = Command::new("socat");
        let program = Program::start(folder, "socat", command.arg(end(&gateway)).arg(end(&device)));
        wait_for("both ends of the line", 5, || (gateway.exists() && device.exists()).then_some(()));
        Self { _program: program, gateway, device }
    }
}

/// Debian's Mosquitto, without persistence: a broker may be killed and wiped at any time.
pub struct Mosquitto {
    folder: PathBuf,
    /// Loopback port it listens on.
    pub port: u16,
    /// The process.
    pub program: Program,
}

impl Mosquitto {
    /// Starts it on a free loopback port.
    pub fn start(folder: &Path) -> Self {
        Self::start_at(folder, &["127.0.0.1"])
    }

    /// Starts it on one free port of several addresses, of which 127.0.0.1 is one.
    pub fn start_at(folder: &Path, addresses: &[&str]) -> Self {
        let port = free_port();
        let listeners: String = addresses.iter().map(|at| format!("listener {port} {at}\n")).collect();
        let settings = format!("{listeners}allow_anonymous true\npersistence false\n");
        std::fs::write(folder.join("mosquitto.conf"), settings).expect("a fresh folder");
        let mut broker = Self { folder: folder.to_owned(), port, program: Self::launch(folder) };
        broker.wait_until_listening();
        broker
    }

    fn launch(folder: &Path) -> Program {
        let installed =
            ["/usr/sbin/mosquitto", "/usr/bin/mosquitto"].into_iter().find(|p| Path::new(p).exists());
        let mut command = Command::new(installed.expect("mosquitto is installed (cargo xtask test does it)"));
        Program::start(folder, "mosquitto", command.arg("-c").arg(folder.join("mosquitto.conf")))
    }

    fn wait_until_listening(&mut self) {
        let address = ("127.0.0.1", self.port);
        wait_for("mosquitto listening", 10, || std::net::TcpStream::connect(address).ok());
    }

    /// `kill -9` and a fresh start with nothing remembered.
    pub fn kill_and_restart(&mut self) {
        self.kill();
        self.start_again();
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.program.id()
    }

    /// Starts it after [`Self::kill`], with nothing remembered.
    pub fn start_again(&mut self) {
        self.program = Self::launch(&self.folder);
        self.wait_until_listening();
    }
}

/// Our ingestor.
pub struct Ingestor {
    folder: PathBuf,
    settings: Vec<String>,
    under: Vec<String>,
    http: u16,
    /// Loopback port of its broker, or of the external one.
    pub mqtt: u16,
    /// The process.
    pub program: Program,
    /// What the API said last instead of a list.
    refused: Mutex<String>,
}

impl Ingestor {
    /// Starts it with its embedded broker, or on `broker`; `more` are further `--set` settings.
    pub fn start(folder: &Path, broker: Option<&Mosquitto>, more: &[&str]) -> Self {
        Self::start_on(folder, broker.map(|b| b.port), more, &[])
    }

    /// Starts it with its embedded broker, or on the broker at a loopback port, as the last argument of another program,
    /// if one is named.
    pub fn start_on(folder: &Path, broker: Option<u16>, more: &[&str], under: &[&str]) -> Self {
        let http = free_port();
        let mqtt = broker.unwrap_or_else(free_port);
        let mut settings = vec![
            format!("http.listen=127.0.0.1:{http}"),
            format!("storage.path={}", folder.join("centre.db").display()),
            format!("broker.embedded={}", broker.is_none()),
            format!("broker.listen=127.0.0.1:{mqtt}"),
            format!("mqtt.port={mqtt}"),
            "log.level=debug".to_owned(),
        ];
        settings.extend(more.iter().map(|s| (*s).to_owned()));
        let under: Vec<String> = under.iter().map(|word| (*word).to_owned()).collect();
        let program = Self::launch(folder, &settings, &under);
        let refused = Mutex::default();
        let mut ingestor = Self { folder: folder.to_owned(), settings, under, http, mqtt, program, refused };
        ingestor.wait_until_healthy();
        ingestor
    }

    fn launch(folder: &Path, settings: &[String], under: &[String]) -> Program {
        let under: Vec<&str> = under.iter().map(String::as_str).collect();
        let mut command = ours_under("sitian-ingestor", &under);
        command.arg("run");
        settings.iter().for_each(|setting| {
            command.args(["--set", setting]);
        });
        Program::start(folder, "ingestor", &mut command)
    }

    fn wait_until_healthy(&mut self) {
        let url = self.url("health");
        wait_for("a healthy ingestor", 20, || {
            self.program.expect_alive();
            get(&url)
        });
    }

    /// `kill -9` and a fresh start on the same store.
    pub fn kill_and_restart(&mut self) {
        self.program.kill();
        self.start_again();
    }

    /// Starts it on the same store after [`Program::kill`].
    pub fn start_again(&mut self) {
        self.program = Self::launch(&self.folder, &self.settings, &self.under);
        self.wait_until_healthy();
    }

    /// Starts it on the same store after [`Program::kill`], under another program, and does not wait until it answers.
    pub fn begin_under(&mut self, under: &[String]) {
        self.program = Self::launch(&self.folder, &self.settings, under);
    }

    /// Further settings of all later starts.
    pub fn set(&mut self, more: &[String]) {
        self.settings.extend_from_slice(more);
    }

    /// Moves its readings to the engine of these settings, with these flags, under another program. Returns when that has ended:
    /// whether well, and what it said.
    pub fn move_readings(&self, engine: &[String], flags: &[&str], under: &[String]) -> (bool, String) {
        let under: Vec<&str> = under.iter().map(String::as_str).collect();
        let mut command = ours_under("sitian-ingestor", &under);
        command.arg("move").args(flags);
        self.settings.iter().chain(engine).for_each(|setting| {
            command.args(["--set", setting]);
        });
        let output = command.output().expect("starts");
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.success(), said(&output.stdout) + &said(&output.stderr))
    }

    /// Every gap that was ever committed, oldest first.
    pub fn gaps(&self) -> Vec<Value> {
        self.pages("gaps?")
    }

    /// Every incident, oldest first.
    pub fn incidents(&self) -> Vec<Value> {
        self.pages("incidents?")
    }

    /// The address of an API path.
    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/api/v1/{path}", self.http)
    }

    /// Every stored reading of a point in the last nine days, oldest first.
    pub fn readings(&self, point: &str) -> Vec<Value> {
        self.readings_between(point, &date("9 days ago"), &date("tomorrow"))
    }

    /// Every stored reading of a point between two moments as RFC 3339, oldest first.
    pub fn readings_between(&self, point: &str, from: &str, to: &str) -> Vec<Value> {
        self.pages(&format!("points/{point}/readings?from={from}&to={to}&limit=10000"))
    }

    /// All items of a list of the API, or as many as it gave before it refused: what it said then is printed once.
    fn pages(&self, question: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut cursor = String::new();
        loop {
            let answer = match ask(&self.url(&format!("{question}{cursor}"))) {
                Ok(answer) => answer,
                Err(why) => {
                    let mut refused = self.refused.lock().expect("nobody panicked");
                    // Each has a number of its own in the log.
                    let same = |text: &str| text.split(" under number").next().unwrap_or_default().to_owned();
                    if same(&refused) != same(&why) {
                        println!("{question}{cursor}: {why}");
                        *refused = why;
                    }
                    return all;
                }
            };
            all.extend(answer["items"].as_array().cloned().unwrap_or_default());
            match answer["next_cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return all,
            }
        }
    }

    /// The newest value of a point of a base.
    pub fn last_value(&self, base: &str, point: &str) -> Option<f64> {
        let answer = get(&self.url(&format!("bases/{base}/latest")))?;
        answer["items"].as_array()?.iter().find(|item| item["point"] == point)?["value"].as_f64()
    }
}

/// A moment in words, as RFC 3339.
fn date(words: &str) -> String {
    let output =
        Command::new("date").args(["-u", "-d", words, "+%Y-%m-%dT%H:%M:%SZ"]).output().expect("date");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Our gateway.
pub struct Gateway {
    folder: PathBuf,
    config: PathBuf,
    /// The process.
    pub program: Program,
}

impl Gateway {
    /// Starts it with this hand-written configuration.
    pub fn start(folder: &Path, config: &str) -> Self {
        Self::start_under(folder, config, &[])
    }

    /// Starts it as the last argument of another program, such as `["strace", "-D"]`, which has to become it.
    pub fn start_under(folder: &Path, config: &str, under: &[&str]) -> Self {
        let path = folder.join("gateway.toml");
        std::fs::write(&path, config).expect("a fresh folder");
        let program = Self::launch(folder, &path, under);
        Self { folder: folder.to_owned(), config: path, program }
    }

    fn launch(folder: &Path, config: &Path, under: &[&str]) -> Program {
        let mut command = ours_under("sitian-gateway", under);
        Program::start(folder, "gateway", command.arg("run").arg("--config").arg(config))
    }

    /// `kill -9` and a fresh start on the same spool.
    pub fn kill_and_restart(&mut self) {
        self.program.kill();
        self.start_again_under(&[]);
    }

    /// Starts it on the same spool after [`Program::kill`], under another program if any is named.
    pub fn start_again_under(&mut self, under: &[&str]) {
        self.program = Self::launch(&self.folder, &self.config, under);
    }

    /// Starts it on the same spool after [`Program::kill`].
    pub fn start_again(&mut self) {
        self.start_again_under(&[]);
    }

    /// The same with another configuration.
    pub fn start_again_with(&mut self, config: &str) {
        std::fs::write(&self.config, config).expect("a writable folder");
        self.start_again();
    }
}
