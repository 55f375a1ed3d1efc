//! What the ledger says of hours that went wrong in every way, on a real store.

use std::path::Path;
use std::sync::{Arc, Mutex, RwLock};

use sitian_alert::{Rules, Vocabulary};
use sitian_api::{Presenter, Zone};
use sitian_ingest::{
    Effect, EpochEntry, EpochState, GapCommitted, Incident, PointEntry, Quarantined, Redecoded,
};
use sitian_model::{DeviceId, DeviceInfo, GapReason, Manifest, PointId, PointInfo, PointKey, Row, Seq};
use sitian_profile::{Catalogue, catalogue_text};
use sitian_registry::{Registry, Transaction};
use sitian_store_embedded::Store;
use sitian_supervision::{Territory, territory};
use tokio::sync::mpsc;

use super::*;
use crate::board::Board;
use crate::commands::Book;
use crate::link::Outlet;

/// A full hour, long ago.
const START: Timestamp = Timestamp(1_700_000_400_000 - 1_700_000_400_000 % 3_600_000);
/// Readings are taken a little after they are due.
const PHASE_MS: i64 = 300;
const STEP_S: i64 = 10;

fn gateway() -> GatewayId {
    GatewayId::new("dangzhai-01").expect("well-formed")
}

fn second(s: i64) -> Timestamp {
    START.plus_ms(s * 1_000)
}

/// A gateway as the store saw it. Both its points are polled every ten seconds, into one record, where nothing else is said.
struct World {
    effects: Vec<Effect>,
    points: BTreeMap<String, PointNo>,
    epochs: BTreeMap<u32, (EpochState, Vec<PointNo>)>,
}

impl World {
    /// Epoch 1 begins, a minute before the hour.
    fn new() -> Self {
        let mut world = Self { effects: Vec::new(), points: BTreeMap::new(), epochs: BTreeMap::new() };
        world.begin(1, -60);
        world
    }

    /// Epoch 1 began at another moment.
    fn forget_beginning(&mut self, at_s: i64) {
        self.effects.clear();
        self.begin(1, at_s);
    }

    /// An epoch is seen live, with points `a` and `b`.
    fn begin(&mut self, no: u32, at_s: i64) {
        self.begin_with(no, at_s, 1, &[("a", 10), ("b", 10)]);
    }

    /// `live`: 0 for an epoch from a backlog.
    fn begin_with(&mut self, no: u32, at_s: i64, live: u32, points: &[(&str, u32)]) {
        let text = String::new;
        let id = DeviceId::new("soil-1").expect("well-formed");
        let device = DeviceInfo { id, name: text(), place: text(), profile: text(), bus: text() };
        let info = |(key, interval_s): &(&str, u32)| PointInfo {
            device: 0,
            key: PointKey::new(key).expect("well-formed"),
            measurement: "soil_ph".into(),
            unit: text(),
            decimals: 1,
            interval_ms: interval_s * 1_000,
        };
        let infos: Vec<PointInfo> = points.iter().map(info).collect();
        let mut numbers = Vec::new();
        for info in &infos {
            let next = PointNo(self.points.len() as u32);
            let no = *self.points.entry(info.key.to_string()).or_insert(next);
            let id = PointId { gateway: gateway(), device: device.id.clone(), key: info.key.clone() };
            let (device, info, at) = (device.clone(), info.clone(), second(at_s));
            self.effects.push(Effect::Point(PointEntry { no, id, device, info, at }));
            numbers.push(no);
        }
        let manifest =
            Manifest { gateway: gateway(), software: "1".into(), devices: vec![device], points: infos };
        let entry = EpochEntry {
            no: EpochNo(no),
            gateway: gateway(),
            epoch: Epoch([no as u8; 16]),
            points: numbers.clone(),
            manifest,
            at: second(at_s),
        };
        self.effects.push(Effect::Epoch(entry));
        let state = EpochState { live_rank: live * no, ..EpochState::fresh(EpochNo(no)) };
        self.epochs.insert(no, (state, numbers));
    }

