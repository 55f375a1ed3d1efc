//! An engine of the series port: what it does not keep is refused here, the rest is written and settled.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use sitian_model::Row;
use sitian_series::{Append, AppendError, Refused};

use crate::dialect::Dialect;
use crate::reader::Reader;
use crate::write::Writer;

/// A running server that takes rows.
#[derive(Debug, Clone)]
pub struct Engine {
    writer: Writer,
    dialect: Arc<dyn Dialect>,
}

impl Engine {
    pub(crate) fn new(writer: Writer, dialect: impl Dialect + 'static) -> Self {
        Self { writer, dialect: Arc::new(dialect) }
    }

    /// A view for queries. Cheap; clone it freely.
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.dialect), Arc::clone(&self.writer.names))
    }
}

impl Append for Engine {
    fn append(&mut self, rows: &[Row]) -> Result<Vec<Refused>, AppendError> {
        let keeps = self.dialect.keeps(now_ms());
        let kept = |row: &Row| keeps.contains(&row.at.0);
        let mut refused = Vec::new();
        let mut taken: Vec<usize> = (0..rows.len()).collect();
        if !rows.iter().all(kept) {
            taken.retain(|index| kept(&rows[*index]));
            let why = |at: i64| {
                if at < keeps.start { "it is older than the engine keeps" } else { "it is far in the future" }
            };
            let outside = rows.iter().enumerate().filter(|(_, row)| !kept(row));
            refused.extend(outside.map(|(index, row)| Refused { index, why: why(row.at.0).to_owned() }));
        }
        let inside: Vec<Row> = taken.iter().map(|index| rows[*index]).collect();
        let found = self.writer.write(&inside)?;
        refused.extend(found.into_iter().map(|found| Refused { index: taken[found.index], why: found.why }));
        refused.sort_by_key(|refused| refused.index);
        if refused.len() < rows.len() {
            let later = |error| AppendError::Later { retry_after_ms: None, source: Box::new(error) };
            self.dialect.settle().map_err(later)?;
        }
        Ok(refused)
    }
}

pub(crate) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
