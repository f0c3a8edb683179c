//! The one TLS profile of the network: version 1.3 only, AES-128-GCM first.

use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};

/// Application protocol offered and accepted.
pub(crate) const ALPN_HTTP1: &[u8] = b"http/1.1";

/// Plaintext rustls queues before it asks the socket to take some: eight records, sent by one
/// vectored write.
pub(crate) const TLS_BUFFER_BYTES: usize = 128 * 1024;

/// Ciphertext read from the socket at once: four records.
pub(crate) const TLS_READ_BYTES: usize = 64 * 1024;

/// Cipher suites, key exchanges and signatures that both sides may use.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256,
            aws_lc_rs::cipher_suite::TLS13_AES_256_GCM_SHA384,
            aws_lc_rs::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![
            aws_lc_rs::kx_group::X25519MLKEM768,
            aws_lc_rs::kx_group::X25519,
            aws_lc_rs::kx_group::SECP256R1,
        ],
        ..aws_lc_rs::default_provider()
    })
}
