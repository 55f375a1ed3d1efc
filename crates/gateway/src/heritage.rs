//! Whose readings the card holds. A gateway that was given another id finds what it recorded under the old one: those
//! labels and points belong to the old id for ever. They are published under it if the configuration says that this
//! gateway was called so; otherwise they wait, and everybody is told. See `decisions/0018`.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use sitian_model::{Epoch, GatewayId, Held};
use sitian_spool::{Disk, Limits, Owner, Spool};

use crate::disk::FolderDisk;

/// Epochs that travel under another gateway's name.
pub type Guests = BTreeMap<Epoch, GatewayId>;

/// What this gateway is called, and was called.
#[derive(Debug, Clone)]
pub struct Names {
    /// Its id.
    pub own: GatewayId,
    /// Ids that it had before, as far as the configuration names them.
    pub former: Vec<GatewayId>,
}

/// What of the card is not recorded under the present id.
#[derive(Debug, Default)]
pub struct Heritage {
    /// To be published under these names.
    pub guests: Guests,
    /// Recorded by nobody that the configuration names.
    strangers: Guests,
}

impl Heritage {
    /// Reads the manifest of every epoch, and tells the spool whose it is: of an epoch whose manifest is gone with its last
    /// record, that word is what is left. What nobody has said counts as this gateway's own.
    pub fn of<D: Disk>(spool: &mut Spool<D>, names: &Names) -> Self {
        let mut heritage = Self::default();
        for Held { epoch, .. } in spool.held() {
            let kept = spool.manifest(epoch).and_then(|kept| sitian_wire::decode_manifest(&kept).ok());
            let said = || spool.owner_of(epoch).and_then(|owner| GatewayId::new(owner.word()).ok());
            let Some(name) = kept.map(|(_, manifest)| manifest.gateway).or_else(said) else { continue };
            if let Some(owner) = Owner::new(name.as_str()) {
                spool.set_owner_of(epoch, owner);
            }
            if name == names.own {
                continue;
            }
            let known = names.former.contains(&name);
            let side = if known { &mut heritage.guests } else { &mut heritage.strangers };
            side.insert(epoch, name);
        }
        heritage
    }

    /// Without what may not be sent.
    pub fn to_send(&self, held: Vec<Held>) -> Vec<Held> {
        held.into_iter().filter(|held| !self.strangers.contains_key(&held.epoch)).collect()
    }

    /// What was recorded under `old` has been moved under `fresh`.
    pub fn relabel(&mut self, old: Epoch, fresh: Epoch) {
        if let Some(name) = self.guests.get(&old).cloned() {
            self.guests.insert(fresh, name);
        }
    }

    /// One line per former id: what waits, and what becomes of it.
    pub fn lines(&self, held: &[Held]) -> Vec<String> {
        let waiting = |side: &Guests, name: &GatewayId| {
            let of_it = held.iter().filter(|held| side.get(&held.epoch) == Some(name));
            of_it.fold((0, 0), |(epochs, records), held| (epochs + 1, records + (held.end - held.acked)))
        };
        let line = |side: &Guests, name: &GatewayId, fate: String| {
            let (epochs, records) = waiting(side, name);
            format!(
                "spool: {records} records of gateway {name} in {epochs} epochs are not known to be stored; {fate}"
            )
        };
        let guests =
            names(&self.guests).map(|name| line(&self.guests, name, "they go out under that name".into()));
        let strangers = names(&self.strangers).map(|name| {
            let fate = format!(
                "they wait: if this is the same gateway, add former_ids = [\"{name}\"] to [gateway] and let the broker \
                 accept that name"
            );
            line(&self.strangers, name, fate)
        });
        guests.chain(strangers).collect()
    }
}

fn names(side: &Guests) -> impl Iterator<Item = &GatewayId> {
    side.values().collect::<std::collections::BTreeSet<_>>().into_iter()
}

