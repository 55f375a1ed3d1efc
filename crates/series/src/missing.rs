//! Why readings are missing: what is stored says it itself (a bad row has a cause), committed losses say it for a span,
//! and silences of a whole gateway say it for the rest. Derived whenever somebody asks; nothing here is stored.
//!
//! ```text
//!  expected ─ values = missing:  bad rows, by cause
//!                                due inside a committed loss (evicted, damaged, trimmed, quarantined)
//!                                due while no point of the gateway has a row: gateway_down
//!                                the rest: unknown
//! ```
//!
//! It does not know where losses are kept, nor which points belong together.
//!
//! Reading order: this page (accounts), `silence` (where nobody has a row), `place` (what lies in a silence).

use std::collections::BTreeMap;

use sitian_model::{Cause, GapReason, Span};

use crate::window::{Window, expected};

mod place;
mod silence;

pub use place::{Lost, Told, losses};
pub use silence::{Quiet, Silence, quiet};

/// Why a reading that was due has no value, in the order in which reasons are believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lack {
    /// A row says so.
    Bad(Cause),
    /// The gateway gave it up, or lost it, after it had been accepted.
    Gap(GapReason),
    /// It arrived and could not be understood; its bytes are kept.
    Quarantined,
    /// The gateway stored nothing at all at that time.
    GatewayDown,
    /// Nobody says.
    Unknown,
}

impl Lack {
    /// A stable snake_case word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Bad(cause) => cause.word(),
            Self::Gap(reason) => reason.word(),
            Self::Quarantined => "quarantined",
            Self::GatewayDown => "gateway_down",
            Self::Unknown => "unknown",
        }
    }
}

/// Missing readings by reason; reasons that did not occur are absent.
pub type Missing = BTreeMap<Lack, u64>;

/// A span of time in which readings of a gateway are missing for a known reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// When.
    pub span: Span,
    /// Why.
    pub lack: Lack,
}

/// Explains what one window of one point lacks. `span` is that of the query, `losses` those of its gateway,
/// as [`losses`] gives them.
///
/// Never more than is missing: a reason takes what is left of it, in the order of [`Lack`]. One reading more or less is
/// where the edge of a window fell and is not missing.
pub fn explain(window: &Window, span: Span, interval_ms: u32, losses: &[Loss]) -> Missing {
    let mut missing = Missing::new();
    let mut left = window.expected.unwrap_or(0).saturating_sub(window.count());
    for (cause, n) in &window.bad {
        left -= take(&mut missing, Lack::Bad(*cause), *n, left);
    }
    let at_edge = |left| left <= 1 && (window.count() > 0 || !window.bad.is_empty());
    if at_edge(left) {
        return missing;
    }
    for loss in losses {
        let from = loss.span.from.max(window.from).max(span.from);
        let to = loss.span.to.min(window.to).min(span.to);
        if from < to {
            left -= take(&mut missing, loss.lack, expected(Span { from, to }, interval_ms), left);
        }
    }
    if !at_edge(left) {
        // A bus that is late by several rounds says so once.
        let overrun = Lack::Bad(Cause::BusOverrun);
        let rest = if missing.contains_key(&overrun) { overrun } else { Lack::Unknown };
        take(&mut missing, rest, left, left);
    }
    missing
}

/// What was due in one window of one point, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Account {
    /// Always `stored` and all of `missing` together.
    pub expected: u64,
    /// Readings with a value, at most those due: a second writer does not make up for what others lack.
    pub stored: u64,
    /// The others, by reason.
    pub missing: Missing,
}

/// Draws up the account of a window; the arguments are those of [`explain`].
pub fn account(window: &Window, span: Span, interval_ms: u32, losses: &[Loss]) -> Account {
    let stored = window.count().min(window.expected.unwrap_or(0));
    let missing = explain(window, span, interval_ms, losses);
    Account { expected: stored + missing.values().sum::<u64>(), stored, missing }
}

/// Notes `n` readings, but not more than are `left`; says how many it noted.
fn take(missing: &mut Missing, lack: Lack, n: u64, left: u64) -> u64 {
    let n = n.min(left);
    if n > 0 {
        *missing.entry(lack).or_default() += n;
    }
    n
}

/// Puts losses in the order in which they are believed and cuts from each what an earlier one has claimed. Silences of
/// a gateway ([`Lack::GatewayDown`]) claim nothing from each other: they never overlap.
fn disjoint(mut losses: Vec<Loss>) -> Vec<Loss> {
    losses.sort_by_key(|loss| (loss.lack, loss.span.from));
    let mut claimed: Vec<Span> = Vec::new();
    let mut told = Vec::new();
    for Loss { span, lack } in losses {
        let rest = claimed.iter().fold(vec![span], |parts, claim| {
            let cut = |part: Span| {
                let before = Span { from: part.from, to: part.to.min(claim.from) };
                let after = Span { from: part.from.max(claim.to), to: part.to };
                [before, after].into_iter().filter(|left| left.from < left.to)
            };
            parts.into_iter().flat_map(cut).collect()
        });
        if lack != Lack::GatewayDown {
            claimed.extend(&rest);
        }
        told.extend(rest.into_iter().map(|span| Loss { span, lack }));
    }
    told
}

#[cfg(test)]
mod tests;
