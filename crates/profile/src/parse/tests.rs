use super::*;
use crate::catalogue_text;

const HEAD: &str = "\
id = \"probe\"
vendor = \"v\"
model = \"m\"
name_zh = \"z\"
name_en = \"e\"
source = \"s\"
verified = \"V\"
default_unit = 1
[serial]
baud = 9600
";
const POINT: &str = "\
[[points]]
key = \"soil_moisture\"
unit = \"%\"
function = \"holding\"
address = 0
kind = \"u16\"
scale = 0.1
";

fn faults(text: &str) -> Vec<ConfigFault> {
    let catalogue = Catalogue::parse("measurements.toml", catalogue_text()).unwrap();
    Profile::parse("probe.toml", text, &catalogue).err().unwrap_or_default()
}

/// `text` has exactly one fault, at this place, with these words in it and in its help.
fn check(text: &str, line: u32, column: u32, what: &str, help: &str) {
    let found = faults(text);
    assert_eq!(found.len(), 1, "{found:#?}\n{text}");
    let fault = &found[0];
    assert_eq!((fault.line, fault.column), (line, column), "{fault}\n{text}");
    assert!(fault.what.contains(what), "{fault}");
    assert!(fault.help.contains(help), "{fault}");
}

#[test]
fn a_plain_profile_has_no_fault_and_takes_the_catalogue_s_range() {
    let catalogue = Catalogue::parse("measurements.toml", catalogue_text()).unwrap();
    let profile = Profile::parse("probe.toml", &format!("{HEAD}{POINT}"), &catalogue).unwrap();
    let point = &profile.points[0];
    assert_eq!((point.min, point.max, point.decimals, point.optional), (0.0, 100.0, 1, false));
    assert_eq!((profile.registers_max, profile.gap_max, profile.serial.parity), (125, 4, Parity::None));
    assert_eq!(point.scale.to_string(), "0.1");
}

#[test]
fn each_fault_of_a_point_is_found_where_it_stands_with_what_to_do() {
    let replaced = |from: &str, to: &str| format!("{HEAD}{}", POINT.replace(from, to));
    let added = |line: &str| format!("{HEAD}{POINT}{line}\n");
    check(&added("scal = 2"), 18, 1, "scal is not a known key", "did you mean scale?");
    check(&added("wavelength = 2"), 18, 1, "wavelength is not a known key", "known here: address");
    check(
        &replaced("soil_moisture", "soil_moistur"),
        12,
        7,
        "\"soil_moistur\" is not known",
        "measurements.toml",
    );
    check(&replaced("soil_moisture", "Soil"), 12, 7, "point id \"Soil\" must be", "soil_moisture");
    check(
        &replaced("\"%\"", "\"°C\""),
        13,
        8,
        "unit \"°C\" is not the unit of soil_moisture",
        "write unit = \"%\"",
    );
    check(
        &replaced("holding", "register"),
        14,
        12,
        "function \"register\" is not known",
        "coils, discrete, holding, input",
    );
    check(&replaced("address = 0", "address = 65536"), 15, 11, "address 65536 is out of range", "0 to 65535");
    check(&replaced("address = 0\n", ""), 11, 1, "address is missing", "add address");
    check(&replaced("\"u16\"", "\"int\""), 16, 8, "kind \"int\" is not known", "u16, s16");
    check(&replaced("\"u16\"", "\"u32\""), 11, 1, "order is missing", "ABCD, CDAB, BADC or DCBA");
    check(
        &replaced("\"u16\"", "\"u32\"\norder = \"ACBD\""),
        17,
        9,
        "order \"ACBD\" is not known",
        "ABCD, CDAB",
    );
    check(
        &replaced("address = 0", "address = 0xFFFF").replace("\"u16\"", "\"u32\"\norder = \"ABCD\""),
        15,
        11,
        "end beyond 0xFFFF",
        "0-based",
    );
}

