//! What the runbook's alerts and the dashboards make of figures that are known, in an engine of their language.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;
use sitian_tests_system::{Victoria, get, wait_for};

use crate::{dashboards, list, percent, root, seconds, word};

/// How often figures are fetched, and how long each world lasts.
const STEP_S: i64 = 15;
const WORLD_S: i64 = 7_200;

/// The figures of one moment, by name and labels.
type Figures = BTreeMap<&'static str, f64>;

/// An ingestor at work, so many seconds after its start.
fn healthy(age_s: i64) -> Figures {
    let steps = (age_s / STEP_S) as f64;
    Figures::from([
        ("sitian_build_info{version=\"1\"}", 1.0),
        ("sitian_storage_healthy", 1.0),
        ("sitian_broker_link_up", 1.0),
        ("sitian_gateways{county=\"gaotai\",state=\"online\"}", 3.0),
        ("sitian_gateways{county=\"gaotai\",state=\"offline\"}", 1.0),
        ("sitian_gateways{county=\"minle\",state=\"online\"}", 2.0),
        ("sitian_readings_stored_total", 150.0 * steps),
        ("sitian_commit_duration_seconds_bucket{le=\"0.01\"}", 0.0),
        ("sitian_commit_duration_seconds_bucket{le=\"0.025\"}", 15.0 * steps),
        ("sitian_commit_duration_seconds_bucket{le=\"1\"}", 15.0 * steps),
        ("sitian_commit_duration_seconds_bucket{le=\"2.5\"}", 15.0 * steps),
        ("sitian_commit_duration_seconds_bucket{le=\"+Inf\"}", 15.0 * steps),
        ("sitian_commit_failures_total", 0.0),
        ("sitian_messages_refused_total{reason=\"poison\"}", 0.0),
        ("sitian_messages_refused_total{reason=\"slow\"}", 0.0),
        ("sitian_incidents_total{kind=\"clone\"}", 0.0),
        ("sitian_completeness_1h_ratio{county=\"gaotai\"}", 0.99),
        ("sitian_completeness_1h_ratio{county=\"minle\"}", 1.0),
        ("sitian_quarantine_entries", 2.0),
        ("sitian_alerts_firing{severity=\"red\"}", 1.0),
        ("sitian_alerts_firing{severity=\"yellow\"}", 2.0),
        ("sitian_store_size_bytes{file=\"data\"}", 1_000.0),
        ("sitian_store_size_bytes{file=\"log\"}", 50.0),
        ("sitian_asks_waiting", 1.0),
        ("sitian_asks_waiting_limit", 4.0),
        ("process_resident_memory_bytes", 5e7),
        ("process_cpu_seconds_total", 3.0 * steps),
    ])
}

/// An engine with nothing in it but what a test puts there.
struct Engine {
    url: String,
    _running: Victoria,
    _folder: tempfile::TempDir,
}

impl Engine {
    fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let running = Victoria::start(folder.path());
        let url = running.settings()[1].trim_start_matches("storage.url=").to_owned();
        Self { url, _running: running, _folder: folder }
    }

    /// Takes the figures of a world that ended at a moment, in seconds, as they are scraped.
    fn scrape(&self, end_s: i64, figures: impl Fn(i64) -> Figures) {
        let mut text = String::new();
        for age_s in (0..=WORLD_S).step_by(STEP_S as usize) {
            for (series, number) in figures(age_s) {
                let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
                let scraped = "instance=\"127.0.0.1:8340\",job=\"sitian\"";
                let labels = format!("{{{scraped},{labels}").replace(",}", "}");
                text += &format!("{name}{labels} {number} {}\n", (end_s - WORLD_S + age_s) * 1_000);
            }
        }
        self.import(text);
    }

    fn import(&self, text: String) {
        ureq::post(format!("{}/api/v1/import/prometheus", self.url)).send(text).expect("takes the figures");
    }

    /// All that was imported can be asked for afterwards.
    fn flush(&self, known: &str, at_s: i64) {
        ureq::get(format!("{}/internal/force_flush", self.url)).call().expect("flushes");
        wait_for("the engine knowing the figures", 60, || {
            (!self.ask(known, at_s, at_s, STEP_S).is_empty()).then_some(())
        });
    }

    /// Labels and numbers by moment of every series of an answer.
    fn ask(&self, query: &str, start_s: i64, end_s: i64, step_s: i64) -> Vec<(Value, BTreeMap<i64, f64>)> {
        let path = format!(
            "{}/api/v1/query_range?query={}&start={start_s}&end={end_s}&step={step_s}&nocache=1",
            self.url,
            percent(query)
        );
        let answer = get(&path).unwrap_or_else(|| panic!("refused: {query}"));
        let series = list(&answer, "/data/result").map(|one| {
            let number = |pair: &Value| {
                (pair[0].as_i64().expect("seconds"), word(pair, "/1").parse().expect("a number"))
            };
            (one["metric"].clone(), list(one, "/values").map(number).collect())
        });
        series.collect()
    }
}

