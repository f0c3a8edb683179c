//! The hours of the week in which a Host promises to be there.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::units::UnixMs;

const HOURS: usize = 168;
const HOUR_MS: u64 = 3_600_000;
/// 1970-01-01 was a Thursday: hour 0 of the Unix epoch is hour 72 of a week from Monday.
const EPOCH_HOUR_OF_WEEK: u64 = 72;

/// 168 bits, hour 0 being Monday 00:00–01:00 UTC. Text form: 42 hexadecimal characters, the first
/// hour in the highest bit of the first, or `always`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Schedule([u8; HOURS / 8]);

/// Text that is no schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a schedule: expected `always` or 42 hexadecimal characters, one bit an hour from Monday 00:00 UTC"
)]
pub struct HoursPerWeekError;

impl Schedule {
    /// Every hour.
    pub const ALWAYS: Self = Self([0xff; HOURS / 8]);

    /// Whether the hour that holds `at` is promised.
    #[must_use]
    pub fn promises(&self, at: UnixMs) -> bool {
        let hour = (at.0 / HOUR_MS + EPOCH_HOUR_OF_WEEK) % HOURS as u64;
        let (byte, bit) = (usize::try_from(hour / 8).unwrap_or(0), hour % 8);
        self.0
            .get(byte)
            .is_some_and(|byte| byte & (0x80 >> bit) != 0)
    }

    /// Milliseconds between `from` and `to` that are promised.
    #[must_use]
    pub fn promised_ms(&self, from: UnixMs, to: UnixMs) -> u64 {
        const WEEK_MS: u64 = HOURS as u64 * HOUR_MS;
        let span = to.since_ms(from);
        let weeks = span / WEEK_MS;
        let mut promised = weeks * u64::from(self.hours()) * HOUR_MS;
        let mut at = from.plus_ms(weeks * WEEK_MS);
        while at < to {
            let next = UnixMs((at.0 / HOUR_MS + 1).saturating_mul(HOUR_MS)).min(to);
            if self.promises(at) {
                promised += next.since_ms(at);
            }
            at = next;
        }
        promised
    }

    /// Hours promised in a week: 0..=168.
    #[must_use]
    pub fn hours(&self) -> u32 {
        self.0.iter().map(|byte| byte.count_ones()).sum()
    }
}

impl Default for Schedule {
    fn default() -> Self {
        Self::ALWAYS
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Self::ALWAYS {
            return f.write_str("always");
        }
        f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Schedule({self})")
    }
}

impl FromStr for Schedule {
    type Err = HoursPerWeekError;

    fn from_str(text: &str) -> Result<Self, HoursPerWeekError> {
        if text == "always" {
            return Ok(Self::ALWAYS);
        }
        let bytes = data_encoding::HEXLOWER_PERMISSIVE
            .decode(text.as_bytes())
            .map_err(|_| HoursPerWeekError)?;
        bytes.try_into().map(Self).map_err(|_| HoursPerWeekError)
    }
}

impl Serialize for Schedule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Schedule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_counted_from_monday() {
        // 2024-01-01 00:00 UTC was a Monday.
        let monday = UnixMs(1_704_067_200_000);
        let first: Schedule = format!("8{}", "0".repeat(41)).parse().unwrap();
        assert_eq!(first.hours(), 1);
        assert!(first.promises(monday));
        assert!(first.promises(monday.plus_ms(HOUR_MS - 1)));
        assert!(!first.promises(monday.plus_ms(HOUR_MS)));
        assert!(first.promises(monday.plus_ms(HOURS as u64 * HOUR_MS)));
        assert!(Schedule::ALWAYS.promises(monday));
        assert!("8".parse::<Schedule>().is_err());
    }

    #[test]
    fn only_promised_time_is_counted() {
        let monday = UnixMs(1_704_067_200_000);
        let first: Schedule = format!("8{}", "0".repeat(41)).parse().unwrap();
        let half = HOUR_MS / 2;
        let (early, late) = (UnixMs(monday.0 - half), monday.plus_ms(half));
        assert_eq!(first.promised_ms(early, late), half);
        assert_eq!(first.promised_ms(late, early), 0);
        let weeks = monday.plus_ms(3 * 168 * HOUR_MS + half);
        assert_eq!(first.promised_ms(monday, weeks), 3 * HOUR_MS + half);
        assert_eq!(Schedule::ALWAYS.promised_ms(early, late), HOUR_MS);
    }
}
