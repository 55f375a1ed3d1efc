//! A field that keeps the truth: Modbus TCP devices whose every answer is a function of its number, and a judge who
//! holds the stored readings against it. It runs inside the test and is never faulted.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::tally::Harm;
use crate::{Gateway, Ingestor, wait_for};

/// The first register of every device: a 32-bit count of its polls, high word first. The words follow behind it.
const COUNT: u16 = 900;

/// Devices, each at a unit id of its own: 1, 2, 3 …
pub struct TrueField {
    address: String,
    port: u16,
    /// When each unit gave each of its answers, in Unix milliseconds.
    answers: Arc<Mutex<Vec<Vec<i64>>>>,
    /// What the first answer is called, so that two fields never say the same.
    first: u32,
}

/// What word `k` of answer number `count` is: 0 to 999.
pub fn word(count: u32, k: u16) -> u16 {
    let mixed = (u64::from(count) << 16 | u64::from(k)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    ((mixed ^ (mixed >> 29)) % 1_000) as u16
}

impl TrueField {
    /// Serves `units` devices at this address, on a port of its own. The first answer of each is number `first`, ≥ 1.
    pub fn start(address: &str, units: usize, first: u32) -> Self {
        let listener = TcpListener::bind((address, 0)).expect("an address of this machine");
        let port = listener.local_addr().expect("a bound socket").port();
        let answers = Arc::new(Mutex::new(vec![Vec::new(); units]));
        let shared = Arc::clone(&answers);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &shared, first));
            }
        });
        Self { address: address.to_owned(), port, answers, first }
    }

    /// How many answers unit 1 has given.
    pub fn answered(&self) -> usize {
        self.answers.lock().expect("no poison")[0].len()
    }

    /// The configuration of a gateway that polls all devices, with `words` words each.
    pub fn configuration(&self, gateway: &str, intervals_s: impl Fn(usize) -> f64, head: &str) -> String {
        let units = self.answers.lock().expect("no poison").len();
        let mut text = format!(
            "{head}\n[gateway]\nid = \"{gateway}\"\n[profiles]\ndirectory = \"profiles\"\n[log]\nlevel = \"debug\"\n"
        );
        for unit in 1..=units {
            text += &format!(
                "[[bus]]\nname = \"bus-{unit}\"\nkind = \"tcp\"\nhost = \"{}\"\nport = {}\n[[device]]\nid = \"true-{unit}\"\n\
                 bus = \"bus-{unit}\"\nprofile = \"test-true\"\nunit = {unit}\ninterval_s = {}\n",
                self.address,
                self.port,
                intervals_s(unit)
            );
        }
        text
    }

    /// Makes a folder `<folder>/profiles` with the profile that the configuration asks for.
    pub fn write_profile(folder: &std::path::Path, words: u16) {
        let point = |key: &str, address: u16, kind: &str| {
            format!(
                "[[points]]\nkey = \"{key}\"\nmeasurement = \"device_status\"\nunit = \"\"\nfunction = \"holding\"\n\
                 address = {address}\nkind = \"{kind}\"\n{}",
                if kind == "u32" { "order = \"ABCD\"\n" } else { "" }
            )
        };
        let mut text = "id = \"test-true\"\nvendor = \"test\"\nmodel = \"true\"\nname_zh = \"真值\"\nname_en = \"truth\"\n\
             source = \"tests/system/src/truth.rs\"\nverified = \"V\"\ndefault_unit = 1\n[serial]\nbaud = 9600\n"
            .to_owned();
        text += &point("count", COUNT, "u32");
        (0..words).for_each(|k| text += &point(&format!("word_{k}"), COUNT + 2 + k, "u16"));
        std::fs::create_dir_all(folder.join("profiles")).expect("a writable folder");
        std::fs::write(folder.join("profiles/true.toml"), text).expect("a writable folder");
    }

    /// When unit `unit` gave answer number `count`; `None` if it never did.
    pub fn when(&self, unit: usize, count: u32) -> Option<i64> {
        let index = count.checked_sub(self.first)? as usize;
        self.answers.lock().expect("no poison")[unit - 1].get(index).copied()
    }

    /// How many answers each unit has given so far, as the number of the last one.
    fn last(&self) -> Vec<u32> {
        let answers = self.answers.lock().expect("no poison");
        answers.iter().map(|unit| self.first + unit.len() as u32 - 1).collect()
    }
}

