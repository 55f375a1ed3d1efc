//! What stands in every store of `tests/golden/store`: written by the release that its name says, read by all later ones.

use sitian_ingest::{Effect, EpochEntry, EpochState, Form, GapCommitted, Quarantined};
use sitian_model::{
    Cause, Epoch, EpochNo, Gap, GapReason, GatewayId, Manifest, PointNo, Quality, Row, Timestamp,
};
use sitian_registry::Transaction;
use sitian_store_embedded::{Store, StoreError};

/// The points that have rows.
pub const POINTS: u32 = 3;
/// Rows of each.
pub const ROWS: u64 = 900;
/// How many of them were sealed before the store was closed; the others are in the journal.
pub const SEALED: u64 = 800;
/// When the first row was measured.
pub const START_MS: i64 = 1_750_000_000_000;

/// A row of the story.
pub fn row(point: u32, n: u64) -> Row {
    let (value, quality) = match n % 50 {
        7 => (None, Quality::Bad(Cause::Timeout)),
        9 => (Some(n as f64 / 3.0), Quality::Uncertain(Cause::Implausible)),
        _ => (Some((n * 7_919 % 1_000) as f64 / 10.0 - f64::from(point)), Quality::Good),
    };
    let at = Timestamp(START_MS + n as i64 * 60_000 + i64::from(point));
    Row { point: PointNo(point), at, value, quality, epoch: EpochNo(1), seq: n }
}

/// The gateway of the story.
pub fn gateway() -> GatewayId {
    GatewayId::new("gw-golden").expect("well-formed")
}

/// What was lost.
pub fn gap() -> GapCommitted {
    let gap = Gap { first: 900, last: 905, reason: GapReason::Evicted, span: None };
    GapCommitted { epoch: EpochNo(1), gap, at: Timestamp(START_MS) }
}

/// Bytes of the quarantine.
pub const RAW: &[u8] = &[9, 8, 7];

/// How far the epoch had come.
pub fn watermark() -> EpochState {
    EpochState { committed: 906, end: 906, ..EpochState::fresh(EpochNo(1)) }
}

/// Writes the story.
///
/// # Errors
/// The store cannot be written.
pub fn write(store: &mut Store) -> Result<(), StoreError> {
    let manifest =
        Manifest { gateway: gateway(), software: "0.1.0".into(), devices: Vec::new(), points: Vec::new() };
    let epoch = EpochEntry {
        no: EpochNo(1),
        gateway: gateway(),
        epoch: Epoch([7; 16]),
        points: Vec::new(),
        manifest,
        at: Timestamp(START_MS),
    };
    commit(store, vec![Effect::Epoch(epoch)])?;
    for n in (0..SEALED).step_by(100) {
        commit(store, vec![rows(n, n + 100)])?;
        if n == 300 {
            store.seal()?;
        }
    }
    store.seal()?;
    let poison = Quarantined {
        gateway: gateway(),
        range: Some((Epoch([7; 16]), 905, 906)),
        form: Form::Record,
        reason: "newer layout".into(),
        raw: RAW.to_vec(),
        at: Timestamp(START_MS),
    };
    let last = rows(SEALED, ROWS);
    commit(
        store,
        vec![last, Effect::Gap(gap()), Effect::Quarantine(poison), Effect::Watermark(watermark())],
    )?;
    store.checkpoint()
}

fn rows(from: u64, to: u64) -> Effect {
    Effect::Rows((from..to).flat_map(|n| (0..POINTS).map(move |point| row(point, n))).collect())
}

fn commit(store: &mut Store, effects: Vec<Effect>) -> Result<(), StoreError> {
    store.commit(&Transaction { effects, at: Timestamp(START_MS), ..Transaction::default() }).map(drop)
}
