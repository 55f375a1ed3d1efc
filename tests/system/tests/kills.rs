//! `kill -9` of each part during polling of a register that counts its own readings: every value that was accepted is
//! stored once, in order.
//!
//! The field counts each read, so a value names the poll it came from. A kill of broker or ingestor must not cost a
//! single value. A kill of the gateway may cost the polls that it had not accepted yet (delivery contract, state 0): the
//! gateway's log says what was accepted, and all of that must be there.

use std::collections::BTreeSet;

use serde_json::Value;
use sitian_tests_system::program::free_port;
use sitian_tests_system::{Field, Gateway, Ingestor, Mosquitto, wait_for};

const POINT: &str = "dangzhai-01/counter-1/reads";

/// Kills of each part. The campaign of the issue is 20; `KILLS` asks for more.
fn kills() -> usize {
    std::env::var("KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(20)
}

struct Network {
    folder: tempfile::TempDir,
    broker: Mosquitto,
    ingestor: Ingestor,
    gateway: Gateway,
    _field: Field,
}

impl Network {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let broker = Mosquitto::start(folder.path());
        let ingestor = Ingestor::start(folder.path(), Some(&broker), &[]);
        let port = free_port();
        let field = Field::tcp(folder.path(), port);
        std::fs::create_dir(folder.path().join("profiles")).expect("a fresh folder");
        std::fs::write(folder.path().join("profiles/counter.toml"), PROFILE).expect("a fresh folder");
        let config = format!(
            "[gateway]\nid = \"dangzhai-01\"\n[mqtt]\nport = {}\n[profiles]\ndirectory = \"profiles\"\n[log]\nlevel = \"debug\"\n\
             [[bus]]\nname = \"a\"\nkind = \"tcp\"\nhost = \"127.0.0.1\"\nport = {port}\n\
             [[device]]\nid = \"counter-1\"\nname = \"计数器\"\nbus = \"a\"\nprofile = \"test-counter\"\ninterval_s = 0.1\n",
            broker.port
        );
        let gateway = Gateway::start(folder.path(), &config);
        Self { folder, broker, ingestor, gateway, _field: field }
    }

    /// Waits until at least `more` further readings are stored.
    fn progress(&mut self, more: usize) {
        let before = self.stored().len();
        wait_for("polling and storing to go on", 60, || {
            self.gateway.program.expect_alive();
            (self.stored().len() >= before + more).then_some(())
        });
    }

    /// Every stored value that is a count, oldest first.
    fn stored(&self) -> Vec<u64> {
        let rows = self.ingestor.readings(POINT);
        rows.iter().filter_map(|row| row["value"].as_f64()).map(|value| value as u64).collect()
    }

    /// Waits until everything that the gateway accepted is stored, and returns the stored counts.
    fn settled(&self) -> Vec<u64> {
        let accepted = accepted(&self.gateway.program.output());
        wait_for("all accepted readings stored", 60, || {
            let labels = labels(&self.ingestor.readings(POINT));
            accepted.is_subset(&labels).then_some(())
        });
        self.stored()
    }
}

const PROFILE: &str = r#"
id = "test-counter"
vendor = "test"
model = "counter"
name_zh = "计数器"
name_en = "counter"
source = "tests/system/field/modbus_field.py"
verified = "V"
default_unit = 1

[serial]
baud = 9600

[[points]]
key = "reads"
measurement = "device_status"
unit = ""
function = "holding"
address = 900
kind = "u32"
order = "ABCD"
"#;

/// The labels (epoch, seq) that the gateway's log calls accepted.
fn accepted(log: &str) -> BTreeSet<(String, u64)> {
    let mut labels = BTreeSet::new();
    for line in log.lines().filter(|line| line.contains("accepted")) {
        let field = |name: &str| line.split(name).nth(1)?.split_whitespace().next();
        if let (Some(epoch), Some(seq)) = (field("epoch="), field("seq=")) {
            labels.insert((epoch.to_owned(), seq.parse().expect("a number")));
        }
    }
    labels
}

fn labels(rows: &[Value]) -> BTreeSet<(String, u64)> {
    rows.iter().filter_map(|row| Some((row["epoch"].as_str()?.to_owned(), row["seq"].as_u64()?))).collect()
}

/// Counts that are there twice, and the holes between the counts.
fn doubled_and_missing(counts: &[u64]) -> (usize, u64) {
    let unique: BTreeSet<u64> = counts.iter().copied().collect();
    let holes = unique.iter().zip(unique.iter().skip(1)).map(|(a, b)| b - a - 1).sum();
    (counts.len() - unique.len(), holes)
}

#[test]
fn killing_the_broker_loses_and_doubles_nothing() {
    let mut network = Network::start();
    for _ in 0..kills() {
        network.progress(3);
        network.broker.kill_and_restart();
    }
    network.progress(3);
    let counts = network.settled();
    println!(
        "{} broker kills, {} readings: doubled, missing = {:?}",
        kills(),
        counts.len(),
        doubled_and_missing(&counts)
    );
    assert_eq!(doubled_and_missing(&counts), (0, 0));
}

#[test]
fn killing_the_ingestor_loses_and_doubles_nothing() {
    let mut network = Network::start();
    for _ in 0..kills() {
        network.progress(3);
        network.ingestor.kill_and_restart();
    }
    network.progress(3);
    let counts = network.settled();
    println!(
        "{} ingestor kills, {} readings: doubled, missing = {:?}",
        kills(),
        counts.len(),
        doubled_and_missing(&counts)
    );
    assert_eq!(doubled_and_missing(&counts), (0, 0));
}

#[test]
fn killing_the_gateway_loses_nothing_accepted_and_doubles_nothing() {
    let mut network = Network::start();
    for _ in 0..kills() {
        network.progress(3);
        network.gateway.kill_and_restart();
    }
    network.progress(3);
    let counts = network.settled();
    let (doubled, missing) = doubled_and_missing(&counts);
    println!(
        "{} gateway kills, {} readings: doubled {doubled}, polled but not accepted {missing}",
        kills(),
        counts.len()
    );
    assert_eq!(doubled, 0);
    // Polls of 100 ms, gathered for at most 500 ms before they are accepted, plus one under way.
    assert!(
        missing <= 7 * kills() as u64,
        "{missing} polls lost by {} kills in {}",
        kills(),
        network.folder.path().display()
    );
}
