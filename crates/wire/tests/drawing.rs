//! The bytes that the room's page draws are the bytes that the room writes.
#![allow(clippy::unwrap_used, missing_docs)]

use sitian_model::{
    Ack, Action, Batch, Cause, Clock, Entry, Epoch, Gap, GapReason, Held, Lane, Quality, Reading, Record,
    Span, SpoolState, Timestamp,
};

const PAGE: &str = include_str!("../src/lib.rs");
const EPOCH: Epoch = Epoch(*b"sixteen bytes ok");

/// The hexadecimal bytes of the drawing under this heading: the first words of each line, indented or not, up
/// to a run of two spaces.
fn drawn(heading: &str) -> Vec<u8> {
    let (_, drawing) = PAGE.split_once(heading).unwrap();
    let (_, drawing) = drawing.split_once("```text\n").unwrap();
    let (drawing, _) = drawing.split_once("//! ```").unwrap();
    let bytes = drawing.lines().filter_map(bytes_of);
    bytes.flat_map(str::split_whitespace).map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect()
}

fn bytes_of(line: &str) -> Option<&str> {
    let line = line.strip_prefix("//! ")?;
    // Words behind a margin belong to no byte.
    if line.starts_with("         ") { None } else { line.trim_start().split("  ").next() }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x} ")).collect()
}

fn check(heading: &str, written: &[u8]) {
    assert_eq!(hex(&drawn(heading)), hex(written), "{heading}");
}

fn record() -> Vec<u8> {
    let reading = |point, at, value, quality| Reading { point, at: Timestamp(at), value, quality };
    sitian_wire::encode_record(&Record {
        boot: 300,
        mono_ms: 10_000,
        uncertainty_ms: Some(20),
        readings: vec![
            reading(0, 1_750_000_000_000, Some(25.6), Quality::Good),
            reading(1, 1_750_000_000_000, Some(-0.5), Quality::Good),
            reading(4, 1_750_000_000_090, None, Quality::Bad(Cause::Timeout)),
        ],
    })
}

#[test]
fn the_drawn_record_is_what_is_written() {
    check("# A record", &record());
}

#[test]
fn the_drawn_batch_is_what_is_written() {
    let span = Span { from: Timestamp(1_749_999_990_000), to: Timestamp(1_749_999_999_000) };
    let gap = Gap { first: 7, last: 8, reason: GapReason::Evicted, span: Some(span) };
    let batch = Batch {
        epoch: EPOCH,
        first: 7,
        entries: vec![Entry::Gap(gap), Entry::Record(b"a record".to_vec())],
        chain: 0x1234_5678,
        acked: 6,
        oldest: 5,
        held: vec![Held { epoch: EPOCH, oldest: 5, end: 10, acked: 6 }],
        clocks: vec![Clock { boot: 300, wall_at_zero_ms: 1_749_999_990_000, uncertainty_ms: 20 }],
        lane: Lane::Live,
        spool: SpoolState { bytes: 3 << 20, bytes_max: 2 << 30, backlog: 2, lost: 0, healthy: true },
    };
    check("# A batch", &sitian_wire::encode_batch(&batch));
}

#[test]
fn the_drawn_acknowledgement_is_what_is_written() {
    let ack = Ack {
        epoch: EPOCH,
        committed: 8,
        action: Action::Ok,
        retry_after_ms: 0,
        window_bytes: 524_288,
        server_ms: 1_750_000_000_500,
        chain: Some(0x89AB_CDEF),
    };
    check("# An acknowledgement", &sitian_wire::encode_ack(&ack));
}
