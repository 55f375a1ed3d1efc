//! The completeness ledger, counted from what is stored whenever somebody asks: nothing of it is kept.
//!
//! ```text
//!  manifests ──── what was promised ─────────────────┐
//!  stored rows ── windows of each point ─────────────┼─ explain ─► what is missing, and why
//!  gaps, quarantine ─┐                               │
//!  silences, labels ─┴─ losses of each gateway ──────┘
//! ```

use std::collections::BTreeMap;

use sitian_api::view::{Ledger, LedgerEntry};
use sitian_api::{Backend, BackendError, LedgerQuery};
use sitian_ingest::{Form, IncidentKind};
use sitian_model::{Cause, Epoch, EpochNo, Gap, GatewayId, PointNo, Quality, Span, Timestamp};
use sitian_registry::{EpochLine, GapStored, ListFilter};
use sitian_series::missing::{self, Account, Lack, Loss, Lost, Missing, Told};
use sitian_series::{AggregateQuery, Extras, Window, window};
use sitian_supervision::Pace;

use crate::backend::{Centre, unavailable};

mod promise;
#[cfg(test)]
mod tests;

pub use promise::Promise;

/// Readings that one question may have counted.
const READINGS_MAX: u64 = 6_000_000;
/// Windows of single points that one question may have counted.
const WINDOWS_MAX: u64 = 1_000_000;
/// Gaps and entries of the quarantine that one question looks at per gateway, newest first.
const LOSSES_MAX: usize = 1_000;

