//! Episodes, their log, and the memory of the alert engine.

use sitian_alert::{
    Acknowledgement, Change, ChangeKind, Delta, Episode, Mark, Phase, SavedState, Severity, Subject,
};
use sitian_ingest::{Effect, Redecoded};
use sitian_model::{BaseId, PointId, PointNo, Timestamp};

use super::{Case, Ground, commit, gateway, point};
use crate::{EpisodeFilter, PhaseFilter, Transaction};

pub(super) const CASES: &[Case] = &[
    (
        "alerts are listed by base phase and severity in pages",
        alerts_are_listed_by_base_phase_and_severity_in_pages,
    ),
    (
        "the alert log keeps every step and goes on behind its last cursor",
        the_alert_log_keeps_every_step_and_goes_on_behind_its_last_cursor,
    ),
    ("the alert engine's memory survives restarts", the_alert_engines_memory_survives_restarts),
    (
        "a transaction that cannot be stored leaves nothing behind",
        a_transaction_that_cannot_be_stored_leaves_nothing_behind,
    ),
];

fn alerts_are_listed_by_base_phase_and_severity_in_pages(ground: &mut dyn Ground) {
    use Phase::{Firing, Pending, Resolved};
    use Severity::{Blue, Orange, Red};
    let mut writer = ground.open();
    let all = [
        episode(1, Blue, Resolved, Some("north")),
        episode(2, Red, Firing, None),
        episode(3, Orange, Firing, Some("north")),
        episode(4, Blue, Pending, Some("south")),
        episode(5, Red, Resolved, Some("south")),
    ];
    let alerts = all.iter().map(|e| Change { kind: ChangeKind::Fired, episode: e.clone() }).collect();
    writer.commit(&Transaction { alerts, ..Transaction::default() }).expect("commits");
    drop(writer);
    let writer = ground.open();
    let check = |filter: EpisodeFilter, ids: &[u64]| {
        let found = writer.reader().episodes(&filter).expect("reads");
        let expected: Vec<_> = ids.iter().map(|id| all[*id as usize - 1].clone()).collect();
        assert_eq!(found, expected, "{filter:?}");
    };
    let some = |limit| EpisodeFilter { limit, ..EpisodeFilter::default() };
    let bases = |ids: &[&str]| Some(ids.iter().map(|id| BaseId::new(id).expect("well-formed")).collect());
    check(some(10), &[5, 4, 3, 2, 1]);
    check(some(2), &[5, 4]);
    check(EpisodeFilter { before: Some(4), ..some(2) }, &[3, 2]);
    check(EpisodeFilter { phase: Some(PhaseFilter::Open), ..some(10) }, &[4, 3, 2]);
    check(EpisodeFilter { phase: Some(PhaseFilter::Only(Firing)), ..some(10) }, &[3, 2]);
    check(EpisodeFilter { phase: Some(PhaseFilter::Only(Resolved)), ..some(10) }, &[5, 1]);
    check(EpisodeFilter { severity: Some(Red), ..some(10) }, &[5, 2]);
    check(EpisodeFilter { bases: bases(&["north", "east"]), ..some(10) }, &[3, 1]);
    check(EpisodeFilter { bases: bases(&[]), ..some(10) }, &[]);
    let narrow = EpisodeFilter { bases: bases(&["south", "north"]), severity: Some(Blue), ..some(10) };
    check(EpisodeFilter { phase: Some(PhaseFilter::Open), ..narrow }, &[4]);
    assert_eq!(writer.reader().episode(3).expect("reads"), Some(all[2].clone()));
    assert_eq!(writer.reader().episode(6).expect("reads"), None);
}

fn the_alert_log_keeps_every_step_and_goes_on_behind_its_last_cursor(ground: &mut dyn Ground) {
    let mut writer = ground.open();
    assert_eq!(writer.reader().alert_log_end().expect("reads"), 0);
    let change = |kind, phase| Change { kind, episode: episode(1, Severity::Blue, phase, Some("north")) };
    let story = [
        change(ChangeKind::Pending, Phase::Pending),
        change(ChangeKind::Fired, Phase::Firing),
        change(ChangeKind::Resolved, Phase::Resolved),
    ];
    for (n, change) in story.iter().enumerate() {
        let transaction =
            Transaction { alerts: vec![change.clone()], at: Timestamp(n as i64), ..Transaction::default() };
        let committed = writer.commit(&transaction).expect("commits");
        assert_eq!(committed.alert_cursors, [n as u64 + 1]);
    }
    drop(writer);
    let mut writer = ground.open();
    let reader = writer.reader();
    let lines = reader.alert_log_after(0, 10).expect("reads");
    assert_eq!(lines.iter().map(|line| line.change.clone()).collect::<Vec<_>>(), story);
    assert_eq!(
        lines.iter().map(|line| (line.cursor, line.at.0)).collect::<Vec<_>>(),
        [(1, 0), (2, 1), (3, 2)]
    );
    assert_eq!(reader.alert_log_after(1, 1).expect("reads"), lines[1..2]);
    assert_eq!(reader.episode(1).expect("reads"), Some(story[2].episode.clone()));

    let mut dropped = change(ChangeKind::Pending, Phase::Pending);
    dropped.episode.id = 2;
    let gone = Change { kind: ChangeKind::Dropped, ..dropped.clone() };
    writer.commit(&Transaction { alerts: vec![dropped, gone], ..Transaction::default() }).expect("commits");
    assert_eq!(reader.episode(2).expect("reads"), None, "it never fired");
    assert_eq!(reader.alert_log_end().expect("reads"), 5, "the log remembers it");
}

