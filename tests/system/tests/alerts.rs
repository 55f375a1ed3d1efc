//! From a register to an operator's screen: raised, streamed, acknowledged, still there after a restart.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::json;
use sitian_tests_system::program::free_port;
use sitian_tests_system::{Field, Gateway, Ingestor, Mosquitto, Stream, get, post, wait_for};

const RULES: &str = r#"
[[rule]]
id = "soil-too-dry"
name = { zh = "土壤干旱", en = "Soil too dry" }
kind = "below"
measurement = "soil_moisture"
for = "0s"
levels = [{ severity = "orange", threshold = 14.0, clear = 15.0 }]
source = "tests/system"
verified = "U"
"#;

#[test]
fn an_alert_reaches_the_stream_is_acknowledged_and_survives_a_restart() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rules = folder.path().join("rules");
    std::fs::create_dir(&rules).expect("a fresh folder");
    std::fs::write(rules.join("test.toml"), RULES).expect("a fresh folder");
    let mut ingestor = Ingestor::start(folder.path(), None, &[&format!("alert.rules={}", rules.display())]);
    let port = free_port();
    let mut field = Field::tcp(folder.path(), port);
    field.set(0, &[300]);
    let config = format!(
        "[gateway]\nid = \"dangzhai-01\"\n[mqtt]\nport = {}\n[[bus]]\nname = \"a\"\nkind = \"tcp\"\nhost = \"127.0.0.1\"\nport = {port}\n\
         [[device]]\nid = \"soil-1\"\nname = \"土壤\"\nbus = \"a\"\nprofile = \"renke-soil-7in1\"\ninterval_s = 1\npoints = [\"soil_moisture\"]\n",
        ingestor.mqtt
    );
    let _gateway = Gateway::start(folder.path(), &config);
    let point = "dangzhai-01/soil-1/soil_moisture";
    wait_for("the first reading", 20, || ingestor.last_value("dangzhai-01", point).filter(|v| *v == 30.0));

    let (sender, events) = mpsc::channel();
    let mut stream = Stream::open(&ingestor.url("streams/alerts"), None);
    std::thread::spawn(move || {
        loop {
            let event = stream.next_event();
            let fired = event.data["phase"] == "firing";
            let _ = sender.send((Instant::now(), event));
            if fired {
                return;
            }
        }
    });
    field.set(0, &[120]);
    let (heard, event) = events.recv_timeout(Duration::from_secs(10)).expect("an alert");
    assert_eq!(
        (event.data["phase"].as_str(), event.data["severity"].as_str()),
        (Some("firing"), Some("orange"))
    );
    let stored = wait_for("the reading that raised it", 5, || {
        ingestor.readings(point).into_iter().find(|row| row["value"] == 12.0)
    });
    let polled = parse_ms(stored["at"].as_str().expect("a time"));
    let heard_ms = now_ms() - heard.elapsed().as_millis() as i64;
    // Promised: 1 s. Told, not judged: a busy machine is no defect.
    println!("alert heard {} ms after the poll that saw it", heard_ms - polled);

    let id = event.data["id"].to_string().replace('"', "");
    let url = ingestor.url(&format!("alerts/{id}/acknowledge"));
    let answer =
        post(&url, &json!({"by": "王建国", "note": "去看了,已开阀"})).expect("an acknowledged alert");
    assert_eq!(answer.pointer("/acknowledged/by"), Some(&json!("王建国")));

    ingestor.kill_and_restart();
    let open = get(&ingestor.url("alerts?phase=firing")).expect("the open alerts");
    assert_eq!(open.pointer("/items/0/acknowledged/by"), Some(&json!("王建国")), "{open}");
    let mut resumed = Stream::open(&ingestor.url("streams/alerts"), Some(&event.id));
    let next = resumed.next_event();
    let cursor = |id: &str| id.parse::<u64>().expect("a cursor");
    assert!(cursor(&next.id) > cursor(&event.id), "resumes after {}: {next:?}", event.id);
    assert_eq!(next.data.pointer("/acknowledged/by"), Some(&json!("王建国")));

    field.set(0, &[200]);
    wait_for("the alert resolving by itself", 20, || {
        let resolved = get(&ingestor.url("alerts?phase=resolved"))?;
        resolved["items"].as_array()?.iter().any(|alert| alert["id"] == event.data["id"]).then_some(())
    });
}

const OFFLINE: &str = r#"
[[rule]]
id = "offline"
name = { zh = "网关离线", en = "Gateway offline" }
kind = "gateway_offline"
levels = [{ severity = "yellow", after = "1s" }]
source = "tests/system"
verified = "U"
"#;

#[test]
fn a_gateway_that_came_back_with_its_broker_is_not_called_offline() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rules = folder.path().join("rules");
    std::fs::create_dir(&rules).expect("a fresh folder");
    std::fs::write(rules.join("test.toml"), OFFLINE).expect("a fresh folder");
    let mut broker = Mosquitto::start(folder.path());
    let rules = format!("alert.rules={}", rules.display());
    let ingestor = Ingestor::start(folder.path(), Some(&broker), &[&rules, "alert.start_grace_s=1"]);
    let port = free_port();
    let _field = Field::tcp(folder.path(), port);
    let config = format!(
        "[gateway]\nid = \"dangzhai-01\"\n[mqtt]\nport = {}\n[[bus]]\nname = \"a\"\nkind = \"tcp\"\nhost = \"127.0.0.1\"\nport = {port}\n\
         [[device]]\nid = \"soil-1\"\nname = \"土壤\"\nbus = \"a\"\nprofile = \"renke-soil-7in1\"\ninterval_s = 0.1\npoints = [\"soil_moisture\"]\n",
        broker.port
    );
    let _gateway = Gateway::start(folder.path(), &config);
    let point = "dangzhai-01/soil-1/soil_moisture";
    let stored = |count: usize| {
        wait_for("readings", 60, || (ingestor.readings(point).len() >= count).then_some(()));
    };
    stored(5);
    broker.kill_and_restart();
    // Four seconds of readings after the outage: longer than grace and rule together.
    stored(ingestor.readings(point).len() + 40);
    wait_for("no gateway called offline while it sends", 20, || {
        let firing = get(&ingestor.url("alerts?phase=firing"))?;
        firing["items"].as_array()?.is_empty().then_some(())
    });
}

fn now_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.expect("after 1970").as_millis() as i64
}

/// Unix milliseconds of an RFC 3339 time, by `date`.
fn parse_ms(time: &str) -> i64 {
    let output = std::process::Command::new("date").args(["-d", time, "+%s%3N"]).output().expect("date");
    String::from_utf8_lossy(&output.stdout).trim().parse().expect("milliseconds")
}
