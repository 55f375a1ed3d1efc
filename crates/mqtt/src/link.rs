//! The handle that a program holds: events come out of a receiver, messages go in through a [`Publisher`].

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use rumqttc::{AsyncClient, SubscribeFilter};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinHandle;

use crate::session;
use crate::settings::{LinkSettings, Qos};

/// Filters of one SUBSCRIBE packet.
const FILTERS_MAX: usize = 64;

/// What happens on a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Connected and subscribed. Sessions count from 1 and are never the same twice.
    Up {
        /// Number of the connection.
        session: u64,
    },
    /// No longer connected, or the first attempt failed. Reported once per outage; the link tries again by itself.
    Down {
        /// Why, for people.
        reason: String,
    },
    /// A message came in. Messages that a broker sends before it confirms the subscription arrive before `Up`.
    Message {
        /// Its topic.
        topic: String,
        /// Its content.
        payload: Bytes,
        /// True if the broker had kept it from before.
        retain: bool,
    },
}

/// Why a message was not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// Not connected: send it again after the next [`Event::Up`].
    #[error("the link to the broker is down")]
    Down,
    /// The queue is full: try again later. Only from [`Publisher::try_publish`].
    #[error("the queue to the broker is full")]
    Full,
    /// The payload exceeds [`LinkSettings::payload_bytes_max`]; it will never be accepted.
    #[error("payload of {bytes} bytes exceeds {max}")]
    TooLarge {
        /// Size of the payload.
        bytes: usize,
        /// Largest size.
        max: usize,
    },
    /// The topic is empty or has wildcards; it will never be accepted.
    #[error("topic {0:?} is empty or has wildcards")]
    Topic(String),
}

/// One connection to the broker, seen from the publishers.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) number: u64,
    pub(crate) client: AsyncClient,
    pub(crate) in_flight: AtomicU32,
    pub(crate) over: AtomicBool,
}

impl Session {
    /// So many messages are no longer under way. Never below zero: a message whose `publish` was given up at the very
    /// moment it was queued is settled twice.
    pub(crate) fn settle(&self, count: u32) {
        let less = |n: u32| Some(n.saturating_sub(count));
        let _ = self.in_flight.fetch_update(Ordering::AcqRel, Ordering::Acquire, less);
    }
}

impl Session {
    /// Queues SUBSCRIBE packets; false if the queue is full.
    fn subscribe(&self, filters: Vec<(String, Qos)>) -> bool {
        filters.chunks(FILTERS_MAX).all(|chunk| {
            let filters =
                chunk.iter().map(|(filter, qos)| SubscribeFilter::new(filter.clone(), (*qos).into()));
            self.client.try_subscribe_many(filters).is_ok()
        })
    }
}

/// What driver and handles share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) current: Mutex<Option<Arc<Session>>>,
    pub(crate) reconnect: Notify,
    payload_bytes_max: usize,
    /// Filters beside those of the settings, as a [`Listener`] left them.
    extra: Mutex<BTreeMap<String, Qos>>,
}

impl Shared {
    pub(crate) fn set(&self, session: Option<Arc<Session>>) {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(old) = std::mem::replace(&mut *current, session) {
            old.over.store(true, Ordering::Release);
        }
    }

    /// Subscribes a session that has just come up to everything beside the settings; false if it takes no more.
    pub(crate) fn listen(&self, session: &Session) -> bool {
        let extra = self.extra.lock().unwrap_or_else(PoisonError::into_inner);
        session.subscribe(extra.iter().map(|(filter, qos)| (filter.clone(), *qos)).collect())
    }

    fn get(&self) -> Option<Arc<Session>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// A link to one broker. Dropping it cuts the connection without a goodbye, so the broker publishes the will.
#[derive(Debug)]
pub struct Link {
    publisher: Publisher,
    driver: JoinHandle<()>,
}

impl Link {
    /// Starts connecting, and stays at it until the link or the receiver is dropped. Must be called inside a tokio
    /// runtime (a current-thread one will do) with time and IO enabled. Returns at once.
    pub fn start(settings: LinkSettings) -> (Self, mpsc::Receiver<Event>) {
        let (sender, receiver) = mpsc::channel(settings.events_max.max(1));
        let shared = Arc::new(Shared {
            current: Mutex::new(None),
            reconnect: Notify::new(),
            payload_bytes_max: settings.payload_bytes_max,
            extra: Mutex::default(),
        });
        let driver = tokio::spawn(session::drive(settings, shared.clone(), sender));
        (Self { publisher: Publisher { shared }, driver }, receiver)
    }

    /// A handle to publish with.
    pub fn publisher(&self) -> Publisher {
        self.publisher.clone()
    }

    /// A handle to change what it listens to.
    pub fn listener(&self) -> Listener {
        Listener { shared: self.publisher.shared.clone() }
    }

    /// Gives up the connection and makes a new one; for a caller that sees no progress although the link is up.
    pub fn reconnect(&self) {
        self.publisher.shared.reconnect.notify_one();
    }

