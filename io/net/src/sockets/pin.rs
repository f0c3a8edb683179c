//! Checks that a TLS server holds exactly the expected Ed25519 key.
//!
//! The key travels as the server's name, so one client configuration serves every pinned peer,
//! and the cache of sessions, which is keyed by that name, can never resume one peer's session
//! with another.

use std::sync::Arc;

use data_encoding::BASE32_DNSSEC;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, PeerMisbehaved, RootCertStore,
    SignatureScheme,
};

use super::identity::spki;
use super::tls;

/// Peers whose sessions are kept for resumption.
const SESSIONS_MAX: usize = 1024;

/// Ends the names that stand for keys; never resolved, never sent.
const KEY_NAME_SUFFIX: &str = ".key.invalid";

/// The configuration for peers known by their key.
pub(crate) fn pinned_client() -> Result<ClientConfig, Error> {
    let provider = tls::provider();
    let verifier = PinnedKey {
        algorithms: provider.signature_verification_algorithms,
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![tls::ALPN_HTTP1.to_vec()];
    config.enable_sni = false;
    config.resumption = Resumption::in_memory_sessions(SESSIONS_MAX);
    Ok(config)
}

/// The configuration for Bridges known by their name: certificates of the public web.
pub(crate) fn web_client() -> Result<ClientConfig, Error> {
    let roots = RootCertStore {
        roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
    };
    let mut config = ClientConfig::builder_with_provider(tls::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![tls::ALPN_HTTP1.to_vec()];
    Ok(config)
}

/// The server name that stands for `key`.
pub(crate) fn key_name(key: &[u8; 32]) -> ServerName<'static> {
    let name = format!("{}{KEY_NAME_SUFFIX}", BASE32_DNSSEC.encode(key));
    #[expect(
        clippy::expect_used,
        reason = "52 letters and digits are a valid label"
    )]
    ServerName::try_from(name).expect("a base32 label is a dns name")
}

fn key_of(name: &ServerName<'_>) -> Option<[u8; 32]> {
    let ServerName::DnsName(name) = name else {
        return None;
    };
    let label = name.as_ref().strip_suffix(KEY_NAME_SUFFIX)?;
    BASE32_DNSSEC.decode(label.as_bytes()).ok()?.try_into().ok()
}

#[derive(Debug)]
struct PinnedKey {
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for PinnedKey {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let wrong_key = CertificateError::ApplicationVerificationFailure;
        let expected = key_of(server_name).ok_or_else(|| wrong_key.clone())?;
        let shown = ParsedCertificate::try_from(end_entity)?.subject_public_key_info();
        if shown.as_ref() != spki(&expected) {
            return Err(wrong_key.into());
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerMisbehaved::SelectedUnofferedCipherSuite.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        if dss.scheme != SignatureScheme::ED25519 {
            return Err(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme.into());
        }
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_name() {
        for key in [[0; 32], [0xff; 32], [0x5a; 32]] {
            assert_eq!(key_of(&key_name(&key)), Some(key));
        }
    }

    #[test]
    fn other_names_stand_for_no_key() {
        for name in ["example.org", "key.invalid", "00.key.invalid"] {
            assert_eq!(key_of(&ServerName::try_from(name).unwrap()), None, "{name}");
        }
    }
}
