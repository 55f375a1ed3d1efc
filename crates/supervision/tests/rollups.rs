//! What every level sees, as things happen.

#![allow(clippy::unwrap_used)]

use sitian_model::{Cause, EpochNo, GatewayId, PointNo, Quality, Row, Timestamp};
use sitian_supervision::territory::builtin;
use sitian_supervision::{AlertMark, GatewayLink, Level, Severity, State, Supervision, Territory};

const T0: i64 = 30_000_000 * 60_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp(T0 + seconds * 1000)
}

fn gateway(id: &str) -> GatewayId {
    GatewayId::new(id).unwrap()
}

fn network() -> Supervision {
    let (file, text) = builtin();
    Supervision::new(Territory::parse(file, text).unwrap())
}

fn row(point: u32, seconds: i64, quality: Quality) -> Row {
    let value = (!matches!(quality, Quality::Bad(_))).then_some(1.0);
    Row { point: PointNo(point), at: at(seconds), value, quality, epoch: EpochNo(1), seq: 0 }
}

/// Sixteen points at 10 s, one per base, an hour of readings.
fn running() -> Supervision {
    let mut network = network();
    let gateways: Vec<_> = network.territory().nodes().flat_map(|n| n.gateways.clone()).collect();
    for (n, gateway) in gateways.iter().enumerate() {
        assert!(network.register_point(PointNo(n as u32), gateway, 10_000, at(-7200)));
        network.gateway_online(gateway, at(0));
        for second in (-3600..0).step_by(10) {
            network.observe(&row(n as u32, second, Quality::Good), at(second));
        }
    }
    network.handle_timeout(at(5));
    network.take_changed();
    network
}

fn states(network: &Supervision) -> Vec<&'static str> {
    let ids = ["zhangye", "ganzhou", "sunan", "gaotai", "xinba", "xinba-01", "xinba-02"];
    ids.map(|id| network.rollup(id, at(5)).unwrap().state.word()).to_vec()
}

fn changed(network: &mut Supervision) -> Vec<String> {
    network.take_changed().into_iter().map(|node| node.id.clone()).collect()
}

#[test]
fn a_network_of_which_nothing_is_known_is_without_data_never_ok() {
    let network = network();
    for node in network.territory().nodes() {
        let rollup = network.rollup(&node.id, at(0)).unwrap();
        assert_eq!(rollup.state, State::NoData, "{}", node.id);
        assert_eq!(rollup.completeness_1h.ratio(), None);
    }
    let city = network.rollup("zhangye", at(0)).unwrap();
    assert_eq!((city.bases, city.bases_no_data, city.gateways, city.gateways_online), (16, 16, 16, 0));
    assert_eq!(
        city.summary().english(),
        "0 of 16 bases need attention; 16 without data; no data expected yet"
    );
    assert_eq!(city.summary().chinese(), "16 个基地中 0 个需要关注，16 个无数据；暂无应收数据");
    assert_eq!(network.rollup("mars", at(0)), None);
}

#[test]
fn a_running_network_is_complete_and_ok_except_where_there_is_nothing() {
    let network = running();
    assert_eq!(states(&network), ["ok", "ok", "no_data", "ok", "ok", "ok", "ok"]);
    let city = network.rollup("zhangye", at(5)).unwrap();
    assert_eq!(
        (city.level, city.points, city.gateways_online, city.bases_attention),
        (Level::City, 16, 16, 0)
    );
    assert_eq!((city.completeness_1h.expected, city.completeness_1h.stored), (16 * 360, 16 * 360));
    assert_eq!(city.last_reading_at, Some(at(-10)));
    assert_eq!(city.summary().english(), "0 of 16 bases need attention; data 100.0 % complete");
    assert_eq!(network.rollups("gaotai", 1, at(5)).iter().map(|r| r.points).collect::<Vec<_>>(), [4, 2, 2]);
    assert_eq!(network.rollups("gaotai", 9, at(5)).len(), 7);
}

