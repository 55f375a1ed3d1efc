//! Two ingestors share Mosquitto, PostgreSQL and VictoriaMetrics. The owner of a gateway is killed, put to sleep for longer than
//! its lease, stopped in order: the other takes over, and whoever wakes up is kept from storing anything. Their database is away.
//! People may ask either of them.

use serde_json::{Value, json};
use sitian_tests_system::oracle::Verdict;
use sitian_tests_system::postgres::Postgres;
use sitian_tests_system::rig::{BASE, Plan};
use sitian_tests_system::tally::{Fault, Harm};
use sitian_tests_system::{Gateway, Ingestor, Rig, Stream, Victoria, ask, get, post, wait_for};

/// The slot of [`BASE`]: see the golden test of `Slot`.
const SLOT: u8 = 6;

/// A gateway that stands in no base.
const NEWCOMER: &str = "newcomer-1";

/// The point is below, from its first reading on.
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

/// Two members, `a` and `b`. What is dropped first stands first: others write into folders below.
struct Pair {
    other: Ingestor,
    engine: Victoria,
    rig: Rig,
    database: Postgres,
    /// Which one the rig asks.
    asked: &'static str,
}

impl Pair {
    fn start(fault: &Fault) -> Option<Self> {
        if let Some(why) = Postgres::lacking() {
            fault.skipped(why);
            return None;
        }
        let folder = tempfile::tempdir().expect("a temporary folder");
        let database = Postgres::start()?;
        let url = database.database("centre");
        let engine = Victoria::start(folder.path());
        let rules = folder.path().join("rules");
        std::fs::create_dir_all(&rules).expect("a folder");
        std::fs::write(rules.join("test.toml"), RULES).expect("a file");
        let settings = |name: &str| {
            let mut settings = engine.settings().to_vec();
            settings.extend(
                ["registry.kind=postgresql", "registry.shared=true", "registry.lease_s=5"].map(str::to_owned),
            );
            settings.extend([format!("registry.url={url}"), format!("registry.member={name}")]);
            settings.push(format!("alert.rules={}", rules.display()));
            settings
        };
        let beside = folder.path().join("b");
        std::fs::create_dir_all(&beside).expect("a folder");
        let plan = Plan { ingestor: settings("a"), ..Plan::default() };
        let rig = Rig::start(folder, &plan);
        let more = settings("b");
        let more: Vec<&str> = more.iter().map(String::as_str).collect();
        let other = Ingestor::start(&beside, Some(&rig.broker), &more);
        let pair = Self { other, engine, rig, database, asked: "a" };
        pair.both_hold_half();
        Some(pair)
    }

    fn sql(&self, text: &str) -> String {
        self.database.sql("centre", text)
    }

    fn both_hold_half(&self) {
        let each = "SELECT string_agg(n::text, ' ') FROM (SELECT count(*) n FROM sitian.lease WHERE until > now() GROUP BY member) x";
        wait_for("both holding half of the slots", 120, || (self.sql(each) == "32 32").then_some(()));
    }

    /// Who holds the gateway's slot, `a` or `b`.
    fn owner(&self) -> String {
        let owner = format!(
            "SELECT split_part(member, '#', 1) FROM sitian.lease WHERE slot = {SLOT} AND until > now()"
        );
        wait_for("an owner", 60, || Some(self.sql(&owner)).filter(|name| !name.is_empty()))
    }

    /// From here on the rig asks the one that does not own the gateway. Returns who does.
    fn ask_the_other(&mut self) -> String {
        let owner = self.owner();
        if owner == self.asked {
            std::mem::swap(&mut self.rig.ingestor, &mut self.other);
            self.asked = if self.asked == "a" { "b" } else { "a" };
        }
        owner
    }

    fn both(&self) -> [&Ingestor; 2] {
        [&self.rig.ingestor, &self.other]
    }

