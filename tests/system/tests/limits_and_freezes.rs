//! F12 and F13: a gateway in 64 MiB behind a week's backlog; parts that stand still for a while.

use std::path::{Path, PathBuf};
use std::time::Duration;

use sitian_tests_system::rig::{BASE, Plan};
use sitian_tests_system::tally::{Fault, Harm, NONE, night, times};
use sitian_tests_system::{Gateway, Rig, backlog, get, wait_for};

/// A memory cgroup, of version 1 or 2. It goes when it is dropped.
struct Cage(PathBuf);

impl Cage {
    fn new(bytes: u64) -> Result<Self, String> {
        let old = Path::new("/sys/fs/cgroup/memory");
        let (root, limit) = if old.exists() {
            (old, "memory.limit_in_bytes")
        } else {
            (Path::new("/sys/fs/cgroup"), "memory.max")
        };
        let cage = Self(root.join(format!("sitian-test-{}", std::process::id())));
        let set =
            std::fs::create_dir(&cage.0).and_then(|()| std::fs::write(cage.0.join(limit), bytes.to_string()));
        set.map(|()| cage).map_err(|error| format!("no memory cgroup: {error}"))
    }
}

impl Drop for Cage {
    fn drop(&mut self) {
        // Its processes have been killed; the kernel takes a moment to see that.
        for _ in 0..100 {
            if std::fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }
}

#[test]
fn a_gateway_behind_a_weeks_backlog_stays_in_64_mib() {
    let fault = Fault {
        number: "F12",
        title: "64 MiB of memory, 7-day backlog of 1,000 points at 10 s",
        injected: "memory cgroup; the backlog is written by the real spool",
    };
    let cage = match Cage::new(64 << 20) {
        Ok(cage) => cage,
        Err(why) => return fault.skipped(why),
    };
    let rounds = 7 * 8_640;
    let mut rig = Rig::start(tempfile::tempdir().expect("a temporary folder"), &Plan::default());
    rig.accepts(2);
    rig.gateway.program.kill();
    let spool = rig.folder.path().join("spool");
    std::fs::remove_dir_all(&spool).expect("the rig's first spool");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a set clock");
    let bytes = backlog::write(&spool, BASE, 1_000, rounds, now.as_millis() as i64);
    rig.gateway.start_again_under(&caged(&cage).iter().map(String::as_str).collect::<Vec<_>>());
    // Live readings are accepted while the backlog drains; the centre takes in so much of it.
    let wanted = times(200, 2_000);
    rig.accepts(wanted);
    let peak = peak_mib(&rig.gateway);
    let page = get(&rig.ingestor.url(&format!("bases/{BASE}"))).unwrap_or_default();
    let left = page["gateways"][0]["spool"]["backlog"].as_u64().unwrap_or_default();
    rig.gateway.program.expect_alive();
    let (drained, harm) = judge_backlog(&rig);
    let note = format!(
        "peak RSS {peak} MiB; spool {} MiB; {drained} of {rounds} records of the backlog drained meanwhile",
        bytes >> 20,
    );
    fault.came_to(format!("1 backlog, {wanted} live records"), harm, note);
    assert_eq!(harm, NONE);
    assert!(drained > 0 && left > 0 && peak <= 48, "peak RSS {peak} MiB, {left} records left");
}

/// How many records of the backlog are stored, and what became of them, seen at one of their points.
fn judge_backlog(rig: &Rig) -> (u64, Harm) {
    let rows = rig.ingestor.readings(&format!("{BASE}/outage-1/p5"));
    let mut seqs: Vec<u64> = rows.iter().filter_map(|row| row["seq"].as_u64()).collect();
    let is_true = |row: &&serde_json::Value| {
        let seq = row["seq"].as_u64().unwrap_or_default();
        row["value"].as_f64() == Some(((seq + 5) % 10_000) as f64 / 10.0)
    };
    let wrong = (rows.len() - rows.iter().filter(is_true).count()) as u64;
    seqs.sort_unstable();
    seqs.dedup();
    let (stored, end) = (seqs.len() as u64, seqs.last().map_or(0, |last| last + 1));
    (stored, Harm { lost: end - stored, doubled: rows.len() as u64 - stored, wrong })
}

/// Puts itself into the cage and becomes what follows.
fn caged(cage: &Cage) -> Vec<String> {
    let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", cage.0.display());
    ["sh", "-c", &enter, "sh"].map(str::to_owned).into()
}

/// The most memory it ever had, in MiB.
fn peak_mib(gateway: &Gateway) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", gateway.program.id())).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(u64::MAX).div_ceil(1024)
}

