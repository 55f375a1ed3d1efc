//! Who admits for which slot: the questions of the room `tenure`, each one transaction, and what members leave for each other.
//!
//! Locks: a commit holds its lease row for key share, which a renewal does not mind and a claim does. A claim passes over rows
//! that are held: a process that was stopped in the middle of a commit keeps its slot until the server ends that session, and
//! nobody else waits for it.

use std::time::Duration;

use sitian_model::{GatewayId, Slot, Timestamp};
use sitian_tenure::{Answer, Ask, Hold, Lease, Peer};

use crate::connection::Sql;
use crate::database::Database;
use crate::fault::DatabaseError;
use crate::line::value;

/// An acknowledgement that was given to a member that does not keep the alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Errand {
    /// The slot of the alert's gateway.
    pub slot: Slot,
    /// The episode.
    pub alert: u64,
    /// Who takes note.
    pub by: String,
    /// What they say.
    pub note: String,
}

impl Database {
    /// Puts a question of the lease machine, for a member whose leases last so long.
    ///
    /// # Errors
    /// The database does not answer; what was asked for may have been done.
    pub fn ask(&self, me: &Peer, lease: Duration, ask: &Ask) -> Result<Answer, DatabaseError> {
        let lease_s = lease.as_secs_f64();
        self.beat(|sql| {
            live_on(sql, me, lease_s, ask.leave)?;
            let (slots, terms) = numbers(&ask.release);
            sql.execute(
                "UPDATE lease SET until = '-infinity' FROM unnest($2::smallint[], $3::bigint[]) AS held (slot, term)
                 WHERE lease.slot = held.slot AND lease.term = held.term AND lease.member = $1",
                &[&me.member, &slots, &terms],
            )?;
            let (slots, terms) = numbers(&ask.renew);
            sql.execute(
                "UPDATE lease SET until = now() + make_interval(secs => $4)
                 FROM unnest($2::smallint[], $3::bigint[]) AS held (slot, term)
                 WHERE lease.slot = held.slot AND lease.term = held.term AND lease.member = $1",
                &[&me.member, &slots, &terms, &lease_s],
            )?;
            claim(sql, me, lease_s, &ask.claim)?;
            Ok(Answer { number: ask.number, leases: leases(sql)?, members: members(sql)? })
        })
    }

    /// These gateways exist; whoever admits for their slots sees them in [`Self::gateways`].
    ///
    /// # Errors
    /// The database does not answer.
    pub fn introduce(&self, gateways: &[GatewayId], now: Timestamp) -> Result<(), DatabaseError> {
        let ids: Vec<&str> = gateways.iter().map(GatewayId::as_str).collect();
        let slots: Vec<i16> = gateways.iter().map(|id| i16::from(Slot::of(id).number())).collect();
        self.beat(|sql| {
            sql.execute(
                "INSERT INTO gateway (id, slot, first_ms) SELECT id, slot, $3 FROM unnest($1::text[], $2::smallint[]) AS t (id, slot)
                 ORDER BY id ON CONFLICT (id) DO NOTHING",
                &[&ids, &slots, &now.0],
            )?;
            Ok(())
        })
    }

    /// Every gateway that anybody has heard of.
    ///
    /// # Errors
    /// The database does not answer.
    pub fn gateways(&self) -> Result<Vec<GatewayId>, DatabaseError> {
        self.read(|sql| {
            let lines = sql.query("SELECT id FROM gateway ORDER BY id", &[])?;
            let id = |text: String| GatewayId::new(&text).map_err(|e| DatabaseError::Damaged(e.to_string()));
            lines.iter().map(|line| id(value(line, 0)?)).collect()
        })
    }

    /// Leaves an errand for whoever keeps its slot.
    ///
    /// # Errors
    /// The database does not answer.
    pub fn leave_errand(&self, errand: &Errand) -> Result<(), DatabaseError> {
        let Errand { slot, alert, by, note } = errand;
        let (slot, alert) = (i16::from(slot.number()), alert.cast_signed());
        self.beat(|sql| {
            let statement = "INSERT INTO errand (slot, alert, by, note) VALUES ($1, $2, $3, $4)";
            sql.execute(statement, &[&slot, &alert, by, note])?;
            Ok(())
        })
    }

