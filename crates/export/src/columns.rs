//! Rows as a Parquet file: gathered until a group is full, then written column by column.
//!
//! Texts that repeat (point, unit, quality, cause, epoch) are dictionaries, times and sequence numbers differences, all of it
//! under Zstandard. The file can be read once its footer is written; nothing before it is ever written again, so that a
//! socket will do.

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::data_type::{BoolType, ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedColumnWriter, SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::ColumnPath;
use sitian_model::{Cause, Quality, Row};

use crate::Label;

/// Rows of a group: 3 MiB while it is gathered, enough that dictionaries and differences pay.
pub(crate) const GROUP_ROWS: usize = 65_536;
/// Cells handed to the library at once.
const SLICE_ROWS: usize = 1_024;

const SCHEMA: &str = "message reading {
    required binary point (STRING);
    required int64 at (TIMESTAMP(MILLIS, true));
    optional double value;
    required binary unit (STRING);
    required binary quality (STRING);
    optional binary cause (STRING);
    required binary epoch (STRING);
    required int64 seq (INTEGER(64, false));
    required boolean corrected;
}";

/// A Parquet file under way.
pub(crate) struct Columns<W: Write + Send> {
    writer: SerializedFileWriter<W>,
    texts: Texts,
    group: Vec<Cells>,
}

/// A row whose texts are numbers.
struct Cells {
    point: usize,
    unit: usize,
    epoch: usize,
    corrected: bool,
    row: Row,
}

impl<W: Write + Send> Columns<W> {
    pub(crate) fn begin(out: W, notes: Vec<(String, String)>) -> io::Result<Self> {
        let schema = parse_message_type(SCHEMA).map_err(fault)?;
        let notes = notes.into_iter().map(|(key, text)| KeyValue::new(key, text)).collect();
        let mut properties = WriterProperties::builder()
            .set_created_by(concat!("sitian version ", env!("CARGO_PKG_VERSION")).to_owned())
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .set_key_value_metadata(Some(notes));
        for column in ["at", "seq"] {
            properties = properties
                .set_column_dictionary_enabled(ColumnPath::from(column), false)
                .set_column_encoding(ColumnPath::from(column), Encoding::DELTA_BINARY_PACKED);
        }
        let properties = Arc::new(properties.build());
        let writer = SerializedFileWriter::new(out, Arc::new(schema), properties).map_err(fault)?;
        Ok(Self { writer, texts: Texts::default(), group: Vec::new() })
    }

    pub(crate) fn put(&mut self, label: Label<'_>, row: &Row) -> io::Result<()> {
        let mut number = |text| self.texts.number(text);
        let (point, unit, epoch) = (number(label.point), number(label.unit), number(label.epoch));
        self.group.push(Cells { point, unit, epoch, corrected: label.corrected, row: *row });
        if self.group.len() < GROUP_ROWS {
            return Ok(());
        }
        self.write_group().map_err(fault)
    }

    pub(crate) fn finish(mut self) -> io::Result<W> {
        if !self.group.is_empty() {
            self.write_group().map_err(fault)?;
        }
        let mut out = self.writer.into_inner().map_err(fault)?;
        out.flush().map(|()| out)
    }

    /// The order is that of [`SCHEMA`].
    fn write_group(&mut self) -> Result<(), ParquetError> {
        let (texts, rows) = (&self.texts, &self.group);
        let mut group = self.writer.next_row_group()?;
        let word = |text: &'static str| ByteArray::from(text);
        required::<ByteArrayType>(next(&mut group)?, rows, |cells| texts.text(cells.point))?;
        required::<Int64Type>(next(&mut group)?, rows, |cells| cells.row.at.0)?;
        optional::<DoubleType>(next(&mut group)?, rows, |cells| cells.row.value)?;
        required::<ByteArrayType>(next(&mut group)?, rows, |cells| texts.text(cells.unit))?;
        required::<ByteArrayType>(next(&mut group)?, rows, |cells| word(cells.row.quality.word()))?;
        optional::<ByteArrayType>(next(&mut group)?, rows, |cells| cause(cells.row.quality).map(word))?;
        required::<ByteArrayType>(next(&mut group)?, rows, |cells| texts.text(cells.epoch))?;
        required::<Int64Type>(next(&mut group)?, rows, |cells| cells.row.seq.cast_signed())?;
        required::<BoolType>(next(&mut group)?, rows, |cells| cells.corrected)?;
        group.close()?;
        self.group.clear();
        Ok(())
    }
}

fn next<'a, W: Write + Send>(
    group: &'a mut SerializedRowGroupWriter<'_, W>,
) -> Result<SerializedColumnWriter<'a>, ParquetError> {
    group.next_column()?.ok_or_else(|| ParquetError::EOF("the schema has one column more".to_owned()))
}

fn cause(quality: Quality) -> Option<&'static str> {
    quality.cause().map(Cause::word)
}

/// Texts by number: there are few of them, and many rows.
#[derive(Default)]
struct Texts {
    numbers: HashMap<String, usize>,
    texts: Vec<ByteArray>,
}

impl Texts {
    fn number(&mut self, text: &str) -> usize {
        if let Some(number) = self.numbers.get(text) {
            return *number;
        }
        self.texts.push(ByteArray::from(text));
        self.numbers.insert(text.to_owned(), self.texts.len() - 1);
        self.texts.len() - 1
    }

    /// Shares the bytes.
    fn text(&self, number: usize) -> ByteArray {
        self.texts.get(number).cloned().unwrap_or_default()
    }
}

