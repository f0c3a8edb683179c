//! From 24 words to every key of an account.
//!
//! The account root key is used at sign-up, approval of devices, revocation, purge and recovery,
//! then wiped: devices never keep it.

use std::fmt;

use bip39::Language;
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::{Secret, SigningKey, sha256};
use crate::units::{AccountId, BlobId, OwnerTag, VolumeId};

/// The recovery phrase: 24 English words (BIP-39) for 32 bytes of entropy.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Mnemonic(bip39::Mnemonic);

impl fmt::Debug for Mnemonic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mnemonic(…)")
    }
}

/// Text that is not a recovery phrase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MnemonicError {
    /// Not 24 words.
    #[error("the recovery phrase has {words} words instead of 24")]
    WordCount {
        /// How many it has.
        words: usize,
    },
    /// A word that is not in the list.
    #[error("word {position} is not in the list of recovery words")]
    UnknownWord {
        /// Its place, from 1.
        position: usize,
    },
    /// The words are all known, but do not belong together.
    #[error("the words are known but do not belong together: one is wrong or two are swapped")]
    Checksum,
}

impl Mnemonic {
    /// The phrase for `entropy`.
    ///
    /// # Panics
    /// Never: 32 bytes always make 24 words.
    #[must_use]
    #[expect(clippy::expect_used, reason = "BIP-39 takes every 32-byte entropy")]
    pub fn from_entropy(entropy: &Secret) -> Self {
        Self(bip39::Mnemonic::from_entropy(entropy.expose()).expect("32 bytes make 24 words"))
    }

    /// Reads a phrase; upper case and any white space are accepted.
    ///
    /// # Errors
    /// [`MnemonicError`] names what is wrong with the words.
    pub fn parse(text: &str) -> Result<Self, MnemonicError> {
        let text = Zeroizing::new(text.to_lowercase());
        let words = text.split_whitespace().count();
        if words != 24 {
            return Err(MnemonicError::WordCount { words });
        }
        let phrase = Zeroizing::new(text.split_whitespace().collect::<Vec<_>>().join(" "));
        bip39::Mnemonic::parse_in_normalized(Language::English, &phrase)
            .map(Self)
            .map_err(|error| match error {
                bip39::Error::UnknownWord(index) => MnemonicError::UnknownWord {
                    position: index + 1,
                },
                _ => MnemonicError::Checksum,
            })
    }

    /// The 24 words, in order.
    pub fn words(&self) -> impl Iterator<Item = &'static str> {
        self.0.words()
    }

    /// The account root key: HKDF-Extract-SHA256 with the salt `"xcloud/v1/account"`.
    #[must_use]
    pub fn account_root_key(&self) -> AccountRootKey {
        let entropy = Zeroizing::new(self.0.to_entropy());
        let (prk, _) = Hkdf::<Sha256>::extract(Some(b"xcloud/v1/account"), &entropy);
        AccountRootKey(Secret::new(prk.into()))
    }
}

/// The key above all keys of an account (ARK).
#[derive(Clone, Debug)]
pub struct AccountRootKey(Secret);

/// What signs for the account itself.
#[derive(Clone, Debug)]
pub struct AccountKeys {
    /// Signs the device list and purges; its public half names the account.
    pub identity: SigningKey,
    /// The account's id.
    pub account: AccountId,
}

impl AccountRootKey {
    /// The identity key and the account it names.
    #[must_use]
    pub fn account_keys(&self) -> AccountKeys {
        let identity = SigningKey::from_seed(&self.0.expand("id", b""));
        let account = account_of(&identity.public());
        AccountKeys { identity, account }
    }

    /// The key of `volume` in `epoch`.
    #[must_use]
    pub fn volume_key(&self, volume: &VolumeId, epoch: u32) -> VolumeKey {
        let context = [&volume.0[..], &epoch.to_le_bytes()].concat();
        VolumeKey(self.0.expand("volume", &context))
    }

    /// The id of the account's first volume, so that a phrase alone finds it.
    #[must_use]
    pub fn first_volume(&self) -> VolumeId {
        let bytes = self.0.expand("first-volume", b"");
        let (id, _) = bytes.expose().split_at(16);
        VolumeId(id.try_into().unwrap_or_default())
    }
}

/// The account that the identity key `public` names: the first half of its SHA-256.
#[must_use]
pub fn account_of(public: &[u8; 32]) -> AccountId {
    let hash = sha256(public);
    let (id, _) = hash.split_at(16);
    AccountId(id.try_into().unwrap_or_default())
}

/// The key of one volume in one epoch; devices keep it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeKey(pub Secret);

impl VolumeKey {
    /// The key whose hash is the blob's owner tag: it reads and deletes at Hosts without a Bridge.
    #[must_use]
    pub fn owner_key(&self, blob: &BlobId) -> SigningKey {
        SigningKey::from_seed(&self.0.expand("own", &blob.0))
    }

    /// The owner tag of `blob`: SHA-256 of the public half of [`Self::owner_key`].
    #[must_use]
    pub fn owner_tag(&self, blob: &BlobId) -> OwnerTag {
        OwnerTag(sha256(&self.owner_key(blob).public()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_phrase_leads_back_to_the_same_keys() {
        let mnemonic = Mnemonic::from_entropy(&Secret::new([9; 32]));
        let text = mnemonic.words().collect::<Vec<_>>().join("\n ");
        let again = Mnemonic::parse(&text.to_uppercase()).unwrap();
        let (a, b) = (mnemonic.account_root_key(), again.account_root_key());
        assert_eq!(a.account_keys().account, b.account_keys().account);
        assert_eq!(
            a.volume_key(&a.first_volume(), 0),
            b.volume_key(&b.first_volume(), 0)
        );
        assert_ne!(
            a.volume_key(&a.first_volume(), 0),
            a.volume_key(&a.first_volume(), 1)
        );
    }

    #[test]
    fn a_wrong_phrase_says_what_is_wrong() {
        let wrong = |text: &str| Mnemonic::parse(text).unwrap_err();
        assert_eq!(wrong("abandon art"), MnemonicError::WordCount { words: 2 });
        let words = vec!["abandon"; 24];
        assert_eq!(wrong(&words.join(" ")), MnemonicError::Checksum);
        let mut typo = words;
        typo[4] = "abanden";
        assert_eq!(
            wrong(&typo.join(" ")),
            MnemonicError::UnknownWord { position: 5 }
        );
    }
}