/// Looks at a spool without touching it, beside a gateway that may be running on it: [`Heritage::lines`].
pub fn look(folder: &Path, limits: Limits, names: &Names) -> Result<Vec<String>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let disk = FolderDisk::look(folder)
        .with_context(|| format!("look into the spool folder {}", folder.display()))?;
    let (mut spool, _) = Spool::open(disk, limits, Epoch([0; 16]));
    let heritage = Heritage::of(&mut spool, names);
    Ok(heritage.lines(&spool.held()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use sitian_model::{Manifest, Span, Timestamp};

    const NOW: Span = Span { from: Timestamp(1_000), to: Timestamp(1_001) };

    fn names(own: &str, former: &[&str]) -> Names {
        let id = |text: &str| GatewayId::new(text).expect("well-formed");
        Names { own: id(own), former: former.iter().map(|text| id(text)).collect() }
    }

    /// A spool with three records of gateway `a`.
    fn record_as_a(folder: &Path, epoch: Epoch) -> Spool<FolderDisk> {
        let disk = FolderDisk::open(folder).expect("a fresh folder");
        let (mut spool, _) = Spool::open(disk, Limits::default(), epoch);
        let gateway = names("a", &[]).own;
        let manifest = Manifest { gateway, software: String::new(), devices: vec![], points: vec![] };
        spool.set_manifest(&sitian_wire::encode_manifest(&epoch, &manifest)).expect("small");
        (0..3).for_each(|n| drop(spool.append(&[n], NOW)));
        spool.commit().expect("a good disk");
        spool
    }

    #[test]
    fn what_another_id_has_recorded_waits_until_somebody_says_that_it_was_this_gateway_s() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let old = Epoch([7; 16]);
        drop(record_as_a(folder.path(), old));
        let files = || std::fs::read_dir(folder.path()).expect("a folder").count();
        let before = files();
        for (names, sent, words) in [
            (names("a", &[]), true, None),
            (names("b", &[]), false, Some("they wait")),
            (names("b", &["c"]), false, Some("former_ids = [\"a\"]")),
            (names("b", &["c", "a"]), true, Some("they go out under that name")),
        ] {
            let disk = FolderDisk::look(folder.path()).expect("a folder");
            let (mut spool, _) = Spool::open(disk, Limits::default(), Epoch([8; 16]));
            let heritage = Heritage::of(&mut spool, &names);
            assert_eq!(!heritage.to_send(spool.held()).is_empty(), sent, "{names:?}");
            assert_eq!(heritage.guests.contains_key(&old), sent && words.is_some(), "{names:?}");
            let lines = look(folder.path(), Limits::default(), &names).expect("a readable folder");
            assert_eq!(lines.len(), usize::from(words.is_some()), "{lines:?}");
            for (line, word) in lines.iter().zip(words) {
                assert!(line.contains("3 records of gateway a in 1 epochs") && line.contains(word), "{line}");
            }
        }
        assert_eq!(files(), before, "looking leaves nothing");
    }

    #[test]
    fn what_is_left_of_another_id_s_epoch_as_a_gap_goes_by_that_id() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (first, next) = (Epoch([7; 16]), Epoch([8; 16]));
        let limits = Limits { segment_bytes: 8 * 1024, bytes_max: 32 * 1024, ..Limits::default() };
        drop(record_as_a(folder.path(), first));
        for (own, former, live) in [("a", &[][..], next), ("b", &["a"], Epoch([9; 16]))] {
            let disk = FolderDisk::open(folder.path()).expect("a folder");
            let (mut spool, _) = Spool::open(disk, limits, live);
            let heritage = Heritage::of(&mut spool, &names(own, former));
            assert_eq!(heritage.guests.contains_key(&first), own == "b");
            spool.set_owner(Owner::new(own).expect("short"));
            // So much that what was recorded before gives way.
            for n in 0..100 {
                drop(spool.append(&[n; 1_000], NOW));
                spool.commit().expect("a good disk");
            }
        }
        for (names, guest) in [(names("b", &["a"]), true), (names("b", &[]), false), (names("a", &[]), false)]
        {
            let disk = FolderDisk::open(folder.path()).expect("a folder");
            let (mut spool, _) = Spool::open(disk, limits, Epoch([10; 16]));
            let gap_only = |held: &Held| held.oldest == held.end && [first, next].contains(&held.epoch);
            assert_eq!(spool.held().into_iter().filter(gap_only).count(), 2);
            let heritage = Heritage::of(&mut spool, &names);
            let of_a = |epoch| heritage.guests.get(&epoch).map(GatewayId::as_str) == Some("a");
            assert_eq!((of_a(first), of_a(next)), (guest, guest), "{names:?}");
        }
    }

    #[test]
    fn looking_does_not_stand_in_the_way_of_a_running_gateway() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut running = record_as_a(folder.path(), Epoch([7; 16]));
        let lines = look(folder.path(), Limits::default(), &names("b", &[])).expect("a readable folder");
        assert_eq!(lines.len(), 1);
        running.append(&[4], NOW).expect("small");
        assert_eq!(running.commit().map(|durable| durable.end), Ok(4));
    }

    #[test]
    fn a_guest_that_is_relabelled_keeps_its_name() {
        let mut heritage = Heritage::default();
        let name = names("a", &[]).own;
        heritage.guests.insert(Epoch([1; 16]), name.clone());
        heritage.relabel(Epoch([1; 16]), Epoch([2; 16]));
        heritage.relabel(Epoch([3; 16]), Epoch([4; 16]));
        assert_eq!(heritage.guests.get(&Epoch([2; 16])), Some(&name));
        assert_eq!(heritage.guests.get(&Epoch([4; 16])), None);
    }
}
