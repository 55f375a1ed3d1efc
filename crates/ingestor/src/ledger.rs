//! The completeness ledger, counted from what is stored whenever somebody asks: nothing of it is kept.
//!
//! ```text
//!  stored rows ── windows of each point ─────────────┐
//!  gaps, quarantine ─┐                               ├─ explain ─► what is missing, and why
//!  silences ─────────┴─ losses of each gateway ──────┘
//! ```

use std::collections::BTreeMap;

use sitian_api::view::{Ledger, LedgerEntry};
use sitian_api::{BackendError, LedgerQuery};
use sitian_ingest::{Form, Incident, IncidentKind};
use sitian_model::{Cause, GatewayId, PointNo, Quality, Span, Timestamp};
use sitian_series::missing::{self, Account, Lack, Loss, Missing};
use sitian_series::{AggregateQuery, Extras, Series, Window, window};
use sitian_store_embedded::ListFilter;

use crate::backend::{Centre, unavailable};

/// Readings that one question may have counted.
const READINGS_MAX: u64 = 6_000_000;
/// Windows of single points that one question may have counted.
const WINDOWS_MAX: u64 = 1_000_000;
/// Gaps and entries of the quarantine that one question looks at per gateway, newest first.
const LOSSES_MAX: usize = 1_000;

/// What a point promises.
#[derive(Debug, Clone, Copy)]
pub struct Promise {
    /// Which point.
    pub no: PointNo,
    /// Milliseconds between two polls.
    pub interval_ms: u32,
    /// From when on.
    pub since: Timestamp,
}

/// The sum of one window over many points.
#[derive(Debug, Clone, Default)]
struct Sum {
    expected: u64,
    stored: u64,
    missing: Missing,
    doubtful: BTreeMap<Cause, u64>,
}

impl Centre {
    /// The ledger of a node, and of the nodes directly below it if asked for.
    pub fn count_ledger(&self, query: &LedgerQuery) -> Result<Ledger, BackendError> {
        self.presenter.place(&query.scope)?;
        let gateways = self.promises(&query.scope);
        check_work(query, gateways.values().flatten())?;
        let shown = self.territory.descendants(&query.scope, usize::from(query.depth));
        let mut sums: Vec<Vec<Sum>> = vec![Vec::new(); shown.len()];
        let mut starts: Vec<Span> = Vec::new();
        for (gateway, points) in &gateways {
            let Some(base) = self.territory.base_of(gateway) else { continue };
            let counted = self.count_gateway(gateway, points, query)?;
            starts.extend(counted.0.iter().skip(starts.len()));
            for (node, sums) in shown.iter().zip(&mut sums) {
                if self.territory.contains(&node.id, &base.id) {
                    add(sums, &counted.1);
                }
            }
        }
        let entry = |id: &str, span: &Span, sum: &Sum| LedgerEntry {
            id: id.to_owned(),
            from: self.presenter.time(span.from),
            to: self.presenter.time(span.to),
            expected: sum.expected,
            stored: sum.stored,
            missing: self.presenter.missing(&sum.missing),
            doubtful: sum.doubtful.iter().map(|(cause, n)| (cause.word().to_owned(), *n)).collect(),
        };
        let of_node = |(node, sums): (&&sitian_supervision::Node, &Vec<Sum>)| {
            starts.iter().zip(sums).map(|(span, sum)| entry(&node.id, span, sum)).collect::<Vec<_>>()
        };
        Ok(Ledger { window_ms: query.window_ms, items: shown.iter().zip(&sums).flat_map(of_node).collect() })
    }

    /// Why one point lacks readings in a span; `windows` are those of the span.
    pub fn missing_of(
        &self,
        gateway: &GatewayId,
        promise: Promise,
        span: Span,
        windows: &[Window],
    ) -> Result<Missing, BackendError> {
        let mut whole = Window::empty(span.from, span.to);
        for part in windows {
            whole.expected = Some(whole.expected.unwrap_or(0) + part.expected.unwrap_or(0));
            whole.good += part.good;
            whole.uncertain += part.uncertain;
            part.bad.iter().for_each(|(cause, n)| *whole.bad.entry(*cause).or_default() += n);
        }
        let losses = if is_short(&whole) {
            let mut siblings = self.promises_of(gateway);
            siblings.push(promise);
            self.losses(gateway, &siblings, span)?
        } else {
            Vec::new()
        };
        Ok(missing::explain(&whole, span, promise.interval_ms, &losses))
    }

