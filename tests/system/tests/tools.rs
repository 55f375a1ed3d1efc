//! What other people's tools make of us: Prometheus's own parser, the dashboards for Grafana, on real programs; alerts and
//! dashboards on figures that are known besides.

mod tools {
    pub mod figures;
}

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use sitian_tests_system::counted::{GATEWAY, Layout};
use sitian_tests_system::{Counted, Victoria, get, post, wait_for};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn text(url: &str) -> String {
    let mut answer = ureq::get(url).call().unwrap_or_else(|error| panic!("{url}: {error}"));
    answer.body_mut().read_to_string().expect("text")
}

/// The page of figures of an ingestor.
fn figures(network: &Counted) -> String {
    text(&network.ingestor.url("").replace("/api/v1/", "/metrics"))
}

/// Lets Prometheus's strict parser read a page; returns `[[family, type, samples], …]`.
fn parsed(page: &str) -> Value {
    const SCRIPT: &str = "import json, sys\n\
        from prometheus_client.openmetrics.parser import text_string_to_metric_families as read\n\
        print(json.dumps([[f.name, f.type, len(f.samples)] for f in read(sys.stdin.read())]))";
    let python = root().join("target/python/bin/python");
    let mut command = Command::new(python);
    command.args(["-c", SCRIPT]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("target/python is there (cargo xtask test sets it up)");
    child.stdin.take().expect("a pipe").write_all(page.as_bytes()).expect("a reading parser");
    let output = child.wait_with_output().expect("an end");
    assert!(output.status.success(), "the parser refuses:\n{page}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The dashboards, with their names.
fn dashboards() -> Vec<(String, Value)> {
    let files = std::fs::read_dir(root().join("deploy/grafana/dashboards")).expect("dashboards").flatten();
    let read = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).expect("a file");
        let name = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        (name, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display())))
    };
    files.map(|entry| read(entry.path())).collect()
}

fn list<'v>(value: &'v Value, pointer: &str) -> impl Iterator<Item = &'v Value> + use<'v> {
    value.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn word<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Every query of a dashboard to sources of this uid, as (its panel, query).
fn queries<'v>(dashboard: &'v Value, uid: &'v str) -> impl Iterator<Item = (&'v Value, &'v Value)> {
    list(dashboard, "/panels")
        .flat_map(|panel| list(panel, "/targets").map(move |target| (panel, target)))
        .filter(move |(_, target)| word(target, "/datasource/uid") == uid)
}

/// Seconds of a length such as `15m`.
fn seconds(text: &str) -> i64 {
    let (number, unit) = text.split_at(text.len() - 1);
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        _ => panic!("{text} is no length"),
    };
    number.parse::<i64>().expect("a number") * unit
}

/// The interval that a panel asks for where a picture has room for every minute.
fn interval_s(panel: &Value) -> i64 {
    Some(word(panel, "/interval")).filter(|text| !text.is_empty()).map_or(60, seconds).max(60)
}

