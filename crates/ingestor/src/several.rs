//! One ingestor of several: a thread that holds leases, an admission for each slot that is held, and a follower that shows what
//! the others do.
//!
//! ```text
//!  link ─► routes ─┬─► admission of slot 3 ─┐                      ┌─ follower: what others store, every 1.5 s
//!                  └─► admission of slot 41 ┴─► engine, database ──┤
//!  tenure ─ Begin, End, Drop ─► threads         fence per commit   └─ errands: acknowledgements for others
//! ```

mod follow;
mod member;
mod shares;

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, mpsc as threads};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use sitian_alert::Rules;
use sitian_api::{BackendError, Live, Presenter, Settings as ApiSettings};
use sitian_model::{GatewayId, Slot};
use sitian_mqtt::{Event, Link, Listener, Publisher, Qos};
use sitian_registry::Registry;
use sitian_store_postgres::{Database, Errand};
use sitian_tenure::{Answer, Hold, Peer};
use sitian_wire::topic::{Kind, Topic, filter_all, filter_shared};
use tokio::net::TcpListener;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use crate::admit::{Ask, now};
use crate::backend::Centre;
use crate::board::Board;
use crate::commands::Book;
use crate::keeping::{self, Seat};
use crate::link::Outlet;
use crate::parts::Parts;
use crate::readings::Shared;
use crate::run::ended;

use follow::Follower;
use member::Member;
use shares::Shares;

/// The group in which members share what nobody owns yet.
const GROUP: &str = "sitian-ingestors";
/// How long it is waited for another member to do an errand.
const ERRAND: Duration = Duration::from_secs(8);
/// How long an orderly end of API and link may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Messages of one slot that wait for its admission; when they are so many the link stops reading, for all slots.
const ASKS_MAX: usize = 1_024;
/// A link that stands still for longer is told of.
const STALL: Duration = Duration::from_secs(1);

/// What the thread of the leases is told.
pub enum Happening {
    /// The database has answered a question, or not.
    Answered(u64, Option<Answer>),
    /// A slot was read back: these are its gateways.
    Restored(Hold, Vec<GatewayId>),
    /// An admission is over.
    Ended(Hold),
    /// A gateway speaks where all can hear it.
    Heard(GatewayId),
    /// The database knows this gateway.
    Known(GatewayId),
    /// The program is to end.
    Leave,
}

/// The way to the admissions of this process.
#[derive(Default)]
pub struct Routes {
    slots: Mutex<HashMap<Slot, mpsc::Sender<Ask>>>,
    up: AtomicBool,
    stalls: AtomicU64,
    strangers: Mutex<BTreeSet<GatewayId>>,
    shares: Mutex<Shares>,
}

impl Routes {
    fn table(&self) -> MutexGuard<'_, HashMap<Slot, mpsc::Sender<Ask>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The admission of a slot, if it is held here.
    pub fn of(&self, slot: Slot) -> Option<mpsc::Sender<Ask>> {
        self.table().get(&slot).cloned()
    }

    fn all(&self) -> Vec<(Slot, mpsc::Sender<Ask>)> {
        self.table().iter().map(|(slot, asks)| (*slot, asks.clone())).collect()
    }

    /// Slots that are held here.
    pub fn held(&self) -> Vec<Slot> {
        self.table().keys().copied().collect()
    }

    /// Gateways that were heard here and belong to somebody else, who may not know of them.
    pub fn strangers(&self) -> MutexGuard<'_, BTreeSet<GatewayId>> {
        self.strangers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who has what.
    pub fn shares(&self) -> MutexGuard<'_, Shares> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many messages wait where most of them wait, and how many may.
    pub fn fullest(&self) -> (usize, usize) {
        let waiting = |asks: &mpsc::Sender<Ask>| asks.max_capacity() - asks.capacity();
        (self.table().values().map(waiting).max().unwrap_or_default(), ASKS_MAX)
    }

    /// How often the link stood still for a second because of one slot.
    pub fn stalls(&self) -> u64 {
        self.stalls.load(Ordering::Relaxed)
    }

    /// Hands something to the admission of a slot. While its queue is full nothing is read from the link, for any slot: at
    /// most as long as one commit may take.
    async fn hand(&self, slot: Slot, asks: &mpsc::Sender<Ask>, ask: Ask) {
        let Err(TrySendError::Full(ask)) = asks.try_send(ask) else { return };
        let since = Instant::now();
        // One that is gone takes nothing more, and needs nothing.
        let _ = asks.send(ask).await;
        if since.elapsed() >= STALL {
            self.stalls.fetch_add(1, Ordering::Relaxed);
            warn!(%slot, waited_ms = since.elapsed().as_millis() as u64, "a busy slot held up the link");
        }
    }
}

