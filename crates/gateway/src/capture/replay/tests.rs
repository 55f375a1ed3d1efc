use super::*;

const HEAD: &str = "# sitian capture 1\n# bus line-1 /dev/ttyUSB0 9600 8N1\n# framing rtu\n\
                    # device air-1 unit 1 profile xy-md02\n";

/// What is told of these lines, and the summary.
fn told(head: &str, lines: &str) -> (String, String) {
    let mut tape = Tape::new(Library::builtin().unwrap());
    let mut all = Vec::new();
    for line in format!("{head}{lines}").lines() {
        all.extend(tape.handle_line(line).unwrap());
    }
    all.extend(tape.handle_end());
    (all.into_iter().map(|told| told.text).collect::<Vec<_>>().join("\n"), tape.summary())
}

fn check(head: &str, lines: &str, words: &[&str], summary: &str) {
    let (text, sum) = told(head, lines);
    for word in words {
        assert!(text.contains(word), "{word} is not in:\n{text}");
    }
    assert!(sum.contains(summary), "{summary} is not in {sum}\n{text}");
}

#[test]
fn an_answer_in_pieces_is_put_together_and_decoded() {
    check(
        HEAD,
        "2026-11-22T16:05:12.100+08:00 > 01 04 00 01 00 02 20 0B\n\
         2026-11-22T16:05:12.120+08:00 < 01 04 04 FF\n\
         2026-11-22T16:05:12.125+08:00 < 33 02 22 BA E6\n",
        &["unit 1 input 0x0001 ×2", "FF33 0222   (25 ms)", "-20.5 °C", "54.6 %"],
        "1 answers · 0 without answer · 0 damaged · 0 foreign",
    );
}

#[test]
fn silence_damage_and_foreign_frames_are_told_with_their_likely_cause() {
    let ask = "2026-11-22T16:05:12.100+08:00 > 01 04 00 01 00 02 20 0B\n";
    check(HEAD, ask, &["unit 1: no answer"], "A and B swapped");
    let damaged = format!("{ask}2026-11-22T16:05:12.120+08:00 < 01 04 04 FF 33 02 22 BA E7\n");
    check(HEAD, &damaged, &["checksum of the answer is wrong"], "wrong baud rate or parity");
    let late = format!(
        "{ask}2026-11-22T16:05:12.120+08:00 < 0A 04 04 00 00 01 28 40 CA 01 04 04 FF 33 02 22 BA E6\n"
    );
    check(
        HEAD,
        &late,
        &["a frame of unit 10 that was not asked for", "-20.5 °C"],
        "1 answers · 0 without answer · 0 damaged · 1 foreign",
    );
    let nobody = "2026-11-22T16:05:12.120+08:00 < 01 04 04\n";
    check(HEAD, nobody, &["bytes that nobody asked for"], "1 foreign");
}

#[test]
fn modbus_tcp_is_read_by_its_transactions() {
    let head = HEAD.replace("framing rtu", "framing tcp").replace("xy-md02", "renke-ws-n01");
    check(
        &head,
        "2026-11-22T16:05:12.100+08:00 > 00 2A 00 00 00 06 01 03 00 00 00 02\n\
         2026-11-22T16:05:12.120+08:00 < 00 29 00 00 00 07 01 03 04 00 00 00 00 00 2A 00 00 00 07 01 03 04 02 92 FF 9B\n",
        &["65.8 %", "-10.1 °C"],
        "1 answers · 0 without answer · 0 damaged · 1 foreign",
    );
}

#[test]
fn a_line_that_makes_no_sense_is_refused_with_its_reason() {
    for (line, words) in [
        ("yesterday > 01", "does not begin with a time"),
        ("2026-11-22T16:05:12.100+08:00 = 01", "neither > nor <"),
        ("2026-11-22T16:05:12.100+08:00 > 0G", "two hex digits"),
        ("# device x unit 300 profile y", "300 is no unit id"),
    ] {
        let mut tape = Tape::new(Library::builtin().unwrap());
        tape.handle_line("# sitian capture 1").unwrap();
        assert!(tape.handle_line(line).unwrap_err().contains(words), "{line}");
    }
    assert!(Tape::new(Library::builtin().unwrap()).handle_line("hello").unwrap_err().contains("no capture"));
}