/// A whole minute, some hours ago: nothing of it is kept back.
fn ended(worlds_ago: usize) -> i64 {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs() as i64;
    now_s / 3_600 * 3_600 - 6 * 3_600 * (worlds_ago as i64 + 1)
}

/// An alert of the runbook.
#[derive(Debug)]
pub struct Alert {
    name: String,
    pub expr: String,
    for_s: i64,
}

/// The runbook's rules.
pub fn alerts() -> Vec<Alert> {
    let text = std::fs::read_to_string(root().join("deploy/runbook.md")).expect("the runbook");
    let rules =
        text.split("```yaml\ngroups:").nth(1).and_then(|rest| rest.split("```").next()).expect("rules");
    let of = |rule: &str, key: &str| {
        let line = rule.lines().find_map(|line| line.trim().strip_prefix(key));
        line.map(|text| text.split(" # ").next().unwrap_or_default().trim().to_owned())
    };
    let mut alerts = Vec::new();
    for rule in rules.split("- alert:").skip(1) {
        let name = rule.split_whitespace().next().expect("a name").to_owned();
        let for_s = of(rule, "for:").map_or(0, |text| seconds(&text));
        alerts.push(Alert { name, expr: of(rule, "expr:").expect("an expression"), for_s });
    }
    alerts
}

/// What happened to a healthy ingestor; the second number says how many seconds before the end of its world.
type Trouble = fn(&mut Figures, i64);

fn set(figures: &mut Figures, series: &'static str, number: f64) {
    assert!(figures.insert(series, number).is_some(), "{series} is no figure");
}

/// What happens, and which alert fires of it.
const TROUBLES: [(&str, Trouble, Option<&str>); 14] = [
    ("nothing", |_, _| {}, None),
    (
        "the store refuses",
        |f, left_s| {
            if left_s < 300 {
                set(f, "sitian_storage_healthy", 0.0)
            }
        },
        Some("SitianStoreRefuses"),
    ),
    (
        "the store refused for half a minute",
        |f, left_s| {
            if (60..90).contains(&left_s) {
                set(f, "sitian_storage_healthy", 0.0)
            }
        },
        None,
    ),
    (
        "the broker is away",
        |f, left_s| {
            if left_s < 600 {
                set(f, "sitian_broker_link_up", 0.0)
            }
        },
        Some("SitianBrokerAway"),
    ),
    (
        "the broker was away for a minute",
        |f, left_s| {
            if left_s < 60 {
                set(f, "sitian_broker_link_up", 0.0)
            }
        },
        None,
    ),
    ("nothing is stored", nothing_stored, Some("SitianNothingStored")),
    (
        "nothing is stored, and no gateway is there",
        |f, left_s| {
            nothing_stored(f, left_s);
            set(f, "sitian_gateways{county=\"gaotai\",state=\"online\"}", 0.0);
            set(f, "sitian_gateways{county=\"minle\",state=\"online\"}", 0.0);
        },
        None,
    ),
    (
        "a restart",
        |f, left_s| {
            if left_s < 900 {
                *f = healthy(900 - left_s)
            }
        },
        None,
    ),
    (
        "slow commits",
        |f, left_s| {
            let before = 15.0 * ((WORLD_S - left_s.max(1_800)) / STEP_S) as f64;
            set(f, "sitian_commit_duration_seconds_bucket{le=\"0.025\"}", before);
            set(f, "sitian_commit_duration_seconds_bucket{le=\"1\"}", before);
        },
        Some("SitianCommitsSlow"),
    ),
    (
        "one slow commit of many",
        |f, left_s| {
            if left_s < 1_800 {
                let commits = f["sitian_commit_duration_seconds_bucket{le=\"1\"}"];
                set(f, "sitian_commit_duration_seconds_bucket{le=\"0.025\"}", commits - 1.0);
                set(f, "sitian_commit_duration_seconds_bucket{le=\"1\"}", commits - 1.0);
            }
        },
        None,
    ),
    (
        "a county is incomplete",
        |f, left_s| {
            if left_s < 2_400 {
                set(f, "sitian_completeness_1h_ratio{county=\"minle\"}", 0.9)
            }
        },
        Some("SitianCountyIncomplete"),
    ),
    (
        "a county was incomplete",
        |f, left_s| {
            if (600..3_000).contains(&left_s) {
                set(f, "sitian_completeness_1h_ratio{county=\"minle\"}", 0.9)
            }
        },
        None,
    ),
    (
        "the quarantine grew",
        |f, left_s| {
            if left_s < 1_800 {
                set(f, "sitian_quarantine_entries", 3.0)
            }
        },
        Some("SitianQuarantineGrows"),
    ),
    (
        "the quarantine was read",
        |f, left_s| {
            if left_s < 1_800 {
                set(f, "sitian_quarantine_entries", 0.0)
            }
        },
        None,
    ),
];