    /// The windows of a gateway's points, added up.
    fn count_gateway(
        &self,
        gateway: &GatewayId,
        points: &[Promise],
        query: &LedgerQuery,
    ) -> Result<(Vec<Span>, Vec<Sum>), BackendError> {
        let count = |point: &Promise| {
            let asked =
                self.presenter.aggregate_query(point.no, query.span, query.window_ms, point.interval_ms);
            let windows = self.promised(&asked, point.interval_ms, point.since)?;
            Ok::<_, BackendError>((point.no, point.interval_ms, windows))
        };
        let counted = points.iter().map(count).collect::<Result<Vec<_>, _>>()?;
        let short = counted.iter().flat_map(|(.., windows)| windows).any(is_short);
        let losses = if short { self.losses(gateway, points, query.span)? } else { Vec::new() };
        let mut sums: Vec<Sum> = Vec::new();
        for (point, interval_ms, windows) in &counted {
            let one = |window: &Window| {
                let Account { expected, stored, missing } =
                    missing::account(window, query.span, *interval_ms, &losses);
                Ok(Sum { expected, stored, missing, doubtful: self.doubtful(*point, window, query.span)? })
            };
            add(&mut sums, &windows.iter().map(one).collect::<Result<Vec<_>, BackendError>>()?);
        }
        let within = |window: &Window| Span { from: window.from, to: window.to.min(query.span.to) };
        let spans = counted.first().map(|(.., windows)| windows.iter().map(within).collect());
        Ok((spans.unwrap_or_default(), sums))
    }

    /// Stored readings of a window that something speaks against, by cause. Statistics do not tell; most windows have none.
    fn doubtful(
        &self,
        point: PointNo,
        window: &Window,
        span: Span,
    ) -> Result<BTreeMap<Cause, u64>, BackendError> {
        let mut found = BTreeMap::new();
        if window.uncertain > 0 {
            let inside = Span { from: window.from.max(span.from), to: window.to.min(span.to) };
            self.reader.walk(point, inside, &mut |row| {
                if let Quality::Uncertain(cause) = row.quality {
                    *found.entry(cause).or_default() += 1;
                }
                true
            })?;
        }
        Ok(found)
    }

    /// The windows of a point with what was due in them: nothing before the point was registered, but for what came
    /// nevertheless, from the backlog of a gateway that was new.
    pub fn promised(
        &self,
        asked: &AggregateQuery,
        interval_ms: u32,
        since: Timestamp,
    ) -> Result<Vec<Window>, BackendError> {
        let mut windows = self.reader.aggregate(asked)?;
        for window in windows.iter_mut().filter(|window| window.from < since) {
            let (from, to) = (window.from.max(asked.span.from), window.to.min(asked.span.to));
            let split = since.clamp(from, to);
            let early = if split < to {
                let span = Span { from, to: split };
                let early = self.reader.aggregate(&AggregateQuery {
                    span,
                    extras: Extras::default(),
                    ..asked.clone()
                })?;
                early.iter().map(Window::count).sum()
            } else {
                window.count()
            };
            window.expected = Some(early + window::expected(Span { from: split, to }, interval_ms));
        }
        Ok(windows)
    }

