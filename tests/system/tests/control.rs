//! An output of a real device: commanded locally, read back, held by interlocks, safe again when the gateway was killed.

use std::path::Path;

use serde_json::{Value, json};
use sitian_tests_system::program::{free_port, ours};
use sitian_tests_system::{Field, Ingestor, Program, get, post, wait_for};

const PROFILE: &str = r#"
id = "test-valve"
vendor = "t"
model = "t"
name_zh = "阀"
name_en = "valve"
source = "tests/system"
verified = "U"
default_unit = 1
[serial]
baud = 9600
[[points]]
key = "valve"
measurement = "contact"
unit = ""
function = "holding"
address = 10
kind = "u16"
min = 0
max = 100
write = { min = 0, max = 100, safe = 0, on_max_s = 3600 }
[[points]]
key = "valve_2"
measurement = "contact"
unit = ""
function = "holding"
address = 11
kind = "u16"
min = 0
max = 100
write = { min = 0, max = 100, safe = 0, on_max_s = 3600 }
[[points]]
key = "pressure"
measurement = "contact"
unit = ""
function = "holding"
address = 20
kind = "u16"
min = 0
max = 1000
"#;

fn start(folder: &Path, port: u16) -> Program {
    start_with(folder, port, 1)
}

fn start_with(folder: &Path, port: u16, mqtt: u16) -> Program {
    let config = format!(
        "[gateway]\nid = \"dangzhai-01\"\n[profiles]\ndirectory = \"profiles\"\n[mqtt]\nport = {mqtt}\n\
         [[bus]]\nname = \"b\"\nkind = \"tcp\"\nhost = \"127.0.0.1\"\nport = {port}\n\
         [[device]]\nid = \"v\"\nbus = \"b\"\nprofile = \"test-valve\"\ninterval_s = 0.2\n\
         [[control]]\ndevice = \"v\"\npoint = \"valve_2\"\nname = \"阀二\"\nfrom_centre = true\n\
         [[control]]\ndevice = \"v\"\npoint = \"valve\"\n\
         [[control.require]]\ndevice = \"v\"\npoint = \"pressure\"\nmax = 500\n"
    );
    std::fs::create_dir_all(folder.join("profiles")).expect("a folder");
    std::fs::write(folder.join("profiles/valve.toml"), PROFILE).expect("a file");
    std::fs::write(folder.join("gateway.toml"), config).expect("a file");
    let mut gateway = ours("sitian-gateway");
    Program::start(folder, "gateway", gateway.args(["run", "--config"]).arg(folder.join("gateway.toml")))
}

/// Runs `sitian-gateway write`; its words, and whether it succeeded.
fn write(folder: &Path, value: &str, id: &str) -> (bool, String) {
    let mut command = ours("sitian-gateway");
    command.args(["write", "v", "valve", value, "--id", id, "--config"]).arg(folder.join("gateway.toml"));
    let output = command.output().expect("a program that runs");
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8_lossy(&text).into_owned())
}

fn done(folder: &Path, value: &str, id: &str) -> String {
    wait_for("the write being done", 20, || {
        let (well, words) = write(folder, value, id);
        well.then_some(words)
    })
}

#[test]
fn a_valve_is_commanded_read_back_held_by_its_interlock_and_closed_after_a_crash() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let port = free_port();
    let mut field = Field::tcp(folder, port);
    let (well, words) = {
        start(folder, port).kill();
        write(folder, "1", "nobody")
    };
    assert!(!well && words.contains("start it first"), "{words}");

    let mut gateway = start(folder, port);
    // Until the pressure has been read the interlock holds: each refusal has an id of its own.
    let mut tries = 0;
    let words = wait_for("the pressure being known", 20, || {
        tries += 1;
        let (well, words) = write(folder, "40", &format!("open-{tries}"));
        assert!(
            well || words.contains("pressure is not known") || words.contains("start it first"),
            "{words}"
        );
        well.then_some(words)
    });
    assert!(words.contains("v/valve = 40: done, read back 40"), "{words}");
    let (well, again) = write(folder, "77", &format!("open-{tries}"));
    assert!(well && again.contains("read back 40"), "an id is executed once: {again}");
    for (value, reason) in [("101", "not between 0 and 100"), ("-1", "not between")] {
        let (well, words) = write(folder, value, &format!("bad{value}"));
        assert!(!well && words.contains(reason), "{words}");
    }

    // Too much pressure closes the valve, whoever opened it.
    field.set(20, &[501]);
    gateway.wait_for_output("interlock: v/pressure is 501, above 500");
    let (well, words) = write(folder, "40", "open-under-pressure");
    assert!(!well && words.contains("interlock: v/pressure is 501"), "{words}");
    field.set(20, &[100]);
    let mut tries = 0;
    wait_for("the valve being opened again", 20, || {
        tries += 1;
        write(folder, "55", &format!("again-{tries}")).0.then_some(())
    });

    gateway.kill();
    let mut gateway = start(folder, port);
    gateway.wait_for_output("the gateway has restarted");
    wait_for("the safe value being read back", 20, || {
        gateway.output().lines().any(|l| l.contains("command ended") && l.contains("restarted")).then_some(())
    });
    assert!(done(folder, "0", "close").contains("read back 0"));
    let journal = std::fs::read_to_string(folder.join("spool/commands.jsonl")).expect("a journal");
    assert!(journal.contains("\"by\":\"local user ") && journal.lines().count() >= 10, "{journal}");
}

