//! Sensors without Modbus, from their wires to the API: each dialect against an emulator that others could have written.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use sitian_tests_system::program::{Program, free_port, ours};
use sitian_tests_system::{Gateway, Ingestor, PtyPair, wait_for};

const BASE: &str = "dangzhai-01";
/// What the CO2 module of the configuration shows too little.
const CALIBRATION: f64 = 10.0;

/// The emulator and the lines between it and the gateway.
struct Field {
    program: Program,
    lines: Vec<(&'static str, PtyPair)>,
    line_port: u16,
    station_port: u16,
    set: usize,
}

impl Field {
    fn start(folder: &Path) -> Self {
        let mut lines = Vec::new();
        for kind in ["sdi12", "nmea", "dlt645", "mhz19"] {
            let own = folder.join(kind);
            std::fs::create_dir(&own).expect("a fresh folder");
            lines.push((kind, PtyPair::start(&own)));
        }
        let (line_port, station_port) = (free_port(), free_port());
        let mut command = Command::new("python3");
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("field/dialect_field.py"));
        lines.iter().for_each(|(kind, pair)| {
            command.arg(format!("{kind}={}", pair.device.display()));
        });
        command.arg(format!("line={line_port}")).arg(format!("hj212={station_port}"));
        let mut program = Program::start(folder, "dialects", &mut command);
        program.wait_for_output("ready");
        Self { program, lines, line_port, station_port, set: 0 }
    }

    fn line(&self, kind: &str) -> PathBuf {
        let found = self.lines.iter().find(|(name, _)| *name == kind);
        found.expect("a line of this kind").1.gateway.clone()
    }

    fn set(&mut self, name: &str, value: f64) {
        writeln!(self.program.stdin(), "set {name} {value}").expect("a listening field");
        self.set += 1;
        let wanted = self.set;
        wait_for("the field taking a value", 5, || {
            (self.program.output().lines().filter(|line| *line == "set").count() >= wanted).then_some(())
        });
    }

    fn configuration(&self, mqtt: u16) -> String {
        let serial = |kind: &str| {
            format!(
                "[[bus]]\nname = {kind:?}\nkind = {kind:?}\npath = {:?}\nbaud = 9600\nparity = \"none\"\n",
                self.line(kind)
            )
        };
        let device = |id: &str, bus: &str, profile: &str, more: &str| {
            format!("[[device]]\nid = {id:?}\nbus = {bus:?}\nprofile = {profile:?}\ninterval_s = 1\n{more}\n")
        };
        [
            format!("[gateway]\nid = \"dangzhai-01\"\n[log]\nlevel = \"debug\"\n[mqtt]\nport = {mqtt}\n"),
            serial("sdi12"),
            serial("nmea"),
            serial("dlt645"),
            serial("mhz19"),
            format!(
                "[[bus]]\nname = \"line\"\nkind = \"line\"\nhost = \"127.0.0.1\"\nport = {}\n",
                self.line_port
            ),
            format!(
                "[[bus]]\nname = \"stations\"\nkind = \"hj212\"\nlisten = \"127.0.0.1:{}\"\n",
                self.station_port
            ),
            device("sdi-1", "sdi12", "sdi12-thermo-hygro", "address = \"3\""),
            device("wind-1", "nmea", "nmea-weather", "points = [\"wind_speed\", \"wind_direction\"]"),
            device(
                "meter-1",
                "dlt645",
                "dlt645-2007",
                "address = \"000010604867\"\npoints = [\"energy\", \"power\"]",
            ),
            device(
                "co2-1",
                "mhz19",
                "mh-z19",
                "[[device.adjust]]\npoint = \"air_co2\"\n\
                 calibration = { offset = 10, date = \"2026-05-31\", by = \"王工\" }",
            ),
            device("tank-1", "line", "maxbotix-hrxl", ""),
            device(
                "air-1",
                "stations",
                "hj212-air",
                "address = \"620702107000000000000001\"\npoints = [\"pm25\"]",
            ),
        ]
        .concat()
    }
}

