//! The seal: one construction for everything that is not file content.
//!
//! SIV from HMAC-SHA256 and AES-256-CTR: misuse-resistant, and committing to key and context.
//! Freshness does not come from here but from the parent's hash.

use aes::Aes256;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use super::Secret;

/// Bytes that a seal adds: the version byte and the synthetic IV.
pub const SEAL_OVERHEAD_BYTES: usize = 33;

const VERSION: u8 = 1;

/// The one answer to anything that does not open: a wrong key, context, version or byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a sealed object does not open: its key, context or bytes are not the ones it was sealed with"
)]
pub struct OpenError;

/// Seals `plain` under `key`, bound to `context` (type ‖ account ‖ volume ‖ …, fixed width).
#[must_use]
pub fn seal(key: &Secret, context: &[u8], plain: &[u8]) -> Vec<u8> {
    let siv = synthetic_iv(key, context, plain);
    let mut out = Vec::with_capacity(SEAL_OVERHEAD_BYTES + plain.len());
    out.push(VERSION);
    out.extend_from_slice(&siv);
    out.extend_from_slice(plain);
    if let Some(body) = out.get_mut(SEAL_OVERHEAD_BYTES..) {
        apply_keystream(key, &siv, body);
    }
    out
}

/// Opens what [`seal`] made with the same `key` and `context`.
///
/// # Errors
/// [`OpenError`], the same for every cause.
pub fn open(key: &Secret, context: &[u8], sealed: &[u8]) -> Result<Vec<u8>, OpenError> {
    let (&version, rest) = sealed.split_first().ok_or(OpenError)?;
    let (siv, body) = rest.split_first_chunk::<32>().ok_or(OpenError)?;
    let mut plain = body.to_vec();
    apply_keystream(key, siv, &mut plain);
    let expected = synthetic_iv(key, context, &plain);
    if version == VERSION && bool::from(expected.ct_eq(siv)) {
        return Ok(plain);
    }
    zeroize::Zeroize::zeroize(&mut plain);
    Err(OpenError)
}

fn synthetic_iv(key: &Secret, context: &[u8], plain: &[u8]) -> [u8; 32] {
    let mac_key = key.expand("siv-mac", b"");
    let mut mac = new_mac(&mac_key);
    mac.update(&(context.len() as u64).to_le_bytes());
    mac.update(context);
    mac.update(plain);
    mac.finalize().into_bytes().into()
}

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
fn new_mac(key: &Secret) -> Hmac<Sha256> {
    Hmac::new_from_slice(key.expose()).expect("HMAC takes a key of any length")
}

fn apply_keystream(key: &Secret, siv: &[u8; 32], body: &mut [u8]) {
    let (nonce, counter) = siv.split_at(16);
    let counter: [u8; 16] = counter.try_into().unwrap_or([0; 16]);
    let key = key.expand("siv-enc", nonce);
    Ctr128BE::<Aes256>::new(key.expose().into(), &counter.into()).apply_keystream(body);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_only_under_its_key_and_context() {
        let key = Secret::new([1; 32]);
        let sealed = seal(&key, b"node", b"a name");
        assert_eq!(open(&key, b"node", &sealed).unwrap(), b"a name");
        assert_eq!(open(&key, b"root", &sealed), Err(OpenError));
        assert_eq!(
            open(&Secret::new([2; 32]), b"node", &sealed),
            Err(OpenError)
        );
    }

    #[test]
    fn any_flipped_bit_and_any_cut_gives_the_same_error() {
        let key = Secret::new([1; 32]);
        let sealed = seal(&key, b"node", b"a name");
        for bit in 0..sealed.len() * 8 {
            let mut bent = sealed.clone();
            bent[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(&key, b"node", &bent), Err(OpenError), "bit {bit}");
        }
        for len in 0..sealed.len() {
            assert_eq!(
                open(&key, b"node", &sealed[..len]),
                Err(OpenError),
                "length {len}"
            );
        }
    }
}