/// What the admissions of one process have in common.
pub struct Common {
    pub database: Database,
    pub me: Peer,
    pub lease: Duration,
    pub shared: Shared,
    pub rules: Arc<Rules>,
    pub grace: Duration,
    pub centre: Arc<Centre>,
    pub live: Live,
    pub publisher: Publisher,
    pub listener: Listener,
    pub routes: Arc<Routes>,
}

/// What the API needs to know of the others.
pub struct Others {
    pub me: Peer,
    pub lease: Duration,
    pub database: Database,
    pub registry: Arc<dyn Registry>,
    pub routes: Arc<Routes>,
}

impl Others {
    /// The admission of an alert, if it is here; otherwise the acknowledgement is left to its owner, and waited for.
    pub fn pass_on(
        &self,
        alert: u64,
        by: &str,
        note: &str,
    ) -> Result<Option<mpsc::Sender<Ask>>, BackendError> {
        let unavailable = |error: &dyn std::fmt::Display| BackendError::Unavailable(error.to_string());
        let episode = || self.registry.episode(alert).map_err(|error| unavailable(&error));
        let mut found = episode()?.ok_or(BackendError::NotFound("alert"))?;
        let slot = Slot::of(found.subject.gateway());
        if let Some(asks) = self.routes.of(slot) {
            return Ok(Some(asks));
        }
        // What the owner would say at once is said here; the first acknowledgement stays.
        let invalid = |error: sitian_alert::AcknowledgeError| BackendError::Invalid(error.to_string());
        if !found.acknowledge(by, note, now()).map_err(invalid)? {
            return Ok(None);
        }
        let errand = Errand { slot, alert, by: by.to_owned(), note: note.to_owned() };
        self.database.leave_errand(&errand).map_err(|error| unavailable(&error))?;
        let until = Instant::now() + ERRAND;
        while Instant::now() < until {
            std::thread::park_timeout(Duration::from_millis(200));
            if episode()?.is_some_and(|episode| episode.is_acknowledged()) {
                return Ok(None);
            }
        }
        let why = format!(
            "the ingestor that keeps slot {slot} did not answer within {} s; try again",
            ERRAND.as_secs()
        );
        Err(BackendError::Unavailable(why))
    }
}

/// What every member listens to, whatever it holds: states of all, which the broker keeps, and its share of the manifests.
pub fn subscriptions() -> Vec<(String, Qos)> {
    [filter_all(Kind::State), filter_shared(GROUP, Kind::Manifest)]
        .map(|filter| (filter, Qos::AtLeastOnce))
        .to_vec()
}

/// What is listened to for one gateway by whoever admits for it.
fn topics(gateway: &GatewayId) -> Vec<String> {
    let kinds = [Kind::Up, Kind::Manifest, Kind::Result, Kind::Outputs];
    kinds.map(|kind| kind.of(gateway.clone()).to_string()).to_vec()
}

/// Passes events on. When the admission that has to take one is busy the link stops reading: back-pressure.
pub async fn listen(
    mut events: mpsc::Receiver<Event>,
    common: Arc<Common>,
    happenings: threads::Sender<Happening>,
) {
    while let Some(event) = events.recv().await {
        match event {
            Event::Message { topic, payload, retain } => {
                let Ok(parsed) = Topic::parse(&topic) else { continue };
                pass(&common, &happenings, parsed, Ask::Message { topic, payload, retain }).await;
            }
            Event::Up { .. } => link(&common, true).await,
            Event::Down { reason } => {
                warn!(reason, "link to the broker is down");
                link(&common, false).await;
            }
        }
    }
}

async fn link(common: &Common, up: bool) {
    info!(up, "link to the broker");
    common.routes.up.store(up, Ordering::Release);
    common.centre.write_board().broker = (up, Some(now()));
    for (slot, asks) in common.routes.all() {
        common.routes.hand(slot, &asks, Ask::Link(up)).await;
    }
}

async fn pass(common: &Common, happenings: &threads::Sender<Happening>, topic: Topic, ask: Ask) {
    let gateway = match &topic {
        Topic::State(gateway) | Topic::Manifest(gateway) => {
            let _ = happenings.send(Happening::Heard(gateway.clone()));
            gateway
        }
        Topic::Up(gateway) | Topic::Result(gateway) | Topic::Outputs(gateway) => gateway,
        _ => return,
    };
    let slot = Slot::of(gateway);
    if let Some(asks) = common.routes.of(slot) {
        common.routes.hand(slot, &asks, ask).await;
    } else if let (Topic::State(_), Ask::Message { payload, .. }) = (&topic, &ask)
        && let Ok(state) = sitian_wire::decode_state(payload)
    {
        let now = now();
        let mut board = common.centre.write_board();
        if board.gateways.contains_key(gateway) && board.set_link(gateway, state.online, now, now) {
            drop(board);
            common.live.rollup_changed();
        }
    }
}