/// A question as it is asked then.
fn question(panel: &Value, target: &Value, base: &str, measurement: &str) -> String {
    word(target, "/expr")
        .replace("$__interval", &format!("{}s", interval_s(panel)))
        .replace("$base", base)
        .replace("$measurement", measurement)
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[test]
fn every_dashboard_has_the_shape_that_grafana_loads() {
    let sources = std::fs::read_to_string(root().join("deploy/grafana/provisioning/datasources/sitian.yaml"));
    let sources = sources.expect("the data sources");
    let all = dashboards();
    assert_eq!(all.len(), 3);
    for (name, dashboard) in &all {
        assert_eq!(word(dashboard, "/uid"), name, "a file is called as its dashboard");
        assert!(dashboard["schemaVersion"].as_u64().is_some_and(|version| version >= 36), "{name}");
        let mut ids: Vec<u64> = list(dashboard, "/panels").filter_map(|panel| panel["id"].as_u64()).collect();
        let panels = ids.len();
        ids.dedup();
        assert!(panels > 0 && ids.len() == panels, "{name}: ids");
        for panel in list(dashboard, "/panels") {
            let place = &panel["gridPos"];
            let right = place["x"].as_u64().zip(place["w"].as_u64()).map(|(x, w)| x + w);
            assert!(right.is_some_and(|right| right <= 24), "{name}: {panel}");
            assert!(
                !word(panel, "/title").is_empty() && list(panel, "/targets").count() > 0,
                "{name}: {panel}"
            );
            let uid = word(panel, "/datasource/uid");
            assert!(sources.contains(&format!("uid: {uid}")), "{name}: no source {uid:?} is provisioned");
        }
    }
}

#[test]
fn prometheus_reads_the_figures_and_every_query_of_the_dashboards_is_answered_by_an_engine() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let engine = Victoria::start(folder.path());
    let settings = engine.settings();
    let url = settings[1].trim_start_matches("storage.url=").to_owned();
    let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
    let mut network = Counted::start(&Layout { ingestor: &settings, ..Layout::default() });
    network.progress(20);
    let page = figures(&network);
    let families = parsed(&page);
    for (name, kind) in [
        ("sitian_build_info", "gauge"),
        ("sitian_readings_stored", "counter"),
        ("sitian_commit_duration_seconds", "histogram"),
        ("sitian_gateways", "gauge"),
        ("process_cpu_seconds", "counter"),
    ] {
        let found = |family: &&Value| family[0] == name && family[1] == kind && family[2] != 0;
        assert!(list(&families, "").any(|family| found(&family)), "{kind} {name} is not in {families}");
    }
    assert!(page.lines().count() < 400, "few labels: {} lines", page.lines().count());
    assert!(page.contains("sitian_engine_info{engine=\"victoriametrics\"} 1.0"), "{page}");
    for alert in tools::figures::alerts() {
        let names = alert.expr.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        // A network of some seconds has no hour to be complete.
        for name in names.filter(|name| name.starts_with("sitian_") && !name.contains("completeness")) {
            assert!(page.contains(&format!("\n{name}")), "{alert:?} asks for what is not in {page}");
        }
    }
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as i64;
    for ago_ms in [60_000, 30_000, 0] {
        let scrape = format!("{url}/api/v1/import/prometheus?timestamp={}", now_ms - ago_ms);
        ureq::post(&scrape).send(figures(&network)).unwrap_or_else(|error| panic!("{scrape}: {error}"));
        // So that there is a rate.
        network.progress(10);
    }
    let ask = |query: &str| {
        // Steps below a minute hide what came within the last half.
        let (start, end) = (now_ms / 1_000 - 300, now_ms / 1_000 + 30);
        let query = percent(query);
        get(&format!("{url}/api/v1/query_range?query={query}&start={start}&end={end}&step=60&nocache=1"))
    };
    let some = |answer: &Value| list(answer, "/data/result").count() > 0;
    wait_for("the engine knowing the figures", 60, || ask("sitian_points").filter(some));
    let measurement = wait_for("the engine knowing the readings", 60, || {
        let names = get(&format!("{url}/api/v1/label/measurement/values"))?;
        Some(names["data"][0].as_str()?.to_owned())
    });
    // What has not happened yet has no series, and a network of some seconds no hour to be complete.
    let quiet = ["Incidents", "Completeness of the last hour"];
    let mut asked = 0;
    for (name, dashboard) in &dashboards() {
        for (panel, target) in queries(dashboard, "sitian-health") {
            let title = word(panel, "/title");
            let query = question(panel, target, GATEWAY, &measurement);
            let answer = ask(&query).unwrap_or_else(|| panic!("{name}, {title}: refused: {query}"));
            assert_eq!(answer["status"], "success", "{name}, {title}: {query}");
            let may_be_empty = quiet.iter().any(|word| title.contains(word));
            assert!(may_be_empty || some(&answer), "{name}, {title}: nothing: {query}");
            asked += 1;
        }
    }
    assert!(asked > 20, "{asked} queries");
    let refused =
        post(&network.ingestor.url(&format!("points/{}/corrections", point(&network))), &correction());
    assert!(refused.is_err(), "another engine keeps no history of corrections: {refused:?}");
}

fn point(network: &Counted) -> String {
    let points = get(&network.ingestor.url(&format!("bases/{GATEWAY}/points"))).expect("points");
    word(&points, "/items/0/id").to_owned()
}

fn correction() -> Value {
    json!({"from": "2020-01-01T00:00:00Z", "to": "2100-01-01T00:00:00Z", "add": 1000.0, "by": "王工", "note": "校准"})
}