#[test]
fn the_centre_commands_only_what_the_gateway_lets_it_and_keeps_what_came_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let port = free_port();
    let _field = Field::tcp(folder, port);
    let mut ingestor = Ingestor::start(folder, None, &[]);
    let mut gateway = start_with(folder, port, ingestor.mqtt);
    let order = |id: &str, point: &str, value: f64| json!({"id": id, "gateway": "dangzhai-01", "device": "v", "point": point, "value": value, "by": "tester"});
    let url = ingestor.url("commands");
    wait_for("the gateway being known", 30, || {
        gateway.expect_alive();
        post(&url, &order("first", "valve_2", 33.0)).ok()
    });
    let found = |id: &str| -> Option<Value> {
        let all = get(&url)?;
        let page = all["items"].as_array()?.iter().find(|item| item["id"] == id)?.clone();
        (page["state"] != "pending").then_some(page)
    };
    let done = wait_for("the first command being done", 30, || found("first"));
    assert_eq!((&done["state"], &done["read_back"]), (&json!("done"), &json!(33.0)), "{done}");
    let again = post(&url, &order("first", "valve_2", 99.0)).expect("an answer");
    assert_eq!(again["value"], json!(33.0), "an id is one command");
    for (id, point, value, reason) in [
        ("forbidden", "valve", 1.0, "does not take commands from the centre"),
        ("much", "valve_2", 101.0, "not between 0 and 100"),
        ("nothing", "pressure", 1.0, "no output"),
    ] {
        post(&url, &order(id, point, value)).expect("taken");
        let page = wait_for("an answer", 30, || found(id));
        assert_eq!(page["state"], "refused", "{page}");
        assert!(page["detail"].as_str().is_some_and(|detail| detail.contains(reason)), "{page}");
    }
    // What the gateway has told of its outputs: how they stand, when they go back, what holds them.
    let outputs = ingestor.url("bases/dangzhai-01/outputs");
    let output = |point: &str| -> Option<Value> {
        get(&outputs)?["items"].as_array()?.iter().find(|item| item["point"] == point).cloned()
    };
    let limited = json!({"id": "limited", "gateway": "dangzhai-01", "device": "v", "point": "valve_2", "value": 5.0, "by": "tester", "reason": "a test", "for_s": 2});
    post(&url, &limited).expect("taken");
    let back = wait_for("its time being over", 30, || {
        output("valve_2").filter(|item| {
            item["last"]["own"]["en"] == "its longest time of 2 s is over" && item["away"] == false
        })
    });
    assert_eq!((&back["name"]["zh"], &back["on_max_s"]), (&json!("阀二"), &json!(3600)), "{back}");
    assert_eq!(found("limited").expect("it is over")["reason"], "a test");
    let held = wait_for("its condition", 30, || {
        output("valve").filter(|item| item["conditions"][0]["holds"] == "yes")
    });
    assert_eq!(
        (&held["from_centre"], &held["conditions"][0]["max"]),
        (&json!(false), &json!(500.0)),
        "{held}"
    );
    // A gateway that is away gets the command when it is back; what it did at its start is told too.
    post(&url, &order("away", "valve_2", 22.0)).expect("taken");
    wait_for("the valve being away from safety", 30, || found("away"));
    gateway.kill();
    post(&url, &order("later", "valve_2", 44.0)).expect("taken");
    let _gateway = start_with(folder, port, ingestor.mqtt);
    let later = wait_for("the later command", 30, || found("later"));
    assert_eq!((&later["state"], &later["read_back"]), (&json!("done"), &json!(44.0)), "{later}");
    wait_for("the restart's own command", 30, || {
        let all = get(&url)?;
        let by = |item: &Value| item["by"].as_str().is_some_and(|by| by.contains("has restarted"));
        all["items"].as_array()?.iter().any(by).then_some(())
    });
    ingestor.kill_and_restart();
    assert_eq!(found("first"), Some(done));
    assert_eq!(found("later"), Some(later));
}