fn nothing_stored(figures: &mut Figures, left_s: i64) {
    set(figures, "sitian_readings_stored_total", 150.0 * ((WORLD_S - left_s.max(900)) / STEP_S) as f64);
}

#[test]
fn every_alert_of_the_runbook_fires_of_its_trouble_and_of_no_other() {
    let (engine, alerts) = (Engine::start(), alerts());
    assert!(alerts.len() >= 6, "{alerts:?}");
    for (n, (_, trouble, _)) in TROUBLES.iter().enumerate() {
        engine.scrape(ended(n), |age_s| {
            let mut figures = healthy(age_s);
            trouble(&mut figures, WORLD_S - age_s);
            figures
        });
    }
    engine.flush("sitian_storage_healthy", ended(TROUBLES.len() - 1));
    let mut fired = BTreeSet::new();
    for (n, (what, _, expected)) in TROUBLES.iter().enumerate() {
        for Alert { name, expr, for_s } in &alerts {
            // It fires if it was pending all the time.
            let pending = engine.ask(expr, ended(n) - for_s, ended(n), STEP_S);
            let fires = pending.iter().any(|(_, moments)| moments.len() as i64 == for_s / STEP_S + 1);
            assert_eq!(fires, Some(name.as_str()) == *expected, "{name}, {what}: {pending:?}");
            fired.extend(fires.then_some(name));
        }
    }
    assert_eq!(fired.len(), alerts.len(), "only {fired:?} ever fired");
}

/// Readings of two hours: two bases of a county are read in turn, every ten minutes each; a third one elsewhere every ten
/// seconds; of the tank beside the first, one reading of six is bad.
fn readings(end_s: i64) -> String {
    let mut text = String::new();
    let mut put = |who: &str, at_s: i64, value: f64, quality: u8| {
        let at_ms = at_s * 1_000;
        text += &format!("reading_quality{{{who}}} {quality} {at_ms}\n");
        if quality < 128 {
            text += &format!("reading_value{{{who}}} {value} {at_ms}\n");
        }
    };
    let soil = |county: &str, base: &str| {
        format!(
            "county=\"{county}\",base=\"{base}\",gateway=\"{base}-1\",device=\"soil\",point=\"m1\",measurement=\"soil_moisture\",unit=\"%\""
        )
    };
    let tank = |gateway: &str| {
        format!(
            "county=\"gaotai\",base=\"a\",gateway=\"{gateway}\",device=\"tank\",point=\"level\",measurement=\"water_level\",unit=\"m\""
        )
    };
    for at_s in (end_s - WORLD_S..=end_s).step_by(10) {
        match at_s % 600 {
            0 => put(&soil("gaotai", "a"), at_s, 10.0, 0),
            300 => put(&soil("gaotai", "b"), at_s, 30.0, 0),
            _ => {}
        }
        put(&soil("minle", "c"), at_s, 5.0, 0);
        put(&tank("a-1"), at_s, 2.0, if at_s % 60 == 0 { 132 } else { 0 });
        put(&tank("a-2"), at_s, 2.0, 0);
    }
    text
}

/// What a panel shows: the same all the time, or so much altogether.
enum Shows {
    Always(&'static [(&'static str, f64)]),
    Altogether(&'static [(&'static str, f64)]),
}
use Shows::{Altogether, Always};