    /// A record every ten seconds, from one moment up to another: what each point has in it.
    fn tell(&mut self, no: u32, from_s: i64, to_s: i64, qualities: &[Quality]) {
        let (state, points) = self.epochs.get_mut(&no).expect("begun");
        let mut rows = Vec::new();
        for s in (from_s..to_s).step_by(STEP_S as usize) {
            let at = second(s).plus_ms(PHASE_MS);
            for (point, quality) in points.iter().zip(qualities) {
                let value = (!matches!(quality, Quality::Bad(_))).then_some(7.0);
                let (point, quality, epoch, seq) = (*point, *quality, EpochNo(no), state.committed);
                rows.push(Row { point, at, value, quality, epoch, seq });
            }
            state.committed += 1;
            if qualities.iter().all(|quality| quality.cause() != Some(Cause::ClockUnknown)) {
                state.newest_at = state.newest_at.max(Some(at));
            }
        }
        self.effects.push(Effect::Rows(rows));
    }

    fn speak(&mut self, no: u32, from_s: i64, to_s: i64) {
        self.tell(no, from_s, to_s, &[Quality::Good; 2]);
    }

    /// So many records are stored under times of another year.
    fn speak_without_time(&mut self, no: u32, records: i64) {
        let unknown = Quality::Uncertain(Cause::ClockUnknown);
        let long_ago_s = -400 * 86_400 + 7_000 * i64::from(no);
        self.tell(no, long_ago_s, long_ago_s + records * STEP_S, &[unknown; 2]);
    }

    /// So many records are nowhere; gives the first and the last.
    fn skip(&mut self, no: u32, records: u64) -> (Seq, Seq) {
        let (state, _) = self.epochs.get_mut(&no).expect("begun");
        let first = state.committed;
        state.committed += records;
        (first, first + records - 1)
    }

    fn gap(&mut self, no: u32, records: u64, reason: GapReason, span: Option<(i64, i64)>) {
        let (first, last) = self.skip(no, records);
        let taken = |s: i64| second(s).plus_ms(PHASE_MS);
        let span = span.map(|(from, to)| Span { from: taken(from), to: taken(to) });
        let gap = Gap { first, last, reason, span };
        self.effects.push(Effect::Gap(GapCommitted { epoch: EpochNo(no), gap, at: second(7_000) }));
    }

    fn quarantine(&mut self, no: u32, records: u64) {
        let (first, last) = self.skip(no, records);
        self.effects.push(Effect::Quarantine(Quarantined {
            gateway: gateway(),
            range: Some((Epoch([no as u8; 16]), first, last + 1)),
            form: Form::Message,
            reason: "test".into(),
            raw: vec![1],
            at: second(7_000),
        }));
    }

    fn clone_is_told(&mut self, at_s: i64) {
        let (kind, at) = (IncidentKind::Clone, second(at_s));
        let gateway = gateway();
        let (epoch, other, seqs, after) = (None, None, None, None);
        self.effects.push(Effect::Incident(Incident { kind, gateway, epoch, other, seqs, after, at }));
    }