    /// When a gateway's readings were lost, and why, as far as anybody knows.
    fn losses(&self, gateway: &GatewayId, points: &[Promise], span: Span) -> Result<Vec<Loss>, BackendError> {
        let mut points = points.to_vec();
        points.sort_by_key(|point| point.interval_ms);
        let Some(fastest) = points.first() else { return Ok(Vec::new()) };
        if window::expected(span, fastest.interval_ms) > READINGS_MAX {
            return Ok(Vec::new());
        }
        let longest_ms = i64::from(fastest.interval_ms) * 3 / 2;
        let numbers: Vec<PointNo> = points.iter().map(|point| point.no).collect();
        let silences = missing::silences(&self.reader, &numbers, span, longest_ms)?;

        let filter = ListFilter {
            gateways: Some(vec![gateway.clone()]),
            since: Some(span.from),
            before: None,
            limit: LOSSES_MAX,
        };
        let mut losses = Vec::new();
        let mut labelled = Vec::new();
        for stored in self.reader.gaps(&filter).map_err(unavailable)? {
            let (gap, lack) = (stored.committed.gap, Lack::Gap(stored.committed.gap.reason));
            match gap.span {
                Some(span) => losses.push(Loss { span, lack }),
                None => labelled.push((stored.committed.epoch, gap.first, gap.last, lack)),
            }
        }
        let epochs = self.epoch_numbers();
        for stored in self.reader.quarantine(&filter).map_err(unavailable)? {
            // What a second writer sent comes again under another label, and what was read again is there.
            if stored.form == Form::Rival || stored.redecoded_at.is_some() {
                continue;
            }
            let Some((epoch, first, end)) = stored.range.filter(|(_, first, end)| first < end) else {
                continue;
            };
            if let Some(no) = epochs.get(&epoch) {
                labelled.push((*no, first, end - 1, Lack::Quarantined));
            }
        }
        // Readings that were taken before the clock was set are stored, but not when they were due.
        for stored in self.reader.incidents(&filter).map_err(unavailable)? {
            let Incident { kind, epoch, seqs, .. } = stored.incident;
            if let (IncidentKind::ClockUnknown, Some(epoch), Some((first, last))) = (kind, epoch, seqs)
                && let Some(no) = epochs.get(&epoch)
            {
                labelled.push((*no, first, last, Lack::Bad(Cause::ClockUnknown)));
            }
        }
        for (epoch, first, last, lack) in labelled {
            let there = silences.iter().filter(|silence| silence.may_hold(epoch, first, last));
            losses.extend(there.map(|silence| Loss { span: silence.span, lack }));
        }
        losses.extend(silences.iter().map(|silence| Loss { span: silence.span, lack: Lack::GatewayDown }));
        Ok(missing::disjoint(losses))
    }

    /// What the points of every gateway at this node or below promise now.
    fn promises(&self, scope: &str) -> BTreeMap<GatewayId, Vec<Promise>> {
        let gateways = self.territory.descendants(scope, 4).into_iter().flat_map(|node| &node.gateways);
        gateways.map(|gateway| (gateway.clone(), self.promises_of(gateway))).collect()
    }
}

/// Refuses what would take too long, before anything is read.
fn check_work<'p>(
    query: &LedgerQuery,
    points: impl Iterator<Item = &'p Promise>,
) -> Result<(), BackendError> {
    let length_ms = query.span.to.since_ms(query.span.from).unsigned_abs();
    let windows = length_ms.div_ceil(query.window_ms.max(1));
    let (mut readings, mut cells) = (0u64, 0u64);
    for point in points {
        let due = Span { from: query.span.from.max(point.since), to: query.span.to };
        readings = readings.saturating_add(window::expected(due, point.interval_ms));
        cells = cells.saturating_add(windows);
    }
    if readings > READINGS_MAX {
        return Err(BackendError::TooWide(format!(
            "{readings} readings are due there, at most {READINGS_MAX} are counted at once; ask for a shorter span or a \
             place further down"
        )));
    }
    if cells > WINDOWS_MAX {
        return Err(BackendError::TooWide(format!(
            "{cells} windows of points are more than {WINDOWS_MAX}; ask for longer windows or a place further down"
        )));
    }
    Ok(())
}

/// True if more is missing than bad rows and the edges of the window explain.
fn is_short(window: &Window) -> bool {
    let rows = window.count() + window.bad.values().sum::<u64>();
    window.expected.unwrap_or(0) > rows + u64::from(rows > 0)
}

/// Adds window by window; an empty list of sums counts as zeros.
fn add(sums: &mut Vec<Sum>, more: &[Sum]) {
    sums.resize(sums.len().max(more.len()), Sum::default());
    for (sum, more) in sums.iter_mut().zip(more) {
        sum.expected += more.expected;
        sum.stored += more.stored;
        more.doubtful.iter().for_each(|(cause, n)| *sum.doubtful.entry(*cause).or_default() += n);
        more.missing.iter().for_each(|(lack, n)| *sum.missing.entry(*lack).or_default() += n);
    }
}