/// Words of a panel's title, and its lines by their legends.
const PANELS: [(&str, Shows); 19] = [
    ("Store healthy", Always(&[("", 1.0)])),
    ("Broker link", Always(&[("", 1.0)])),
    ("Gateways online", Always(&[("", 5.0)])),
    ("Gateways offline", Always(&[("", 1.0)])),
    ("Red alerts", Always(&[("", 1.0)])),
    ("In quarantine", Always(&[("", 2.0)])),
    ("Readings stored", Always(&[("读数 readings", 10.0)])),
    ("Commit duration", Always(&[("p50", 0.0175), ("p99", 0.024_85)])),
    ("Completeness of the last hour", Always(&[("gaotai", 0.99), ("minle", 1.0)])),
    ("网关 Gateways", Always(&[("online", 5.0), ("offline", 1.0)])),
    ("Alerts firing", Always(&[("red", 1.0), ("yellow", 2.0)])),
    ("Messages refused", Altogether(&[("poison", 3.0), ("slow", 0.0), ("commit_failed", 1.0)])),
    ("Incidents", Altogether(&[("clone", 2.0)])),
    ("Disk", Always(&[("data", 1_000.0), ("log", 50.0)])),
    ("Memory", Always(&[("127.0.0.1:8340", 5e7)])),
    (
        "CPU and queue",
        Always(&[("CPU 核 cores 127.0.0.1:8340", 0.2), ("队列占比 queue 127.0.0.1:8340", 0.25)]),
    ),
    ("$base · $measurement", Always(&[("a-1 soil m1 %", 10.0)])),
    ("by county", Always(&[("gaotai", 20.0), ("minle", 5.0)])),
    ("Readings without a value", Always(&[("a-1 soil", 0.0), ("a-1 tank", 1.0), ("a-2 tank", 0.0)])),
];

/// A series as its legend calls it.
fn legend(format: &str, labels: &Value) -> String {
    let mut text = format.to_owned();
    for (label, value) in labels.as_object().into_iter().flatten() {
        text = text.replace(&format!("{{{{{label}}}}}"), value.as_str().unwrap_or_default());
    }
    assert!(!text.contains("{{"), "{format} names a label that is not in {labels}");
    text
}

#[test]
fn every_panel_shows_the_values_that_are_there() {
    let (engine, end_s) = (Engine::start(), ended(0));
    engine.scrape(end_s, |age_s| {
        let mut figures = healthy(age_s);
        if age_s > 4_500 {
            set(&mut figures, "sitian_messages_refused_total{reason=\"poison\"}", 3.0);
            set(&mut figures, "sitian_commit_failures_total", 1.0);
            set(&mut figures, "sitian_incidents_total{kind=\"clone\"}", 2.0);
        }
        figures
    });
    // Another program that is watched on the same machine, and the ingestor's readings.
    let other = "{job=\"node\",instance=\"127.0.0.1:9100\"}";
    engine.import(format!(
        "process_resident_memory_bytes{other} 7 {0}\nprocess_cpu_seconds_total{other} 1 {0}\n",
        end_s * 1_000
    ));
    engine.import(readings(end_s));
    engine.flush("sitian_storage_healthy and on () reading_value{base=\"c\"}", end_s);
    let mut left: BTreeSet<&str> = PANELS.iter().map(|(title, _)| *title).collect();
    for (name, dashboard) in &dashboards() {
        for panel in
            list(dashboard, "/panels").filter(|panel| word(panel, "/datasource/uid") == "sitian-health")
        {
            let title = word(panel, "/title");
            let (known, shows) = PANELS
                .iter()
                .find(|(words, _)| title.contains(words))
                .unwrap_or_else(|| panic!("{name}: {title} is not known here"));
            assert!(left.remove(known), "{name}: {title} is there twice");
            let step_s = crate::interval_s(panel);
            let mut found: BTreeMap<String, BTreeMap<i64, f64>> = BTreeMap::new();
            for target in list(panel, "/targets") {
                let query = crate::question(panel, target, "a", "soil_moisture");
                // The first hour is for what looks back.
                let start_s = end_s - WORLD_S / 2 + if step_s > 60 { step_s } else { 0 };
                for (labels, moments) in engine.ask(&query, start_s, end_s, step_s) {
                    let before = found.insert(legend(word(target, "/legendFormat"), &labels), moments);
                    assert!(before.is_none(), "{name}, {title}: two lines of one name: {labels}");
                }
            }
            let (expected, altogether) = match shows {
                Always(lines) => (lines, false),
                Altogether(lines) => (lines, true),
            };
            let names: BTreeSet<&str> = expected.iter().map(|(name, _)| *name).collect();
            assert_eq!(found.keys().map(String::as_str).collect::<BTreeSet<_>>(), names, "{name}, {title}");
            for (line, number) in expected.iter() {
                let moments = &found[*line];
                let seen: Vec<f64> = if altogether {
                    vec![moments.values().sum()]
                } else {
                    moments.values().copied().collect()
                };
                let right = |seen: &f64| (seen - number).abs() <= 1e-9 * number.abs().max(1.0);
                assert!(
                    !seen.is_empty() && seen.iter().all(right),
                    "{name}, {title}, {line}: {seen:?} instead of {number}"
                );
            }
        }
    }
    assert!(left.is_empty(), "no panel shows {left:?}");
}
