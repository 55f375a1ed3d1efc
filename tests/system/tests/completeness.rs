//! The completeness ledger against the field: every reason for which a reading can be missing is forced, in real processes,
//! and the API names it for the point and the hour with its count; what bases lack adds up in towns, counties and the city.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use sitian_model::{
    Batch, DeviceId, DeviceInfo, Entry, Epoch, GatewayId, Lane, Manifest, PointInfo, PointKey, Quality,
    Reading, Record, SpoolState, Timestamp,
};
use sitian_tests_system::fake_clock::{FakeClock, another_boot, words};
use sitian_tests_system::oracle::{Accepted, Label, Stored};
use sitian_tests_system::packets::{Client, Message};
use sitian_tests_system::truth::{moment, unix_ms};
use sitian_tests_system::{Card, Counter, Gateway, Ingestor, Mosquitto, counter, get, wait_for};

const STEP_MS: i64 = 500;
/// The interval of the device that is too slow for it.
const HASTE_MS: i64 = 100;
/// The gateway that is played by the test.
const PLAYED: &str = "xinba-01";
const BASES: [&str; 5] = ["dangzhai-01", "dangzhai-02", "liaoquan-01", "heiquan-01", PLAYED];

/// A device on a socket of its own: what it answers to a request, if anything.
fn device(answer: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let port = listener.local_addr().expect("a bound socket").port();
    let answer = std::sync::Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let answer = answer.clone();
            std::thread::spawn(move || serve(stream, &*answer));
        }
    });
    port
}

fn serve(mut stream: TcpStream, answer: &dyn Fn(&[u8]) -> Option<Vec<u8>>) {
    let mut request = [0; 64];
    while let Ok(n @ 1..) = stream.read(&mut request) {
        if let Some(reply) = answer(&request[..n])
            && stream.write_all(&reply).is_err()
        {
            return;
        }
    }
}

/// Modbus TCP: two registers that hold 7.
fn seven(request: &[u8]) -> Vec<u8> {
    let mut reply = request[..4].to_vec();
    reply.extend([0, 7, request[6], request[7], 4, 0, 0, 0, 7]);
    reply
}

/// Modbus RTU: the same under a wrong checksum.
fn garbage(request: &[u8]) -> Vec<u8> {
    vec![request[0], request[1], 4, 0, 0, 0, 7, 0xBA, 0xD0]
}

/// A gateway at work in a folder of its own.
struct Edge {
    id: &'static str,
    folder: tempfile::TempDir,
    gateway: Gateway,
    accepted: Accepted,
    buses: String,
}

impl Edge {
    /// With its spool in this folder; in its own if relative.
    fn start(id: &'static str, broker: u16, spool: &Path, buses: &str) -> Self {
        let buses = format!("[spool]\ndirectory = \"{}\"\nkeep_hours = 0\n{buses}", spool.display());
        let folder = tempfile::tempdir().expect("a temporary folder");
        let profiles = folder.path().join("profiles");
        std::fs::create_dir_all(&profiles).expect("a fresh folder");
        std::fs::write(profiles.join("counter.toml"), counter::profile(1)).expect("a fresh folder");
        let gateway = Gateway::start(folder.path(), &configuration(id, broker, &buses));
        let accepted = Accepted::of(folder.path());
        Self { id, folder, gateway, accepted, buses }
    }

    /// `kill -9`, and a start on the same spool with a broker at this port.
    fn restart(&mut self, broker: u16) {
        self.gateway.program.kill();
        self.gateway.start_again_with(&configuration(self.id, broker, &self.buses));
    }

    fn accepts(&mut self, more: usize) {
        let enough = self.accepted.read() + more;
        wait_for("records accepted", 60, || {
            self.gateway.program.expect_alive();
            (self.accepted.read() >= enough).then_some(())
        });
    }
}

/// The link is dead if nobody listens at the broker's port.
fn configuration(id: &str, broker: u16, buses: &str) -> String {
    format!(
        "[gateway]\nid = \"{id}\"\n[mqtt]\nport = {broker}\n[profiles]\ndirectory = \"profiles\"\n\
         [log]\nlevel = \"debug\"\n{buses}"
    )
}

