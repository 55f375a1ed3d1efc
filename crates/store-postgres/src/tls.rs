//! TLS to the server: who is trusted, and the way from the driver to rustls.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ring::digest::{self, digest};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::{TlsConnector, client};

/// Files that say who is trusted, and who we are. They are read again for every connection, so that a new certificate needs
/// no restart.
#[derive(Clone, PartialEq, Eq)]
pub struct Trust {
    ca_file: PathBuf,
    client: Option<(PathBuf, PathBuf)>,
}

impl Trust {
    /// Servers whose certificate names them and is signed by an authority in this PEM file.
    ///
    /// # Errors
    /// It cannot be read, or holds no certificate.
    pub fn authorities(ca_file: &Path) -> Result<Self, String> {
        let trust = Self { ca_file: ca_file.to_owned(), client: None };
        trust.config().map(|_| trust)
    }

    /// With the PEM files of our own certificate and its key, for a server that asks for them.
    ///
    /// # Errors
    /// They cannot be read, or do not belong together.
    pub fn as_client(self, certificate_file: &Path, key_file: &Path) -> Result<Self, String> {
        let client = Some((certificate_file.to_owned(), key_file.to_owned()));
        let trust = Self { client, ..self };
        trust.config().map(|_| trust)
    }

    #[cfg(test)]
    pub(crate) fn unread() -> Self {
        Self { ca_file: PathBuf::new(), client: None }
    }

    /// What makes connections that are safe.
    pub(crate) fn connector(&self) -> Result<Connector, String> {
        Ok(Connector(Arc::new(self.config()?)))
    }

    fn config(&self) -> Result<ClientConfig, String> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.ca_file)? {
            roots
                .add(certificate)
                .map_err(|e| format!("certificate authority in {}: {e}", self.ca_file.display()))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| format!("TLS: {e}"))?
            .with_root_certificates(roots);
        let Some((certificate_file, key_file)) = &self.client else {
            return Ok(builder.with_no_client_auth());
        };
        let key =
            PrivateKeyDer::from_pem_file(key_file).map_err(|e| format!("key {}: {e}", key_file.display()))?;
        builder
            .with_client_auth_cert(certificates(certificate_file)?, key)
            .map_err(|e| format!("certificate {}: {e}", certificate_file.display()))
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trust").field(&self.ca_file).finish()
    }
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

/// Makes one TLS session for each connection.
pub(crate) struct Connector(Arc<ClientConfig>);

/// The same for a host.
pub(crate) struct Named(Arc<ClientConfig>, ServerName<'static>);

/// A connection under TLS.
pub(crate) struct Encrypted(client::TlsStream<Socket>);

impl MakeTlsConnect<Socket> for Connector {
    type Stream = Encrypted;
    type TlsConnect = Named;
    type Error = InvalidDnsNameError;

    fn make_tls_connect(&mut self, host: &str) -> Result<Named, InvalidDnsNameError> {
        Ok(Named(Arc::clone(&self.0), ServerName::try_from(host)?.to_owned()))
    }
}

impl TlsConnect<Socket> for Named {
    type Stream = Encrypted;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move { TlsConnector::from(self.0).connect(self.1, socket).await.map(Encrypted) })
    }
}

impl TlsStream for Encrypted {
    /// Ties the password's proof to this very session: whoever relays it has another certificate.
    fn channel_binding(&self) -> ChannelBinding {
        let certificate = self.0.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let bound = certificate.and_then(|certificate| end_point(certificate));
        bound.map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// The certificate's hash as `tls-server-end-point` wants it (RFC 5929, section 4.1): by the function that its signature uses,
/// but SHA-256 instead of MD5 and SHA-1. Signatures without such a function (Ed25519) have none, nor have those whose function
/// stands elsewhere (RSA-PSS): the proof is not bound then.
fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];
    let signature = signature_of(certificate)?;
    let function = match (signature.strip_prefix(RSA), signature.strip_prefix(ECDSA)) {
        (Some([4 | 5 | 11]), _) | (_, Some([1] | [3, 2])) => &digest::SHA256,
        (Some([12]), _) | (_, Some([3, 3])) => &digest::SHA384,
        (Some([13]), _) | (_, Some([3, 4])) => &digest::SHA512,
        _ => return None,
    };
    Some(digest(function, certificate).as_ref().to_vec())
}

