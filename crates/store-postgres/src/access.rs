//! How the server is reached, judged before anything is opened.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use crate::tls::Trust;

/// How long connecting may take, and how long a machine that does not even confirm what it is sent is waited for.
const CONNECT: Duration = Duration::from_secs(5);
const SILENT: Duration = Duration::from_secs(15);

/// What protects the way to the server. A socket needs nothing and gets nothing.
#[derive(Debug, Clone)]
pub enum Way {
    /// Nothing that this program does: a person has said so.
    Plain,
    /// Nothing, and so the server has to be on this machine.
    Here,
    /// TLS, with a certificate that names the host and is signed by whom we trust.
    Verified(Trust),
}

/// Why an address cannot be used. The address itself is not repeated: somebody may have put a password into it.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AccessError {
    /// It is no address.
    #[error("{0}")]
    Address(String),
    /// A server on another machine, and nobody has said what protects the way there.
    #[error("{0} is another machine, and nothing says whose certificate is trusted there")]
    Open(String),
    /// TLS is asked for where there is none.
    #[error("a socket on this machine has no TLS")]
    Socket,
}

/// Address and role of a database.
#[derive(Clone)]
pub struct Access {
    pub(crate) servers: Vec<Server>,
    pub(crate) place: String,
}

/// One host of the address.
#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) config: Config,
    pub(crate) place: String,
    /// Set where the way there is encrypted.
    pub(crate) trust: Option<Trust>,
}

impl Access {
    /// Of `postgresql://role@host:port/database`; several hosts are tried in turn until one takes writes. A host that begins
    /// with `/` (written `%2F`) is the folder of a socket.
    ///
    /// # Errors
    /// What is wrong with the address. It holds no password, and no word about TLS: they come apart from it.
    pub fn new(url: &str, password: Option<&str>, way: &Way) -> Result<Self, AccessError> {
        let config = parse(url).map_err(AccessError::Address)?;
        let hosts = config.get_hosts();
        if matches!(way, Way::Verified(_)) && hosts.iter().all(|host| matches!(host, Host::Unix(_))) {
            return Err(AccessError::Socket);
        }
        let mut servers = Vec::new();
        for (n, host) in hosts.iter().enumerate() {
            let address = config.get_hostaddrs().get(n).copied();
            if matches!(way, Way::Here) && !is_here(host, address) {
                return Err(AccessError::Open(name(host)));
            }
            let ports = config.get_ports();
            let port = ports.get(n).or(ports.first()).copied().unwrap_or(5432);
            let trust = match (host, way) {
                (Host::Tcp(_), Way::Verified(trust)) => Some(trust.clone()),
                _ => None,
            };
            servers.push(server(&config, (host, address, port), password, trust));
        }
        let places: Vec<&str> = servers.iter().map(|server| server.place.as_str()).collect();
        let place = format!("{}/{}", places.join(","), config.get_dbname().unwrap_or_default());
        for server in &mut servers {
            server.place = format!("{}/{}", server.place, config.get_dbname().unwrap_or_default());
        }
        Ok(Self { servers, place })
    }

    /// Host, port and name of the database, for people.
    pub fn place(&self) -> &str {
        &self.place
    }
}

/// Never shows the password.
impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let encrypted = self.servers.iter().filter(|server| server.trust.is_some()).count();
        f.debug_struct("Access").field("place", &self.place).field("encrypted", &encrypted).finish()
    }
}

fn parse(url: &str) -> Result<Config, String> {
    if !url.starts_with("postgresql://") && !url.starts_with("postgres://") {
        return Err("it does not begin with postgresql://".to_owned());
    }
    let options = url.split_once('?').map_or("", |(_, options)| options);
    if options.split('&').any(|option| option.starts_with("ssl")) {
        return Err("it says something about TLS; registry.tls and registry.ca_file do".to_owned());
    }
    let config = Config::from_str(url).map_err(|error| {
        let cause = std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
        format!("it is no address of a database ({cause})")
    })?;
    if config.get_password().is_some() {
        return Err("it holds a password, which everybody could read".to_owned());
    }
    let (hosts, addresses, ports) =
        (config.get_hosts().len(), config.get_hostaddrs().len(), config.get_ports().len());
    if hosts == 0 {
        return Err("it names no host".to_owned());
    }
    if ![0, hosts].contains(&addresses) || ![0, 1, hosts].contains(&ports) {
        return Err("it does not name as many addresses or ports as hosts".to_owned());
    }
    if config.get_user().is_none() || config.get_dbname().is_none() {
        return Err("it names no role or no database".to_owned());
    }
    Ok(config)
}

