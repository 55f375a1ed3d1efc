//! What goes wrong with members, broker, database and gateways, and how it is put right.

use crate::fleet::member::Member;
use crate::fleet::sky::{Cut, Event};
use crate::fleet::{Fleet, LEASE_MS};

/// Mean time between two misfortunes.
const PAUSE_MS: u64 = 4_000;

impl Fleet {
    /// Something goes wrong.
    pub(super) fn misfortune(&mut self) {
        if !self.sky.faults {
            return;
        }
        let member = self.sky.dice.below(self.seats.len() as u64) as usize;
        let sender = self.sky.dice.below(self.senders.len() as u64) as usize;
        match self.sky.dice.below(11) {
            0 | 1 => self.kill(member),
            2..=4 => self.pause(member),
            5 => self.cut(member, Cut::Broker),
            6 | 7 => self.cut(member, Cut::Database),
            8 => self.stop_database(),
            9 => self.stop_broker(),
            _ => self.kill_sender(sender),
        }
        let after = self.sky.dice.between(1, 2 * PAUSE_MS);
        self.sky.after(after, Event::Misfortune);
    }

    /// A process starts.
    pub(super) fn start(&mut self, number: usize) {
        let seat = &mut self.seats[number];
        if seat.member.is_some() {
            return;
        }
        seat.life += 1;
        let off = self.sky.dice.between(0, 60_000) as i64 - 30_000;
        let member = Member::start(number, seat.life, &mut self.sky);
        self.register.clocks.insert(member.name.clone(), off);
        self.seats[number].member = Some(member);
    }

    fn kill(&mut self, number: usize) {
        if self.seats[number].member.take().is_some() {
            self.outcome.faults[0] += 1;
            self.sky.note("member killed", number, 0, 0);
            let after = self.sky.dice.between(100, 15_000);
            self.sky.after(after, Event::MemberUp { member: number });
        }
    }

    fn pause(&mut self, number: usize) {
        if let Some(member) = self.seats[number].member.as_mut().filter(|member| !member.paused) {
            self.outcome.faults[1] += 1;
            member.paused = true;
            self.sky.note("member sleeps", number, 0, 0);
            let after = self.sky.dice.between(50, 4 * LEASE_MS);
            self.sky.after(after, Event::Resume { member: number });
        }
    }

    /// It wakes up: what has come meanwhile is looked at first, the time only then.
    pub(super) fn resume(&mut self, number: usize) {
        let Some(member) = self.seats[number].member.as_mut().filter(|member| member.paused) else { return };
        member.paused = false;
        let life = member.life;
        self.sky.note("member wakes", number, 0, 0);
        let timer = |event: &Event| matches!(event, Event::MemberWake { .. } | Event::Patience { .. });
        let (timers, events): (Vec<Event>, Vec<Event>) =
            std::mem::take(&mut member.waiting).into_iter().partition(timer);
        events.into_iter().chain(timers).for_each(|event| self.for_member(number, life, event));
    }

    fn cut(&mut self, number: usize, what: Cut) {
        if !self.seats[number].cut.contains(&what) {
            self.outcome.faults[2] += 1;
            self.seats[number].cut.push(what);
            self.sky.note("cut off", number, what as u64, 0);
            let after = self.sky.dice.between(500, 3 * LEASE_MS);
            self.sky.after(after, Event::Healed { member: number, what });
        }
    }

    /// A member that hears the broker again subscribes anew and gets what the broker has kept.
    pub(super) fn heal(&mut self, number: usize, what: Cut) {
        let seat = &mut self.seats[number];
        seat.cut.retain(|cut| *cut != what);
        if let (Cut::Broker, Some(member)) = (what, &seat.member) {
            let life = member.life;
            self.sky.look_at_states(number, life);
        }
    }

    fn stop_database(&mut self) {
        if std::mem::replace(&mut self.database_up, false) {
            self.outcome.faults[3] += 1;
            self.sky.note("database stops", 0, 0, 0);
            let after = self.sky.dice.between(200, 2 * LEASE_MS);
            self.sky.after(after, Event::DatabaseUp);
        }
    }

    /// Killed and wiped: what was under way is gone; states are published anew by whoever connects.
    fn stop_broker(&mut self) {
        if std::mem::replace(&mut self.broker.1, false) {
            self.outcome.faults[4] += 1;
            self.broker.0 += 1;
            self.states.clear();
            self.sky.note("broker stops", 0, 0, 0);
            let after = self.sky.dice.between(200, 8_000);
            self.sky.after(after, Event::BrokerUp);
            for number in 0..self.senders.len() {
                if let Some(sender) = &mut self.senders[number] {
                    sender.handle_down(self.sky.now);
                }
                let again = after + self.sky.dice.below(3_000);
                self.sky.after(again, Event::SenderConnect { sender: number });
            }
        }
    }

    fn kill_sender(&mut self, number: usize) {
        let Some(sender) = self.senders[number].take() else { return };
        self.outcome.faults[5] += 1;
        self.sky.note("gateway killed", number, 0, 0);
        self.senders[number] = Some(sender.restart(self.sky.now, &mut self.sky.dice));
        self.woken[number] = None;
        let after = self.sky.dice.between(100, 3_000);
        self.sky.after(after, Event::SenderConnect { sender: number });
    }

    /// Everything is put right, and nothing goes wrong any more.
    pub(super) fn calm(&mut self) {
        self.sky.faults = false;
        self.sky.note("calm", 0, 0, 0);
        (self.database_up, self.broker.1) = (true, true);
        for number in 0..self.seats.len() {
            self.resume(number);
            self.heal(number, Cut::Database);
            self.heal(number, Cut::Broker);
            self.sky.after(2_000, Event::MemberUp { member: number });
        }
        for sender in 0..self.senders.len() {
            self.sky.after(1_000, Event::SenderConnect { sender });
        }
    }
}
