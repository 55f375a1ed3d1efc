//! The built-in territory, catalogue and rules, seen through the presenter.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sitian_alert::{Acknowledgement, Episode, Phase, Severity, Subject, Vocabulary};
use sitian_model::{BaseId, Cause, DeviceId, EpochNo, PointNo, Quality, Row, Span};
use sitian_series::{AggregateQuery, Missing, Page, Window};

use super::*;
use crate::backend::{BackendError, ReadingsQuery};

const NOW: Timestamp = Timestamp(1_777_847_400_000); // 2026-05-04T06:30:00+08:00

fn presenter() -> Presenter {
    let catalogue = Catalogue::parse("measurements.toml", profile::catalogue_text()).unwrap();
    let (file, text) = sitian_supervision::territory::builtin();
    let territory = Territory::parse(file, text).unwrap();
    let rules = Rules::parse(alert::rule::builtin(), &Vocabulary::any()).unwrap();
    Presenter::new(Zone::default(), Arc::new(territory), Arc::new(catalogue), Arc::new(rules))
}

fn json<T: serde::Serialize>(view: &T, pointer: &str) -> Value {
    serde_json::to_value(view).unwrap().pointer(pointer).cloned().unwrap_or(Value::Null)
}

fn point() -> (PointId, DeviceInfo, PointInfo) {
    let device = DeviceInfo {
        id: DeviceId::new("water-1").unwrap(),
        name: "首部水质".to_owned(),
        place: "泵房".to_owned(),
        profile: "renke".to_owned(),
        bus: "rs485-1".to_owned(),
    };
    let id = PointId::parse("gw-1/water-1/water_ec").unwrap();
    let info = PointInfo {
        device: 0,
        key: id.key.clone(),
        measurement: "water_ec".to_owned(),
        unit: "µS/cm".to_owned(),
        decimals: 0,
        interval_ms: 1000,
    };
    (id, device, info)
}

fn episode(base: Option<&str>) -> Episode {
    Episode {
        id: 7,
        rule: "water-ec-high".to_owned(),
        severity: Severity::Red,
        severity_worst: Severity::Red,
        subject: Subject::Point(PointNo(1), point().0),
        base: base.map(|base| BaseId::new(base).unwrap()),
        phase: Phase::Firing,
        started_at: NOW,
        fired_at: Some(NOW),
        resolved_at: None,
        acknowledged: None,
        value: Some(3100.0),
        threshold: Some(3000.0),
        peak: Some(3200.0),
        late: false,
    }
}

#[test]
fn the_built_in_network_is_presented_with_names_in_both_languages() {
    let presenter = presenter();
    let (tree, rules) = (presenter.tree(), presenter.rules());
    assert_eq!(json(&tree, "/0/name"), json!({"zh": "张掖市", "en": "Zhangye City"}));
    assert!(tree.iter().all(|node| !node.name.zh.is_empty() && !node.name.en.is_empty()));
    assert!(rules.iter().all(|rule| !rule.name.en.is_empty() && !rule.condition.is_empty()));
    let frost = rules.iter().find(|rule| rule.id == "frost").unwrap();
    assert_eq!((frost.verified, frost.severity), (false, view::Severity::Red));
    assert!(presenter.measurements().iter().any(|m| m.id == "water_ec" && m.medium == view::Medium::Water));
}

#[test]
fn an_episode_is_told_with_every_name_resolved() {
    let presenter = presenter();
    let (id, device, info) = point();
    let base = presenter.tree().into_iter().find(|node| node.level == view::Level::Base);
    let base = base.map(|node| node.id);
    let alert = presenter
        .alert(&episode(base.as_deref()), Some(PointFacts { id: &id, device: &device, info: &info }));
    for (pointer, expected) in [
        ("/subject/type", json!("point")),
        ("/subject/id", json!("gw-1/water-1/water_ec")),
        ("/rule_name/en", json!("Irrigation water EC high")),
        ("/kind", json!("above")),
        ("/unit", json!("µS/cm")),
        ("/base/id", json!(base)),
        ("/breadcrumb/0/id", json!("zhangye")),
        ("/fired_at", json!("2026-05-04T06:30:00.000+08:00")),
        ("/acknowledged", Value::Null),
    ] {
        assert_eq!(json(&alert, pointer), expected, "{pointer}");
    }
    assert!(alert.subject.name.zh.starts_with("首部水质 "), "{}", alert.subject.name.zh);
}

