//! What every registry must do, as cases that run against any. A test of a registry is one call of [`suite`].

mod alerts;
mod lists;
mod restart;

use sitian_ingest::{Effect, EpochEntry, EpochState, PointEntry};
use sitian_model::{
    DeviceId, DeviceInfo, Epoch, EpochNo, GatewayId, Manifest, PointId, PointInfo, PointNo, Span, Timestamp,
};

use crate::{Committed, Keep, ListFilter, Transaction};

/// Where one registry stands, empty at first.
pub trait Ground {
    /// Its keeper, as after a start. The one before it is gone.
    fn open(&mut self) -> Box<dyn Keep>;
}

/// One case.
type Case = (&'static str, fn(&mut dyn Ground));

/// Runs every case, each on ground of its own. Panics with what differs, behind the case's name.
pub fn suite<G: Ground>(mut make: impl FnMut() -> G) {
    for (name, case) in [restart::CASES, lists::CASES, alerts::CASES].concat() {
        println!("case: {name}");
        case(&mut make());
    }
}

fn commit(keeper: &mut dyn Keep, effects: Vec<Effect>) -> Committed {
    keeper.commit(&Transaction { effects, ..Transaction::default() }).expect("commits")
}

/// Everything, at most ten.
fn all() -> ListFilter {
    ListFilter { gateways: None, since: None, before: None, limit: 10 }
}

fn span(from_ms: i64, to_ms: i64) -> Span {
    Span { from: Timestamp(from_ms), to: Timestamp(to_ms) }
}

fn gateway(id: &str) -> GatewayId {
    GatewayId::new(id).expect("well-formed")
}

fn device() -> DeviceInfo {
    DeviceInfo {
        id: DeviceId::new("soil-1").expect("well-formed"),
        name: "3号棚 土壤".into(),
        place: "3号棚".into(),
        profile: "soil-7in1".into(),
        bus: "rs485".into(),
    }
}

fn point(no: u32, name: &str, unit: &str) -> PointEntry {
    let id = PointId::parse(name).expect("well-formed");
    let info = PointInfo {
        device: 0,
        key: id.key.clone(),
        measurement: "soil_moisture".into(),
        unit: unit.into(),
        decimals: 1,
        interval_ms: 60_000,
    };
    PointEntry { no: PointNo(no), id, device: device(), info, at: Timestamp(100) }
}

fn epoch(no: u32, id: &str, label: u8) -> EpochEntry {
    let info = point(1, "gw-1/soil-1/soil_moisture", "%").info;
    let manifest = Manifest {
        gateway: gateway(id),
        software: "0.1.0".into(),
        devices: vec![device()],
        points: vec![info],
    };
    EpochEntry {
        no: EpochNo(no),
        gateway: gateway(id),
        epoch: Epoch([label; 16]),
        points: vec![PointNo(1)],
        manifest,
        at: Timestamp(i64::from(no)),
    }
}

fn state(no: u32, committed: u64) -> EpochState {
    EpochState {
        committed,
        chain: Some(u32::MAX),
        end: (1 << 62) - 1,
        sealed: true,
        live_rank: 3,
        held_rank: 4,
        newest_at: Some(Timestamp(-7)),
        ..EpochState::fresh(EpochNo(no))
    }
}
