//! Scores: what happens, and what the engine tells.
//!
//! An event is `time=value` (seconds; `?` uncertain, `~` uncertain for want of a clock, `!` instead of a value: bad),
//! with `@now` when it arrives later than it was taken; or `tick@now`, `online@now`, `offline@now`, `ack@now`,
//! `deaf@now`,
//! `hearing@now`, `restart@now`. An expectation is `kind colour started/fired/resolved`, with `late` for history.

#![allow(clippy::unwrap_used)]

use sitian_alert::{Change, Engine, Rules, Settings, Vocabulary, WatchedPoint};
use sitian_model::{BaseId, Cause, EpochNo, Numbers, PointId, PointNo, Quality, Row, Slot, Timestamp};

const EC: &str = r#"
[[rule]]
id = "ec"
name = { zh = "电导率", en = "EC" }
kind = "above"
measurement = "water_ec"
for = "20s"
levels = [
  { severity = "yellow", threshold = 700, clear = 650 },
  { severity = "red", threshold = 3000, clear = 2800 },
]
source = "test"
verified = "U"
"#;

const FROST: &str = r#"
[[rule]]
id = "frost"
name = { zh = "霜冻", en = "Frost" }
kind = "below"
inclusive = true
measurement = "water_ec"
levels = [
  { severity = "yellow", threshold = 2, clear = 2.5 },
  { severity = "orange", threshold = 0, clear = 0.5 },
]
source = "test"
verified = "U"
"#;

const SILENCE: &str = r#"
[[rule]]
id = "no-data"
name = { zh = "中断", en = "No data" }
kind = "no_data"
levels = [{ severity = "blue", after = "30s", intervals = 5 }, { severity = "yellow", after = "10m", intervals = 5 }]
source = "test"
verified = "U"

[[rule]]
id = "dark"
name = { zh = "离线", en = "Dark" }
kind = "gateway_offline"
levels = [{ severity = "yellow", after = "20s" }, { severity = "orange", after = "5m" }]
source = "test"
verified = "U"
"#;

fn watched() -> WatchedPoint {
    WatchedPoint {
        point: PointNo(7),
        id: PointId::parse("gw-1/water-1/water_ec").unwrap(),
        base: Some(BaseId::new("dangzhai-01").unwrap()),
        measurement: "water_ec".into(),
        interval_ms: 10_000,
        place: "3号棚".into(),
        territory: ["zhangye", "ganzhou", "dangzhai", "dangzhai-01"].map(String::from).to_vec(),
    }
}

fn engine(rules: &str, now: Timestamp) -> Engine {
    let rules = Rules::parse(&[("test.toml", rules)], &Vocabulary::any()).unwrap();
    Engine::new(rules, Settings::default(), now)
}

fn seconds(text: &str) -> Timestamp {
    Timestamp((text.parse::<f64>().unwrap() * 1000.0) as i64)
}

fn row(at: Timestamp, value: &str) -> Row {
    let (number, quality) = match value {
        "!" => ("", Quality::Bad(Cause::Timeout)),
        v if v.ends_with('?') => (v.trim_end_matches('?'), Quality::Uncertain(Cause::Implausible)),
        v if v.ends_with('~') => (v.trim_end_matches('~'), Quality::Uncertain(Cause::ClockUnknown)),
        v => (v, Quality::Good),
    };
    Row { point: PointNo(7), at, value: number.parse().ok(), quality, epoch: EpochNo(1), seq: 0 }
}

fn tell(change: &Change) -> String {
    let e = &change.episode;
    let time = |t: Option<Timestamp>| t.map_or("-".into(), |t| (t.0 / 1000).to_string());
    let late = if e.late { " late" } else { "" };
    let (started, fired, resolved) = (time(Some(e.started_at)), time(e.fired_at), time(e.resolved_at));
    format!("{} {} {started}/{fired}/{resolved}{late}", change.kind.word(), e.severity)
}