#[test]
fn what_the_configuration_forgot_is_still_told() {
    let presenter = presenter();
    let lost = Episode { rule: "gone".to_owned(), base: None, ..episode(None) };
    let alert = presenter.alert(&lost, None);
    assert_eq!((alert.rule_name.en.as_str(), alert.kind), ("gone", view::RuleKind::Above));
    assert_eq!((alert.base, json(&alert.breadcrumb, "/0/id")), (None, json!("zhangye")));
    for (scope, base, within) in
        [("zhangye", None, true), ("ganzhou", None, false), ("zhangye", Some("gone"), true)]
    {
        assert_eq!(presenter.is_within(&episode(base), scope), within, "{scope} {base:?}");
    }
}

#[test]
fn an_acknowledgement_of_something_milder_says_nothing_about_this() {
    for (severity, shown) in [(Severity::Yellow, false), (Severity::Red, true)] {
        let seen = Acknowledgement { by: "王".to_owned(), at: NOW, note: String::new(), severity };
        let episode = Episode { acknowledged: Some(seen), ..episode(None) };
        assert_eq!(presenter().alert(&episode, None).acknowledged.is_some(), shown, "{severity}");
    }
}

#[test]
fn readings_say_how_good_they_are_and_how_complete() {
    let presenter = presenter();
    let (id, device, info) = point();
    let facts = PointFacts { id: &id, device: &device, info: &info };
    let row = |ms, value, quality| Row {
        point: PointNo(1),
        at: NOW.plus_ms(ms),
        value,
        quality,
        epoch: EpochNo(1),
        seq: 5,
    };
    let rows = vec![row(-2000, Some(2.5), Quality::Good), row(-1000, None, Quality::Bad(Cause::Timeout))];
    let mut whole = Window::empty(NOW.plus_ms(-4000), NOW);
    rows.iter().for_each(|row| whole.observe(row.value, row.quality));
    whole.expected = Some(4);
    let page = Page::cut(rows.clone(), 1);
    let readings = presenter.readings(facts, &page, &[whole.clone()], &[], |_| None);
    assert_eq!(json(&readings, "/completeness"), json!({"expected": 4, "stored": 1, "ratio": 0.25}));
    let after = readings.next_cursor.unwrap();
    let span = Span { from: NOW.plus_ms(-4000), to: NOW };
    let query = |after: &str| ReadingsQuery { span, limit: 1, after: Some(after.to_owned()), undated: false };
    assert_eq!(presenter.range_query(PointNo(1), &query(&after)).unwrap().after, page.next);
    assert!(matches!(presenter.range_query(PointNo(1), &query("x")), Err(BackendError::Invalid(_))));
    let latest = presenter.latest(&id, &rows[1], NOW, Some(Severity::Red), None);
    assert_eq!((latest.age_ms, latest.cause.as_deref()), (1000, Some("timeout")));
    let aggregates = presenter.aggregates(facts, 4000, &[whole], &[], (&[], &Missing::new()), Vec::new());
    assert_eq!(json(&aggregates, "/items/0/bad"), json!({"timeout": 1}));
    assert_eq!(aggregates.items[0].mean, Some(2.5));
}

#[test]
fn queries_to_the_series_begin_where_the_span_begins() {
    let presenter = presenter();
    let span = Span { from: NOW.plus_ms(-3_600_000), to: NOW };
    let day = 86_400_000;
    for (query, windows) in [
        (presenter.aggregate_query(PointNo(1), span, day, 1000), 1),
        (presenter.aggregate_query(PointNo(1), span, 60_000, 1000), 60),
        (presenter.completeness_query(PointNo(1), span, 1000), 1),
        (presenter.sparkline_query(PointNo(1), NOW), 30),
        (presenter.sparkline_query(PointNo(1), NOW.plus_ms(-1)), 30),
    ] {
        let AggregateQuery { span, window_ms, offset_ms, .. } = query;
        assert_eq!((span.from.0 - offset_ms).rem_euclid(window_ms), 0);
        assert_eq!(
            span.to.since_ms(span.from).div_euclid(window_ms)
                + i64::from(span.to.since_ms(span.from) % window_ms != 0),
            windows
        );
    }
    assert_eq!(
        BTreeMap::<String, u64>::new(),
        presenter
            .aggregates(
                PointFacts { id: &point().0, device: &point().1, info: &point().2 },
                1,
                &[Window::empty(NOW, NOW.plus_ms(1))],
                &[],
                (&[], &[(sitian_series::Lack::GatewayDown, 3)].into()),
                Vec::new(),
            )
            .items[0]
            .bad
    );
}