    /// Sends what is queued, says goodbye (so the broker drops the will) and ends. True if the goodbye was handed to
    /// the network within `grace`; keep receiving events meanwhile if any may be waiting.
    pub async fn close(mut self, grace: Duration) -> bool {
        let Some(session) = self.publisher.shared.get() else {
            return false;
        };
        let goodbye = async {
            let said = session.client.disconnect().await.is_ok();
            said && (&mut self.driver).await.is_ok()
        };
        tokio::time::timeout(grace, goodbye).await.unwrap_or(false)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.driver.abort();
        self.publisher.shared.set(None);
    }
}

/// Changes what a link listens to, beside the filters of its settings. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Listener {
    shared: Arc<Shared>,
}

impl Listener {
    /// Listens to these too, from now on and after every reconnect. What is published after this on the same link leaves
    /// after the broker was told.
    pub fn listen(&self, filters: impl IntoIterator<Item = (String, Qos)>) {
        let mut extra = self.shared.extra.lock().unwrap_or_else(PoisonError::into_inner);
        let filters = filters.into_iter();
        let fresh: Vec<_> = filters.filter(|(filter, _)| !extra.contains_key(filter)).collect();
        extra.extend(fresh.iter().cloned());
        if let Some(session) = self.shared.get()
            && !session.subscribe(fresh)
        {
            // A new connection subscribes to all.
            self.shared.reconnect.notify_one();
        }
    }

    /// Listens to these no more.
    pub fn leave<'f>(&self, filters: impl IntoIterator<Item = &'f str>) {
        let mut extra = self.shared.extra.lock().unwrap_or_else(PoisonError::into_inner);
        for filter in filters {
            if extra.remove(filter).is_some()
                && let Some(session) = self.shared.get()
            {
                // If the queue is full, what still comes has nobody to go to.
                let _ = session.client.try_unsubscribe(filter);
            }
        }
    }
}

/// Puts messages on a link. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Publisher {
    shared: Arc<Shared>,
}

impl Publisher {
    /// Queues a message, waiting while the queue is full. Returns when it is queued, not when it is sent; the number
    /// is the session it goes out in, and if that session ends first the message is forgotten.
    ///
    /// Not from the task that receives the events: a full receiver stops the link, and a stopped link empties no
    /// queue. Use [`Publisher::try_publish`] there.
    pub async fn publish(
        &self,
        topic: &str,
        qos: Qos,
        retain: bool,
        payload: impl Into<Bytes>,
    ) -> Result<u64, PublishError> {
        let payload = payload.into();
        let session = self.admit(topic, &payload)?;
        let owed = Owed::new(&session, qos);
        let queued = session.client.publish_bytes(topic, qos.into(), retain, payload).await;
        if queued.is_err() || session.over.load(Ordering::Acquire) {
            return Err(PublishError::Down);
        }
        owed.keep();
        Ok(session.number)
    }

    /// Queues a message if there is room, and returns at once. The number is the session it goes out in.
    pub fn try_publish(
        &self,
        topic: &str,
        qos: Qos,
        retain: bool,
        payload: impl Into<Bytes>,
    ) -> Result<u64, PublishError> {
        let payload = payload.into();
        let session = self.admit(topic, &payload)?;
        let owed = Owed::new(&session, qos);
        let queued = session.client.try_publish(topic, qos.into(), retain, payload);
        if session.over.load(Ordering::Acquire) {
            return Err(PublishError::Down);
        }
        queued.map_err(|_| PublishError::Full)?;
        owed.keep();
        Ok(session.number)
    }

    /// Messages at [`Qos::AtLeastOnce`] that are queued or wait for their PUBACK in this session; 0 while down.
    pub fn in_flight(&self) -> u32 {
        self.shared.get().map_or(0, |session| session.in_flight.load(Ordering::Acquire))
    }

    /// Number of the session, if the link is up.
    pub fn session(&self) -> Option<u64> {
        self.shared.get().map(|session| session.number)
    }

    fn admit(&self, topic: &str, payload: &Bytes) -> Result<Arc<Session>, PublishError> {
        let max = self.shared.payload_bytes_max;
        if payload.len() > max {
            return Err(PublishError::TooLarge { bytes: payload.len(), max });
        }
        if topic.is_empty() || topic.len() > u16::MAX.into() || !rumqttc::valid_topic(topic) {
            return Err(PublishError::Topic(topic.chars().take(128).collect()));
        }
        self.shared.get().ok_or(PublishError::Down)
    }
}

/// Counts a message as under way before it is queued, and takes that back if it never is (also when the waiting future
/// is dropped): the PUBACK may come before `publish` has returned.
struct Owed<'s> {
    session: &'s Session,
    count: u32,
}

impl<'s> Owed<'s> {
    fn new(session: &'s Session, qos: Qos) -> Self {
        let count = u32::from(qos == Qos::AtLeastOnce);
        session.in_flight.fetch_add(count, Ordering::AcqRel);
        Self { session, count }
    }

    fn keep(mut self) {
        self.count = 0;
    }
}

impl Drop for Owed<'_> {
    fn drop(&mut self) {
        self.session.settle(self.count);
    }
}