fn check(rules: &str, events: &str, expected: &[&str]) {
    let mut engine = engine(rules, Timestamp(0));
    engine.register(watched(), Timestamp(0));
    let mut told: Vec<Change> = Vec::new();
    for event in events.split_whitespace() {
        let (what, now) = event.split_once('@').unwrap_or((event, ""));
        let gateway = watched().id.gateway;
        match (what, what.split_once('=')) {
            (_, Some((at, value))) => {
                let now = if now.is_empty() { at } else { now };
                engine.handle_timeout(seconds(now));
                engine.observe(&row(seconds(at), value), seconds(now));
            }
            ("tick", _) => engine.handle_timeout(seconds(now)),
            ("online", _) => engine.gateway_online(&gateway, seconds(now)),
            ("offline", _) => engine.gateway_offline(&gateway, seconds(now), seconds(now)),
            ("deaf", _) => engine.handle_deaf(),
            ("hearing", _) => engine.handle_hearing(seconds(now)),
            ("ack", _) => {
                let id = told.last().unwrap().episode.id;
                engine.acknowledge(id, "王工", "去看了", seconds(now)).unwrap();
            }
            ("restart", _) => engine = restart(rules, &engine, seconds(now)),
            _ => panic!("{event}"),
        }
        told.extend(std::iter::from_fn(|| engine.poll_change()));
    }
    assert_eq!(told.iter().map(tell).collect::<Vec<_>>(), expected, "{events}");
}

fn restart(rules: &str, old: &Engine, now: Timestamp) -> Engine {
    let stored = old.snapshot();
    let mut fresh = engine(rules, now);
    assert_eq!(fresh.restore(&stored.states, &stored.marks, now), Vec::<String>::new());
    fresh.register(watched(), now);
    fresh
}

#[test]
fn a_value_must_stay_beyond_for_as_long_as_the_rule_asks() {
    for (events, expected) in [
        ("0=600 10=700 20=700", &[] as &[&str]),
        ("0=701 10=800", &["pending yellow 0/-/-"]),
        ("0=701 10=800 20=800", &["pending yellow 0/-/-", "fired yellow 0/20/-"]),
        (
            "0=800 10=800 20=690 30=800",
            &["pending yellow 0/-/-", "dropped yellow 0/-/20", "pending yellow 30/-/-"],
        ),
        ("0=5000 10=5000 20=5000", &["pending red 0/-/-", "fired red 0/20/-"]),
    ] {
        check(EC, events, expected);
    }
}

#[test]
fn it_fires_until_it_clears() {
    let fired = ["pending yellow 0/-/-", "fired yellow 0/20/-"];
    check(EC, "0=800 10=800 20=800 30=660 40=651", &fired);
    check(EC, "0=800 10=800 20=800 30=650", &[fired[0], fired[1], "resolved yellow 0/20/30"]);
}

#[test]
fn one_episode_rises_and_falls_through_the_levels() {
    check(
        EC,
        "0=800 10=800 20=800 30=3500 40=3500 50=3500 60=2900 70=2800 80=600",
        &[
            "pending yellow 0/-/-",
            "fired yellow 0/20/-",
            "escalated red 0/20/-",
            "eased yellow 0/20/-",
            "resolved yellow 0/20/80",
        ],
    );
    check(
        FROST,
        "0=3 10=2 20=0.1 30=0 40=0.4 50=0.5 60=2.5",
        &[
            "fired yellow 10/10/-",
            "escalated orange 10/10/-",
            "eased yellow 10/10/-",
            "resolved yellow 10/10/60",
        ],
    );
}

#[test]
fn a_worse_level_takes_the_milder_ones_along() {
    let hasty = EC.replace("clear = 2800 }", "clear = 2800, for = \"0s\" }");
    check(
        &hasty,
        "0=3500 5=2700 10=660 15=650",
        &["fired red 0/0/-", "eased yellow 0/0/-", "resolved yellow 0/0/15"],
    );
}

#[test]
fn bad_readings_trigger_nothing_and_clear_nothing() {
    check(EC, "0=! 10=! 20=! 30=!", &[]);
    check(FROST, "0=1 10=! 20=1", &["fired yellow 0/0/-"]);
}

#[test]
fn uncertain_readings_continue_but_begin_fire_and_end_nothing() {
    check(EC, "0=800? 10=800? 20=800? 30=800?", &[]);
    check(EC, "0=800 10=800? 20=800?", &["pending yellow 0/-/-"]);
    check(EC, "0=800 10=800? 20=800? 30=800", &["pending yellow 0/-/-", "fired yellow 0/30/-"]);
    check(FROST, "0=1 10=9? 20=9?", &["fired yellow 0/0/-"]);
    check(FROST, "0=1 10=-9?", &["fired yellow 0/0/-"]);
}

#[test]
fn a_hole_in_the_data_freezes_a_duration() {
    // 25 s is two and a half intervals: the step of 25 s counts, the step of 26 s does not.
    check(EC, "0=800 25=800", &["pending yellow 0/-/-", "fired yellow 0/25/-"]);
    check(EC, "0=800 26=800 36=800", &["pending yellow 0/-/-"]);
    check(EC, "0=800 10=800 3600=800 3610=800", &["pending yellow 0/-/-", "fired yellow 0/3610/-"]);
}

