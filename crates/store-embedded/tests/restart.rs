//! What is committed about gateways and alerts is given back after a restart as it was.

use std::path::Path;

use sitian_alert::{
    Acknowledgement, Change, ChangeKind, Delta, Episode, Mark, Phase, SavedState, Severity, Subject,
};
use sitian_ingest::{
    Effect, EpochEntry, EpochState, Form, GapCommitted, Incident, IncidentEnded, IncidentKind, PointEntry,
    Quarantined, Redecoded, Restored, RestoredEpoch, Taken, Undated,
};
use sitian_model::{
    BaseId, DeviceId, DeviceInfo, Epoch, EpochNo, Gap, GapReason, GatewayId, Manifest, PointId, PointInfo,
    PointNo, Timestamp,
};
use sitian_series::contract::{good, span};
use sitian_store_embedded::{EpisodeFilter, ListFilter, PhaseFilter, QuarantineCounts, Store, Transaction};

fn gateway(id: &str) -> GatewayId {
    GatewayId::new(id).expect("well-formed")
}

fn device() -> DeviceInfo {
    DeviceInfo {
        id: DeviceId::new("soil-1").expect("well-formed"),
        name: "3号棚 土壤".into(),
        place: "3号棚".into(),
        profile: "soil-7in1".into(),
        bus: "rs485".into(),
    }
}

fn point(no: u32, name: &str, unit: &str) -> PointEntry {
    let id = PointId::parse(name).expect("well-formed");
    let info = PointInfo {
        device: 0,
        key: id.key.clone(),
        measurement: "soil_moisture".into(),
        unit: unit.into(),
        decimals: 1,
        interval_ms: 60_000,
    };
    PointEntry { no: PointNo(no), id, device: device(), info, at: Timestamp(100) }
}

fn epoch(no: u32, id: &str, label: u8) -> EpochEntry {
    let info = point(1, "gw-1/soil-1/soil_moisture", "%").info;
    let manifest = Manifest {
        gateway: gateway(id),
        software: "0.1.0".into(),
        devices: vec![device()],
        points: vec![info],
    };
    EpochEntry {
        no: EpochNo(no),
        gateway: gateway(id),
        epoch: Epoch([label; 16]),
        points: vec![PointNo(1)],
        manifest,
        at: Timestamp(i64::from(no)),
    }
}

fn state(no: u32, committed: u64) -> EpochState {
    EpochState {
        committed,
        chain: Some(u32::MAX),
        end: (1 << 62) - 1,
        sealed: true,
        live_rank: 3,
        held_rank: 4,
        newest_at: Some(Timestamp(-7)),
        ..EpochState::fresh(EpochNo(no))
    }
}

fn store(path: &Path) -> Store {
    Store::open(path).expect("opens")
}

#[test]
fn the_registry_is_given_back_as_it_was_described_last() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sitian.db");
    let mut writer = store(&path);
    let lost = state(3, 9);
    let lost = EpochState { chain: None, gone: true, loss_reported: true, newest_at: None, ..lost };
    let raw = |bytes: &[u8]| Quarantined {
        gateway: gateway("gw-9"),
        range: None,
        form: Form::Message,
        reason: "not a batch".into(),
        raw: bytes.to_vec(),
        at: Timestamp(5),
    };
    let steps = vec![
        vec![Effect::Point(point(1, "gw-1/soil-1/soil_moisture", "%")), Effect::Epoch(epoch(1, "gw-1", 1))],
        vec![Effect::Watermark(state(1, 5)), Effect::Epoch(epoch(2, "gw-1", 2))],
        vec![Effect::Point(point(1, "gw-1/soil-1/soil_moisture", "m³/m³")), Effect::Watermark(state(1, 8))],
        vec![Effect::Epoch(epoch(3, "gw-2", 1)), Effect::Watermark(lost), Effect::Quarantine(raw(b"abc"))],
        vec![Effect::Quarantine(raw(b"defg"))],
    ];
    for effects in steps {
        writer.commit(&Transaction { effects, ..Transaction::default() }).expect("commits");
    }
    drop(writer);
    let writer = store(&path);
    let restored = |entry: &EpochEntry, state| RestoredEpoch {
        gateway: entry.gateway.clone(),
        epoch: entry.epoch,
        points: entry.points.clone(),
        state,
    };
    let expected = Restored {
        points: vec![point(1, "gw-1/soil-1/soil_moisture", "m³/m³")],
        epochs: vec![
            restored(&epoch(1, "gw-1", 1), state(1, 8)),
            restored(&epoch(2, "gw-1", 2), EpochState::fresh(EpochNo(2))),
            restored(&epoch(3, "gw-2", 1), lost),
        ],
        quarantined_bytes: vec![(gateway("gw-9"), 7)],
        ..Restored::default()
    };
    assert_eq!(writer.reader().restored().expect("reads"), expected);
    let newest = writer.reader().newest_epochs().expect("reads");
    // The second was never seen live.
    assert_eq!(newest, [epoch(1, "gw-1", 1), epoch(3, "gw-2", 1)]);
    assert_eq!(writer.reader().epoch(EpochNo(2)).expect("reads"), Some(epoch(2, "gw-1", 2)));
    assert_eq!(writer.reader().epoch(EpochNo(9)).expect("reads"), None);
}