/// Answers requests until the connection ends.
fn serve(mut stream: TcpStream, answers: &Mutex<Vec<Vec<i64>>>, first: u32) {
    let _ = stream.set_nodelay(true);
    let mut head = [0; 7];
    while stream.read_exact(&mut head).is_ok() {
        let mut body = vec![0; usize::from(u16::from_be_bytes([head[4], head[5]])).saturating_sub(1)];
        if stream.read_exact(&mut body).is_err() || body.len() != 5 {
            return;
        }
        let (address, registers) =
            (u16::from_be_bytes([body[1], body[2]]), u16::from_be_bytes([body[3], body[4]]));
        let count = {
            let mut answers = answers.lock().expect("no poison");
            let unit = &mut answers[usize::from(head[6]).saturating_sub(1)];
            unit.push(unix_ms());
            first + unit.len() as u32 - 1
        };
        let value = |register: u16| match register - COUNT {
            0 => (count >> 16) as u16,
            1 => count as u16,
            k => word(count, k - 2),
        };
        let words = (address..address + registers).flat_map(|register| value(register).to_be_bytes());
        let mut answer = vec![head[0], head[1], 0, 0, 0, 0, head[6], body[0], (2 * registers) as u8];
        answer.extend(words);
        let length = (answer.len() - 6) as u16;
        answer[4..6].copy_from_slice(&length.to_be_bytes());
        if stream.write_all(&answer).is_err() {
            return;
        }
    }
}

/// This machine's time, which nobody has faked.
pub fn unix_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// A time of an API answer in Unix milliseconds.
pub fn moment(row: &Value, key: &str) -> i64 {
    let text = row[key].as_str().unwrap_or_default();
    text.parse::<jiff::Timestamp>().unwrap_or_else(|e| panic!("{key} of {row}: {e}")).as_millisecond()
}

/// The labels (epoch, seq) that a gateway's log calls accepted.
pub fn accepted(gateway: &Gateway) -> BTreeSet<(String, u64)> {
    let mut labels = BTreeSet::new();
    for line in gateway.program.output().lines().filter(|line| line.contains("accepted")) {
        let field = |name: &str| line.split(name).nth(1)?.split_whitespace().next();
        if let (Some(epoch), Some(seq)) = (field("epoch="), field("seq=")) {
            labels.insert((epoch.to_owned(), seq.parse().expect("a number")));
        }
    }
    labels
}

/// The label of a stored row.
pub fn label(row: &Value) -> Option<(String, u64)> {
    Some((row["epoch"].as_str()?.to_owned(), row["seq"].as_u64()?))
}

/// Holds what is stored against the truth.
#[derive(Clone, Copy)]
pub struct Judge<'a> {
    /// Who knows the truth.
    pub field: &'a TrueField,
    /// Who stores.
    pub ingestor: &'a Ingestor,
    /// The gateway's id.
    pub gateway: &'a str,
    /// How many words each device has.
    pub words: u16,
    /// How far a time that is not called uncertain may be off, in milliseconds.
    pub time_ms_max: i64,
    /// A clock that runs wrong by more than two days stamps there, until it is put right, in milliseconds.
    pub wrong_by_ms: Option<i64>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Readings looked at.
    pub readings: u64,
    /// What came of them.
    pub harm: Harm,
    /// How far times were off at most, of those that are not called uncertain, in milliseconds.
    pub off_ms: i64,
    /// Readings whose time is called unknown.
    pub clock_unknown: u64,
    /// Labels of the readings.
    pub labels: BTreeSet<(String, u64)>,
}