#[test]
fn late_readings_write_history_and_never_page() {
    // An outage from 100 to 1000 is told after the live readings of 1010 and 1020.
    check(
        EC,
        "100=600 1010=600 1020=600 110=800@1021 120=800@1021 130=900@1021 140=600@1021",
        &["resolved yellow 110/130/140 late"],
    );
    // History that nobody continues is closed at its last reading.
    check(EC, "1010=600 110=800@1021 120=800@1021 130=900@1021 tick@1320", &[]);
    check(
        EC,
        "1010=600 110=800@1021 120=800@1021 130=900@1021 tick@1321",
        &["resolved yellow 110/130/130 late"],
    );
    // Too short for an episode.
    check(EC, "1010=600 110=800@1021 120=800@1021 tick@9999", &[]);
    // A backlog that comes in order, but hours old.
    check(FROST, "10=1@9000 20=9@9000", &["resolved yellow 10/10/20 late"]);
    // What the live episode tells of already is not told again.
    check(FROST, "100=1 120=1 110=1@121 tick@9999", &["fired yellow 100/100/-"]);
}

#[test]
fn history_that_ends_in_one_moment_is_numbered_alike_with_and_without_a_restart() {
    let second =
        WatchedPoint { point: PointNo(8), id: PointId::parse("gw-1/water-2/water_ec").unwrap(), ..watched() };
    let told = |restarts: bool| {
        let mut engine = engine(FROST, Timestamp(0));
        let register = |engine: &mut Engine| {
            engine.register(watched(), Timestamp(0));
            engine.register(second.clone(), Timestamp(0));
        };
        register(&mut engine);
        // The first point begins earlier, and is heard of later: its five minutes of patience end last.
        for (at, now, point) in [(10, 9000, 7), (10, 9010, 8), (20, 9100, 7)] {
            let row = Row { point: PointNo(point), ..row(Timestamp(at * 1000), "1") };
            engine.observe(&row, Timestamp(now * 1000));
        }
        if restarts {
            engine = restart(FROST, &engine, Timestamp(9_200_000));
            register(&mut engine);
        }
        engine.handle_timeout(Timestamp(9_500_000));
        let changes = std::iter::from_fn(|| engine.poll_change());
        changes.map(|change| (change.episode.id, change.episode.subject)).collect::<Vec<_>>()
    };
    let subject = |point: WatchedPoint| sitian_alert::Subject::Point(point.point, point.id);
    let expected = [(1, subject(second.clone())), (2, subject(watched()))];
    assert_eq!((told(false), told(true)), (expected.to_vec(), expected.to_vec()));
}

#[test]
fn a_reading_without_an_honest_date_is_not_judged_and_does_not_move_time() {
    check(FROST, "10=1~ 999999=1@20 30=1", &["fired yellow 30/30/-"]);
}

#[test]
fn silence_is_told_after_the_rules_patience_and_ends_with_a_sign_of_life() {
    check(SILENCE, "0=1 tick@49", &[]);
    check(SILENCE, "0=1 tick@50", &["fired blue 0/50/-"]);
    check(SILENCE, "0=1 10=! 20=! 30=! 40=! 50=!", &["fired blue 0/50/-"]);
    check(SILENCE, "tick@50", &["fired blue 0/50/-"]);
    check(
        SILENCE,
        "0=1 tick@50 tick@599 tick@600 610=1 tick@659 tick@660",
        &["fired blue 0/50/-", "escalated yellow 0/50/-", "resolved yellow 0/50/610", "fired blue 610/660/-"],
    );
    // Backfill from before is no sign of life now; a reading without a clock is one.
    check(SILENCE, "0=1 tick@200 90=1@200", &["fired blue 0/50/-"]);
    check(SILENCE, "0=1 tick@200 7=1~@201", &["fired blue 0/50/-", "resolved blue 0/50/201"]);
}

#[test]
fn a_gateway_that_is_dark_speaks_for_its_points() {
    check(
        SILENCE,
        "online@1 30=1 70=1 offline@71 tick@90 tick@91 tick@371 tick@2000 online@2000 tick@2049 2049=1 tick@2098",
        &["fired yellow 71/91/-", "escalated orange 71/91/-", "resolved orange 71/91/2000"],
    );
    // Back, but the point stays silent.
    check(
        SILENCE,
        "online@1 30=1 70=1 offline@71 tick@91 online@100 tick@149 tick@150",
        &["fired yellow 71/91/-", "resolved yellow 71/91/100", "fired blue 70/150/-"],
    );
}

