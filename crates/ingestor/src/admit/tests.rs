//! The admission on a real store: kills in between, copies put back.

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use sitian_alert::{Episode, Phase, Subject, Vocabulary};
use sitian_api::{Backend, Presenter, Zone};
use sitian_ingest::{Form, Limits, Quarantined};
use sitian_model::{
    Batch, DeviceId, DeviceInfo, Entry, Epoch, Held, Manifest, PointInfo, PointKey, Quality, Reading, Record,
    Row, SpoolState,
};
use sitian_mqtt::{Link, LinkSettings};
use sitian_profile::{Catalogue, catalogue_text};
use sitian_registry::{EpisodeFilter, ListFilter, Registry};
use sitian_series::{Append, AppendError, Refused};
use sitian_store_embedded::Store;
use sitian_store_influx::Names;
use sitian_supervision::territory;

use super::*;
use crate::commands::Book;

mod histories;

const RULES: &str = r#"
[[rule]]
id = "high"
name = { zh = "高", en = "High" }
kind = "above"
measurement = "soil_ph"
for = "0s"
levels = [{ severity = "red", threshold = 10, clear = 5 }]
source = "test"
verified = "U"
"#;

fn gateway() -> GatewayId {
    GatewayId::new("gw-1").expect("well-formed")
}

fn epoch(n: u8) -> Epoch {
    Epoch([n; 16])
}

/// One device with these points.
fn manifest(keys: &[&str]) -> Manifest {
    let text = String::new;
    let id = DeviceId::new("soil-1").expect("well-formed");
    let device = DeviceInfo { id, name: text(), place: text(), profile: text(), bus: text() };
    let point = |key: &&str| PointInfo {
        device: 0,
        key: PointKey::new(key).expect("well-formed"),
        measurement: "soil_ph".into(),
        unit: text(),
        decimals: 1,
        interval_ms: 1_000,
    };
    let points = keys.iter().map(point).collect();
    Manifest { gateway: gateway(), software: "1".into(), devices: vec![device], points }
}

fn start(path: &Path) -> Admission {
    start_with(path, RULES, None)
}

/// The same, with the readings in another engine.
fn start_beside(path: &Path, far: Option<&Far>) -> Admission {
    start_with(path, RULES, far)
}

/// An admission on this file, as after a start. The link leads nowhere.
fn start_with(path: &Path, rules: &str, far: Option<&Far>) -> Admission {
    let (name, text) = territory::builtin();
    let territory = Arc::new(Territory::parse(name, text).expect("ours"));
    let rules = Arc::new(Rules::parse(&[("rules.toml", rules)], &Vocabulary::any()).expect("ours"));
    let catalogue = Arc::new(Catalogue::parse("measurements.toml", catalogue_text()).expect("ours"));
    let store = Store::open(path).expect("opens");
    let elsewhere = far.map(|far| {
        let mut elsewhere = Elsewhere::new(Box::new(far.clone()), Arc::new(Names::default()), &territory);
        elsewhere.learn_all(&store.reader().restored().expect("reads"));
        elsewhere
    });
    let (asks, asked) = mpsc::channel(1);
    let centre = Arc::new(Centre {
        board: RwLock::new(Board::new(&territory)),
        presenter: Presenter::new(Zone::default(), territory.clone(), catalogue, rules.clone()),
        territory,
        reader: Arc::new(store.reader()),
        series: Arc::new(store.reader()),
        storage: path.to_owned(),
        book: Mutex::new(Book::beside(path).expect("a book")),
        outlet: Outlet::closed(),
        asks,
        others: None,
    });
    let (link, _) = Link::start(LinkSettings::new("127.0.0.1".to_owned(), 1, "test"));
    let outlet = Outlet::new(link.publisher());
    Admission::restore(
        (Box::new(store), elsewhere, Part::All),
        rules,
        Duration::ZERO,
        centre,
        outlet,
        Live::new(),
        asked,
    )
    .expect("reads back")
}

