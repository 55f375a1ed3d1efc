//! `sitian-ingestor run`: broker, link, admission, API, wired together and ended in order.

use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sitian_api::{Live, Presenter, Settings as ApiSettings};
use sitian_broker::{Broker, BrokerSettings};
use sitian_mqtt::Link;
use sitian_settings::Faults;
use sitian_telemetry::{BUILD, Format};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use crate::admit::{Admission, Ask, Part};
use crate::backend::Centre;
use crate::board::Board;
use crate::commands::Book;
use crate::compaction::Compaction;
use crate::keeping::{self, Kept, Seat};
use crate::link::{self, Outlet};
use crate::parts::Parts;
use crate::settings::Source;

/// Asks waiting for the admission thread; when it is full the link stops reading.
const ASKS_MAX: usize = 1_024;
const PATIENCE: Duration = Duration::from_secs(2);

/// Runs until SIGINT or SIGTERM.
pub fn run(source: &Source) -> Result<()> {
    let loaded = source.load()?;
    let parts = Parts::judge(&loaded, source.folder()).map_err(Faults)?;
    let format = Format::parse(&loaded.value.log.format).unwrap_or(Format::Text);
    sitian_telemetry::init(&loaded.value.log.level, format).context("set up logging")?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(serve(parts))
}

async fn serve(parts: Parts) -> Result<()> {
    info!(version = %BUILD, "sitian-ingestor starts");
    parts.warnings.iter().for_each(|warning| warn!("{warning}"));
    let listener = sitian_api::listen(parts.http).await?;
    let broker = parts.broker.map(|listen| Broker::start(BrokerSettings { listen })).transpose()?;
    if matches!(parts.seat, Seat::Postgres { lease: Some(_), .. }) {
        return crate::several::serve(parts, listener).await;
    }
    let kept = tokio::task::block_in_place(|| keeping::open(&parts))?;
    let Kept { keeper, registry, elsewhere, series, compaction } = kept;

    let presenter =
        Presenter::new(parts.zone.clone(), parts.territory.clone(), parts.catalogue, parts.rules.clone());
    let (asks, asked) = mpsc::channel(ASKS_MAX);

    let mut settings = parts.link;
    settings.subscriptions = link::subscriptions();
    let live = Live::new();
    let (link, events) = Link::start(settings);
    let book = Book::beside(&parts.storage).context("open the commands")?;
    let board = Board { engine: parts.place.word(), ..Board::new(&parts.territory) };
    let centre = Arc::new(Centre {
        board: RwLock::new(board),
        territory: parts.territory,
        presenter,
        reader: registry,
        series,
        storage: parts.storage,
        book: Mutex::new(book),
        outlet: Outlet::new(link.publisher()),
        asks: asks.clone(),
        others: None,
    });
    let outlet = Outlet::new(link.publisher());
    let admission = tokio::task::block_in_place(|| {
        let (kept, grace) = ((keeper, elsewhere, Part::All), parts.start_grace);
        Admission::restore(kept, parts.rules, grace, centre.clone(), outlet, live.clone(), asked)
    })?;
    let handle = tokio::runtime::Handle::current();
    // Dropped when the thread ends, however it ends: nothing may be served that nothing stands behind.
    let (alive, over) = oneshot::channel::<()>();
    let work = move || {
        let _alive = alive;
        admission.run(&handle);
    };
    let thread = std::thread::Builder::new().name("admission".into());
    let admitting = thread.spawn(work).context("start the admission thread")?;
    let listening = tokio::spawn(link::listen(events, asks.clone()));

    let settings = ApiSettings { zone: parts.zone, ..ApiSettings::default() };
    let router = sitian_api::router(centre, live.clone(), settings);
    info!("console and API: http://{}/", parts.http);
    let (told, by_signal) = oneshot::channel();
    let shutdown = async move {
        tokio::select! {
            () = ended() => drop(told.send(())),
            _ = over => {}
        }
    };
    sitian_api::serve(listener, router, live, PATIENCE, shutdown).await?;
    let asked_to_end = by_signal.await.is_ok();
    info!("ending");
    link.close(PATIENCE).await;
    listening.abort();
    // Refused only if the thread is gone already.
    let _ = asks.send(Ask::End).await;
    let joined = tokio::task::spawn_blocking(move || admitting.join()).await;
    tokio::task::spawn_blocking(|| compaction.map(Compaction::end)).await?;
    drop(broker);
    if !asked_to_end || !matches!(joined, Ok(Ok(()))) {
        bail!("go on: the admission thread ended by itself, see the log");
    }
    Ok(())
}

/// When a signal asks the program to end.
pub async fn ended() {
    match signal(SignalKind::terminate()) {
        Ok(mut end) => tokio::select! { _ = end.recv() => {}, _ = tokio::signal::ctrl_c() => {} },
        Err(_) => drop(tokio::signal::ctrl_c().await),
    }
}
