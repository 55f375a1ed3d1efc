//! What goes wrong, and how.

use sitian_spool::Spool;

use crate::board::Board;
use crate::disk::CardDisk;
use crate::ether::{Event, Heal};
use crate::oracle::WALL_ZERO_MS;
use crate::sight::Sight;
use crate::spooler::{Ask, SEGMENT_BYTES, limits};
use crate::swarm::Misfortune;
use crate::world::World;

/// Boards of one world at most: clones count.
const BOARDS_MAX: usize = 5;

impl World {
    /// Something may go wrong; the next time is fixed.
    pub(crate) fn misfortune(&mut self) {
        if !self.ether.faults {
            return;
        }
        let mean = self.ether.swarm.misfortune_ms;
        let after = self.ether.dice.between(1, 2 * mean);
        self.ether.after(after, Event::Misfortune);
        let swarm = self.ether.swarm.clone();
        let Some(misfortune) = swarm.misfortune(&mut self.ether.dice) else { return };
        let board = self.ether.dice.below(self.boards.len() as u64) as usize;
        self.ether.note("misfortune", board, misfortune as u64, 0);
        match misfortune {
            Misfortune::PowerCut => self.power_cut(board),
            Misfortune::Kill => self.kill(board),
            Misfortune::LinkDown => self.drop_link(board),
            Misfortune::Partition => self.partition(board),
            Misfortune::BrokerKill => self.kill_broker(),
            Misfortune::CentreKill => self.kill_centre(),
            Misfortune::CentreCrashAfterCommit => self.centre.crash_next = self.centre.is_up(),
            Misfortune::TransactionsFail => self.centre.fail_next = self.ether.dice.between(1, 3),
            Misfortune::Backup => self.centre.backup = Some(self.centre.book.clone()),
            Misfortune::RestoreBackup => self.restore_backup(),
            Misfortune::TakeImage => self.take_image(board),
            Misfortune::RestoreImage => self.restore_image(),
            Misfortune::Wipe => self.wipe(board),
            Misfortune::Clone => self.clone_board(board, false),
            Misfortune::Fork => self.clone_board(board, true),
            Misfortune::ClockStep => self.step_clock(board),
            Misfortune::TimeServer => self.hear_time_server(board),
            Misfortune::Replay => self.replay(),
            Misfortune::DeadDevice => self.silence_device(board),
            Misfortune::DiskError
            | Misfortune::DiskFull
            | Misfortune::DiskReadOnly
            | Misfortune::DiskLies
            | Misfortune::BadSector
            | Misfortune::ListFails => self.spoil_disk(board, misfortune),
        }
        if let Some(board) = self.boards.get_mut(board) {
            board.turn(&mut self.ether);
        }
    }

    /// The power goes, perhaps in the middle of a commit, perhaps again while the program recovers.
    fn power_cut(&mut self, number: usize) {
        let ether = &mut self.ether;
        let board = &mut self.boards[number];
        if board.retired {
            return;
        }
        ether.saw(Sight::PowerCut);
        if ether.dice.one_in(3) {
            // As if this were the moment of a commit.
            board.seal_now(ether);
        }
        if let Some(process) = &mut board.process
            && let Some(ask) = process.spooler.asks.front().cloned()
            && !matches!(ask, Ask::Read { .. } | Ask::Manifest(_))
        {
            ether.saw(Sight::CutInCommit);
            let calls = ether.dice.below(4);
            process.spooler.die_in(&ask, calls, ether);
        }
        board.stop();
        board.card = std::mem::take(&mut board.card).power_cut(&mut ether.dice);
        if let Some(since) = board.lying_since.take() {
            ether.oracle.lose_card(number, since);
            board.lied = true;
            // A card that has not been exchanged goes on lying.
            board.lying_since = board.card.faults.lying_sync.then_some(ether.now);
        }
        if ether.dice.one_in(5) {
            ether.saw(Sight::CrashDuringRecovery);
            ether.saw(Sight::PowerCut);
            let mut card = std::mem::take(&mut board.card);
            card.faults.power_off_at = Some(card.calls + ether.dice.below(3));
            let epoch = ether.dice.epoch();
            let (spool, _) = Spool::open(card, limits(ether), epoch);
            board.card = spool.into_disk().power_cut(&mut ether.dice);
        }
        let down_ms = ether.dice.between(100, ether.swarm.down_ms);
        board.power_up(ether);
        ether.after(down_ms, Event::BoardUp { board: number });
    }