/// One live record of an epoch: a value for each of its points.
fn hear(admission: &mut Admission, e: u8, seq: u64, values: &[f64], older: &[u8], now: Timestamp) {
    let reading = |(n, value): (usize, &f64)| Reading {
        point: n as u32,
        at: now,
        value: Some(*value),
        quality: Quality::Good,
    };
    let readings = values.iter().enumerate().map(reading).collect();
    let record = Record { boot: 1, mono_ms: 0, uncertainty_ms: Some(1), readings };
    let held = |n: u8, end| Held { epoch: epoch(n), oldest: 0, end, acked: 0 };
    let known = admission.ingest.state(&gateway(), &epoch(e)).expect("its manifest came");
    let batch = Batch {
        epoch: epoch(e),
        first: seq,
        entries: vec![Entry::Record(vec![e, seq as u8])],
        chain: known.chain.expect("no gaps here"),
        acked: 0,
        oldest: 0,
        held: older.iter().map(|n| held(*n, 1)).chain([held(e, seq + 1)]).collect(),
        clocks: Vec::new(),
        lane: Lane::Live,
        spool: SpoolState::default(),
    };
    admission.ingest.handle_batch(&gateway(), &batch, b"", &|_| Ok(record.clone()), now);
}

fn episodes(admission: &Admission) -> Vec<(String, Phase)> {
    let all = EpisodeFilter { limit: 100, ..EpisodeFilter::default() };
    let found = admission.keeper.reader().episodes(&all).expect("reads");
    let subject = |episode: &Episode| match &episode.subject {
        Subject::Point(_, id) => id.key.to_string(),
        Subject::Gateway(id) => id.to_string(),
    };
    let mut found: Vec<_> = found.iter().map(|episode| (subject(episode), episode.phase)).collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    found
}

#[tokio::test]
async fn a_point_that_its_gateway_no_longer_has_keeps_no_open_episode_however_the_centre_dies() {
    for killed in [false, true] {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sitian.db");
        let mut now = now();
        let mut admission = start(&path);
        admission.ingest.handle_manifest(&gateway(), epoch(1), manifest(&["a", "b"]), now);
        hear(&mut admission, 1, 0, &[20.0, 20.0], &[], now);
        admission.settle(now);
        let (a, b) = ("a".to_owned(), "b".to_owned());
        assert_eq!(episodes(&admission), [(a.clone(), Phase::Firing), (b.clone(), Phase::Firing)]);
        // A new epoch without b. Right behind the commit the centre may die: then nothing after it has happened.
        now = now.plus_ms(1_000);
        admission.ingest.handle_manifest(&gateway(), epoch(2), manifest(&["a"]), now);
        hear(&mut admission, 2, 0, &[20.0], &[1], now);
        let before = admission.keeper.reader().alert_log_end().expect("reads");
        admission.settle(now);
        if killed {
            drop(admission);
            admission = start(&path);
        }
        assert_eq!(
            episodes(&admission),
            [(a.clone(), Phase::Firing), (b, Phase::Resolved)],
            "killed: {killed}"
        );
        let told = admission.keeper.reader().alert_log_after(before, 10).expect("reads");
        assert_eq!(told.iter().map(|line| line.at).collect::<Vec<_>>(), [now], "killed: {killed}");
        // An old epoch that arrives later brings nothing back.
        now = now.plus_ms(1_000);
        admission.ingest.handle_manifest(&gateway(), epoch(9), manifest(&["a", "b", "c"]), now);
        admission.settle(now);
        let board = admission.board();
        assert_eq!(board.gateways[&gateway()].points.len(), 1, "killed: {killed}");
    }
}