    /// The centre over all of it.
    fn centre(self, path: &Path) -> (Store, Centre) {
        let (name, text) = territory::builtin();
        let territory = Arc::new(Territory::parse(name, text).expect("ours"));
        let rules = Arc::new(Rules::parse(&[], &Vocabulary::any()).expect("none"));
        let catalogue = Arc::new(Catalogue::parse("measurements.toml", catalogue_text()).expect("ours"));
        let mut store = Store::open(path).expect("opens");
        let mut effects = self.effects;
        effects.extend(self.epochs.into_values().map(|(state, _)| Effect::Watermark(state)));
        let at = second(7_200);
        let (alerts, alert_state) = Default::default();
        store.commit(&Transaction { effects, alerts, alert_state, at }).expect("room");
        let (asks, _) = mpsc::channel(1);
        let mut board = Board::new(&territory);
        store.reader().restored().expect("reads").points.into_iter().for_each(|entry| board.know(entry));
        let centre = Centre {
            board: RwLock::new(board),
            presenter: Presenter::new(Zone::default(), territory.clone(), catalogue, rules),
            territory,
            reader: Arc::new(store.reader()),
            series: Arc::new(store.reader()),
            storage: path.to_owned(),
            book: Mutex::new(Book::beside(path).expect("a book")),
            outlet: Outlet::closed(),
            asks,
            others: None,
        };
        (store, centre)
    }
}

/// `stored/expected`, then the reasons, then what speaks against stored ones.
fn words(entry: &LedgerEntry) -> String {
    let list = |map: &BTreeMap<String, u64>| -> Vec<String> {
        map.iter().map(|(word, n)| format!("{word} {n}")).collect()
    };
    let mut text = vec![format!("{}/{}", entry.stored, entry.expected)];
    text.extend(list(&entry.missing));
    text.extend(list(&entry.doubtful).into_iter().map(|word| format!("({word})")));
    text.join(" ")
}

/// The first two hours at the base, its town, its county and its city say the same, hour by hour and as a whole; and so do the
/// aggregates of its points.
fn check(name: &str, script: impl FnOnce(&mut World), wanted: [&str; 2]) {
    let mut world = World::new();
    script(&mut world);
    let keys: Vec<String> = world.points.keys().cloned().collect();
    let folder = tempfile::tempdir().expect("a folder");
    let (_store, centre) = world.centre(&folder.path().join("centre.db"));
    let span = Span { from: START, to: second(7_200) };
    let base = centre.territory.base_of(&gateway()).expect("it stands there").id.clone();
    let way: Vec<String> =
        centre.territory.breadcrumb(&base).into_iter().map(|node| node.id.clone()).collect();
    assert_eq!(way.len(), 4);
    let mut of_base = Vec::new();
    for scope in way.iter().rev() {
        let query = LedgerQuery { scope: scope.clone(), depth: 1, span, window_ms: 3_600_000 };
        let ledger = centre.count_ledger(&query).expect("an answer");
        let (own, below): (Vec<_>, Vec<_>) = ledger.items.into_iter().partition(|entry| entry.id == *scope);
        assert_eq!(own.iter().map(words).collect::<Vec<_>>(), wanted, "{name}, at {scope}");
        for (n, entry) in own.iter().enumerate() {
            assert_eq!(entry.expected, entry.stored + entry.missing.values().sum::<u64>(), "{name}");
            let children = below.iter().filter(|below| below.from == entry.from);
            let expected: u64 = children.map(|below| below.expected).sum();
            assert!(below.is_empty() || expected == entry.expected, "{name}: hour {n} adds up");
        }
        if *scope == base {
            of_base = own;
        }
    }
    let mut told: Vec<BTreeMap<String, u64>> = vec![BTreeMap::new(); 2];
    for key in keys {
        let id = PointId::parse(&format!("dangzhai-01/soil-1/{key}")).expect("well-formed");
        let answer = centre.aggregates(&id, span, 3_600_000, &Extras::default()).expect("an answer");
        for (told, window) in told.iter_mut().zip(&answer.items) {
            window.missing.iter().for_each(|(why, n)| *told.entry(why.clone()).or_default() += n);
        }
    }
    let missing: Vec<_> = of_base.iter().map(|entry| entry.missing.clone()).collect();
    assert_eq!(told, missing, "{name}: beside the aggregates");
}

