//! I9: what the alert log holds is a fold over the committed log, however often the centre died and whatever copy it was
//! put back from. Random histories of the real admission on a real store against one engine that never ends and reads
//! only what is stored. `SEED=n` repeats a history, `SEEDS=n` asks for more.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use sitian_model::{Cause, PointNo, Row, Span};
use sitian_wire::{encode_batch, encode_record};

use super::*;

const HISTORIES: u64 = 24;
const STEPS: usize = 70;
const POINTS: [&str; 2] = ["a", "b"];
const RULES: &str = r#"
[[rule]]
id = "high"
name = { zh = "高", en = "High" }
kind = "above"
measurement = "soil_ph"
for = "3s"
levels = [
  { severity = "blue", threshold = 10, clear = 9, for = "0s" },
  { severity = "yellow", threshold = 20, clear = 18 },
  { severity = "red", threshold = 30, clear = 20, for = "6s" },
]
source = "test"
verified = "U"

[[rule]]
id = "low"
name = { zh = "低", en = "Low" }
kind = "below"
inclusive = true
measurement = "soil_ph"
for = "2s"
levels = [{ severity = "orange", threshold = 5, clear = 7 }]
source = "test"
verified = "U"
"#;

/// Numbers from a seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// An epoch as its gateway has it on its card.
#[derive(Default)]
struct Card {
    records: Vec<Vec<u8>>,
    /// What the gateway believes to be stored.
    acked: u64,
}

/// One commit that became durable.
struct Commit {
    now: Timestamp,
    rows: Vec<Row>,
}

/// What a fold is told, in order.
enum Told {
    Time(Timestamp),
    Rows(Commit),
}

/// How often the hard things happened.
#[derive(Debug, Default)]
struct Seen {
    duplicates: u64,
    kills: u64,
    kills_before_commit: u64,
    restores: u64,
    changes: usize,
    late: usize,
}

struct History {
    dice: Dice,
    path: PathBuf,
    now: Timestamp,
    admission: Option<Admission>,
    cards: BTreeMap<u8, Card>,
    /// Sent since the last commit, in this order: the epoch, and below which number its records are admitted since.
    sent: Vec<(u8, u64)>,
    told: Vec<Told>,
    known: BTreeSet<(u32, u64)>,
    /// A copy of the store, and how much had been told when it was made.
    copy: Option<(usize, BTreeSet<(u32, u64)>)>,
    value: f64,
    seen: Seen,
}