#[tokio::test]
async fn an_episode_that_is_over_can_be_acknowledged_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sitian.db");
    let mut now = now();
    let mut admission = start(&path);
    admission.ingest.handle_manifest(&gateway(), epoch(1), manifest(&["a"]), now);
    for (seq, value) in [(0, 20.0), (1, 1.0)] {
        hear(&mut admission, 1, seq, &[value], &[], now);
        admission.settle(now);
        now = now.plus_ms(1_000);
    }
    assert_eq!(episodes(&admission), [("a".to_owned(), Phase::Resolved)]);
    for (id, by, expected) in [
        (9, "Li", Err(AcknowledgeError::NotOpen)),
        (1, " ", Err(AcknowledgeError::Name)),
        (1, "Li", Ok(())),
        (1, "Wang", Ok(())),
    ] {
        let (reply, outcome) = oneshot::channel();
        admission.handle(Ask::Acknowledge { alert: id, by: by.into(), note: String::new(), reply });
        admission.settle(now);
        assert_eq!(outcome.await.expect("answered"), expected, "{id} by {by:?}");
    }
    let episode = admission.keeper.reader().episode(1).expect("reads").expect("there");
    let noted = episode.acknowledged.expect("somebody knows");
    assert_eq!((noted.by.as_str(), episode.phase), ("Li", Phase::Resolved));
}

/// An engine of its own, which may be down, and refuses what is above 1,000 unless it takes all.
#[derive(Clone, Default)]
struct Far {
    rows: Arc<Mutex<Vec<Row>>>,
    down: Arc<AtomicBool>,
    takes_all: Arc<AtomicBool>,
}

impl Append for Far {
    fn append(&mut self, rows: &[Row]) -> Result<Vec<Refused>, AppendError> {
        if self.down.load(Ordering::Relaxed) {
            return Err(AppendError::Later { retry_after_ms: Some(7_000), source: "down".into() });
        }
        let mut held = self.rows.lock().expect("nobody panicked");
        let (takes_all, mut refused) = (self.takes_all.load(Ordering::Relaxed), Vec::new());
        for (index, row) in rows.iter().enumerate() {
            if !takes_all && row.value.is_some_and(|value| value > 1_000.0) {
                refused.push(Refused { index, why: "too much".into() });
            } else if !held.iter().any(|known| (known.point, known.at) == (row.point, row.at)) {
                held.push(*row);
            }
        }
        Ok(refused)
    }
}

impl Far {
    fn values(&self) -> Vec<Option<f64>> {
        self.rows.lock().expect("nobody panicked").iter().map(|row| row.value).collect()
    }
}

fn committed(admission: &Admission) -> u64 {
    admission.ingest.state(&gateway(), &epoch(1)).expect("known").committed
}

#[tokio::test]
async fn nothing_is_acknowledged_while_the_engine_is_down_and_nothing_is_lost_or_doubled_when_it_is_up_again()
{
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sitian.db");
    let (far, now) = (Far::default(), now());
    let mut admission = start_beside(&path, Some(&far));
    admission.ingest.handle_manifest(&gateway(), epoch(1), manifest(&["a", "b"]), now);
    hear(&mut admission, 1, 0, &[1.0, 2.0], &[], now);
    admission.settle(now);
    assert_eq!((committed(&admission), far.values()), (1, vec![Some(1.0), Some(2.0)]));

    far.down.store(true, Ordering::Relaxed);
    let later = now.plus_ms(1_000);
    for _ in 0..3 {
        hear(&mut admission, 1, 1, &[3.0, 4.0], &[], later);
        admission.settle(later);
        assert_eq!(committed(&admission), 1, "the gateway has to keep it");
        let refusal = *admission.board().refusing.get(&Part::All).expect("people are told");
        assert_eq!(refusal.since, later, "and since when, however often it fails");
        // Other commits are no sign that the engine works again.
        admission.settle(later);
        assert!(!admission.board().refusing.is_empty());
    }
    far.down.store(false, Ordering::Relaxed);
    // A life before this one may have written the rows and died before the watermark moved.
    let rows: Vec<Row> = far.rows.lock().expect("nobody panicked").clone();
    let written = rows.iter().map(|row| Row { at: later, seq: 1, value: row.value.map(|v| v + 2.0), ..*row });
    far.rows.lock().expect("nobody panicked").extend(written.collect::<Vec<_>>());
    hear(&mut admission, 1, 1, &[3.0, 4.0], &[], later);
    admission.settle(later);
    assert_eq!(committed(&admission), 2);
    assert!(admission.board().refusing.is_empty());
    assert_eq!(far.values(), [1.0, 2.0, 3.0, 4.0].map(Some));

    drop(admission);
    assert_eq!(committed(&start_beside(&path, Some(&far))), 2, "the watermark is in the file");
    let extent = Store::open(&path).expect("opens").extent().expect("reads");
    assert_eq!((extent.head_rows, extent.chunks), (0, 0), "the readings are not");
}

