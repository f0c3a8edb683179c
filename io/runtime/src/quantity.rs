//! Sizes and durations as people write them: `10GB`, `2 MiB`, `10 s`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize, Serializer};

/// Units of sizes, largest first; decimal ones are powers of 1000, binary ones of 1024.
const SIZE_UNITS: [(&str, u64); 11] = [
    ("PiB", 1 << 50),
    ("PB", 1_000_000_000_000_000),
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("kB", 1_000),
    ("B", 1),
];

/// Units of durations in milliseconds, largest first.
const SPAN_UNITS: [(&str, u64); 6] = [
    ("weeks", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("min", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// A number of bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

/// A duration in whole milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(Duration);

/// Text that is no size or duration.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// No number at the start.
    #[error("`{text}` does not begin with a number")]
    Number {
        /// What was given.
        text: String,
    },
    /// The unit is missing or unknown.
    #[error("`{text}` needs one of the units {units}")]
    Unit {
        /// What was given.
        text: String,
        /// What would do.
        units: &'static str,
    },
    /// More than a 64-bit number holds, or not a whole number of the smallest unit.
    #[error("`{text}` is not a whole number within range")]
    Range {
        /// What was given.
        text: String,
    },
}

impl Size {
    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl Span {
    /// A span of `ms` milliseconds.
    #[must_use]
    pub const fn from_ms(ms: u64) -> Self {
        Self(Duration::from_millis(ms))
    }

    /// The duration.
    #[must_use]
    pub const fn duration(self) -> Duration {
        self.0
    }

    /// The number of milliseconds.
    #[must_use]
    pub fn ms(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }
}

impl FromStr for Size {
    type Err = QuantityError;

    /// Reads `10GB`, `1.5 GiB`, `4096` (bytes). Units may be written in either case.
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let units = "B, kB, MB, GB, TB, PB, KiB, MiB, GiB, TiB, PiB";
        let (number, unit) = split(text)?;
        let factor = if unit.is_empty() {
            1
        } else {
            let found = SIZE_UNITS
                .iter()
                .find(|(name, _)| name.eq_ignore_ascii_case(unit));
            found
                .ok_or_else(|| QuantityError::Unit {
                    text: text.to_owned(),
                    units,
                })?
                .1
        };
        times(number, factor)
            .map(Self)
            .ok_or_else(|| QuantityError::Range {
                text: text.to_owned(),
            })
    }
}

impl FromStr for Span {
    type Err = QuantityError;

    /// Reads `10 s`, `250ms`, `1.5 h`, `30 d`. The unit is required.
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let units = "ms, s, min, h, d, weeks";
        let (number, unit) = split(text)?;
        let found = SPAN_UNITS.iter().find(|(name, _)| *name == unit);
        let (_, factor) = found.ok_or_else(|| QuantityError::Unit {
            text: text.to_owned(),
            units,
        })?;
        times(number, *factor)
            .map(Self::from_ms)
            .ok_or_else(|| QuantityError::Range {
                text: text.to_owned(),
            })
    }
}

/// Splits `1.5 GB` into the number and the unit.
fn split(text: &str) -> Result<(&str, &str), QuantityError> {
    let trimmed = text.trim();
    let end = trimmed
        .find(|c: char| !c.is_ascii_digit() && c != '.' && c != '_')
        .unwrap_or(trimmed.len());
    let (number, unit) = trimmed.split_at(end);
    if number.is_empty() {
        return Err(QuantityError::Number {
            text: text.to_owned(),
        });
    }
    Ok((number, unit.trim()))
}

/// `number × factor`, exactly; `None` where that is no whole 64-bit number.
fn times(number: &str, factor: u64) -> Option<u64> {
    let number = number.replace('_', "");
    let (whole, fraction) = number.split_once('.').unwrap_or((&number, ""));
    let whole = whole.parse::<u64>().ok()?.checked_mul(factor)?;
    if fraction.is_empty() {
        return Some(whole);
    }
    let scale = 10_u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let parts = fraction.parse::<u128>().ok()?.checked_mul(factor.into())?;
    if parts % scale != 0 {
        return None;
    }
    whole.checked_add(u64::try_from(parts / scale).ok()?)
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, self.0, &SIZE_UNITS, "B")
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        show(f, self.ms(), &SPAN_UNITS, "ms")
    }
}

/// Writes `amount` in the largest unit that divides it, so that reading it gives it back.
fn show(
    f: &mut fmt::Formatter<'_>,
    amount: u64,
    units: &[(&str, u64)],
    smallest: &str,
) -> fmt::Result {
    let divides = units
        .iter()
        .filter(|(_, factor)| amount != 0 && amount.is_multiple_of(*factor));
    match divides.max_by_key(|(_, factor)| *factor) {
        Some((unit, factor)) => write!(f, "{} {unit}", amount / factor),
        None => write!(f, "{amount} {smallest}"),
    }
}

impl Serialize for Size {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SizeVisitor)
    }
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

struct SizeVisitor;

impl Visitor<'_> for SizeVisitor {
    type Value = Size;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size such as \"10GB\", or a number of bytes")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Size, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_u64<E: de::Error>(self, bytes: u64) -> Result<Size, E> {
        Ok(Size(bytes))
    }

    fn visit_i64<E: de::Error>(self, bytes: i64) -> Result<Size, E> {
        u64::try_from(bytes).map(Size).map_err(E::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_shown() {
        for (text, bytes, shown) in [
            ("10GB", 10_000_000_000, "10 GB"),
            ("2 MiB", 2_097_152, "2 MiB"),
            ("1.5 GiB", 1_610_612_736, "1536 MiB"),
            ("4096", 4096, "4 KiB"),
            ("0", 0, "0 B"),
            ("17 b", 17, "17 B"),
            (" 1_000 KB ", 1_000_000, "1 MB"),
            ("18446744073709551615", u64::MAX, "18446744073709551615 B"),
        ] {
            let size: Size = text.parse().unwrap();
            assert_eq!(
                (size.bytes(), size.to_string()),
                (bytes, shown.to_owned()),
                "{text}"
            );
            assert_eq!(shown.parse::<Size>().unwrap(), size);
        }
    }

    #[test]
    fn spans_are_read_and_shown() {
        for (text, ms, shown) in [
            ("10 s", 10_000, "10 s"),
            ("250ms", 250, "250 ms"),
            ("1.5 h", 5_400_000, "90 min"),
            ("30 d", 2_592_000_000, "30 d"),
            ("2 weeks", 1_209_600_000, "2 weeks"),
        ] {
            let span: Span = text.parse().unwrap();
            assert_eq!(
                (span.ms(), span.to_string()),
                (ms, shown.to_owned()),
                "{text}"
            );
        }
    }

    #[test]
    fn other_text_is_refused_with_a_reason() {
        let refused = |text: &str| text.parse::<Size>().unwrap_err().to_string();
        assert_eq!(refused("GB"), "`GB` does not begin with a number");
        assert_eq!(refused("-1"), "`-1` does not begin with a number");
        assert_eq!(
            refused("10 parsecs"),
            "`10 parsecs` needs one of the units B, kB, MB, GB, TB, PB, KiB, MiB, GiB, TiB, PiB"
        );
        for text in ["1.5", "99999999999 PB", "1.1.1 GB", "20000 PiB"] {
            assert_eq!(
                refused(text),
                format!("`{text}` is not a whole number within range")
            );
        }
        assert!("10".parse::<Span>().is_err());
    }
}