#[test]
fn alerts_climb_the_four_levels_and_come_down_again() {
    let mut network = running();
    let xinba = gateway("xinba-02");
    let mark = |severity, acknowledged| Some(AlertMark { severity, acknowledged });
    for (alert, expected, counts) in [
        (
            mark(Severity::Yellow, false),
            ["attention", "ok", "no_data", "attention", "attention", "ok", "attention"],
            (1, 0, 1),
        ),
        (mark(Severity::Red, false), ["alert", "ok", "no_data", "alert", "alert", "ok", "alert"], (0, 1, 1)),
        (mark(Severity::Red, true), ["alert", "ok", "no_data", "alert", "alert", "ok", "alert"], (0, 1, 0)),
        (None, ["ok", "ok", "no_data", "ok", "ok", "ok", "ok"], (0, 0, 0)),
    ] {
        network.handle_alert(1, &xinba, alert, at(5));
        assert_eq!(states(&network), expected, "{alert:?}");
        let city = network.rollup("zhangye", at(5)).unwrap();
        assert_eq!((city.alerts.yellow, city.alerts.red, city.alerts.unacknowledged), counts);
        assert_eq!(city.worst_severity, alert.map(|a| a.severity));
        assert_eq!(city.alerts.total(), city.alerts.yellow + city.alerts.red);
        assert_eq!(changed(&mut network), ["zhangye", "gaotai", "xinba", "xinba-02"]);
    }
    network.handle_alert(1, &xinba, None, at(5));
    network.handle_alert(2, &gateway("stranger"), mark(Severity::Red, false), at(5));
    assert!(changed(&mut network).is_empty());
}

#[test]
fn a_dark_gateway_needs_attention_and_one_that_never_spoke_does_not() {
    let mut network = running();
    network.gateway_offline(&gateway("heiquan-01"), at(5));
    network.gateway_offline(&gateway("stranger"), at(5));
    assert_eq!(states(&network), ["attention", "ok", "no_data", "attention", "ok", "ok", "ok"]);
    let city = network.rollup("zhangye", at(5)).unwrap();
    assert_eq!((city.gateways_online, city.bases_attention), (15, 1));
    assert_eq!(city.summary().english(), "1 of 16 bases need attention; data 100.0 % complete");
    assert_eq!(network.link(&gateway("heiquan-01")), GatewayLink::Offline);
    assert_eq!(changed(&mut network), ["zhangye", "gaotai", "heiquan", "heiquan-01"]);
    network.gateway_offline(&gateway("heiquan-01"), at(6));
    assert!(changed(&mut network).is_empty(), "told twice");
    network.gateway_online(&gateway("heiquan-01"), at(7));
    assert_eq!(states(&network)[0], "ok");
}

#[test]
fn bad_readings_are_missing_and_silence_makes_a_base_unknown() {
    let mut network = running();
    for second in (0..3600).step_by(10) {
        network.observe(&row(0, second, Quality::Uncertain(Cause::Implausible)), at(second));
        network.observe(&row(1, second, Quality::Bad(Cause::Timeout)), at(second));
    }
    assert_eq!(network.poll_timeout(), Some(at(65)));
    network.handle_timeout(at(3605));
    let town = network.rollup("dangzhai", at(3605)).unwrap();
    assert_eq!((town.completeness_1h.expected, town.completeness_1h.stored), (3 * 360, 360));
    assert_eq!((town.state, town.bases_no_data), (State::Ok, 2));
    assert_eq!(town.summary().english(), "0 of 3 bases need attention; 2 without data; data 33.3 % complete");
    assert_eq!(network.rollup("dangzhai-02", at(3605)).unwrap().state, State::NoData);
    assert_eq!(network.rollup("xinba", at(3605)).unwrap().state, State::NoData);
    // The first reading makes it known again at once.
    network.observe(&row(1, 3606, Quality::Good), at(3606));
    assert_eq!(network.rollup("dangzhai-02", at(3606)).unwrap().state, State::Ok);
}

#[test]
fn a_reading_changes_its_base_and_the_three_nodes_above() {
    let mut network = running();
    network.observe(&row(0, 1, Quality::Good), at(1));
    network.observe(&row(0, 2, Quality::Good), at(2));
    assert_eq!(changed(&mut network), ["zhangye", "ganzhou", "dangzhai", "dangzhai-01"]);
    assert!(changed(&mut network).is_empty());
    for ignored in [
        row(0, 3, Quality::Uncertain(Cause::ClockUnknown)),
        row(0, 99_999, Quality::Good),
        row(99, 3, Quality::Good),
        row(0, 3, Quality::Bad(Cause::Checksum)),
    ] {
        network.observe(&ignored, at(3));
        assert!(changed(&mut network).is_empty(), "{ignored:?}");
    }
}

#[test]
fn points_may_be_registered_again_and_retired() {
    let mut network = running();
    assert!(network.register_point(PointNo(0), &gateway("dangzhai-01"), 5_000, at(-7200)));
    assert!(!network.register_point(PointNo(77), &gateway("stranger"), 5_000, at(-7200)));
    let base = |network: &Supervision| {
        let rollup = network.rollup("dangzhai-01", at(5)).unwrap();
        (rollup.points, rollup.completeness_1h.expected)
    };
    assert_eq!(base(&network), (1, 720));
    network.retire_point(PointNo(0));
    assert_eq!(base(&network), (0, 0));
    network.retire_point(PointNo(0));
    assert_eq!(network.rollup("zhangye", at(5)).unwrap().points, 15);
}
