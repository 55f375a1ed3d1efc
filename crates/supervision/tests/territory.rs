//! Territory files: the built-in one counted, and what is refused and where.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use sitian_model::GatewayId;
use sitian_supervision::territory::builtin;
use sitian_supervision::{Level, Position, Territory};

const GOOD: &str = r#"[[city]]
id = "zhangye"
name = { zh = "张掖市", en = "Zhangye" }
codes = [{ system = "gb2260", code = "620700" }]
longitude = 100.45
latitude = 38.93
position = "seat"
[[county]]
id = "ganzhou"
parent = "zhangye"
name = { zh = "甘州区", en = "Ganzhou" }
codes = [{ system = "gb2260", code = "620702" }]
longitude = 100.45
latitude = 38.93
position = "seat"
[[town]]
id = "dangzhai"
parent = "ganzhou"
name = { zh = "党寨镇", en = "Dangzhai" }
codes = [{ system = "nbs", code = "620702107", valid_from = "2023-01-01" }]
longitude = 100.5
latitude = 38.9
position = "schematic"
[[base]]
id = "dangzhai-01"
parent = "dangzhai"
name = { zh = "一号基地", en = "Base 1" }
longitude = 100.5
latitude = 38.9
position = "exact"
area_mu = 120
gateways = ["dangzhai-01"]
"#;

fn zhangye() -> Territory {
    let (file, text) = builtin();
    Territory::parse(file, text).unwrap()
}

#[test]
fn the_built_in_territory_has_the_places_it_should() {
    let territory = zhangye();
    let mut counts = BTreeMap::new();
    for node in territory.nodes() {
        *counts.entry(node.level).or_insert(0) += 1;
    }
    assert_eq!(counts.into_values().collect::<Vec<_>>(), [1, 6, 7, 16]);
    let bases = |id: &str| territory.descendants(id, 3).iter().filter(|n| n.level == Level::Base).count();
    let towns = ["dangzhai", "liaoquan", "heiquan", "xinba", "qingquan", "chenhu", "hongshui"];
    assert_eq!(towns.map(bases), [3, 2, 2, 2, 2, 2, 3]);
    let counties = ["ganzhou", "sunan", "minle", "linze", "gaotai", "shandan"];
    assert_eq!(counties.map(bases), [3, 0, 3, 2, 4, 4]);
    let code = |id: &str, system: &str| {
        let node = territory.node(id).unwrap();
        node.codes.iter().find(|c| c.system == system).map(|c| c.code.clone()).unwrap_or_default()
    };
    assert_eq!(
        counties.map(|id| code(id, "gb2260")),
        ["620702", "620721", "620722", "620723", "620724", "620725"]
    );
    for (town, nbs, mca) in [
        ("dangzhai", "620702107", "620702107"),
        ("liaoquan", "620723103", "620723103"),
        ("heiquan", "620724107", "620724107"),
        ("xinba", "620724106", "620724104"),
        ("qingquan", "620725101", "620725101"),
        ("chenhu", "620725104", "620725104"),
        ("hongshui", "620722101", "620722101"),
    ] {
        assert_eq!((code(town, "nbs").as_str(), code(town, "mca").as_str()), (nbs, mca), "{town}");
    }
    for node in territory.nodes() {
        assert_eq!(node.position == Position::Seat, node.level <= Level::County, "{}", node.id);
        assert_eq!(node.gateways.is_empty(), node.level != Level::Base, "{}", node.id);
        assert_eq!(node.base_id().is_some(), node.level == Level::Base, "{}", node.id);
    }
}

