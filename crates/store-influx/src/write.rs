//! Writing: rows become lines, lines become compressed requests, and what comes back decides what happens next.
//!
//! ```text
//!  204, 200             stored
//!  400, 422             some line is refused: halve until it is found; writing the others again changes nothing. None is
//!                       looked for if the server says that it dropped as many as there are
//!  413                  too long: halve
//!  429, 5xx, no answer  later: wait as long as the server asks, or twice as long as the last time, and try again
//!  401, 403, 404, …     never: a person has to act
//! ```

use std::sync::Arc;
use std::time::Duration;

use sitian_model::Row;
use sitian_series::{AppendError, Refused};

use crate::line;
use crate::names::Names;
use crate::server::{Answer, Place, Server, words};

/// Most lines of one request.
pub const LINES_MAX: usize = 5_000;
/// A request that is longer goes out, however few its lines are.
const LINES_BYTES: usize = 4 << 20;

/// How long a writer tries before it gives its rows back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// Attempts at one request, the first included.
    pub tries: u32,
    /// The first wait; the next ones are twice as long each.
    pub first: Duration,
    /// No wait is longer; a server that asks for a longer one gets it from the caller.
    pub longest: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { tries: 4, first: Duration::from_millis(200), longest: Duration::from_secs(2) }
    }
}

/// Writes rows to one server.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    pub(crate) server: Server,
    pub(crate) names: Arc<Names>,
    /// The write API, times in milliseconds.
    pub(crate) place: Place,
    pub(crate) patience: Patience,
}

/// Lines of one request, and the row of each.
#[derive(Debug, Default)]
struct Lines {
    text: String,
    /// Position in what was appended, and where its line ends.
    rows: Vec<(usize, usize)>,
}

/// What an answer means.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Stored,
    Refused(String),
    TooLong,
    Later(Option<Duration>),
    Never,
}

impl Writer {
    /// Writes rows; says which ones the server does not take.
    pub(crate) fn write(&self, rows: &[Row]) -> Result<Vec<Refused>, AppendError> {
        let (mut lines, mut refused) = (Lines::default(), Vec::new());
        for (index, row) in rows.iter().enumerate() {
            if let Err(why) = self.put(&mut lines, index, row) {
                refused.push(Refused { index, why });
            }
            if lines.rows.len() == LINES_MAX || lines.text.len() > LINES_BYTES {
                self.send(&lines, 0, lines.rows.len(), &mut refused)?;
                lines = Lines::default();
            }
        }
        self.send(&lines, 0, lines.rows.len(), &mut refused)?;
        refused.sort_by_key(|refused| refused.index);
        Ok(refused)
    }

    fn put(&self, lines: &mut Lines, index: usize, row: &Row) -> Result<(), String> {
        let named = self.names.of(row.point).ok_or("its point is not described")?;
        let mark = self.names.mark(row.epoch).ok_or("its epoch is not described")?;
        let begin = lines.text.len();
        if let Err(fault) = line::put(&mut lines.text, &named.heading, mark, row) {
            lines.text.truncate(begin);
            return Err(fault.to_string());
        }
        lines.rows.push((index, lines.text.len()));
        Ok(())
    }

    /// Sends lines `from..to`; halves what is refused until single lines are.
    fn send(
        &self,
        lines: &Lines,
        from: usize,
        to: usize,
        refused: &mut Vec<Refused>,
    ) -> Result<(), AppendError> {
        let place = |n: usize| n.checked_sub(1).map_or(0, |n| lines.rows[n].1);
        let text = &lines.text[place(from)..place(to)];
        let why = match self.verdict(text)? {
            Ok(()) => return Ok(()),
            Err(why) => why,
        };
        if to - from == 1 || dropped(&why) == Some(to - from) {
            let all = lines.rows[from..to].iter();
            refused.extend(all.map(|(index, _)| Refused { index: *index, why: why.clone() }));
            return Ok(());
        }
        let middle = from + (to - from) / 2;
        self.send(lines, from, middle, refused)?;
        self.send(lines, middle, to, refused)
    }

    /// Sends a text until it is stored or refused.
    fn verdict(&self, text: &str) -> Result<Result<(), String>, AppendError> {
        if text.is_empty() {
            return Ok(Ok(()));
        }
        let (mut wait, mut tries) = (self.patience.first, 0);
        loop {
            tries += 1;
            let (asked, error) = match self.server.post(&self.place, text) {
                Ok(answer) => match judge(&answer) {
                    Verdict::Stored => return Ok(Ok(())),
                    Verdict::Refused(why) => return Ok(Err(why)),
                    Verdict::TooLong => return Ok(Err("it is too long for the engine".to_owned())),
                    Verdict::Never => return Err(AppendError::Never(Box::new(self.server.refusal(&answer)))),
                    Verdict::Later(asked) => (asked, self.server.busy(answer.status, &answer.text)),
                },
                Err(error) => (None, error),
            };
            let pause = asked.unwrap_or(wait);
            if tries >= self.patience.tries || pause > self.patience.longest {
                let retry_after_ms = asked.and_then(|asked| u64::try_from(asked.as_millis()).ok());
                return Err(AppendError::Later { retry_after_ms, source: Box::new(error) });
            }
            tracing::debug!(%error, pause_ms = pause.as_millis(), "the engine is asked again");
            // Writers that were refused together do not come back together.
            std::thread::sleep(pause + pause.mul_f64(fastrand::f64() / 4.0));
            wait = (wait * 2).min(self.patience.longest);
        }
    }
}

/// How many lines a server says that it has dropped.
fn dropped(why: &str) -> Option<usize> {
    let number = why.rsplit_once("dropped=")?.1;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn judge(answer: &Answer) -> Verdict {
    match answer.status {
        200..=299 => Verdict::Stored,
        400 | 422 => Verdict::Refused(words(&answer.text)),
        413 => Verdict::TooLong,
        408 | 429 | 500..=599 => Verdict::Later(answer.retry_after),
        _ => Verdict::Never,
    }
}
