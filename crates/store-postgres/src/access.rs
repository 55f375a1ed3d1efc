//! How the server is reached, judged before anything is opened.

use std::str::FromStr;
use std::time::Duration;

use postgres::Config;
use postgres::config::{Host, SslMode, TargetSessionAttrs};

use crate::fault::DatabaseError;

/// How long connecting may take, and how long a silent server is waited for.
const CONNECT: Duration = Duration::from_secs(5);
const SILENT: Duration = Duration::from_secs(15);

/// Address and role of a database.
#[derive(Clone)]
pub struct Access {
    pub(crate) config: Config,
    pub(crate) place: String,
}

impl Access {
    /// Of `postgresql://role@host:port/database`; several hosts are tried in turn until one takes writes. A host that begins
    /// with `/` (written `%2F`) is the folder of a socket.
    ///
    /// # Errors
    /// What is wrong with the address. It holds no password: that comes apart from it.
    pub fn new(url: &str, password: Option<&str>) -> Result<Self, String> {
        if !url.starts_with("postgresql://") && !url.starts_with("postgres://") {
            return Err("it does not begin with postgresql://".to_owned());
        }
        let mut config = Config::from_str(url).map_err(|error| {
            let cause =
                std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string);
            format!("it is no address of a database ({cause})")
        })?;
        if config.get_password().is_some() {
            return Err("it holds a password, which everybody could read".to_owned());
        }
        if config.get_hosts().is_empty() {
            return Err("it names no host".to_owned());
        }
        if config.get_user().is_none() || config.get_dbname().is_none() {
            return Err("it names no role or no database".to_owned());
        }
        if config.get_ssl_mode() == SslMode::Require {
            return Err("this program speaks no TLS to databases".to_owned());
        }
        if let Some(password) = password {
            config.password(password);
        }
        config
            .application_name("sitian-ingestor")
            .connect_timeout(CONNECT)
            .keepalives_idle(SILENT)
            .keepalives_interval(CONNECT)
            .keepalives_retries(3)
            .tcp_user_timeout(SILENT)
            .target_session_attrs(TargetSessionAttrs::ReadWrite);
        let place = place(&config);
        Ok(Self { config, place })
    }

    /// Host, port and name of the database, for people.
    pub fn place(&self) -> &str {
        &self.place
    }

    pub(crate) fn fault(&self, error: &postgres::Error) -> DatabaseError {
        DatabaseError::of(&self.place, error)
    }
}

/// Never shows the password.
impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Access").field(&self.place).finish()
    }
}

fn place(config: &Config) -> String {
    let port = |n: usize| {
        let ports = config.get_ports();
        ports.get(n).or(ports.first()).copied().unwrap_or(5432)
    };
    let hosts = config.get_hosts().iter().enumerate().map(|(n, host)| match host {
        Host::Tcp(name) => format!("{name}:{}", port(n)),
        Host::Unix(folder) => format!("{}:{}", folder.display(), port(n)),
    });
    format!("{}/{}", hosts.collect::<Vec<_>>().join(","), config.get_dbname().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_judged_and_its_password_is_never_shown() {
        let check =
            |url: &str, expected: Result<&str, &str>| match (Access::new(url, Some("geheim")), expected) {
                (Ok(access), Ok(place)) => {
                    assert_eq!(access.place(), place);
                    assert!(!format!("{access:?}").contains("geheim"));
                }
                (Err(why), Err(expected)) => assert!(why.contains(expected), "{url}: {why}"),
                (found, expected) => panic!("{url}: {found:?}, not {expected:?}"),
            };
        check("postgresql://sitian@db/sitian", Ok("db:5432/sitian"));
        check("postgres://sitian@10.0.0.5:6000/centre", Ok("10.0.0.5:6000/centre"));
        check("postgresql://sitian@a:1,b:2/sitian", Ok("a:1,b:2/sitian"));
        check("postgresql://sitian@%2Frun%2Fpostgresql/sitian", Ok("/run/postgresql:5432/sitian"));
        check("mysql://db/x", Err("postgresql://"));
        check("postgresql://sitian:geheim@db/sitian", Err("password"));
        check("postgresql://db/sitian", Err("no role"));
        check("postgresql://sitian@db", Err("no database"));
        check("postgresql://sitian@db:x/sitian", Err("no address"));
        check("postgresql://sitian@db/sitian?sslmode=require", Err("no TLS"));
    }
}