fn the_alert_engines_memory_survives_restarts(ground: &mut dyn Ground) {
    let mark = |point, newest: i64, data: Option<i64>| Mark {
        point: PointNo(point),
        newest_at: Some(Timestamp(newest)),
        data_at: data.map(Timestamp),
    };
    let piece = |key: &str, body: Option<&str>| SavedState { key: key.into(), body: body.map(Into::into) };
    let points = [point(1, "gw-1/soil-1/a", "%"), point(2, "gw-2/soil-1/a", "%")];
    commit(&mut *ground.open(), points.map(Effect::Point).to_vec());
    let all = |states: Vec<SavedState>, marks: Vec<Mark>| Delta { states, marks };
    let (first, moved) = (mark(1, 10, None), mark(1, 20, Some(20)));
    let second = mark(2, 10, Some(5));
    let steps = [
        (all(vec![piece("a", Some("1")), piece("b", Some("2"))], vec![first, second]), None),
        (
            all(vec![piece("a", None), piece("b", Some("3"))], vec![moved]),
            Some(all(vec![piece("b", Some("3"))], vec![moved, second])),
        ),
        (
            all(vec![piece("c", Some("4"))], vec![]),
            Some(all(vec![piece("b", Some("3")), piece("c", Some("4"))], vec![moved, second])),
        ),
    ];
    for (alert_state, after) in steps {
        let after = after.unwrap_or_else(|| alert_state.clone());
        ground.open().commit(&Transaction { alert_state, ..Transaction::default() }).expect("commits");
        assert_eq!(ground.open().alert_memory().expect("reads"), after);
    }
}

fn a_transaction_that_cannot_be_stored_leaves_nothing_behind(ground: &mut dyn Ground) {
    let mut writer = ground.open();
    let nobody = Redecoded { id: 77, readings: 1, at: Timestamp(1) };
    let alert = Change { kind: ChangeKind::Fired, episode: episode(1, Severity::Red, Phase::Firing, None) };
    let mut transaction = Transaction {
        effects: vec![Effect::Point(point(1, "gw-1/soil-1/a", "%")), Effect::Redecoded(nobody)],
        alerts: vec![alert],
        ..Transaction::default()
    };
    assert!(writer.commit(&transaction).is_err(), "there is no such entry");
    writer.assure().expect("is sure");
    let reader = writer.reader();
    assert_eq!(
        (reader.restored().expect("reads").points.len(), reader.alert_log_end().expect("reads")),
        (0, 0)
    );
    transaction.effects.pop();
    assert_eq!(writer.commit(&transaction).expect("commits").alert_cursors.len(), 1);
    assert_eq!(reader.restored().expect("reads").points, [point(1, "gw-1/soil-1/a", "%")]);
}

fn episode(id: u64, severity: Severity, phase: Phase, base: Option<&str>) -> Episode {
    let subject = if id.is_multiple_of(2) {
        Subject::Gateway(gateway("gw-1"))
    } else {
        Subject::Point(PointNo(1), PointId::parse("gw-1/soil-1/soil_moisture").expect("well-formed"))
    };
    let noted = Acknowledgement { by: "王站长".into(), at: Timestamp(50), note: String::new(), severity };
    Episode {
        id,
        rule: "soil_dry".into(),
        severity,
        severity_worst: Severity::Red,
        subject,
        base: base.map(|base| BaseId::new(base).expect("well-formed")),
        phase,
        started_at: Timestamp(10),
        fired_at: (phase != Phase::Pending).then_some(Timestamp(20)),
        resolved_at: (phase == Phase::Resolved).then_some(Timestamp(30)),
        acknowledged: id.is_multiple_of(3).then_some(noted),
        value: (id % 2 == 1).then_some(12.5),
        threshold: Some(-0.5),
        peak: None,
        late: id == 5,
    }
}
