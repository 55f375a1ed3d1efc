//! One connection after another: connect, subscribe, hand over what comes, notice the end, pause, again.
//!
//! Every connection gets a new client. The library keeps packet ids and collisions across reconnects, which can lock it
//! up for good; a client that never outlives its connection has nothing to keep.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use rumqttc::{AsyncClient, EventLoop, Incoming, Outgoing, SubAck, SubscribeReasonCode};
use tokio::sync::mpsc;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, timeout};

use crate::backoff::Backoff;
use crate::link::{Event, Session, Shared};
use crate::settings::LinkSettings;
use crate::watchdog::Watchdog;

/// A connection that lasted this long was a good one: the next pause is short again.
const STEADY: Duration = Duration::from_secs(5);

/// Why a connection is over.
enum End {
    /// We said goodbye, or nobody listens to events any more.
    Done,
    /// It broke, or could not be made.
    Fault(String),
}

/// Keeps the link up until it is closed or nobody listens.
pub(crate) async fn drive(settings: LinkSettings, shared: Arc<Shared>, events: mpsc::Sender<Event>) {
    let mut backoff = Backoff::new(settings.reconnect_min, settings.reconnect_max);
    let mut sessions = 0;
    let mut reported = false;
    let mut last_reason = String::new();
    loop {
        let began = Instant::now();
        let sessions_before = sessions;
        let end = Connection::make(&settings, &shared, &events, &mut sessions).await;
        shared.set(None);
        let was_up = sessions != sessions_before;
        let End::Fault(reason) = end else {
            return;
        };
        if was_up && began.elapsed() >= STEADY {
            backoff.reset();
        }
        if reason != last_reason {
            tracing::warn!(broker = %format_args!("{}:{}", settings.host, settings.port), %reason, "no link to the broker");
            last_reason.clone_from(&reason);
        }
        if was_up || !reported {
            reported = true;
            if events.send(Event::Down { reason }).await.is_err() {
                return;
            }
        }
        tokio::select! {
            () = sleep(backoff.pause(fastrand::f64())) => {}
            () = events.closed() => return,
        }
    }
}

/// One connection from its first byte to its last.
struct Connection<'l> {
    settings: &'l LinkSettings,
    shared: &'l Shared,
    events: &'l mpsc::Sender<Event>,
    sessions: &'l mut u64,
    session: Arc<Session>,
    subscribing: bool,
    watchdog: Watchdog,
}

impl<'l> Connection<'l> {
    async fn make(
        settings: &'l LinkSettings,
        shared: &'l Shared,
        events: &'l mpsc::Sender<Event>,
        sessions: &'l mut u64,
    ) -> End {
        let options = match settings.mqtt_options() {
            Ok(options) => options,
            Err(reason) => return End::Fault(reason),
        };
        let (client, mut event_loop) = AsyncClient::new(options, settings.queue_max.max(1));
        event_loop.set_network_options(settings.network_options());
        match timeout(settings.connect_timeout, event_loop.poll()).await {
            Ok(Ok(_connack)) => {}
            Ok(Err(fault)) => return End::Fault(fault.to_string()),
            Err(_) => {
                return End::Fault(format!("no answer within {} s", settings.connect_timeout.as_secs_f32()));
            }
        }
        let filters = settings.filters();
        let subscribing = !filters.is_empty();
        if subscribing && client.try_subscribe_many(filters).is_err() {
            return End::Fault("a subscription filter is malformed".to_owned());
        }
        let session = Arc::new(Session {
            number: *sessions + 1,
            client,
            in_flight: AtomicU32::new(0),
            over: AtomicBool::new(false),
        });
        let watchdog = Watchdog::new(settings.keep_alive_clamped() * 2, Instant::now());
        let mut connection = Self { settings, shared, events, sessions, session, subscribing, watchdog };
        if !subscribing && let Err(end) = connection.up().await {
            return end;
        }
        connection.run(event_loop).await
    }

    async fn run(&mut self, mut event_loop: EventLoop) -> End {
        let mut tick = interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let event = match self.next(&mut event_loop, &mut tick).await {
                Ok(event) => event,
                Err(end) => return end,
            };
            if let Err(end) = self.handle(event).await {
                return end;
            }
        }
    }

    /// The next event of the library. Its future is never dropped half-way except to end the connection: it would lose
    /// the packet it is about to write.
    async fn next(&mut self, event_loop: &mut EventLoop, tick: &mut Interval) -> Result<rumqttc::Event, End> {
        let mut poll = std::pin::pin!(event_loop.poll());
        loop {
            tokio::select! {
                event = &mut poll => return event.map_err(|fault| End::Fault(fault.to_string())),
                _ = tick.tick() => {
                    let owed = self.session.in_flight.load(Ordering::Acquire) + u32::from(self.subscribing);
                    if let Some(reason) = self.watchdog.stalled(owed, Instant::now()) {
                        return Err(End::Fault(reason));
                    }
                }
                () = self.shared.reconnect.notified() => return Err(End::Fault("told to reconnect".to_owned())),
                () = self.events.closed() => return Err(End::Done),
            }
        }
    }

    async fn handle(&mut self, event: rumqttc::Event) -> Result<(), End> {
        let now = Instant::now();
        match event {
            rumqttc::Event::Outgoing(Outgoing::Disconnect) => return Err(End::Done),
            rumqttc::Event::Outgoing(_) => {}
            rumqttc::Event::Incoming(Incoming::PubAck(_)) => {
                self.watchdog.handle_progress(now);
                self.session.settle(1);
            }
            rumqttc::Event::Incoming(Incoming::SubAck(answer)) => {
                self.watchdog.handle_progress(now);
                self.subscribed(&answer).await?;
            }
            rumqttc::Event::Incoming(Incoming::Publish(publish)) => {
                self.watchdog.handle_packet(now);
                let (topic, payload, retain) = (publish.topic, publish.payload, publish.retain);
                self.emit(Event::Message { topic, payload, retain }).await?;
            }
            rumqttc::Event::Incoming(_) => self.watchdog.handle_packet(now),
        }
        Ok(())
    }

    async fn subscribed(&mut self, answer: &SubAck) -> Result<(), End> {
        let refused = answer.return_codes.iter().position(|code| *code == SubscribeReasonCode::Failure);
        if let Some(n) = refused {
            let first = self.settings.subscriptions.get(n).filter(|_| self.subscribing);
            let filter = first.map_or("a topic", |(filter, _)| filter);
            return Err(End::Fault(format!("the broker refuses the subscription to {filter}")));
        }
        if std::mem::replace(&mut self.subscribing, false) {
            self.up().await?;
        }
        Ok(())
    }

    async fn up(&mut self) -> Result<(), End> {
        *self.sessions = self.session.number;
        self.shared.set(Some(self.session.clone()));
        if !self.shared.listen(&self.session) {
            return Err(End::Fault("more topics to listen to than the queue takes".to_owned()));
        }
        tracing::info!(broker = %format_args!("{}:{}", self.settings.host, self.settings.port), session = self.session.number, "link to the broker is up");
        self.emit(Event::Up { session: self.session.number }).await
    }

    /// Waits for room in the receiver: that is the back-pressure towards the broker.
    async fn emit(&mut self, event: Event) -> Result<(), End> {
        let began = Instant::now();
        self.events.send(event).await.map_err(|_| End::Done)?;
        if began.elapsed() > Duration::from_secs(1) {
            self.watchdog.handle_pause(Instant::now());
        }
        Ok(())
    }
}
