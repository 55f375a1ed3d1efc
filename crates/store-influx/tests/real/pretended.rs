//! A server that pretends to be an InfluxDB 2 as far as this room asks one: it keeps the lines it is sent, and follows the
//! few steps of Flux that the room's questions are made of, as InfluxDB's documentation says what they do. It knows no
//! Flux beyond them and refuses everything else.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::scripted::{BUCKETS, HEALTH, Heard, Said, Scripted};

/// Tags of a series with its field, and its numbers by time.
type Series = BTreeMap<BTreeMap<String, String>, BTreeMap<i64, String>>;

/// A table on its way through the steps of a question: its key and its rows (time, number).
type Table = (BTreeMap<String, String>, Vec<(i64, String)>);

pub fn start() -> Scripted {
    let mut kept = Series::new();
    Scripted::start(move |heard| answer(&mut kept, heard))
}

fn answer(kept: &mut Series, heard: &Heard) -> Said {
    let path = heard.request.split([' ', '?']).nth(1).unwrap_or_default();
    match path {
        "/health" => ("200 OK", "", HEALTH.to_owned()),
        "/api/v2/buckets" => ("200 OK", "", BUCKETS.to_owned()),
        "/api/v2/write" => {
            heard.body.lines().for_each(|line| keep(kept, line));
            ("204 No Content", "", String::new())
        }
        "/api/v2/query" => {
            let body: serde_json::Value = serde_json::from_str(&heard.body).expect("JSON");
            let query = body["query"].as_str().expect("a query");
            let answers = query.lines().map(|line| follow(kept, line));
            ("200 OK", "Content-Type: text/csv; charset=utf-8\r\n", answers.collect::<String>())
        }
        path => panic!("{path} is not asked for"),
    }
}

/// Splits at a separator that is not escaped.
fn split(text: &str, separator: char) -> Vec<String> {
    let (mut parts, mut escaped) = (vec![String::new()], false);
    for c in text.chars() {
        let part = parts.last_mut().expect("one at least");
        match c {
            ',' | '=' | ' ' if escaped => {
                part.pop();
                part.push(c);
            }
            c if c == separator => parts.push(String::new()),
            c => part.push(c),
        }
        escaped = c == '\\';
    }
    parts
}

fn keep(kept: &mut Series, line: &str) {
    // Tags hold escaped spaces; the other two do not.
    let (rest, at) = line.rsplit_once(' ').expect("a time");
    let (tags, fields) = rest.rsplit_once(' ').expect("fields");
    let mut place: BTreeMap<String, String> = BTreeMap::new();
    let mut escaped = String::new();
    for part in tags.split(',').skip(1) {
        // A comma in a value is escaped and does not end it.
        escaped += part;
        if part.ends_with('\\') {
            escaped.push(',');
            continue;
        }
        let [key, value] = &split(&escaped, '=')[..] else { panic!("{line}") };
        place.insert(key.clone(), value.clone());
        escaped.clear();
    }
    for field in fields.split(',') {
        let (name, number) = field.split_once('=').expect("a number");
        let mut place = place.clone();
        place.insert("_measurement".into(), tags.split(',').next().expect("a name").to_owned());
        place.insert("_field".into(), name.to_owned());
        let number = number.trim_end_matches('i').to_owned();
        kept.entry(place).or_default().insert(at.parse().expect("a time"), number);
    }
}

fn follow(kept: &Series, line: &str) -> String {
    let (mut name, mut columns) = ("_result".to_owned(), Vec::new());
    let mut tables: Vec<Table> = Vec::new();
    for step in line.split(" |> ") {
        let (function, arguments) = step.split_once('(').expect("a call");
        let arguments = arguments.strip_suffix(')').expect("a call");
        match function {
            "from" => {
                assert_eq!(arguments, "bucket: \"soil\"");
                let all = kept.iter().map(|(key, rows)| {
                    (key.clone(), rows.iter().map(|(at, number)| (*at, number.clone())).collect())
                });
                tables = all.collect();
            }
            "range" => {
                let times: Vec<i64> = arguments.split("time(v: ").skip(1).map(leading).collect();
                let span = times[0] / 1_000_000..times[1] / 1_000_000;
                assert!(!span.is_empty(), "cannot query an empty range");
                tables.iter_mut().for_each(|(_, rows)| rows.retain(|(at, _)| span.contains(at)));
            }
            "filter" => {
                let condition = arguments.strip_prefix("fn: (r) => ").expect("a condition");
                if condition == "r._value != 0" {
                    tables.iter_mut().for_each(|(_, rows)| rows.retain(|(_, number)| number != "0"));
                } else {
                    tables.retain(|(key, _)| condition.split(" and ").all(|part| fits(key, part)));
                }
            }
            "first" => tables.iter_mut().for_each(|(_, rows)| rows.truncate(1)),
            "last" => {
                tables.iter_mut().for_each(|(_, rows)| drop(rows.drain(..rows.len().saturating_sub(1))))
            }
            "limit" => {
                tables.iter_mut().for_each(|(_, rows)| rows.truncate(leading(&arguments[3..]) as usize))
            }
            "aggregateWindow" => tables.iter_mut().for_each(|(_, rows)| *rows = windows(rows, arguments)),
            "keep" => columns = arguments.split('"').skip(1).step_by(2).map(str::to_owned).collect(),
            "yield" => name = arguments.split('"').nth(1).expect("a name").to_owned(),
            _ => panic!("{function} is not known here"),
        }
        tables.retain(|(_, rows)| !rows.is_empty());
    }
    csv(&name, &columns, &tables)
}