fn bus(name: &str, kind: &str, port: u16, interval_s: f64, more: &str) -> String {
    format!(
        "[[bus]]\nname = \"{name}\"\nkind = \"{kind}\"\nhost = \"127.0.0.1\"\nport = {port}\npause_ms = 0\ntimeout_ms = 400\n\
         [[device]]\nid = \"{name}\"\nname = \"{name}\"\nbus = \"{name}\"\nprofile = \"test-counter\"\n\
         interval_s = {interval_s}\n{more}"
    )
}

/// Publishes a record every half second as a gateway would; four of them are noise. Ends when it is told to.
fn play(broker: u16, records: &std::sync::mpsc::Receiver<()>) {
    let text = String::new;
    let id = DeviceId::new("played").expect("an id");
    let device = DeviceInfo { id, name: text(), place: text(), profile: text(), bus: text() };
    let point = PointInfo {
        device: 0,
        key: PointKey::new("p0").expect("a key"),
        measurement: "device_status".into(),
        unit: text(),
        decimals: 0,
        interval_ms: STEP_MS as u32,
    };
    let gateway = GatewayId::new(PLAYED).expect("an id");
    let manifest = Manifest { gateway, software: text(), devices: vec![device], points: vec![point] };
    let epoch = Epoch(std::array::from_fn(|_| fastrand::u8(..)));
    let mut client = Client::connect(broker, "played");
    let topic = |kind: &str| format!("sitian/v1/{PLAYED}/{kind}");
    client.publish(&Message {
        topic: topic("manifest"),
        payload: sitian_wire::encode_manifest(&epoch, &manifest),
    });
    let (began_ms, mut chain) = (unix_ms(), 0);
    for n in 0.. {
        let at = Timestamp(began_ms + n as i64 * STEP_MS);
        let pause = Duration::from_millis((at.0 - unix_ms()).max(1) as u64);
        if records.recv_timeout(pause).is_ok() {
            return;
        }
        let reading = Reading { point: 0, at, value: Some(7.0), quality: Quality::Good };
        let record = Record { boot: 7, mono_ms: 1, uncertainty_ms: Some(1), readings: vec![reading] };
        let noise = (12..16).contains(&n);
        let payload = if noise { vec![0xEE; 40] } else { sitian_wire::encode_record(&record) };
        let next = crc32c::crc32c_append(chain, &payload);
        let batch = Batch {
            epoch,
            first: n,
            entries: vec![Entry::Record(payload)],
            chain,
            acked: 0,
            oldest: 0,
            held: Vec::new(),
            clocks: Vec::new(),
            lane: Lane::Live,
            spool: SpoolState::default(),
        };
        chain = next;
        client.publish(&Message { topic: topic("up"), payload: sitian_wire::encode_batch(&batch) });
    }
}

/// What the API says of the hour, or of two if the test began in one and ended in the next.
struct Ledger<'a> {
    centre: &'a Ingestor,
    from_ms: i64,
    to_ms: i64,
    /// Nobody was there before this.
    began_ms: i64,
    /// Everybody was there from here on.
    there_ms: i64,
}

type Counts = BTreeMap<String, u64>;

fn time(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(ms).expect("a moment").to_string()
}

fn counts(value: &Value) -> Counts {
    value
        .as_object()
        .expect("counts")
        .iter()
        .map(|(why, n)| (why.clone(), n.as_u64().expect("a count")))
        .collect()
}

fn sum(all: impl IntoIterator<Item = Counts>) -> Counts {
    let mut sum = Counts::new();
    all.into_iter().flatten().for_each(|(why, n)| *sum.entry(why).or_default() += n);
    sum
}