/// One host with everything that is said for all of them: a host that is silent must not keep us from the next one, so that
/// each is tried within a time of its own.
fn server(
    all: &Config,
    (host, address, port): (&Host, Option<IpAddr>, u16),
    password: Option<&str>,
    trust: Option<Trust>,
) -> Server {
    let mut config = Config::new();
    match host {
        Host::Tcp(name) => config.host(name),
        Host::Unix(folder) => config.host_path(folder),
    };
    if let Some(address) = address {
        config.hostaddr(address);
    }
    if let Some(options) = all.get_options() {
        config.options(options);
    }
    if let Some(password) = password {
        config.password(password);
    }
    config
        .port(port)
        .user(all.get_user().unwrap_or_default())
        .dbname(all.get_dbname().unwrap_or_default())
        .channel_binding(all.get_channel_binding())
        .ssl_mode(if trust.is_some() { SslMode::Require } else { SslMode::Disable })
        .application_name("sitian-ingestor")
        .connect_timeout(CONNECT)
        .keepalives_idle(SILENT)
        .keepalives_interval(CONNECT)
        .keepalives_retries(3)
        .tcp_user_timeout(SILENT)
        .target_session_attrs(TargetSessionAttrs::ReadWrite);
    Server { config, place: format!("{}:{port}", name(host)), trust }
}

fn name(host: &Host) -> String {
    match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(folder) => folder.display().to_string(),
    }
}

/// A name other than `localhost` counts as another machine: where it leads, others decide.
fn is_here(host: &Host, address: Option<IpAddr>) -> bool {
    let Host::Tcp(name) = host else { return true };
    match address.or_else(|| name.parse().ok()) {
        Some(address) => address.to_canonical().is_loopback(),
        None => name.eq_ignore_ascii_case("localhost"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_judged_and_its_password_is_never_shown() {
        let check = |url: &str, expected: Result<&str, &str>| match (
            Access::new(url, Some("geheim"), &Way::Plain),
            expected,
        ) {
            (Ok(access), Ok(place)) => {
                assert_eq!(access.place(), place);
                assert!(!format!("{access:?}").contains("geheim"));
            }
            (Err(why), Err(expected)) => assert!(why.to_string().contains(expected), "{url}: {why}"),
            (found, expected) => panic!("{url}: {found:?}, not {expected:?}"),
        };
        check("postgresql://sitian@db/sitian", Ok("db:5432/sitian"));
        check("postgres://sitian@10.0.0.5:6000/centre", Ok("10.0.0.5:6000/centre"));
        check("postgresql://sitian@a:1,b:2/sitian", Ok("a:1,b:2/sitian"));
        check("postgresql://sitian@a,b/sitian?hostaddr=10.0.0.1,10.0.0.2", Ok("a:5432,b:5432/sitian"));
        check("postgresql://sitian@%2Frun%2Fpostgresql/sitian", Ok("/run/postgresql:5432/sitian"));
        check("postgresql://sitian@db/sitian?channel_binding=require", Ok("db:5432/sitian"));
        check("mysql://db/x", Err("postgresql://"));
        check("postgresql://sitian:geheim@db/sitian", Err("password"));
        check("postgresql://db/sitian", Err("no role"));
        check("postgresql://sitian@db", Err("no database"));
        check("postgresql://sitian@db:x/sitian", Err("no address"));
        check("postgresql://sitian@a,b/sitian?hostaddr=10.0.0.1", Err("as many addresses"));
        check("postgresql://sitian@db/sitian?sslmode=disable", Err("registry.tls"));
        check("postgresql://sitian@db/sitian?a=b&sslmode=verify-full", Err("registry.tls"));
    }

    #[test]
    fn no_other_machine_is_spoken_to_in_the_open_unless_a_person_says_so() {
        for (host, here) in [
            ("%2Frun%2Fpostgresql", true),
            ("localhost", true),
            ("LocalHost", true),
            ("127.0.0.1", true),
            ("127.8.0.1:6000", true),
            ("[::1]", true),
            ("[::ffff:127.0.0.1]", true),
            ("db", false),
            ("localhost.example", false),
            ("10.0.0.5", false),
            ("0.0.0.0", false),
            ("[fd00::5]", false),
            ("localhost,db", false),
        ] {
            let url = format!("postgresql://sitian@{host}/sitian");
            let judged = Access::new(&url, None, &Way::Here);
            assert_eq!(judged.is_ok(), here, "{host}: {judged:?}");
            let plain = Access::new(&url, None, &Way::Plain).expect("a person said so");
            assert!(plain.servers.iter().all(|server| server.config.get_ssl_mode() == SslMode::Disable));
        }
        let elsewhere =
            Access::new("postgresql://sitian@localhost/sitian?hostaddr=10.0.0.5", None, &Way::Here);
        assert_eq!(elsewhere.expect_err("the address decides"), AccessError::Open("localhost".into()));
        let trust = Way::Verified(Trust::unread());
        let access = |url: &str| {
            Access::new(url, None, &trust).map(|access| {
                access.servers.iter().map(|server| server.config.get_ssl_mode()).collect::<Vec<_>>()
            })
        };
        let mixed = access("postgresql://sitian@localhost,db,%2Frun/sitian").expect("an address");
        assert_eq!(mixed, [SslMode::Require, SslMode::Require, SslMode::Disable]);
        assert_eq!(access("postgresql://sitian@%2Frun/sitian"), Err(AccessError::Socket));
    }
}
