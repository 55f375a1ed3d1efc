//! The file passes the contract of the registry, and what the journal holds besides is given back before and after it is
//! sealed.

use std::path::{Path, PathBuf};

use sitian_alert::{Delta, Mark, SavedState};
use sitian_ingest::Effect;
use sitian_model::{PointNo, Timestamp};
use sitian_registry::contract::{Ground, suite};
use sitian_registry::{Keep, Transaction};
use sitian_series::contract::good;
use sitian_store_embedded::Store;

struct OnDisk {
    path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Ground for OnDisk {
    fn open(&mut self) -> Box<dyn Keep> {
        Box::new(store(&self.path))
    }
}

fn store(path: &Path) -> Store {
    Store::open(path).expect("opens")
}

#[test]
fn the_file_passes_the_contract_of_the_registry() {
    suite(|| {
        let folder = tempfile::tempdir().expect("a folder");
        OnDisk { path: folder.path().join("sitian.db"), _folder: folder }
    });
}

#[test]
fn the_alert_engines_memory_survives_restarts_and_sealings() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sitian.db");
    let mark = |point, newest: i64, data: Option<i64>| Mark {
        point: PointNo(point),
        newest_at: Some(Timestamp(newest)),
        data_at: data.map(Timestamp),
    };
    let piece = |key: &str, body: Option<&str>| SavedState { key: key.into(), body: body.map(Into::into) };
    let steps = [
        (vec![piece("a", Some("1")), piece("b", Some("2"))], vec![mark(1, 10, None), mark(2, 10, Some(5))]),
        (vec![piece("a", None), piece("b", Some("3"))], vec![mark(1, 20, Some(20))]),
        (vec![piece("c", Some("4"))], vec![]),
    ];
    let expected = [
        (vec![piece("a", Some("1")), piece("b", Some("2"))], vec![mark(1, 10, None), mark(2, 10, Some(5))]),
        (vec![piece("b", Some("3"))], vec![mark(1, 20, Some(20)), mark(2, 10, Some(5))]),
        (
            vec![piece("b", Some("3")), piece("c", Some("4"))],
            vec![mark(1, 20, Some(20)), mark(2, 10, Some(5))],
        ),
    ];
    for (n, ((states, marks), (states_after, marks_after))) in (0i64..).zip(steps.into_iter().zip(expected)) {
        let mut writer = store(&path);
        let effects = vec![Effect::Rows(vec![good(1, n * 1_000, n as u64, 1.0)])];
        let alert_state = Delta { states, marks };
        writer.commit(&Transaction { effects, alert_state, ..Transaction::default() }).expect("commits");
        drop(writer);
        let after = Delta { states: states_after, marks: marks_after };
        let mut writer = store(&path);
        assert_eq!(writer.alert_memory().expect("reads"), after, "from the journal, step {n}");
        writer.seal().expect("seals");
        drop(writer);
        assert_eq!(store(&path).alert_memory().expect("reads"), after, "from the table, step {n}");
    }
}