    /// Starts a gateway of which nobody has heard, on the same field.
    fn newcomer(&self) -> Gateway {
        let here = self.rig.folder.path();
        let folder = here.join("newcomer");
        std::fs::create_dir_all(&folder).expect("a folder");
        let config = std::fs::read_to_string(here.join("gateway.toml")).expect("the rig's gateway has one");
        let profiles = format!("\"{}\"", here.join("profiles").display());
        Gateway::start(&folder, &config.replace(BASE, NEWCOMER).replace("\"profiles\"", &profiles))
    }

    /// Both show that the gateway is there and has readings.
    fn both_show_it(&self) {
        for ingestor in self.both() {
            wait_for("both consoles showing the gateway's readings", 90, || {
                let latest = get(&ingestor.url(&format!("bases/{BASE}/latest")))?;
                latest.pointer("/items/0/value")?.is_number().then_some(())
            });
        }
    }

    /// Both say that all is well, and that each has half.
    fn both_are_well(&self) {
        for ingestor in self.both() {
            wait_for("both saying who owns what", 90, || {
                let health = get(&ingestor.url("health"))?;
                let members = health.pointer("/sharing/members")?.as_array()?;
                let parts: Vec<&Value> = members.iter().map(|member| &member["parts"]).collect();
                let this = members.iter().filter(|member| member["this"] == true).count();
                (health["status"] == "ok" && parts == [32, 32] && this == 1).then_some(())
            });
        }
    }

    /// Nothing is lost, doubled or wrong, on either console; or everybody says what they know, and the logs stay.
    fn judge(&mut self, most_s: u64) -> Verdict {
        let (verdict, _) = self.rig.settle(most_s);
        if verdict.harm != Harm::default() {
            self.rig.folder.disable_cleanup(true);
            println!(
                "owner {}, asked {}; logs in {}",
                self.owner(),
                self.asked,
                self.rig.folder.path().display()
            );
            println!("the engine holds {:?}", self.engine.holds(BASE));
            for ingestor in [&mut self.rig.ingestor, &mut self.other] {
                println!("health {:?}", ask(&ingestor.url("health")));
                let rows = ask(&ingestor.url(&format!("points/{BASE}/counter-1/p0/readings?limit=10000")));
                println!("rows {:?}", rows.map(|rows| rows["items"].as_array().map(Vec::len)));
                println!("quarantine {:?}", ask(&ingestor.url("quarantine")));
                println!("log\n{}", ingestor.program.last_output());
            }
        }
        verdict
    }
}

#[test]
fn the_other_takes_over_from_an_owner_that_is_killed_or_asleep_and_nothing_is_lost_or_doubled() {
    let fault = Fault {
        number: "F39",
        title: "one of two ingestors killed, put to sleep for longer than its lease",
        injected: "kill -9; SIGSTOP, SIGCONT after the other has taken over",
    };
    let Some(mut pair) = Pair::start(&fault) else { return };
    pair.rig.accepts(30);
    pair.both_show_it();
    pair.both_are_well();

    let first = pair.ask_the_other();
    pair.other.program.kill();
    wait_for("the other taking over", 60, || (pair.owner() != first).then_some(()));
    pair.rig.accepts(50);
    assert_eq!(pair.judge(60).harm, Harm::default(), "after the kill");

    pair.other.start_again();
    pair.both_hold_half();
    let second = pair.ask_the_other();
    pair.rig.accepts(30);
    pair.other.program.signal("STOP");
    wait_for("the other taking over from one that sleeps", 60, || (pair.owner() != second).then_some(()));
    pair.rig.accepts(50);
    pair.other.program.signal("CONT");
    pair.both_hold_half();
    pair.rig.accepts(30);
    pair.both_show_it();
    pair.both_are_well();
    let Verdict { harm, readings, .. } = pair.judge(60);
    fault.came_to("1 kill, 1 sleep", harm, format!("{readings} readings; leases of 5 s"));
    assert_eq!(harm, Harm::default());
}