#[test]
fn the_tree_answers_where_things_are() {
    let territory = zhangye();
    assert_eq!(territory.root().unwrap().id, "zhangye");
    let way: Vec<_> = territory.breadcrumb("xinba-02").iter().map(|n| n.name_zh.as_str()).collect();
    assert_eq!(way, ["张掖市", "高台县", "新坝镇", "新坝镇二号有机蔬菜基地"]);
    assert!(territory.breadcrumb("mars").is_empty());
    let children: Vec<_> = territory.children("gaotai").iter().map(|n| n.id.as_str()).collect();
    assert_eq!(children, ["heiquan", "xinba"]);
    assert_eq!(territory.base_of(&GatewayId::new("xinba-02").unwrap()).unwrap().id, "xinba-02");
    for (scope, node, inside) in [
        ("zhangye", "xinba-02", true),
        ("gaotai", "xinba-02", true),
        ("xinba", "xinba", true),
        ("heiquan", "xinba-02", false),
        ("xinba-02", "xinba", false),
        ("xinba-0", "xinba-02", false),
        ("mars", "mars", false),
        ("zhangye", "mars", false),
    ] {
        assert_eq!(territory.contains(scope, node), inside, "{scope} {node}");
    }
    for (id, depth, count) in
        [("zhangye", 0, 1), ("zhangye", 1, 7), ("zhangye", 9, 30), ("gaotai", 2, 7), ("mars", 2, 0)]
    {
        assert_eq!(territory.descendants(id, depth).len(), count, "{id} {depth}");
    }
}

fn check(text: &str, expected: &[&str]) {
    let faults = Territory::parse("t.toml", text).err().unwrap_or_default();
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
    for (fault, expected) in faults.iter().zip(expected) {
        let (place, what) = expected.split_once(": ").unwrap();
        assert_eq!(format!("{}:{}", fault.line, fault.column), place, "{fault}");
        assert!(fault.what.contains(what), "{fault}");
        assert!(!fault.help.is_empty(), "{fault}");
    }
}

#[test]
fn a_fault_says_where_and_what() {
    check(GOOD, &[]);
    for (from, to, expected) in [
        (
            "parent = \"dangzhai\"",
            "parent = \"ganzhou\"",
            "26:10: parent \"ganzhou\" is a county, not a town",
        ),
        ("parent = \"dangzhai\"", "parent = \"mars\"", "26:10: there is no town \"mars\""),
        ("parent = \"dangzhai\"\n", "", "25:6: base \"dangzhai-01\" has no parent"),
        ("id = \"zhangye\"\n", "id = \"zhangye\"\nparent = \"gansu\"\n", "3:10: a city has nothing above it"),
        ("id = \"dangzhai-01\"", "id = \"dangzhai\"", "25:6: id \"dangzhai\" is taken"),
        ("id = \"dangzhai-01\"", "id = \"党寨\"", "25:6: id \"党寨\" is not usable"),
        ("\"620702107\"", "\"62070210\"", "20:35: code \"62070210\" is not usable"),
        ("\"620702107\"", "\"620724107\"", "20:35: does not lie under its parent's 620702"),
        ("\"620702\"", "\"630702\"", "12:38: does not lie under its parent's 620700"),
        ("\"nbs\"", "\"gb2260\"", "20:21: a town has no code of system \"gb2260\""),
        ("2023-01-01", "2023-13-01", "20:61: valid_from \"2023-13-01\" is no day"),
        ("longitude = 100.5\n", "longitude = 1005\n", "21:13: longitude = 1005 is not on this planet"),
        ("latitude = 38.9\n", "latitude = nan\n", "22:12: latitude = NaN is not on this planet"),
        ("\"exact\"", "\"here\"", "30:12: position \"here\" is not known"),
        ("120", "-1", "31:11: area_mu = -1 is no area"),
        ("area_mu", "area", "31:1: unknown field `area`"),
        ("[\"dangzhai-01\"]", "[\"GW 1\"]", "32:13: must be 1 to 32 characters"),
        ("[\"dangzhai-01\"]", "[\"a\", \"a\"]", "32:18: gateway a stands in another base already"),
        (
            "position = \"seat\"\n[[town]]",
            "position = \"seat\"\ngateways = [\"a\"]\n[[town]]",
            "16:12: a county has no gateways",
        ),
        ("en = \"Base 1\"", "en = \" \"", "27:8: lacks a name"),
    ] {
        assert!(GOOD.contains(from), "{from}");
        check(&GOOD.replacen(from, to, 1), &[expected]);
    }
    check("", &["1:1: the territory has no city"]);
    check(&GOOD.replace("\"exact\"", "\"here\"").replace("120", "0"), &["30:12: position", "31:11: area_mu"]);
}
