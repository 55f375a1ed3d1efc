//! Where readings are kept: what is understood, and what is refused with what to do.

use std::os::unix::fs::PermissionsExt;

use sitian_store_influx::Token;
use sitian_store_influx::influx::Bucket;

use super::*;
use crate::readings::{Kind, Server};
use crate::settings::DEFAULTS;

fn judge(storage: &str, folder: &Path, token: Option<&str>) -> Result<Parts, String> {
    judge_text(&format!("[storage]\n{storage}\n"), folder, token)
}

fn judge_text(text: &str, folder: &Path, token: Option<&str>) -> Result<Parts, String> {
    let told = |faults: Vec<ConfigFault>| faults.iter().map(|fault| format!("{fault}\n")).collect::<String>();
    let loaded =
        sitian_settings::load(DEFAULTS, Some(("ingestor.toml", text)), [], "X_", &[]).map_err(told)?;
    Parts::judge_with(&loaded, folder, token.map(str::to_owned)).map_err(told)
}

const INFLUX: &str = "engine = \"influxdb2\"\nurl = \"https://influx.county:8086/\"\norganisation = \"a county\"\nbucket = \"soil\"";

fn influx(token: &str, keep_days: Option<u32>) -> Place {
    let (organisation, bucket, token) = ("a county".into(), "soil".into(), Token(token.into()));
    let kind = Kind::Influx(Bucket { organisation, bucket, token });
    Place::Elsewhere(Server { url: "https://influx.county:8086".into(), keep_days, kind })
}

#[test]
fn an_engine_is_described_by_its_own_settings_and_no_others() {
    let folder = tempfile::tempdir().expect("a folder");
    for (storage, token, fault) in [
        ("", None, None),
        ("engine = \"postgres\"", None, Some("storage.engine: \"postgres\" is no engine")),
        ("url = \"http://127.0.0.1:1\"", None, Some("the embedded engine has none")),
        ("bucket = \"soil\"", None, Some("storage.bucket: only InfluxDB 2 has one")),
        ("engine = \"victoriametrics\"\nurl = \"http://127.0.0.1:8428\"", None, None),
        ("engine = \"victoriametrics\"", None, Some("write it as http://127.0.0.1:8428")),
        (
            "engine = \"victoriametrics\"\nurl = \"http://127.0.0.1:8428\"\ntoken_file = \"t\"",
            None,
            Some("storage.token_file: only InfluxDB 2 has one"),
        ),
        ("engine = \"influxdb2\"", Some("secret"), Some("storage.bucket: InfluxDB 2 needs one")),
        (INFLUX, Some("secret"), None),
        (INFLUX, Some(" \n"), Some("storage.token_file: InfluxDB 2 needs a token")),
        (INFLUX, None, Some("set SITIAN_STORAGE_TOKEN")),
        (&format!("{INFLUX}\ntoken_file = \"none\""), None, Some("none cannot be read")),
        (
            &format!("{INFLUX}\nretention.hourly_days = 9"),
            Some("secret"),
            Some("leave hourly_days and daily_days at 0"),
        ),
    ] {
        match (judge(storage, folder.path(), token), fault) {
            (Ok(_), None) => {}
            (Err(found), Some(fault)) => {
                assert!(found.contains(fault), "{storage}: {found}");
                assert!(!found.contains("secret"), "{found}");
            }
            (found, _) => panic!("{storage}: {:?}", found.map(|parts| parts.place)),
        }
    }
}

#[test]
fn a_token_comes_from_its_file_or_the_environment_and_no_text_shows_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("token");
    std::fs::write(&file, "from-the-file\n").expect("writes");
    let with_file = format!("{INFLUX}\ntoken_file = \"token\"\nretention.raw_days = 400");
    for (mode, warned) in [(0o600, false), (0o640, false), (0o644, true)] {
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).expect("sets the mode");
        let parts = judge(&with_file, folder.path(), Some("from-the-environment")).expect("is sound");
        assert_eq!(parts.place, influx("from-the-file", Some(400)));
        assert!(!format!("{:?}", parts.place).contains("from-the-file"));
        assert_eq!(parts.retention, Retention::default(), "this file forgets nothing by it");
        assert_eq!(parts.warnings.len(), usize::from(warned), "{mode:o}: {:?}", parts.warnings);
        assert!(!warned || parts.warnings[0].contains("chmod 600"), "{:?}", parts.warnings);
    }
    let parts = judge(INFLUX, folder.path(), Some("from-the-environment\n")).expect("is sound");
    assert_eq!(parts.place, influx("from-the-environment", None));
    std::fs::write(&file, "two words").expect("writes");
    let refused = judge(&with_file, folder.path(), None).err().unwrap_or_default();
    assert!(refused.contains("holds no token") && !refused.contains("two words"), "{refused}");
}