#[test]
fn the_epoch_a_gateway_is_in_is_the_one_seen_live_last_not_the_one_that_arrived_last() {
    // Live ranks of the epochs 1, 2, 3; the epoch that the gateway is in.
    for (ranks, expected) in [
        ([None, None, None], 3),
        ([Some(1), None, None], 1),
        ([Some(1), Some(2), None], 2),
        ([Some(2), Some(0), Some(1)], 1),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut writer = store(&folder.path().join("sitian.db"));
        let mut effects = vec![Effect::Point(point(1, "gw-1/soil-1/soil_moisture", "%"))];
        for (no, rank) in (1..).zip(ranks) {
            effects.push(Effect::Epoch(epoch(no, "gw-1", no as u8)));
            effects.extend(rank.map(|live_rank| Effect::Watermark(EpochState { live_rank, ..state(no, 1) })));
        }
        writer.commit(&Transaction { effects, ..Transaction::default() }).expect("commits");
        let newest = writer.reader().newest_epochs().expect("reads");
        assert_eq!(newest, [epoch(expected, "gw-1", expected as u8)], "{ranks:?}");
    }
}

#[test]
fn readings_of_unknown_time_are_added_up_by_point_and_epoch_and_found_by_when_they_were_taken() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sitian.db");
    let one = |point, no, n: u64, after: Option<i64>, before| Undated {
        epoch: EpochNo(no),
        point: PointNo(point),
        readings: 2,
        seqs: (2 * n, 2 * n + 1),
        stamped: span(n as i64, n as i64 + 1),
        taken: Taken { after: after.map(Timestamp), before: Timestamp(before) },
    };
    let incident = Incident {
        kind: IncidentKind::ClockUnknown,
        gateway: gateway("gw-1"),
        epoch: Some(Epoch([7; 16])),
        other: None,
        seqs: Some((0, 1)),
        after: None,
        at: Timestamp(50),
    };
    let groups = [
        vec![
            Effect::Epoch(epoch(7, "gw-1", 7)),
            Effect::Epoch(epoch(8, "gw-1", 8)),
            Effect::Undated(vec![one(1, 7, 0, None, 50), one(2, 7, 0, None, 50)]),
            Effect::Incident(incident),
        ],
        vec![
            Effect::Undated(vec![one(1, 7, 1, Some(40), 51)]),
            Effect::Undated(vec![one(1, 8, 0, Some(60), 90)]),
        ],
    ];
    for effects in groups {
        store(&path).commit(&Transaction { effects, ..Transaction::default() }).expect("commits");
    }
    let reader = store(&path).reader();
    let sum = Undated { readings: 4, seqs: (0, 3), stamped: span(0, 2), ..one(1, 7, 0, Some(40), 51) };
    let later = one(1, 8, 0, Some(60), 90);
    let check = |point, from, to, expected: &[Undated]| {
        let found = reader.undated(PointNo(point), span(from, to)).expect("reads");
        assert_eq!(found, expected, "{point} from {from} to {to}");
    };
    check(1, 0, 1_000, &[sum, later]);
    check(1, 0, 40, &[]);
    check(1, 0, 41, &[sum]);
    check(1, 51, 60, &[sum]);
    check(1, 52, 60, &[]);
    check(1, 90, 91, &[later]);
    check(2, 0, 1, &[one(2, 7, 0, None, 50)]);
    check(3, 0, 1_000, &[]);
    let all = ListFilter { gateways: None, since: None, before: None, limit: 10 };
    let told = reader.incidents(&all).expect("reads");
    let taken = Taken { after: Some(Timestamp(40)), before: Timestamp(51) };
    assert_eq!(told.iter().map(|one| one.undated).collect::<Vec<_>>(), [Some((6, taken))]);
}

