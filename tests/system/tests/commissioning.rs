//! What a technician does at the cabinet: scan, probe, watch, capture, replay, on pymodbus behind a pseudo-terminal and behind
//! a socket.

use std::path::Path;
use std::process::Output;

use sitian_tests_system::program::{free_port, ours};
use sitian_tests_system::{Gateway, PtyPair, SensorLine, wait_for};

/// Runs `sitian-gateway arguments` in the folder, as somebody in Zhangye.
fn run(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = ours("sitian-gateway");
    command.current_dir(folder).env("TZ", "Asia/Shanghai").args(arguments);
    command.output().expect("our program starts")
}

/// What it prints if it succeeds.
fn said(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {out}\n{err}");
    out.into_owned()
}

/// What it complains about.
fn complained(folder: &Path, arguments: &[&str]) -> String {
    let output = run(folder, arguments);
    assert!(!output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn check(text: &str, words: &[&str]) {
    words.iter().for_each(|word| assert!(text.contains(word), "{word:?} is not in:\n{text}"));
}

/// The devices of the line; `more` stands at the flow meter.
fn configuration(folder: &Path, bus: &str, more: &str) {
    let device = |id: &str, profile: &str, unit: u8| {
        format!(
            "[[device]]\nid = \"{id}\"\nbus = \"line-1\"\nprofile = \"{profile}\"\nunit = {unit}\ninterval_s = 0.5\n"
        )
    };
    let text = format!(
        "[gateway]\nid = \"dangzhai-01\"\n[mqtt]\nport = 1\n[[bus]]\nname = \"line-1\"\n{bus}\n{}{}{}{more}",
        device("air-1", "xy-md02", 1),
        device("soil-3", "renke-soil-7in1", 3),
        device("flow-7", "tuf-2000m", 7)
    );
    std::fs::write(folder.join("gateway.toml"), text).expect("a fresh folder");
}

fn serial(line: &PtyPair) -> String {
    format!("kind = \"rtu\"\npath = \"{}\"\nbaud = 9600", line.gateway.display())
}

#[test]
fn a_scan_of_a_serial_line_finds_every_device_and_writes_a_configuration_that_is_fine() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let line = PtyPair::start(folder.path());
    let _sensors = SensorLine::rtu(folder.path(), &line.device);
    let port = line.gateway.to_string_lossy().into_owned();
    let found = said(
        folder.path(),
        &["scan", "--port", &port, "--bauds", "9600", "--parities", "none", "--units", "1-8"],
    );
    check(
        &found,
        &[
            "asking units 1-8",
            "unit 1   9600 8N1",
            "xy-md02 ",
            "air_temperature 21.5 °C",
            "unit 3 ",
            "renke-soil-7in1 ",
            "soil_ph 5.50",
            "unit 7 ",
            "3 devices found",
        ],
    );
    let block = &found[found.find("[[bus]]").expect("a block to paste")..];
    check(block, &["profile = \"xy-md02\"", "profile = \"renke-soil-7in1\""]);
    let text = format!("[gateway]\nid = \"dangzhai-01\"\n{block}");
    std::fs::write(folder.path().join("gateway.toml"), text).expect("a fresh folder");
    check(&said(folder.path(), &["check", "-c", "gateway.toml"]), &["gateway.toml: fine", "3 devices"]);
}

#[test]
fn a_scan_of_a_server_is_told_to_programs_as_json() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let port = free_port();
    let _sensors = SensorLine::tcp(folder.path(), port);
    let server = format!("127.0.0.1:{port}");
    let found = said(folder.path(), &["scan", "--tcp", &server, "--units", "1-4", "--json"]);
    let found: serde_json::Value = serde_json::from_str(&found).expect("JSON alone");
    let units: Vec<_> = found.as_array().expect("a list").iter().map(|one| one["unit"].as_u64()).collect();
    assert_eq!(units, [Some(1), Some(3)]);
    assert_eq!(found[0]["guesses"][0]["profile"], "xy-md02");
    assert_eq!(found[1]["guesses"][0]["profile"], "renke-soil-7in1");
}

#[test]
fn who_stops_reading_ends_a_command_without_a_complaint() {
    let mut command = ours("sitian-gateway");
    command.args(["profiles"]).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().expect("our program starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert!(output.status.success());
}

#[test]
fn probing_all_orders_finds_the_order_that_the_profile_has_wrong_and_the_adjustment_mends_it() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let port = free_port();
    let _sensors = SensorLine::tcp(folder.path(), port);
    let bus = format!("kind = \"tcp\"\nhost = \"127.0.0.1\"\nport = {port}");
    configuration(folder.path(), &bus, "");
    let ranks =
        said(folder.path(), &["probe", "-c", "gateway.toml", "flow-7", "--all-orders", "--reads", "3"]);
    let flow = &ranks[ranks.find("water_flow · holding 0x0000").expect("the flow")..];
    let verdict = flow.lines().find(|line| line.contains('→')).expect("a verdict");
    assert!(verdict.contains("likely: order = \"ABCD\""), "{verdict}");
    let total = &ranks[ranks.find("water_total · ").expect("the total")..];
    assert!(total.lines().find(|line| line.contains('→')).is_some_and(|v| v.contains("the profile fits")));

    configuration(folder.path(), &bus, "[[device.adjust]]\npoint = \"water_flow\"\norder = \"ABCD\"\n");
    let mended = said(folder.path(), &["probe", "-c", "gateway.toml", "flow-7"]);
    let flow = mended.lines().find(|line| line.starts_with("water_flow")).expect("the flow");
    check(flow, &[" 12.5", "m³/h", "good"]);
}

