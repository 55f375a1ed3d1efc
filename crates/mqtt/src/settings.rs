//! How to reach a broker, and how that becomes the options of one connection. Credential files are read again at each
//! connection, so that a rotated password or certificate needs no restart.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use rumqttc::{LastWill, MqttOptions, NetworkOptions, QoS, SubscribeFilter, TlsConfiguration, Transport};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

/// Room for topic and header above the payload limit.
const ENVELOPE_BYTES_MAX: usize = 64 * 1024 + 16;

/// How often a message is delivered while the connection lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Qos {
    /// At most once: no PUBACK.
    AtMostOnce,
    /// At least once: the broker answers with a PUBACK.
    AtLeastOnce,
}

impl From<Qos> for QoS {
    fn from(qos: Qos) -> Self {
        match qos {
            Qos::AtMostOnce => Self::AtMostOnce,
            Qos::AtLeastOnce => Self::AtLeastOnce,
        }
    }
}

/// What the broker publishes for us when the connection breaks without a goodbye.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Will {
    /// Where.
    pub topic: String,
    /// What.
    pub payload: Bytes,
    /// Whether the broker keeps it for later subscribers.
    pub retain: bool,
}

/// Name and password for the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// User name.
    pub username: String,
    /// File that holds the password; one trailing line break is ignored. Without it the password is empty.
    pub password_file: Option<PathBuf>,
}

/// Encryption. The server's certificate must name the host in [`LinkSettings::host`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// PEM file with the certificates of the authorities to trust.
    pub ca_file: PathBuf,
    /// PEM files with our certificate chain and its key, if the broker asks for them.
    pub client: Option<(PathBuf, PathBuf)>,
}

/// Everything a link needs to know. [`LinkSettings::new`] fills in what suits a gateway on a mobile network.
#[derive(Debug, Clone)]
pub struct LinkSettings {
    /// Host name or address of the broker.
    pub host: String,
    /// Port of the broker.
    pub port: u16,
    /// Client id; a broker drops the older of two connections with the same one.
    pub client_id: String,
    /// Name and password.
    pub credentials: Option<Credentials>,
    /// Encryption.
    pub tls: Option<Tls>,
    /// Silence after which the link pings; an unanswered ping ends the connection after the same time again. 1 s to
    /// 18 h; 20 s unless told, so that a half-open connection is noticed within 40 s.
    pub keep_alive: Duration,
    /// Longest time for name lookup, connection, TLS and CONNACK together: 10 s unless told.
    pub connect_timeout: Duration,
    /// Upper limit of the first pause before connecting again: 0.2 s unless told. Pauses are drawn between zero and a
    /// limit that doubles up to [`LinkSettings::reconnect_max`].
    pub reconnect_min: Duration,
    /// Upper limit of every pause before connecting again: 30 s unless told.
    pub reconnect_max: Duration,
    /// Published by the broker when we vanish.
    pub will: Option<Will>,
    /// Topic filters, subscribed anew at each connection before [`Event::Up`](crate::Event::Up).
    pub subscriptions: Vec<(String, Qos)>,
    /// Messages waiting between publisher and socket: 64 unless told.
    pub queue_max: usize,
    /// Messages sent at [`Qos::AtLeastOnce`] that may wait for their PUBACK: 1,000 unless told.
    pub inflight_max: u16,
    /// Events waiting between socket and receiver: 64 unless told.
    pub events_max: usize,
    /// Largest payload, in and out: 256 KiB unless told. A larger incoming message ends the connection.
    pub payload_bytes_max: usize,
    /// Bytes the kernel may hold back for sending: 32 KiB unless told, so that on a slow line fresh messages do not
    /// wait behind old ones and pings are answered in time. `None` lets the kernel choose.
    pub send_buffer_bytes: Option<u32>,
}