#[test]
fn a_gateway_that_nobody_knows_is_taken_in_and_both_members_go_on_after_their_database_was_away() {
    let fault = Fault {
        number: "F39",
        title: "database of two ingestors away for longer than a lease",
        injected: "kill -9 of PostgreSQL with all its processes, started again later",
    };
    let Some(mut pair) = Pair::start(&fault) else { return };
    pair.rig.accepts(20);
    let _newcomer = pair.newcomer();
    for ingestor in pair.both() {
        wait_for("both consoles showing the newcomer's readings", 120, || {
            let rows = get(&ingestor.url(&format!("points/{NEWCOMER}/counter-1/p0/readings")))?;
            (rows["items"].as_array()?.len() > 5).then_some(())
        });
    }
    pair.both_are_well();
    pair.database.kill();
    for ingestor in pair.both() {
        wait_for("both saying that nothing is admitted", 90, || {
            let health = get(&ingestor.url("health"))?;
            (health["status"] == "degraded" && health.pointer("/sharing/healthy") == Some(&json!(false)))
                .then_some(())
        });
    }
    pair.rig.accepts(50);
    pair.database.start_again();
    pair.both_hold_half();
    pair.both_are_well();
    pair.rig.accepts(20);
    let Verdict { harm, readings, .. } = pair.judge(60);
    fault.came_to("1 time", harm, format!("{readings} readings; both said degraded meanwhile"));
    assert_eq!(harm, Harm::default());
}

#[test]
fn an_alert_is_acknowledged_on_either_console_and_an_owner_that_stops_in_order_leaves_nothing_to_wait_for() {
    let fault = Fault {
        number: "F39",
        title: "one of two ingestors stopped in order",
        injected: "SIGTERM to the owner of the gateway",
    };
    let Some(mut pair) = Pair::start(&fault) else { return };
    let owner = pair.ask_the_other();
    let (asked, owning) = (&pair.rig.ingestor, &pair.other);
    let fires = |ingestor: &Ingestor| {
        let open = get(&ingestor.url("alerts?phase=firing"))?;
        open.pointer("/items/0/id").map(|id| id.to_string().replace('"', ""))
    };
    let id = wait_for("an alert on the console that does not own the gateway", 90, || fires(asked));
    let mut streams = [asked, owning].map(|one| Stream::open(&one.url("streams/alerts"), None));
    let acknowledge = |ingestor: &Ingestor, by: &str| {
        let url = ingestor.url(&format!("alerts/{id}/acknowledge"));
        post(&url, &json!({"by": by, "note": "知道了"}))
    };
    let by = "/acknowledged/by";
    let answer = acknowledge(asked, "王建国").expect("is passed on to the owner");
    assert_eq!(answer.pointer(by), Some(&json!("王建国")));
    for stream in &mut streams {
        assert_eq!(stream.next_event().data.pointer(by), Some(&json!("王建国")), "both streams tell");
    }
    for ingestor in [owning, asked] {
        let answer = acknowledge(ingestor, "李四").expect("changes nothing");
        assert_eq!(answer.pointer(by), Some(&json!("王建国")), "the first stays");
    }
    let nobody = acknowledge(asked, " ").expect_err("nobody signs");
    assert!(nobody.contains("400"), "{nobody}");

    pair.rig.accepts(20);
    drop(streams);
    assert_eq!(pair.other.program.end(), Some(0));
    let left = format!(
        "SELECT count(*) FROM sitian.lease WHERE until > now() AND split_part(member, '#', 1) = '{owner}'"
    );
    assert_eq!(pair.sql(&left), "0", "no lease has to run out");
    let all = "SELECT count(*) FROM sitian.lease WHERE until > now()";
    wait_for("the other having all slots", 60, || (pair.sql(all) == "64").then_some(()));
    pair.rig.accepts(20);
    let (verdict, _) = pair.rig.settle(60);
    let Verdict { harm, readings, .. } = verdict;
    fault.came_to("1 stop", harm, format!("{readings} readings; no lease had to run out"));
    assert_eq!(harm, Harm::default());
    assert_eq!(fires(&pair.rig.ingestor), Some(id), "it is the same alert");
    let raised = "SELECT count(*) FROM sitian.alert_log WHERE kind = 'fired'";
    assert_eq!(pair.sql(raised), "1");
}
