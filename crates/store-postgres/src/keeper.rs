//! The keeper: one SQL transaction for each commit, and the fence that it passes first.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sitian_alert::Delta;
use sitian_ingest::Effect;
use sitian_model::{Mutant, Numbers, Slot};
use sitian_registry::{Committed, Keep, Registry, RegistryError, Transaction};

use crate::connection::Sql;
use crate::database::Database;
use crate::fault::DatabaseError;
use crate::reader::Reader;
use crate::{alerts, registry};

/// The slot of a lease that is for all slots together.
pub(crate) const ALL: i16 = -1;
/// A lease for all slots is renewed with a commit, or when there is nothing else to do, but no more often than this. It is
/// for a minute: who was not closed in order is waited for so long, unless it comes back under its own name.
const RENEWED: Duration = Duration::from_secs(20);

/// Why nothing is stored by memory alone on a server that began after what the memory was read from.
const ANEW: &str = "it has started anew, or another server answers: what it holds is read back first";

/// What entitles to commit: the lease has to say the same, in the same transaction.
#[derive(Debug, Clone)]
pub(crate) struct Fence {
    slot: i16,
    member: String,
    term: i64,
    turn: i64,
    /// The start of the server that knows everything this keeper was told, in microseconds since 1970: a standby that took over,
    /// or a server that was put back, may have forgotten commits. `None` before the first one.
    server: Option<i64>,
}

impl Fence {
    /// A lease that somebody else has claimed.
    pub(crate) fn of(slot: Slot, member: &str, term: u64) -> Self {
        let (slot, member, term) = (slot.number().into(), member.to_owned(), term.cast_signed());
        Self { slot, member, term, turn: 0, server: None }
    }

