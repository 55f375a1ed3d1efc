//! The way to a real PostgreSQL under TLS: whom it is let in by, whom it lets in, and what an operator is told otherwise.

#[path = "../../../tests/system/src/postgres.rs"]
mod server;

use std::path::PathBuf;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use server::Postgres;
use sitian_registry::{Keep, Transaction};
use sitian_store_postgres::{Access, Database, DatabaseError, Trust, Way};

/// Somebody who signs certificates.
struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    CertificateParams::new(names).expect("names")
}

impl Authority {
    fn new(name: &str) -> Self {
        let (mut params, key) = (params(&[]), key());
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).expect("is signed").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Certificate and key of somebody.
    fn sign(&self, params: &CertificateParams) -> (String, String) {
        let key = key();
        (params.signed_by(&key, &self.issuer).expect("is signed").pem(), key.serialize_pem())
    }
}

/// A server and the files of those who come to it.
struct Ground {
    server: Postgres,
    folder: tempfile::TempDir,
    port: u16,
}

impl Ground {
    fn start() -> Option<Self> {
        let server = Postgres::start()?;
        server.database("one");
        Some(Self { server, folder: tempfile::tempdir().expect("a folder"), port: 0 })
    }

    fn file(&self, name: &str, content: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).expect("is written");
        path
    }

    /// The server starts again with this certificate and key, and perhaps with an authority for its clients.
    fn identify(&mut self, (certificate, key): &(String, String), clients: Option<&Authority>) {
        let mut settings = vec!["ssl=on".to_owned()];
        let mut give = |setting: &str, content: &str| {
            settings.push(format!("{setting}={}", self.server.give(setting, content).display()));
        };
        give("ssl_cert_file", certificate);
        give("ssl_key_file", key);
        if let Some(authority) = clients {
            give("ssl_ca_file", &authority.pem);
        }
        let settings: Vec<&str> = settings.iter().map(String::as_str).collect();
        self.port = self.server.listen(&settings);
    }

    fn trust(&self, authority: &Authority) -> Trust {
        Trust::authorities(&self.file("ca.pem", &authority.pem)).expect("an authority")
    }

    fn open(
        &self,
        host: &str,
        more: &str,
        password: Option<&str>,
        way: &Way,
    ) -> Result<Database, DatabaseError> {
        let url = format!("postgresql://sitian@{host}:{}/one{more}", self.port);
        Database::open(&Access::new(&url, password, way).expect("an address"))
    }

    /// What is said instead of an opened database.
    fn refusal(&self, host: &str, more: &str, way: &Way) -> String {
        let error = self.open(host, more, Some("geheim"), way).expect_err("is refused");
        assert!(matches!(error, DatabaseError::Untrusted { .. }), "{error:?}");
        let said = error.to_string();
        assert!(!said.contains("geheim"), "{said}");
        said
    }

    fn check_refusal(&self, host: &str, more: &str, way: &Way, words: &[&str]) {
        let said = self.refusal(host, more, way);
        assert!(words.iter().all(|word| said.contains(word)), "{said}");
    }

    /// Who may log in from this machine over TCP, and how.
    fn admit(&self, rule: &str) {
        let rules = format!("local all all trust\n{rule}\n");
        std::fs::write(self.server.sql("postgres", "SHOW hba_file"), rules).expect("is ours to write");
    }
}

/// Whether our sessions are encrypted, as the server sees it.
fn encrypted(ground: &Ground) -> String {
    ground.server.sql(
        "one",
        "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'sitian-ingestor'",
    )
}

#[test]
fn a_server_is_believed_that_shows_a_certificate_in_its_name_from_whom_we_trust() {
    let Some(mut ground) = Ground::start() else { return };
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    ground.identify(&ours.sign(&params(&["localhost", "127.0.0.1", "db.example"])), None);
    let way = Way::Verified(ground.trust(&ours));
    for (host, more) in [("localhost", ""), ("127.0.0.1", ""), ("db.example", "?hostaddr=127.0.0.1")] {
        let database = ground.open(host, more, None, &way).expect("is believed");
        let mut keeper = database.alone("a").expect("is free");
        keeper.commit(&Transaction::default()).expect("commits");
        assert_eq!(encrypted(&ground), "t", "{host}");
    }
    let wrong_name = ["not valid for name", "other.example", "subjectAltName"];
    ground.check_refusal("other.example", "?hostaddr=127.0.0.1", &way, &wrong_name);
    // The second host is believed, whatever came of the first.
    let port = ground.port;
    let two = format!(",localhost:{port}/one?hostaddr=127.0.0.1,127.0.0.1");
    let url = format!("postgresql://sitian@other.example:{port}{two}");
    Database::open(&Access::new(&url, None, &way).expect("an address")).expect("the second one");

    let stranger = Way::Verified(Trust::authorities(&ground.file("other.pem", &other.pem)).expect("one"));
    ground.check_refusal("localhost", "", &stranger, &["UnknownIssuer", "name the right one there"]);
    // Of the same name, with another key.
    let double = Authority::new("ours");
    let double = Way::Verified(Trust::authorities(&ground.file("double.pem", &double.pem)).expect("one"));
    ground.check_refusal("localhost", "", &double, &["signed by no authority in registry.ca_file"]);

    let mut expired = params(&["localhost"]);
    expired.not_before = rcgen::date_time_ymd(2020, 1, 1);
    expired.not_after = rcgen::date_time_ymd(2021, 1, 1);
    ground.identify(&ours.sign(&expired), None);
    ground.check_refusal("localhost", "", &way, &["expired", "give the server a new certificate"]);

    // As one gets it from a single call of `openssl req -x509`.
    let (mut both, key) = (params(&["localhost"]), key());
    both.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = both.self_signed(&key).expect("is signed").pem();
    ground.identify(&(pem.clone(), key.serialize_pem()), None);
    let both = Way::Verified(Trust::authorities(&ground.file("both.pem", &pem)).expect("one"));
    ground.check_refusal("localhost", "", &both, &["CA:FALSE"]);

    ground.port = ground.server.listen(&["ssl=off"]);
    ground.check_refusal(
        "localhost",
        "",
        &way,
        &["server does not support TLS", "set ssl = on", "registry.tls"],
    );
    let database = ground.open("localhost", "", None, &Way::Plain).expect("where a person says so");
    assert_eq!(database.reader().alert_log_end().expect("answers"), 0);
    assert_eq!(encrypted(&ground), "f");
}