#[test]
fn a_restart_gives_gateways_and_points_time_to_come_back() {
    // Within the grace of 60 s after the start nothing is said about gateways.
    check(SILENCE, "online@1 tick@2 0=1 restart@1000 tick@1059 online@1059 1059=1 tick@1100", &[]);
    check(SILENCE, "online@1 0=1 restart@1000 tick@1060", &["fired yellow 1000/1060/-"]);
    check(SILENCE, "offline@5 tick@59 restart@1000 tick@1059 tick@1060", &["fired orange 5/1060/-"]);
    // A point of a gateway that never said anything.
    check(SILENCE, "0=1 restart@1000 tick@1049 tick@1050", &["fired blue 0/1050/-"]);
    // What fired goes on firing, and ends as ever.
    check(SILENCE, "0=1 tick@50 restart@60 tick@70 80=1", &["fired blue 0/50/-", "resolved blue 0/50/80"]);
    check(FROST, "0=1 restart@5 10=1 20=3", &["fired yellow 0/0/-", "resolved yellow 0/0/20"]);
    check(EC, "0=800 10=800 restart@15 20=800", &["pending yellow 0/-/-", "fired yellow 0/20/-"]);
}

#[test]
fn a_deaf_centre_blames_nobody() {
    check(SILENCE, "online@1 30=1 deaf@40 tick@900 hearing@1000 tick@1049 online@1010 1049=1 tick@1090", &[]);
    check(SILENCE, "online@1 30=1 deaf@40 hearing@1000 tick@1059 tick@1060", &["fired yellow 1000/1060/-"]);
    check(SILENCE, "30=1 deaf@40 tick@100 hearing@1000 tick@1049 tick@1050", &["fired blue 30/1050/-"]);
    check(SILENCE, "30=1 tick@80 deaf@90 100=1", &["fired blue 30/80/-", "resolved blue 30/80/100"]);
}

#[test]
fn an_acknowledged_episode_goes_on_firing_and_says_who_knew_what() {
    let fired = "fired yellow 0/0/-";
    check(FROST, "0=1 ack@5 ack@6 10=1", &[fired, "acknowledged yellow 0/0/-"]);
    let (noted, worse) = ("acknowledged yellow 0/0/-", "escalated orange 0/0/-");
    check(FROST, "0=1 ack@5 10=-1 ack@11", &[fired, noted, worse, "acknowledged orange 0/0/-"]);

    let mut engine = engine(FROST, Timestamp(0));
    engine.register(watched(), Timestamp(0));
    engine.observe(&row(Timestamp(0), "1"), Timestamp(0));
    let id = engine.poll_change().unwrap().episode.id;
    for (id, by, note, error) in [
        (id + 1, "a", "", "no open episode"),
        (id, " ", "", "1 to 100 characters"),
        (id, &"长".repeat(101), "", "1 to 100 characters"),
        (id, "a", &"长".repeat(1001), "at most 1000 characters"),
    ] {
        let told = engine.acknowledge(id, by, note, Timestamp(1)).unwrap_err().to_string();
        assert!(told.contains(error), "{told}");
    }
    let episode = engine.acknowledge(id, " 王工 ", "", Timestamp(1)).unwrap();
    assert!(episode.is_acknowledged());
    assert_eq!(episode.acknowledged.unwrap().by, "王工");
    engine.observe(&row(Timestamp(10_000), "-1"), Timestamp(10_000));
    assert!(!engine.open_episode(id).unwrap().is_acknowledged(), "orange is news");
}

#[test]
fn a_retired_point_and_a_vanished_rule_drop_their_episodes() {
    let mut engine = engine(FROST, Timestamp(0));
    engine.register(watched(), Timestamp(0));
    engine.observe(&row(Timestamp(0), "1"), Timestamp(0));
    assert_eq!(engine.open_episodes().count(), 1);
    assert_eq!(engine.worst_at(PointNo(7)), Some(sitian_alert::Severity::Yellow));
    let stored = engine.snapshot();

    engine.retire(PointNo(7), Timestamp(5000));
    let told: Vec<_> = std::iter::from_fn(|| engine.poll_change()).map(|c| tell(&c)).collect();
    assert_eq!(told, ["fired yellow 0/0/-", "dropped yellow 0/0/5"]);
    assert_eq!(engine.open_episodes().count(), 0);

    let mut other = self::engine(EC, Timestamp(9000));
    other.restore(&stored.states, &stored.marks, Timestamp(9000));
    let told: Vec<_> = std::iter::from_fn(|| other.poll_change()).map(|c| tell(&c)).collect();
    assert_eq!(told, ["dropped yellow 0/0/9"]);
    let delta = other.take_delta();
    assert_eq!(
        delta.states.iter().map(|s| (s.key.as_str(), s.body.is_none())).collect::<Vec<_>>(),
        [("lane/live/frost/7", true)]
    );
    // Numbers are not used twice.
    other.register(watched(), Timestamp(9000));
    other.observe(&row(Timestamp(10_000), "800"), Timestamp(10_000));
    assert_eq!(other.poll_change().unwrap().episode.id, 2);
}