impl Ledger<'_> {
    fn ask(&self, question: &str) -> Vec<Value> {
        let (from, to) = (time(self.from_ms), time(self.to_ms));
        let url = self.centre.url(&format!("{question}from={from}&to={to}&window=1h"));
        let answer = get(&url).unwrap_or_else(|| panic!("an answer to {url}"));
        answer["items"].as_array().expect("items").clone()
    }

    /// Why readings of a point are missing.
    fn of_point(&self, point: &str) -> Counts {
        sum(self.ask(&format!("points/{point}/aggregates?")).iter().map(|hour| counts(&hour["missing"])))
    }

    /// Readings of a point that were due.
    fn due(&self, point: &str, interval_ms: i64) -> u64 {
        let hours = self.ask(&format!("points/{point}/aggregates?"));
        let due: u64 = hours.iter().filter_map(|hour| hour["expected"].as_u64()).sum();
        let within = |from_ms: i64| ((self.to_ms - from_ms) / interval_ms) as u64;
        let bounds = within(self.there_ms)..=within(self.began_ms) + 1;
        assert!(bounds.contains(&due), "{point}: {due} due, {bounds:?} by the clock");
        due
    }

    /// Expected, stored, missing and doubtful readings of a place and of those directly below it.
    fn of_place(&self, scope: &str) -> BTreeMap<String, (u64, u64, Counts, Counts)> {
        let mut places: BTreeMap<String, (u64, u64, Counts, Counts)> = BTreeMap::new();
        for hour in self.ask(&format!("completeness?scope={scope}&depth=1&")) {
            let place = places.entry(hour["id"].as_str().expect("an id").to_owned()).or_default();
            place.0 += hour["expected"].as_u64().expect("a count");
            place.1 += hour["stored"].as_u64().expect("a count");
            place.2 = sum([std::mem::take(&mut place.2), counts(&hour["missing"])]);
            place.3 = sum([std::mem::take(&mut place.3), counts(&hour["doubtful"])]);
        }
        places
    }

    /// The stored rows of a point: with a value, and without one by cause.
    fn rows(&self, point: &str) -> (u64, Counts) {
        let rows = self.centre.readings_between(point, &time(self.from_ms), &time(self.to_ms));
        let valued = rows.iter().filter(|row| !row["value"].is_null()).count() as u64;
        let bad = rows.iter().filter(|row| row["value"].is_null());
        let cause = |row: &Value| (row["cause"].as_str().expect("a cause").to_owned(), 1);
        (valued, sum(bad.map(|row| Counts::from([cause(row)]))))
    }
}

/// Waits until a gateway has sent everything up to a moment. What it says of its spool counts the records on their way.
fn drained(centre: &Ingestor, base: &str, until_ms: i64) {
    wait_for("nothing left in the spool", 120, || {
        let page = get(&centre.url(&format!("bases/{base}")))?;
        let newest = moment(&page["rollup"], "last_reading_at");
        let backlog = page["gateways"][0]["spool"]["backlog"].as_u64()?;
        (newest >= until_ms && backlog <= 20).then_some(())
    });
}

/// What the field did to one point.
struct Row {
    point: &'static str,
    interval_ms: i64,
    why: &'static str,
    /// How many readings are missing for that; as many as are missing at all, if the field cannot count them.
    many: Option<u64>,
    /// Reasons that may have a share besides, at restarts.
    beside: &'static [&'static str],
}

/// The network: a gateway with difficult devices, and others that are to be off, out of time or without room.
struct Network {
    broker: Mosquitto,
    centre: Ingestor,
    filling: Edge,
    off: Edge,
    lost_in_time: Edge,
    card: Result<Card, String>,
    /// Where nobody listens.
    nowhere: u16,
    began_ms: i64,
    _folder: tempfile::TempDir,
    _devices: Edge,
}