    /// Takes the errands of these slots, oldest first. One that nobody took for a minute is forgotten: who left it has been
    /// told that nobody answered.
    ///
    /// # Errors
    /// The database does not answer.
    pub fn take_errands(&self, slots: &[Slot]) -> Result<Vec<Errand>, DatabaseError> {
        let slots: Vec<i16> = slots.iter().map(|slot| slot.number().into()).collect();
        self.beat(|sql| {
            sql.execute("DELETE FROM errand WHERE at < now() - interval '1 minute'", &[])?;
            let lines = sql.query(
                "WITH taken AS (DELETE FROM errand WHERE slot = ANY($1) RETURNING id, slot, alert, by, note)
                 SELECT slot, alert, by, note FROM taken ORDER BY id",
                &[&slots],
            )?;
            let errand = |line: &tokio_postgres::Row| {
                let (slot, alert) = (slot(value(line, 0)?)?, value::<i64>(line, 1)?.cast_unsigned());
                Ok(Errand { slot, alert, by: value(line, 2)?, note: value(line, 3)? })
            };
            lines.iter().map(errand).collect()
        })
    }
}

/// This member lives for the length of a lease from now, or no longer.
fn live_on(sql: &mut Sql<'_>, me: &Peer, lease_s: f64, leave: bool) -> Result<(), DatabaseError> {
    sql.execute("DELETE FROM member WHERE until < now() - interval '1 hour'", &[])?;
    if leave {
        sql.execute("DELETE FROM member WHERE member = $1", &[&me.member])?;
        return Ok(());
    }
    sql.execute(
        "INSERT INTO member (member, api, until) VALUES ($1, $2, now() + make_interval(secs => $3))
         ON CONFLICT (member) DO UPDATE SET api = excluded.api, until = excluded.until",
        &[&me.member, &me.api, &lease_s],
    )?;
    Ok(())
}

/// Takes what is free, or this member's own, under the next term. Not while one ingestor keeps everything alone.
fn claim(sql: &mut Sql<'_>, me: &Peer, lease_s: f64, slots: &[Slot]) -> Result<(), DatabaseError> {
    if slots.is_empty() {
        return Ok(());
    }
    let slots: Vec<i16> = slots.iter().map(|slot| slot.number().into()).collect();
    sql.execute(
        "INSERT INTO lease (slot, member, term, until)
         SELECT slot, '', 0, '-infinity'::timestamptz FROM unnest($1::smallint[]) AS wanted (slot) ORDER BY slot
         ON CONFLICT (slot) DO NOTHING",
        &[&slots],
    )?;
    // Who kept everything alone and has not noticed the end of its lease is fenced before anybody else begins.
    sql.execute(
        "WITH over AS (
             SELECT slot FROM lease WHERE slot = -1 AND member <> '' AND until < now() FOR UPDATE SKIP LOCKED)
         UPDATE lease SET member = '', term = term + 1, turn = 0 FROM over WHERE lease.slot = over.slot",
        &[],
    )?;
    sql.execute(
        "WITH free AS (
             SELECT slot FROM lease WHERE slot = ANY($2) AND (until < now() OR member = $1)
             AND NOT EXISTS (SELECT 1 FROM lease alone WHERE alone.slot = -1 AND alone.member <> '')
             ORDER BY slot FOR UPDATE SKIP LOCKED)
         UPDATE lease SET member = $1, term = term + 1, turn = 0, until = now() + make_interval(secs => $3)
         FROM free WHERE lease.slot = free.slot",
        &[&me.member, &slots, &lease_s],
    )?;
    Ok(())
}

fn leases(sql: &mut Sql<'_>) -> Result<Vec<Lease>, DatabaseError> {
    let lines = sql.query("SELECT slot, term, member, until > now() FROM lease WHERE slot >= 0", &[])?;
    let lease = |line: &tokio_postgres::Row| {
        let hold = Hold { slot: slot(value(line, 0)?)?, term: value::<i64>(line, 1)?.cast_unsigned() };
        Ok(Lease { hold, member: value(line, 2)?, living: value(line, 3)? })
    };
    lines.iter().map(lease).collect()
}

fn members(sql: &mut Sql<'_>) -> Result<Vec<Peer>, DatabaseError> {
    let lines = sql.query("SELECT member, api FROM member WHERE until > now() ORDER BY member", &[])?;
    lines.iter().map(|line| Ok(Peer { member: value(line, 0)?, api: value(line, 1)? })).collect()
}

fn slot(number: i16) -> Result<Slot, DatabaseError> {
    let slot = u8::try_from(number).ok().and_then(Slot::new);
    slot.ok_or_else(|| DatabaseError::Damaged(format!("there is no slot {number}")))
}

fn numbers(holds: &[Hold]) -> (Vec<i16>, Vec<i64>) {
    holds.iter().map(|hold| (i16::from(hold.slot.number()), hold.term.cast_signed())).unzip()
}