fn required<T: DataType>(
    mut column: SerializedColumnWriter<'_>,
    rows: &[Cells],
    cell: impl Fn(&Cells) -> T::T,
) -> Result<(), ParquetError> {
    for slice in rows.chunks(SLICE_ROWS) {
        let values: Vec<T::T> = slice.iter().map(&cell).collect();
        column.typed::<T>().write_batch(&values, None, None)?;
    }
    column.close()
}

fn optional<T: DataType>(
    mut column: SerializedColumnWriter<'_>,
    rows: &[Cells],
    cell: impl Fn(&Cells) -> Option<T::T>,
) -> Result<(), ParquetError> {
    for slice in rows.chunks(SLICE_ROWS) {
        let cells: Vec<Option<T::T>> = slice.iter().map(&cell).collect();
        let there: Vec<i16> = cells.iter().map(|cell| i16::from(cell.is_some())).collect();
        let values: Vec<T::T> = cells.into_iter().flatten().collect();
        column.typed::<T>().write_batch(&values, Some(&there), None)?;
    }
    column.close()
}

/// What the sink said, as it said it.
fn fault(error: ParquetError) -> io::Error {
    match error {
        ParquetError::External(inner) => match inner.downcast::<io::Error>() {
            Ok(error) => *error,
            Err(other) => io::Error::other(other),
        },
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::RowAccessor;
    use sitian_model::{EpochNo, PointNo, Timestamp};

    use super::*;
    use crate::{Export, Format};

    fn row(n: usize) -> Row {
        let (value, quality) = match n % 7 {
            3 => (None, Quality::Bad(Cause::Timeout)),
            5 => (Some(n as f64 / 3.0), Quality::Uncertain(Cause::ClockUnknown)),
            _ => (Some((n % 100) as f64 / 10.0), Quality::Good),
        };
        let at = Timestamp(1_777_847_400_000 + n as i64 * 2_000);
        Row { point: PointNo(1), at, value, quality, epoch: EpochNo(1), seq: u64::MAX - n as u64 }
    }

    fn label(n: usize) -> Label<'static> {
        let point = if n.is_multiple_of(2) { "gw-1/soil-1/soil_moisture" } else { "gw-1/水/温" };
        Label { point, unit: "%", epoch: "07ab", corrected: n == 4 }
    }

    fn written(rows: usize) -> Vec<u8> {
        let notes = vec![("sitian.zone".to_owned(), "Asia/Shanghai".to_owned())];
        let time = |_: Timestamp| unreachable!("Parquet writes no texts of time");
        let out = io::BufWriter::with_capacity(1 << 20, Vec::new());
        let mut export = Export::begin(out, Format::Parquet, notes, &time).unwrap();
        (0..rows).for_each(|n| export.put(label(n), &row(n)).unwrap());
        // What the sink still holds back would be missing.
        export.finish().unwrap().get_ref().clone()
    }

    #[test]
    fn a_file_reads_back_to_the_bit_with_its_notes_and_kinds_of_columns() {
        for rows in [0, 1, GROUP_ROWS, 2 * GROUP_ROWS + 5] {
            let reader = SerializedFileReader::new(bytes::Bytes::from(written(rows))).unwrap();
            let about = reader.metadata();
            assert_eq!(
                (about.num_row_groups(), about.file_metadata().num_rows()),
                (rows.div_ceil(GROUP_ROWS), rows as i64)
            );
            let notes = about.file_metadata().key_value_metadata().unwrap();
            assert!(
                notes
                    .iter()
                    .any(|note| note.key == "sitian.zone" && note.value.as_deref() == Some("Asia/Shanghai"))
            );
            let mut read = 0;
            for (n, found) in reader.get_row_iter(None).unwrap().enumerate() {
                let (found, wanted, label) = (found.unwrap(), row(n), label(n));
                let cause = cause(wanted.quality);
                assert_eq!(found.get_string(0).unwrap(), label.point);
                assert_eq!(found.get_timestamp_millis(1).unwrap(), wanted.at.0);
                assert_eq!(found.get_double(2).ok().map(f64::to_bits), wanted.value.map(f64::to_bits));
                assert_eq!(found.get_string(4).unwrap(), wanted.quality.word());
                assert_eq!(found.get_string(5).ok().map(String::as_str), cause);
                assert_eq!(found.get_ulong(7).unwrap(), wanted.seq);
                assert_eq!(found.get_bool(8).unwrap(), label.corrected);
                read += 1;
            }
            assert_eq!(read, rows);
        }
    }

    /// Counts what it is given, and takes no more after so much.
    struct Sink<'a>(&'a AtomicUsize, usize);

    impl Write for Sink<'_> {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0.fetch_add(bytes.len(), Ordering::Relaxed) > self.1 {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn groups_leave_as_they_fill_and_a_sink_that_takes_no_more_ends_it_in_its_own_words() {
        let (given, time) = (AtomicUsize::new(0), |_: Timestamp| String::new());
        let sink = Sink(&given, 100_000);
        let mut export = Export::begin(sink, Format::Parquet, Vec::new(), &time).unwrap();
        let mut after_group = Vec::new();
        let broken = (0..100 * GROUP_ROWS).find_map(|n| {
            let ended = export.put(label(n), &row(n)).err();
            if n % GROUP_ROWS == GROUP_ROWS - 1 {
                after_group.push(given.load(Ordering::Relaxed));
            }
            ended
        });
        assert!(after_group.windows(2).all(|pair| pair[0] < pair[1]), "{after_group:?}");
        assert_eq!(broken.map(|error| error.kind()), Some(io::ErrorKind::BrokenPipe), "{after_group:?}");
    }
}
