//! The registry is in a PostgreSQL that is killed, kept away, killed in turn with the ingestor, while the readings are in a
//! VictoriaMetrics. The truth must come out all the same, alerts included, and people must be told meanwhile.

use serde_json::{Value, json};
use sitian_tests_system::counted::{Layout, WORDS};
use sitian_tests_system::postgres::Postgres;
use sitian_tests_system::program::{free_port, ours};
use sitian_tests_system::tally::{Fault, Harm, night, times};
use sitian_tests_system::{Counted, Ingestor, Victoria, get, post, wait_for};

/// Every point is below, from its first reading on.
const RULES: &str = r#"
[[rule]]
id = "low"
name = { zh = "低", en = "Low" }
kind = "below"
measurement = "device_status"
for = "0s"
levels = [{ severity = "blue", threshold = 1000000, clear = 2000000 }]
source = "tests/system"
verified = "U"
"#;
/// One alert for each point: the count and its words.
const ALERTS: usize = 1 + WORDS as usize;

struct Parts {
    engine: Victoria,
    database: Postgres,
    url: String,
    /// What else the ingestor has to know of it.
    more: Vec<String>,
    folder: tempfile::TempDir,
}

impl Parts {
    /// `None`, with a row that says why, where there is no server to be had.
    fn start(fault: &Fault) -> Option<Self> {
        if let Some(why) = Postgres::lacking() {
            fault.skipped(why);
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let database = Postgres::start()?;
        let url = database.database("centre");
        Some(Self { engine: Victoria::start(folder.path()), database, url, more: Vec::new(), folder })
    }

    /// As if the database were on another machine: over TCP, with a certificate that the ingestor asks for.
    fn encrypt(&mut self) {
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let (certificate, key) = (key.cert.pem(), key.signing_key.serialize_pem());
        let authority = self.folder.path().join("ca.pem");
        std::fs::write(&authority, &certificate).expect("a file");
        let certificate =
            format!("ssl_cert_file={}", self.database.give("server.pem", &certificate).display());
        let key = format!("ssl_key_file={}", self.database.give("server.key", &key).display());
        let port = self.database.listen(&["ssl=on", &certificate, &key]);
        self.url = format!("postgresql://sitian@localhost:{port}/centre");
        self.more = vec![format!("registry.ca_file={}", authority.display())];
    }

    fn network(&self) -> Counted {
        let mut settings = self.engine.settings().to_vec();
        settings.push("registry.kind=postgresql".to_owned());
        settings.push(format!("registry.url={}", self.url));
        settings.extend(self.more.iter().cloned());
        let rules = self.folder.path().join("rules");
        std::fs::create_dir_all(&rules).expect("a folder");
        std::fs::write(rules.join("test.toml"), RULES).expect("a file");
        settings.push(format!("alert.rules={}", rules.display()));
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        Counted::start(&Layout { ingestor: &settings, ..Layout::default() })
    }
}

/// What the API says of the centre.
fn is(network: &Counted, status: &str) {
    let what = format!("the API saying {status}");
    wait_for(&what, 120, || {
        let said = get(&network.ingestor.url("health"))?;
        (said["status"] == status).then_some(())
    });
}

/// The alerts, once all are there: their ids, and who took note of them.
fn alerts(ingestor: &Ingestor) -> Option<Vec<(String, Option<String>)>> {
    let open = get(&ingestor.url("alerts?phase=firing"))?;
    let one = |item: &Value| {
        let by = item.pointer("/acknowledged/by").and_then(|by| by.as_str()).map(str::to_owned);
        (item["id"].to_string().replace('"', ""), by)
    };
    let found: Vec<_> = open["items"].as_array()?.iter().map(one).collect();
    (found.len() >= ALERTS).then_some(found)
}

fn judge(network: &Counted, fault: &Fault, many: &str, note: &str) {
    let verdict = network.judge().wait_for_all(240);
    fault.came_to(many, verdict.harm, format!("{} readings; {note}", verdict.readings));
    assert_eq!(verdict.harm, Harm::default());
}

#[test]
fn a_database_that_is_away_in_mid_ingest_costs_nothing_and_people_are_told() {
    let fault = Fault {
        number: "F38",
        title: "database of the registry away in mid-ingest",
        injected: "kill -9 of PostgreSQL with all its processes, started again later",
    };
    let Some(mut parts) = Parts::start(&fault) else { return };
    let mut network = parts.network();
    network.progress(20);
    parts.database.kill();
    is(&network, "degraded");
    let before = network.stored();
    let away_s = if night() { 600 } else { 10 };
    network.poll_for(away_s);
    assert!(network.stored() - before <= 1.0, "nothing is shown that is not stored");
    parts.database.start_again();
    is(&network, "ok");
    network.progress(20);
    judge(&network, &fault, &format!("1 time, {away_s} s"), "the API said degraded meanwhile");
}

/// Its connections stay, its kernel confirms every byte, and nobody answers. A question is given up after 15 s.
#[test]
fn a_database_that_is_frozen_in_mid_ingest_costs_nothing_and_people_are_told_since_when() {
    let fault = Fault {
        number: "F38",
        title: "database of the registry frozen in mid-ingest, under TLS",
        injected: "SIGSTOP of PostgreSQL with all its processes, SIGCONT later",
    };
    let Some(mut parts) = Parts::start(&fault) else { return };
    parts.encrypt();
    let mut network = parts.network();
    network.progress(20);
    let encrypted = "SELECT count(*) > 0 AND bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid)
                     WHERE application_name = 'sitian-ingestor'";
    assert_eq!(parts.database.sql("centre", encrypted), "t");
    let (freezes, frozen_s) = if night() { (10, 120) } else { (1, 3) };
    for _ in 0..freezes {
        parts.database.freeze();
        is(&network, "degraded");
        let health = get(&network.ingestor.url("health")).expect("it answers meanwhile");
        assert_eq!(health["storage"]["why"], "the registry does not answer", "{health}");
        assert!(health["storage"]["since"].is_string(), "{health}");
        let before = network.stored();
        network.poll_for(frozen_s);
        assert!(network.stored() - before <= 1.0, "nothing is shown that is not stored");
        parts.database.thaw();
        is(&network, "ok");
        network.progress(20);
        let health = get(&network.ingestor.url("health")).expect("it answers");
        assert!(health["storage"]["since"].is_null() && health["storage"]["why"].is_null(), "{health}");
    }
    judge(
        &network,
        &fault,
        &format!("freezes: {freezes}"),
        "the API said that the registry did not answer, and since when",
    );
}

/// The operator's commands find the registry where it is, and another machine is told who keeps it.
#[test]
fn commands_and_other_machines_are_told_where_the_registry_is() {
    let fault = Fault {
        number: "F38",
        title: "second ingestor on one registry",
        injected: "a start on another machine",
    };
    let Some(parts) = Parts::start(&fault) else { return };
    let mut network = parts.network();
    network.progress(5);
    let engine = parts.engine.settings();
    let run = |words: &[&str], member: &str| {
        let mut command = ours("sitian-ingestor");
        command.args(words);
        let own = network.folder.path().join("other/centre.db").display().to_string();
        let more = [
            format!("storage.path={own}"),
            "registry.kind=postgresql".to_owned(),
            format!("registry.url={}", parts.url),
            format!("registry.member={member}"),
            format!("http.listen=127.0.0.1:{}", free_port()),
            format!("broker.listen=127.0.0.1:{}", free_port()),
        ];
        for setting in engine.iter().chain(&more) {
            command.args(["--set", setting]);
        }
        let output = command.output().expect("runs");
        let said =
            format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), said)
    };
    let check = |words: &[&str], fine: bool, word: &str| {
        let (succeeded, said) = run(words, "other-machine");
        assert!(succeeded == fine && said.contains(word), "{words:?}: {said}");
    };
    check(&["run"], false, "stop that process, or wait until its lease has run out");
    check(&["quarantine", "list"], true, "0 waiting");
    check(&["export"], true, "true-1/count");
    check(&["verify"], false, "pg_amcheck");
    network.progress(5);
    let harm = network.judge().wait_for_all(120).harm;
    fault.came_to("1 start", harm, "refused with who keeps it; the first one goes on");
    assert_eq!(harm, Harm::default());
}

