//! An engine of the series port: what it does not keep is refused here, the rest is written and settled.

use std::ops::Range;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use sitian_model::{Row, Timestamp};
use sitian_series::{Append, AppendError, Refused};

use crate::dialect::Dialect;
use crate::fault::EngineError;
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

    /// The moments that it takes and answers for, from now until so many milliseconds later: it forgets while time goes on.
    pub fn keeps_for(&self, ms: i64) -> Range<Timestamp> {
        let now_ms = now_ms();
        let (keeps, answers) = (self.dialect.keeps(now_ms), self.dialect.answers(now_ms));
        let later = self.dialect.keeps(now_ms.saturating_add(ms));
        Timestamp(later.start.max(answers.start))..Timestamp(keeps.end.min(answers.end))
    }

    /// Bytes that are free on its disk; `None` if it does not tell.
    ///
    /// # Errors
    /// It does not answer.
    pub fn room(&self) -> Result<Option<u64>, EngineError> {
        self.dialect.room()
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
