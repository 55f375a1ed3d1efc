//! What is remembered: every gateway with its epochs, and the registry of points.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use sitian_model::{Epoch, EpochNo, GatewayId, Held, Numbers, PointId, PointNo, Seq, Timestamp};

use crate::clone::Tenures;
use crate::effect::{EpochState, IncidentKind, PointEntry, Restored};
use crate::limits::Limits;

/// Everything remembered. Numbers are handed out here and nowhere else.
#[derive(Debug, Default)]
pub(crate) struct Book {
    pub(crate) gateways: HashMap<GatewayId, GatewayBook>,
    pub(crate) points: HashMap<PointId, PointEntry>,
    pub(crate) point_numbers: Numbers,
    pub(crate) epoch_numbers: Numbers,
}

/// One gateway.
#[derive(Debug, Default)]
pub(crate) struct GatewayBook {
    pub(crate) epochs: BTreeMap<Epoch, EpochBook>,
    /// Points registered for it.
    pub(crate) points: usize,
    /// The highest rank given to a live epoch.
    pub(crate) live_rank: u32,
    pub(crate) tenures: Tenures,
    pub(crate) quarantined_bytes: u64,
    /// When its first live batch since the start was heard.
    pub(crate) heard_since: Option<Timestamp>,
    /// Sealed epochs that the newest live batch listed and whose manifests have not come yet: their ends. As long as one
    /// batch's list.
    pub(crate) announced: BTreeMap<Epoch, Seq>,
    /// What the newest live list said of the card, oldest epoch first. As long as one batch's list.
    pub(crate) card: Vec<Held>,
    /// The centre had forgotten what it had acknowledged to this gateway.
    pub(crate) rewound: bool,
    /// The epoch that said that its spool has failed.
    pub(crate) failed_spool: Option<Epoch>,
    /// The newest list of points: most epochs of a gateway share it.
    last_points: Option<Arc<[PointNo]>>,
    /// Epochs opened beyond what has been refilled since, and when that was reckoned.
    opened: u32,
    opened_at: Option<Timestamp>,
    said: BTreeMap<IncidentKind, Timestamp>,
}

/// One epoch.
#[derive(Debug)]
pub(crate) struct EpochBook {
    pub(crate) points: Arc<[PointNo]>,
    pub(crate) state: EpochState,
    /// Two writers were seen: each relabels what is not acknowledged, so nothing more is committed under this label.
    pub(crate) forked: bool,
    /// When its last live batch was heard.
    pub(crate) heard_at: Option<Timestamp>,
    /// An epoch that another machine writes at the same time.
    pub(crate) rival: Option<Epoch>,
    /// Somebody was told since the start that it has readings of unknown time.
    pub(crate) undated_told: bool,
    /// What comes next was damaged so many times on its way: at which watermark, and how often.
    pub(crate) damaged: (Seq, u32),
}

impl Book {
    pub(crate) fn restore(restored: Restored) -> Self {
        let Restored { point_numbers, epoch_numbers, .. } = restored;
        let mut book = Self { point_numbers, epoch_numbers, ..Self::default() };
        for point in restored.points {
            book.point_numbers.pass(point.no.0.into());
            book.gateways.entry(point.id.gateway.clone()).or_default().points += 1;
            book.points.insert(point.id.clone(), point);
        }
        let mut epochs = restored.epochs;
        epochs.sort_by_key(|epoch| epoch.state.no);
        for epoch in epochs {
            book.epoch_numbers.pass(epoch.state.no.0.into());
            let gateway = book.gateways.entry(epoch.gateway).or_default();
            gateway.live_rank = gateway.live_rank.max(epoch.state.live_rank);
            gateway.insert(epoch.epoch, epoch.points, epoch.state);
        }
        for (gateway, bytes) in restored.quarantined_bytes {
            book.gateways.entry(gateway).or_default().quarantined_bytes = bytes;
        }
        for (gateway, epoch) in restored.failed_spools {
            book.gateways.entry(gateway).or_default().failed_spool = Some(epoch);
        }
        book
    }

    pub(crate) fn epoch(&mut self, gateway: &GatewayId, epoch: &Epoch) -> Option<&mut EpochBook> {
        self.gateways.get_mut(gateway)?.epochs.get_mut(epoch)
    }

    pub(crate) fn epoch_of(&self, gateway: &GatewayId, epoch: &Epoch) -> Option<&EpochBook> {
        self.gateways.get(gateway)?.epochs.get(epoch)
    }