impl Network {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let broker = Mosquitto::start(folder.path());
        let centre = Ingestor::start(folder.path(), Some(&broker), &[]);
        let field = Counter::start();
        let nowhere = sitian_tests_system::program::free_port();
        let slow = |request: &[u8]| {
            std::thread::park_timeout(Duration::from_millis(250));
            Some(seven(request))
        };
        let adjust = "[[device.adjust]]\npoint = \"p0\"\nmin = 0\nmax = 1\n";
        let good = bus("good", "tcp", field.port, 0.5, "");
        let buses = [
            good.clone(),
            bus("silent", "tcp", device(|_| None), 0.5, ""),
            bus("garbled", "rtu_tcp", device(|request| Some(garbage(request))), 0.5, ""),
            bus("wild", "tcp", device(|request| Some(seven(request))), 0.5, adjust),
            bus("slow", "tcp", device(slow), 0.1, ""),
        ];
        let card = Card::tmpfs("size=9m");
        let here = Path::new("spool");
        let spool = card.as_ref().map_or(here.to_owned(), |card| card.path().join("spool"));
        let began_ms = unix_ms();
        Self {
            _devices: Edge::start("dangzhai-01", broker.port, here, &buses.concat()),
            filling: Edge::start("dangzhai-02", broker.port, &spool, &good),
            off: Edge::start("liaoquan-01", broker.port, here, &good),
            lost_in_time: Edge::start("heiquan-01", broker.port, here, &good),
            broker,
            centre,
            card,
            nowhere,
            began_ms,
            _folder: folder,
        }
    }

    /// Waits until every gateway has been heard; says when that was.
    fn wait_for_all(&mut self) -> i64 {
        for base in BASES {
            wait_for("a first reading", 60, || {
                let page = get(&self.centre.url(&format!("bases/{base}")))?;
                page["rollup"]["last_reading_at"].as_str().map(drop)
            });
        }
        let there_ms = unix_ms();
        self.edges().into_iter().for_each(|edge| edge.accepts(3));
        there_ms
    }

    fn edges(&mut self) -> [&mut Edge; 3] {
        [&mut self.filling, &mut self.off, &mut self.lost_in_time]
    }

    /// One boots in 1970 and never hears the time; says how many records it accepted, or why that cannot be done here.
    fn lose_time(&mut self) -> Result<u64, String> {
        let edge = &mut self.lost_in_time;
        edge.gateway.program.kill();
        edge.accepted.read();
        let before = edge.accepted.labels.len();
        let clock = FakeClock::find(edge.folder.path())?;
        clock.set(-unix_ms() / 1_000 + 3_600);
        let mut under = another_boot(edge.folder.path())?;
        under.extend(clock.under());
        let file = edge.folder.path().join("gateway.toml");
        std::fs::write(file, configuration(edge.id, self.nowhere, &edge.buses)).expect("a writable folder");
        edge.gateway.start_again_under(&words(&under));
        edge.accepts(8);
        edge.gateway.program.kill();
        edge.accepted.read();
        Ok((edge.accepted.labels.len() - before) as u64)
    }

    /// One has a full card and a dead link: each start wants a segment of its own.
    fn fill_card(&mut self) {
        let Ok(card) = &self.card else { return };
        self.filling.restart(self.nowhere);
        self.filling.accepts(2);
        let ballast = card.path().join("ballast");
        std::fs::create_dir(&ballast).expect("room for a folder");
        let full = (0..).find(|n| std::fs::write(ballast.join(n.to_string()), vec![1; 64 << 10]).is_err());
        assert!(full.is_some_and(|files| files > 3));
        for _ in 0..6 {
            self.filling.restart(self.nowhere);
            self.filling.accepts(2);
        }
        let _ = std::fs::remove_dir_all(&ballast);
    }

    /// All are well again; waits until what they kept is stored and the ledger counts it. Says up to when.
    fn heal(&mut self) -> i64 {
        let port = self.broker.port;
        for edge in self.edges() {
            edge.restart(port);
            edge.accepts(4);
        }
        let to_ms = unix_ms() / 1_000 * 1_000;
        self.edges().into_iter().for_each(|edge| edge.accepts(3));
        BASES[..4].iter().for_each(|base| drained(&self.centre, base, to_ms));
        let centre = &self.centre;
        // What was kept while the link was dead is stored, but for what was given up.
        for edge in [&mut self.filling, &mut self.off] {
            edge.accepts(1);
            wait_for("the backlog", 60, || {
                let rows = centre.readings(&format!("{}/good/p0", edge.id));
                let stored = Stored { points: vec![rows], gaps: centre.gaps() };
                let labels = stored.labels();
                let there = |label: &Label| labels.contains(label) || Stored::gone(label, &stored.gaps);
                edge.accepted.labels.iter().all(there).then_some(())
            });
        }
        // The API counts nothing younger than five seconds.
        wait_for("the ledger to be settled", 30, || (unix_ms() > to_ms + 6_000).then_some(()));
        to_ms
    }
}

