//! The database, open: who may keep what of it, and the way to its readers.

use std::sync::Arc;

use sitian_model::Slot;
use sitian_registry::Registry;

use crate::access::Access;
use crate::connection::{Connection, Patience, Sql};
use crate::driver::Driver;
use crate::fault::DatabaseError;
use crate::keeper::{Fence, Keeper};
use crate::pool::Pool;
use crate::reader::Reader;
use crate::schema;

/// Connections of one process: so many commits and so many questions at a time. Others wait for them.
const WRITERS_MAX: usize = 4;
const READERS_MAX: usize = 6;
/// Leases are asked for beside these: they must not wait behind commits.
const BEATS_MAX: usize = 1;
/// What is short, and others wait behind it: a whole admission behind a commit.
const SHORT: Patience = Patience(10);
/// What may have much to read, or to rewrite: a restart, a person's list, a new schema.
const LONG: Patience = Patience(20);

/// A database that was found fit. Cheap; clone it freely.
#[derive(Clone)]
pub struct Database {
    shared: Arc<Shared>,
}

struct Shared {
    access: Access,
    writers: Pool,
    readers: Pool,
    beats: Pool,
}

impl std::fmt::Debug for Database {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Database").field(&self.shared.access).finish()
    }
}

impl Database {
    /// Connects, judges the server and brings the schema up to date. Waits: not to be called from async code, nor is
    /// anything else of this room.
    ///
    /// # Errors
    /// It is away, refuses, or is not fit; the message says what to do.
    pub fn open(access: &Access) -> Result<Self, DatabaseError> {
        let driver = Driver::start(&access.place)?;
        let mut connection = Connection::make(access, &driver, LONG)?;
        schema::prepare(access, &mut connection)?;
        Ok(Self::of(access, &driver))
    }

    /// Connects to look: changes nothing, and wants a database of this program's schema.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn look(access: &Access) -> Result<Arc<dyn Registry>, DatabaseError> {
        let driver = Driver::start(&access.place)?;
        let mut connection = Connection::make(access, &driver, LONG)?;
        schema::expect(access, &mut connection)?;
        Ok(Self::of(access, &driver).reader())
    }

    fn of(access: &Access, driver: &Arc<Driver>) -> Self {
        let pool = |most, patience| Pool::new(access, driver, most, patience);
        let (writers, beats) = (pool(WRITERS_MAX, SHORT), pool(BEATS_MAX, SHORT));
        let readers = pool(READERS_MAX, LONG);
        Self { shared: Arc::new(Shared { access: access.clone(), writers, readers, beats }) }
    }

    /// Host, port and name, for people.
    pub fn place(&self) -> &str {
        self.shared.access.place()
    }

    /// Answers questions about all gateways, whoever keeps them.
    pub fn reader(&self) -> Arc<dyn Registry> {
        Arc::new(Reader::new(self.clone(), None))
    }

    /// Keeps all gateways, as one ingestor alone.
    ///
    /// # Errors
    /// Another process keeps them or some of them, or the database does not answer.
    pub fn alone(&self, member: &str) -> Result<Keeper, DatabaseError> {
        let fence = Fence::alone(self, member)?;
        Ok(Keeper::new(self.clone(), None, fence))
    }

    /// Keeps the gateways of one slot, for a member that holds its lease under this term. Whether it still does is seen at
    /// every commit.
    pub fn keeper(&self, slot: Slot, member: &str, term: u64) -> Keeper {
        Keeper::new(self.clone(), Some(slot), Fence::of(slot, member, term))
    }

    /// One transaction that may change things.
    pub(crate) fn write<T>(
        &self,
        work: impl FnOnce(&mut Sql<'_>) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        self.shared.writers.run(work)
    }

    /// One short transaction about leases, or between members.
    pub(crate) fn beat<T>(
        &self,
        work: impl FnOnce(&mut Sql<'_>) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        self.shared.beats.run(work)
    }

    /// One question in one snapshot.
    pub(crate) fn read<T>(
        &self,
        work: impl FnOnce(&mut Sql<'_>) -> Result<T, DatabaseError>,
    ) -> Result<T, DatabaseError> {
        self.shared.readers.run(|sql| {
            sql.script("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")?;
            work(sql)
        })
    }
}
