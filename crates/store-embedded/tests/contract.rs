//! The engine on real files passes the contract of the port.

use sitian_model::{Row, Timestamp};
use sitian_series::contract::{Engine, suite};
use sitian_series::{Append, AppendError, Refused, Retention};
use sitian_store_embedded::{Compactor, Progress, Reader, SealLimits, Store};

struct OnDisk {
    compactor: Compactor,
    store: Store,
    _folder: tempfile::TempDir,
}

impl OnDisk {
    fn new(limits: SealLimits) -> Self {
        let folder = tempfile::tempdir().expect("a folder for the store");
        let store = Store::open_with(&folder.path().join("sitian.db"), limits).expect("the store opens");
        let compactor = store.compactor(Retention::default()).expect("a second connection");
        Self { compactor, store, _folder: folder }
    }
}

impl Append for OnDisk {
    fn append(&mut self, rows: &[Row]) -> Result<Vec<Refused>, AppendError> {
        self.store.append(rows)
    }
}

impl Engine for OnDisk {
    type Reader = Reader;

    fn settle(&mut self) {
        self.store.seal().expect("the journal is sealed");
        while self.compactor.step(Timestamp(0)).expect("a step of the compaction") != Progress::Idle {}
    }

    fn reader(&self) -> Reader {
        self.store.reader()
    }
}

#[test]
fn the_engine_passes_the_contract() {
    suite(|| OnDisk::new(SealLimits::default()));
}

#[test]
fn the_engine_passes_the_contract_while_it_seals_a_point_at_a_time() {
    suite(|| OnDisk::new(SealLimits { rows: 3, slice_rows: 1, ..SealLimits::default() }));
}