    /// kill -9: the operating system and the wall clock stay.
    fn kill(&mut self, number: usize) {
        let board = &mut self.boards[number];
        if board.stop() {
            self.ether.saw(Sight::ProcessKill);
            board.card = std::mem::take(&mut board.card).process_death();
            let down_ms = self.ether.dice.between(100, self.ether.swarm.down_ms);
            self.ether.after(down_ms, Event::BoardUp { board: number });
        }
    }

    fn drop_link(&mut self, number: usize) {
        let board = &mut self.boards[number];
        let life = board.life;
        if let Some(process) = board.process.as_mut().filter(|p| p.session.is_some()) {
            process.handle_down(&self.ether);
            let after = self.ether.dice.between(100, 20_000);
            self.ether.after(after, Event::Connect { board: number, life });
        }
    }

    /// One way or both: bytes vanish, and keep-alive notices later.
    fn partition(&mut self, number: usize) {
        self.ether.saw(Sight::Partition);
        let board = &mut self.boards[number];
        let way = self.ether.dice.below(3);
        (board.cut_up, board.cut_down) = (way != 1, way != 0);
        let until = self.ether.dice.between(1_000, 40_000);
        self.ether.after(until, Event::Heal { board: number, what: Heal::Link });
        let life = board.life;
        if let Some(session) = board.process.as_ref().and_then(|p| p.session) {
            let after = self.ether.dice.between(2_000, 9_000);
            self.ether.after(after, Event::LinkLost { board: number, life, session });
        }
    }

    /// Killed and wiped: whatever it had is gone, and everybody is disconnected.
    fn kill_broker(&mut self) {
        self.ether.saw(Sight::BrokerWiped);
        self.ether.broker.life += 1;
        self.ether.broker.up = false;
        self.ether.broker.past.clear();
        let after = self.ether.dice.between(100, 8_000);
        self.ether.after(after, Event::BrokerUp);
        for number in 0..self.boards.len() {
            self.drop_link(number);
            self.boards[number].turn(&mut self.ether);
        }
    }

    fn kill_centre(&mut self) {
        if self.centre.is_up() {
            self.ether.saw(Sight::CentreKilled);
            self.centre.kill();
            let after = self.ether.dice.between(100, 8_000);
            self.ether.after(after, Event::CentreUp { centre: self.centre.life });
        }
    }

    /// The centre comes back as it was some time ago.
    fn restore_backup(&mut self) {
        let Some(book) = self.centre.backup.clone() else { return };
        self.ether.saw(Sight::CentreRestored);
        self.ether.oracle.restore(&self.centre.book, &book, self.ether.now);
        self.kill_centre();
        self.centre.book = book;
    }

    fn take_image(&mut self, number: usize) {
        let board = &mut self.boards[number];
        if board.lying_since.is_some() || board.retired {
            return;
        }
        let image = match &mut board.process {
            Some(process) => process.spooler.disk_mut().image(),
            None => board.card.image(),
        };
        self.image = Some((number, image, self.ether.now));
    }

    /// An old image of the card is put back.
    fn restore_image(&mut self) {
        let Some((number, image, since)) = self.image.clone() else { return };
        if self.boards[number].retired {
            return;
        }
        self.ether.saw(Sight::ImageRestored);
        self.replace_card(number, image, since);
    }

    /// A new card: everything on the old one is gone.
    fn wipe(&mut self, number: usize) {
        let card = CardDisk::blank(self.ether.mutant);
        self.ether.saw(Sight::SpoolWiped);
        self.replace_card(number, card, 0);
    }

