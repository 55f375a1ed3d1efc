//! Random histories of commits, sealings and restarts answer every question as the reference engine does.

use proptest::prelude::*;
use sitian_ingest::Effect;
use sitian_model::Correction;
use sitian_model::{Cause, EpochNo, PointNo, Quality, Row, Timestamp};
use sitian_registry::Transaction;
use sitian_series::contract::{Reference, alike, span};
use sitian_series::{AggregateQuery, Append, Extras, RangeQuery, Retention, Series};
use sitian_store_embedded::{Progress, SealLimits, Store};

#[derive(Debug, Clone)]
enum Step {
    Commit(Vec<Row>),
    Maintain,
    Seal,
    Compact,
    Correct(Row, f64),
    Restart,
}

/// A natural key names one reading, so everything else follows from it.
fn row() -> impl Strategy<Value = Row> {
    (0u32..4, 0i64..200, 0u32..3, 0u64..4).prop_map(|(point, minute, epoch, seq)| {
        let n = minute as u64 * 31 + u64::from(epoch) * 7 + seq + u64::from(point);
        let (value, quality) = match n % 7 {
            0 => (None, Quality::Bad(Cause::Timeout)),
            1 => (Some(n as f64 / 3.0), Quality::Uncertain(Cause::Implausible)),
            _ => (Some(n as f64 / 10.0), Quality::Good),
        };
        let at = Timestamp(1_750_000_000_000 + minute * 60_000);
        Row { point: PointNo(point), at, value, quality, epoch: EpochNo(epoch), seq }
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => prop::collection::vec(row(), 1..120).prop_map(Step::Commit),
        2 => Just(Step::Maintain),
        1 => Just(Step::Seal),
        2 => Just(Step::Compact),
        1 => (row(), -9.0..9.0).prop_map(|(row, value)| Step::Correct(row, value)),
        1 => Just(Step::Restart),
    ]
}

fn compare(store: &Store, reference: &Reference, from: i64, to: i64, limit: usize) {
    let reader = store.reader();
    let (from, to) = (1_750_000_000_000 + from * 60_000, 1_750_000_000_000 + to * 60_000);
    let points = [0, 1, 2, 3, 9].map(PointNo);
    assert_eq!(reader.latest(&points).expect("latest"), reference.latest(&points).expect("latest"));
    for point in points {
        let mut query = RangeQuery { point, span: span(from, to), limit, after: None };
        loop {
            let (found, expected) =
                (reader.range(&query).expect("range"), reference.range(&query).expect("range"));
            assert_eq!(found, expected, "{query:?}");
            query.after = found.next;
            if query.after.is_none() {
                break;
            }
        }
        let query = AggregateQuery {
            point,
            span: span(from, to),
            window_ms: 420_000,
            offset_ms: 60_000,
            interval_ms: None,
            extras: Extras { increase: true, ..Extras::default() },
        };
        let hours = AggregateQuery { window_ms: 3_600_000, ..query.clone() };
        for query in [query, hours] {
            let (found, expected) = (reader.aggregate(&query), reference.aggregate(&query));
            let (found, expected) = (found.expect("aggregate"), expected.expect("aggregate"));
            assert_eq!(found.len(), expected.len());
            let same = found.iter().zip(&expected).all(|(a, b)| alike(a, b));
            assert!(same, "{query:?}: {found:?} {expected:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_answers_like_the_reference(
        steps in prop::collection::vec(step(), 1..25),
        seal_rows in 1usize..60,
        slice_rows in 1usize..20,
        (from, length, limit) in (-2i64..202, 0i64..204, 1usize..40),
    ) {
        let folder = tempfile::tempdir().expect("a folder for the store");
        let path = folder.path().join("sitian.db");
        let limits = SealLimits { rows: seal_rows, slice_rows, ..SealLimits::default() };
        let mut store = Store::open_with(&path, limits).expect("opens");
        let mut reference = Reference::default();
        for step in steps {
            match step {
                Step::Commit(rows) => {
                    reference.append(&rows).expect("stored");
                    let effects = vec![Effect::Rows(rows)];
                    store.commit(&Transaction { effects, ..Transaction::default() }).expect("commits");
                }
                Step::Maintain => drop(store.maintain().expect("maintains")),
                Step::Seal => store.seal().expect("seals"),
                Step::Compact => {
                    let mut compactor = store.compactor(Retention::default()).expect("a second connection");
                    while compactor.step(Timestamp(0)).expect("compacts") != Progress::Idle {}
                }
                Step::Correct(row, value) => {
                    let row = Row { value: Some(value), quality: Quality::Good, ..row };
                    let (by, note, at) = ("oracle".to_owned(), String::new(), Timestamp(1));
                    let made = store.correct(&Correction { row, by, note, at }).expect("corrects");
                    assert_eq!(made, reference.correct(&row), "{row:?}");
                }
                Step::Restart => {
                    drop(store);
                    store = Store::open_with(&path, limits).expect("opens again");
                }
            }
            compare(&store, &reference, from, from + length, limit);
        }
        compare(&store, &reference, -10, 300, 1_000);
    }
}