#[test]
fn only_what_changed_is_stored_and_damage_is_told() {
    let mut engine = engine(FROST, Timestamp(0));
    engine.register(watched(), Timestamp(0));
    assert!(engine.take_delta().is_empty());
    engine.observe(&row(Timestamp(0), "5"), Timestamp(0));
    let delta = engine.take_delta();
    assert_eq!((delta.states.len(), delta.marks.len()), (0, 1), "a quiet reading moves only the mark");
    engine.observe(&row(Timestamp(10_000), "1"), Timestamp(10_000));
    let keys: Vec<_> = engine.take_delta().states.into_iter().map(|s| s.key).collect();
    assert_eq!(keys, ["counter", "lane/live/frost/7"]);
    assert!(engine.take_delta().is_empty());

    let mut stored = engine.snapshot();
    let mut fresh = self::engine(FROST, Timestamp(0));
    let rest: Vec<_> = stored.states.iter().filter(|s| s.key != "counter").cloned().collect();
    fresh.restore(&rest, &stored.marks, Timestamp(0));
    fresh.register(watched(), Timestamp(0));
    fresh.observe(&row(Timestamp(20_000), "5"), Timestamp(20_000));
    fresh.observe(&row(Timestamp(30_000), "1"), Timestamp(30_000));
    let numbers: Vec<_> = std::iter::from_fn(|| fresh.poll_change()).map(|c| c.episode.id).collect();
    assert_eq!(numbers, [1, 2], "a lost counter makes no number twice");
    for state in &mut stored.states {
        state.body = Some("damaged".into());
    }
    let mut fresh = self::engine(FROST, Timestamp(0));
    assert_eq!(fresh.restore(&stored.states, &stored.marks, Timestamp(0)).len(), stored.states.len());
}

#[test]
fn the_scope_of_a_rule_is_measurement_place_and_territory() {
    for (scope, looks) in [
        ("", true),
        ("place = [\"棚\"]", true),
        ("place = [\"露地\"]", false),
        ("place_not = [\"棚\"]", false),
        ("territory = [\"ganzhou\"]", true),
        ("territory = [\"linze\", \"dangzhai-01\"]", true),
        ("territory = [\"linze\"]", false),
    ] {
        let rules = FROST.replace("inclusive = true", &format!("inclusive = true\n{scope}"));
        let mut engine = engine(&rules, Timestamp(0));
        engine.register(watched(), Timestamp(0));
        assert_eq!(engine.limits(PointNo(7)).len(), if looks { 2 } else { 0 }, "{scope}");
    }
}

#[test]
fn episodes_of_a_slot_are_numbered_with_its_own_numbers_across_restarts() {
    let slot = |number| Numbers::of(Slot::new(number).unwrap());
    let mut beyond = slot(5);
    beyond.pass(1_000);
    for (episode_numbers, expected) in
        [(Numbers::ALL, [1, 2]), (slot(0), [64, 128]), (slot(5), [5, 69]), (beyond, [1_029, 1_093])]
    {
        let start = || {
            let rules = Rules::parse(&[("test.toml", FROST)], &Vocabulary::any()).unwrap();
            Engine::new(rules, Settings { episode_numbers, ..Settings::default() }, Timestamp(0))
        };
        let (mut stored, mut given) = (start().snapshot(), Vec::new());
        for round in 0..2 {
            let mut engine = start();
            engine.restore(&stored.states, &stored.marks, Timestamp(0));
            engine.register(watched(), Timestamp(0));
            for (second, value) in [(2 * round, "1"), (2 * round + 1, "9")] {
                let at = Timestamp(second * 1_000);
                engine.observe(&row(at, value), at);
            }
            let told: Vec<Change> = std::iter::from_fn(|| engine.poll_change()).collect();
            given.push(told[0].episode.id);
            stored = engine.snapshot();
        }
        assert_eq!(given, expected);
    }
}
