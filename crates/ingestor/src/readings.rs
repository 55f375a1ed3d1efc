//! Where readings are kept: in the store's own file, or in an engine that others run. Registry, alerts and watermarks are in
//! that file, or in a database.
//!
//! ```text
//!  own         rows + watermark + alerts ─► one transaction ─► ack
//!  elsewhere   rows ─► engine, on its disk ─► watermark + alerts ─► one transaction ─► ack
//!                      │ down, busy: nothing is committed, nothing acknowledged, gateways are asked to wait
//!                      │ killed in between: the gateways send again, and a row that is written twice is one row
//!                      └ a row that it refuses goes to quarantine, and the watermark moves over it
//! ```

mod remains;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sitian_ingest::{Effect, EpochEntry, Form, PointEntry, Quarantined, Restored};
use sitian_model::{
    Batch, Entry, Epoch, EpochNo, Lane, PointId, PointNo, Reading, Record, Row, SpoolState, Timestamp,
};
use sitian_registry::{Registry, Transaction};
use sitian_series::{Append, AppendError, Refused, Series};
use sitian_store_embedded::{Reader, Store};
use sitian_store_influx::influx::{self, Bucket};
use sitian_store_influx::{Access, Engine, Names, Patience, Tags, victoria};
use sitian_supervision::{Level, Territory};
use tracing::warn;

use crate::parts::Parts;

/// What answers questions about readings.
pub type Answers = Arc<dyn Series + Send + Sync>;

/// How long one answer of the engine may take. Gateways wait meanwhile, and so do acknowledgements.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The engine is asked again at once when it only hiccups; after that the gateways are asked to wait.
const PATIENCE: Patience =
    Patience { tries: 2, first: Duration::from_millis(200), longest: Duration::from_secs(1) };

/// Most refused rows of one entry of the quarantine.
const ENTRY_ROWS_MAX: usize = 1_000;

/// Where the settings say that readings are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// In the store's file.
    Own,
    /// In an engine that others run.
    Elsewhere(Server),
}

impl Place {
    /// As `storage.engine` names it.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Own => "embedded",
            Self::Elsewhere(Server { kind: Kind::Victoria, .. }) => "victoriametrics",
            Self::Elsewhere(Server { kind: Kind::Influx(_), .. }) => "influxdb2",
        }
    }
}

/// An engine that others run, as the settings describe it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Where it listens.
    pub url: String,
    /// How many days it has to keep; `None` is for ever.
    pub keep_days: Option<u32>,
    /// What it is.
    pub kind: Kind,
}

impl Server {
    /// Its address without name and password.
    pub fn place(&self) -> String {
        let parts = self.url.split_once("://").zip(self.url.rsplit_once('@'));
        parts.map_or_else(|| self.url.clone(), |((scheme, _), (_, host))| format!("{scheme}://{host}"))
    }
}

/// Which engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// VictoriaMetrics.
    Victoria,
    /// InfluxDB 2.
    Influx(Bucket),
}

/// An engine that others run, and what points are called there.
pub struct Elsewhere {
    engine: Box<dyn Append + Send>,
    names: Arc<Names>,
    territory: Arc<Territory>,
    points: HashMap<PointNo, PointId>,
    /// Their labels, and the points of their manifests.
    epochs: HashMap<EpochNo, (Epoch, Vec<PointNo>)>,
}

/// What was written, and what the engine refused of it.
pub struct Put {
    /// What is left to be stored: rows are durable.
    pub effects: Vec<Effect>,
    /// To be kept in quarantine, if there is room.
    pub aside: Vec<Quarantined>,
}