    /// Claims everything, unless anybody else keeps anything.
    pub(crate) fn alone(database: &Database, member: &str) -> Result<Self, DatabaseError> {
        let held = |holder: String| DatabaseError::Held { place: database.place().to_owned(), holder };
        database.write(|sql| {
            // A claim of a slot at the same moment waits here or is seen. Commits under way hold rows only, and go on.
            sql.execute("LOCK TABLE lease IN SHARE ROW EXCLUSIVE MODE", &[])?;
            let other = sql.first(
                "SELECT member, slot, extract(epoch FROM until - now())::bigint FROM lease
                 WHERE until > now() AND NOT (slot = -1 AND member = $1) LIMIT 1",
                &[&member],
            )?;
            if let Some(line) = other {
                let (name, slot, s): (String, i16, i64) = (line.get(0), line.get(1), line.get(2));
                let what = if slot == ALL { String::new() } else { format!(" slot {slot} of") };
                return Err(held(format!("{name:?}, with a lease for{what} another {s} s,")));
            }
            // Waits for commits under way. Whoever held a slot and has not noticed the end of its lease is fenced from now on.
            sql.execute("SELECT 1 FROM lease FOR UPDATE", &[])?;
            let over = "UPDATE lease SET member = '', term = term + 1, turn = 0 WHERE slot >= 0 AND member <> ''";
            sql.execute(over, &[])?;
            let line = sql.first(
                "INSERT INTO lease (slot, member, term, until) VALUES (-1, $1, 1, now() + interval '60 seconds')
                 ON CONFLICT (slot) DO UPDATE SET member = $1, term = lease.term + 1, turn = 0,
                 until = excluded.until
                 RETURNING term, (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint",
                &[&member],
            )?;
            let line = line.ok_or_else(|| held("another process".to_owned()))?;
            let (term, server) = (line.get(0), line.get(1));
            Ok(Self { slot: ALL, member: member.to_owned(), term, turn: 0, server })
        })
    }

    /// Holds the lease until the transaction is over; renews it on the way if asked to. Returns the start of the server.
    fn pass(&self, sql: &mut Sql<'_>, renew: bool) -> Result<i64, DatabaseError> {
        let statement = if renew {
            "UPDATE lease SET until = now() + interval '60 seconds'
             WHERE slot = $1 AND member = $2 AND term = $3 AND turn = $4
             RETURNING (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint"
        } else if Mutant::FenceNotLocked.lives() {
            "SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint
             FROM lease WHERE slot = $1 AND member = $2 AND term = $3 AND turn = $4"
        } else {
            "SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint
             FROM lease WHERE slot = $1 AND member = $2 AND term = $3 AND turn = $4 FOR KEY SHARE"
        };
        let line = sql.first(statement, &[&self.slot, &self.member, &self.term, &self.turn])?;
        let server = line.map(|line| line.get(0));
        match (server, self.server) {
            (Some(found), Some(known)) if found != known => {
                Err(DatabaseError::silent(sql.place(), ANEW.to_owned()))
            }
            (Some(found), _) => Ok(found),
            (None, known) if Mutant::FenceLeftOut.lives() => Ok(known.unwrap_or_default()),
            (None, _) => Err(self.lost()),
        }
    }

    fn lost(&self) -> DatabaseError {
        let what = if self.slot == ALL { "the registry".to_owned() } else { format!("slot {}", self.slot) };
        DatabaseError::Fenced(format!("another process has taken {what} over from {:?}", self.member))
    }

    /// From now on a transaction that passed before has landed or never will.
    fn turn(&mut self, sql: &mut Sql<'_>) -> Result<(), DatabaseError> {
        // An update alone does not wait for those who passed.
        sql.execute("SELECT 1 FROM lease WHERE slot = $1 FOR UPDATE", &[&self.slot])?;
        let line = sql.first(
            "UPDATE lease SET turn = turn + 1 WHERE slot = $1 AND member = $2 AND term = $3
             RETURNING turn, (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint",
            &[&self.slot, &self.member, &self.term],
        )?;
        let line = line.ok_or_else(|| self.lost())?;
        (self.turn, self.server) = (line.get(0), line.get(1));
        Ok(())
    }

    fn release(&self, sql: &mut Sql<'_>) -> Result<(), DatabaseError> {
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 3] = [&self.slot, &self.member, &self.term];
        sql.execute(
            "UPDATE lease SET until = '-infinity' WHERE slot = $1 AND member = $2 AND term = $3",
            &values,
        )?;
        Ok(())
    }
}

/// Keeps the gateways of one slot, or all of them.
#[derive(Debug)]
pub struct Keeper {
    database: Database,
    slot: Option<Slot>,
    fence: Fence,
    renewed: Instant,
}

impl Keeper {
    pub(crate) fn new(database: Database, slot: Option<Slot>, fence: Fence) -> Self {
        Self { database, slot, fence, renewed: Instant::now() }
    }

    /// Leases of slots are renewed elsewhere.
    fn due(&self) -> bool {
        self.slot.is_none() && self.renewed.elapsed() > RENEWED
    }

    fn answers(&self) -> Reader {
        Reader::new(self.database.clone(), self.slot)
    }
}

impl Keep for Keeper {
    fn commit(&mut self, transaction: &Transaction) -> Result<Committed, RegistryError> {
        if transaction.effects.iter().any(|effect| matches!(effect, Effect::Rows(_))) {
            return Err(DatabaseError::Wrong("readings are kept elsewhere".to_owned()).into());
        }
        let (renew, fence) = (self.due(), &self.fence);
        let (server, alert_cursors) = self.database.write(|sql| {
            let server = fence.pass(sql, renew)?;
            registry::write(sql, &transaction.effects)?;
            let cursors = alerts::write(sql, &transaction.alerts, transaction.at)?;
            alerts::write_states(sql, self.slot, &transaction.alert_state.states)?;
            alerts::write_marks(sql, &transaction.alert_state.marks)?;
            Ok((server, cursors))
        })?;
        self.fence.server = Some(server);
        if renew {
            self.renewed = Instant::now();
        }
        Ok(Committed { alert_cursors })
    }

    fn assure(&mut self) -> Result<(), RegistryError> {
        let mut fence = self.fence.clone();
        self.database.write(|sql| fence.turn(sql))?;
        self.fence = fence;
        Ok(())
    }

    fn alert_memory(&self) -> Result<Delta, RegistryError> {
        Ok(self.database.read(|sql| alerts::memory(sql, self.slot))?)
    }

    fn episode_numbers(&self) -> Result<Numbers, RegistryError> {
        Ok(self.database.read(|sql| alerts::numbers(sql, self.slot))?)
    }

    fn reader(&self) -> Arc<dyn Registry> {
        Arc::new(self.answers())
    }

    fn tidy(&mut self) -> Result<(), RegistryError> {
        if self.due() {
            let fence = &self.fence;
            let server = self.database.write(|sql| fence.pass(sql, true))?;
            self.fence.server = Some(server);
            self.renewed = Instant::now();
        }
        Ok(())
    }

    fn close(&mut self) -> Result<(), RegistryError> {
        if self.slot.is_none() {
            let fence = &self.fence;
            self.database.write(|sql| fence.release(sql))?;
        }
        Ok(())
    }
}
