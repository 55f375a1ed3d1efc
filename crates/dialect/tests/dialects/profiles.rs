use sitian_dialect::DialectProfile;
use sitian_profile::{Catalogue, catalogue_text};

const HEAD: &str = "id = \"x\"\nvendor = \"v\"\nmodel = \"m\"\nname_zh = \"z\"\nname_en = \"e\"\nsource = \"s\"\nverified = \"U\"\n";

fn check(rest: &str, faults: &[&str]) {
    let catalogue = Catalogue::parse("measurements.toml", catalogue_text()).unwrap();
    let told =
        DialectProfile::parse("x.toml", &format!("{HEAD}{rest}"), &catalogue).err().unwrap_or_default();
    let told: Vec<String> =
        told.iter().map(|fault| format!("{}:{} {}", fault.line, fault.column, fault.what)).collect();
    assert_eq!(told, faults, "{rest}");
}

#[test]
fn a_profile_is_read_or_every_fault_is_told_at_its_place() {
    let point = "[[points]]\nkey = \"air_temperature\"\nunit = \"°C\"\n";
    for (rest, faults) in [
        (format!("dialect = \"sdi12\"\n{point}field = \"M.1\"\n"), &[][..]),
        (format!("{point}field = \"M.1\"\n"), &["1:1 dialect is missing"]),
        (format!("dialect = \"sdi\"\n{point}field = \"M.1\"\n"), &["8:11 dialect \"sdi\" is not known"]),
        (
            format!("dialect = \"sdi12\"\n{point}field = \"m.1\"\n"),
            &["12:9 field \"m.1\" is no field of sdi12"],
        ),
        (
            format!("dialect = \"nmea\"\n{point}field = \"mwv.temp\"\n"),
            &["12:9 field \"mwv.temp\" is no field of nmea"],
        ),
        (format!("dialect = \"line\"\n{point}field = \"t\"\n"), &["1:1 [line] is missing"]),
        (
            format!("dialect = \"line\"\n[line]\npatterns = [\"T={{t\"]\n{point}field = \"t\"\n"),
            &[
                "10:13 the pattern \"T={t\" is no pattern: a brace is not closed or not opened",
                "14:9 field \"t\" is no field of line",
            ],
        ),
        (
            format!(
                "dialect = \"hj212\"\n[hj212]\ncommands = [9014]\ncrc = \"x\"\n{point}field = \"a01001-Rtd\"\n"
            ),
            &["10:13 9014 is no command that carries data", "11:7 crc \"x\" is not known"],
        ),
        (
            format!("dialect = \"dlt645\"\n{point}field = \"9010\"\n"),
            &["12:9 field \"9010\" is no field of dlt645"],
        ),
        (format!("dialect = \"dlt645\"\n[dlt645]\nedition = \"1997\"\n{point}field = \"9010\"\n"), &[]),
        (
            format!("dialect = \"mhz19\"\n{point}field = \"co\"\n"),
            &["12:9 field \"co\" is no field of mhz19"],
        ),
        (
            format!("dialect = \"mhz19\"\n[sdi12]\ncrc = true\n{point}field = \"co2\"\n"),
            &["9:2 sdi12 is not a known key"],
        ),
        (
            format!("dialect = \"mhz19\"\n{point}field = \"co2\"\nscale = 0\nmin = 3\nmax = 2\n"),
            &["13:9 scale 0 would make every value 0", "14:7 min 3 is above max 2"],
        ),
        ("dialect = \"mhz19\"\n".to_owned(), &["1:1 the profile has no [[points]]"]),
    ] {
        check(&rest, faults);
    }
}