#[test]
fn every_hour_says_what_is_missing_and_why() {
    let bad = |cause| [Quality::Bad(cause), Quality::Good];
    check("all is there", |world| world.speak(1, -60, 7_200), ["720/720", "720/720"]);
    for cause in [Cause::Timeout, Cause::Checksum, Cause::BusOverrun, Cause::Unreachable, Cause::Exception] {
        let wanted = format!("710/720 {} 10", cause.word());
        let script = |world: &mut World| {
            world.speak(1, -60, 100);
            world.tell(1, 100, 200, &bad(cause));
            world.speak(1, 200, 7_200);
        };
        check(cause.word(), script, [&wanted, "720/720"]);
    }
    check(
        "a value that cannot be is stored, and said to be so",
        |world| {
            world.speak(1, -60, 100);
            world.tell(1, 100, 150, &[Quality::Uncertain(Cause::Implausible), Quality::Good]);
            world.speak(1, 150, 7_200);
        },
        ["720/720 (implausible 5)", "720/720"],
    );
    check(
        "a bus that is late says so once for several rounds",
        |world| {
            world.speak(1, -60, 100);
            for s in [100, 150] {
                world.tell(1, s, s + 10, &[Quality::Good, Quality::Bad(Cause::BusOverrun)]);
                // Only the other device answers.
                world.tell(1, s + 10, s + 50, &[Quality::Good]);
            }
            world.speak(1, 200, 7_200);
        },
        ["710/720 bus_overrun 10", "720/720"],
    );
}

#[test]
fn an_hour_in_which_records_were_lost_says_why() {
    for (reason, word) in
        [(GapReason::Evicted, "evicted"), (GapReason::Damaged, "damaged"), (GapReason::Trimmed, "trimmed")]
    {
        for span in [Some((3_000, 4_190)), None] {
            let script = |world: &mut World| {
                world.speak(1, -60, 3_000);
                world.gap(1, 120, reason, span);
                world.speak(1, 4_200, 7_200);
            };
            let wanted = format!("600/720 {word} 120");
            check(word, script, [&wanted, &wanted]);
        }
    }
    check(
        "quarantine",
        |world| {
            world.speak(1, -60, 3_500);
            world.quarantine(1, 20);
            world.speak(1, 3_700, 7_200);
        },
        ["700/720 quarantined 20", "700/720 quarantined 20"],
    );
    check(
        "a quarantine that was read again",
        |world| {
            world.speak(1, -60, 3_500);
            world.quarantine(1, 3);
            world.effects.push(Effect::Redecoded(Redecoded { id: 1, readings: 6, at: second(7_100) }));
            world.epochs.get_mut(&1).expect("begun").0.committed -= 3;
            world.speak(1, 3_500, 7_200);
        },
        ["720/720", "720/720"],
    );
    check(
        "the gateway was off, over the hour",
        |world| {
            world.speak(1, -60, 3_000);
            world.begin(2, 4_190);
            world.speak(2, 4_200, 7_200);
        },
        ["600/720 gateway_down 120", "600/720 gateway_down 120"],
    );
    check(
        "everything at once: a timeout, a quarantine, a gap, and then it was off",
        |world| {
            world.speak(1, -60, 100);
            world.tell(1, 100, 200, &bad_pair(Cause::Timeout));
            world.speak(1, 200, 500);
            world.quarantine(1, 5);
            world.speak(1, 550, 1_000);
            world.gap(1, 50, GapReason::Evicted, Some((1_000, 1_490)));
            world.speak(1, 1_500, 2_000);
            world.quarantine(1, 4);
            world.begin(2, 2_990);
            world.speak(2, 3_000, 7_200);
        },
        ["390/720 evicted 100 gateway_down 192 quarantined 18 timeout 20", "720/720"],
    );
}

fn bad_pair(cause: Cause) -> [Quality; 2] {
    [Quality::Bad(cause); 2]
}