impl Judge<'_> {
    fn point(&self, unit: usize, key: &str) -> Vec<Value> {
        let point = format!("{}/true-{unit}/{key}", self.gateway);
        let mut rows = self.ingestor.readings(&point);
        if let Some(wrong_by_ms) = self.wrong_by_ms {
            let day_ms = 86_400_000;
            let at = |ms: i64| jiff::Timestamp::from_millisecond(ms.max(0)).expect("a moment").to_string();
            let there = unix_ms() + wrong_by_ms;
            rows.extend(self.ingestor.readings_between(&point, &at(there - day_ms), &at(there + day_ms)));
        }
        rows
    }

    /// Every stored reading against the truth; `harm.lost` stays 0, as the caller knows what was accepted.
    pub fn look(&self) -> Verdict {
        let mut verdict = Verdict::default();
        for unit in 1..=self.field.last().len() {
            // In this order: the gateway goes on, and every word that is stored has its count stored with it.
            let words: Vec<_> = (0..self.words).map(|k| self.point(unit, &format!("word_{k}"))).collect();
            let mut seen = BTreeMap::new();
            for row in self.point(unit, "count") {
                verdict.labels.extend(label(&row));
                let Some(count) = row["value"].as_f64().map(|value| value as u32) else { continue };
                verdict.readings += 1;
                match self.field.when(unit, count) {
                    Some(at) => verdict.judge_time(&row, at, self.time_ms_max),
                    None if self.is_of(count) => verdict.harm.wrong += 1,
                    None => {}
                }
                if seen.insert(count, label(&row)).is_some() {
                    verdict.harm.doubled += 1;
                }
            }
            let of_label: BTreeMap<_, u32> = seen.into_iter().map(|(count, label)| (label, count)).collect();
            for (k, rows) in (0..).zip(words) {
                verdict.judge_words(k, &rows, &of_label);
            }
        }
        verdict
    }

    /// Numbers of another field, a million apart, are judged by that one.
    fn is_of(&self, count: u32) -> bool {
        count / 1_000_000 == self.field.first / 1_000_000
    }

    /// The numbers of unit 1's answers that are stored.
    pub fn look_at_counts(&self) -> BTreeSet<u64> {
        let rows = self.point(1, "count");
        rows.iter().filter_map(|row| Some(row["value"].as_f64()? as u64)).collect()
    }

    /// Waits until every answer given so far is stored; the gateway must live.
    pub fn wait_for_all(&self, most_s: u64) -> Verdict {
        let before = self.field.last();
        wait_for("every answer of the field stored", most_s, || {
            let stored = (1..=before.len()).all(|unit| {
                let rows = self.point(unit, "count");
                let counts: BTreeSet<u64> =
                    rows.iter().filter_map(|row| Some(row["value"].as_f64()? as u64)).collect();
                (self.field.first..=before[unit - 1]).all(|count| counts.contains(&u64::from(count)))
            });
            stored.then_some(())
        });
        self.look()
    }

    /// Waits until everything that the gateways accepted is stored.
    pub fn wait_for_accepted(&self, accepted: &BTreeSet<(String, u64)>, most_s: u64) -> Verdict {
        wait_for("everything accepted stored", most_s, || {
            let rows: Vec<Value> =
                (1..=self.field.last().len()).flat_map(|unit| self.point(unit, "count")).collect();
            let stored: BTreeSet<_> = rows.iter().filter_map(label).collect();
            accepted.is_subset(&stored).then_some(())
        });
        self.look()
    }
}

impl Verdict {
    fn judge_words(&mut self, k: u16, rows: &[Value], of_label: &BTreeMap<Option<(String, u64)>, u32>) {
        let mut seen = BTreeSet::new();
        for row in rows {
            let Some(value) = row["value"].as_f64() else { continue };
            self.readings += 1;
            let label = label(row);
            let right = of_label.get(&label).is_some_and(|count| f64::from(word(*count, k)) == value);
            self.harm.wrong += u64::from(!right);
            self.harm.doubled += u64::from(!seen.insert(label));
        }
    }

    fn judge_time(&mut self, row: &Value, true_at: i64, most_ms: i64) {
        if row["cause"].as_str() == Some("clock_unknown") {
            self.clock_unknown += 1;
            return;
        }
        let off_ms = (moment(row, "at") - true_at).abs();
        self.off_ms = self.off_ms.max(off_ms);
        self.harm.wrong += u64::from(off_ms > most_ms);
    }
}
