use sitian_dialect::mhz19::{Conversation, request};
use sitian_model::Cause;

use crate::{hex, shown};

fn check(bytes: &str, fields: &[&str], cause: Cause) {
    for piece in [1, 4, 64] {
        let mut conversation = Conversation::new(500);
        let mut done = false;
        for chunk in hex(bytes).chunks(piece) {
            done |= conversation.hear(chunk);
        }
        assert_eq!(done, !fields.is_empty(), "{bytes}");
        let (said, why) = conversation.outcome();
        assert_eq!(shown(&said), fields, "{bytes}");
        if fields.is_empty() {
            assert_eq!(why, cause, "{bytes}");
        }
    }
}

#[test]
fn the_request_is_the_makers() {
    assert_eq!(request().to_vec(), hex("FF 01 86 00 00 00 00 00 79"));
}

#[test]
fn replies_are_found_whatever_comes_before_them_and_spoilt_ones_are_not_believed() {
    let both = ["co2=608", "temperature=31"];
    for (bytes, fields, cause) in [
        ("FF 86 02 60 47 00 00 00 D1", &both[..], Cause::Timeout),
        // An echo of the request, and noise that looks like the start of a frame.
        ("FF 01 86 00 00 00 00 00 79 FF 86 02 60 47 00 00 00 D1", &both[..], Cause::Timeout),
        ("FF FF 86 FF 86 02 60 47 00 00 00 D1", &both[..], Cause::Timeout),
        ("FF 86 02 61 47 00 00 00 D1", &[], Cause::Checksum),
        ("FF 86 02 60 47 00 00 00", &[], Cause::Timeout),
        ("", &[], Cause::Timeout),
    ] {
        check(bytes, fields, cause);
    }
}
