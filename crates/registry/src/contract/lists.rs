//! Gaps, incidents, quarantine, readings of unknown time: what people ask for.

use sitian_ingest::{
    Effect, Form, GapCommitted, Incident, IncidentKind, Quarantined, Redecoded, Taken, Undated,
};
use sitian_model::{Epoch, EpochNo, Gap, GapReason, PointNo, Timestamp};

use super::{Case, Ground, all, commit, epoch, gateway, span};
use crate::{ListFilter, QuarantineCounts, Transaction};

pub(super) const CASES: &[Case] = &[
    (
        "readings of unknown time are added up by point and epoch and found by when they were taken",
        readings_of_unknown_time_are_added_up_by_point_and_epoch_and_found_by_when_they_were_taken,
    ),
    (
        "gaps incidents and quarantine are listed newest first in pages",
        gaps_incidents_and_quarantine_are_listed_newest_first_in_pages,
    ),
    (
        "an entry of the quarantine is read again once and gives its room back",
        an_entry_of_the_quarantine_is_read_again_once_and_gives_its_room_back,
    ),
];

fn readings_of_unknown_time_are_added_up_by_point_and_epoch_and_found_by_when_they_were_taken(
    ground: &mut dyn Ground,
) {
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
        commit(&mut *ground.open(), effects);
    }
    let reader = ground.open().reader();
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
    let told = reader.incidents(&all()).expect("reads");
    let taken = Taken { after: Some(Timestamp(40)), before: Timestamp(51) };
    assert_eq!(told.iter().map(|one| one.undated).collect::<Vec<_>>(), [Some((6, taken))]);
}

fn gaps_incidents_and_quarantine_are_listed_newest_first_in_pages(ground: &mut dyn Ground) {
    let mut writer = ground.open();
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
    commit(&mut *writer, effects);

    let reader = writer.reader();
    let found = reader.gaps(&all()).expect("reads");
    assert_eq!(found.iter().map(|g| g.committed).collect::<Vec<_>>(), [gaps[1], gaps[0]]);
    assert_eq!(found[0].gateway, gateway("gw-1"));
    let (mut kinds, mut before) = (Vec::new(), None);
    loop {
        let page = reader.incidents(&ListFilter { before, limit: 4, ..all() }).expect("reads");
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        kinds.extend(page.iter().map(|stored| stored.incident.clone()));
    }
    kinds.reverse();
    assert_eq!(kinds, IncidentKind::ALL.map(incident));
    let held = reader.quarantine(&all()).expect("reads");
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
        let filter = ListFilter { gateways, since: since.map(Timestamp), ..all() };
        assert_eq!(reader.quarantine(&filter).expect("reads").len(), found, "{filter:?}");
    }
}

fn an_entry_of_the_quarantine_is_read_again_once_and_gives_its_room_back(ground: &mut dyn Ground) {
    let mut writer = ground.open();
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
    commit(&mut *writer, effects);
    let held = writer.reader().quarantine(&all()).expect("reads");
    assert_eq!(held.iter().rev().map(|entry| entry.form).collect::<Vec<_>>(), forms);

    let again = Redecoded { id: held[0].id, readings: 7, at: Timestamp(20) };
    let transaction = Transaction { effects: vec![Effect::Redecoded(again)], ..Transaction::default() };
    writer.commit(&transaction).expect("commits");
    assert!(writer.commit(&transaction).is_err(), "its rows would be there twice");
    drop(writer);
    let reader = ground.open().reader();
    let counts = QuarantineCounts { waiting: 2, bytes: 6, redecoded: 1 };
    assert_eq!(reader.quarantine_counts(&all()).expect("counts"), counts);
    let entry = &reader.quarantine(&all()).expect("reads")[0];
    assert_eq!((entry.redecoded_at, entry.readings, entry.bytes), (Some(Timestamp(20)), Some(7), 0));
    assert_eq!(reader.restored().expect("reads").quarantined_bytes, [(gateway("gw-1"), 6)]);
}
