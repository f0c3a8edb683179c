//! A part of a file as people ask for it: byte positions like those of HTTP, counted from 0, both
//! ends included.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

/// Which bytes of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// `A-B`: from byte A to byte B.
    FromTo(u64, u64),
    /// `A-`: from byte A to the end.
    From(u64),
    /// `-N`: the last N bytes.
    Last(u64),
}

/// A range that is none, or that lies outside the file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RangeError {
    /// It is not written as a range.
    #[error("`{text}` is no range of bytes: A-B, A- or -N, counted from 0, both ends included")]
    Text {
        /// What was given.
        text: String,
    },
    /// It ends before it begins, or asks for no bytes at all.
    #[error("`{range}` holds no bytes")]
    Empty {
        /// The range.
        range: ByteRange,
    },
    /// It asks for bytes that the file does not have.
    #[error("bytes {range} are asked for, and the file has {size} bytes, the first of which is 0")]
    Outside {
        /// The range.
        range: ByteRange,
        /// The file's size in bytes.
        size: u64,
    },
}

impl ByteRange {
    /// Where it lies in a file of `size` bytes, which has all of it.
    ///
    /// # Errors
    /// [`RangeError::Outside`] where the file does not, [`RangeError::Empty`] for no bytes.
    pub fn within(self, size: u64) -> Result<Range<u64>, RangeError> {
        let outside = RangeError::Outside { range: self, size };
        let (start, end) = match self {
            Self::FromTo(first, last) if first > last => {
                return Err(RangeError::Empty { range: self });
            }
            Self::Last(0) => return Err(RangeError::Empty { range: self }),
            Self::FromTo(first, last) => (first, last.checked_add(1).ok_or(outside.clone())?),
            Self::From(first) => (first, size),
            Self::Last(bytes) => (size.checked_sub(bytes).ok_or(outside.clone())?, size),
        };
        if start < end && end <= size {
            Ok(start..end)
        } else {
            Err(outside)
        }
    }
}

impl FromStr for ByteRange {
    type Err = RangeError;

    fn from_str(text: &str) -> Result<Self, RangeError> {
        let wrong = || RangeError::Text {
            text: text.chars().take(64).collect(),
        };
        // `parse` alone would take a sign.
        let number = |digits: &str| {
            let plain = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            plain
                .then(|| digits.parse().ok())
                .flatten()
                .ok_or_else(wrong)
        };
        match text.split_once('-').ok_or_else(wrong)? {
            ("", last) => Ok(Self::Last(number(last)?)),
            (first, "") => Ok(Self::From(number(first)?)),
            (first, last) => Ok(Self::FromTo(number(first)?, number(last)?)),
        }
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FromTo(first, last) => write!(f, "{first}-{last}"),
            Self::From(first) => write!(f, "{first}-"),
            Self::Last(bytes) => write!(f, "-{bytes}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn within(text: &str, size: u64) -> Option<Range<u64>> {
        text.parse::<ByteRange>().ok()?.within(size).ok()
    }

    #[test]
    fn ranges_include_both_ends() {
        assert_eq!(within("0-0", 10), Some(0..1));
        assert_eq!(within("3-9", 10), Some(3..10));
        assert_eq!(within("3-", 10), Some(3..10));
        assert_eq!(within("-1", 10), Some(9..10));
        assert_eq!(within("-10", 10), Some(0..10));
    }

    #[test]
    fn what_the_file_does_not_have_is_refused() {
        for text in [
            "0-10",
            "10-",
            "10-10",
            "-11",
            "5-4",
            "-0",
            "0-18446744073709551615",
        ] {
            assert_eq!(within(text, 10), None, "{text}");
        }
        for text in ["0-0", "0-", "-1"] {
            assert_eq!(within(text, 0), None, "{text} of an empty file");
        }
        let error = "4-12".parse::<ByteRange>().unwrap().within(10).unwrap_err();
        assert_eq!(
            error.to_string(),
            "bytes 4-12 are asked for, and the file has 10 bytes, the first of which is 0"
        );
    }

    #[test]
    fn other_texts_are_no_ranges() {
        for text in [
            "",
            "-",
            "5",
            "a-b",
            "+1-2",
            "1-+2",
            "1-2-3",
            " 1-2",
            "--1",
            "1 - 2",
            "99999999999999999999-",
        ] {
            assert!(text.parse::<ByteRange>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_range_survives_text() {
        for text in ["0-0", "3-", "-7"] {
            assert_eq!(text.parse::<ByteRange>().unwrap().to_string(), text);
        }
    }
}