#[test]
fn a_password_is_proven_to_the_server_at_the_other_end_of_the_session() {
    let Some(mut ground) = Ground::start() else { return };
    let ours = Authority::new("ours");
    ground.server.sql("postgres", "ALTER ROLE sitian PASSWORD 'geheim'");
    ground.admit("host all all 127.0.0.1/32 scram-sha-256");
    ground.identify(&ours.sign(&params(&["localhost"])), None);
    let way = Way::Verified(ground.trust(&ours));
    let bound = "?channel_binding=require";
    for more in ["", bound] {
        ground.open("localhost", more, Some("geheim"), &way).expect("is let in");
        let said = ground.open("localhost", more, Some("falsch"), &way).expect_err("is refused").to_string();
        assert!(said.contains("password authentication failed") && !said.contains("falsch"), "{said}");
    }
    ground.open("localhost", "", Some("geheim"), &Way::Here).expect("is let in");
    let said = ground.open("localhost", bound, Some("geheim"), &Way::Here).expect_err("nothing to bind to");
    assert!(matches!(said, DatabaseError::Refused { .. }), "{said}");

    // Its signature has no hash function that a proof could be bound by. OpenSSL makes it: it does not read ring's Ed25519 keys.
    let (certificate, key) =
        (ground.folder.path().join("itself.pem"), ground.folder.path().join("itself.key"));
    let words = "req -x509 -newkey ed25519 -nodes -subj /CN=localhost -addext subjectAltName=DNS:localhost \
                 -addext basicConstraints=critical,CA:FALSE -out";
    let mut openssl = std::process::Command::new("openssl");
    openssl.args(words.split_whitespace()).arg(&certificate).arg("-keyout").arg(&key);
    assert!(openssl.output().expect("comes with Debian's PostgreSQL").status.success());
    let read = |path| std::fs::read_to_string(path).expect("is there");
    ground.identify(&(read(&certificate), read(&key)), None);
    let itself = Way::Verified(Trust::authorities(&certificate).expect("one"));
    ground.open("localhost", "", Some("geheim"), &itself).expect("is let in, unbound");
}

#[test]
fn a_server_that_asks_for_our_certificate_gets_it() {
    let Some(mut ground) = Ground::start() else { return };
    let (ours, other) = (Authority::new("ours"), Authority::new("other"));
    ground.admit("hostssl all all 127.0.0.1/32 cert");
    ground.identify(&ours.sign(&params(&["localhost"])), Some(&ours));
    let mut sitian = params(&[]);
    sitian.distinguished_name.push(DnType::CommonName, "sitian");
    let client = |authority: &Authority, name: &str| {
        let (certificate, key) = authority.sign(&sitian);
        let (certificate, key) =
            (ground.file(&format!("{name}.pem"), &certificate), ground.file(&format!("{name}.key"), &key));
        (certificate, key)
    };
    let ((certificate, key), (foreign, foreign_key)) = (client(&ours, "own"), client(&other, "foreign"));
    let trust = ground.trust(&ours);
    assert!(trust.clone().as_client(&certificate, &foreign_key).is_err(), "they do not belong together");
    let known = Way::Verified(trust.clone().as_client(&certificate, &key).expect("belong together"));
    ground.open("localhost", "", None, &known).expect("is let in");
    let unknown = Way::Verified(trust.clone().as_client(&foreign, &foreign_key).expect("belong together"));
    ground.check_refusal("localhost", "", &unknown, &["registry.certificate_file"]);
    let said = ground.open("localhost", "", None, &Way::Verified(trust)).expect_err("shows none").to_string();
    assert!(said.contains("certificate"), "{said}");
    // A new one is taken up by the next connection.
    let (foreign_text, key_text) = (std::fs::read(&foreign), std::fs::read(&foreign_key));
    std::fs::write(&certificate, foreign_text.expect("reads")).expect("writes");
    std::fs::write(&key, key_text.expect("reads")).expect("writes");
    ground.check_refusal("localhost", "", &known, &["registry.certificate_file"]);
}