/// The certificate of an authority whose key nobody has.
const AUTHORITY: &str = "\
-----BEGIN CERTIFICATE-----
MIIBljCCAT2gAwIBAgIUSFXs6jcussv28c5xXboSDnWQ/OAwCgYIKoZIzj0EAwIw
IDEeMBwGA1UEAwwVU2l0aWFuIHRlc3QgYXV0aG9yaXR5MCAXDTI2MTEyMjE4NTEx
MFoYDzIxMjYxMDI5MTg1MTEwWjAgMR4wHAYDVQQDDBVTaXRpYW4gdGVzdCBhdXRo
b3JpdHkwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAT58617yiQr4PIyt63D9xs9
Ttlx6hcp2uzWotwJ4olnhBovLi8XJ2a7XEUJpRrcCNNZ3gVI4dZ8UTpzyOsWL6sI
o1MwUTAdBgNVHQ4EFgQUg+/wFi1qaP4wqAaN6S+jQs0BcgEwHwYDVR0jBBgwFoAU
g+/wFi1qaP4wqAaN6S+jQs0BcgEwDwYDVR0TAQH/BAUwAwEB/zAKBggqhkjOPQQD
AgNHADBEAiBWDsnMJtOSvWZSSVa2e10bYzPPTx0gohjt6OLHFGlMuQIga0qik6L9
stbHIt+JjJTmkOjyh+ZlHEg9P431zXKOni0=
-----END CERTIFICATE-----
";

const URL: &str = "kind = \"postgresql\"\nurl = \"postgresql://sitian@127.0.0.1/sitian\"";
const AWAY: &str = "kind = \"postgresql\"\nurl = \"postgresql://sitian@db.example/sitian\"";
const SOCKET: &str = "kind = \"postgresql\"\nurl = \"postgresql://sitian@%2Frun%2Fpostgresql/sitian\"";
const ENGINE: &str = "engine = \"victoriametrics\"\nurl = \"http://127.0.0.1:8428\"";
const APART: &str = "[broker]\nembedded = false\n[mqtt]\nhost = \"broker.example\"";

/// Settings of engine and registry, and what is said of them if they cannot be used.
fn check_registry(storage: &str, registry: &str, fault: Option<&str>) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("password"), "geheim\n").expect("writes");
    std::fs::write(folder.path().join("empty"), "\n").expect("writes");
    std::fs::write(folder.path().join("ca.pem"), AUTHORITY).expect("writes");
    let text = format!("[storage]\n{storage}\n[registry]\n{registry}\n");
    match (judge_text(&text, folder.path(), None), fault) {
        (Ok(parts), None) => assert!(!format!("{:?}", parts.seat).contains("geheim")),
        (Err(found), Some(fault)) => {
            assert!(found.contains(fault), "{text}: {found}");
            assert!(!found.contains("geheim"), "{found}");
        }
        (found, _) => panic!("{text}: {:?}", found.map(|parts| parts.seat)),
    }
}