#[test]
fn readings_whose_time_nobody_knows_are_missed_where_they_were_taken_on_every_day_and_each_time() {
    check(
        "the time was heard late, twice on one day",
        |world| {
            world.speak(1, -60, 1_000);
            world.begin(2, 1_190);
            world.speak_without_time(2, 5);
            world.speak(2, 1_250, 5_000);
            world.begin(3, 5_090);
            world.speak_without_time(3, 7);
            world.speak(3, 5_170, 7_200);
        },
        // 25 and 17 were due: the gateway was off before.
        ["670/720 clock_unknown 10 gateway_down 40", "686/720 clock_unknown 14 gateway_down 20"],
    );
    check(
        "the time was never heard in a boot, and its records came after those of the next",
        |world| {
            world.speak(1, -60, 1_000);
            world.begin(2, 1_990);
            world.begin_with(3, 2_010, 0, &[("a", 10), ("b", 10)]);
            world.speak_without_time(3, 30);
            world.speak(2, 2_000, 7_200);
        },
        ["520/720 clock_unknown 60 gateway_down 140", "720/720"],
    );
    check(
        "the clock was lost in the middle of an epoch",
        |world| {
            world.speak(1, -60, 1_000);
            world.speak_without_time(1, 10);
            world.speak(1, 1_100, 7_200);
        },
        ["700/720 clock_unknown 20", "720/720"],
    );
}

#[test]
fn what_a_gateway_had_then_counts_and_not_what_it_has_now() {
    check(
        "a point that was taken away: due until its gateway last spoke with it",
        |world| {
            world.speak(1, -60, 1_000);
            world.tell(1, 1_000, 1_100, &[Quality::Good, Quality::Bad(Cause::Timeout)]);
            world.speak(1, 1_100, 1_800);
            world.begin_with(2, 1_805, 1, &[("a", 10)]);
            world.tell(2, 1_810, 7_200, &[Quality::Good]);
        },
        // One poll fell into the restart: a single one is where a window's edge may have fallen.
        ["529/539 timeout 10", "360/360"],
    );
    check(
        "an interval that was changed",
        |world| {
            world.speak(1, -60, 1_000);
            world.tell(1, 1_000, 1_100, &bad_pair(Cause::Timeout));
            world.speak(1, 1_100, 1_800);
            world.begin_with(2, 1_800, 1, &[("a", 10), ("b", 60)]);
            for minute in 30..120 {
                world.tell(2, 60 * minute, 60 * minute + 10, &[Quality::Good; 2]);
                world.tell(2, 60 * minute + 10, 60 * minute + 60, &[Quality::Good]);
            }
        },
        ["550/570 timeout 20", "420/420"],
    );
    check(
        "a gateway that was not there before: what is missing since has its own reason",
        |world| {
            world.forget_beginning(1_795);
            world.speak(1, 1_800, 2_000);
            world.tell(1, 2_000, 2_100, &[Quality::Good, Quality::Bad(Cause::BusOverrun)]);
            world.tell(1, 2_100, 2_150, &[Quality::Good]);
            world.speak(1, 2_150, 7_200);
        },
        ["345/360 bus_overrun 15", "720/720"],
    );
    check(
        "a point that is new: what came before it was known is no promise",
        |world| {
            world.speak(1, -60, 600);
            world.begin_with(2, 1_200, 1, &[("a", 10), ("b", 10), ("c", 10)]);
            world.tell(2, 600, 7_200, &[Quality::Good; 3]);
        },
        ["1020/1020", "1080/1080"],
    );
}

#[test]
fn a_second_writer_does_not_make_up_for_a_silence() {
    check(
        "a clone for half an hour, then both are off",
        |world| {
            world.begin(2, -50);
            world.speak(1, -60, 1_800);
            world.speak(2, -55, 1_800);
            world.clone_is_told(60);
            world.begin(3, 3_590);
            world.speak(3, 3_600, 7_200);
        },
        // The clone's polls lie half an interval beside those that are due: one per point is where the edge fell.
        ["360/718 gateway_down 358", "720/720"],
    );
}
