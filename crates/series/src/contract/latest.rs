//! Cases about the newest row of a point.

use sitian_model::{Cause, EpochNo, PointNo, Row};

use super::{Case, Engine, Play, bad, good, uncertain};
use crate::Series;

pub(super) fn cases<E: Engine>() -> Vec<Case<E>> {
    vec![
        ("an empty engine has no latest row", empty),
        ("the latest row is the newest, whatever came last", late),
        ("the latest row may be one without a value", without_value),
        ("among rows of one moment the label decides which is latest", ties),
        ("latest answers in the order of the question", many),
        ("a row that is stored twice stays the latest", twice),
    ]
}

fn empty<E: Engine>(play: &mut Play<E>) {
    play.expect_latest(1, None);
    let none = play.engine.reader().latest(&[]);
    assert_eq!(none.ok(), Some(Vec::new()), "{play}: no points, no rows");
}

fn late<E: Engine>(play: &mut Play<E>) {
    play.append(&[good(1, 5_000, 5, 5.0)]);
    play.append(&[good(1, 4_000, 6, 4.0), good(1, 1_000, 7, 1.0)]);
    play.expect_latest(1, Some(good(1, 5_000, 5, 5.0)));
    play.append(&[good(1, 6_000, 8, 6.0), good(1, 2_000, 9, 2.0)]);
    play.append(&[good(1, 3_000, 10, 3.0)]);
    play.expect_latest(1, Some(good(1, 6_000, 8, 6.0)));
}

fn without_value<E: Engine>(play: &mut Play<E>) {
    play.append(&[good(1, 1_000, 1, 1.0)]);
    play.append(&[bad(1, 2_000, 2, Cause::Timeout)]);
    play.expect_latest(1, Some(bad(1, 2_000, 2, Cause::Timeout)));
    play.append(&[uncertain(1, 3_000, 3, -0.5, Cause::ClockUnknown)]);
    play.expect_latest(1, Some(uncertain(1, 3_000, 3, -0.5, Cause::ClockUnknown)));
}

fn ties<E: Engine>(play: &mut Play<E>) {
    let second_epoch = Row { epoch: EpochNo(2), ..good(1, 1_000, 1, 2.0) };
    play.append(&[second_epoch]);
    play.append(&[good(1, 1_000, 9, 1.0)]);
    play.expect_latest(1, Some(second_epoch));
}

fn many<E: Engine>(play: &mut Play<E>) {
    play.append(&[good(1, 1_000, 1, 1.0), good(3, 1_000, 1, 3.0)]);
    play.append(&[good(2, 1_000, 1, 2.0)]);
    let asked = [3, 9, 1, 2, 3].map(PointNo);
    let latest =
        play.engine.reader().latest(&asked).unwrap_or_else(|e| panic!("{play}: latest failed: {e:?}"));
    let values: Vec<_> = latest.iter().map(|row| row.and_then(|row| row.value)).collect();
    assert_eq!(values, [Some(3.0), None, Some(1.0), Some(2.0), Some(3.0)], "{play}");
}

fn twice<E: Engine>(play: &mut Play<E>) {
    for _ in 0..3 {
        play.append(&[good(1, 1_000, 1, 1.0)]);
        play.expect_latest(1, Some(good(1, 1_000, 1, 1.0)));
    }
}
