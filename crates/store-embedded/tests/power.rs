//! Power cuts: what was acknowledged is there, and rows and watermarks always tell the same story.

use std::fs;
use std::path::Path;

use sitian_ingest::{Effect, EpochEntry, EpochState};
use sitian_model::{Epoch, EpochNo, GatewayId, Manifest, PointNo, Quality, Row, Timestamp};
use sitian_registry::{Registry, Transaction};
use sitian_series::contract::span;
use sitian_series::{RangeQuery, Series};
use sitian_store_embedded::{SealLimits, Store};

const POINTS: u32 = 7;

fn epoch() -> Effect {
    let gateway = GatewayId::new("gw-1").expect("well-formed");
    Effect::Epoch(EpochEntry {
        no: EpochNo(1),
        gateway: gateway.clone(),
        epoch: Epoch([7; 16]),
        points: Vec::new(),
        manifest: Manifest { gateway, software: "0.1.0".into(), devices: Vec::new(), points: Vec::new() },
        at: Timestamp(0),
    })
}

/// One record of every point, and the watermark behind it.
fn record(seq: u64) -> Transaction {
    let row = |point| Row {
        point: PointNo(point),
        at: Timestamp(seq as i64 * 1_000),
        value: Some(seq as f64),
        quality: Quality::Good,
        epoch: EpochNo(1),
        seq,
    };
    let rows = Effect::Rows((0..POINTS).map(row).collect());
    let state = EpochState {
        committed: seq + 1,
        end: seq + 1,
        chain: Some(seq as u32),
        ..EpochState::fresh(EpochNo(1))
    };
    let mut effects = vec![rows, Effect::Watermark(state)];
    if seq == 0 {
        effects.insert(0, epoch());
    }
    Transaction { effects, at: Timestamp(seq as i64), ..Transaction::default() }
}

/// Rows are exactly those below the watermark, for every point; returns the watermark.
fn verify(store: &Store) -> u64 {
    let restored = store.reader().restored().expect("the registry reads");
    let committed = restored.epochs.first().map_or(0, |epoch| epoch.state.committed);
    for point in (0..POINTS).map(PointNo) {
        let query = RangeQuery { point, span: span(i64::MIN, i64::MAX), limit: 100_000, after: None };
        let rows = store.reader().range(&query).expect("the rows read").rows;
        let seqs: Vec<u64> = rows.iter().map(|row| row.seq).collect();
        assert_eq!(seqs, (0..committed).collect::<Vec<_>>(), "rows of {point:?}");
        let latest = store.reader().latest(&[point]).expect("the latest row reads");
        assert_eq!(latest, [rows.last().copied()]);
    }
    committed
}

/// What a power cut leaves: the files as they are at this moment, the shared-memory index gone.
fn snapshot(from: &Path, to: &Path) {
    for name in ["sitian.db", "sitian.db-wal"] {
        fs::copy(from.join(name), to.join(name)).expect("a copy");
    }
}

#[test]
fn every_snapshot_between_commits_opens_with_all_that_was_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    let limits = SealLimits { rows: 40, slice_rows: 10, ..SealLimits::default() };
    let mut store = Store::open_with(&folder.path().join("sitian.db"), limits).expect("opens");
    for seq in 0..60 {
        store.commit(&record(seq)).expect("commits");
        let cut = tempfile::tempdir().expect("a folder");
        snapshot(folder.path(), cut.path());
        let mut survivor =
            Store::open_with(&cut.path().join("sitian.db"), limits).expect("opens after the cut");
        assert_eq!(verify(&survivor), seq + 1);
        survivor.commit(&record(seq + 1)).expect("goes on");
        survivor.seal().expect("seals");
        assert_eq!(verify(&survivor), seq + 2);
    }
}

#[test]
fn a_log_torn_anywhere_in_the_last_commit_loses_that_commit_whole_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = Store::open(&folder.path().join("sitian.db")).expect("opens");
    let wal = folder.path().join("sitian.db-wal");
    for seq in 0..5 {
        store.commit(&record(seq)).expect("commits");
    }
    let before = fs::metadata(&wal).expect("the log is there").len();
    store.commit(&record(5)).expect("commits");
    let after = fs::metadata(&wal).expect("the log is there").len();
    assert!(before < after, "the commit is in the log");
    let mut seen = [0; 2];
    for length in (before..=after).step_by(199).chain([after - 1, after]) {
        let cut = tempfile::tempdir().expect("a folder");
        snapshot(folder.path(), cut.path());
        let torn = fs::File::options().write(true).open(cut.path().join("sitian.db-wal")).expect("opens");
        torn.set_len(length).expect("tears");
        let committed = verify(&Store::open(&cut.path().join("sitian.db")).expect("opens after the cut"));
        assert!(committed == 5 || (committed == 6 && length == after), "{committed} at {length}");
        seen[(committed - 5) as usize] += 1;
    }
    assert!(seen[0] > 10 && seen[1] > 0, "{seen:?}");
}

#[test]
fn a_restart_in_the_middle_of_a_sealing_finishes_it_without_loss_or_doubles() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sitian.db");
    let calm = SealLimits::default();
    let eager = SealLimits { rows: 10 * POINTS as usize, slice_rows: 1, ..calm };
    let mut store = Store::open_with(&path, calm).expect("opens");
    for seq in 0..10 {
        store.commit(&record(seq)).expect("commits");
    }
    for slices in 1..=u64::from(POINTS) {
        drop(store);
        store = Store::open_with(&path, eager).expect("opens");
        let more = store.maintain().expect("seals one point");
        assert_eq!(more, slices < u64::from(POINTS), "after {slices} slices");
        assert_eq!(verify(&store), 10);
    }
    let extent = store.extent().expect("counts");
    assert_eq!((extent.head_rows, extent.chunks), (0, u64::from(POINTS)), "one chunk a point, nothing twice");
}

#[test]
fn a_store_opens_again_beside_a_reader_that_outlived_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sitian.db");
    let mut store = Store::open(&path).expect("opens");
    (0..20).for_each(|seq| drop(store.commit(&record(seq)).expect("commits")));
    let reader = store.reader();
    drop(store);
    let store = Store::open(&path).expect("opens beside a reader that outlived the first store");
    assert_eq!(verify(&store), 20);
    drop(reader);
}