/// Every schema that a `$ref` or an alternative stands for.
fn meant<'d>(document: &'d Value, schema: &'d Value) -> Vec<&'d Value> {
    if let Some(target) = schema["$ref"].as_str() {
        return document
            .pointer(target.trim_start_matches('#'))
            .map(|s| meant(document, s))
            .unwrap_or_default();
    }
    let alternatives = ["oneOf", "anyOf", "allOf"].iter().flat_map(|key| list(schema, &format!("/{key}")));
    std::iter::once(schema)
        .chain(alternatives.collect::<Vec<_>>())
        .flat_map(|one| if std::ptr::eq(one, schema) { vec![one] } else { meant(document, one) })
        .collect()
}

/// Whether the description of the API knows this way into an answer.
fn is_described(document: &Value, schema: &Value, way: &[&str]) -> bool {
    let Some((first, rest)) = way.split_first() else { return true };
    meant(document, schema).into_iter().any(|schema| {
        match (*first, &schema["items"], &schema["properties"][*first]) {
            ("[]", items, _) => !items.is_null() && is_described(document, items, rest),
            (_, _, property) => !property.is_null() && is_described(document, property, rest),
        }
    })
}

#[test]
fn every_question_of_the_dashboards_to_the_api_is_answered_with_the_columns_they_name() {
    let mut network = Counted::start(&Layout::default());
    network.progress(20);
    let point = point(&network);
    let path = |more: &str| network.ingestor.url(&format!("points/{point}/{more}"));
    let before = get(&path("readings?limit=1")).expect("a reading");
    let wanted = json!({"from": before["items"][0]["at"], "to": "2100-01-01T00:00:00Z", "add": 1000.0, "by": "王工", "note": "校准"});
    let made = post(&path("corrections"), &wanted).expect("a correction");
    assert!(made["corrected"].as_u64() > Some(0), "{made}");
    let history = get(&path("corrections?limit=500")).expect("the history");
    let first = list(&history, "/items").last().expect("one");
    let after = get(&path("readings?limit=1")).expect("a reading");
    assert_eq!(first["before"]["value"], before["items"][0]["value"], "what was sent is kept");
    assert_eq!(after["items"][0]["value"], first["after"]["value"]);
    assert_eq!(after["items"][0]["corrected"], true);
    assert!(text(&path("export?format=csv")).contains(",true\r\n"), "the export carries the mark");
    let again = post(
        &path("corrections"),
        &json!({"from": wanted["from"], "to": history["items"][0]["at"], "add": 1000.0, "by": "b", "note": "c"}),
    );
    assert_eq!(again.expect("an answer")["corrected"], 0, "nothing is corrected twice");

    let document = get(&network.ingestor.url("openapi.json")).expect("the description");
    let mut asked = 0;
    for (name, dashboard) in &dashboards() {
        let variables = list(dashboard, "/templating/list")
            .map(|one| (word(one, "/name"), &one["query"]["infinityQuery"]));
        let variables = variables.filter(|(_, target)| target.is_object());
        let panels = queries(dashboard, "sitian-api").map(|(panel, target)| (word(panel, "/title"), target));
        for (title, target) in panels.chain(variables) {
            let template = word(target, "/url");
            let fill = |text: &str| {
                text.replace("${point}", &point)
                    .replace("${base}", GATEWAY)
                    .replace("${__from:date:iso}", "2026-01-01T00:00:00.000Z")
                    .replace("${__to:date:iso}", "2026-12-31T00:00:00.000Z")
            };
            let parameters: Vec<String> = list(target, "/url_options/params")
                .map(|one| format!("{}={}", word(one, "/key"), fill(word(one, "/value"))))
                .collect();
            let question = fill(template).replace("/api/v1/", "");
            let url = network.ingestor.url(&format!("{question}?{}", parameters.join("&")));
            let answer = get(url.trim_end_matches('?')).unwrap_or_else(|| panic!("{name}, {title}: {url}"));
            assert!(answer["items"].is_array(), "{name}, {title}: {answer}");
            let described =
                template.replace("${point}", "{gateway}/{device}/{key}").replace("${base}", "{id}");
            let schema = &document["paths"][&described]["get"]["responses"]["200"]["content"]["application/json"]
                ["schema"];
            assert!(schema.is_object(), "{name}, {title}: {described} is not described");
            for column in list(target, "/columns") {
                let way: Vec<&str> =
                    ["items", "[]"].into_iter().chain(word(column, "/selector").split('.')).collect();
                assert!(is_described(&document, schema, &way), "{name}, {title}: no {way:?} in {described}");
            }
            asked += 1;
        }
    }
    assert!(asked >= 7, "{asked} questions");
    parsed(&figures(&network));
}
