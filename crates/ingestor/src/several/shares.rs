//! Who has which slots, as the database said last: for people and for figures.

use std::time::Instant;

use sitian_api::Presenter;
use sitian_api::view::{MemberHealth, Sharing};
use sitian_model::{Slot, Timestamp};
use sitian_telemetry::metrics::Page;
use sitian_tenure::{Answer, Peer};

use super::Others;
use crate::admit::now;
use crate::board::Board;

/// What the database said last.
#[derive(Default)]
pub struct Shares {
    heard: Option<(Instant, Timestamp)>,
    /// Who has a slot, by its number.
    owners: Vec<Option<String>>,
    members: Vec<Peer>,
}

impl Shares {
    /// It says so now.
    pub fn hear(&mut self, answer: &Answer) {
        self.heard = Some((Instant::now(), now()));
        self.owners = vec![None; usize::from(Slot::COUNT)];
        for lease in answer.leases.iter().filter(|lease| lease.living) {
            self.owners[usize::from(lease.hold.slot.number())] = Some(lease.member.clone());
        }
        self.members.clone_from(&answer.members);
    }

    /// How many slots somebody has.
    fn of(&self, member: &str) -> usize {
        self.owners.iter().flatten().filter(|owner| *owner == member).count()
    }

    /// How many slots nobody has.
    fn waiting(&self) -> usize {
        usize::from(Slot::COUNT) - self.owners.iter().flatten().count()
    }
}

impl Others {
    /// Who owns what.
    pub fn sharing(&self, board: &Board, presenter: &Presenter) -> Sharing {
        let shares = self.routes.shares();
        let of = |member: &str| {
            let owner = |slot: Slot| shares.owners.get(usize::from(slot.number()))?.as_deref();
            board.gateways.keys().filter(|gateway| owner(Slot::of(gateway)) == Some(member)).count()
        };
        let member = |peer: &Peer| MemberHealth {
            member: peer.member.clone(),
            url: peer.api.clone(),
            this: peer.member == self.me.member,
            parts: shares.of(&peer.member) as u8,
            gateways: of(&peer.member) as u64,
        };
        let members: Vec<MemberHealth> = shares.members.iter().map(member).collect();
        let fresh = shares.heard.is_some_and(|(at, _)| at.elapsed() <= self.lease);
        let waiting = shares.waiting();
        Sharing {
            healthy: fresh && waiting == 0,
            summary: summary(fresh, members.len(), waiting),
            members,
            parts_waiting: waiting as u8,
            heard_at: shares.heard.map(|(_, at)| presenter.time(at)),
        }
    }

    /// For Prometheus.
    pub fn figures(&self, page: &mut Page) {
        let shares = self.routes.shares();
        page.gauge("slots_held", "Slots that this ingestor admits for.", self.routes.held().len() as f64);
        page.gauge("slots_waiting", "Slots that no ingestor has.", shares.waiting() as f64);
        page.gauge("members", "Living ingestors that share the work.", shares.members.len() as f64);
        if let Some((at, _)) = shares.heard {
            let age = at.elapsed().as_secs_f64();
            page.gauge("lease_age_seconds", "Since the registry last said who has what.", age);
        }
        page.gauge(
            "lease_length_seconds",
            "Older than this a lease is not believed in.",
            self.lease.as_secs_f64(),
        );
        page.counter(
            "link_stalls",
            "Times that a busy slot held up the link for a second.",
            self.routes.stalls(),
        );
    }
}

fn summary(fresh: bool, members: usize, waiting: usize) -> String {
    if !fresh {
        return "登记数据库没有应答:不接收数据,网关自行保存 · The registry's database does not answer: nothing is \
                admitted, gateways keep what they measure"
            .to_owned();
    }
    let several = match members {
        1 => "1 台采集服务负责全部 64 份网关 · 1 ingestor has all 64 parts of the gateways".to_owned(),
        members => {
            format!(
                "{members} 台采集服务分担 64 份网关 · {members} ingestors share the 64 parts of the gateways"
            )
        }
    };
    match waiting {
        0 => several,
        waiting => format!(
            "{several};{waiting} 份暂无人接管,其网关自行保存 · nobody has {waiting} of them yet, their gateways keep what they \
             measure"
        ),
    }
}

#[cfg(test)]
mod tests {
    use sitian_tenure::{Hold, Lease};

    use super::*;

    #[test]
    fn slots_without_a_living_lease_wait() {
        let mut shares = Shares::default();
        assert_eq!(shares.waiting(), 64, "before the first answer");
        let lease = |number: u8, member: &str, living| Lease {
            hold: Hold { slot: Slot::new(number).expect("there is one"), term: 1 },
            member: member.to_owned(),
            living,
        };
        let leases =
            vec![lease(0, "a", true), lease(5, "b", true), lease(63, "a", true), lease(7, "b", false)];
        shares.hear(&Answer { number: 1, leases, members: Vec::new() });
        assert_eq!((shares.of("a"), shares.of("b"), shares.waiting()), (2, 1, 61));
    }
}
