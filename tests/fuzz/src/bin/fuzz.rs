//! One target under libFuzzer: `TARGET=wire fuzz [libFuzzer's flags] corpus`.

#![no_main]

use std::sync::OnceLock;

use sitian_fuzz::TARGETS;

static RUN: OnceLock<fn(&[u8])> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let run = RUN.get_or_init(|| {
        let name = std::env::var("TARGET").expect("TARGET names a target");
        TARGETS.iter().find(|target| target.name == name).expect("TARGET is one of the targets").run
    });
    run(data);
});