/// An offline gateway is told after two seconds by day, after the default thirty at night.
fn offline_rule(after: &str) -> String {
    format!(
        "[[rule]]\nid = \"gateway-offline\"\nname = {{ zh = \"网关离线\", en = \"Gateway offline\" }}\nkind = \"gateway_offline\"\n\
         levels = [{{ severity = \"yellow\", after = \"{after}\" }}]\nsource = \"tests/system\"\nverified = \"U\"\n"
    )
}

#[test]
fn parts_that_stand_still_cost_nothing_and_raise_no_false_alarm() {
    let (freeze_s, keep_alive_s, after) = if night() { (90, 20, "30s") } else { (9, 2, "3s") };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let rules = folder.path().join("rules");
    std::fs::create_dir(&rules).expect("a fresh folder");
    std::fs::write(rules.join("test.toml"), offline_rule(after)).expect("a fresh folder");
    let ingestor =
        vec![format!("alert.rules={}", rules.display()), format!("mqtt.keep_alive_s={keep_alive_s}")];
    let mut rig = Rig::start(folder, &Plan { keep_alive_s, ingestor, ..Plan::default() });
    rig.accepts(5);
    let alerts = |rig: &Rig| -> Vec<serde_json::Value> {
        let list = get(&rig.ingestor.url("alerts?limit=500")).unwrap_or_default();
        list["items"].as_array().cloned().unwrap_or_default()
    };
    let open =
        |rig: &Rig| alerts(rig).iter().filter(|a| a["phase"] == "firing" || a["phase"] == "pending").count();
    let rows = [
        ("broker frozen", "broker"),
        ("ingestor frozen", "ingestor"),
        ("gateway frozen", "gateway"),
        ("gateway, broker and ingestor frozen", "all"),
    ];
    for (title, who) in rows {
        let before = alerts(&rig).len();
        for signal in ["STOP", "CONT"] {
            let parts = [
                ("broker", &rig.broker.program),
                ("ingestor", &rig.ingestor.program),
                ("gateway", &rig.gateway.program),
            ];
            for (_, part) in parts.iter().filter(|(name, _)| who == *name || who == "all") {
                part.signal(signal);
            }
            if signal == "STOP" {
                // The fault is so long.
                std::thread::park_timeout(Duration::from_secs(freeze_s));
                if who == "gateway" {
                    // One that stays away is told: the rule has teeth.
                    wait_for("the alarm of a gateway that is gone", 60, || (open(&rig) > 0).then_some(()));
                }
            }
        }
        rig.accepts(5);
        let (verdict, _) = rig.settle(90);
        wait_for("every alarm to be over", 60, || (open(&rig) == 0).then_some(()));
        let raised = alerts(&rig).len() - before;
        let note = format!(
            "{} polls of living gateways skipped; {raised} offline alarms after {after}{}",
            verdict.skipped,
            if who == "gateway" { ": true, it was kept away until then; over by itself" } else { "" }
        );
        let fault = Fault { number: "F13", title, injected: "SIGSTOP, SIGCONT" };
        fault.came_to(format!("{freeze_s} s, keep-alive {keep_alive_s} s"), verdict.harm, note);
        assert_eq!((verdict.harm, verdict.skipped), (NONE, 0), "{title}");
        assert_eq!(raised, usize::from(who == "gateway"), "{title}");
    }
}