impl History {
    fn new(seed: u64, folder: &Path) -> Self {
        let path = folder.join("sitian.db");
        Self {
            dice: Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1),
            now: Timestamp(1_790_000_000_000),
            admission: Some(start_with(&path, RULES, None)),
            path,
            cards: BTreeMap::new(),
            sent: Vec::new(),
            told: Vec::new(),
            known: BTreeSet::new(),
            copy: None,
            value: 8.0,
            seen: Seen::default(),
        }
    }

    fn admission(&mut self) -> &mut Admission {
        self.admission.as_mut().expect("running")
    }

    fn newest(&self) -> Option<u8> {
        self.cards.keys().next_back().copied()
    }

    /// The gateway measures into its newest epoch.
    fn measure(&mut self) {
        let newest = self.newest().expect("begun");
        for _ in 0..=self.dice.below(12) {
            self.now = self.now.plus_ms(1_000);
            self.value = (self.value + self.dice.below(17) as f64 - 8.0).clamp(0.0, 40.0);
            // Devices with clocks of their own tell of earlier, and sometimes of later.
            let off_ms = match self.dice.below(12) {
                0 => -(self.dice.below(3_000_000) as i64),
                1 => self.dice.below(900_000) as i64,
                _ => 0,
            };
            let quality = match self.dice.below(14) {
                0 => Quality::Bad(Cause::Timeout),
                1 => Quality::Uncertain(Cause::Implausible),
                2 => Quality::Uncertain(Cause::ClockUnknown),
                _ => Quality::Good,
            };
            let (at, value) = (self.now.plus_ms(off_ms), self.value);
            let value = (!matches!(quality, Quality::Bad(_))).then_some(value);
            let readings =
                (0..POINTS.len() as u32).map(|point| Reading { point, at, value, quality }).collect();
            let record = Record { boot: 1, mono_ms: 0, uncertainty_ms: Some(1), readings };
            self.cards.get_mut(&newest).expect("there").records.push(encode_record(&record));
        }
    }

    /// Some epoch's records go out: the next ones, some of them again, or some too early.
    fn send(&mut self) {
        let epochs: Vec<u8> = self.cards.keys().copied().collect();
        let e = epochs[self.dice.below(epochs.len() as u64) as usize];
        let now = self.now;
        if self.admission().ingest.state(&gateway(), &epoch(e)).is_none() {
            self.admission().ingest.handle_manifest(&gateway(), epoch(e), manifest(&POINTS), now);
        }
        let end = self.cards[&e].records.len() as u64;
        let acked = self.cards[&e].acked;
        let first = match self.dice.below(6) {
            0 => self.dice.below(acked + 1),
            1 => (acked + self.dice.below(4)).min(end),
            _ => acked,
        };
        let last = (first + 1 + self.dice.below(12)).min(end);
        let records = &self.cards[&e].records;
        let chain = records[..first as usize].iter().fold(0, |chain, one| crc32c::crc32c_append(chain, one));
        let entries = records[first as usize..last as usize].iter().cloned().map(Entry::Record).collect();
        let held = |(e, card): (&u8, &Card)| Held {
            epoch: epoch(*e),
            oldest: 0,
            end: card.records.len() as u64,
            acked: card.acked,
        };
        let batch = Batch {
            epoch: epoch(e),
            first,
            entries,
            chain,
            acked,
            oldest: 0,
            held: self.cards.iter().map(held).collect(),
            clocks: Vec::new(),
            lane: if Some(e) == self.newest() { Lane::Live } else { Lane::Backfill },
            spool: SpoolState::default(),
        };
        self.seen.duplicates += u64::from(first < acked && last > first);
        self.admission().handle_batch(&gateway(), &encode_batch(&batch), now);
        let admitted = self.admission().ingest.state(&gateway(), &epoch(e)).expect("its manifest came");
        self.sent.push((e, admitted.committed));
    }

    /// Timers, evaluation and commit; what has become durable is read back from the store, and acknowledged.
    fn settle(&mut self) {
        let now = self.now;
        self.admission().handle_timers(now);
        self.told.push(Told::Time(now));
        self.admission().settle(now);
        let reader = self.admission().keeper.reader();
        let series = self.admission().centre.series.clone();
        let mut rows = Vec::new();
        let epochs = reader.restored().expect("reads").epochs;
        let number = |no| epochs.iter().find(|known| known.state.no == no).map(|known| known.epoch.0[0]);
        for point in 0..POINTS.len() as u32 {
            let all = Span { from: Timestamp(0), to: Timestamp(i64::MAX) };
            series
                .walk(PointNo(point), all, &mut |row| {
                    if !self.known.contains(&(row.epoch.0, row.seq)) {
                        rows.push(*row);
                    }
                    true
                })
                .expect("reads");
        }
        let sent = |row: &Row| {
            let e = number(row.epoch);
            self.sent.iter().position(|(sent, admitted)| Some(*sent) == e && row.seq < *admitted)
        };
        rows.sort_by_key(|row| (sent(row), row.epoch, row.seq, row.point));
        self.known.extend(rows.iter().map(|row| (row.epoch.0, row.seq)));
        self.told.push(Told::Rows(Commit { now, rows }));
        self.sent.clear();
        for (e, card) in &mut self.cards {
            let state = self.admission.as_ref().and_then(|a| a.ingest.state(&gateway(), &epoch(*e)));
            card.acked = state.map_or(0, |state| state.committed);
        }
    }

    /// `kill -9`: what was not committed is gone.
    fn kill(&mut self) {
        self.seen.kills += 1;
        self.seen.kills_before_commit += u64::from(!self.sent.is_empty());
        self.sent.clear();
        self.admission = None;
        self.admission = Some(start_with(&self.path, RULES, None));
    }

    fn files(&self) -> [(PathBuf, PathBuf); 2] {
        ["", "-wal"].map(|end| {
            let of = |name: &str| self.path.with_file_name(format!("{name}{end}"));
            (of("sitian.db"), of("copy.db"))
        })
    }

    fn make_copy(&mut self) {
        self.admission = None;
        for (store, copy) in self.files() {
            let _ = std::fs::remove_file(&copy);
            let _ = std::fs::copy(store, copy);
        }
        self.sent.clear();
        self.copy = Some((self.told.len(), self.known.clone()));
        self.admission = Some(start_with(&self.path, RULES, None));
    }

    /// The store is what it was when the copy was made; gateways go on believing what they were told.
    fn put_back(&mut self) {
        let Some((told, known)) = self.copy.clone() else { return };
        self.admission = None;
        let _ = std::fs::remove_file(self.path.with_file_name("sitian.db-shm"));
        for (store, copy) in self.files() {
            let _ = std::fs::remove_file(&store);
            let _ = std::fs::copy(copy, store);
        }
        self.sent.clear();
        self.told.truncate(told);
        self.known = known;
        self.seen.restores += 1;
        self.admission = Some(start_with(&self.path, RULES, None));
    }

    fn run(&mut self) {
        for _ in 0..STEPS {
            self.now = self.now.plus_ms(self.dice.below(20_000) as i64);
            if self.cards.is_empty() || self.dice.below(12) == 0 {
                self.cards.insert(self.cards.len() as u8 + 1, Card::default());
            }
            match self.dice.below(24) {
                0 | 1 => self.kill(),
                2 => self.make_copy(),
                3 => self.put_back(),
                4 => self.now = self.now.plus_ms(600_000),
                5..=11 => self.measure(),
                12..=18 => self.send(),
                _ => self.settle(),
            }
        }
        self.settle();
    }

    /// One engine that never ends, over what is stored.
    fn fold(&self) -> Vec<Change> {
        let rules = Rules::parse(&[("rules.toml", RULES)], &Vocabulary::any()).expect("ours");
        let mut engine = Engine::new(rules, sitian_alert::Settings::default(), Timestamp(0));
        for (no, key) in POINTS.iter().enumerate() {
            let id = sitian_model::PointId::parse(&format!("gw-1/soil-1/{key}")).expect("well-formed");
            let point = WatchedPoint {
                point: PointNo(no as u32),
                id,
                base: None,
                measurement: "soil_ph".into(),
                interval_ms: 1_000,
                place: String::new(),
                territory: Vec::new(),
            };
            engine.register(point, Timestamp(0));
        }
        for told in &self.told {
            match told {
                Told::Time(now) => {
                    if engine.poll_timeout().is_some_and(|at| at <= *now) {
                        engine.handle_timeout(*now);
                    }
                }
                Told::Rows(commit) => commit.rows.iter().for_each(|row| engine.observe(row, commit.now)),
            }
        }
        std::iter::from_fn(|| engine.poll_change()).collect()
    }
}