/// Opens what readings are kept in; `None` is the store itself.
///
/// # Errors
/// The engine is not there or not fit, or the store's readings are in another one.
pub fn open(parts: &Parts, store: &mut Store) -> Result<(Option<Elsewhere>, Answers)> {
    let held = store.extent()?.chunks > 0 || store.extent()?.head_rows > 0;
    match &parts.place {
        Place::Own if store.keeps_rows_elsewhere()? => bail!(
            "use this store alone: its readings are in another engine; set storage.engine back to that, or begin with \
             another storage.path"
        ),
        Place::Own => Ok((None, Arc::new(store.reader()))),
        Place::Elsewhere(_) if held => bail!(
            "keep readings in another engine: this store holds some itself, and nobody would see them; move them there \
             with `sitian-ingestor move`, or set storage.engine = \"embedded\""
        ),
        Place::Elsewhere(_) => {
            let reader = store.reader();
            let (elsewhere, answers) = beside(parts, &reader)?;
            store.keep_rows_elsewhere()?;
            Ok((Some(elsewhere), remains::beside(answers, &reader)?))
        }
    }
}

/// Opens the engine beside a registry, and teaches it what the registry knows.
///
/// # Errors
/// The engine is not there or not fit, or there is none.
pub fn beside(parts: &Parts, registry: &dyn Registry) -> Result<(Elsewhere, Answers)> {
    let note = parts.storage.with_extension("snapshot");
    taught(&parts.place, Some(note), registry, &parts.territory)
}

fn taught(
    place: &Place,
    note: Option<PathBuf>,
    registry: &dyn Registry,
    territory: &Arc<Territory>,
) -> Result<(Elsewhere, Answers)> {
    let Destination { elsewhere, engine } = destination(place, note, TIMEOUT, registry, territory)?;
    Ok((elsewhere, Arc::new(engine.reader())))
}

/// An engine, and what knows it by its names.
pub struct Destination {
    /// What knows it.
    pub elsewhere: Elsewhere,
    /// Itself.
    pub engine: Engine,
}

/// Opens an engine and teaches it what a registry knows. `note` is a file beside the store for what a kill would leave on the
/// engine.
///
/// # Errors
/// As [`beside`].
pub fn destination(
    place: &Place,
    note: Option<PathBuf>,
    timeout: Duration,
    registry: &dyn Registry,
    territory: &Arc<Territory>,
) -> Result<Destination> {
    let Place::Elsewhere(server) = place else {
        bail!("keep readings apart from the registry: set storage.engine");
    };
    let names = Arc::new(Names::default());
    let engine = connect(server, note, timeout, &names)?;
    let mut elsewhere = Elsewhere::new(Box::new(engine.clone()), names, territory);
    elsewhere.learn_all(&registry.restored()?);
    Ok(Destination { elsewhere, engine })
}

/// What answers questions beside a running ingestor whose registry is in a file.
///
/// # Errors
/// As [`open`].
pub fn look_beside(place: &Place, file: &Reader, territory: &Arc<Territory>) -> Result<Answers> {
    remains::beside(look(place, file, territory)?, file)
}

/// What answers questions beside a running ingestor.
///
/// # Errors
/// As [`open`].
pub fn look(place: &Place, registry: &dyn Registry, territory: &Arc<Territory>) -> Result<Answers> {
    Ok(taught(place, None, registry, territory)?.1)
}

/// An engine for several admissions: they share what points are called there, and what brings it to the disk.
pub struct Shared {
    engine: Engine,
    names: Arc<Names>,
    territory: Arc<Territory>,
}

impl Shared {
    /// With what answers questions about everything that any of them has learnt.
    ///
    /// # Errors
    /// The engine is not there or not fit, or there is none.
    pub fn open(parts: &Parts) -> Result<(Self, Answers)> {
        let Place::Elsewhere(server) = &parts.place else {
            bail!("keep readings apart from the registry: set storage.engine")
        };
        let (names, territory) = (Arc::new(Names::default()), Arc::clone(&parts.territory));
        let engine = connect(server, Some(parts.storage.with_extension("snapshot")), TIMEOUT, &names)?;
        let answers = Arc::new(engine.reader());
        Ok((Self { engine, names, territory }, answers))
    }

    /// For one admission.
    pub fn elsewhere(&self) -> Elsewhere {
        Elsewhere::new(Box::new(self.engine.clone()), Arc::clone(&self.names), &self.territory)
    }
}

