//! Counters of devices as totals that only grow, over wraps, resets and our own restarts.
//!
//! What has to survive is small (what was carried over, the last count) and kept in `totals.json` beside the spool: after
//! every wrap and reset, and every ten minutes otherwise. After a power cut the count of the device itself tells what
//! happened since; only if it was reset *and* had counted beyond what was kept, that difference is lost.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use sitian_model::{DeviceId, Manifest, PointIndex};
use sitian_poll::Sample;
use sitian_profile::{Step, Total, TotalState};
use tracing::{info, warn};

use crate::plan::PlannedBus;

const KEEP_EVERY_MS: u64 = 600_000;

/// What is kept of one counter.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Kept {
    carried: f64,
    last: f64,
    at_ms: u64,
}

struct Counted {
    name: String,
    total: Total,
}

/// The counters of a gateway.
pub struct Totals {
    file: PathBuf,
    counted: BTreeMap<PointIndex, Counted>,
    /// Counters that are not configured at present; they may come back.
    resting: BTreeMap<String, Kept>,
    kept_ms: u64,
}

impl Totals {
    /// The counters of these buses, going on from what an earlier process kept in `folder`.
    pub fn open(folder: &Path, buses: &[PlannedBus], manifest: &Manifest) -> Self {
        let file = folder.join("totals.json");
        let kept: BTreeMap<String, Kept> = match std::fs::read(&file) {
            Ok(text) => serde_json::from_slice(&text).unwrap_or_else(|error| {
                warn!(file = %file.display(), %error, "totals begin anew");
                BTreeMap::new()
            }),
            Err(_) => BTreeMap::new(),
        };
        let mut totals = Self { file, counted: BTreeMap::new(), resting: kept, kept_ms: 0 };
        totals.renew(buses, manifest);
        totals
    }

    /// The counters of other buses from now on; those that are there already go on.
    pub fn renew(&mut self, buses: &[PlannedBus], manifest: &Manifest) {
        let known = self.kept();
        self.resting.extend(known);
        self.counted.clear();
        for (id, plan) in buses.iter().flat_map(|bus| bus.devices.iter().zip(&bus.plan.devices)) {
            for planned in &plan.points {
                let Some(point) = plan.profile.points.get(planned.profile_point) else { continue };
                let name = name(id, manifest, planned.point);
                let state = self.resting.remove(&name).map(|kept| TotalState {
                    carried: kept.carried,
                    last: kept.last,
                    at_ms: kept.at_ms,
                });
                if let Some(total) = Total::of(point, state) {
                    self.counted.insert(planned.point, Counted { name, total });
                }
            }
        }
    }

    fn kept(&self) -> BTreeMap<String, Kept> {
        let kept = self.counted.values().filter_map(|counted| {
            let TotalState { carried, last, at_ms } = counted.total.state()?;
            Some((counted.name.clone(), Kept { carried, last, at_ms }))
        });
        kept.collect()
    }

    /// Turns the counts among these samples into totals. True: something happened that should be kept soon.
    pub fn handle_samples(&mut self, samples: &mut [Sample]) -> bool {
        let now = unix_ms();
        let mut keep = false;
        for sample in samples {
            let Some(counted) = self.counted.get_mut(&sample.point) else { continue };
            let Some(count) = sample.value else { continue };
            let (value, quality, step) = counted.total.handle_count(count, now);
            let name = &counted.name;
            match step {
                Step::Counted => {}
                Step::Doubtful => warn!(name, count, "this count is doubtful until the next one confirms it"),
                Step::Wrapped => info!(name, count, total = value, "the counter wrapped"),
                Step::Reset => info!(name, count, total = value, "the counter was reset"),
            }
            keep |= matches!(step, Step::Wrapped | Step::Reset);
            sample.value = Some(value);
            if sample.quality == sitian_model::Quality::Good {
                sample.quality = quality;
            }
        }
        keep |= !self.counted.is_empty() && now.saturating_sub(self.kept_ms) >= KEEP_EVERY_MS;
        if keep {
            self.kept_ms = now;
        }
        keep
    }

    /// What is to be written, and where; writing is done by a thread that may wait for the disk.
    pub fn to_keep(&self) -> Option<(PathBuf, Vec<u8>)> {
        let mut kept = self.kept();
        if kept.is_empty() {
            return None;
        }
        kept.extend(self.resting.iter().map(|(name, kept)| (name.clone(), *kept)));
        let text = serde_json::to_vec_pretty(&kept).ok()?;
        Some((self.file.clone(), text))
    }
}

/// Puts the text in the place of what is there, whole or not at all. A disk that refuses is told; totals go on in memory.
pub fn keep((file, text): (PathBuf, Vec<u8>)) {
    let new = file.with_extension("new");
    let write = || {
        let mut out = std::fs::File::create(&new)?;
        std::io::Write::write_all(&mut out, &text)?;
        out.sync_all()?;
        std::fs::rename(&new, &file)
    };
    if let Err(error) = write() {
        warn!(file = %file.display(), %error, "totals are not kept");
    }
}

/// Stays the same when devices are added or the order changes.
fn name(device: &DeviceId, manifest: &Manifest, point: PointIndex) -> String {
    let key = manifest.points.get(point as usize).map_or_else(String::new, |info| info.key.to_string());
    format!("{device}/{key}")
}

fn unix_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests;