fn leading(text: &str) -> i64 {
    let digits: String = text.chars().take_while(|c| c.is_ascii_digit() || *c == '-').collect();
    digits.parse().expect("a number")
}

/// One condition on a tag.
fn fits(key: &BTreeMap<String, String>, condition: &str) -> bool {
    if let Some(any) = condition.strip_prefix('(') {
        return any.trim_end_matches(')').split(" or ").any(|part| fits(key, part));
    }
    let has = |tag: &str| key.get(tag.trim_start_matches("r.")).map_or("", String::as_str);
    if let Some((tag, pattern)) = condition.split_once(" =~ ") {
        let pattern =
            pattern.strip_prefix("/^(?:").and_then(|rest| rest.strip_suffix(")$/")).expect("a pattern");
        return pattern.split('|').any(|text| text.replace('\\', "") == has(tag));
    }
    let (tag, text) = condition.split_once(" == ").expect("a condition");
    serde_json::from_str::<String>(text).is_ok_and(|text| text == has(tag))
}

/// `every: 5ms, offset: 0ms, fn: sum, createEmpty: false`; a window is told at its end.
fn windows(rows: &[(i64, String)], arguments: &str) -> Vec<(i64, String)> {
    let part = |name: &str| arguments.split(name).nth(1).expect("an argument").trim();
    let (every, offset) = (leading(part("every:")), leading(part("offset:")));
    assert!(offset >= 0 && arguments.ends_with("createEmpty: false"), "{arguments}");
    let end = |at: i64| (at - offset).div_euclid(every) * every + offset + every;
    let windows = rows.chunk_by(|a, b| end(a.0) == end(b.0));
    let told = windows.map(|rows| {
        let numbers = || rows.iter().map(|(_, number)| number.parse::<f64>().expect("a number"));
        let number = match part("fn:").split(',').next().expect("a name") {
            "count" => rows.len() as f64,
            "sum" => numbers().sum(),
            "min" => numbers().fold(f64::INFINITY, f64::min),
            "max" => numbers().fold(f64::NEG_INFINITY, f64::max),
            "first" => numbers().next().expect("one at least"),
            "last" => numbers().next_back().expect("one at least"),
            function => panic!("{function} is not known here"),
        };
        (end(rows[0].0), number.to_string())
    });
    told.collect()
}

/// The answer as the server writes it when no annotations are asked for: CRLF, an empty line before other columns, and
/// one behind each result.
fn csv(name: &str, columns: &[String], tables: &[Table]) -> String {
    let mut out = String::new();
    for (n, (key, rows)) in tables.iter().enumerate() {
        if n == 0 {
            let _ = write!(out, ",result,table,{}\r\n", columns.join(","));
        }
        for (at, number) in rows {
            let cell = |column: &String| match column.as_str() {
                "_time" => time(*at),
                // Numbers come without an exponent.
                "_value" => number.parse::<f64>().map(|number| number.to_string()).expect("a number"),
                tag => format!("\"{}\"", key[tag].replace('"', "\"\"")),
            };
            let cells: Vec<String> = columns.iter().map(cell).collect();
            let _ = write!(out, ",{name},{n},{}\r\n", cells.join(","));
        }
    }
    out + "\r\n"
}

/// RFC 3339 without trailing zeros.
fn time(ms: i64) -> String {
    let (days, of_day) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    // Counted day by day from a year whose beginning is known: slow, and beyond doubt.
    let (mut year, mut left) = if days < 0 { (1600, days + 135_140) } else { (1970, days) };
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    while left >= 365 + i64::from(leap(year)) {
        left -= 365 + i64::from(leap(year));
        year += 1;
    }
    let (mut month, february) = (1, 28 + i64::from(leap(year)));
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    let (s, fraction) = (of_day / 1_000, format!(".{:03}", of_day % 1_000));
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    format!(
        "{year:04}-{month:02}-{:02}T{:02}:{:02}:{:02}{fraction}Z",
        left + 1,
        s / 3_600,
        s / 60 % 60,
        s % 60
    )
}