/// `note` is a file beside the store for what a kill would leave on the engine.
fn connect(server: &Server, note: Option<PathBuf>, timeout: Duration, names: &Arc<Names>) -> Result<Engine> {
    let access = Access { url: server.url.clone(), timeout, keep_days: server.keep_days, note };
    let names = Arc::clone(names);
    let engine = match &server.kind {
        Kind::Victoria => victoria::connect(access, names, PATIENCE),
        Kind::Influx(bucket) => influx::connect(access, bucket.clone(), names, PATIENCE),
    };
    engine.context("use storage.engine")
}

impl Elsewhere {
    /// On an engine that knows points by these names.
    pub fn new(engine: Box<dyn Append + Send>, names: Arc<Names>, territory: &Arc<Territory>) -> Self {
        let (points, epochs) = (HashMap::new(), HashMap::new());
        Self { engine, names, territory: Arc::clone(territory), points, epochs }
    }

    /// Learns what the store knows.
    pub fn learn_all(&mut self, restored: &Restored) {
        restored.points.iter().for_each(|point| self.learn_point(point));
        restored.epochs.iter().for_each(|epoch| self.learn_epoch(epoch.state.no, epoch.epoch, &epoch.points));
    }

    fn learn_epoch(&mut self, no: EpochNo, epoch: Epoch, points: &[PointNo]) {
        self.names.epoch(no, epoch);
        self.epochs.insert(no, (epoch, points.to_vec()));
    }

    /// A point that cannot be named there stays without a name: its rows are refused one by one and kept in quarantine.
    fn learn_point(&mut self, entry: &PointEntry) {
        let id = &entry.id;
        self.points.insert(entry.no, id.clone());
        let base = self.territory.base_of(&id.gateway);
        let mut tags = Tags {
            gateway: id.gateway.to_string(),
            device: id.device.to_string(),
            point: id.key.to_string(),
            measurement: entry.info.measurement.to_string(),
            unit: entry.info.unit.clone(),
            ..Tags::default()
        };
        for node in base.map(|base| self.territory.breadcrumb(&base.id)).unwrap_or_default() {
            let place = match node.level {
                Level::City => &mut tags.city,
                Level::County => &mut tags.county,
                Level::Town => &mut tags.town,
                Level::Base => &mut tags.base,
            };
            place.clone_from(&node.id);
        }
        if let Err(error) = self.names.point(entry.no, tags) {
            warn!(point = %id, %error, "the engine cannot name a point; its readings go to quarantine");
        }
    }

    /// Writes the rows among these effects.
    ///
    /// # Errors
    /// The engine does not take rows now: none counts as stored, all may be given again.
    pub fn put(&mut self, effects: Vec<Effect>, now: Timestamp) -> Result<Put, AppendError> {
        for effect in &effects {
            match effect {
                Effect::Point(entry) => self.learn_point(entry),
                Effect::Epoch(EpochEntry { no, epoch, points, .. }) => self.learn_epoch(*no, *epoch, points),
                _ => {}
            }
        }
        let rows: Vec<Row> = effects.iter().filter_map(crate::board::rows_of).flatten().copied().collect();
        if rows.is_empty() {
            return Ok(Put { effects, aside: Vec::new() });
        }
        let refused = self.engine.append(&rows)?;
        if refused.is_empty() {
            return Ok(Put { effects, aside: Vec::new() });
        }
        Ok(self.set_aside(effects, &refused, now))
    }

    /// Why the engine refuses one of these rows, which it has refused before; `None` if it takes them all.
    ///
    /// # Errors
    /// It does not answer.
    pub fn refuses(&mut self, rows: &[Row]) -> Result<Option<String>, AppendError> {
        Ok(self.engine.append(rows)?.first().map(|refused| refused.why.clone()))
    }