/// So far around a question rows are read, for the labels at the ends of the silences in it, in milliseconds.
const LABELS_MS: i64 = 3_600_000;
/// A silence is none before what is under way had so long to arrive, in milliseconds.
const SETTLE_MS: i64 = 5_000;
/// A gateway with two writers is told again after so long while both write, in milliseconds.
const CLONE_TOLD_MS: i64 = 600_000;

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
        let gateways = self.promises(&query.scope)?;
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

    /// Why one point lacks readings: in each of the windows of a span, and in all of it.
    pub fn missing_of(
        &self,
        gateway: &GatewayId,
        promise: &Promise,
        span: Span,
        windows: &[Window],
    ) -> Result<(Vec<Missing>, Missing), BackendError> {
        let mut counted = [(promise.clone(), windows.to_vec())];
        self.thin_out(gateway, &mut counted, span)?;
        let [(_, windows)] = counted;
        let mut whole = Window::empty(span.from, span.to);
        for part in &windows {
            whole.expected = Some(whole.expected.unwrap_or(0) + part.expected.unwrap_or(0));
            whole.absorb(part);
        }
        let losses = if windows.iter().chain([&whole]).any(is_short) {
            self.losses(gateway, &self.promises_of(gateway)?, span)?
        } else {
            Vec::new()
        };
        let due = promise.within(span);
        let explain =
            |window: &Window| missing::explain(window, due, promise.interval_at(window.from), &losses);
        Ok((windows.iter().map(explain).collect(), explain(&whole)))
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
            Ok::<_, BackendError>((point.clone(), self.promised(&asked, point)?))
        };
        let mut counted = points.iter().map(count).collect::<Result<Vec<_>, _>>()?;
        self.thin_out(gateway, &mut counted, query.span)?;
        let short = counted.iter().flat_map(|(_, windows)| windows).any(is_short);
        let losses = if short { self.losses(gateway, points, query.span)? } else { Vec::new() };
        let mut sums: Vec<Sum> = Vec::new();
        for (point, windows) in &counted {
            let due = point.within(query.span);
            let one = |window: &Window| {
                let interval_ms = point.interval_at(window.from);
                let Account { expected, stored, missing } =
                    missing::account(window, due, interval_ms, &losses);
                Ok(Sum { expected, stored, missing, doubtful: self.doubtful(point.no, window, query.span)? })
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
            self.series.walk(point, inside, &mut |row| {
                if let Quality::Uncertain(cause) = row.quality {
                    *found.entry(cause).or_default() += 1;
                }
                true
            })?;
        }
        Ok(found)
    }

    /// Two programs under one id write every point twice: then at most one reading counts for each that was due, so that
    /// they do not make up for an hour in which both were silent.
    fn thin_out(
        &self,
        gateway: &GatewayId,
        counted: &mut [(Promise, Vec<Window>)],
        span: Span,
    ) -> Result<(), BackendError> {
        let too_many = |window: &Window| window.count() > window.expected.unwrap_or(0) + 1;
        let mut doubled = counted.iter().any(|(_, windows)| windows.iter().any(too_many));
        if !doubled {
            let filter = self.since(gateway, span.from.plus_ms(-CLONE_TOLD_MS));
            let told = self.reader.incidents(&filter).map_err(unavailable)?;
            doubled = told.iter().any(|told| told.incident.kind == IncidentKind::Clone);
        }
        if !doubled {
            return Ok(());
        }
        for (promise, windows) in counted {
            let mut pace = Pace::default();
            for window in windows {
                let inside = Span { from: window.from.max(span.from), to: window.to.min(span.to) };
                let interval_ms = promise.interval_at(inside.from);
                let mut slots = 0;
                self.series.walk(promise.no, inside, &mut |row| {
                    slots += u64::from(row.value.is_some() && pace.count(row.at, interval_ms));
                    true
                })?;
                window.uncertain = window.uncertain.min(slots);
                window.good = slots - window.uncertain;
            }
        }
        Ok(())
    }

    /// The windows of a point with what was due in them: nothing before the point was registered, but for what came
    /// nevertheless, from the backlog of a gateway that was new.
    pub fn promised(&self, asked: &AggregateQuery, promise: &Promise) -> Result<Vec<Window>, BackendError> {
        let mut windows = self.series.aggregate(asked)?;
        for window in &mut windows {
            let (from, to) = (window.from.max(asked.span.from), window.to.min(asked.span.to));
            let split = promise.since().clamp(from, to.max(from));
            let early = if split == from {
                0
            } else if split < to {
                let span = Span { from, to: split };
                let early = self.series.aggregate(&AggregateQuery {
                    span,
                    extras: Extras::default(),
                    ..asked.clone()
                })?;
                early.iter().map(Window::count).sum()
            } else {
                window.count()
            };
            window.expected = Some(early + promise.expected(Span { from: split, to }));
        }
        Ok(windows)
    }

    /// When a gateway's readings were lost, and why, as far as anybody knows.
    fn losses(&self, gateway: &GatewayId, points: &[Promise], span: Span) -> Result<Vec<Loss>, BackendError> {
        let mut points: Vec<&Promise> = points.iter().collect();
        points.sort_by_key(|point| point.interval_at(span.to));
        let Some(fastest) = points.first().map(|point| point.interval_at(span.to)) else {
            return Ok(Vec::new());
        };
        if window::expected(span, fastest) > READINGS_MAX {
            return Ok(Vec::new());
        }
        let numbers: Vec<PointNo> = points.iter().map(|point| point.no).collect();
        let to = span.to.plus_ms(LABELS_MS).min(self.now().plus_ms(-SETTLE_MS));
        let around = Span { from: span.from.plus_ms(-LABELS_MS), to };
        let quiet = missing::quiet(&*self.series, &numbers, around, i64::from(fastest) * 3 / 2)?;
        let epochs = self.reader.epoch_lines(gateway).map_err(unavailable)?;
        let told = |epoch: &EpochLine| Told {
            no: epoch.no,
            at: epoch.at,
            committed: epoch.committed,
            newest_at: epoch.newest_at,
        };
        let told: Vec<Told> = epochs.iter().map(told).collect();
        let lost = self.lost(gateway, &epochs, span)?;
        Ok(missing::losses(&quiet, &told, &lost, fastest))
    }

    /// Records of a gateway that are known to hold no rows: gaps and the quarantine, as noticed since a span began.
    fn lost(&self, gateway: &GatewayId, epochs: &[EpochLine], span: Span) -> Result<Vec<Lost>, BackendError> {
        let filter = self.since(gateway, span.from);
        let gaps = self.reader.gaps(&filter).map_err(unavailable)?;
        let of_gap = |gap: &GapStored| {
            let Gap { first, last, reason, span } = gap.committed.gap;
            Lost { epoch: gap.committed.epoch, first, last, span, lack: Lack::Gap(reason) }
        };
        let mut lost: Vec<Lost> = gaps.iter().map(of_gap).collect();
        let numbers: BTreeMap<Epoch, EpochNo> = epochs.iter().map(|line| (line.epoch, line.no)).collect();
        for stored in self.reader.quarantine(&filter).map_err(unavailable)? {
            // What a second writer sent comes again under another label, and what was read again is there.
            if stored.form == Form::Rival || stored.redecoded_at.is_some() {
                continue;
            }
            let range = stored.range.filter(|(_, first, end)| first < end);
            if let Some((epoch, first, end)) = range
                && let Some(epoch) = numbers.get(&epoch)
            {
                lost.push(Lost { epoch: *epoch, first, last: end - 1, span: None, lack: Lack::Quarantined });
            }
        }
        Ok(lost)
    }

    /// What was noticed about a gateway since then, newest first.
    fn since(&self, gateway: &GatewayId, since: Timestamp) -> ListFilter {
        ListFilter {
            gateways: Some(vec![gateway.clone()]),
            since: Some(since),
            before: None,
            limit: LOSSES_MAX,
        }
    }

    /// What the points of every gateway at this node or below promise.
    fn promises(&self, scope: &str) -> Result<BTreeMap<GatewayId, Vec<Promise>>, BackendError> {
        let gateways = self.territory.descendants(scope, 4).into_iter().flat_map(|node| &node.gateways);
        gateways.map(|gateway| Ok((gateway.clone(), self.promises_of(gateway)?))).collect()
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
        readings = readings.saturating_add(point.expected(query.span));
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