#[tokio::test]
async fn the_alert_log_is_a_fold_over_what_is_stored_whenever_the_centre_died_and_from_whatever_copy_it_came()
{
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(HISTORIES),
    };
    let mut all = Seen::default();
    for seed in seeds.clone() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut history = History::new(seed, folder.path());
        history.run();
        let reader = history.admission().keeper.reader();
        let stored = reader.alert_log_after(0, 100_000).expect("reads");
        let wanted = history.fold();
        for (n, (line, wanted)) in stored.iter().zip(&wanted).enumerate() {
            assert_eq!(&line.change, wanted, "SEED={seed}: change {n}; {:?}", history.seen);
        }
        assert_eq!(stored.len(), wanted.len(), "SEED={seed}: {:?}", history.seen);
        let Seen { duplicates, kills, kills_before_commit, restores, .. } = history.seen;
        all.duplicates += duplicates;
        all.kills += kills;
        all.kills_before_commit += kills_before_commit;
        all.restores += restores;
        all.changes += stored.len();
        all.late += stored.iter().filter(|line| line.change.episode.late).count();
    }
    println!("{seeds:?}: {all:?}");
    if seeds.end - seeds.start >= HISTORIES {
        let Seen { duplicates, kills, kills_before_commit, restores, changes, late } = all;
        assert!(duplicates > 10 && kills > 50 && kills_before_commit > 10 && restores > 10, "{all:?}");
        assert!(changes > 100 && late > 10, "{all:?}");
    }
}
