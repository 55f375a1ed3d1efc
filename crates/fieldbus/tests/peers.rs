//! Servers that others wrote: pymodbus and libmodbus, over TCP and over pseudo-terminals, each with the register maps of
//! at least ten devices. Every value must be the one of its unit, function and address, and nothing may fail.
//! `PEER_SECONDS=600` polls for longer.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sitian_fieldbus::{Bus, BusSettings, PortSettings, RtuSettings, SerialSettings, TcpSettings};
use sitian_model::Quality;
use sitian_poll::{BusPlan, Command as Poll, DevicePlan, PointPlan, Poller};
use sitian_profile::{
    Catalogue, Context, Parity, Profile, ProfilePoint, Serial, builtin, catalogue_text, decode,
};

/// Ten maps and two more: integers and floats in all byte orders, holding and input registers, units and decimals that the
/// device states.
const MAPS: [&str; 12] = [
    "renke-soil-7in1",
    "jxct-soil-npk",
    "xy-md02",
    "senseair-s8",
    "sensecap-s500",
    "rika-rk500-22",
    "rika-rk500-23",
    "tuf-2000m",
    "qdy30a",
    "comwintop-weather",
    "renke-gzws-n01",
    "supmea-do7013",
];
const BAUD: u32 = 115_200;

fn profile(id: &str) -> Arc<Profile> {
    let catalogue = Catalogue::parse("measurements.toml", catalogue_text()).unwrap();
    let file = format!("{id}.toml");
    let (file, text) = builtin().iter().find(|(name, _)| *name == file).unwrap();
    Arc::new(Profile::parse(file, text, &catalogue).unwrap())
}

/// What the servers have at an address.
fn word(unit: u8, point: &ProfilePoint, address: u16) -> u16 {
    let function = u32::from(point.function.code());
    let word = (u32::from(unit) * 257 + u32::from(address) * 7 + function) as u16;
    if point.function.is_bits() { word & 1 } else { word }
}

fn expected(unit: u8, point: &ProfilePoint) -> (Option<f64>, Quality) {
    let end = point.address + point.kind.registers();
    let words: Vec<u16> = (point.address..end).map(|address| word(unit, point, address)).collect();
    let context = Context {
        unit: point.unit_register.as_ref().map(|register| word(unit, point, register.address)),
        decimals: point.decimals_register.map(|register| word(unit, point, register.address)),
        status: point.status_register.map(|register| word(unit, point, register.address)),
    };
    decode(point, &words, context)
}

/// A process that is killed in the end.
struct Server(Child);

impl Server {
    /// Starts it, and waits until it says "ready".
    fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line.trim(), "ready", "{command:?}");
        Self(child)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn source(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(name)
}

fn pymodbus() -> Command {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/python/bin/python");
    assert!(python.exists(), "{} is missing: cargo xtask test sets it up", python.display());
    let mut command = Command::new(python);
    command.arg(source("pymodbus_field.py"));
    command
}

fn libmodbus(folder: &Path) -> Command {
    let program = folder.join("libmodbus_field");
    if !program.exists() {
        let mut compiler = Command::new("gcc");
        compiler.args(["-O1", "-I/usr/include/modbus", "-o"]).arg(&program);
        let status = compiler.arg(source("libmodbus_field.c")).arg("-lmodbus").status();
        assert!(
            status.unwrap().success(),
            "gcc and libmodbus-dev are missing: cargo xtask test sets them up"
        );
    }
    Command::new(program)
}

/// Two connected pseudo-terminals: ours and theirs.
fn line(folder: &Path, name: &str) -> (Server, PathBuf, PathBuf) {
    let (ours, theirs) = (folder.join(format!("{name}-ours")), folder.join(format!("{name}-theirs")));
    let end = |path: &Path| format!("pty,raw,echo=0,link={}", path.display());
    let child = Command::new("socat").arg(end(&ours)).arg(end(&theirs)).spawn().unwrap();
    let server = Server(child);
    let until = Instant::now() + Duration::from_secs(20);
    while !(ours.exists() && theirs.exists()) {
        assert!(Instant::now() < until, "socat makes no line");
        std::thread::yield_now();
    }
    (server, ours, theirs)
}

fn rtu(path: &Path) -> BusSettings {
    let serial = Serial { baud: BAUD, data_bits: 8, parity: Parity::None, stop_bits: 1 };
    let port = PortSettings::Serial(SerialSettings { path: path.display().to_string(), serial });
    BusSettings::Rtu(RtuSettings { port, baud: BAUD })
}

fn free_port(host: &str) -> u16 {
    TcpListener::bind((host, 0)).unwrap().local_addr().unwrap().port()
}

