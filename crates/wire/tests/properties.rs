//! What holds for every value and for every sequence of bytes.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use sitian_model::*;
use sitian_wire::*;

fn quality() -> impl Strategy<Value = Quality> {
    let cause = proptest::sample::select(Cause::ALL.to_vec());
    prop_oneof![
        6 => Just(Quality::Good),
        1 => cause.clone().prop_map(Quality::Uncertain),
        1 => cause.prop_map(Quality::Bad),
    ]
}

fn value() -> impl Strategy<Value = f64> {
    prop_oneof![
        4 => (any::<i32>(), 0_u32..10).prop_map(|(n, d)| f64::from(n) / 10_f64.powi(d as i32)),
        1 => proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL | proptest::num::f64::ZERO,
        1 => any::<f32>().prop_filter("finite", |v| v.is_finite()).prop_map(f64::from),
    ]
}

fn moment() -> impl Strategy<Value = i64> {
    prop_oneof![8 => 1_790_000_000_000_i64..1_790_000_010_000, 1 => any::<i64>()]
}

fn reading() -> impl Strategy<Value = Reading> {
    let point = prop_oneof![8 => 0_u32..300, 1 => any::<u32>()];
    (point, moment(), value(), quality()).prop_map(|(point, at, value, quality)| {
        let value = (!matches!(quality, Quality::Bad(_))).then_some(value);
        Reading { point, at: Timestamp(at), value, quality }
    })
}

fn record() -> impl Strategy<Value = Record> {
    let readings = proptest::collection::vec(reading(), 0..60);
    (any::<u64>(), any::<u64>(), any::<Option<u32>>(), readings).prop_map(
        |(boot, mono_ms, uncertainty_ms, readings)| Record { boot, mono_ms, uncertainty_ms, readings },
    )
}

fn seq() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..1000, 0_u64..SEQ_MAX / 2]
}

/// Entries before they know where they stand: a record, or the width and kind of a gap.
#[derive(Debug, Clone)]
enum Loose {
    Record(Vec<u8>),
    Gap(u64, GapReason, Option<(i64, i64)>),
}

fn loose() -> impl Strategy<Value = Loose> {
    let reason = proptest::sample::select(vec![GapReason::Evicted, GapReason::Damaged, GapReason::Trimmed]);
    prop_oneof![
        4 => record().prop_map(|r| Loose::Record(encode_record(&r))),
        1 => proptest::collection::vec(any::<u8>(), 8..100).prop_map(Loose::Record),
        1 => (0_u64..1 << 40, reason, any::<Option<(i64, i64)>>()).prop_map(|(n, r, s)| Loose::Gap(n, r, s)),
    ]
}

fn place(first: Seq, loose: Vec<Loose>) -> Vec<Entry> {
    let mut next = first;
    let mut entry = |loose| {
        let entry = match loose {
            Loose::Record(payload) => Entry::Record(payload),
            Loose::Gap(more, reason, span) => {
                let span = span.map(|(from, to)| Span { from: Timestamp(from), to: Timestamp(to) });
                Entry::Gap(Gap { first: next, last: next + more, reason, span })
            }
        };
        next += entry.width();
        entry
    };
    loose.into_iter().map(&mut entry).collect()
}

fn batch() -> impl Strategy<Value = Batch> {
    let epoch = || any::<[u8; 16]>().prop_map(Epoch);
    let held = (epoch(), seq(), seq(), seq()).prop_map(|(epoch, oldest, end, acked)| Held {
        epoch,
        oldest,
        end,
        acked,
    });
    let clock = any::<(u64, i64, u32)>().prop_map(|(boot, wall_at_zero_ms, uncertainty_ms)| Clock {
        boot,
        wall_at_zero_ms,
        uncertainty_ms,
    });
    let label = (epoch(), seq(), any::<u32>(), seq(), seq());
    let lists = (
        proptest::collection::vec(loose(), 0..8),
        proptest::collection::vec(held, 0..5),
        proptest::collection::vec(clock, 0..3),
    );
    let spool = any::<(u64, u64, u64, u64, bool)>().prop_map(|(bytes, bytes_max, backlog, lost, healthy)| {
        SpoolState { bytes, bytes_max, backlog, lost, healthy }
    });
    let lane = proptest::sample::select(vec![Lane::Live, Lane::Backfill]);
    (label, lists, spool, lane).prop_map(
        |((epoch, first, chain, acked, oldest), (loose, held, clocks), spool, lane)| Batch {
            epoch,
            first,
            entries: place(first, loose),
            chain,
            acked,
            oldest,
            held,
            clocks,
            lane,
            spool,
        },
    )
}

fn bits(record: &Record) -> Vec<Option<u64>> {
    record.readings.iter().map(|r| r.value.map(f64::to_bits)).collect()
}

/// Every decoder must return; what it returns is its own business.
fn decode_everything(bytes: &[u8]) {
    let _ = decode_batch(bytes).map(|batch| batch.end());
    let _ = decode_record(bytes);
    let _ = decode_ack(bytes);
    let _ = decode_manifest(bytes);
    let _ = decode_state(bytes);
}

fn mutate(bytes: &mut Vec<u8>, changes: &[(usize, u8, u8)]) {
    for (at, byte, kind) in changes {
        if bytes.is_empty() {
            return;
        }
        let at = at % bytes.len();
        match kind % 4 {
            0 => bytes[at] = *byte,
            1 => bytes[at] ^= 1 << (byte % 8),
            2 => bytes.truncate(at),
            _ => bytes.insert(at, *byte),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_record_comes_back_bit_by_bit(record in record()) {
        let bytes = encode_record(&record);
        prop_assert!((RECORD_BYTES_MIN..=RECORD_BYTES_MAX).contains(&bytes.len()));
        let back = decode_record(&bytes).unwrap();
        prop_assert_eq!(bits(&back), bits(&record));
        prop_assert_eq!(back, record);
    }

    #[test]
    fn a_batch_comes_back(batch in batch()) {
        prop_assert_eq!(decode_batch(&encode_batch(&batch)), Ok(batch));
    }

    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        decode_everything(&bytes);
    }

    #[test]
    fn a_mutated_record_never_panics(record in record(), changes in any::<Vec<(usize, u8, u8)>>()) {
        let mut bytes = encode_record(&record);
        mutate(&mut bytes, &changes);
        decode_everything(&bytes);
    }

    #[test]
    fn a_mutated_batch_never_panics_nor_declares_other_labels(
        batch in batch(),
        changes in proptest::collection::vec(any::<(usize, u8, u8)>(), 1..5),
    ) {
        let mut bytes = encode_batch(&batch);
        mutate(&mut bytes, &changes);
        decode_everything(&bytes);
        let truth = Declared { epoch: batch.epoch, first: batch.first, end: batch.end() };
        if let Err(Some(declared)) = decode_batch(&bytes).map_err(|e| e.declared()) {
            prop_assert_eq!(declared, truth);
        }
        if let Ok(other) = decode_batch(&bytes) {
            prop_assert_eq!(other.entries, batch.entries);
        }
    }
}