#[test]
fn watch_looks_at_a_running_gateway_and_other_commands_leave_its_port_alone() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let line = PtyPair::start(folder.path());
    let _sensors = SensorLine::rtu(folder.path(), &line.device);
    configuration(folder.path(), &serial(&line), "");
    let text = std::fs::read_to_string(folder.path().join("gateway.toml")).expect("just written");
    let mut gateway = Gateway::start(folder.path(), &text);
    let watch = ["watch", "-c", "gateway.toml", "--once"];
    gateway.program.wait_for_output("port opened");
    let picture = wait_for("the gateway's picture", 20, || {
        let picture = said(folder.path(), &watch);
        picture.contains("21.5 °C").then_some(picture)
    });
    check(&picture, &["attached to the running gateway", "+08:00", "air-1", "soil-3", "63.4 %", "airtime"]);
    let port = line.gateway.to_string_lossy().into_owned();
    for arguments in [
        &["scan", "--port", &port][..],
        &["probe", "-c", "gateway.toml", "air-1"],
        &["capture", "-c", "gateway.toml", "line-1", "-o", "never.txt"],
    ] {
        check(&complained(folder.path(), arguments), &["sitian-gateway (process", "watch looks at"]);
    }
    assert_eq!(gateway.program.end(), Some(0));
    check(&said(folder.path(), &watch), &["no gateway runs here", "21.5 °C"]);
}

#[test]
fn a_captured_line_is_replayed_without_the_line_faults_included() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let line = PtyPair::start(folder.path());
    let sensors = SensorLine::rtu(folder.path(), &line.device);
    configuration(folder.path(), &format!("{}\ntimeout_ms = 1500", serial(&line)), "");
    let capture =
        said(folder.path(), &["capture", "-c", "gateway.toml", "line-1", "-o", "line.txt", "--seconds", "7"]);
    check(&capture, &["line.txt", "0 without answer", "replay line.txt"]);
    drop((sensors, line));
    let told = said(folder.path(), &["replay", "line.txt"]);
    check(&told, &["unit 1 input 0x0001 ×2", "21.5 °C", "soil_ph", "0 without answer · 0 damaged"]);

    // One bit of one answer, and one answer lost on the way.
    let tape = std::fs::read_to_string(folder.path().join("line.txt")).expect("the capture");
    let broken = tape.replacen("01 04 04 00 D7", "01 04 04 00 D6", 1);
    let lost: Vec<&str> = broken.lines().filter(|line| !line.contains("< 03 ")).collect();
    std::fs::write(folder.path().join("broken.txt"), lost.join("\n")).expect("a second file");
    let told = said(folder.path(), &["replay", "broken.txt", "--faults"]);
    check(&told, &["checksum of the answer is wrong", "unit 3: no answer", "1 damaged"]);
    assert!(!told.contains("21.5 °C"), "only faults: {told}");
    assert!(complained(folder.path(), &["replay", "gateway.toml"]).contains("no capture of version 1"));
}

#[test]
fn a_fault_names_its_likely_cause() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let line = PtyPair::start(folder.path());
    let _sensors = SensorLine::rtu(folder.path(), &line.device);
    let quiet = "[[device]]\nid = \"quiet-5\"\nbus = \"line-1\"\nprofile = \"xy-md02\"\nunit = 5\n";
    configuration(folder.path(), &serial(&line), quiet);
    check(
        &complained(folder.path(), &["probe", "-c", "gateway.toml", "quiet-5"]),
        &["A and B swapped", "unit id"],
    );
    let nobody = said(
        folder.path(),
        &[
            "scan",
            "--port",
            &line.gateway.to_string_lossy(),
            "--bauds",
            "9600",
            "--parities",
            "none",
            "--units",
            "20-21",
        ],
    );
    check(&nobody, &["nobody found", "A and B swapped"]);
    check(
        &complained(folder.path(), &["scan", "--port", "/dev/no-such-port"]),
        &["there is no port", "this machine has"],
    );
    check(&complained(folder.path(), &["scan", "--tcp", "here:many"]), &["write HOST:PORT"]);
    check(&complained(folder.path(), &["watch", "-c", "gateway.toml", "--bus", "line-9"]), &["line-1"]);
}

#[test]
fn who_calibrated_what_is_told_by_check() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let calibration = "[[device.adjust]]\npoint = \"water_flow\"\n\
                       calibration = { slope = 1.02, offset = -0.1, date = \"2026-05-31\", by = \"王工\" }\n";
    configuration(folder.path(), "kind = \"tcp\"\nhost = \"127.0.0.1\"", calibration);
    let told = said(folder.path(), &["check", "-c", "gateway.toml"]);
    check(&told, &["calibrated flow-7/water_flow: value × 1.02 + -0.1, 2026-05-31, 王工"]);
}