#[test]
fn a_database_and_a_centre_that_are_killed_in_turn_cost_nothing_and_alerts_are_raised_once() {
    let fault = Fault {
        number: "F38",
        title: "database of the registry and ingestor killed in turn",
        injected: "kill -9 every 1 to 3 s",
    };
    let Some(mut parts) = Parts::start(&fault) else { return };
    let mut network = parts.network();
    let mut expected = wait_for("the alerts", 60, || alerts(&network.ingestor));
    let (id, taken) = &mut expected[0];
    let note = json!({"by": "王建国", "note": "知道了"});
    post(&network.ingestor.url(&format!("alerts/{id}/acknowledge")), &note).expect("an acknowledged alert");
    *taken = Some("王建国".to_owned());
    let kills = times(6, 100);
    for n in 0..kills {
        network.poll_for(1 + n % 3);
        if n % 2 == 0 {
            parts.database.kill();
            parts.database.start_again();
        } else {
            network.ingestor.kill_and_restart();
        }
    }
    network.progress(20);
    assert_eq!(alerts(&network.ingestor), Some(expected), "they are the same");
    let raised = "SELECT count(*) FROM sitian.alert_log WHERE kind = 'fired'";
    assert_eq!(parts.database.sql("centre", raised), ALERTS.to_string());
    judge(&network, &fault, &format!("{kills} kills"), &format!("{ALERTS} alerts, each raised once"));
}
