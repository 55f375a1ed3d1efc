//! `sitian-ingestor move`: the readings of a store go to the engine that the settings name; everything else stays.
//!
//! ```text
//!  checks ─► survey ─► carry: parcel after parcel, written, read back, compared ─► hand over ─► shrink
//!  nothing is changed ─┘      the engine has more and more of them                  ONE transaction
//! ```
//!
//! A kill before the transaction leaves a store that works as before, and that can be moved again: what the engine has by
//! then is compared, not written twice. A kill behind it leaves one that works with the engine.

mod carry;
mod gauge;
mod survey;

use std::ops::Range;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use sitian_api::Zone;
use sitian_ingest::Effect;
use sitian_model::{PointNo, Row, Timestamp};
use sitian_registry::Registry;
use sitian_settings::Faults;
use sitian_store_embedded::{Holding, Reader, Store};

use crate::admit::now;
use crate::keeping::Seat;
use crate::parts::Parts;
use crate::readings::{self, Destination, Kind, Place, Server};
use crate::settings::Source;
use carry::{Carried, Carrier, PARCEL_ROWS, Patience};
use gauge::{Gauge, grouped, length};
use survey::{OUTSIDE_MAX, Survey};

/// How long one answer of the engine may take; nobody waits for it but a person.
const TIMEOUT: Duration = Duration::from_secs(120);
/// The engine forgets while it is filled: what it would forget within this time does not go there.
const MARGIN_MS: i64 = 86_400_000;
/// What an engine that tells how much room it has needs for a reading, generously.
const BYTES_PER_READING: u64 = 10;

/// Moves the readings to the engine that the settings name.
#[derive(Args)]
pub struct Move {
    #[command(flatten)]
    source: Source,
    /// Only say what would be moved and what stands in its way; works beside a running ingestor.
    #[arg(long)]
    check: bool,
    /// Leave behind all but one of the readings of a point that share a millisecond: the engine keeps one.
    #[arg(long)]
    without_twins: bool,
    /// Leave behind readings of moments that the engine does not keep.
    #[arg(long)]
    without_outside: bool,
}

impl Move {
    /// Does it.
    pub fn run(&self) -> Result<()> {
        let parts = Parts::judge(&self.source.load()?, self.source.folder()).map_err(Faults)?;
        may_be_moved(&parts)?;
        if self.check {
            let ways = Ways::open(&parts, Reader::open(&parts.storage)?, false)?;
            return ways.map_or(Ok(()), |ways| self.survey(&parts, &ways).map(drop));
        }
        let mut store = Store::open(&parts.storage)?;
        store.seal()?;
        let Some(ways) = Ways::open(&parts, store.reader(), true)? else { return Ok(()) };
        let survey = self.survey(&parts, &ways)?;
        let begun = Instant::now();
        let carried = ways.carry(&parts, &survey)?;
        let kept = self.aside(&ways, survey.aside, &carried)?;
        let before = size(&parts.storage);
        store.hand_over(&kept).context("let the readings go")?;
        // They are moved; what is not given back now is given back by the compaction.
        let shrunk = store.give_back_pages();
        tell_end(&parts, &carried, begun.elapsed(), before);
        shrunk.context("give free pages back to the disk")?;
        Ok(())
    }

    /// Looks at all readings and says what will become of them.
    fn survey(&self, parts: &Parts, ways: &Ways) -> Result<Survey> {
        println!("looking at every reading of {} …", parts.storage.display());
        let survey = Survey::of(&ways.reader, &ways.holding.points, &ways.keeps).context("read the store")?;
        tell_survey(parts, ways, &survey, self.without_outside);
        for point in &survey.points {
            if !ways.to.elsewhere.knows(point.0) {
                bail!(
                    "name {} in the engine: line protocol has no way to write its names",
                    ways.to.elsewhere.called(point.0)
                );
            }
        }
        if survey.twins > 0 && !self.without_twins {
            bail!(
                "move every reading: an engine keeps one of a point and millisecond; back up or export the store, and add \
                 --without-twins to leave {} behind",
                grouped(survey.twins)
            );
        }
        if survey.outside > OUTSIDE_MAX && !self.without_outside {
            bail!(
                "move every reading: quarantine has no room for so many that the engine does not keep; let it keep readings \
                 longer, or back up or export the store and add --without-outside to leave {} behind",
                grouped(survey.outside)
            );
        }
        let need = survey.rows * BYTES_PER_READING;
        if let Some(room) = ways.to.engine.room().context("use storage.engine")?.filter(|room| *room < need) {
            bail!(
                "find room on the engine's disk: {} MB are free, and {} MB may be needed",
                room >> 20,
                need >> 20
            );
        }
        Ok(survey)
    }

    /// What the engine does not take, as entries of the quarantine.
    fn aside(&self, ways: &Ways, outside: Vec<Row>, carried: &Carried) -> Result<Vec<Effect>> {
        if self.without_outside {
            return Ok(Vec::new());
        }
        let words = "the engine does not keep readings of that time".to_owned();
        let mut refused: Vec<(Row, String)> = outside.into_iter().map(|row| (row, words.clone())).collect();
        refused.extend(carried.refused.iter().cloned());
        if let Some((row, _)) = refused.iter().find(|(row, _)| !ways.to.elsewhere.can_set_aside(row)) {
            bail!(
                "keep a reading of {} in quarantine: the store does not know its epoch; add --without-outside to leave what \
                 the engine refuses behind",
                ways.to.elsewhere.called(row.point)
            );
        }
        // Readings of one record share an entry.
        refused.sort_by_key(|(row, _)| (row.epoch, row.seq, row.point));
        let entries = ways.to.elsewhere.entries(&refused, now());
        Ok(entries.into_iter().map(Effect::Quarantine).collect())
    }
}