#[test]
fn each_fault_of_how_a_point_is_read_is_found_where_it_stands() {
    let replaced = |from: &str, to: &str| format!("{HEAD}{}", POINT.replace(from, to));
    let added = |line: &str| format!("{HEAD}{POINT}{line}\n");
    check(&added("order = \"ABCD\""), 18, 9, "order has no meaning for a single register", "remove order");
    check(&added("mask = 1"), 18, 8, "only kind \"bits\" has a mask", "remove mask");
    check(&replaced("\"u16\"", "\"bits\""), 11, 1, "needs a mask", "mask = 0x0001");
    check(&replaced("scale = 0.1", "scale = \"1/10\""), 17, 9, "scale \"1/10\" is no decimal number", "0.1");
    check(&replaced("scale = 0.1", "scale = inf"), 17, 9, "scale inf is no decimal number", "0.1");
    check(&replaced("scale = 0.1", "scale = 0.0"), 17, 9, "scale 0", "what one raw step is worth");
    check(&added("min = 60\nmax = 50"), 18, 7, "min 60 is above max 50", "exchange");
    check(
        &added("missing = [0x10000]"),
        18,
        12,
        "missing marker 65536 does not fit into 16 bits",
        "raw number",
    );
    check(&added("optional = 1"), 18, 12, "optional must be true or false", "change");
    check(&replaced("\"holding\"", "\"coils\""), 16, 8, "have no kind", "remove kind");
    check(&added("unit_register = { address = 2 }"), 18, 17, "codes is missing", "codes = {");
    check(
        &added("unit_register = { address = 2, codes = { m = 1 } }"),
        18,
        42,
        "m is no unit code",
        "0 to 65535",
    );
    check(
        &added("decimals_register = { address = 2, max = 12 }"),
        18,
        42,
        "max 12 is out of range",
        "0 to 9",
    );
    check(&added(POINT), 19, 7, "the key soil_moisture is used twice", "its own key");
}

#[test]
fn each_fault_of_counters_status_and_outputs_is_found_where_it_stands() {
    let added = |line: &str| format!("{HEAD}{POINT}{line}\n");
    check(&added("counter = { wrap = 100 }"), 18, 11, "hourly_max is missing", "add hourly_max");
    check(&added("counter = { hourly_max = 0 }"), 18, 26, "counts nothing", "largest increase");
    check(&added("status_register = { address = 2 }"), 18, 19, "no bit of the status register", "add bad");
    let write = |values: &str| added(&format!("write = {{ min = 0, max = 1, {values} }}"));
    check(&write("safe = 2, on_max_s = 60"), 18, 36, "safe 2 is not between min 0 and max 1", "safe value");
    check(&write("safe = 0"), 18, 9, "on_max_s is missing", "add on_max_s");
    check(&write("on_max_s = 60"), 18, 9, "safe is missing", "add safe");
    check(&write("safe = 0, on_max_s = 60, read_back = \"x\""), 1, 1, "no point of the profile", "read_back");
    check(
        &write("safe = 0, on_max_s = 60").replace("holding", "input"),
        18,
        9,
        "inputs cannot be written",
        "coil or holding register",
    );
}

#[test]
fn each_fault_of_commands_and_setup_is_found_where_it_stands() {
    let pre =
        |more: &str| format!("{HEAD}{POINT}[[pre_read]]\nfunction = \"holding\"\naddress = 0\n{more}\n");
    check(&pre("write = [70000]"), 21, 10, "70000 does not fit", "0 to 65535");
    check(&pre("count = 1\nwrite = []"), 21, 9, "a write has no count", "remove count");
    check(
        &pre("write = [1]").replacen(
            "[[pre_read]]\nfunction = \"holding\"",
            "[[pre_read]]\nfunction = \"input\"",
            1,
        ),
        21,
        9,
        "inputs cannot be written",
        "coils",
    );
    check(
        &format!("{HEAD}{POINT}[setup]\nbaud_codes = {{ fast = 1 }}\n"),
        19,
        16,
        "fast = 1 is no baud code",
        "rate = code",
    );
}

