//! What is written reads back under the rules of line protocol, as a small reader of its own understands them; the reader
//! itself is held to cases of the public corpus (MIT licensed, influxdata/line-protocol-corpus).

use sitian_model::{EpochNo, PointNo, Quality, Timestamp};
use sitian_series::contract::{bad, good};

use super::*;

/// A line that was understood: name, tags, fields as they stand there, time.
#[derive(Debug, PartialEq)]
struct Read {
    name: String,
    tags: Vec<(String, String)>,
    fields: Vec<(String, String)>,
    at: Option<i64>,
}

/// Reads up to a character of `ends` that is not escaped; a backslash escapes the characters of `special` only.
fn text(rest: &mut &str, special: &str, ends: &str) -> Option<String> {
    let (mut out, mut chars) = (String::new(), rest.char_indices().peekable());
    while let Some((place, c)) = chars.next() {
        if ends.contains(c) {
            *rest = &rest[place..];
            return Some(out).filter(|out| !out.is_empty());
        }
        if (c as u32) < 32 {
            return None;
        }
        match chars.peek() {
            Some((_, next)) if c == '\\' && special.contains(*next) => {
                out.push(*next);
                chars.next();
            }
            _ => out.push(c),
        }
    }
    *rest = "";
    Some(out).filter(|out| !out.is_empty())
}

fn literal<'a>(rest: &mut &'a str, c: char) -> Option<()> {
    let found: &'a str = rest.strip_prefix(c)?;
    *rest = found;
    Some(())
}

fn field(rest: &mut &str) -> Option<String> {
    if !rest.starts_with('"') {
        let value = text(rest, "", ", ")?;
        let number = value.strip_suffix(['i', 'u']).unwrap_or(&value);
        let known = ["t", "T", "true", "f", "F", "false"].contains(&value.as_str())
            || number.parse::<f64>().is_ok_and(f64::is_finite)
                && number.contains(|c: char| c.is_ascii_digit());
        return Some(value).filter(|_| known);
    }
    let (mut out, mut chars) = (String::new(), rest[1..].char_indices().peekable());
    while let Some((place, c)) = chars.next() {
        match (c, chars.peek()) {
            ('"', _) => {
                *rest = &rest[place + 2..];
                return Some(format!("\"{out}\""));
            }
            ('\\', Some((_, next @ ('"' | '\\')))) => {
                out.push(*next);
                chars.next();
            }
            _ => out.push(c),
        }
    }
    None
}

fn read(line: &str) -> Option<Read> {
    let mut rest = line.trim_end_matches(['\n', '\r']);
    let name = text(&mut rest, ", ", ", ")?;
    let (mut tags, mut fields): (Vec<(String, String)>, _) = (Vec::new(), Vec::new());
    while literal(&mut rest, ',').is_some() {
        let key = text(&mut rest, ",= ", "=, ")?;
        literal(&mut rest, '=')?;
        let value = text(&mut rest, ",= ", ", =")?;
        if tags.iter().any(|(known, _)| *known == key) {
            return None;
        }
        tags.push((key, value));
    }
    loop {
        rest = rest.get(1..)?;
        let key = text(&mut rest, ",= ", "=, ")?;
        literal(&mut rest, '=')?;
        fields.push((key, field(&mut rest)?));
        if !rest.starts_with(',') {
            break;
        }
    }
    let at = if rest.is_empty() { None } else { Some(rest.strip_prefix(' ')?.parse().ok()?) };
    Some(Read { name, tags, fields, at })
}