/// A keeper whose lease has gone to another.
struct Yesterday(Store);

impl Keep for Yesterday {
    fn commit(&mut self, _: &Transaction) -> Result<sitian_registry::Committed, RegistryError> {
        Err(RegistryError::Fenced("another process has taken the slot over".into()))
    }

    fn assure(&mut self) -> Result<(), RegistryError> {
        Err(RegistryError::Fenced("another process has taken the slot over".into()))
    }

    fn alert_memory(&self) -> Result<sitian_alert::Delta, RegistryError> {
        Ok(self.0.alert_memory()?)
    }

    fn reader(&self) -> Arc<dyn Registry> {
        Arc::new(self.0.reader())
    }

    fn tidy(&mut self) -> Result<(), RegistryError> {
        Ok(())
    }

    fn close(&mut self) -> Result<(), RegistryError> {
        Ok(())
    }
}

#[tokio::test]
async fn an_owner_of_yesterday_tells_no_gateway_where_it_stands() {
    let folder = tempfile::tempdir().expect("a folder");
    let (far, now) = (Far::default(), now());
    let mut admission = start_beside(&folder.path().join("sitian.db"), Some(&far));
    admission.settle(now);
    admission.keeper = Box::new(Yesterday(Store::open(&folder.path().join("another.db")).expect("opens")));
    admission.handle(Ask::Link(true));
    admission.settle(now);
    assert!(admission.call.is_some(), "nobody was called");
    assert!(admission.ending, "and it ends");
}

#[tokio::test]
async fn an_engine_that_is_down_tells_gateways_how_long_to_wait() {
    let folder = tempfile::tempdir().expect("a folder");
    let (far, now) = (Far::default(), now());
    let mut admission = start_beside(&folder.path().join("sitian.db"), Some(&far));
    admission.ingest.handle_manifest(&gateway(), epoch(1), manifest(&["a"]), now);
    admission.settle(now);
    far.down.store(true, Ordering::Relaxed);
    hear(&mut admission, 1, 0, &[1.0], &[], now);
    admission.settle(now);
    assert_eq!(admission.call, Some(Duration::from_secs(7)));
}

#[tokio::test]
async fn a_reading_that_the_engine_refuses_is_kept_in_quarantine_and_holds_nothing_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sitian.db");
    let (far, now) = (Far::default(), now());
    let mut admission = start_beside(&path, Some(&far));
    admission.ingest.handle_manifest(&gateway(), epoch(1), manifest(&["a", "b", "c"]), now);
    hear(&mut admission, 1, 0, &[1.0, 5_000.0, 2.0], &[], now);
    admission.settle(now);
    assert_eq!((committed(&admission), far.values()), (1, vec![Some(1.0), Some(2.0)]));
    let all = ListFilter { gateways: None, since: None, before: None, limit: 10 };
    let held = admission.keeper.reader().quarantine(&all).expect("reads");
    assert_eq!(held.len(), 1);
    assert_eq!(held[0].range, Some((epoch(1), 0, 1)));
    assert!(held[0].reason.contains("too much"), "{}", held[0].reason);
    let raw = admission.keeper.reader().quarantine_raw(held[0].id).expect("reads").expect("there");
    let aside: Vec<_> = readings(&raw).into_iter().map(|reading| (reading.point, reading.value)).collect();
    assert_eq!(aside, [(1, Some(5_000.0))]);
    let shown = admission.board().points.values().filter(|point| point.latest.is_some()).count();
    assert_eq!(shown, 2, "what is not stored is not shown");
}

