//! Filters, and the two formats on a real standard error.

use std::process::Command;

use super::*;

#[test]
fn filters_are_levels_or_directives_and_never_a_bare_word() {
    for (filter, ok) in [
        ("info", true),
        ("WARN", true),
        ("off", true),
        ("info,sitian_mqtt=debug", true),
        ("info, sitian_mqtt=trace", true),
        ("warn,rumqttd=info", true),
        ("", false),
        ("loud", false),
        ("info,sitian_mqtt", false),
        ("sitian_mqtt=loud", false),
    ] {
        assert_eq!(directives(filter).is_ok(), ok, "{filter}");
    }
    let refused = init("loud", Format::Text).unwrap_err().to_string();
    assert!(refused.starts_with("\"loud\" is neither a level"), "{refused}");
}

#[test]
fn libraries_are_quiet_unless_the_filter_names_them() {
    let quiet = directives("debug").unwrap().to_string();
    assert!(quiet.contains("rumqttd=off") && quiet.contains("debug"), "{quiet}");
    let loud = directives("warn,rumqttd=info").unwrap().to_string();
    assert!(loud.contains("rumqttd=info") && !loud.contains("rumqttd=off"), "{loud}");
}

/// Not a test of its own: the process that the tests below start and read.
#[test]
fn child() {
    let format = match std::env::var("SITIAN_TELEMETRY_CHILD").as_deref() {
        Ok("text") => Format::Text,
        Ok("json") => Format::Json,
        _ => return,
    };
    init("info", format).unwrap();
    assert!(matches!(init("info", format), Err(InitError::Twice)));
    tracing::info!(bus = "line-1", "hello");
    tracing::debug!("unheard");
    tracing::error!(target: "rumqttd::server", "unheard");
    let _ = std::thread::Builder::new().name("doomed".into()).spawn(|| panic!("ouch")).unwrap().join();
}

fn lines(format: &str) -> Vec<String> {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "tests::child", "--nocapture", "--test-threads=1"])
        .env("SITIAN_TELEMETRY_CHILD", format)
        .env("TZ", "Asia/Shanghai")
        .env_remove("RUST_BACKTRACE")
        .output()
        .unwrap();
    assert!(child.status.success());
    String::from_utf8(child.stderr).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn text_is_one_line_per_event_with_local_time_and_panics_are_events() {
    let lines = lines("text");
    assert_eq!(lines.len(), 2, "{lines:#?}");
    assert!(
        lines[0].contains("+08:00") && lines[0].contains(" INFO ") && lines[0].contains("hello"),
        "{lines:#?}"
    );
    assert!(lines[0].contains("bus=\"line-1\""), "{lines:#?}");
    assert!(lines[1].contains("ERROR") && lines[1].contains("panic: ouch"), "{lines:#?}");
    assert!(lines[1].contains("thread=doomed"), "{lines:#?}");
}

#[test]
fn json_is_one_object_per_event() {
    let lines = lines("json");
    assert_eq!(lines.len(), 2, "{lines:#?}");
    for line in &lines {
        assert!(line.starts_with("{\"timestamp\":\"") && line.ends_with('}'), "{line}");
    }
    assert!(
        lines[0].contains("\"message\":\"hello\"") && lines[0].contains("\"bus\":\"line-1\""),
        "{lines:#?}"
    );
}

#[test]
fn the_build_says_its_version_and_commit_if_known() {
    assert_eq!(Build { version: "0.1.0", commit: None }.to_string(), "0.1.0");
    assert_eq!(Build { version: "0.1.0", commit: Some("abc1234") }.to_string(), "0.1.0 (abc1234)");
}

#[test]
fn a_page_says_build_figures_and_process_and_ends_as_the_format_wants() {
    use crate::metrics::{Durations, Page};
    let commits = Durations::default();
    commits.observe(std::time::Duration::from_millis(3));
    let mut page = Page::new();
    page.counter("readings_stored", "Readings durable.", 7);
    page.gauge("head_rows", "Rows in memory.", 1.5);
    page.gauges("gateways", "Gateways.", vec![(vec![("state", "on\"line".to_owned())], 2.0)]);
    page.counters("incidents", "None yet.", Vec::new());
    page.durations("commit_duration_seconds", "Commits.", &commits);
    let text = page.text();
    for line in [
        "# TYPE sitian_readings_stored counter",
        "# HELP sitian_readings_stored Readings durable.",
        "sitian_readings_stored_total 7.0",
        "sitian_head_rows 1.5",
        "sitian_gateways{state=\"on\\\"line\"} 2.0",
        "sitian_commit_duration_seconds_count 1",
        "sitian_commit_duration_seconds_bucket{le=\"0.002\"} 0",
        "sitian_commit_duration_seconds_bucket{le=\"0.004\"} 1",
        "# TYPE process_cpu_seconds counter",
        "# TYPE process_resident_memory_bytes gauge",
    ] {
        assert!(text.lines().any(|found| found == line), "{line:?} is not in:\n{text}");
    }
    assert!(text.contains("sitian_build_info{version=\"") && text.ends_with("# EOF\n"), "{text}");
}