fn seconds() -> u64 {
    std::env::var("PEER_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

/// Polls these units of a bus, each with its map, and returns requests, samples and the unit ids that were heard.
async fn poll(settings: BusSettings, units: Vec<u8>) -> (u64, u64) {
    let hold_off = matches!(settings, BusSettings::Rtu(_));
    let device = |unit: &u8| {
        let profile = profile(MAPS[usize::from(*unit) - 1]);
        let point = |n: usize| PointPlan {
            point: u32::from(*unit) * 1_000 + n as u32,
            profile_point: n,
            interval_ms: 500,
        };
        DevicePlan {
            unit: *unit,
            points: (0..profile.points.len()).map(point).collect(),
            profile,
            // A busy machine is no fault of the bus.
            timeout_ms: 5_000,
            retries: 0,
            priority: 0,
        }
    };
    let plan = BusPlan { devices: units.iter().map(device).collect(), pause_ms: 0, hold_off };
    let mut bus = Bus::open("peer", settings).unwrap();
    let began = Instant::now();
    let now = || began.elapsed().as_millis() as u64;
    let mut poller = Poller::new(plan, 0);
    let (mut samples, mut answered) = (0, 0);
    while now() < seconds() * 1_000 {
        match poller.poll_command() {
            Some(Poll::Send(request, _)) => {
                let result = bus.execute(request).await;
                assert!(result.is_ok(), "{request:?}: {result:?}");
                answered += 1;
                poller.handle_answer(result, now());
            }
            Some(Poll::Samples(some)) => {
                for sample in some {
                    if sample.quality == Quality::Bad(sitian_model::Cause::BusOverrun) {
                        continue;
                    }
                    let (unit, point) = ((sample.point / 1_000) as u8, sample.point as usize % 1_000);
                    let profile = profile_of(unit);
                    let wanted = expected(unit, &profile.points[point]);
                    assert_eq!(
                        (sample.value, sample.quality),
                        wanted,
                        "unit {unit}, {}",
                        profile.points[point].key
                    );
                    samples += 1;
                }
            }
            Some(other) => panic!("{other:?}"),
            None => {
                let wait = poller.poll_timeout().unwrap().saturating_sub(now());
                tokio::time::sleep(Duration::from_millis(wait)).await;
                poller.handle_timeout(now());
            }
        }
    }
    assert_eq!(bus.take_foreign(), [0; 0]);
    (answered, samples)
}

fn profile_of(unit: u8) -> Arc<Profile> {
    thread_local! {
        static KNOWN: Vec<Arc<Profile>> = MAPS.iter().map(|id| profile(id)).collect();
    }
    KNOWN.with(|known| known[usize::from(unit) - 1].clone())
}

fn units() -> Vec<u8> {
    (1..=MAPS.len() as u8).collect()
}

fn tell(who: &str, (answered, samples): (u64, u64)) {
    assert!(
        answered >= MAPS.len() as u64 && samples > answered,
        "{who}: {answered} answers, {samples} samples"
    );
    println!("{who}: {answered} requests in {} s, {samples} samples, 0 errors", seconds());
}

#[tokio::test]
async fn pymodbus_over_tcp() {
    let port = free_port("127.0.0.1");
    let _server = Server::start(pymodbus().args(["tcp", &port.to_string(), &MAPS.len().to_string()]));
    tell("pymodbus TCP", poll(BusSettings::Tcp(TcpSettings::new("127.0.0.1", port)), units()).await);
}

#[tokio::test]
async fn pymodbus_over_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let (_line, ours, theirs) = line(folder.path(), "line");
    let _server = Server::start(pymodbus().arg("rtu").arg(&theirs).arg(MAPS.len().to_string()));
    tell("pymodbus RTU", poll(rtu(&ours), units()).await);
}

#[tokio::test]
async fn libmodbus_over_tcp() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port("127.0.0.1");
    let _server = Server::start(libmodbus(folder.path()).args(["tcp", &port.to_string()]));
    tell("libmodbus TCP", poll(BusSettings::Tcp(TcpSettings::new("127.0.0.1", port)), units()).await);
}

/// A server of libmodbus is one unit, so each has a line of its own.
#[tokio::test]
async fn libmodbus_over_lines() {
    let folder = tempfile::tempdir().unwrap();
    let mut parts = Vec::new();
    let mut polls = tokio::task::JoinSet::new();
    for unit in units() {
        let (line, ours, theirs) = line(folder.path(), &unit.to_string());
        let server = Server::start(libmodbus(folder.path()).arg("rtu").arg(&theirs).arg(unit.to_string()));
        polls.spawn(poll(rtu(&ours), vec![unit]));
        parts.push((line, server));
    }
    let sum = polls.join_all().await.into_iter().fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    tell("libmodbus RTU", sum);
}
