//! Cases about rows in order and pages of them.

use sitian_model::{Cause, EpochNo, Quality, Row};

use super::{Case, Engine, Play, bad, good, span, uncertain};
use crate::query::PAGE_ROWS_MAX;
use crate::{QueryFault, RangeQuery, Series, SeriesError};

pub(super) fn cases<E: Engine>() -> Vec<Case<E>> {
    vec![
        ("an empty engine has empty ranges", empty),
        ("one row is found by every span that contains it and by no other", one_row),
        ("rows come out in the order of their time, not of their arrival", out_of_order),
        ("a natural key is stored once", duplicates),
        ("one moment under two labels is two rows", labels),
        ("every quality and every finite value reads back to the bit", qualities),
        ("points do not mix", points),
        ("pages join without hole or overlap", paging),
        ("pages may end between rows of one moment", paging_ties),
        ("times before 1970 and far away are times", extreme_times),
        ("long ranges come out whole", large),
        ("many points walked at once tell what each tells alone", together),
        ("limits out of bounds are refused", limits),
    ]
}

fn empty<E: Engine>(play: &mut Play<E>) {
    play.expect_range(1, 0, 10_000, &[]);
    play.expect_range(1, i64::MIN, i64::MAX, &[]);
}

fn one_row<E: Engine>(play: &mut Play<E>) {
    let row = good(1, 5_000, 0, 25.6);
    play.append(&[row]);
    for (from, to, inside) in [
        (0, 10_000, true),
        (5_000, 5_001, true),
        (5_001, 10_000, false),
        (0, 5_000, false),
        (5_000, 5_000, false),
        (10_000, 0, false),
        (i64::MIN, i64::MAX, true),
    ] {
        play.expect_range(1, from, to, &[row][..usize::from(inside)]);
    }
}

fn out_of_order<E: Engine>(play: &mut Play<E>) {
    let at = |n: i64| good(1, n * 1_000, n as u64, n as f64);
    for round in [vec![5, 6], vec![1, 9, 2], vec![8, 7], vec![4], vec![3, 0]] {
        play.append(&round.into_iter().map(at).collect::<Vec<_>>());
    }
    play.expect_range(1, 0, 10_000, &(0..10).map(at).collect::<Vec<_>>());
    play.expect_range(1, 2_000, 7_000, &(2..7).map(at).collect::<Vec<_>>());
}

fn duplicates<E: Engine>(play: &mut Play<E>) {
    let rows: Vec<_> = (0..6).map(|n| good(1, n * 1_000, n as u64, n as f64)).collect();
    play.append(&rows);
    play.append(&rows[2..]);
    play.append(&[rows[0], rows[0], rows[5]]);
    play.append(&rows);
    play.expect_range(1, 0, 10_000, &rows);
}

fn labels<E: Engine>(play: &mut Play<E>) {
    let first = good(1, 1_000, 7, 1.0);
    let second = good(1, 1_000, 8, 2.0);
    let third = Row { epoch: EpochNo(2), ..good(1, 1_000, 0, 3.0) };
    play.append(&[third]);
    play.append(&[second, first]);
    play.expect_range(1, 0, 10_000, &[first, second, third]);
}

fn qualities<E: Engine>(play: &mut Play<E>) {
    let values = [0.0, -0.0, 0.1 + 0.2, -40.0, 1e300, -1e-300, f64::MIN_POSITIVE / 4.0, f64::MAX, 25.6];
    let mut rows: Vec<_> = (0..).zip(values).map(|(n, value)| good(1, n, n as u64, value)).collect();
    for cause in Cause::ALL {
        let n = rows.len() as i64;
        rows.push(bad(1, n, n as u64, cause));
        rows.push(uncertain(1, n + 1, n as u64 + 1, n as f64 / 3.0, cause));
    }
    let (early, rest) = rows.split_at(7);
    play.append(early);
    play.append(rest);
    play.expect_range(1, 0, 10_000, &rows);
    let bits = |rows: &[Row]| rows.iter().map(|r| r.value.map(f64::to_bits)).collect::<Vec<_>>();
    assert_eq!(bits(&play.page(1, 0, 10_000, 1_000, None).rows), bits(&rows), "{play}: to the bit");
    assert!(rows.iter().any(|r| matches!(r.quality, Quality::Bad(_))));
}

