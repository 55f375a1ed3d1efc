//! What is given back after a restart.

use sitian_ingest::{
    Effect, EpochEntry, EpochState, Form, Incident, IncidentEnded, IncidentKind, Quarantined, Restored,
    RestoredEpoch,
};
use sitian_model::{Epoch, EpochNo, Manifest, Timestamp};

use super::{Case, Ground, all, commit, epoch, gateway, point, state};

pub(super) const CASES: &[Case] = &[
    (
        "the registry is given back as it was described last",
        the_registry_is_given_back_as_it_was_described_last,
    ),
    (
        "the epoch a gateway is in is the one seen live last not the one that arrived last",
        the_epoch_a_gateway_is_in_is_the_one_seen_live_last_not_the_one_that_arrived_last,
    ),
    (
        "the epochs of a gateway are listed in the order in which it was in them",
        the_epochs_of_a_gateway_are_listed_in_the_order_in_which_it_was_in_them,
    ),
    (
        "a failed spool is open until it is said to be over",
        a_failed_spool_is_open_until_it_is_said_to_be_over,
    ),
];

fn the_registry_is_given_back_as_it_was_described_last(ground: &mut dyn Ground) {
    let mut writer = ground.open();
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
        commit(&mut *writer, effects);
    }
    drop(writer);
    let writer = ground.open();
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

fn the_epoch_a_gateway_is_in_is_the_one_seen_live_last_not_the_one_that_arrived_last(
    ground: &mut dyn Ground,
) {
    // Live ranks of the epochs 1, 2, 3; the epoch that the gateway is in.
    for (ranks, expected) in [
        ([None, None, None], 3),
        ([Some(1), None, None], 1),
        ([Some(1), Some(2), None], 2),
        ([Some(2), Some(0), Some(1)], 1),
    ] {
        let mut writer = ground.open();
        let mut effects = vec![Effect::Point(point(1, "gw-1/soil-1/soil_moisture", "%"))];
        for (no, rank) in (1..).zip(ranks) {
            effects.push(Effect::Epoch(epoch(no, "gw-1", no as u8)));
            effects.extend(rank.map(|live_rank| Effect::Watermark(EpochState { live_rank, ..state(no, 1) })));
        }
        commit(&mut *writer, effects);
        let newest = writer.reader().newest_epochs().expect("reads");
        assert_eq!(newest, [epoch(expected, "gw-1", expected as u8)], "{ranks:?}");
    }
}

fn the_epochs_of_a_gateway_are_listed_in_the_order_in_which_it_was_in_them(ground: &mut dyn Ground) {
    let mut writer = ground.open();
    let renewed = |entry: EpochEntry| {
        let manifest = Manifest { software: "0.2.0".into(), ..entry.manifest };
        EpochEntry { manifest, ..entry }
    };
    let rank = |no, live_rank| Effect::Watermark(EpochState { live_rank, ..state(no, 10 * u64::from(no)) });
    commit(
        &mut *writer,
        vec![
            Effect::Point(point(1, "gw-1/soil-1/soil_moisture", "%")),
            Effect::Epoch(epoch(1, "gw-1", 1)),
            Effect::Epoch(renewed(epoch(2, "gw-1", 2))),
            Effect::Epoch(epoch(3, "gw-2", 1)),
            Effect::Epoch(epoch(4, "gw-1", 4)),
            Effect::Epoch(epoch(5, "gw-1", 5)),
            // The second was seen live after the fourth; the fifth never was, and has no watermark either.
            rank(1, 1),
            rank(4, 2),
            rank(2, 3),
            rank(3, 1),
        ],
    );
    drop(writer);
    let reader = ground.open().reader();
    let listed = |id: &str| reader.epoch_lines(&gateway(id)).expect("reads");
    let lines = listed("gw-1");
    let told: Vec<_> = lines
        .iter()
        .map(|l| (l.no.0, l.epoch, l.at.0, l.committed, l.live_rank, l.newest_at.map(|at| at.0)))
        .collect();
    let expected = [
        (5, Epoch([5; 16]), 5, 0, 0, None),
        (1, Epoch([1; 16]), 1, 10, 1, Some(-7)),
        (4, Epoch([4; 16]), 4, 40, 2, Some(-7)),
        (2, Epoch([2; 16]), 2, 20, 3, Some(-7)),
    ];
    assert_eq!(told, expected);
    let manifests: Vec<_> = lines.iter().map(|line| line.manifest == lines[0].manifest).collect();
    assert_eq!(manifests, [true, true, true, false], "equal ones have one number");
    assert_eq!(listed("gw-2").iter().map(|line| line.no.0).collect::<Vec<_>>(), [3]);
    assert_eq!(listed("gw-9"), []);
}

fn a_failed_spool_is_open_until_it_is_said_to_be_over(ground: &mut dyn Ground) {
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
        let mut writer = ground.open();
        commit(&mut *writer, vec![effect.clone()]);
        let failed = writer.reader().restored().expect("reads").failed_spools;
        assert_eq!(
            failed,
            open.iter().map(|id| (gateway(id), Epoch([1; 16]))).collect::<Vec<_>>(),
            "{effect:?}"
        );
        let mut found = writer.reader().incidents(&all()).expect("reads");
        found.reverse();
        let found: Vec<_> = found.iter().map(|stored| stored.ended_at.map(|at| at.0)).collect();
        assert_eq!(found, ends, "{effect:?}");
    }
}