#[test]
fn every_dialect_is_read_from_its_wire_to_the_api() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ingestor = Ingestor::start(folder.path(), None, &[]);
    let mut field = Field::start(folder.path());
    let _gateway = Gateway::start(folder.path(), &field.configuration(ingestor.mqtt));
    let shows = |point: &str, value: f64| {
        let point = format!("dangzhai-01/{point}");
        wait_for(&format!("{point} showing {value}"), 20, || {
            (ingestor.last_value(BASE, &point) == Some(value)).then_some(())
        });
    };
    let rows = [
        ("sdi-1/air_temperature", "temperature", 18.2, -20.5),
        ("sdi-1/air_humidity", "moisture", 33.1, 48.0),
        ("wind-1/wind_speed", "wind", 5.0, 7.2),
        ("meter-1/energy", "energy", 123_456.78, 123_457.01),
        ("co2-1/air_co2", "co2", 612.0 + CALIBRATION, 1_840.0 + CALIBRATION),
        ("tank-1/water_distance", "range", 1.234, 2.5),
        ("air-1/pm25", "pm25", 31.0, 75.0),
    ];
    for (point, _, value, _) in rows {
        shows(point, value);
    }
    shows("wind-1/wind_direction", 315.4);
    for (point, name, _, value) in rows {
        field.set(
            name,
            match name {
                "range" => value * 1_000.0,
                "co2" => value - CALIBRATION,
                _ => value,
            },
        );
        shows(point, value);
    }
    let mut watch = ours("sitian-gateway");
    watch.current_dir(folder.path()).args(["watch", "-c", "gateway.toml", "--once"]);
    let picture = watch.output().expect("our program starts").stdout;
    let picture = String::from_utf8_lossy(&picture).into_owned();
    for words in
        ["attached to the running gateway", "meter-1  000010604867", "123457.01 kWh", "bad (exception)"]
    {
        assert!(picture.contains(words), "{words:?} is not in {picture}");
    }
    for (point, ..) in rows {
        let (device, key) = point.split_once('/').expect("two parts");
        assert!(picture.contains(device) && picture.contains(key), "{point} is not in {picture}");
    }
    // What the meter refuses is told as such.
    let refused = ingestor.readings("dangzhai-01/meter-1/power");
    assert!(refused.iter().all(|reading| reading["value"].is_null()), "{refused:?}");
    assert!(!refused.is_empty(), "a refused reading is data");
    assert!(field.program.output().contains("acknowledged"), "the station was answered");
}

#[test]
fn a_station_is_acknowledged_only_for_what_survives_a_kill() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ingestor = Ingestor::start(folder.path(), None, &[]);
    let mut field = Field::start(folder.path());
    let mut gateway = Gateway::start(folder.path(), &field.configuration(ingestor.mqtt));
    for value in 1..=5 {
        field.set("pm25", f64::from(value));
        let before = field.program.output().matches("acknowledged").count();
        // Two packets each, and one message may have been under way with the value before.
        wait_for("acknowledgements", 20, || {
            (field.program.output().matches("acknowledged").count() >= before + 4).then_some(())
        });
        gateway.kill_and_restart();
    }
    wait_for("every acknowledged value at the centre", 30, || {
        let readings = ingestor.readings("dangzhai-01/air-1/pm25");
        let stored = |value: i32| readings.iter().any(|reading| reading["value"] == f64::from(value));
        (1..=5).all(stored).then_some(())
    });
}

#[test]
fn check_and_probe_understand_every_dialect() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let field = Field::start(folder.path());
    let path = folder.path().join("gateway.toml");
    std::fs::write(&path, field.configuration(1)).expect("a fresh folder");
    let run = |arguments: &[&str]| {
        let output =
            ours("sitian-gateway").args(arguments).arg("--config").arg(&path).output().expect("our program");
        let text = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&text));
        String::from_utf8_lossy(&text).into_owned()
    };
    let checked = run(&["check"]);
    for (device, bus, value) in [
        ("sdi-1", "bus sdi12: 1 devices, 2 points", "18.2"),
        ("wind-1", "bus nmea: 1 devices, 2 points", "5.0"),
        ("meter-1", "bus dlt645: 1 devices, 2 points", "123456.78"),
        ("co2-1", "bus mhz19: 1 devices, 1 points", "622"),
        ("tank-1", "bus line: 1 devices, 1 points", "1.23"),
        ("air-1", "bus stations: 1 devices, 1 points", "31"),
    ] {
        assert!(checked.contains(bus), "{checked}");
        let probed = run(&["probe", device]);
        assert!(probed.contains(value) && probed.contains("good"), "{device}: {probed}");
    }
}
