//! A small network for fault campaigns: one gateway that polls a [`Counter`] ten times a second, Mosquitto, the ingestor,
//! and the oracle over all of them. Spool and store stand where the test says.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::oracle::{Accepted, Stored, Verdict};
use crate::tally::night;
use crate::{Counter, Gateway, Ingestor, Mosquitto, counter, wait_for};

/// The gateway's id, which is its base's as well.
pub const BASE: &str = "dangzhai-01";

/// How a rig is set up; the default is as small as it can be.
#[derive(Debug, Clone)]
pub struct Plan {
    /// 32-bit points of the device.
    pub points: usize,
    /// The spool's folder; inside the rig's own if relative.
    pub spool: PathBuf,
    /// The store's folder; inside the rig's own if relative.
    pub store: PathBuf,
    /// Further settings of the gateway: whole sections, or lines of `[spool]` where they open the text.
    pub more: String,
    /// After one and a half of this silence the broker gives the gateway up.
    pub keep_alive_s: u16,
    /// Further `--set` settings of the ingestor.
    pub ingestor: Vec<String>,
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            points: 1,
            spool: "spool".into(),
            store: ".".into(),
            more: String::new(),
            keep_alive_s: 20,
            ingestor: Vec::new(),
        }
    }
}

/// The network.
pub struct Rig {
    /// Where everything is logged and configured; never faulted.
    pub folder: TempDir,
    /// The broker.
    pub broker: Mosquitto,
    /// The centre.
    pub ingestor: Ingestor,
    /// The edge.
    pub gateway: Gateway,
    /// The field.
    pub counter: Counter,
    /// What the gateway accepted.
    pub accepted: Accepted,
    points: usize,
}

impl Rig {
    /// Starts all parts in `folder`.
    pub fn start(folder: TempDir, plan: &Plan) -> Self {
        let here = folder.path();
        let broker = Mosquitto::start(here);
        let store = here.join(&plan.store).join("centre.db");
        let mut settings = vec![format!("storage.path={}", store.display())];
        settings.extend_from_slice(&plan.ingestor);
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        let ingestor = Ingestor::start(here, Some(&broker), &settings);
        let counter = Counter::start();
        let config = configuration(here, plan, broker.port, counter.port);
        let gateway = Gateway::start(here, &config);
        let accepted = Accepted::of(here);
        Self { broker, ingestor, gateway, counter, accepted, points: plan.points, folder }
    }

    /// Waits until the gateway has accepted so many records more; a minute without one is too long.
    pub fn accepts(&mut self, more: usize) {
        let mut seen = self.accepted.read();
        let (enough, mut moved) = (seen + more, Instant::now());
        while seen < enough {
            self.gateway.program.expect_alive();
            let now = self.accepted.read();
            if now > seen {
                (seen, moved) = (now, Instant::now());
            }
            let late = moved.elapsed() > Duration::from_secs(60);
            assert!(!late, "the gateway does not accept:\n{}", self.gateway.program.last_output());
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }

    /// `kill -9` of the gateway and a fresh start on the same spool, under strace with these rules if there are any.
    pub fn restart_gateway(&mut self, rules: &[&str]) {
        let under =
            if rules.is_empty() { Vec::new() } else { crate::strace::inject(self.folder.path(), rules) };
        self.gateway.program.kill();
        self.gateway.start_again_under(&under.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// Freezes the gateway until the broker has given it up, and lets it go on: only its own link is made anew. Wants a
    /// small [`Plan::keep_alive_s`].
    pub fn reconnect_gateway(&mut self) {
        let count = |text: String, words: &str| text.matches(words).count();
        let (lost, up) = ("has exceeded timeout", "run: link to the broker is up");
        let before = (count(self.broker.program.output(), lost), count(self.gateway.program.output(), up));
        self.gateway.program.signal("STOP");
        wait_for("the broker giving the gateway up", 30, || {
            (count(self.broker.program.output(), lost) > before.0).then_some(())
        });
        self.gateway.program.signal("CONT");
        wait_for("the gateway connecting again", 30, || {
            (count(self.gateway.program.output(), up) > before.1).then_some(())
        });
    }

    /// Waits until everything that was accepted so far is stored or a committed gap, or nothing more has come for `most_s`
    /// seconds; judges what is stored.
    pub fn settle(&mut self, most_s: u64) -> (Verdict, Stored) {
        self.accepted.read();
        let accepted = self.accepted.labels.clone();
        let (mut fewest, mut since) = (usize::MAX, Instant::now());
        let stored = loop {
            let stored = self.stored();
            let labels = stored.labels();
            let open = |label: &&_| !labels.contains(*label) && !Stored::gone(label, &stored.gaps);
            let missing: Vec<_> = accepted.iter().filter(open).collect();
            if missing.len() < fewest {
                (fewest, since) = (missing.len(), Instant::now());
            }
            let late = since.elapsed() > Duration::from_secs(most_s);
            if missing.is_empty() || late {
                if late {
                    println!(
                        "{fewest} of {} accepted records are missing {most_s} s after the last one came: {missing:?}",
                        accepted.len()
                    );
                }
                break stored;
            }
            std::thread::park_timeout(Duration::from_millis(200));
        };
        (stored.judge(&accepted, self.counter.reads()), stored)
    }

    /// How far the centre has acknowledged what the gateway accepted, by the gateway's log: the highest count of an epoch.
    pub fn acknowledged(&self) -> u64 {
        let log = self.gateway.program.output();
        let acks = log.lines().filter(|line| line.contains(" ack epoch="));
        let count = |line: &str| line.split("committed=").nth(1)?.split_whitespace().next()?.parse().ok();
        acks.filter_map(count).max().unwrap_or_default()
    }

    /// What the centre has.
    pub fn stored(&self) -> Stored {
        let rows = |n| self.ingestor.readings(&format!("{BASE}/counter-1/p{n}"));
        Stored { points: (0..self.points).map(rows).collect(), gaps: self.ingestor.gaps() }
    }

    /// How many incidents of a kind the centre shows.
    pub fn incidents(&self, kind: &str) -> usize {
        self.ingestor.incidents().iter().filter(|incident| incident["kind"] == kind).count()
    }
}

impl Drop for Rig {
    /// What a night found is kept for the morning.
    fn drop(&mut self) {
        self.folder.disable_cleanup(night() && std::thread::panicking());
    }
}

fn configuration(folder: &Path, plan: &Plan, mqtt: u16, field: u16) -> String {
    let profiles = folder.join("profiles");
    std::fs::create_dir_all(&profiles).expect("a fresh folder");
    std::fs::write(profiles.join("counter.toml"), counter::profile(plan.points)).expect("a fresh folder");
    format!(
        "[gateway]\nid = \"{BASE}\"\n[mqtt]\nport = {mqtt}\nkeep_alive_s = {}\n[profiles]\ndirectory = \"profiles\"\n[log]\nlevel = \"debug\"\n\
         [spool]\ndirectory = \"{}\"\n{}\n[[bus]]\nname = \"a\"\nkind = \"tcp\"\nhost = \"127.0.0.1\"\nport = {field}\npause_ms = 0\n\
         [[device]]\nid = \"counter-1\"\nname = \"计数器\"\nbus = \"a\"\nprofile = \"test-counter\"\ninterval_s = 0.1\n",
        plan.keep_alive_s,
        plan.spool.display(),
        plan.more
    )
}