#[test]
fn the_reader_of_these_tests_agrees_with_the_corpus() {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    for (line, tag, field) in [
        (r#"m v="\r""#, None, Some(("v", r#""\r""#))),
        (r#"m v="\t""#, None, Some(("v", r#""\t""#))),
        (r#"m v="\n""#, None, Some(("v", r#""\n""#))),
        (r"cpu,regions=eas\t value=1.0", Some(("regions", r"eas\t")), Some(("value", "1.0"))),
        (r"cpu,regions=\\ east value=1.0", Some(("regions", r"\ east")), Some(("value", "1.0"))),
        (r"cpu,host=two\\\ words value=42", Some(("host", r"two\\ words")), Some(("value", "42"))),
        (r#"cpu value="test\\" 1000000000"#, None, Some(("value", r#""test\""#))),
        (r"cpu,regions=east\ west value=1.0", Some((r"regions", r"east west")), Some(("value", "1.0"))),
        (r"cpu,tag0=v\ 0 value=1", Some((r"tag0", r"v 0")), Some(("value", "1"))),
        (r"cpu,region\,zone=east value=1.0", Some((r"region,zone", r"east")), Some(("value", "1.0"))),
        (r"cpu,host=two\ words value=42", Some((r"host", r"two words")), Some(("value", "42"))),
        (r"cpu\ load,region=east value=1.0", Some((r"region", r"east")), Some(("value", "1.0"))),
        (r"cpu,regions=eas\\ t value=1.0", Some((r"regions", r"eas\ t")), Some(("value", "1.0"))),
        (r"cpu,ta\ g0=\, value=1", Some((r"ta g0", r",")), Some(("value", "1"))),
        (r"cpu,tag0=\, value=1", Some((r"tag0", r",")), Some(("value", "1"))),
        (r"cpu,region\ zone=east value=1.0", Some((r"region zone", r"east")), Some(("value", "1.0"))),
        (r"cpu,tag0=\,1 value=1", Some((r"tag0", r",1")), Some(("value", "1"))),
        (r"cpu,regions=east\,west value=1.0", Some((r"regions", r"east,west")), Some(("value", "1.0"))),
        (
            r"cpu=load,equals\=foo=tag\=value value=1i",
            Some((r"equals=foo", r"tag=value")),
            Some(("value", "1i")),
        ),
        (r"cpu,regions=east\\  value=1.0", Some((r"regions", r"east\ ")), Some(("value", "1.0"))),
        (r"cpu,reg\\=ion=east value=1.0", Some((r"reg\=ion", r"east")), Some(("value", "1.0"))),
        (r"cpu,regions=\\,\,\=east value=1.0", Some((r"regions", r"\,,=east")), Some(("value", "1.0"))),
        (r"cpu,\ =east value=1.0", Some((r" ", r"east")), Some(("value", "1.0"))),
        (r"cpu\,main,regions=east value=1.0", Some((r"regions", r"east")), Some(("value", "1.0"))),
        ("m v=\"\u{1}\"", None, Some(("v", "\"\u{1}\""))),
        ("m,\u{1}=a v=1", None, None),
        ("m \u{1}=1", None, None),
        ("m v=1\r\n", None, Some(("v", "1"))),
        ("d \"=f\r", None, Some(("\"", "f"))),
        ("m,t=\u{1} v=1", None, None),
        ("\tm v=1", None, None),
        ("m\u{1} v=1", None, None),
        ("cpu,something= value=42", None, None),
        ("cpu_load_short,host=server01,region=us-west", None, None),
        ("m\u{a0}v=1", None, None),
        ("cpu,b=2,c=3,b=1 value=1", None, None),
        ("cpu value=NaN", None, None),
        ("cpu value=nan", None, None),
        ("cpu value=inf", None, None),
    ] {
        // The corpus takes U+0001 in tag values; this reader, like this writer, does not.
        let found = read(line);
        assert_eq!(found.is_some(), field.is_some(), "{line:?}: {found:?}");
        let Some(found) = found else { continue };
        assert_eq!(found.tags, tag.into_iter().map(|(k, v)| pair(k, v)).collect::<Vec<_>>(), "{line:?}");
        assert_eq!(found.fields, field.into_iter().map(|(k, v)| pair(k, v)).collect::<Vec<_>>(), "{line:?}");
    }
}

#[test]
fn tag_values_are_written_as_in_the_corpus() {
    for (value, written) in [
        (r#""serverA""#, r#""serverA""#),
        (r"\,,=east", r"\\,\,\=east"),
        (r"tag=value", r"tag\=value"),
        (r#""a"#, r#""a"#),
        (r"east,west", r"east\,west"),
        (r"eas\t", r"eas\t"),
        (r"east west", r"east\ west"),
        (r"value=foo", r"value\=foo"),
        (r"east\ ", r"east\\ "),
        (r"\ east", r"\\ east"),
        (r"eas\ t", r"eas\\ t"),
    ] {
        let mut out = String::new();
        put_tag(&mut out, "gateway", value).unwrap();
        assert_eq!(out, written, "{value}");
    }
    // An empty tag value is an error there; here the tag is left out.
    assert_eq!(heading(&Tags::default()).as_deref(), Ok("reading"));
}

#[test]
fn names_with_every_special_character_read_back_as_they_were() {
    for name in [
        "soil-1",
        "a b",
        "a,b",
        "a=b",
        r"a\b",
        r"a\ b",
        r"a\,b",
        r"a\=b",
        r"\\ x",
        r"eas\t",
        "\"quoted\"",
        "#",
        "土壤 1 号",
        "µS/cm",
        "%",
        "m\u{a0}v",
        ",",
        "=",
        " ",
        "a'b",
        "it=is, so",
    ] {
        let tags = Tags { gateway: name.into(), device: name.into(), unit: name.into(), ..Tags::default() };
        let mut line = heading(&tags).unwrap();
        let begin = line.clone();
        line.clear();
        put(&mut line, &begin, 7, &good(1, 5, 9, 25.6)).unwrap();
        let found = read(&line).unwrap_or_else(|| panic!("{line:?} is not understood"));
        assert_eq!(found.name, MEASUREMENT);
        let expected: Vec<_> =
            ["device", "gateway", "unit"].map(|key| (key.to_owned(), name.to_owned())).into();
        assert_eq!(found.tags, expected, "{line:?}");
    }
}

#[test]
fn names_that_no_line_can_hold_are_refused_with_the_reason() {
    for (name, why) in [
        ("a\nb", "control character"),
        ("a\rb", "control character"),
        ("a\u{1}", "control character"),
        ("a\tb", "control character"),
        ("a\\", "ends with a backslash"),
    ] {
        let fault = heading(&Tags { device: name.into(), ..Tags::default() }).unwrap_err().to_string();
        assert!(fault.contains(why) && fault.contains("tag device"), "{fault}");
    }
}

#[test]
fn rows_become_lines_whose_numbers_read_back_to_the_bit() {
    let heading = "reading,point=a";
    let line = |row: &Row| {
        let mut out = String::new();
        put(&mut out, heading, 77, row).map(|()| out)
    };
    for (row, expected) in [
        (good(1, 5, 9, 25.6), "reading,point=a value=25.6,quality=0i,epoch=77i,seq=9i 5\n".to_owned()),
        (
            bad(1, -6, 10, sitian_model::Cause::Timeout),
            format!(
                "reading,point=a quality={}i,epoch=77i,seq=10i -6\n",
                Quality::Bad(sitian_model::Cause::Timeout).code()
            ),
        ),
    ] {
        assert_eq!(line(&row).as_deref(), Ok(expected.as_str()));
    }
    for value in [0.1 + 0.2, -0.0, 1e300, -1e-300, f64::MIN_POSITIVE / 4.0, f64::MAX, 1e21, 123_456_789.0] {
        let read = read(&line(&good(1, 5, 9, value)).unwrap()).unwrap();
        assert_eq!(read.fields[0].1.parse::<f64>().unwrap().to_bits(), value.to_bits(), "{read:?}");
        assert_eq!(read.at, Some(5));
    }
    let row = |value, seq| Row {
        point: PointNo(1),
        at: Timestamp(1),
        value: Some(value),
        quality: Quality::Good,
        epoch: EpochNo(1),
        seq,
    };
    for value in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        assert!(matches!(line(&row(value, 1)), Err(LineFault::NotFinite(_))), "{value}");
    }
    assert_eq!(line(&row(1.0, (1 << 53) + 1)), Err(LineFault::Seq((1 << 53) + 1)));
    assert!(line(&row(1.0, 1 << 53)).is_ok());
}