#[test]
fn each_fault_of_the_head_is_found_where_it_stands_with_what_to_do() {
    let replaced = |from: &str, to: &str| format!("{}{POINT}", HEAD.replace(from, to));
    let wide = POINT.replace("\"u16\"", "\"u64\"\norder = \"ABCD\"");
    let limited = HEAD.replace("default_unit = 1", "default_unit = 1\nregisters_max = 2");
    check(
        &format!("{limited}{wide}"),
        17,
        8,
        "needs 4 registers, but registers_max is 2",
        "raise registers_max",
    );
    check(&replaced("id = \"probe\"", "id = \"Probe\""), 1, 6, "id \"Probe\" is not well-formed", "a-z");
    check(&replaced("\"V\"", "\"X\""), 7, 12, "verified \"X\" is not known", "F, V, U");
    check(
        &replaced("default_unit = 1", "default_unit = 0"),
        8,
        16,
        "default_unit 0 is out of range",
        "1 to 255",
    );
    check(
        &replaced("default_unit = 1", "default_unit = \"1\""),
        8,
        16,
        "default_unit must be a whole number",
        "change",
    );
    check(&replaced("[serial]\nbaud = 9600\n", ""), 1, 1, "[serial] is missing", "baud");
    check(
        &replaced("baud = 9600", "baud = 9600\nparity = \"maybe\""),
        11,
        10,
        "parity \"maybe\"",
        "none, even, odd",
    );
    check(HEAD, 1, 1, "the profile has no [[points]]", "add");
    let unreadable = "[[unreadable]]\nfunction = \"holding\"\nfirst = 0\nlast = 3\n";
    check(&format!("{HEAD}{POINT}{unreadable}"), 15, 11, "lies in the unreadable range", "narrow");
    check(
        &format!("{HEAD}{POINT}[[unreadable]]\nfunction = \"holding\"\nfirst = 4\nlast = 3\n"),
        18,
        1,
        "is above last",
        "exchange",
    );
    check(
        &format!("{HEAD}{POINT}[[pre_read]]\nfunction = \"holding\"\naddress = 0xFFFF\ncount = 2\n"),
        18,
        1,
        "end beyond",
        "lower",
    );
    check(&replaced("baud = 9600", "baud = "), 10, 8, "this is not TOML", "toml.io");
}

#[test]
fn all_faults_are_found_at_once_in_text_order() {
    let text = format!(
        "{}{}",
        HEAD.replace("\"V\"", "\"X\""),
        POINT.replace("\"u16\"", "\"q\"").replace("\"%\"", "\"m\"")
    );
    let places: Vec<u32> = faults(&text).iter().map(|fault| fault.line).collect();
    assert_eq!(places, [7, 13, 16]);
}

#[test]
fn a_catalogue_names_its_faults_too() {
    let good = "name_zh = \"z\"\nname_en = \"e\"\nunit = \"m\"\ndecimals = 1\nmedium = \"soil\"\n";
    for (text, line, what) in [
        (format!("[a]\n{good}min = 2\nmax = 1\n"), 8, "max 1 is not above min 2"),
        (format!("[a]\n{good}min = 2\n"), 1, "needs both min and max"),
        (format!("[A]\n{good}"), 1, "is not well-formed"),
        (format!("[a]\n{}", good.replace("soil", "fire")), 6, "medium \"fire\" is not known"),
        (format!("[a]\n{good}maxi = 1\n"), 7, "maxi is not a known key"),
        ("a = 1\n".to_owned(), 1, "a must be a table"),
    ] {
        let faults = Catalogue::parse("m.toml", &text).unwrap_err();
        assert_eq!((faults.len(), faults[0].line), (1, line), "{faults:?}");
        assert!(faults[0].what.contains(what), "{faults:?}");
    }
}
