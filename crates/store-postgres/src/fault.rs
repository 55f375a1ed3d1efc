//! What can go wrong with the database, split by what the operator or the caller does next.

use std::error::Error;

use rustls::CertificateError;
use sitian_registry::RegistryError;
use tokio_postgres::error::SqlState;

/// Why the database did not do what it was asked to. No message holds a password.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// The address cannot be used.
    #[error("use the registry's database: {0}")]
    Address(String),
    /// Nobody answers, the connection broke, or the server has no room for another one: later.
    #[error("use the database {place}: {why}; it goes on by itself once the server answers")]
    Away {
        /// Host, port and name.
        place: String,
        /// What happened.
        why: String,
    },
    /// Nobody vouches for whoever answers there, or what is said could be heard: nothing was said, no password either. Somebody
    /// may be in between, and may go away again; else a person has to act.
    #[error("trust the database {place}: {why}; {remedy}")]
    Untrusted {
        /// Host, port and name.
        place: String,
        /// What is wrong.
        why: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The server knows no such role, password or database, or does not let this role do it.
    #[error("use the database {place}: {why}; {remedy}")]
    Refused {
        /// Host, port and name.
        place: String,
        /// The server's words.
        why: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The server is none that acknowledged data can be entrusted to.
    #[error("use the database {place}: {why}")]
    Unfit {
        /// Host, port and name.
        place: String,
        /// What is wrong and what to do.
        why: String,
    },
    /// A newer version of the program has written it. It was not touched.
    #[error(
        "use the database {place}: its schema {found} is newer than {known}, the newest this program knows; install the newer program again"
    )]
    Newer {
        /// Host, port and name.
        place: String,
        /// Schema of the database.
        found: i64,
        /// Newest schema of this program.
        known: i64,
    },
    /// Others keep this registry.
    #[error(
        "keep the registry in {place}: {holder} keeps it; stop that process, or wait until its lease has run out"
    )]
    Held {
        /// Host, port and name.
        place: String,
        /// Who.
        holder: String,
    },
    /// Another process has taken over.
    #[error("keep the registry: {0}")]
    Fenced(String),
    /// What was read makes no sense.
    #[error("read the registry: {0}; put a backup of the database in its place")]
    Damaged(String),
    /// What was to be stored makes no sense here; nothing was stored.
    #[error("write the registry: {0}")]
    Wrong(String),
}

impl DatabaseError {
    /// Nobody answers, for this reason.
    pub(crate) fn silent(place: &str, why: String) -> Self {
        Self::Away { place: place.to_owned(), why }
    }

    /// True if the connection is of no use any more.
    pub(crate) fn is_away(&self) -> bool {
        matches!(self, Self::Away { .. })
    }

    /// What the driver says, judged.
    pub(crate) fn of(place: &str, error: &tokio_postgres::Error) -> Self {
        let place = place.to_owned();
        let why = words(error);
        if let Some(remedy) = distrust(error) {
            return Self::Untrusted { place, why, remedy };
        }
        let Some(state) = error.code() else {
            // Without words from the server it is the connection, or the driver's opinion of what we asked for.
            if error.is_closed() || is_io(error) {
                return Self::Away { place, why };
            }
            if is_login(error) {
                return Self::Refused { place, why, remedy: LOGIN };
            }
            return Self::Wrong(why);
        };
        let remedy = match state.code() {
            code if later(code) => return Self::Away { place, why },
            code if code.starts_with("28") => LOGIN,
            "3D000" => "create the database, or name another one in registry.url",
            "42501" => "let the role own the database: ALTER DATABASE … OWNER TO …",
            _ => return Self::Wrong(why),
        };
        Self::Refused { place, why, remedy }
    }
}

const LOGIN: &str = "check registry.url, registry.password_file, registry.tls and the server's pg_hba.conf";

/// What to do about a TLS session that did not come about.
fn distrust(error: &tokio_postgres::Error) -> Option<&'static str> {
    let mut source = error.source();
    while let Some(cause) = source {
        if cause.to_string().contains("server does not support TLS") {
            return Some(
                "set ssl = on, a certificate and its key in the server's postgresql.conf, or registry.tls = \"off\" where the way there is safe",
            );
        }
        let fault = cause.downcast_ref::<std::io::Error>().and_then(|error| error.get_ref()?.downcast_ref());
        if let Some(fault) = fault.or_else(|| cause.downcast_ref::<rustls::Error>()) {
            return Some(remedy(fault));
        }
        source = cause.source();
    }
    None
}

fn remedy(fault: &rustls::Error) -> &'static str {
    match fault {
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => "its certificate is signed by no authority in registry.ca_file: name the right one there",
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => {
            "write the host in registry.url as the certificate does, or give the server one with this name in subjectAltName"
        }
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "give the server a new certificate",
        rustls::Error::InvalidCertificate(CertificateError::Other(_)) => {
            "give the server a certificate of its own (CA:FALSE), signed by the authority in registry.ca_file"
        }
        rustls::Error::AlertReceived(_) => {
            "the server refuses: check registry.certificate_file and the server's ssl_ca_file"
        }
        _ => "check registry.ca_file, the server's certificate, and the clocks of both machines",
    }
}

/// True if the server asked for a password, or for another kind of proof, and there is none.
fn is_login(error: &tokio_postgres::Error) -> bool {
    let text = error.to_string();
    text.contains("configuration") || text.contains("authentication")
}

/// True if the same may succeed later: connection trouble, a server that starts or stops, no room, locks, a standby, and
/// a transaction that the server has ended because this process stood still in it.
fn later(code: &str) -> bool {
    let kinds = ["08", "53", "57", "58", "40"];
    let single = [
        SqlState::LOCK_NOT_AVAILABLE.code(),
        SqlState::READ_ONLY_SQL_TRANSACTION.code(),
        SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT.code(),
        // The whole transaction took too long; newer servers may be told to end such ones.
        "25P04",
    ];
    kinds.iter().any(|kind| code.starts_with(kind)) || single.contains(&code)
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    let mut source = error.source();
    while let Some(cause) = source {
        if cause.is::<std::io::Error>() {
            return true;
        }
        source = cause.source();
    }
    // A connection that was never made, and a timeout, may have no cause.
    let text = error.to_string();
    text.contains("connecting") || text.contains("timeout")
}

fn words(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(said) => format!("{} ({})", said.message(), said.code().code()),
        None => match error.source() {
            Some(cause) => format!("{error}: {cause}"),
            None => error.to_string(),
        },
    }
}

impl From<DatabaseError> for RegistryError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Away { .. } | DatabaseError::Untrusted { .. } => Self::Later(Box::new(error)),
            DatabaseError::Fenced(why) => Self::Fenced(why),
            _ => Self::Never(Box::new(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_itself_is_tried_again_and_what_a_person_must_mend_is_not() {
        let rows = [
            // A server that stops, has no room, is a standby now.
            ("57P01", true),
            ("53300", true),
            ("25006", true),
            // Another transaction was first, or holds the lock.
            ("40001", true),
            ("40P01", true),
            ("55P03", true),
            // This process stood still in a transaction, or outside of one, for longer than the server waits.
            ("25P03", true),
            ("25P04", true),
            ("57P05", true),
            // A transaction used after its failure, a wrong question, wrong data, a wrong password.
            ("25P02", false),
            ("42601", false),
            ("22003", false),
            ("23505", false),
            ("28P01", false),
        ];
        for (code, expected) in rows {
            assert_eq!(later(code), expected, "{code}");
        }
    }
}