    pub(crate) fn state(&self, gateway: &GatewayId, epoch: &Epoch) -> Option<&EpochState> {
        self.epoch_of(gateway, epoch).map(|book| &book.state)
    }

    /// The number of a new epoch; `None` once all are given away.
    pub(crate) fn take_epoch_no(&mut self) -> Option<EpochNo> {
        let no = u32::try_from(self.epoch_numbers.peek()).ok()?;
        self.epoch_numbers.take();
        Some(EpochNo(no))
    }

    /// The number of a new point; `None` once all are given away.
    pub(crate) fn take_point_no(&mut self) -> Option<PointNo> {
        let no = u32::try_from(self.point_numbers.peek()).ok()?;
        self.point_numbers.take();
        Some(PointNo(no))
    }

    /// True if there are numbers for so many new points.
    pub(crate) fn has_point_nos(&self, many: usize) -> bool {
        self.point_numbers.last_of(many as u64) <= u32::MAX.into()
    }
}

impl GatewayBook {
    /// Remembers an epoch, sharing the list of points with the epoch before where they are equal.
    pub(crate) fn insert(&mut self, epoch: Epoch, points: Vec<PointNo>, state: EpochState) {
        let shared = match &self.last_points {
            Some(last) if **last == *points => Arc::clone(last),
            _ => points.into(),
        };
        self.last_points = Some(Arc::clone(&shared));
        let (forked, undated_told) = (false, false);
        let (heard_at, rival, damaged) = (None, None, (0, 0));
        let book = EpochBook { points: shared, state, forked, heard_at, rival, undated_told, damaged };
        self.epochs.insert(epoch, book);
    }

    /// The state of an epoch whose manifest has come: sealed from the beginning if a later one has listed it so.
    pub(crate) fn state_of_new(&mut self, epoch: &Epoch, no: EpochNo) -> EpochState {
        let fresh = EpochState::fresh(no);
        match self.announced.remove(epoch) {
            Some(end) => EpochState { end, sealed: true, held_rank: self.live_rank, ..fresh },
            None => fresh,
        }
    }

    /// True if this live epoch is the successor of that one, not the work of a second machine beside it.
    pub(crate) fn succeeds(&self, epoch: &Epoch, other: &Epoch) -> bool {
        let rank = |epoch| self.epochs.get(epoch).map_or(0, |book| book.state.live_rank);
        let rival = self.epochs.get(other).and_then(|book| book.rival);
        rank(epoch) > rank(other) && rival != Some(*epoch)
    }

    /// True if one more epoch may be opened now; counts it.
    pub(crate) fn may_open(&mut self, limits: &Limits, now: Timestamp) -> bool {
        let since = self.opened_at.map_or(0, |at| now.since_ms(at).max(0));
        let refilled = since / limits.epoch_refill_ms.max(1);
        self.opened = self.opened.saturating_sub(u32::try_from(refilled).unwrap_or(u32::MAX));
        if refilled > 0 || self.opened_at.is_none() || self.opened == 0 {
            self.opened_at = Some(now);
        }
        let allowed = self.opened < limits.epoch_burst && self.epochs.len() < limits.gateway_epochs_max;
        self.opened += u32::from(allowed);
        allowed
    }

    /// True if an incident of this kind has not been raised for this gateway a short while ago; counts it as raised.
    pub(crate) fn may_say(&mut self, kind: IncidentKind, now: Timestamp) -> bool {
        let pause_ms = match kind {
            // Each of these is a fact of its own.
            IncidentKind::PossibleLoss
            | IncidentKind::CardLost
            | IncidentKind::Gap
            // Once for each epoch.
            | IncidentKind::ClockUnknown
            | IncidentKind::Redecoded => return true,
            // Told when it begins, and again only after its end.
            IncidentKind::SpoolFailed => return true,
            IncidentKind::Quarantined => 60_000,
            IncidentKind::Clone | IncidentKind::Fork => 600_000,
            IncidentKind::ManifestConflict | IncidentKind::Quota | IncidentKind::ForeignManifest => 3_600_000,
            IncidentKind::ServerRestored | IncidentKind::Unassigned => i64::MAX,
        };
        let silent = self.said.get(&kind).is_some_and(|at| (0..pause_ms).contains(&now.since_ms(*at)));
        if !silent {
            self.said.insert(kind, now);
        }
        !silent
    }
}
