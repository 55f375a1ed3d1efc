//! What a gateway's points promised, and when: read from the manifests of the epochs that it was in, one after another.
//!
//! ```text
//!  live epochs   A ──────────── A' ─────── B ───────────►    A and A' have equal manifests: one term
//!  point p       every 10 s ─────────────► every 60 s ──►
//!  point q       every 10 s ─────────────┤                   B does not name q: due until the last reading of A'
//! ```

use std::collections::BTreeMap;

use sitian_api::BackendError;
use sitian_model::{GatewayId, PointNo, Span, Timestamp};
use sitian_registry::EpochLine;
use sitian_series::window;

use crate::backend::{Centre, unavailable};

/// What a point promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promise {
    /// Which point.
    pub no: PointNo,
    /// When it was to be polled how often: oldest first, apart from each other.
    pub dues: Vec<Due>,
    /// Milliseconds between two polls, as last told.
    pub interval_ms: u32,
}

/// A time in which a point was to be polled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// When.
    pub span: Span,
    /// Milliseconds between two polls.
    pub interval_ms: u32,
}

impl Promise {
    /// From when on it promises anything.
    pub fn since(&self) -> Timestamp {
        self.dues.first().map_or(Timestamp(i64::MAX), |due| due.span.from)
    }

    /// The part of a span in which it promises anything, from its first to its last moment.
    pub fn within(&self, span: Span) -> Span {
        let last = self.dues.last().map_or(span.from, |due| due.span.to);
        Span { from: span.from.max(self.since()), to: span.to.min(last) }
    }

    /// Readings due in a span.
    pub fn expected(&self, span: Span) -> u64 {
        let inside = |due: &Due| Span { from: due.span.from.max(span.from), to: due.span.to.min(span.to) };
        let dues = self.dues.iter().map(|due| (inside(due), due.interval_ms));
        dues.filter(|(part, _)| part.from < part.to).map(|(part, ms)| window::expected(part, ms)).sum()
    }

    /// Milliseconds between two polls at some moment, or next to it.
    pub fn interval_at(&self, at: Timestamp) -> u32 {
        let begun = self.dues.iter().rfind(|due| due.span.from <= at).or(self.dues.first());
        begun.map_or(self.interval_ms, |due| due.interval_ms)
    }
}

/// Epochs that a gateway was in one after another, with one manifest.
struct Term {
    epoch: EpochLine,
    newest_at: Option<Timestamp>,
}

impl Centre {
    /// What the points that a gateway has and had promise.
    pub fn promises_of(&self, gateway: &GatewayId) -> Result<Vec<Promise>, BackendError> {
        let terms = terms(&self.reader.epoch_lines(gateway).map_err(unavailable)?);
        let mut dues: BTreeMap<PointNo, Vec<Due>> = BTreeMap::new();
        let mut previous: Option<Term> = None;
        for term in terms {
            let entry = self.reader.epoch(term.epoch.no).map_err(unavailable)?;
            let Some(entry) = entry.filter(|entry| !entry.points.is_empty()) else { continue };
            let at = term.epoch.at;
            let named: BTreeMap<PointNo, u32> = entry
                .points
                .iter()
                .copied()
                .zip(entry.manifest.points.iter().map(|info| info.interval_ms))
                .collect();
            let last_heard = previous.as_ref().and_then(|term| term.newest_at);
            for (no, dues) in &mut dues {
                let Some(open) = dues.last_mut().filter(|due| due.span.to == FOR_EVER) else { continue };
                match named.get(no) {
                    Some(interval_ms) if *interval_ms == open.interval_ms => {}
                    Some(_) => open.span.to = at.max(open.span.from),
                    None => {
                        let end = last_heard.map_or(at, |newest| newest.plus_ms(1).min(at));
                        open.span.to = end.max(open.span.from);
                    }
                }
            }
            for (no, interval_ms) in named {
                let dues = dues.entry(no).or_default();
                if dues.last().is_none_or(|due| due.span.to != FOR_EVER) {
                    dues.push(Due { span: Span { from: at, to: FOR_EVER }, interval_ms });
                }
            }
            previous = Some(term);
        }
        let promise = |(no, dues): (PointNo, Vec<Due>)| {
            let interval_ms = dues.last().map(|due| due.interval_ms)?;
            Some(Promise { no, dues, interval_ms })
        };
        Ok(dues.into_iter().filter_map(promise).collect())
    }
}

const FOR_EVER: Timestamp = Timestamp(i64::MAX);

/// Joins neighbouring epochs with equal manifests. Epochs that were never seen live came from a backlog: they say nothing
/// of what the gateway has, unless there is nothing else.
fn terms(epochs: &[EpochLine]) -> Vec<Term> {
    let any_live = epochs.iter().any(|epoch| epoch.live_rank > 0);
    let mut terms: Vec<Term> = Vec::new();
    for epoch in epochs.iter().filter(|epoch| epoch.live_rank > 0 || !any_live) {
        match terms.last_mut().filter(|term| term.epoch.manifest == epoch.manifest) {
            Some(term) => term.newest_at = term.newest_at.max(epoch.newest_at),
            None => terms.push(Term { epoch: *epoch, newest_at: epoch.newest_at }),
        }
    }
    terms
}
