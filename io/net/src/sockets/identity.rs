//! A node's Ed25519 key as a TLS server: a self-signed certificate whose public key is the node.

use std::fmt;
use std::sync::Arc;

use model::crypto::SigningKey;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::Ticketer;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::tls;

/// DER of an Ed25519 private key (RFC 8410) up to its 32 bytes of seed.
const PKCS8_PREFIX: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// DER of an Ed25519 public key (RFC 8410) up to its 32 bytes.
const SPKI_PREFIX: [u8; 12] = [
    0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00,
];

/// What a node shows to whoever dials it.
#[derive(Clone)]
pub struct Identity {
    public: [u8; 32],
    server: Arc<ServerConfig>,
}

/// A key that could not be made into a TLS identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The certificate could not be built.
    #[error("the certificate could not be signed")]
    Certificate(#[source] rcgen::Error),
    /// The certificate or key was not accepted as a TLS server's.
    #[error("the key could not be used for tls")]
    Tls(#[source] rustls::Error),
}

impl Identity {
    /// Makes the certificate of `key`.
    ///
    /// # Errors
    /// [`IdentityError`] where the cryptographic library refuses the key.
    pub fn new(key: &SigningKey) -> Result<Self, IdentityError> {
        let pkcs8 = pkcs8(key);
        let signer = rcgen::KeyPair::try_from(&pkcs8).map_err(IdentityError::Certificate)?;
        let certificate = rcgen::CertificateParams::default()
            .self_signed(&signer)
            .map_err(IdentityError::Certificate)?;
        let server = server_config(certificate.der().clone(), pkcs8).map_err(IdentityError::Tls)?;
        Ok(Self {
            public: key.public(),
            server: Arc::new(server),
        })
    }

    /// The public key that peers must pin: 32 bytes.
    #[must_use]
    pub const fn public(&self) -> &[u8; 32] {
        &self.public
    }

    pub(crate) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity(public {:02x?}…)", &self.public[..4])
    }
}

/// The `SubjectPublicKeyInfo` of a certificate of `public`: 44 bytes of DER.
pub(crate) fn spki(public: &[u8; 32]) -> Vec<u8> {
    [&SPKI_PREFIX[..], public].concat()
}

fn pkcs8(key: &SigningKey) -> PrivatePkcs8KeyDer<'static> {
    PrivatePkcs8KeyDer::from([&PKCS8_PREFIX[..], key.seed().expose()].concat())
}

fn server_config(
    certificate: CertificateDer<'static>,
    key: PrivatePkcs8KeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![certificate], PrivateKeyDer::Pkcs8(key))?;
    config.alpn_protocols = vec![tls::ALPN_HTTP1.to_vec()];
    // Stateless tickets under a key that lives and dies with this process: no table that
    // strangers could fill, and no early data (its maximum stays 0), so nothing can be replayed.
    config.ticketer = Ticketer::new()?;
    Ok(config)
}