#[test]
fn every_incident_says_what_happened_and_what_to_do_in_both_languages() {
    let presenter = presenter();
    let (file, text) = sitian_supervision::territory::builtin();
    let territory = Territory::parse(file, text).unwrap();
    let base = territory.nodes().find(|node| !node.gateways.is_empty()).unwrap();
    for kind in sitian_ingest::IncidentKind::ALL {
        for (gateway, seqs, after) in [
            (&base.gateways[0], Some((5, 7)), Some(NOW)),
            (&sitian_model::GatewayId::new("stray").unwrap(), None, None),
        ] {
            let incident = sitian_ingest::Incident {
                kind,
                gateway: gateway.clone(),
                epoch: None,
                other: None,
                seqs,
                after,
                at: NOW,
            };
            let view = serde_json::to_value(presenter.incident(7, &incident, None, None)).unwrap();
            assert_eq!(view["kind"], json!(kind.word()));
            let stray = gateway.as_str() == "stray";
            assert_eq!(view["base"].is_null(), stray);
            assert_eq!(view["breadcrumb"].as_array().unwrap().len(), if stray { 1 } else { 4 });
            for part in ["sentence", "advice"] {
                let (zh, en) = (view[part]["zh"].as_str().unwrap(), view[part]["en"].as_str().unwrap());
                assert!(zh.ends_with('。') && en.ends_with('.'), "{zh} {en}");
                assert!(!en.contains(|c: char| c > '\u{2e80}'), "{en}");
                assert_eq!(
                    part == "sentence",
                    zh.contains(gateway.as_str()) && en.contains(gateway.as_str())
                );
            }
        }
    }
    let lost = sitian_ingest::Incident {
        kind: sitian_ingest::IncidentKind::PossibleLoss,
        gateway: base.gateways[0].clone(),
        epoch: None,
        other: None,
        seqs: Some((5, 7)),
        after: Some(NOW),
        at: NOW.plus_ms(3_600_000),
    };
    let zh = json(&presenter.incident(1, &lost, None, None), "/sentence/zh");
    let zh = zh.as_str().unwrap();
    assert!(zh.contains("05-04 06:30 到 05-04 07:30 之间") && zh.contains("已知 3 条记录未到"), "{zh}");
}

#[test]
fn readings_of_unknown_time_are_told_with_both_bounds() {
    let presenter = presenter();
    for (readings, after, zh, en) in [
        (
            297,
            Some(NOW.plus_ms(-3_600_000)),
            "297 个读数采于05-04 05:30 到 05-04 06:30 之间",
            "between 05-04 05:30 and 05-04 06:30",
        ),
        (1, None, "1 个读数采于05-04 06:30 之前", "1 reading was taken before 05-04 06:30"),
    ] {
        let incident = sitian_ingest::Incident {
            kind: sitian_ingest::IncidentKind::ClockUnknown,
            gateway: sitian_model::GatewayId::new("stray").unwrap(),
            epoch: Some(sitian_model::Epoch([7; 16])),
            other: None,
            seqs: Some((0, 98)),
            after,
            at: NOW,
        };
        let taken = sitian_ingest::Taken { after, before: NOW };
        let view =
            serde_json::to_value(presenter.incident(1, &incident, None, Some((readings, taken)))).unwrap();
        let (told_zh, told_en) = (view["sentence"]["zh"].to_string(), view["sentence"]["en"].to_string());
        assert!(told_zh.contains(zh) && told_en.contains(en), "{told_zh} {told_en}");
        assert_eq!(view["undated"]["count"], readings);
        assert_eq!(view["undated"]["after"].is_null(), after.is_none());
        assert_eq!(view["undated"]["before"], "2026-05-04T06:30:00.000+08:00");
    }
}