#[test]
fn every_reason_for_a_missing_reading_is_named_with_its_count_and_adds_up_to_the_city() {
    let mut network = Network::start();
    let (end, records) = std::sync::mpsc::channel();
    let port = network.broker.port;
    let playing = std::thread::spawn(move || play(port, &records));
    let there_ms = network.wait_for_all();
    network.off.gateway.program.kill();
    let timeless = network.lose_time();
    network.fill_card();
    let to_ms = network.heal();
    end.send(()).expect("the player still plays");
    playing.join().expect("the player ends well");

    let Network { centre, began_ms, card, .. } = &network;
    let from_ms = began_ms - began_ms.rem_euclid(3_600_000);
    let ledger = Ledger { centre, from_ms, to_ms, began_ms: *began_ms, there_ms };
    let gaps: u64 = centre.gaps().iter().filter_map(|gap| gap["count"].as_u64()).sum();
    let point = |point, why| Row { point, interval_ms: STEP_MS, why, many: None, beside: &[] };
    let mut rows = vec![
        point("dangzhai-01/good/p0", ""),
        point("dangzhai-01/silent/p0", "timeout"),
        point("dangzhai-01/garbled/p0", "checksum"),
        point("dangzhai-01/wild/p0", ""),
        Row { interval_ms: HASTE_MS, ..point("dangzhai-01/slow/p0", "bus_overrun") },
        point("liaoquan-01/good/p0", "gateway_down"),
        Row { many: Some(4), ..point("xinba-01/played/p0", "quarantined") },
    ];
    let beside: &[&str] = &["gateway_down", "unknown"];
    match card {
        Ok(_) => rows.push(Row { many: Some(gaps), beside, ..point("dangzhai-02/good/p0", "evicted") }),
        Err(why) => println!("spool evicted: skipped: {why}"),
    }
    match timeless {
        Ok(many) => {
            rows.push(Row { many: Some(many), beside, ..point("heiquan-01/good/p0", "clock_unknown") })
        }
        Err(why) => println!("clock unknown: skipped: {why}"),
    }
    rows.iter().for_each(|row| check(&ledger, row));
    let wild = ledger.centre.readings_between("dangzhai-01/wild/p0", &time(from_ms), &time(to_ms));
    let wild = wild.iter().filter(|row| row["cause"] == "implausible").count() as u64;
    let devices = &ledger.of_place("dangzhai-01")["dangzhai-01"];
    assert_eq!(devices.3["implausible"], wild, "what cannot be is stored, and said to be so");
    adds_up(&ledger);
}

/// The ledger of a point says what is missing, all of it, and why.
fn check(ledger: &Ledger<'_>, row: &Row) {
    let (due, (valued, bad)) = (ledger.due(row.point, row.interval_ms), ledger.rows(row.point));
    let told = ledger.of_point(row.point);
    let missing = due.saturating_sub(valued);
    let note = format!("{}: {due} due, {valued} with a value, bad {bad:?}, told {told:?}", row.point);
    println!("{note}");
    // One reading more or less per hour is where the hour's edge fell.
    let near = |a: u64, b: u64, slack: u64| a.abs_diff(b) <= slack;
    assert!(near(told.values().sum(), missing, 2), "{note}");
    let of = |why: &str| told.get(why).copied().unwrap_or_default();
    assert!(
        told.keys().all(|why| why == row.why || row.beside.contains(&why.as_str())),
        "{note}: no other reason than {:?}",
        row.why
    );
    if row.why.is_empty() {
        return;
    }
    assert!(of(row.why) > 2, "{note}: there is something to tell");
    // Each restart moves the polls by a fraction of an interval.
    let slack = if row.why == "evicted" { 6 } else { 1 };
    match row.many {
        Some(many) => assert!(near(of(row.why), many, slack), "{note}: {many} {}", row.why),
        None => assert!(near(of(row.why), missing, 2), "{note}"),
    }
}

/// Every place is the sum of the places below it, down to the bases, and a base that of its points.
fn adds_up(ledger: &Ledger<'_>) {
    let nodes = get(&ledger.centre.url("tree")).expect("the tree");
    let nodes = nodes["items"].as_array().expect("nodes");
    let mut looked_at = 0;
    for node in nodes.iter().filter(|node| node["level"] != "base") {
        let id = node["id"].as_str().expect("an id");
        let mut places = ledger.of_place(id);
        let own = places.remove(id).unwrap_or_default();
        let below = places.into_values().fold(Default::default(), |all: (u64, u64, Counts, Counts), one| {
            (all.0 + one.0, all.1 + one.1, sum([all.2, one.2]), sum([all.3, one.3]))
        });
        assert_eq!(own, below, "{id}");
        assert_eq!(own.0, own.1 + own.2.values().sum::<u64>(), "{id}");
        looked_at += u32::from(own.0 > 0);
    }
    assert!(looked_at >= 6, "a city, its counties and towns have something to add up: {looked_at}");
    let points = ["good", "silent", "garbled", "wild", "slow"];
    let of_points = sum(points.map(|device| ledger.of_point(&format!("dangzhai-01/{device}/p0"))));
    let base = &ledger.of_place("dangzhai-01")["dangzhai-01"];
    assert_eq!(base.2, of_points, "a base is the sum of its points");
}