#[tokio::test]
async fn records_that_the_engine_refuses_one_after_the_other_share_an_entry_of_the_quarantine() {
    let folder = tempfile::tempdir().expect("a folder");
    let (far, now) = (Far::default(), now());
    let mut admission = start_beside(&folder.path().join("sitian.db"), Some(&far));
    admission.ingest.handle_manifest(&gateway(), epoch(1), manifest(&["a", "b"]), now);
    for (seq, values) in [[5_000.0, 6_000.0], [7_000.0, 1.0], [2.0, 3.0], [8_000.0, 4.0]].iter().enumerate() {
        hear(&mut admission, 1, seq as u64, values, &[], now.plus_ms(1_000 * seq as i64));
    }
    admission.settle(now);
    assert_eq!((committed(&admission), far.values()), (4, [1.0, 2.0, 3.0, 4.0].map(Some).to_vec()));
    let reader = admission.keeper.reader();
    let all = ListFilter { gateways: None, since: None, before: None, limit: 10 };
    let mut held = reader.quarantine(&all).expect("reads");
    held.sort_by_key(|entry| entry.id);
    let held_in = |id| readings(&reader.quarantine_raw(id).expect("reads").expect("there")).len();
    let found: Vec<_> = held.iter().map(|entry| (entry.range, held_in(entry.id))).collect();
    assert_eq!(found, [(Some((epoch(1), 0, 2)), 3), (Some((epoch(1), 3, 4)), 1)]);
}

/// What an entry of the quarantine holds.
fn readings(raw: &[u8]) -> Vec<Reading> {
    let batch = sitian_wire::decode_batch(raw).expect("a message");
    let entries = batch.entries.iter().map(|entry| match entry {
        Entry::Record(payload) => sitian_wire::decode_record(payload).expect("a record").readings,
        Entry::Gap(gap) => panic!("{gap:?}"),
    });
    entries.flatten().collect()
}

#[tokio::test]
async fn what_the_engine_refused_waits_until_it_takes_it_and_is_stored_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sitian.db");
    let (far, now) = (Far::default(), now());
    let mut admission = start_beside(&path, Some(&far));
    admission.ingest.handle_manifest(&gateway(), epoch(1), manifest(&["a", "b"]), now);
    for (seq, values) in [[5_000.0, 1.0], [6_000.0, 7_000.0], [2.0, 3.0]].iter().enumerate() {
        hear(&mut admission, 1, seq as u64, values, &[], now.plus_ms(1_000 * seq as i64));
    }
    admission.settle(now);
    drop(admission);
    let all = ListFilter { gateways: None, since: None, before: None, limit: 10 };
    for (takes_all, read_again, waiting) in
        [(false, (0, 1), 1), (false, (0, 1), 1), (true, (1, 0), 0), (true, (0, 0), 0)]
    {
        far.takes_all.store(takes_all, Ordering::Relaxed);
        let mut admission = start_beside(&path, Some(&far));
        // An engine that does not answer has said nothing about the entry.
        far.down.store(true, Ordering::Relaxed);
        assert_eq!(admission.reread_all(now).is_err(), waiting > 0 || read_again.0 > 0, "{takes_all}");
        far.down.store(false, Ordering::Relaxed);
        assert_eq!(admission.reread_all(now).expect("the engine answers"), read_again, "{takes_all}");
        let held = admission.keeper.reader().quarantine(&all).expect("reads");
        assert_eq!(held.len(), 1, "nothing is set aside twice");
        assert_eq!(held.iter().filter(|entry| entry.redecoded_at.is_none()).count(), waiting);
    }
    let mut values: Vec<_> = far.values().into_iter().flatten().collect();
    values.sort_by(f64::total_cmp);
    assert_eq!(values, [1.0, 2.0, 3.0, 5_000.0, 6_000.0, 7_000.0]);
}