#[test]
fn a_failed_spool_is_open_until_it_is_said_to_be_over() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sitian.db");
    let began = |id: &str, at| {
        Effect::Incident(Incident {
            kind: IncidentKind::SpoolFailed,
            gateway: gateway(id),
            epoch: Some(Epoch([1; 16])),
            other: None,
            seqs: None,
            after: None,
            at: Timestamp(at),
        })
    };
    let over = |id: &str, at| {
        Effect::Ended(IncidentEnded {
            kind: IncidentKind::SpoolFailed,
            gateway: gateway(id),
            at: Timestamp(at),
        })
    };
    let steps = [
        (began("gw-1", 1), &["gw-1"][..], vec![None]),
        (began("gw-2", 2), &["gw-1", "gw-2"], vec![None, None]),
        (over("gw-1", 3), &["gw-2"], vec![Some(3), None]),
        (began("gw-1", 4), &["gw-2", "gw-1"], vec![Some(3), None, None]),
        (over("gw-1", 5), &["gw-2"], vec![Some(3), None, Some(5)]),
    ];
    for (effect, open, ends) in steps {
        let mut writer = store(&path);
        writer
            .commit(&Transaction { effects: vec![effect.clone()], ..Transaction::default() })
            .expect("commits");
        let failed = writer.reader().restored().expect("reads").failed_spools;
        assert_eq!(
            failed,
            open.iter().map(|id| (gateway(id), Epoch([1; 16]))).collect::<Vec<_>>(),
            "{effect:?}"
        );
        let all = ListFilter { gateways: None, since: None, before: None, limit: 10 };
        let mut found = writer.reader().incidents(&all).expect("reads");
        found.reverse();
        let found: Vec<_> = found.iter().map(|stored| stored.ended_at.map(|at| at.0)).collect();
        assert_eq!(found, ends, "{effect:?}");
    }
}

#[test]
fn gaps_incidents_and_quarantine_are_listed_newest_first_in_pages() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut writer = store(&folder.path().join("sitian.db"));
    let gap = |first, span| GapCommitted {
        epoch: EpochNo(1),
        gap: Gap { first, last: first + 3, reason: GapReason::Evicted, span },
        at: Timestamp(9),
    };
    let incident = |kind| Incident {
        kind,
        gateway: gateway("gw-1"),
        epoch: Some(Epoch([1; 16])),
        other: None,
        seqs: Some((1, 4)),
        after: None,
        at: Timestamp(9),
    };
    let quarantined = Quarantined {
        gateway: gateway("gw-1"),
        range: Some((Epoch([1; 16]), 4, 5)),
        form: Form::Record,
        reason: "newer layout".into(),
        raw: vec![1, 2, 3],
        at: Timestamp(10),
    };
    let gaps = [gap(1, None), gap(6, Some(span(-5, 5)))];
    let mut effects = vec![Effect::Epoch(epoch(1, "gw-1", 1)), Effect::Quarantine(quarantined.clone())];
    effects.extend(gaps.map(Effect::Gap));
    effects.extend(IncidentKind::ALL.map(|kind| Effect::Incident(incident(kind))));
    writer.commit(&Transaction { effects, ..Transaction::default() }).expect("commits");

    let reader = writer.reader();
    let all = ListFilter { gateways: None, since: None, before: None, limit: 10 };
    let found = reader.gaps(&all).expect("reads");
    assert_eq!(found.iter().map(|g| g.committed).collect::<Vec<_>>(), [gaps[1], gaps[0]]);
    assert_eq!(found[0].gateway, gateway("gw-1"));
    let (mut kinds, mut before) = (Vec::new(), None);
    loop {
        let page = reader.incidents(&ListFilter { before, limit: 4, ..all.clone() }).expect("reads");
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        kinds.extend(page.iter().map(|stored| stored.incident.clone()));
    }
    kinds.reverse();
    assert_eq!(kinds, IncidentKind::ALL.map(incident));
    let held = reader.quarantine(&all).expect("reads");
    assert_eq!(
        (held.len(), held[0].range, held[0].form, held[0].bytes),
        (1, quarantined.range, Form::Record, 3)
    );
    assert_eq!(reader.quarantine_raw(held[0].id).expect("reads"), Some(vec![1, 2, 3]));
    assert_eq!(reader.quarantine_raw(99).expect("reads"), None);

    for (gateways, since, found) in [
        (vec!["gw-1", "gw-2"], None, 1),
        (vec!["gw-2"], None, 0),
        (vec![], None, 0),
        (vec!["gw-1"], Some(10), 1),
        (vec!["gw-1"], Some(11), 0),
    ] {
        let gateways = Some(gateways.into_iter().map(gateway).collect());
        let filter = ListFilter { gateways, since: since.map(Timestamp), ..all.clone() };
        assert_eq!(reader.quarantine(&filter).expect("reads").len(), found, "{filter:?}");
    }
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

