//! What lies in a silence. The labels at its ends say which records the gateway accepted in between: some are known to be
//! lost, some are in quarantine. What remains of them is committed, and so stored, but not here: its time is unknown.
//!
//! ```text
//!  row (e, 5) ├──────────────── silence ────────────────┤ row (f, 3)
//!              e 6 7 8 │ x 0 … 9 │ nothing        f 0 1 2
//!              tail     hidden    gateway_down    head
//! ```
//!
//! `x` is an epoch none of whose records has a known time; it is put at the end of the last silence that may hold it, and
//! the one before it before it.

use sitian_model::{Cause, EpochNo, Seq, Span, Timestamp};

use super::silence::{Quiet, Silence};
use super::{Lack, Loss, disjoint};

/// Records of an epoch that hold no row where they were due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// Which epoch.
    pub epoch: EpochNo,
    /// The first of them.
    pub first: Seq,
    /// The last of them, included.
    pub last: Seq,
    /// When the first and the last were taken, as far as the gateway could tell.
    pub span: Option<Span>,
    /// Why.
    pub lack: Lack,
}

/// What the centre knows of an epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Which.
    pub no: EpochNo,
    /// When its manifest came.
    pub at: Timestamp,
    /// Its records below this are stored, in a gap or in quarantine.
    pub committed: Seq,
    /// The newest of its readings whose time is known.
    pub newest_at: Option<Timestamp>,
}

/// Which records lie where in a silence.
#[derive(Debug, Clone, Copy)]
struct Part {
    epoch: EpochNo,
    first: Seq,
    last: Seq,
    /// When the first one was due, and milliseconds between two.
    from: Timestamp,
    step_ms: f64,
}

/// When a gateway's readings were lost, and why. `told` are its epochs, `lost` what is known to be lost, `interval_ms` is
/// that of its fastest point. Spans are cut where an earlier reason, in the order of [`Lack`], has claimed them.
pub fn losses(quiet: &Quiet, told: &[Told], lost: &[Lost], interval_ms: u32) -> Vec<Loss> {
    let step_ms = quiet.step_ms.unwrap_or(i64::from(interval_ms)).max(1) as f64;
    let half_ms = i64::from(interval_ms) / 2;
    let mut losses: Vec<Loss> = lost.iter().filter_map(|lost| stated(lost, half_ms)).collect();
    let mut hidden = hidden(quiet, told);
    for (n, silence) in quiet.silences.iter().enumerate() {
        let mut parts: Vec<Part> = [tail(silence, told, step_ms), head(silence, told, step_ms)].into();
        // One before the other: each was a start of its own.
        let began = parts
            .iter()
            .filter(|part| part.first <= part.last && silence.before.is_none_or(|b| b.0 != part.epoch));
        let end = silence.span.to.plus_ms(-half_ms);
        let mut until = began.map(|part| part.from).fold(end, Timestamp::min);
        parts.extend(hidden.extract_if(.., |(place, _)| *place == n).map(|(_, epoch)| {
            until = until.plus_ms(-((epoch.committed as f64 * step_ms) as i64)).max(silence.span.from);
            Part { epoch: epoch.no, first: 0, last: epoch.committed - 1, from: until, step_ms }
        }));
        for part in parts.iter().filter(|part| part.first <= part.last) {
            let pieces = part.explain(lost).into_iter();
            losses.extend(pieces.filter_map(|loss| within(loss, silence.span)));
        }
        let from = silence.span.from.plus_ms(if silence.before.is_some() { half_ms } else { 0 });
        let to = silence.span.to.plus_ms(if silence.after.is_some() { -half_ms } else { 0 });
        losses.push(Loss { span: Span { from, to }, lack: Lack::GatewayDown });
    }
    disjoint(losses)
}

/// A loss whose time the gateway stated: half an interval around its first and last reading.
fn stated(lost: &Lost, half_ms: i64) -> Option<Loss> {
    let span = lost.span?;
    let span = Span { from: span.from.plus_ms(-half_ms), to: span.to.plus_ms(half_ms) };
    Some(Loss { span, lack: lost.lack })
}

