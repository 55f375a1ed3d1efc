//! A manifest opens an epoch and registers its points.

use sitian_model::{Action, DeviceInfo, Epoch, GatewayId, Manifest, PointId, PointInfo, PointNo, Timestamp};

use crate::effect::{Effect, EpochEntry, IncidentKind, PointEntry};
use crate::machine::Ingest;

impl Ingest {
    /// Takes the manifest of an epoch. Answered with where the epoch stands.
    ///
    /// The same manifest again changes nothing; another one for the same epoch is refused, because readings already
    /// stored were named by the first.
    pub fn handle_manifest(&mut self, gateway: &GatewayId, epoch: Epoch, manifest: Manifest, now: Timestamp) {
        self.stats.manifests += 1;
        // A batch that came before it asked for it.
        self.pending.answers.remove(&(gateway.clone(), epoch));
        if manifest.gateway != *gateway {
            self.stats.rejected.foreign_manifest += 1;
            // Anybody may name himself anything; only a gateway that is known has something to lose.
            if self.book.gateways.contains_key(gateway) {
                self.raise(IncidentKind::ForeignManifest, gateway, Some(epoch), None, now);
            }
            return;
        }
        if let Some(known) = self.book.epoch(gateway, &epoch) {
            let points = known.points.clone();
            if !self.same_points(gateway, &manifest, &points) {
                self.stats.rejected.manifest_conflict += 1;
                self.raise(IncidentKind::ManifestConflict, gateway, Some(epoch), None, now);
            }
            return self.answer(gateway, epoch, Action::Ok);
        }
        match self.open(gateway, epoch, manifest, now) {
            Some(()) => self.answer(gateway, epoch, Action::Ok),
            None => {
                self.stats.rejected.quota += 1;
                self.raise(IncidentKind::Quota, gateway, Some(epoch), None, now);
                self.answer(gateway, epoch, Action::Slow);
            }
        }
    }

    fn same_points(&self, gateway: &GatewayId, manifest: &Manifest, points: &[PointNo]) -> bool {
        manifest.points.len() == points.len()
            && manifest.points.iter().zip(points).all(|(info, no)| {
                let id = point_id(gateway, manifest, info).map(|(id, _)| id);
                id.and_then(|id| self.book.points.get(&id)).is_some_and(|entry| entry.no == *no)
            })
    }

    /// `None` if a quota is used up or the manifest contradicts itself.
    fn open(&mut self, gateway: &GatewayId, epoch: Epoch, manifest: Manifest, now: Timestamp) -> Option<()> {
        let ids = manifest.points.iter().map(|info| point_id(gateway, &manifest, info));
        let ids = ids.collect::<Option<Vec<(PointId, &DeviceInfo)>>>()?;
        let fresh = ids.iter().filter(|(id, _)| !self.book.points.contains_key(id)).count();
        let fits = self.book.has_point_nos(fresh);
        let book = self.book.gateways.entry(gateway.clone()).or_default();
        if !fits || book.points + fresh > self.limits.gateway_points_max || !book.may_open(&self.limits, now)
        {
            return None;
        }
        let no = self.book.take_epoch_no()?;
        let mut points = Vec::with_capacity(ids.len());
        for ((id, device), info) in ids.into_iter().zip(&manifest.points) {
            points.push(self.register(id, device, info, now)?);
        }
        let book = self.book.gateways.entry(gateway.clone()).or_default();
        let state = book.state_of_new(&epoch, no);
        book.insert(epoch, points.clone(), state);
        self.pending.touched.insert((gateway.clone(), epoch));
        let entry = EpochEntry { no, gateway: gateway.clone(), epoch, points, manifest, at: now };
        self.pending.push(Effect::Epoch(entry));
        Some(())
    }

    /// The number of a point, registering it or its new description. `None` once all numbers are given away.
    fn register(
        &mut self,
        id: PointId,
        device: &DeviceInfo,
        info: &PointInfo,
        now: Timestamp,
    ) -> Option<PointNo> {
        let known = self.book.points.get(&id);
        let described = |entry: &PointEntry| {
            entry.device == *device && PointInfo { device: info.device, ..entry.info.clone() } == *info
        };
        if let Some(entry) = known
            && described(entry)
        {
            return Some(entry.no);
        }
        let no = match known {
            Some(entry) => entry.no,
            None => {
                self.book.gateways.entry(id.gateway.clone()).or_default().points += 1;
                self.book.take_point_no()?
            }
        };
        let entry = PointEntry { no, id: id.clone(), device: device.clone(), info: info.clone(), at: now };
        self.book.points.insert(id, entry.clone());
        self.pending.push(Effect::Point(entry));
        Some(no)
    }
}

fn point_id<'a>(
    gateway: &GatewayId,
    manifest: &'a Manifest,
    info: &PointInfo,
) -> Option<(PointId, &'a DeviceInfo)> {
    let device = manifest.devices.get(info.device as usize)?;
    Some((PointId { gateway: gateway.clone(), device: device.id.clone(), key: info.key.clone() }, device))
}