impl LinkSettings {
    /// Settings for a broker, with defaults for the rest.
    pub fn new(host: impl Into<String>, port: u16, client_id: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            port,
            client_id: client_id.into(),
            credentials: None,
            tls: None,
            keep_alive: Duration::from_secs(20),
            connect_timeout: Duration::from_secs(10),
            reconnect_min: Duration::from_millis(200),
            reconnect_max: Duration::from_secs(30),
            will: None,
            subscriptions: Vec::new(),
            queue_max: 64,
            inflight_max: 1_000,
            events_max: 64,
            payload_bytes_max: 256 * 1024,
            send_buffer_bytes: Some(32 * 1024),
        }
    }

    pub(crate) fn keep_alive_clamped(&self) -> Duration {
        self.keep_alive.clamp(Duration::from_secs(1), Duration::from_secs(u16::MAX.into()))
    }

    pub(crate) fn filters(&self) -> Vec<SubscribeFilter> {
        self.subscriptions
            .iter()
            .map(|(filter, qos)| SubscribeFilter::new(filter.clone(), (*qos).into()))
            .collect()
    }

    pub(crate) fn network_options(&self) -> NetworkOptions {
        let mut options = NetworkOptions::new();
        options.set_tcp_nodelay(true);
        // The library uses this as its limit for flushing too, which on a 16 kbit/s line takes half a minute for one
        // batch. The connection itself is limited by `connect_timeout` in `session`.
        options.set_connection_timeout(self.connect_timeout.as_secs().max(60));
        if let Some(bytes) = self.send_buffer_bytes {
            options.set_tcp_send_buffer_size(bytes);
        }
        options
    }

    /// Reads the credential files. Errors complete "failed to connect: ".
    pub(crate) fn mqtt_options(&self) -> Result<MqttOptions, String> {
        let mut options = MqttOptions::new(&self.client_id, &self.host, self.port);
        let packet_bytes_max = self.payload_bytes_max.saturating_add(ENVELOPE_BYTES_MAX);
        options
            .set_clean_session(true)
            .set_keep_alive(self.keep_alive_clamped())
            .set_inflight(self.inflight_max.max(1))
            .set_max_packet_size(packet_bytes_max, packet_bytes_max);
        if let Some(will) = &self.will {
            options.set_last_will(LastWill::new(
                &will.topic,
                will.payload.to_vec(),
                QoS::AtLeastOnce,
                will.retain,
            ));
        }
        if let Some(credentials) = &self.credentials {
            let password = credentials.password_file.as_deref().map(read_password).transpose()?;
            options.set_credentials(&credentials.username, password.unwrap_or_default());
        }
        if let Some(tls) = &self.tls {
            options.set_transport(Transport::Tls(TlsConfiguration::Rustls(Arc::new(client_config(tls)?))));
        }
        Ok(options)
    }
}

fn read_password(path: &Path) -> Result<String, String> {
    let text = fs::read_to_string(path).map_err(|e| format!("password file {}: {e}", path.display()))?;
    let line = text.strip_suffix('\n').unwrap_or(&text);
    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

fn client_config(tls: &Tls) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&tls.ca_file)? {
        roots
            .add(certificate)
            .map_err(|e| format!("certificate authority in {}: {e}", tls.ca_file.display()))?;
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("TLS: {e}"))?
        .with_root_certificates(roots);
    let Some((certificate_file, key_file)) = &tls.client else {
        return Ok(builder.with_no_client_auth());
    };
    let key =
        PrivateKeyDer::from_pem_file(key_file).map_err(|e| format!("key {}: {e}", key_file.display()))?;
    builder
        .with_client_auth_cert(certificates(certificate_file)?, key)
        .map_err(|e| format!("client certificate {}: {e}", certificate_file.display()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let describe = |e| format!("certificates in {}: {e}", path.display());
    let found: Vec<_> =
        CertificateDer::pem_file_iter(path).map_err(describe)?.collect::<Result<_, _>>().map_err(describe)?;
    if found.is_empty() {
        return Err(format!("no certificate in {}: it must be a PEM file", path.display()));
    }
    Ok(found)
}