/// From where, and where to.
struct Ways {
    reader: Reader,
    holding: Holding,
    to: Destination,
    keeps: Range<Timestamp>,
}

impl Ways {
    /// Opens both ends; `None`, said aloud, if there is nothing to move.
    fn open(parts: &Parts, reader: Reader, noted: bool) -> Result<Option<Self>> {
        let (path, engine) = (parts.storage.display(), parts.place.word());
        let holding = reader.holding()?;
        if holding.points.is_empty() {
            if holding.elsewhere {
                println!("{path}: nothing is to be moved, its readings are in another engine already");
            } else {
                println!(
                    "{path}: nothing is to be moved, it holds no readings; start the ingestor with {engine}"
                );
            }
            return Ok(None);
        }
        let restored = reader.restored()?;
        let known = |point: &PointNo| restored.points.iter().any(|entry| entry.no == *point);
        if let Some(point) = holding.points.iter().find(|point| !known(point)) {
            bail!(
                "move readings of point {}: the store does not know whose it is; see what doctor says",
                point.0
            );
        }
        let note = noted.then(|| parts.storage.with_extension("snapshot"));
        let to = readings::destination(&parts.place, note, TIMEOUT, &reader, &parts.territory)?;
        let keeps = to.engine.keeps_for(MARGIN_MS);
        Ok(Some(Self { reader, holding, to, keeps }))
    }

    fn carry(&self, parts: &Parts, survey: &Survey) -> Result<Carried> {
        let (mut engine, answers) = (self.to.engine.clone(), self.to.engine.reader());
        let called =
            |row: &Row| format!("{} at {}", self.to.elsewhere.called(row.point), shown(&parts.zone, row.at));
        let mut carrier = Carrier {
            store: &self.reader,
            engine: &mut engine,
            answers: &answers,
            keeps: self.keeps.clone(),
            parcel_rows: PARCEL_ROWS,
            patience: Patience::default(),
            fresh: false,
            gauge: Gauge::new(survey.rows),
            called: &called,
        };
        carrier.carry(&survey.points)
    }
}

/// Whether settings and store are such that readings can be moved.
fn may_be_moved(parts: &Parts) -> Result<()> {
    let path = &parts.storage;
    match (&parts.seat, &parts.place) {
        (Seat::Postgres { .. }, _) => bail!(
            "find the readings: registry.kind = \"postgresql\" keeps none in a file; a registry cannot be moved, but readings \
             can while it is in the file: leave registry.kind at \"embedded\""
        ),
        (_, Place::Own) => {
            bail!("know where to: set storage.engine to victoriametrics or influxdb2, and storage.url")
        }
        _ if !path.is_file() => bail!("find the store {}: there is no such file", path.display()),
        _ => Ok(()),
    }
}

fn tell_survey(parts: &Parts, ways: &Ways, survey: &Survey, without_outside: bool) {
    let (path, zone) = (parts.storage.display(), &parts.zone);
    let (first, last) = survey.ends.unwrap_or_default();
    let points = ways.holding.points.len();
    println!(
        "{path}: {} readings of {points} points, {} to {}",
        grouped(survey.rows + survey.twins + survey.outside),
        shown(zone, first),
        shown(zone, last)
    );
    if let Place::Elsewhere(server) = &parts.place {
        let since = shown(zone, ways.keeps.start);
        println!(
            "  {} go to {} at {}, which keeps them from {since} on",
            grouped(survey.rows),
            parts.place.word(),
            server.place()
        );
    }
    let Holding { faded_points, corrections, .. } = ways.holding;
    let victoria = matches!(&parts.place, Place::Elsewhere(Server { kind: Kind::Victoria, .. }));
    let outside = if survey.outside > OUTSIDE_MAX || without_outside {
        "of a time that it does not keep, which stay behind"
    } else {
        "of a time that it does not keep, which go to quarantine, as they would if they came now"
    };
    for (many, what) in [
        (
            if victoria { survey.long } else { 0 },
            "with numbers of more than 12 digits, of which it keeps 12 to 15",
        ),
        (survey.twins, "of a point and millisecond of which it gets another, which stay behind"),
        (survey.outside, outside),
        (
            corrections,
            "corrected, of which it gets what they say now; who, why and what the sensor sent stay in this file and are shown",
        ),
        (
            faded_points,
            "points with hours and days of readings that are no longer kept, which stay in this file and are shown",
        ),
    ] {
        if many > 0 {
            println!("  {} {what}", grouped(many));
        }
    }
}

fn tell_end(parts: &Parts, carried: &Carried, took: Duration, before: u64) {
    let (path, engine) = (parts.storage.display(), parts.place.word());
    let speed = (carried.rows as f64 / took.as_secs_f64().max(0.001)) as u64;
    println!(
        "moved: {} readings are in {engine}, each one read back and compared; {} were there before; {}, {}/s",
        grouped(carried.rows),
        grouped(carried.found),
        length(took),
        grouped(speed)
    );
    if let Some(worst) = &carried.worst {
        let value = worst.row.value.unwrap_or_default();
        println!(
            "  {} have lost their last digits there, as they would if they came now; none more than {value} of {}, which is {} now",
            grouped(carried.rounded),
            shown(&parts.zone, worst.row.at),
            worst.became
        );
    }
    let refused = carried.refused.len() as u64;
    if refused > 0 {
        println!("  {} were refused: see `sitian-ingestor quarantine list`", grouped(refused));
    }
    println!(
        "{path} keeps everything else, in {} MB instead of {} MB; start the ingestor, gateways go on where they were",
        megabytes(size(&parts.storage)),
        megabytes(before)
    );
}

fn shown(zone: &Zone, at: Timestamp) -> String {
    zone.show(at).0
}

fn size(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / 1e6)
}