#[tokio::test]
async fn what_comes_again_after_a_failed_commit_is_counted_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let (far, now) = (Far::default(), now());
    let mut admission = start_beside(&folder.path().join("sitian.db"), Some(&far));
    admission.ingest.handle_manifest(&gateway(), epoch(1), manifest(&["a", "b"]), now);
    for (seq, failures) in [(0, 0), (1, 4), (2, 1)] {
        for down in std::iter::repeat_n(true, failures).chain([false]) {
            far.down.store(down, Ordering::Relaxed);
            hear(&mut admission, 1, seq, &[3.0, 4.0], &[], now.plus_ms(1_000 * seq as i64));
            admission.settle(now);
        }
        let page = admission.centre.metrics(&sitian_api::backend::Work::default());
        for (name, expected) in [("records_admitted", seq + 1), ("readings_stored", 2 * (seq + 1))] {
            assert!(page.contains(&format!("sitian_{name}_total {expected}.0\n")), "{name}: {page}");
        }
    }
}

#[tokio::test]
async fn a_gateway_whose_quarantine_is_full_keeps_what_the_engine_refuses_and_holds_nobody_else_up() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sitian.db");
    let (far, now) = (Far::default(), now());
    let full = Quarantined {
        gateway: gateway(),
        range: None,
        form: Form::Message,
        reason: "nobody understands it".into(),
        raw: vec![0; Limits::default().quarantine_bytes_max as usize - 10],
        at: now,
    };
    let transaction =
        Transaction { effects: vec![Effect::Quarantine(full)], at: now, ..Transaction::default() };
    Store::open(&path).expect("opens").commit(&transaction).expect("commits");
    let mut admission = start_beside(&path, Some(&far));
    admission.ingest.handle_manifest(&gateway(), epoch(1), manifest(&["a", "b"]), now);
    admission.settle(now);
    hear(&mut admission, 1, 0, &[1.0, 2.0], &[], now);
    admission.settle(now);
    assert_eq!(committed(&admission), 1);
    // It has to keep the record that is refused, and all behind it: for a while nothing more is heard of it.
    for at in [now.plus_ms(1_000), now.plus_ms(2_000)] {
        hear(&mut admission, 1, 1, &[5_000.0, 3.0], &[], at);
        admission.settle(at);
        assert_eq!(committed(&admission), 1);
    }
    let counts = admission.keeper.reader().quarantine(&ListFilter {
        gateways: None,
        since: None,
        before: None,
        limit: 10,
    });
    assert_eq!(counts.expect("reads").len(), 1, "nothing more is set aside");
    // Somebody mends the engine.
    far.takes_all.store(true, Ordering::Relaxed);
    let later = now.plus_ms(70_000);
    hear(&mut admission, 1, 1, &[5_000.0, 3.0], &[], later);
    admission.settle(later);
    assert_eq!(committed(&admission), 2);
    assert!(far.values().contains(&Some(5_000.0)), "{:?}", far.values());
}

#[tokio::test]
async fn a_point_that_the_engine_cannot_name_does_not_stop_the_next_start() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sitian.db");
    let (far, now) = (Far::default(), now());
    let mut odd = manifest(&["a", "b"]);
    odd.points[1].unit = "ends with a \\".into();
    for n in 0..2 {
        let mut admission = start_beside(&path, Some(&far));
        admission.ingest.handle_manifest(&gateway(), epoch(1), odd.clone(), now);
        hear(&mut admission, 1, n, &[1.0, 2.0], &[], now.plus_ms(1_000 * n as i64));
        admission.settle(now);
        assert_eq!(committed(&admission), n + 1);
    }
}