/// Serves as one of several, until SIGINT or SIGTERM.
pub async fn serve(parts: Parts, listener: TcpListener) -> Result<()> {
    let Seat::Postgres { access, member, lease: Some(lease) } = &parts.seat else {
        bail!("share the work: set registry.shared")
    };
    keeping::make_folder(&parts.storage)?;
    let me = myself(member, parts.http);
    let (database, (shared, series)) =
        tokio::task::block_in_place(|| anyhow::Ok((Database::open(access)?, Shared::open(&parts)?)))?;
    let mut settings = parts.link;
    settings.subscriptions = subscriptions();
    // A broker drops the older of two connections with one name.
    settings.client_id = format!("sitian-{}", me.member.replace('#', "-"));
    let (link, events) = Link::start(settings);
    let routes = Arc::new(Routes::default());
    let presenter =
        Presenter::new(parts.zone.clone(), parts.territory.clone(), parts.catalogue, parts.rules.clone());
    let registry = database.reader();
    let others = Others {
        me: me.clone(),
        lease: *lease,
        database: database.clone(),
        registry: registry.clone(),
        routes: routes.clone(),
    };
    let centre = Arc::new(Centre {
        board: RwLock::new(Board { engine: parts.place.word(), ..Board::new(&parts.territory) }),
        territory: parts.territory,
        presenter,
        reader: registry,
        series,
        book: Mutex::new(Book::beside(&parts.storage).context("open the commands")?),
        storage: parts.storage,
        outlet: Outlet::new(link.publisher()),
        asks: mpsc::channel(1).0,
        others: Some(others),
    });
    let live = Live::new();
    let common = Arc::new(Common {
        database,
        me,
        lease: *lease,
        shared,
        rules: parts.rules,
        grace: parts.start_grace,
        centre: centre.clone(),
        live: live.clone(),
        publisher: link.publisher(),
        listener: link.listener(),
        routes,
    });
    let (sender, happenings) = threads::channel();
    let (working, over) = Working::begin(&common, &sender, happenings)?;
    let listening = tokio::spawn(listen(events, common, sender.clone()));

    let settings = ApiSettings { zone: parts.zone, ..ApiSettings::default() };
    let router = sitian_api::router(centre, live.clone(), settings);
    info!("console and API: http://{}/", parts.http);
    let (told, by_signal) = oneshot::channel();
    sitian_api::serve(listener, router, live, PATIENCE, until(told, over)).await?;
    let asked_to_end = by_signal.await.is_ok();
    info!("ending");
    link.close(PATIENCE).await;
    listening.abort();
    let _ = sender.send(Happening::Leave);
    working.goodbye(*lease + PATIENCE).await;
    if !asked_to_end {
        bail!("go on: the thread of the leases ended by itself, see the log");
    }
    Ok(())
}

/// Until a signal, which is told, or the end of what stands behind everything.
async fn until(told: oneshot::Sender<()>, over: oneshot::Receiver<()>) {
    tokio::select! {
        () = ended() => drop(told.send(())),
        _ = over => {}
    }
}

/// What works beside the API and the link.
struct Working {
    member: JoinHandle<()>,
    following: JoinHandle<()>,
    stop: Arc<AtomicBool>,
}

impl Working {
    /// Starts it. What is received is closed when the thread of the leases ends, however it ends: nothing may be served that
    /// nothing stands behind.
    fn begin(
        common: &Arc<Common>,
        sender: &threads::Sender<Happening>,
        happenings: threads::Receiver<Happening>,
    ) -> Result<(Self, oneshot::Receiver<()>)> {
        let runtime = tokio::runtime::Handle::current();
        let member = Member::new(common.clone(), happenings, sender.clone(), runtime)?;
        let (alive, over) = oneshot::channel();
        let work = move || {
            let _alive = alive;
            member.run();
        };
        let member = std::thread::Builder::new().name("member".into()).spawn(work)?;
        let follower = Follower::new(common.clone(), sender.clone());
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let following =
            std::thread::Builder::new().name("follower".into()).spawn(move || follower.run(&stopped))?;
        Ok((Self { member, following, stop }, over))
    }

    /// Longer than a lease nobody waits for a goodbye: it runs out by itself.
    async fn goodbye(self, patience: Duration) {
        self.stop.store(true, Ordering::Release);
        self.following.thread().unpark();
        let left = tokio::task::spawn_blocking(move || (self.member.join(), self.following.join()));
        if tokio::time::timeout(patience, left).await.is_err() {
            warn!("ended without a goodbye; the leases run out by themselves");
            std::process::exit(1);
        }
    }
}

/// A member is a process, not a machine.
fn myself(name: &str, http: SocketAddr) -> Peer {
    let member = format!("{name}#{:016x}", fastrand::u64(..));
    info!(member, "one ingestor of several");
    Peer { member, api: format!("http://{http}") }
}
