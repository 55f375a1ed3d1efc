//! The price of a durable commit of 600 bytes on a card: what the spool causes to be written and flushed, beside a plain
//! append and an append with a cursor file. Counted by the kernel at an ext4 of its own in a loop image.

use std::fs::File;
use std::io::Write;
use std::path::Path;

use sitian_model::{Epoch, Span, Timestamp};
use sitian_spool::{Limits, Spool};
use sitian_tests_system::Card;
use sitian_tests_system::backlog::disk::FolderDisk;

use crate::Outcome;

const RECORD_BYTES: usize = 600;
/// Large enough that mkfs gives it blocks of 4 KiB, as a real card has.
const CARD_MIB: u32 = 1_024;
/// Commits that fill the small segments of a process's start.
const START_COMMITS: u64 = 400;
const SECTOR_BYTES: u64 = 512;

/// What a device has been asked for so far.
#[derive(Clone, Copy)]
struct Asked {
    bytes: u64,
    flushes: u64,
}

/// Prints a table of four ways, each on a fresh card and over so many commits.
pub fn measure(commits: u64) -> Outcome<()> {
    println!("{:46} {:>8} {:>8}", "one durable commit of 600 bytes", "KiB", "flushes");
    let ways: [(&str, Way); 4] = [
        ("the spool, within a segment", spool),
        ("the spool, with the zeroing of segments", rolling_spool),
        ("plain append, fdatasync", append),
        ("append, then a cursor file replaced atomically", append_and_cursor),
    ];
    for (title, way) in ways {
        let card = match Card::ext4(CARD_MIB) {
            Ok(card) => card,
            Err(why) => {
                println!("skipped: {why}");
                return Ok(());
            }
        };
        let device = card.device().ok_or("a card without a device")?.to_owned();
        let [before, after] = way(card.path(), commits, &|| asked(&device))?;
        let each = |figure: fn(&Asked) -> u64| (figure(&after) - figure(&before)) as f64 / commits as f64;
        println!(
            "{title:46} {:>8.1} {:>8.2}",
            each(|asked| asked.bytes) / 1_024.0,
            each(|asked| asked.flushes)
        );
    }
    Ok(())
}

/// Makes so many commits; what the device was asked for before the first and after the last.
type Way = fn(&Path, u64, &dyn Fn() -> Outcome<Asked>) -> Outcome<[Asked; 2]>;

/// Within one large segment.
fn spool(card: &Path, commits: u64, asked: &dyn Fn() -> Outcome<Asked>) -> Outcome<[Asked; 2]> {
    spool_of(Limits { segment_bytes: 16 << 20, ..Limits::default() }, card, commits, asked)
}

/// Over all the segments that so many commits take.
fn rolling_spool(card: &Path, commits: u64, asked: &dyn Fn() -> Outcome<Asked>) -> Outcome<[Asked; 2]> {
    spool_of(Limits::default(), card, commits, asked)
}

fn spool_of(
    limits: Limits,
    card: &Path,
    commits: u64,
    asked: &dyn Fn() -> Outcome<Asked>,
) -> Outcome<[Asked; 2]> {
    let disk = FolderDisk::open(&card.join("spool"))?;
    let (mut spool, _) = Spool::open(disk, limits, Epoch([9; 16]));
    let mut commit = |n: u64| -> Outcome<()> {
        let at = Timestamp(1_000 * n as i64);
        spool.append(&record(n), Span { from: at, to: at.plus_ms(1) })?;
        spool.commit()?;
        Ok(())
    };
    // A process begins with small segments.
    (0..START_COMMITS).try_for_each(&mut commit)?;
    settle(card, &mut commit)?;
    let before = asked()?;
    (0..commits).try_for_each(&mut commit)?;
    Ok([before, asked()?])
}

fn append(card: &Path, commits: u64, asked: &dyn Fn() -> Outcome<Asked>) -> Outcome<[Asked; 2]> {
    let mut file = File::create(card.join("log"))?;
    let mut commit = |n: u64| -> Outcome<()> {
        file.write_all(&record(n))?;
        Ok(file.sync_data()?)
    };
    settle(card, &mut commit)?;
    let before = asked()?;
    (0..commits).try_for_each(&mut commit)?;
    Ok([before, asked()?])
}

fn append_and_cursor(card: &Path, commits: u64, asked: &dyn Fn() -> Outcome<Asked>) -> Outcome<[Asked; 2]> {
    let mut file = File::create(card.join("log"))?;
    let folder = File::open(card)?;
    let mut commit = |n: u64| -> Outcome<()> {
        file.write_all(&record(n))?;
        file.sync_all()?;
        let mut cursor = File::create(card.join("cursor.new"))?;
        cursor.write_all(&n.to_le_bytes())?;
        cursor.sync_all()?;
        std::fs::rename(card.join("cursor.new"), card.join("cursor"))?;
        Ok(folder.sync_all()?)
    };
    settle(card, &mut commit)?;
    let before = asked()?;
    (0..commits).try_for_each(&mut commit)?;
    Ok([before, asked()?])
}

/// A first commit, and everything else on the card: what mkfs and mounting left is not the price of a commit.
fn settle(card: &Path, commit: &mut dyn FnMut(u64) -> Outcome<()>) -> Outcome<()> {
    commit(0)?;
    rustix::fs::syncfs(File::open(card)?)?;
    Ok(())
}

/// Bytes that do not repeat.
fn record(n: u64) -> [u8; RECORD_BYTES] {
    let mut dice = fastrand::Rng::with_seed(n);
    std::array::from_fn(|_| dice.u8(..))
}

/// From the kernel's counters of a block device, see `Documentation/block/stat.rst`.
fn asked(device: &str) -> Outcome<Asked> {
    let path = format!("/sys/block/{}/stat", device.trim_start_matches("/dev/"));
    let text = std::fs::read_to_string(path)?;
    let fields = text.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    let field = |n: usize| fields.get(n).copied().ok_or("a kernel that does not count flushes");
    Ok(Asked { bytes: field(6)? * SECTOR_BYTES, flushes: field(15)? })
}
