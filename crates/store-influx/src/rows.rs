//! Puts rows together: engines keep every field for itself, a row is all of them at one moment. Knows no server.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use sitian_model::{PointNo, Quality, Row, Timestamp};

use crate::names::{Named, Names, Who};

/// What is known of one moment of a point.
#[derive(Debug, Clone, Copy, Default)]
struct Fields {
    value: Option<f64>,
    quality: Option<f64>,
    epoch: Option<f64>,
    seq: Option<f64>,
}

impl Fields {
    /// The row, if all of it is there.
    fn row(&self, names: &Names, point: PointNo, at: i64) -> Option<Row> {
        let quality = Quality::from_code(self.quality? as u8)?;
        let value = if matches!(quality, Quality::Bad(_)) { None } else { Some(self.value?) };
        let epoch = names.number(self.epoch? as u64);
        Some(Row { point, at: Timestamp(at), value, quality, epoch, seq: self.seq? as u64 })
    }
}

/// What an engine says of the moments of some points, field by field, in any order. Several series may hold parts of it:
/// tags that do not name the point may have changed.
#[derive(Debug)]
pub(crate) struct Moments<'a> {
    names: &'a Names,
    points: HashMap<Who<'a>, PointNo>,
    found: BTreeMap<(PointNo, i64), Fields>,
}

impl<'a> Moments<'a> {
    /// Nothing is known yet.
    pub(crate) fn new(names: &'a Names, points: &'a [(PointNo, Arc<Named>)]) -> Self {
        let points = points.iter().map(|(no, named)| (named.who(), *no)).collect();
        Self { names, points, found: BTreeMap::new() }
    }

    /// Notes a field of a moment. Points that nobody asked about are passed over.
    pub(crate) fn put(&mut self, who: Who<'_>, field: &str, at: i64, number: f64) {
        let Some(point) = self.points.get(&who) else { return };
        let fields = self.found.entry((*point, at)).or_default();
        match field {
            "value" => fields.value = Some(number),
            "quality" => fields.quality = Some(number),
            "epoch" => fields.epoch = Some(number),
            "seq" => fields.seq = Some(number),
            _ => {}
        }
    }

    /// The whole rows of a span, point by point, oldest first.
    pub(crate) fn rows(self, span: Range<i64>) -> Vec<Row> {
        let inside = self.found.into_iter().filter(|((_, at), _)| span.contains(at));
        inside.filter_map(|((point, at), fields)| fields.row(self.names, point, at)).collect()
    }

    /// The newest moment of each point, and its row if all of it is there.
    pub(crate) fn newest(self) -> BTreeMap<PointNo, (i64, Option<Row>)> {
        let row = |((point, at), fields): ((PointNo, i64), Fields)| {
            (point, (at, fields.row(self.names, point, at)))
        };
        self.found.into_iter().map(row).collect()
    }
}

#[cfg(test)]
mod tests {
    use sitian_model::{Cause, Epoch, EpochNo};
    use sitian_series::contract::{bad, good};

    use super::*;
    use crate::names::Tags;

    #[test]
    fn rows_are_put_together_from_fields_and_moments_without_all_of_them_wait() {
        let names = Names::default();
        names.epoch(EpochNo(1), Epoch([0; 16]));
        let tags = Tags { gateway: "g".into(), device: "d".into(), point: "p".into(), ..Tags::default() };
        names.point(PointNo(7), tags).unwrap();
        let points = names.some(&[PointNo(7), PointNo(8)]);
        let code = f64::from(Quality::Bad(Cause::Timeout).code());
        let told = || {
            let mut moments = Moments::new(&names, &points);
            for (field, at, number) in [
                ("value", 10, 1.5),
                ("value", 30, 9.0),
                ("quality", 20, code),
                ("quality", 10, 0.0),
                ("epoch", 30, 0.0),
                ("epoch", 10, 0.0),
                ("epoch", 20, 0.0),
                ("seq", 10, 1.0),
                ("seq", 20, 2.0),
                ("seq", 30, 3.0),
                ("town", 10, 4.0),
            ] {
                moments.put(("g", "d", "p"), field, at, number);
                moments.put(("g", "d", "another"), field, at, number);
            }
            moments
        };
        assert_eq!(told().rows(0..100), [good(7, 10, 1, 1.5), bad(7, 20, 2, Cause::Timeout)]);
        assert_eq!(told().rows(11..100), [bad(7, 20, 2, Cause::Timeout)]);
        assert_eq!(told().newest(), BTreeMap::from([(PointNo(7), (30, None))]), "an older row is not newest");
    }
}
