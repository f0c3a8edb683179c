//! How a run of leaves is asked for and answered over HTTP: three headers, each with one spelling.

use data_encoding::BASE64URL_NOPAD;

use crate::crypto::{LeafRange, LeafRangeError, RANGE_PROOF_HASHES_MAX};

/// The header of the answer that carries the proof.
pub const LEAF_PROOF: &str = "leaf-proof";
/// Digits of the largest position in a shard.
const DIGITS_MAX: usize = 10;

/// A header that asks for or answers no run of leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeafHeaderError {
    /// The range is not written as `bytes=FIRST-LAST`.
    #[error("a range is `bytes=FIRST-LAST`, both positions in the shard")]
    Range,
    /// The range is no run of leaves.
    #[error(transparent)]
    Leaves(#[from] LeafRangeError),
    /// The proof is not base64url of at most 8 hashes.
    #[error("a proof is base64url of at most {RANGE_PROOF_HASHES_MAX} hashes")]
    Proof,
}

/// The value of `Range` that asks for `leaves`.
#[must_use]
pub fn range_header(leaves: &LeafRange) -> String {
    let bytes = leaves.bytes();
    format!("bytes={}-{}", bytes.start, bytes.end - 1)
}

/// The run that a value of `Range` asks for, of a shard of `shard_bytes`.
///
/// # Errors
/// [`LeafHeaderError`] for any other spelling, and for bytes that are no whole leaves.
pub fn parse_range_header(text: &str, shard_bytes: u32) -> Result<LeafRange, LeafHeaderError> {
    let positions = text
        .strip_prefix("bytes=")
        .and_then(|text| text.split_once('-'));
    let (first, last) = positions.ok_or(LeafHeaderError::Range)?;
    let (first, last) = (position(first)?, position(last)?);
    let end = last.checked_add(1).ok_or(LeafHeaderError::Range)?;
    Ok(LeafRange::of_bytes(shard_bytes, first..end)?)
}

/// The value of `Content-Range` that answers with `leaves`.
#[must_use]
pub fn content_range(leaves: &LeafRange) -> String {
    let bytes = leaves.bytes();
    format!(
        "bytes {}-{}/{}",
        bytes.start,
        bytes.end - 1,
        leaves.shard_bytes()
    )
}

/// The proof as it goes into its header.
#[must_use]
pub fn encode_proof(proof: &[[u8; 32]]) -> String {
    BASE64URL_NOPAD.encode(proof.as_flattened())
}

/// The proof in its header.
///
/// # Errors
/// [`LeafHeaderError::Proof`] for anything but whole hashes, and for too many.
pub fn decode_proof(text: &str) -> Result<Vec<[u8; 32]>, LeafHeaderError> {
    if text.len() > BASE64URL_NOPAD.encode_len(RANGE_PROOF_HASHES_MAX * 32) {
        return Err(LeafHeaderError::Proof);
    }
    let bytes = BASE64URL_NOPAD.decode(text.as_bytes());
    let bytes = bytes.map_err(|_| LeafHeaderError::Proof)?;
    match bytes.as_chunks::<32>() {
        (hashes, []) => Ok(hashes.to_vec()),
        _ => Err(LeafHeaderError::Proof),
    }
}

/// Digits without a sign and without leading zeros.
fn position(text: &str) -> Result<u32, LeafHeaderError> {
    let digits = text.len() <= DIGITS_MAX && text.bytes().all(|byte| byte.is_ascii_digit());
    let one_spelling = text == "0" || !text.starts_with('0');
    if digits && one_spelling {
        text.parse().map_err(|_| LeafHeaderError::Range)
    } else {
        Err(LeafHeaderError::Range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_survives_its_header() {
        let size = 3 * 65_536 + 64;
        let leaves = LeafRange::of_bytes(size, 65_536..size).unwrap();
        assert_eq!(range_header(&leaves), "bytes=65536-196671");
        assert_eq!(parse_range_header("bytes=65536-196671", size), Ok(leaves));
        assert_eq!(content_range(&leaves), "bytes 65536-196671/196672");
    }

    #[test]
    fn every_other_range_is_refused() {
        for text in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=0-",
            "bytes=-65536",
            "bytes=0-65535,131072-196607",
            "bytes=+0-65535",
            "bytes=00-65535",
            "bytes= 0-65535",
            "Bytes=0-65535",
            "bytes=0-65534",
            "bytes=1-65535",
            "bytes=65536-65535",
            "bytes=0-196672",
            "bytes=0-4294967295",
            "bytes=0-99999999999",
            "items=0-65535",
        ] {
            assert!(parse_range_header(text, 3 * 65_536 + 64).is_err(), "{text}");
        }
    }

    #[test]
    fn a_proof_survives_its_header_and_has_a_bound() {
        for hashes in 0..=RANGE_PROOF_HASHES_MAX {
            let proof = vec![[7; 32]; hashes];
            assert_eq!(decode_proof(&encode_proof(&proof)), Ok(proof));
        }
        let long = vec![[7; 32]; RANGE_PROOF_HASHES_MAX + 1];
        assert!(decode_proof(&encode_proof(&long)).is_err());
        for text in ["AA", "=", "A*", "BwcHBwcHBw"] {
            assert_eq!(decode_proof(text), Err(LeafHeaderError::Proof), "{text}");
        }
    }
}