    /// Takes refused rows out of the effects.
    fn set_aside(&self, effects: Vec<Effect>, refused: &[Refused], now: Timestamp) -> Put {
        let (mut next, mut index, mut out) = (refused.iter().peekable(), 0, Vec::new());
        let mut aside = Vec::new();
        for effect in effects {
            let Effect::Rows(rows) = effect else {
                out.push(effect);
                continue;
            };
            let mut kept = Vec::with_capacity(rows.len());
            for row in rows {
                match next.next_if(|refused| refused.index == index) {
                    Some(refused) => aside.push((row, refused.why.clone())),
                    None => kept.push(row),
                }
                index += 1;
            }
            if !kept.is_empty() {
                out.push(Effect::Rows(kept));
            }
        }
        if let Some((_, why)) = aside.first() {
            warn!(readings = aside.len(), why, "the engine refuses readings; they are kept in quarantine");
        }
        Put { effects: out, aside: self.entries(&aside, now) }
    }

    /// Refused rows as entries of the quarantine. A backlog that the engine does not keep is refused row by row: neighbouring
    /// records share an entry.
    pub fn entries(&self, refused: &[(Row, String)], now: Timestamp) -> Vec<Quarantined> {
        let joins = |(a, why): &(Row, String), (b, reason): &(Row, String)| {
            a.epoch == b.epoch && (b.seq == a.seq || b.seq == a.seq + 1) && why == reason
        };
        let runs = refused.chunk_by(joins).flat_map(|run| run.chunks(ENTRY_ROWS_MAX));
        runs.filter_map(|run| self.quarantined(run, now)).collect()
    }

    /// True if rows of this point can be written there.
    pub fn knows(&self, point: PointNo) -> bool {
        self.names.knows(point)
    }

    /// True if a row that the engine refuses can be kept in quarantine: its epoch is known, and names its point.
    pub fn can_set_aside(&self, row: &Row) -> bool {
        let named = |(_, points): &(Epoch, Vec<PointNo>)| points.contains(&row.point);
        self.points.contains_key(&row.point) && self.epochs.get(&row.epoch).is_some_and(named)
    }

    /// What a point is called.
    pub fn called(&self, point: PointNo) -> String {
        self.points.get(&point).map_or_else(|| format!("point {}", point.0), ToString::to_string)
    }

    /// Refused rows of neighbouring records as the message that a gateway would send them in, so that they can be read
    /// again once the engine takes them.
    fn quarantined(&self, run: &[(Row, String)], now: Timestamp) -> Option<Quarantined> {
        let ((first, why), (last, _)) = (run.first()?, run.last()?);
        let ((epoch, points), id) = (self.epochs.get(&first.epoch)?, self.points.get(&first.point)?);
        let place = |row: &Row| points.iter().position(|point| *point == row.point);
        let reading = |(row, _): &(Row, String)| {
            Some(Reading { point: place(row)? as u32, at: row.at, value: row.value, quality: row.quality })
        };
        let records = run.chunk_by(|(a, _), (b, _)| a.seq == b.seq).map(|rows| {
            // Their times are settled: no clock moves them again.
            let readings = rows.iter().filter_map(reading).collect();
            Entry::Record(sitian_wire::encode_record(&Record {
                boot: 0,
                mono_ms: 0,
                uncertainty_ms: Some(0),
                readings,
            }))
        });
        let batch = Batch {
            epoch: *epoch,
            first: first.seq,
            entries: records.collect(),
            chain: 0,
            acked: first.seq,
            oldest: first.seq,
            held: Vec::new(),
            clocks: Vec::new(),
            lane: Lane::Backfill,
            spool: SpoolState::default(),
        };
        Some(Quarantined {
            gateway: id.gateway.clone(),
            range: Some((*epoch, first.seq, last.seq + 1)),
            form: Form::Message,
            reason: format!("the engine refuses readings: {why}"),
            raw: sitian_wire::encode_batch(&batch),
            at: now,
        })
    }
}

/// What of a transaction is kept in the store's file: all but its rows.
pub fn without_rows(transaction: &Transaction) -> Transaction {
    let kept = transaction.effects.iter().filter(|effect| !matches!(effect, Effect::Rows(_)));
    Transaction {
        effects: kept.cloned().collect(),
        alerts: transaction.alerts.clone(),
        alert_state: transaction.alert_state.clone(),
        at: transaction.at,
    }
}