fn points<E: Engine>(play: &mut Play<E>) {
    let of = |point: u32| good(point, 1_000, 1, f64::from(point));
    play.append(&[of(1), of(2), of(u32::MAX)]);
    play.append(&[of(3)]);
    for point in [1, 2, 3, u32::MAX] {
        play.expect_range(point, 0, 10_000, &[of(point)]);
    }
    play.expect_range(4, 0, 10_000, &[]);
}

fn paging<E: Engine>(play: &mut Play<E>) {
    let rows: Vec<_> = (0..25).map(|n| good(1, n * 1_000, n as u64, n as f64)).collect();
    for part in rows.chunks(4) {
        play.append(part);
    }
    for limit in [1, 2, 4, 5, 24, 25, 26] {
        expect_pages(play, 0, 25_000, limit, &rows);
        expect_pages(play, 3_000, 9_001, limit, &rows[3..10]);
    }
}

fn paging_ties<E: Engine>(play: &mut Play<E>) {
    let rows: Vec<_> = (0..12).map(|n| good(1, n / 5 * 1_000, n as u64, n as f64)).collect();
    for part in rows.chunks(5) {
        play.append(part);
    }
    for limit in [1, 3, 5, 11, 12] {
        expect_pages(play, 0, 10_000, limit, &rows);
    }
}

fn expect_pages<E: Engine>(play: &Play<E>, from: i64, to: i64, limit: usize, expected: &[Row]) {
    let (mut rows, mut after) = (Vec::new(), None);
    loop {
        let page = play.page(1, from, to, limit, after);
        assert!(page.rows.len() <= limit, "{play}: a page of {limit} holds {}", page.rows.len());
        rows.extend_from_slice(&page.rows);
        match page.next {
            None => break,
            Some(next) => assert_eq!(page.rows.len(), limit, "{play}: {next} follows a full page"),
        }
        after = page.next;
    }
    assert_eq!(rows, expected, "{play}: pages of {limit} from {from} to {to}");
}

fn extreme_times<E: Engine>(play: &mut Play<E>) {
    let far = 9_000_000_000_000_000;
    let rows = [good(1, -far, 3, 1.0), good(1, -1, 2, 2.0), good(1, 0, 1, 3.0), good(1, far, 0, 4.0)];
    play.append(&[rows[2], rows[0]]);
    play.append(&[rows[3], rows[1]]);
    play.expect_range(1, i64::MIN, i64::MAX, &rows);
    play.expect_range(1, -far, 0, &rows[..2]);
    play.expect_range(1, 0, far, &rows[2..3]);
    play.expect_latest(1, Some(rows[3]));
}

fn large<E: Engine>(play: &mut Play<E>) {
    let rows: Vec<_> = (0..30_000).map(|n| good(1, n * 60_000, n as u64, (n % 977) as f64 / 10.0)).collect();
    for part in rows.chunks(7_000) {
        play.append(part);
    }
    play.expect_range(1, 0, i64::MAX, &rows);
    expect_pages(play, 0, i64::MAX, 7_777, &rows);
    play.expect_range(1, 10_000 * 60_000, 20_000 * 60_000, &rows[10_000..20_000]);
}

fn together<E: Engine>(play: &mut Play<E>) {
    let row = |n: i64| good((n % 50) as u32 + 1, n * 1_000, n as u64, n as f64);
    let rows: Vec<_> = (0..2_000).map(row).collect();
    for part in rows.chunks(700) {
        play.append(part);
    }
    let points: Vec<_> = (2..60).map(sitian_model::PointNo).collect();
    let mut found: Vec<Row> = Vec::new();
    let reader = play.engine.reader();
    let walked = reader.walk_all(&points, span(300_000, 1_700_000), &mut |row| found.push(*row));
    walked.unwrap_or_else(|e| panic!("{play}: walking many failed: {e:?}"));
    let mut expected: Vec<Row> = rows[300..1_700].iter().filter(|row| row.point.0 != 1).copied().collect();
    // Each point comes in order.
    found.sort_by_key(|row| row.point);
    expected.sort_by_key(|row| row.point);
    assert_eq!(found, expected, "{play}");
}

fn limits<E: Engine>(play: &mut Play<E>) {
    for limit in [0, PAGE_ROWS_MAX + 1] {
        let query = RangeQuery { point: sitian_model::PointNo(1), span: span(0, 1), limit, after: None };
        match play.engine.reader().range(&query) {
            Err(SeriesError::Query(fault)) => assert_eq!(fault, QueryFault::Limit(limit), "{play}"),
            other => panic!("{play}: limit {limit} gave {other:?}"),
        }
    }
}
