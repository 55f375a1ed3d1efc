//! Stored readings on their way out, for the API and for `sitian-ingestor export`: rows, labels, and what a file says of
//! itself.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};

use anyhow::Result;
use sitian_api::{BackendError, Zone};
use sitian_export::{Export, Format, Label};
use sitian_ingest::PointEntry;
use sitian_model::{Epoch, EpochNo, PointNo, Row, Seq, Span, Timestamp};
use sitian_series::{Series, SeriesError};

use super::Centre;

/// Bytes that are handed to a caller at once.
const PIECE_BYTES: usize = 64 * 1024;

/// Where rows and their labels come from.
pub struct Sources<'a> {
    /// Rows, and what a person has corrected.
    pub series: &'a dyn Series,
    /// Epochs in words.
    pub epochs: &'a HashMap<EpochNo, Epoch>,
}

impl Sources<'_> {
    /// Writes the rows of a point. `Ok(false)`: whoever reads has left.
    pub fn write<W: Write + Send>(
        &self,
        point: &PointEntry,
        span: Span,
        export: &mut Export<'_, W>,
    ) -> Result<bool> {
        let corrected = corrected(self.series, point.no, span)?;
        let (id, mut written, mut words) = (point.id.to_string(), Ok(()), Words::default());
        self.series.walk(point.no, span, &mut |row| {
            let label = Label {
                point: &id,
                unit: &point.info.unit,
                epoch: words.of(row.epoch, self.epochs),
                corrected: !corrected.is_empty() && corrected.contains(&key(row)),
            };
            written = export.put(label, row);
            written.is_ok()
        })?;
        Ok(still_read(written)?)
    }
}

/// False if whoever reads has left, which is no failure.
pub fn still_read(written: io::Result<()>) -> io::Result<bool> {
    match written {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(error),
    }
}

/// What a file says of itself.
pub fn notes(points: &[&PointEntry], span: Span, zone: &Zone) -> Vec<(String, String)> {
    let one = |point: &&PointEntry| {
        serde_json::json!({
            "point": point.id.to_string(),
            "unit": point.info.unit,
            "measurement": point.info.measurement.to_string(),
            "decimals": point.info.decimals,
            "interval_ms": point.info.interval_ms,
            "device_name": point.device.name,
            "place": point.device.place,
        })
    };
    let points: Vec<serde_json::Value> = points.iter().map(one).collect();
    let note = |key: &str, text: String| (format!("sitian.{key}"), text);
    vec![
        note("schema", "1".to_owned()),
        note("points", serde_json::Value::from(points).to_string()),
        note("from", zone.show(span.from).0),
        note("to", zone.show(span.to).0),
    ]
}

/// What names the rows that say something else by now than the sensor sent.
pub fn corrected(
    series: &dyn Series,
    point: PointNo,
    span: Span,
) -> Result<HashSet<(Timestamp, EpochNo, Seq)>, SeriesError> {
    Ok(series.sent(point, span)?.iter().map(key).collect())
}

/// What names a row of a point.
pub fn key(row: &Row) -> (Timestamp, EpochNo, Seq) {
    (row.at, row.epoch, row.seq)
}

/// The epoch of the row before, in words: it hardly ever changes.
#[derive(Default)]
struct Words(Option<EpochNo>, String);

impl Words {
    fn of(&mut self, no: EpochNo, epochs: &HashMap<EpochNo, Epoch>) -> &str {
        if self.0 != Some(no) {
            *self = Self(Some(no), epochs.get(&no).map_or_else(String::new, Epoch::to_string));
        }
        &self.1
    }
}

impl Centre {
    /// Hands the rows of a point to `out` until it says stop.
    pub fn export_point(
        &self,
        no: PointNo,
        span: Span,
        format: Format,
        out: &mut (dyn FnMut(Vec<u8>) -> bool + Send),
    ) -> Result<(), BackendError> {
        let (point, epochs) = {
            let board = self.board();
            let point = board.points.get(&no).ok_or(BackendError::NotFound("point"))?;
            (point.entry.clone(), board.epochs.clone())
        };
        let time = |at| self.presenter.time(at).0;
        let notes = notes(&[&point], span, self.presenter.zone());
        let sources = Sources { series: &*self.series, epochs: &epochs };
        let broken = |error: &dyn std::fmt::Display| BackendError::Unavailable(error.to_string());
        let mut export = Export::begin(Pieces { out, piece: Vec::new() }, format, notes, &time)
            .map_err(|error| broken(&error))?;
        if sources.write(&point, span, &mut export).map_err(|error| broken(&error))? {
            still_read(export.finish().map(drop)).map_err(|error| broken(&error))?;
        }
        Ok(())
    }
}

/// Gathers bytes into pieces.
struct Pieces<'a> {
    out: &'a mut (dyn FnMut(Vec<u8>) -> bool + Send),
    piece: Vec<u8>,
}

impl Write for Pieces<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    /// The caller has left: that is a broken pipe.
    fn flush(&mut self) -> io::Result<()> {
        if self.piece.is_empty() || (self.out)(std::mem::take(&mut self.piece)) {
            return Ok(());
        }
        Err(io::ErrorKind::BrokenPipe.into())
    }
}
