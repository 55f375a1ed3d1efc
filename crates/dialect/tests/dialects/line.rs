use sitian_dialect::line::{Pattern, PatternFault};

use crate::shown;

fn check(pattern: &str, line: &str, fields: Option<&[&str]>) {
    let said = Pattern::parse(pattern).unwrap().read(line).map(|fields| shown(&fields));
    let expected = fields.map(|fields| fields.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(said, expected, "{pattern} on {line:?}");
}

#[test]
fn a_pattern_takes_the_numbers_of_the_lines_that_look_like_it() {
    for (pattern, line, fields) in [
        ("T={t}C,RH={rh}%", "T=21.5C,RH=48.0%", Some(&["t=21.5", "rh=48"][..])),
        ("T={t}C,RH={rh}%", "  T= -3.0 C,RH=  48 %  ", Some(&["t=-3", "rh=48"])),
        ("T={t}C,RH={rh}%", "T=21.5C", None),
        ("T={t}C,RH={rh}%", "T=21.5C,RH=48.0%,P=1", None),
        ("T={t}C,RH={rh}%{}", "T=21.5C,RH=48.0%,P=1", Some(&["t=21.5", "rh=48"])),
        ("T={t}C,RH={rh}%", "T=---C,RH=48.0%", Some(&["t=!not_a_number", "rh=48"])),
        ("R{range}", "R1234", Some(&["range=1234"])),
        ("R{range}", "R", Some(&["range=!not_a_number"])),
        ("{ph}", "7.012", Some(&["ph=7.012"])),
        ("{},{t},{}", "$WX,21.5,3,4", Some(&["t=21.5"])),
        ("{a} {b}", "1.5    +2", Some(&["a=1.5", "b=2"])),
        ("{a} {b}", "1.5", Some(&["a=1.5", "b=!not_a_number"])),
        ("土壤 {m} %", "土壤  33.1 %", Some(&["m=33.1"])),
    ] {
        check(pattern, line, fields);
    }
}

#[test]
fn what_is_no_pattern_is_refused_with_the_reason() {
    for (pattern, fault) in [
        ("", PatternFault::NoValue),
        ("T=", PatternFault::NoValue),
        ("T={}", PatternFault::NoValue),
        ("T={t", PatternFault::Brace),
        ("T=t}", PatternFault::Brace),
        ("{a}{b}", PatternFault::Neighbours),
        ("{}{b}", PatternFault::Neighbours),
        ("{a},{a}", PatternFault::Name),
        ("{a b}", PatternFault::Name),
        ("{温度}", PatternFault::Name),
    ] {
        assert_eq!(Pattern::parse(pattern), Err(fault), "{pattern}");
    }
    assert_eq!(Pattern::parse(&",{}".repeat(40)), Err(PatternFault::TooLong));
}
