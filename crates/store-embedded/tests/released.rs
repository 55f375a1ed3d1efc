//! Stores that released versions have written open for ever, and say what they said.

mod released {
    pub mod story;
}

use std::path::{Path, PathBuf};

use released::story;
use sitian_model::{PointNo, Row};
use sitian_registry::{ListFilter, Registry};
use sitian_series::contract::{Reference, alike, span};
use sitian_series::{AggregateQuery, Append, Extras, RangeQuery, Series};
use sitian_store_embedded::{Store, examine};

fn samples() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/store");
    let entries = std::fs::read_dir(folder).expect("the samples are there");
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a file").path()).collect();
    files.retain(|file| file.extension().is_some_and(|e| e == "db"));
    files.sort();
    files
}

fn verify(store: &Store, name: &str) {
    let reader = store.reader();
    for point in 0..story::POINTS {
        let query = RangeQuery { point: PointNo(point), span: span(0, i64::MAX), limit: 10_000, after: None };
        let expected: Vec<Row> = (0..story::ROWS).map(|n| story::row(point, n)).collect();
        assert_eq!(reader.range(&query).expect("reads").rows, expected, "{name}: rows of {point}");
        let latest = reader.latest(&[PointNo(point)]).expect("reads");
        assert_eq!(latest, [expected.last().copied()], "{name}: latest of {point}");
    }
    hours(store, name);
    let all = ListFilter { gateways: None, since: None, before: None, limit: 10 };
    let gaps = reader.gaps(&all).expect("reads");
    assert_eq!(gaps.iter().map(|gap| gap.committed).collect::<Vec<_>>(), [story::gap()], "{name}");
    assert!(gaps.iter().all(|gap| gap.gateway == story::gateway()), "{name}");
    let held = reader.quarantine(&all).expect("reads");
    assert_eq!(held.len(), 1, "{name}");
    assert_eq!(reader.quarantine_raw(held[0].id).expect("reads").as_deref(), Some(story::RAW), "{name}");
    let restored = reader.restored().expect("reads");
    assert_eq!(restored.epochs.len(), 1, "{name}");
    assert_eq!(restored.epochs[0].state, story::watermark(), "{name}");
}

/// Windows come from what the release kept beside its chunks.
fn hours(store: &Store, name: &str) {
    let mut reference = Reference::default();
    for point in 0..story::POINTS {
        let rows: Vec<Row> = (0..story::ROWS).map(|n| story::row(point, n)).collect();
        assert_eq!(reference.append(&rows).expect("takes all"), []);
        let query = AggregateQuery {
            point: PointNo(point),
            span: span(story::START_MS, story::START_MS + story::ROWS as i64 * 60_000),
            window_ms: 3_600_000,
            offset_ms: 0,
            interval_ms: Some(60_000),
            extras: Extras { increase: true, ..Extras::default() },
        };
        let found = store.reader().aggregate(&query).expect("answers");
        let expected = reference.aggregate(&query).expect("answers");
        assert_eq!(found.len(), expected.len(), "{name}");
        assert!(found.iter().zip(&expected).all(|(a, b)| alike(a, b)), "{name}: {found:?}\n{expected:?}");
    }
}

#[test]
fn every_released_store_opens_and_holds_what_was_put_into_it() {
    let samples = samples();
    assert!(!samples.is_empty());
    for sample in samples {
        let name = sample.file_name().expect("a name").to_string_lossy().into_owned();
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sitian.db");
        std::fs::copy(&sample, &path).expect("copies");
        let mut store = Store::open(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
        verify(&store, &name);
        store.seal().expect("seals");
        verify(&store, &name);
        drop(store);
        verify(&Store::open(&path).expect("opens again"), &name);
        assert_eq!(examine(&path).expect("looks").findings, [], "{name}");
    }
}

#[test]
fn a_store_of_this_release_tells_the_same_story() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut store = Store::open(&folder.path().join("sitian.db")).expect("opens");
    story::write(&mut store).expect("writes");
    assert_eq!(
        store.extent().expect("reads").head_rows,
        (story::ROWS - story::SEALED) * u64::from(story::POINTS)
    );
    verify(&store, "this release");
}