#[test]
fn alerts_are_listed_by_base_phase_and_severity_in_pages() {
    use Phase::{Firing, Pending, Resolved};
    use Severity::{Blue, Orange, Red};
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sitian.db");
    let mut writer = store(&path);
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
    let writer = store(&path);
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

#[test]
fn the_alert_log_keeps_every_step_and_goes_on_behind_its_last_cursor() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sitian.db");
    let mut writer = store(&path);
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
    let mut writer = store(&path);
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

#[test]
fn the_alert_engines_memory_survives_restarts_and_sealings() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sitian.db");
    let mark = |point, newest: i64, data: Option<i64>| Mark {
        point: PointNo(point),
        newest_at: Some(Timestamp(newest)),
        data_at: data.map(Timestamp),
    };
    let piece = |key: &str, body: Option<&str>| SavedState { key: key.into(), body: body.map(Into::into) };
    let steps = [
        (vec![piece("a", Some("1")), piece("b", Some("2"))], vec![mark(1, 10, None), mark(2, 10, Some(5))]),
        (vec![piece("a", None), piece("b", Some("3"))], vec![mark(1, 20, Some(20))]),
        (vec![piece("c", Some("4"))], vec![]),
    ];
    let expected = [
        (vec![piece("a", Some("1")), piece("b", Some("2"))], vec![mark(1, 10, None), mark(2, 10, Some(5))]),
        (vec![piece("b", Some("3"))], vec![mark(1, 20, Some(20)), mark(2, 10, Some(5))]),
        (
            vec![piece("b", Some("3")), piece("c", Some("4"))],
            vec![mark(1, 20, Some(20)), mark(2, 10, Some(5))],
        ),
    ];
    for (n, ((states, marks), (states_after, marks_after))) in (0i64..).zip(steps.into_iter().zip(expected)) {
        let mut writer = store(&path);
        let effects = vec![Effect::Rows(vec![good(1, n * 1_000, n as u64, 1.0)])];
        let alert_state = Delta { states, marks };
        writer.commit(&Transaction { effects, alert_state, ..Transaction::default() }).expect("commits");
        drop(writer);
        let after = Delta { states: states_after, marks: marks_after };
        let mut writer = store(&path);
        assert_eq!(writer.alert_memory().expect("reads"), after, "from the journal, step {n}");
        writer.seal().expect("seals");
        drop(writer);
        assert_eq!(store(&path).alert_memory().expect("reads"), after, "from the table, step {n}");
    }
}

#[test]
fn an_entry_of_the_quarantine_is_read_again_once_and_gives_its_room_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("sitian.db");
    let mut writer = store(&path);
    let quarantined = |form| Quarantined {
        gateway: gateway("gw-1"),
        range: Some((Epoch([1; 16]), 4, 5)),
        form,
        reason: "newer layout".into(),
        raw: vec![1, 2, 3],
        at: Timestamp(10),
    };
    let forms = [Form::Record, Form::Message, Form::Rival];
    let mut effects = vec![Effect::Epoch(epoch(1, "gw-1", 1))];
    effects.extend(forms.map(|form| Effect::Quarantine(quarantined(form))));
    writer.commit(&Transaction { effects, ..Transaction::default() }).expect("commits");
    let all = ListFilter { gateways: None, since: None, before: None, limit: 10 };
    let held = writer.reader().quarantine(&all).expect("reads");
    assert_eq!(held.iter().rev().map(|entry| entry.form).collect::<Vec<_>>(), forms);

    let again = Redecoded { id: held[0].id, readings: 7, at: Timestamp(20) };
    let transaction = Transaction { effects: vec![Effect::Redecoded(again)], ..Transaction::default() };
    writer.commit(&transaction).expect("commits");
    assert!(writer.commit(&transaction).is_err(), "its rows would be there twice");
    drop(writer);
    for reader in [Store::look_into(&path).expect("looks"), store(&path).reader()] {
        let counts = QuarantineCounts { waiting: 2, bytes: 6, redecoded: 1 };
        assert_eq!(reader.quarantine_counts(&all).expect("counts"), counts);
        let entry = &reader.quarantine(&all).expect("reads")[0];
        assert_eq!((entry.redecoded_at, entry.readings, entry.bytes), (Some(Timestamp(20)), Some(7), 0));
        assert_eq!(reader.restored().expect("reads").quarantined_bytes, [(gateway("gw-1"), 6)]);
    }
}
