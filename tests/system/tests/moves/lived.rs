//! A store that has lived.

use std::ops::Range;
use std::path::Path;

use sitian_ingest::{Effect, EpochEntry, EpochState, PointEntry, Taken, Undated};
use sitian_model::{
    Cause, Correction, DeviceId, DeviceInfo, Epoch, EpochNo, GatewayId, Manifest, PointId, PointInfo,
    PointNo, Quality, Row, Span, Timestamp,
};
use sitian_registry::Transaction;
use sitian_series::Retention;
use sitian_store_embedded::{Progress, Store};

const HOUR_MS: i64 = 3_600_000;
/// A full hour.
pub const START_MS: i64 = 1_790_000_000_000 - 1_790_000_000_000 % HOUR_MS;
pub const GATEWAYS: u8 = 2;
pub const POINTS: u32 = 3;
/// Readings of each point, one a minute.
pub const ROWS: i64 = 3_000;
/// What is older has faded to hours.
const FADED: i64 = 600;
const LATER: Timestamp = Timestamp(START_MS + 400 * 86_400_000);

fn row(point: u32, n: i64) -> Row {
    let epoch = EpochNo((point - 1) / POINTS + 1);
    let quality = match n % 50 {
        7 => Quality::Bad(Cause::ALL[(n / 50) as usize % Cause::ALL.len()]),
        8 => Quality::Uncertain(Cause::ALL[(n / 50) as usize % Cause::ALL.len()]),
        _ => Quality::Good,
    };
    // The last point tells thirds, which need all digits.
    let value =
        if point == POINTS { n as f64 / 3.0 } else { (n * 7_919 % 1_000) as f64 / 10.0 + f64::from(point) };
    let value = (!matches!(quality, Quality::Bad(_))).then_some(value);
    let at = Timestamp(START_MS + n * 60_000 + n * 7_919 % 250);
    Row { point: PointNo(point), at, value, quality, epoch, seq: n as u64 }
}

/// One reading of a boot in 1970, one of the millisecond of another, and one of a time that the engine does not keep.
pub fn odd_ones() -> [Row; 3] {
    let unknown =
        Row { at: Timestamp(90_000), quality: Quality::Uncertain(Cause::ClockUnknown), ..row(1, 1) };
    let twin = Row { value: None, quality: Quality::Bad(Cause::Timeout), ..row(2, 2_000) };
    let outside = Row { at: Timestamp(-1_000), seq: 5_002, ..unknown };
    [Row { seq: 5_000, ..unknown }, Row { seq: 5_001, ..twin }, outside]
}

/// What the registry knows of a gateway.
fn described(no: u8) -> Vec<Effect> {
    let gateway = GatewayId::new(&format!("dangzhai-0{no}")).expect("well-formed");
    let device = DeviceInfo {
        id: DeviceId::new("soil-1").expect("well-formed"),
        name: "土壤".into(),
        place: String::new(),
        profile: "soil".into(),
        bus: "a".into(),
    };
    let id = |n: u32| PointId::parse(&format!("{gateway}/soil-1/p{n}")).expect("well-formed");
    let info = |n: u32| PointInfo {
        device: 0,
        key: id(n).key,
        measurement: "soil_moisture".into(),
        unit: "%".into(),
        decimals: 1,
        interval_ms: 60_000,
    };
    let points: Vec<PointNo> = (0..POINTS).map(|n| PointNo(u32::from(no - 1) * POINTS + n + 1)).collect();
    let infos: Vec<PointInfo> = (0..POINTS).map(info).collect();
    let at = Timestamp(START_MS);
    let entry = |n: usize| {
        let (info, device) = (infos[n].clone(), device.clone());
        Effect::Point(PointEntry { no: points[n], id: id(n as u32), device, info, at })
    };
    let mut effects: Vec<Effect> = (0..points.len()).map(entry).collect();
    let manifest = Manifest {
        gateway: gateway.clone(),
        software: "1".into(),
        devices: vec![device.clone()],
        points: infos.clone(),
    };
    let (no, epoch) = (EpochNo(no.into()), Epoch([no * 17; 16]));
    effects.push(Effect::Epoch(EpochEntry { no, gateway, epoch, points: points.clone(), manifest, at }));
    let end = 6_000;
    effects.push(Effect::Watermark(EpochState { committed: end, end, ..EpochState::fresh(no) }));
    effects
}

/// A store that has lived: readings that came late and in parts, roll-ups, a correction, an unknown time, two readings of
/// one millisecond; some of it still in the journal.
pub fn fill(path: &Path) {
    let mut store = Store::open(path).expect("opens");
    let commit = |store: &mut Store, effects: Vec<Effect>| {
        let transaction = Transaction { effects, at: Timestamp(START_MS), ..Transaction::default() };
        store.commit(&transaction).expect("commits");
    };
    (1..=GATEWAYS).for_each(|no| commit(&mut store, described(no)));
    let all = 1..=u32::from(GATEWAYS) * POINTS;
    let part = |span: Range<i64>, part: i64| -> Effect {
        let of = |point| span.clone().filter(move |n| n % 7 == part).map(move |n| row(point, n));
        Effect::Rows(all.clone().flat_map(of).collect())
    };
    let mut live = |span: Range<i64>, now: i64| {
        for n in [3, 0, 6, 1, 5, 2, 4] {
            commit(&mut store, vec![part(span.clone(), n)]);
            store.seal().expect("seals");
        }
        let retention = Retention { raw_days: Some(1), ..Retention::default() };
        let mut compactor = store.compactor(retention).expect("opens");
        while compactor.step(Timestamp(START_MS + now * 60_000)).expect("compacts") != Progress::Idle {}
    };
    live(0..FADED, FADED + 1_440);
    live(FADED..ROWS, FADED + 1_440);
    let corrected = Row { value: Some(99.5), quality: Quality::Good, ..row(1, 2_500) };
    let (by, note, at) = ("老王".to_owned(), "标定".to_owned(), Timestamp(START_MS));
    assert!(store.correct(&Correction { row: corrected, by, note, at }).expect("corrects"));
    let unknown = odd_ones()[0];
    let stamped = Span { from: unknown.at, to: unknown.at };
    let taken = Taken { after: None, before: LATER };
    let (epoch, point, seqs) = (unknown.epoch, unknown.point, (unknown.seq, unknown.seq));
    let undated = Undated { epoch, point, readings: 1, seqs, stamped, taken };
    commit(&mut store, vec![Effect::Rows(odd_ones().to_vec()), Effect::Undated(vec![undated])]);
}
