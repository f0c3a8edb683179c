//! AES-256-CTR over one file version: any range can be encrypted or decrypted alone.

use aes::Aes256;
use ctr::Ctr128BE;
use ctr::cipher::{KeyIvInit, StreamCipher, StreamCipherSeek};

use super::Secret;

/// The key stream of one file version under its `FileSecret`.
///
/// The key is `Expand(FileSecret, "ctr")`; the big-endian counter is the byte offset in the file
/// divided by 16, starting at 0. A FileSecret is never used for two contents.
pub struct FileCipher {
    stream: Ctr128BE<Aes256>,
}

impl std::fmt::Debug for FileCipher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FileCipher(…)")
    }
}

impl FileCipher {
    /// The key stream under `file_secret`.
    #[must_use]
    pub fn new(file_secret: &Secret) -> Self {
        let key = file_secret.expand("ctr", b"");
        Self {
            stream: Ctr128BE::new(key.expose().into(), &[0; 16].into()),
        }
    }

    /// Encrypts or decrypts `bytes`, which lie at `offset` (bytes) in the file, in place.
    pub fn apply(&mut self, offset: u64, bytes: &mut [u8]) {
        self.stream.seek(offset);
        self.stream.apply_keystream(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_range_decrypts_alone() {
        let secret = Secret::new([3; 32]);
        let plain: Vec<u8> = (0..1_000_u32).map(|i| i.to_le_bytes()[0]).collect();
        let mut whole = plain.clone();
        FileCipher::new(&secret).apply(0, &mut whole);
        assert_ne!(whole, plain);

        let mut middle = whole[333..777].to_vec();
        FileCipher::new(&secret).apply(333, &mut middle);
        assert_eq!(middle, plain[333..777]);
    }
}