/// The records behind the last row before a silence.
fn tail(silence: &Silence, told: &[Told], step_ms: f64) -> Part {
    let none = Part { epoch: EpochNo(0), first: 1, last: 0, from: silence.span.from, step_ms };
    let Some((epoch, seq)) = silence.before else { return none };
    if let Some((_, after)) = silence.after.filter(|after| after.0 == epoch) {
        if after <= seq + 1 {
            return none;
        }
        let step_ms = silence.span.to.since_ms(silence.span.from) as f64 / (after - seq) as f64;
        let from = silence.span.from.plus_ms((step_ms / 2.0) as i64);
        return Part { epoch, first: seq + 1, last: after - 1, from, step_ms };
    }
    let known = told.iter().find(|told| told.no == epoch);
    // One that spoke again later was silent itself: its further records lie elsewhere.
    let ended = known.filter(|told| told.newest_at <= Some(silence.span.from) && told.committed > seq + 1);
    ended.map_or(none, |told| {
        let from = silence.span.from.plus_ms((step_ms / 2.0) as i64);
        Part { epoch, first: seq + 1, last: told.committed - 1, from, step_ms }
    })
}

/// The records before the first row after a silence, of an epoch that began in it.
fn head(silence: &Silence, told: &[Told], step_ms: f64) -> Part {
    let none = Part { epoch: EpochNo(0), first: 1, last: 0, from: silence.span.from, step_ms };
    let other = |label: &(EpochNo, Seq)| silence.before.is_none_or(|before| before.0 != label.0);
    let Some((epoch, seq)) = silence.after.filter(|after| other(after) && after.1 > 0) else { return none };
    let began = told.iter().any(|told| told.no == epoch && told.at > silence.span.from);
    if !began {
        return none;
    }
    let from = silence.span.to.plus_ms(-((step_ms * (seq as f64 + 0.5)) as i64));
    Part { epoch, first: 0, last: seq - 1, from, step_ms }
}

/// Epochs none of whose readings has a known time, newest first, each with the number of the last silence that may hold it: one between
/// two other epochs, or at the end, that began before the epoch was heard of.
fn hidden(quiet: &Quiet, told: &[Told]) -> Vec<(usize, Told)> {
    let timeless = |told: &&Told| told.newest_at.is_none() && !quiet.in_place.contains(&told.no);
    let timeless = told.iter().filter(|told| told.committed > 0).filter(timeless);
    let place = |epoch: &Told| {
        let may_hold = |silence: &Silence| {
            let (before, after) = (silence.before.map(|l| l.0), silence.after.map(|l| l.0));
            (before.is_none() || before != after)
                && before.is_none_or(|no| no < epoch.no)
                && after != Some(epoch.no)
                && silence.span.from < epoch.at
        };
        Some((quiet.silences.iter().rposition(may_hold)?, *epoch))
    };
    let mut places: Vec<(usize, Told)> = timeless.filter_map(place).collect();
    places.sort_by_key(|(_, epoch)| std::cmp::Reverse(epoch.no));
    places
}

impl Part {
    /// Why its records are not here: those that are known to be lost, and the rest.
    fn explain(&self, lost: &[Lost]) -> Vec<Loss> {
        let mut pieces = vec![];
        let mut rest = vec![(self.first, self.last)];
        for lost in lost.iter().filter(|lost| lost.epoch == self.epoch) {
            let (first, last) = (lost.first.max(self.first), lost.last.min(self.last));
            if first > last {
                continue;
            }
            if lost.span.is_none() {
                pieces.push(self.piece(first, last, lost.lack));
            }
            let cut = |(a, b): (Seq, Seq)| {
                let before = (a < first).then(|| (a, b.min(first.saturating_sub(1))));
                let after = (b > last).then(|| (a.max(last + 1), b));
                before.into_iter().chain(after)
            };
            rest = rest.into_iter().flat_map(cut).collect();
        }
        let timeless = Lack::Bad(Cause::ClockUnknown);
        pieces.extend(rest.into_iter().map(|(first, last)| self.piece(first, last, timeless)));
        pieces
    }

    /// Some of its records, and when they were due.
    fn piece(&self, first: Seq, last: Seq, lack: Lack) -> Loss {
        let moment = |seq: Seq| self.from.plus_ms(((seq - self.first) as f64 * self.step_ms).round() as i64);
        Loss { span: Span { from: moment(first), to: moment(last + 1) }, lack }
    }
}

/// The part of a loss that lies inside.
fn within(loss: Loss, span: Span) -> Option<Loss> {
    let span = Span { from: loss.span.from.max(span.from), to: loss.span.to.min(span.to) };
    (span.from < span.to).then_some(Loss { span, ..loss })
}