    fn replace_card(&mut self, number: usize, card: CardDisk, since: u64) {
        let ether = &mut self.ether;
        let board = &mut self.boards[number];
        board.stop();
        (board.lying_since, board.lied) = (None, false);
        ether.oracle.lose_card(number, since);
        board.card = card;
        board.power_up(ether);
        let down_ms = ether.dice.between(100, 3_000);
        ether.after(down_ms, Event::BoardUp { board: number });
    }

    /// A second board with the same id and a copy of the card; if `forked`, of the running memory too, so that both go
    /// on in one epoch.
    fn clone_board(&mut self, number: usize, forked: bool) {
        if self.boards.len() >= BOARDS_MAX {
            return;
        }
        let original = &mut self.boards[number];
        let Some(process) = &mut original.process else { return };
        let (card, live) = (process.spooler.disk_mut().image(), process.spooler.live());
        let (plant, copy) = (original.plant.clone(), self.boards.len());
        let ether = &mut self.ether;
        ether.saw(if forked { Sight::MemoryForked } else { Sight::GatewayCloned });
        let mut board = Board::new(copy, plant, self.profile.clone(), card, ether);
        if forked {
            ether.oracle.forked.insert(live);
            board.forked_epoch = Some(live);
        }
        let excuse = ether.oracle.excuses[number];
        ether.oracle.excuses[copy] = excuse;
        board.power_up(ether);
        board.start(ether);
        self.boards.push(board);
    }

    fn step_clock(&mut self, number: usize) {
        let board = &mut self.boards[number];
        let (zero, synchronized) = board.wall();
        if synchronized {
            return;
        }
        let step = self.ether.dice.below(14_400_000) as i64 - 7_200_000;
        board.set_wall(zero + step, false);
    }

    fn hear_time_server(&mut self, number: usize) {
        let board = &mut self.boards[number];
        let error = self.ether.dice.below(160) as i64 - 80;
        board.set_wall(WALL_ZERO_MS + board.power_on as i64 + error, true);
    }

    /// The broker delivers what it delivered before.
    fn replay(&mut self) {
        let past = &self.ether.broker.past;
        if past.is_empty() || !self.ether.broker.up {
            return;
        }
        let (from, many) =
            (self.ether.dice.below(past.len() as u64) as usize, self.ether.dice.between(1, 20) as usize);
        let again: Vec<_> = self.ether.broker.past.iter().skip(from).take(many).cloned().collect();
        self.ether.saw(Sight::BrokerReplayed);
        again.into_iter().for_each(|(topic, payload)| self.pass_on(topic, payload));
    }

    fn silence_device(&mut self, number: usize) {
        let ether = &mut self.ether;
        let lines = &mut self.boards[number].lines;
        let line = ether.dice.below(lines.len() as u64) as usize;
        let device = ether.dice.below(lines[line].dead_until.len() as u64) as usize;
        lines[line].dead_until[device] = ether.now + ether.dice.between(500, 20_000);
    }

    fn spoil_disk(&mut self, number: usize, how: Misfortune) {
        let ether = &mut self.ether;
        let board = &mut self.boards[number];
        let disk = match &mut board.process {
            Some(process) => process.spooler.disk_mut(),
            None => &mut board.card,
        };
        match how {
            Misfortune::DiskError => disk.faults.fail_at = Some(disk.calls + ether.dice.below(6)),
            Misfortune::DiskFull => {
                disk.faults.capacity = Some(disk.bytes() + ether.dice.below(2 * SEGMENT_BYTES))
            }
            Misfortune::DiskReadOnly => disk.faults.read_only = true,
            Misfortune::ListFails => disk.faults.list_fails = true,
            Misfortune::DiskLies => {
                disk.faults.lying_sync = true;
                board.lying_since.get_or_insert(ether.now);
            }
            _ => disk.faults.bad_sector = disk.place(&mut ether.dice),
        }
        // One failed call is no excuse: what is at stake stays in memory and moves to a fresh file.
        let excuse = &mut ether.oracle.excuses[number];
        excuse.call_failed = true;
        excuse.disk_faulty |= how != Misfortune::DiskError;
        let after = ether.dice.between(500, 20_000);
        ether.after(after, Event::Heal { board: number, what: Heal::Disk });
    }
}
