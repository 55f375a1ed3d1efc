//! Which epoch every gateway is in: its manifest says what there is. It is the one that was seen live last, or the newest
//! while none was. Old epochs that arrive later, as after a restoration of the centre, were never seen live.

use std::collections::{BTreeMap, HashMap};

use sitian_ingest::{Effect, EpochEntry, EpochState, RestoredEpoch};
use sitian_model::{EpochNo, GatewayId};

/// The order in which epochs of a gateway take the front.
type Place = (u32, EpochNo);

/// The epochs that gateways are in, and how every epoch was ranked when it was last looked at.
#[derive(Debug, Default)]
pub struct Fronts {
    of: HashMap<GatewayId, Place>,
    ranks: HashMap<EpochNo, u32>,
}

impl Fronts {
    /// From what is stored.
    pub fn restore(epochs: &[RestoredEpoch]) -> Self {
        let mut fronts = Self::default();
        for epoch in epochs.iter().filter(|epoch| !epoch.points.is_empty()) {
            fronts.place(&epoch.gateway, epoch.state.live_rank, epoch.state.no);
            fronts.ranks.insert(epoch.state.no, epoch.state.live_rank);
        }
        fronts
    }

    /// Looks at a group; gives the epochs that gateways are in from it on. `read` fetches a stored epoch.
    ///
    /// # Errors
    /// Those of `read`.
    pub fn advance<E>(
        &mut self,
        effects: &[Effect],
        read: impl Fn(EpochNo) -> Result<Option<EpochEntry>, E>,
    ) -> Result<Vec<EpochEntry>, E> {
        let fresh = |no: EpochNo| {
            effects.iter().find_map(|effect| match effect {
                Effect::Epoch(entry) if entry.no == no => Some(entry.clone()),
                _ => None,
            })
        };
        let mut began: BTreeMap<GatewayId, EpochEntry> = BTreeMap::new();
        for effect in effects {
            let (rank, entry) = match effect {
                Effect::Epoch(entry) => (0, Some(entry.clone())),
                Effect::Watermark(EpochState { no, live_rank, .. })
                    if self.ranks.get(no).copied().unwrap_or(0) != *live_rank =>
                {
                    (*live_rank, fresh(*no).map_or_else(|| read(*no), |entry| Ok(Some(entry)))?)
                }
                _ => continue,
            };
            // A gateway that could not read an old manifest sends one without points.
            let Some(entry) = entry.filter(|entry| !entry.points.is_empty()) else { continue };
            self.ranks.insert(entry.no, rank);
            if self.place(&entry.gateway, rank, entry.no) {
                began.insert(entry.gateway.clone(), entry);
            }
        }
        Ok(began.into_values().collect())
    }

    /// True if the gateway is in another epoch now.
    fn place(&mut self, gateway: &GatewayId, rank: u32, no: EpochNo) -> bool {
        let before = self.of.get(gateway).copied();
        if before.is_some_and(|before| before >= (rank, no)) {
            return false;
        }
        self.of.insert(gateway.clone(), (rank, no));
        before.is_none_or(|before| before.1 != no)
    }
}

#[cfg(test)]
mod tests {
    use sitian_model::{Epoch, Manifest, PointNo, Timestamp};

    use super::*;

    fn entry(no: u32, points: u32) -> EpochEntry {
        let gateway = GatewayId::new("gw").expect("well-formed");
        let manifest = Manifest {
            gateway: gateway.clone(),
            software: String::new(),
            devices: Vec::new(),
            points: Vec::new(),
        };
        let points = (0..points).map(PointNo).collect();
        EpochEntry {
            no: EpochNo(no),
            gateway,
            epoch: Epoch([no as u8; 16]),
            points,
            manifest,
            at: Timestamp(0),
        }
    }

    /// A manifest, or a watermark with its rank; the epoch that the gateway is in from then on, if it is another one.
    enum Step {
        Manifest(u32),
        Empty(u32),
        Live(u32, u32),
    }

    type Case<'a> = (&'a str, &'a [(Step, Option<u32>)]);

    #[test]
    fn a_gateway_is_in_the_epoch_that_was_seen_live_last_whatever_arrives_later() {
        use Step::{Empty, Live, Manifest};
        let cases: &[Case<'_>] = &[
            (
                "one after the other",
                &[(Manifest(0), Some(0)), (Live(0, 1), None), (Manifest(1), None), (Live(1, 2), Some(1))],
            ),
            ("before anything is live the newest counts", &[(Manifest(0), Some(0)), (Manifest(1), Some(1))]),
            (
                "a restored centre hears of old epochs later",
                &[
                    (Manifest(3), Some(3)),
                    (Live(3, 1), None),
                    (Manifest(4), None),
                    (Manifest(5), None),
                    (Live(4, 0), None),
                    (Live(3, 1), None),
                ],
            ),
            (
                "a clone takes the front once",
                &[
                    (Manifest(0), Some(0)),
                    (Live(0, 1), None),
                    (Manifest(1), None),
                    (Live(1, 2), Some(1)),
                    (Live(0, 1), None),
                    (Live(1, 2), None),
                ],
            ),
            (
                "a manifest without points says nothing",
                &[(Manifest(0), Some(0)), (Empty(1), None), (Live(1, 1), None), (Live(0, 2), None)],
            ),
        ];
        for restarts in [false, true] {
            for (name, steps) in cases {
                let mut fronts = Fronts::default();
                let mut stored: BTreeMap<EpochNo, (EpochEntry, u32)> = BTreeMap::new();
                for (n, (step, expected)) in steps.iter().enumerate() {
                    let effect = match step {
                        Manifest(no) => Effect::Epoch(entry(*no, 2)),
                        Empty(no) => Effect::Epoch(entry(*no, 0)),
                        Live(no, rank) => Effect::Watermark(EpochState {
                            live_rank: *rank,
                            ..EpochState::fresh(EpochNo(*no))
                        }),
                    };
                    let read = |no| Ok::<_, ()>(stored.get(&no).map(|(entry, _)| entry.clone()));
                    let began = fronts.advance(std::slice::from_ref(&effect), read).expect("reads");
                    let began: Vec<u32> = began.iter().map(|entry| entry.no.0).collect();
                    assert_eq!(began, Vec::from_iter(*expected), "{name}, step {n}, restarts: {restarts}");
                    match effect {
                        Effect::Epoch(entry) => drop(stored.insert(entry.no, (entry, 0))),
                        Effect::Watermark(state) => {
                            stored.get_mut(&state.no).expect("known").1 = state.live_rank
                        }
                        _ => {}
                    }
                    if restarts {
                        let restored = |(entry, rank): &(EpochEntry, u32)| RestoredEpoch {
                            gateway: entry.gateway.clone(),
                            epoch: entry.epoch,
                            points: entry.points.clone(),
                            state: EpochState { live_rank: *rank, ..EpochState::fresh(entry.no) },
                        };
                        fronts = Fronts::restore(&stored.values().map(restored).collect::<Vec<_>>());
                    }
                }
            }
        }
    }
}
