//! Ed25519 signatures (RFC 8032, strict verification) over `"xcloud/v1/" ‖ type ‖ 0x00 ‖ body`.
//!
//! The body is signed and checked as transmitted, before it is parsed.

use std::fmt;

use ed25519_dalek::{Signer, VerifyingKey};

use super::Secret;

/// A key that signs: of a Host, a Bridge, a device or an account.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(public {:02x?}…)", &self.public()[..4])
    }
}

/// A detached signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature(pub [u8; 64]);

/// A signature that is not of this key over this type and body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature of a {kind} does not verify")]
pub struct SignatureError {
    /// What was signed.
    pub kind: &'static str,
}

impl SigningKey {
    /// The key whose seed is `seed`.
    #[must_use]
    pub fn from_seed(seed: &Secret) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed.expose()))
    }

    /// The public half: 32 bytes.
    #[must_use]
    pub fn public(&self) -> [u8; 32] {
        self.0.verifying_key().to_bytes()
    }

    /// The seed, to be stored where the key lives.
    #[must_use]
    pub fn seed(&self) -> Secret {
        Secret::new(self.0.to_bytes())
    }

    /// Signs `body` as a `kind` (`"ticket"`, `"root"`, …).
    #[must_use]
    pub fn sign(&self, kind: &'static str, body: &[u8]) -> Signature {
        Signature(self.0.sign(&message(kind, body)).to_bytes())
    }
}

/// Checks that `public` signed `body` as a `kind`.
///
/// # Errors
/// [`SignatureError`] for a key that is no point of the curve, a signature of another key, and
/// one over anything else.
pub fn verify(
    public: &[u8; 32],
    kind: &'static str,
    body: &[u8],
    signature: &Signature,
) -> Result<(), SignatureError> {
    let key = VerifyingKey::from_bytes(public).map_err(|_| SignatureError { kind })?;
    let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
    key.verify_strict(&message(kind, body), &signature)
        .map_err(|_| SignatureError { kind })
}

fn message(kind: &str, body: &[u8]) -> Vec<u8> {
    [b"xcloud/v1/", kind.as_bytes(), &[0], body].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_one_key_one_type_and_one_body() {
        let key = SigningKey::from_seed(&Secret::new([5; 32]));
        let other = SigningKey::from_seed(&Secret::new([6; 32]));
        let signature = key.sign("ticket", b"body");
        assert_eq!(verify(&key.public(), "ticket", b"body", &signature), Ok(()));
        assert!(verify(&other.public(), "ticket", b"body", &signature).is_err());
        assert!(verify(&key.public(), "root", b"body", &signature).is_err());
        assert!(verify(&key.public(), "ticket", b"bodY", &signature).is_err());
    }
}
