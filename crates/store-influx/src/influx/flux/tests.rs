//! The texts as they go out. They were held against the type checker of Flux itself (see the decision note), so they change
//! only together with that.

use std::sync::Arc;

use sitian_model::PointNo;

use super::*;
use crate::names::{Named, Names, Tags};

fn points(names: &[[&str; 3]]) -> Vec<(PointNo, Arc<Named>)> {
    let known = Names::default();
    let numbers: Vec<PointNo> = (0..names.len() as u32).map(PointNo).collect();
    for (no, [gateway, device, point]) in numbers.iter().zip(names) {
        let (gateway, device, point) = (gateway.to_string(), device.to_string(), point.to_string());
        known.point(*no, Tags { gateway, device, point, ..Tags::default() }).unwrap();
    }
    known.some(&numbers)
}

const SEQ: &str = "from(bucket: \"soil\") |> range(start: time(v: -5000000), stop: time(v: 7000000)) |> filter(fn: (r) => \
                   r._measurement == \"reading\" and r._field == \"seq\" and r.gateway == \"gw-1\" and r.device == \"d\" and r.point == \"p\")";

#[test]
fn questions_about_one_point_name_it() {
    let points = points(&[["gw-1", "d", "p"]]);
    let choice = Choice::of(&points);
    let number = "|> keep(columns: [\"_time\", \"_value\"])";
    assert_eq!(
        ends("soil", &choice, &(-5..7)),
        format!(
            "{SEQ} |> first() {number} |> yield(name: \"first\")\n{SEQ} |> last() {number} |> yield(name: \"last\")\n"
        )
    );
    let row = SEQ.replace(
        "r._field == \"seq\"",
        "(r._field == \"value\" or r._field == \"quality\" or r._field == \"epoch\" or r._field == \"seq\")",
    );
    let moment = "|> keep(columns: [\"_time\", \"_value\", \"_field\", \"gateway\", \"device\", \"point\"])";
    assert_eq!(fields("soil", &choice, &(-5..7), None), format!("{row} {moment}"));
    assert_eq!(fields("soil", &choice, &(-5..7), Some(12)), format!("{row} |> limit(n: 12) {moment}"));
    assert_eq!(newest("soil", &choice, &(-5..7)), format!("{row} |> last() {moment}"));
}

#[test]
fn questions_about_many_points_hold_a_pattern_for_each_name() {
    let points = points(&[["gw-1", "d", "p.1"], ["gw-2", "d", "a/b|c"], ["gw-1", "d", "p.1"]]);
    let text = newest("soil", &Choice::of(&points), &(0..1));
    assert!(text.contains("r.gateway =~ /^(?:gw-1|gw-2)$/ and r.device == \"d\" and "), "{text}");
    assert!(text.contains(r"r.point =~ /^(?:a\/b\|c|p\.1)$/)"), "{text}");
}

#[test]
fn windows_are_asked_for_with_the_offset_of_their_beginning() {
    let points = points(&[["gw-1", "d", "p"]]);
    let text = windows("soil", &Choice::of(&points), &(57_600_000..230_400_000), 86_400_000, 9);
    let names: Vec<&str> = text.lines().filter_map(|line| line.split("yield(name: ").nth(1)).collect();
    assert_eq!(
        names,
        ["\"all\")", "\"sum\")", "\"min\")", "\"max\")", "\"first\")", "\"last\")", "\"doubtful\")"]
    );
    let [all, sum, .., doubtful] = &text.lines().collect::<Vec<_>>()[..] else { panic!("{text}") };
    let window = "|> aggregateWindow(every: 86400000ms, offset: 57600000ms, fn: sum, createEmpty: false)";
    assert!(sum.contains("r._field == \"value\"") && sum.contains(window), "{sum}");
    assert!(all.contains("r._field == \"quality\"") && all.contains("fn: count,"), "{all}");
    assert!(doubtful.contains("|> filter(fn: (r) => r._value != 0) |> limit(n: 9)"), "{doubtful}");
}

#[test]
fn no_name_leaves_its_quotes_or_becomes_an_expression() {
    for (text, literal) in [
        ("soil", r#""soil""#),
        ("a \"b\"", r#""a \"b\"""#),
        (r"a\", r#""a\\""#),
        ("${r._value}", r#""\${r._value}""#),
        (r"\${x}", r#""\\\${x}""#),
        ("5 $ {x} $", r#""5 $ {x} $""#),
        ("$${x}", r#""$\${x}""#),
        ("a\nb\tc\r", r#""a\nb\tc\r""#),
        ("土壤 // no comment", r#""土壤 // no comment""#),
        ("\") |> drop() //", r#""\") |> drop() //""#),
    ] {
        assert_eq!(string(text), literal, "{text}");
    }
    assert_eq!(regex(r"a/b\\"), r"/^(?:a\/b\\)$/");
}
