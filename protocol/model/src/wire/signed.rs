//! JSON that is signed as transmitted, and base64 for bytes inside JSON.

use std::fmt;
use std::marker::PhantomData;

use data_encoding::BASE64URL_NOPAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::crypto::{Signature, SigningKey, sha256, verify};

/// Bytes that travel in JSON as unpadded base64url text.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Base64(pub Vec<u8>);

impl fmt::Debug for Base64 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Base64({} bytes)", self.0.len())
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64URL_NOPAD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes());
        bytes
            .map(Self)
            .map_err(|_| serde::de::Error::custom("not unpadded base64url"))
    }
}

/// A body that can be signed; names the type inside the signature.
pub trait SignedKind: Serialize + DeserializeOwned {
    /// The type under the signature, `"order"` say. No two bodies share one.
    const KIND: &'static str;
}

/// A JSON body and the signature over its bytes, exactly as transmitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, bound = "")]
pub struct Signed<T> {
    body: Base64,
    signature: Base64,
    #[serde(skip)]
    kind: PhantomData<T>,
}

/// A signed body that is not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SignedError {
    /// The signature is not of this key over these bytes.
    #[error("the signature of a {kind} does not verify")]
    Signature {
        /// What was signed.
        kind: &'static str,
    },
    /// The bytes under the signature are not the JSON of such a body.
    #[error("the body of a {kind} is malformed")]
    Body {
        /// What was signed.
        kind: &'static str,
        /// Where it differs.
        #[source]
        source: serde_json::Error,
    },
}

impl<T: SignedKind> Signed<T> {
    /// Signs `body`.
    #[must_use]
    pub fn new(key: &SigningKey, body: &T) -> Self {
        // Bodies are plain structs with text keys, which always serialise.
        let body = serde_json::to_vec(body).unwrap_or_default();
        let signature = key.sign(T::KIND, &body).0.to_vec();
        Self {
            body: Base64(body),
            signature: Base64(signature),
            kind: PhantomData,
        }
    }

    /// Returns the body where `public` signed it.
    ///
    /// # Errors
    /// [`SignedError`] for another signer, other bytes, or bytes that are no such body.
    pub fn open(&self, public: &[u8; 32]) -> Result<T, SignedError> {
        let kind = T::KIND;
        let signature = <[u8; 64]>::try_from(self.signature.0.as_slice())
            .map_err(|_| SignedError::Signature { kind })?;
        verify(public, kind, &self.body.0, &Signature(signature))
            .map_err(|_| SignedError::Signature { kind })?;
        self.peek()
    }

    /// SHA-256 of the body's bytes, exactly as transmitted: its name in what refers to it.
    #[must_use]
    pub fn body_hash(&self) -> [u8; 32] {
        sha256(&self.body.0)
    }

    /// Reads the body **without** checking who signed it, to learn whose key to check.
    ///
    /// # Errors
    /// [`SignedError::Body`] where the bytes are no such body.
    pub fn peek(&self) -> Result<T, SignedError> {
        serde_json::from_slice(&self.body.0).map_err(|source| SignedError::Body {
            kind: T::KIND,
            source,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Secret;

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Note {
        text: String,
    }

    impl SignedKind for Note {
        const KIND: &'static str = "note";
    }

    #[test]
    fn opens_for_the_signer_only() {
        let key = SigningKey::from_seed(&Secret::new([1; 32]));
        let note = Note {
            text: "hello".to_owned(),
        };
        let json = serde_json::to_string(&Signed::new(&key, &note)).unwrap();
        let signed: Signed<Note> = serde_json::from_str(&json).unwrap();
        assert_eq!(signed.open(&key.public()).unwrap(), note);
        let other = SigningKey::from_seed(&Secret::new([2; 32]));
        assert_eq!(
            signed.open(&other.public()).unwrap_err().to_string(),
            "the signature of a note does not verify"
        );
    }
}
