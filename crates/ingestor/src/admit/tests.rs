//! The admission on a real store: kills in between, copies put back.

use std::path::Path;
use std::sync::Mutex;

use sitian_alert::{Episode, Phase, Subject, Vocabulary};
use sitian_api::{Presenter, Zone};
use sitian_model::{
    Batch, DeviceId, DeviceInfo, Entry, Epoch, Held, Manifest, PointInfo, PointKey, Quality, Reading, Record,
    SpoolState,
};
use sitian_mqtt::{Link, LinkSettings};
use sitian_profile::{Catalogue, catalogue_text};
use sitian_store_embedded::EpisodeFilter;
use sitian_supervision::territory;

use super::*;
use crate::commands::Book;

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

/// An admission on this file, as after a start. The link leads nowhere.
fn start(path: &Path) -> Admission {
    let (name, text) = territory::builtin();
    let territory = Arc::new(Territory::parse(name, text).expect("ours"));
    let rules = Arc::new(Rules::parse(&[("rules.toml", RULES)], &Vocabulary::any()).expect("ours"));
    let catalogue = Arc::new(Catalogue::parse("measurements.toml", catalogue_text()).expect("ours"));
    let store = Store::open(path).expect("opens");
    let (asks, asked) = mpsc::channel(1);
    let centre = Arc::new(Centre {
        board: RwLock::new(Board::new(&territory)),
        presenter: Presenter::new(Zone::default(), territory.clone(), catalogue, rules.clone()),
        territory,
        reader: store.reader(),
        storage: path.to_owned(),
        book: Mutex::new(Book::beside(path).expect("a book")),
        outlet: Outlet::closed(),
        asks,
    });
    let (link, _) = Link::start(LinkSettings::new("127.0.0.1".to_owned(), 1, "test"));
    let outlet = Outlet::new(link.publisher());
    Admission::restore(store, rules, Duration::ZERO, centre, outlet, Live::new(), asked).expect("reads back")
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
    let found = admission.store.reader().episodes(&all).expect("reads");
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
        let before = admission.store.reader().alert_log_end().expect("reads");
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
        let told = admission.store.reader().alert_log_after(before, 10).expect("reads");
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
    let episode = admission.store.reader().episode(1).expect("reads").expect("there");
    let noted = episode.acknowledged.expect("somebody knows");
    assert_eq!((noted.by.as_str(), episode.phase), ("Li", Phase::Resolved));
}
