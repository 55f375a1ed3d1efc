//! F34: a spool directory of every released format opens and is forwarded, for ever: real spool, uplink, wire and ingest.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../../../tests/system/src/tally.rs"]
mod tally;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use sitian_ingest::{Effect, Group, Ingest};
use sitian_model::{Epoch, GapReason, Seq, Timestamp};
use sitian_spool::{Limits, Spool};
use sitian_testkit::disk::CardDisk;
use sitian_testkit::relic;
use sitian_uplink::{Command, Read, Uplink};

const NOW: Timestamp = Timestamp(1_790_500_000_000);

fn holding(folder: &Path) -> CardDisk {
    let file = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.unwrap();
        (entry.file_name().into_string().unwrap(), std::fs::read(entry.path()).unwrap())
    };
    CardDisk::holding(std::fs::read_dir(folder).unwrap().map(file))
}

/// Everything that reaches a centre which has never heard of this gateway.
fn forward(spool: &mut Spool<CardDisk>) -> (Ingest, Vec<Effect>) {
    let gateway = relic::manifest().unwrap().gateway;
    let mut uplink = Uplink::new(sitian_uplink::Limits::default(), 1);
    let mut ingest = Ingest::new(sitian_ingest::Limits::default());
    let (mut now_ms, mut stored) = (0, Vec::new());
    uplink.handle_spool(&spool.held(), spool.live(), spool.state(), now_ms);
    uplink.handle_link_up(now_ms);
    for _ in 0..10_000 {
        let Some(command) = uplink.poll_command() else {
            if spool.held().iter().all(|held| held.acked == held.end) {
                break;
            }
            now_ms = uplink.poll_timeout().unwrap();
            uplink.handle_timeout(now_ms);
            continue;
        };
        match command {
            Command::ReadSpool { epoch, from, bytes_max } => {
                let run = spool.read(epoch, from, bytes_max).unwrap();
                let read = Read { epoch, first: run.first, entries: run.entries, chain: run.chain };
                uplink.handle_read(read, now_ms);
            }
            Command::PublishManifest(epoch) => {
                let bytes = spool.manifest(epoch).unwrap();
                let (_, manifest) = sitian_wire::decode_manifest(&bytes).unwrap();
                ingest.handle_manifest(&gateway, epoch, manifest, NOW);
            }
            Command::Publish(batch) => {
                let bytes = sitian_wire::encode_batch(&batch);
                let batch = sitian_wire::decode_batch(&bytes).unwrap();
                let decode = |bytes: &[u8]| sitian_wire::decode_record(bytes).map_err(|e| e.to_string());
                ingest.handle_batch(&gateway, &batch, &bytes, &decode, NOW);
            }
            Command::Release { epoch, committed } => {
                spool.release(epoch, committed);
                uplink.handle_spool(&spool.held(), spool.live(), spool.state(), now_ms);
            }
            other => panic!("{other:?}"),
        }
        let Group { effects, acks } = ingest.take(NOW);
        stored.extend(effects);
        acks.iter().for_each(|(_, ack)| uplink.handle_ack(ack, now_ms));
    }
    (ingest, stored)
}

/// Opens a copy of a released spool under these limits and sends it all; gives the records that arrived.
fn check(folder: &Path, limits: Limits) -> u64 {
    let name = folder.display();
    let (mut spool, recovery) = Spool::open(holding(folder), limits, Epoch([0x77; 16]));
    assert_eq!(
        (recovery.unreadable.len(), recovery.foreign.len(), recovery.cut_short.len()),
        (0, 0, 0),
        "{name}"
    );
    assert_eq!(recovery.epochs, relic::RECORDS.len(), "{name}");
    assert!(recovery.tail_bytes > 0, "{name} ends in a torn write");
    let (ingest, stored) = forward(&mut spool);
    let gateway = relic::manifest().unwrap().gateway;
    let mut records = 0;
    for (n, written) in relic::RECORDS.into_iter().enumerate() {
        let no = ingest.state(&gateway, &relic::epoch(n)).unwrap().no;
        let mut rows: BTreeMap<Seq, Vec<f64>> = BTreeMap::new();
        let mut missing = BTreeSet::new();
        for effect in &stored {
            match effect {
                Effect::Rows(all) => {
                    all.iter()
                        .filter(|row| row.epoch == no)
                        .for_each(|row| rows.entry(row.seq).or_default().push(row.value.unwrap()));
                }
                Effect::Gap(gap) if gap.epoch == no => {
                    assert!(n == 0 && gap.gap.reason != GapReason::Damaged, "{name}: {gap:?}");
                    missing.extend(gap.gap.first..=gap.gap.last);
                }
                Effect::Quarantine(what) => panic!("{name}: {what:?}"),
                _ => {}
            }
        }
        for seq in 0..written {
            let expected =
                relic::record(n, seq).readings.iter().map(|r| r.value.unwrap()).collect::<Vec<_>>();
            assert_eq!(
                rows.remove(&seq),
                (!missing.contains(&seq)).then_some(expected),
                "{name}, epoch {n}, record {seq}"
            );
        }
        assert!(rows.is_empty(), "{name}, epoch {n}: invented {rows:?}");
        assert_eq!(
            missing.is_empty(),
            n > 0,
            "{name}: only of the oldest epoch something was trimmed and evicted"
        );
        records += written - missing.len() as u64;
    }
    records
}

#[test]
fn every_released_spool_opens_and_is_forwarded_whole() {
    let folders = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/spool");
    let mut versions: Vec<_> =
        std::fs::read_dir(folders).unwrap().map(|entry| entry.unwrap().path()).collect();
    versions.sort();
    assert!(versions.len() >= 3);
    let mut records = 0;
    for folder in &versions {
        // Under the limits it was written under, and under those of today.
        records += check(folder, relic::limits()) + check(folder, Limits::default());
    }
    let injected = "kept directories: three epochs, an evicted gap, a torn tail, half full";
    let fault = tally::Fault { number: "F34", title: "a spool of every released format", injected };
    fault.came_to(
        format!("{} formats", versions.len()),
        tally::NONE,
        format!("{records} records forwarded, all exact"),
    );
}

#[test]
fn the_program_of_today_writes_what_the_newest_relic_holds() {
    let disk = relic::write().unwrap();
    let newest = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/spool/v3");
    let today: Vec<_> = disk.files().map(|(name, bytes)| (name.to_owned(), bytes.to_vec())).collect();
    let kept: Vec<_> =
        holding(&newest).files().map(|(name, bytes)| (name.to_owned(), bytes.to_vec())).collect();
    assert!(
        today == kept,
        "the bytes of the spool have changed: keep v3 and add a v4 beside it (testkit's page on relics)"
    );
}