#[test]
fn a_registry_is_described_by_its_own_settings_and_fits_the_engine() {
    for (storage, registry, fault) in [
        ("", "", None),
        (ENGINE, "", None),
        (ENGINE, URL, None),
        (ENGINE, &format!("{URL}\npassword_file = \"password\"\nmember = \"a\""), None),
        (
            "",
            URL,
            Some(
                "ingestor.toml:4:8: registry.kind: the embedded engine keeps readings and registry in one file",
            ),
        ),
        ("", "kind = \"mysql\"", Some("registry.kind: \"mysql\" is no kind of registry")),
        ("", "url = \"postgresql://sitian@db/sitian\"", Some("set registry.kind = \"postgresql\"")),
        ("", "member = \"a\"", Some("registry.member: the registry in a file has none")),
        (ENGINE, "kind = \"postgresql\"", Some("registry.url: it does not begin with postgresql://")),
        (
            ENGINE,
            "kind = \"postgresql\"\nurl = \"postgresql://sitian:geheim@db/sitian\"",
            Some("the password into registry.password_file"),
        ),
        (ENGINE, &format!("{URL}\npassword_file = \"none\""), Some("none cannot be read")),
        (ENGINE, &format!("{URL}\npassword_file = \"empty\""), Some("empty is empty")),
        (ENGINE, &format!("{URL}\npasword_file = \"x\""), Some("pasword_file")),
        ("", "ca_file = \"ca.pem\"", Some("registry.ca_file: the registry in a file has none")),
        (ENGINE, &format!("{URL}\nshared = true\nlease_s = 3\n{APART}"), None),
        (ENGINE, &format!("{URL}\nshared = true\nlease_s = 60\n{APART}"), None),
        (
            ENGINE,
            &format!("{URL}\nshared = true"),
            Some("ingestor.toml:7:10: registry.shared: several ingestors need one broker"),
        ),
        (
            ENGINE,
            &format!("{URL}\nlease_s = 2"),
            Some(
                "ingestor.toml:7:11: registry.lease_s: 2 s is no length for a lease\n  help: use 3 to 60 seconds",
            ),
        ),
        (ENGINE, &format!("{URL}\nlease_s = 61"), Some("registry.lease_s: 61 s is no length for a lease")),
        (ENGINE, &format!("{URL}\nlease_s = \"10s\""), Some("ingestor.toml:7:11: ")),
        ("", "shared = true", Some("ingestor.toml:4:10: registry.shared: the registry in a file has none")),
        (
            "",
            &format!("kind = \"embedded\"\nshared = true\n{APART}"),
            Some("registry.shared: the registry in a file"),
        ),
    ] {
        check_registry(storage, registry, fault);
    }
}

#[test]
fn no_word_goes_to_a_database_on_another_machine_in_the_open_unless_a_person_says_so() {
    for (registry, fault) in [
        (AWAY, Some("ingestor.toml:6:7: registry.url: db.example is another machine")),
        (AWAY, Some("set registry.ca_file to the authority that signed the server's certificate")),
        (&format!("{AWAY}\ntls = \"off\""), None),
        (&format!("{AWAY}\nca_file = \"ca.pem\""), None),
        (&format!("{URL}\nca_file = \"ca.pem\""), None),
        (SOCKET, None),
        (
            &format!("{SOCKET}\nca_file = \"ca.pem\""),
            Some("ingestor.toml:7:11: registry.ca_file: a socket on this machine has no TLS"),
        ),
        (
            &format!("{AWAY}\ntls = \"prefer\""),
            Some("ingestor.toml:7:7: registry.tls: \"prefer\" is no way to a server"),
        ),
        (
            &format!("{AWAY}\ntls = \"off\"\nca_file = \"ca.pem\""),
            Some("ingestor.toml:8:11: registry.ca_file: registry.tls is off"),
        ),
        (&format!("{AWAY}\nca_file = \"none\""), Some("registry.ca_file: certificates in")),
        (&format!("{AWAY}\nca_file = \"empty\""), Some("it must be a PEM file")),
        (
            &format!("{AWAY}\nkey_file = \"k\""),
            Some("registry.key_file: there is no TLS without registry.ca_file"),
        ),
        (
            &format!("{AWAY}\nca_file = \"ca.pem\"\ncertificate_file = \"ca.pem\""),
            Some("registry.certificate_file: certificate and key come together"),
        ),
        (
            &format!("{AWAY}\nca_file = \"ca.pem\"\ncertificate_file = \"ca.pem\"\nkey_file = \"password\""),
            Some("registry.certificate_file: key"),
        ),
        (
            "kind = \"postgresql\"\nurl = \"postgresql://sitian@db/sitian?sslmode=require\"",
            Some("it says something about TLS; registry.tls and registry.ca_file do"),
        ),
    ] {
        check_registry(ENGINE, registry, fault);
    }
}
