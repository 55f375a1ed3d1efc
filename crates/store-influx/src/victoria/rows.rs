//! Puts rows together from the server's series, of which each has one field. Knows no server.

use std::collections::BTreeMap;

use serde::Deserialize;
use sitian_model::{EpochNo, PointNo, Quality, Row, Timestamp};

use crate::names::Names;

/// One series of an export: a line of JSON.
#[derive(Debug, Deserialize)]
struct Line {
    metric: Metric,
    values: Vec<Option<f64>>,
    timestamps: Vec<i64>,
}

#[derive(Debug, Deserialize)]
struct Metric {
    #[serde(rename = "__name__")]
    name: String,
}

/// What is known of one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Fields {
    pub(super) value: Option<f64>,
    pub(super) quality: Option<f64>,
    pub(super) epoch: Option<f64>,
    pub(super) seq: Option<f64>,
}

impl Fields {
    /// Sets the field that a series holds, by the series' name or the field's.
    pub(super) fn set(&mut self, name: &str, number: f64) {
        match name.strip_prefix("reading_").unwrap_or(name) {
            "value" => self.value = Some(number),
            "quality" => self.quality = Some(number),
            "epoch" => self.epoch = Some(number),
            "seq" => self.seq = Some(number),
            _ => {}
        }
    }

    /// The row, if all of it is there.
    pub(super) fn row(&self, names: &Names, point: PointNo, at: i64) -> Option<Row> {
        let quality = Quality::from_code(self.quality? as u8)?;
        let value = if matches!(quality, Quality::Bad(_)) { None } else { Some(self.value?) };
        let epoch: EpochNo = names.number(self.epoch? as u64);
        Some(Row { point, at: Timestamp(at), value, quality, epoch, seq: self.seq? as u64 })
    }
}

/// The rows of an export of one point, in the order of their time. Several series may hold parts of a field: tags that
/// do not name the point may have changed.
pub(super) fn of_export(text: &str, names: &Names, point: PointNo) -> Result<Vec<Row>, serde_json::Error> {
    let mut moments: BTreeMap<i64, Fields> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let Line { metric, values, timestamps } = serde_json::from_str(line)?;
        for (at, value) in timestamps.into_iter().zip(values) {
            if let Some(value) = value {
                moments.entry(at).or_default().set(&metric.name, value);
            }
        }
    }
    Ok(moments.into_iter().filter_map(|(at, fields)| fields.row(names, point, at)).collect())
}

#[cfg(test)]
mod tests {
    use sitian_model::{Cause, Epoch};
    use sitian_series::contract::{bad, good};

    use super::*;

    #[test]
    fn rows_are_put_together_from_series_and_moments_without_all_their_fields_wait() {
        let names = Names::default();
        names.epoch(EpochNo(1), Epoch([0; 16]));
        let code = Quality::Bad(Cause::Timeout).code();
        let text = format!(
            "{{\"metric\":{{\"__name__\":\"reading_seq\",\"point\":\"a\"}},\"values\":[1,2,3],\"timestamps\":[10,20,30]}}\n\
             {{\"metric\":{{\"__name__\":\"reading_epoch\"}},\"values\":[0,0,0],\"timestamps\":[10,20,30]}}\n\
             {{\"metric\":{{\"__name__\":\"reading_quality\"}},\"values\":[0,{code}],\"timestamps\":[10,20]}}\n\
             {{\"metric\":{{\"__name__\":\"reading_value\"}},\"values\":[1.5,null],\"timestamps\":[10,30]}}\n"
        );
        let rows = of_export(&text, &names, PointNo(7)).unwrap();
        assert_eq!(rows, [good(7, 10, 1, 1.5), bad(7, 20, 2, Cause::Timeout)]);
        assert!(of_export("{\"metric\":", &names, PointNo(7)).is_err());
        assert_eq!(of_export("", &names, PointNo(7)).unwrap(), []);
    }
}
