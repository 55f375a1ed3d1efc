//! What people see of a move: how much, how fast, how long still. On a terminal one line that changes, elsewhere a line now
//! and then.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// Between two lines that are not on a terminal.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Tells how far a move has come.
#[derive(Debug)]
pub struct Gauge {
    all: u64,
    done: u64,
    refused: usize,
    begun: Instant,
    told: Instant,
    /// Neither a terminal nor a file: nothing is told.
    silent: bool,
    terminal: bool,
}

impl Gauge {
    /// Of so many readings, on the standard output.
    pub fn new(all: u64) -> Self {
        let (begun, terminal) = (Instant::now(), std::io::stdout().is_terminal());
        Self { all, done: 0, refused: 0, begun, told: begun, silent: false, terminal }
    }

    /// One that tells nothing.
    #[cfg(test)]
    pub fn silent() -> Self {
        Self { silent: true, ..Self::new(0) }
    }

    /// So many readings more are there, and compared.
    pub fn done(&mut self, rows: u64) {
        self.done += rows;
        if self.terminal || self.told.elapsed() >= LINE_EVERY {
            self.told = Instant::now();
            let line = progress(self.done, self.all, self.begun.elapsed());
            self.line(&line, self.terminal);
        }
    }

    /// The engine does not take so many readings, and says why of the first.
    pub fn refused(&mut self, why: Option<&str>, rows: usize) {
        if let Some(why) = why.filter(|_| self.refused == 0) {
            self.line(&format!("the engine does not take a reading, which goes to quarantine: {why}"), false);
        }
        self.refused += rows;
    }

    /// The engine is waited for.
    pub fn waits(&mut self, pause: Duration, why: &anyhow::Error) {
        self.line(&format!("waiting {} s for the engine: {why:#}", pause.as_secs_f64().ceil()), false);
    }

    /// All is done.
    pub fn end(&self) {
        if self.terminal && self.done > 0 && !self.silent {
            println!();
        }
    }

    fn line(&self, text: &str, stays: bool) {
        if self.silent {
            return;
        }
        let mut out = std::io::stdout();
        // A reader that has gone away is no reason to stop.
        let _ = match (self.terminal, stays) {
            (true, true) => write!(out, "\r\x1b[K{text}"),
            (true, false) => writeln!(out, "\r\x1b[K{text}"),
            (false, _) => writeln!(out, "{text}"),
        };
        let _ = out.flush();
    }
}

/// Such as `1,200,000 of 4,800,000 readings are there (25 %), 120,000/s, 30 s left`.
fn progress(done: u64, all: u64, took: Duration) -> String {
    let percent = done * 100 / all.max(1);
    let speed = done as f64 / took.as_secs_f64().max(0.001);
    let left = Duration::from_secs_f64((all.saturating_sub(done) as f64 / speed.max(1.0)).min(1e9));
    format!(
        "{} of {} readings are there ({percent} %), {}/s, {} left",
        grouped(done),
        grouped(all),
        grouped(speed as u64),
        length(left)
    )
}

/// A number that people can read: 4,800,000.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A length of time: `45 s`, `3 min 20 s`, `2 h 5 min`.
pub fn length(time: Duration) -> String {
    let seconds = time.as_secs_f64().ceil() as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds / 60 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_says_how_much_how_fast_and_how_long_still() {
        for (done, all, seconds, text) in [
            (0, 5, 1, "0 of 5 readings are there (0 %), 0/s, 5 s left"),
            (
                1_200_000,
                4_800_000,
                10,
                "1,200,000 of 4,800,000 readings are there (25 %), 120,000/s, 30 s left",
            ),
            (
                100_000,
                100_100_000,
                1,
                "100,000 of 100,100,000 readings are there (0 %), 100,000/s, 16 min 40 s left",
            ),
            (1, 20_001, 1, "1 of 20,001 readings are there (0 %), 1/s, 5 h 33 min left"),
            (7, 7, 1, "7 of 7 readings are there (100 %), 7/s, 0 s left"),
        ] {
            assert_eq!(progress(done, all, Duration::from_secs(seconds)), text);
        }
    }
}