/// The object identifier of what a certificate is signed with (RFC 5280, section 4.1): it follows what is signed.
fn signature_of(certificate: &[u8]) -> Option<&[u8]> {
    const SEQUENCE: u8 = 0x30;
    const IDENTIFIER: u8 = 0x06;
    let (certificate, _) = value(SEQUENCE, certificate)?;
    let (_signed, behind) = value(SEQUENCE, certificate)?;
    let (algorithm, _signature) = value(SEQUENCE, behind)?;
    value(IDENTIFIER, algorithm).map(|(identifier, _)| identifier)
}

/// What is in a DER value of this kind, and what follows it.
fn value(kind: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let der = der.strip_prefix(&[kind])?;
    let (&first, rest) = der.split_first()?;
    if first < 0x80 {
        return rest.split_at_checked(first.into());
    }
    let (length, rest) =
        rest.split_at_checked((first & 0x7f).into()).filter(|(bytes, _)| bytes.len() <= 4)?;
    let length = length.iter().fold(0usize, |length, byte| length << 8 | usize::from(*byte));
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair, SignatureAlgorithm};

    #[test]
    fn a_proof_is_bound_to_the_certificate_by_the_function_that_signed_it() {
        let check = |algorithm: &'static SignatureAlgorithm, function: Option<&'static digest::Algorithm>| {
            let key = KeyPair::generate_for(algorithm).expect("a key");
            let params = CertificateParams::new(vec!["db.example".to_owned()]).expect("a name");
            let certificate = params.self_signed(&key).expect("is signed");
            let expected = function.map(|function| digest(function, certificate.der()).as_ref().to_vec());
            assert_eq!(end_point(certificate.der()), expected);
            // Cut anywhere, it is no certificate, and nothing more.
            for length in 0..certificate.der().len() {
                assert_eq!(end_point(&certificate.der()[..length]), None);
            }
        };
        check(&rcgen::PKCS_ECDSA_P256_SHA256, Some(&digest::SHA256));
        check(&rcgen::PKCS_ECDSA_P384_SHA384, Some(&digest::SHA384));
        check(&rcgen::PKCS_ED25519, None);
    }

    #[test]
    fn the_functions_of_all_signatures_that_are_in_use_are_known() {
        // A certificate as far as it is looked at: what is signed, the algorithm, the signature.
        let certificate = |identifier: &[u8]| {
            let wrap = |kind: u8, inner: &[u8]| {
                [&[kind, u8::try_from(inner.len()).expect("is short")], inner].concat()
            };
            let algorithm = wrap(0x30, &wrap(0x06, identifier));
            wrap(0x30, &[wrap(0x30, b"signed"), algorithm, wrap(0x03, b"signature")].concat())
        };
        const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
        const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];
        for (arc, rest, bytes) in [
            (RSA, &[4][..], Some(32)),
            (RSA, &[5], Some(32)),
            (RSA, &[11], Some(32)),
            (RSA, &[12], Some(48)),
            (RSA, &[13], Some(64)),
            (RSA, &[10], None),
            (RSA, &[14], None),
            (ECDSA, &[1], Some(32)),
            (ECDSA, &[3, 2], Some(32)),
            (ECDSA, &[3, 3], Some(48)),
            (ECDSA, &[3, 4], Some(64)),
            (ECDSA, &[3], None),
        ] {
            let found = end_point(&certificate(&[arc, rest].concat()));
            assert_eq!(found.map(|hash| hash.len()), bytes, "{rest:?}");
        }
    }
}
