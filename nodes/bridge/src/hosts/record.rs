//! What the Bridge remembers of a Host beyond its offer: how it kept its promises, where the chain
//! of its audits stands, whether it leaves, and whether it is out. Stored as JSON with the Host.

use metastore::{HostRow, HostState, StoreError};
use model::units::UnixMs;
use model::wire::audit::ChainValue;
use model::wire::upkeep::LeaveWish;
use serde::{Deserialize, Serialize};

use crate::corrupt::corrupt;

/// Kept and promised time are halved once so much was promised: what is long ago fades.
const PROMISED_MS_MAX: u64 = 30 * 24 * 3_600_000;
const PPM: u64 = 1_000_000;
/// A Host of which nothing is known yet is believed to keep its hours; its own record weighs in as
/// if it had promised this long before.
const PROMISED_MS_FIRST: u64 = 12 * 3_600_000;

/// What is remembered of a Host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct HostRecord {
    /// Milliseconds it promised to be there, lately.
    pub promised_ms: u64,
    /// Of those, milliseconds it was.
    pub kept_ms: u64,
    /// Where the chain of its audits stands, hexadecimal; empty before the first.
    pub chain: String,
    /// When it last proved a shard.
    pub proved: Option<UnixMs>,
    /// When it was last told of a change of its presence, and what it was.
    pub told: Option<Presence>,
    /// That it is out for good, and why.
    pub out: Option<Out>,
    /// How it leaves.
    pub leaving: Option<Leaving>,
    /// All it keeps is to be checked.
    pub check: bool,
    /// Since when a volume of it is away.
    pub volume_away: Option<UnixMs>,
    /// A volume is away for so long that what lay on it is given up.
    pub volume_lost: bool,
    /// When a retain set was last sent.
    pub retained: UnixMs,
    /// It was told that it is vetted.
    pub vetted_told: bool,
}

/// Presence as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Presence {
    /// Its shards count.
    There,
    /// They count as missing.
    Absent,
    /// They count as gone.
    Lost,
}

/// Why a Host is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Out {
    /// It left, and all it kept has moved.
    Left,
    /// Its record of audits is too bad.
    Disqualified,
    /// The operator said so.
    Declared,
}

/// A Host that gives back some or all of what it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    /// What it wished.
    pub wish: LeaveWish,
    /// When it signed that.
    pub at: UnixMs,
    /// Bytes moved since.
    pub moved_bytes: u64,
    /// Shards moved since.
    pub moved_shards: u64,
    /// Whether it is done.
    pub done: bool,
}

impl Leaving {
    /// Whether shards are still to move away.
    #[must_use]
    pub const fn is_under_way(&self) -> bool {
        !self.done && !matches!(self.wish, LeaveWish::Stay)
    }

    /// Bytes that are still to move, at most.
    #[must_use]
    pub const fn wanted_bytes(&self) -> u64 {
        match self.wish {
            _ if self.done => 0,
            LeaveWish::Stay => 0,
            LeaveWish::Part { bytes } => bytes.saturating_sub(self.moved_bytes),
            LeaveWish::All => u64::MAX,
        }
    }
}

impl HostRecord {
    /// The record of a stored Host.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where it is not one.
    pub fn of(row: &HostRow) -> Result<Self, StoreError> {
        if row.record.is_empty() {
            return Ok(Self::default());
        }
        serde_json::from_slice(&row.record).map_err(|_| corrupt("hosts", "record"))
    }

    /// The stored form.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        // Numbers, texts and enums as JSON: this cannot fail.
        serde_json::to_vec(self).unwrap_or_default()
    }

    /// The value of the chain of audits; zero before the first, or where it is not a value.
    #[must_use]
    pub fn chain_value(&self) -> ChainValue {
        let bytes = data_encoding::HEXLOWER.decode(self.chain.as_bytes());
        let bytes = bytes.ok().and_then(|bytes| bytes.try_into().ok());
        bytes.map(ChainValue).unwrap_or_default()
    }

    /// The chain stands here now.
    pub fn set_chain(&mut self, value: ChainValue) {
        self.chain = data_encoding::HEXLOWER.encode(&value.0);
    }

    /// Counts promised time, and how much of it was kept.
    pub fn count_time(&mut self, promised_ms: u64, kept_ms: u64) {
        self.promised_ms = self.promised_ms.saturating_add(promised_ms);
        self.kept_ms = self.kept_ms.saturating_add(kept_ms.min(promised_ms));
        if self.promised_ms > PROMISED_MS_MAX {
            self.promised_ms /= 2;
            self.kept_ms /= 2;
        }
    }

    /// How much of its promised hours it kept, in millionths.
    #[must_use]
    pub fn kept_ppm(&self) -> u32 {
        let promised = self.promised_ms.saturating_add(PROMISED_MS_FIRST);
        let kept = self.kept_ms.saturating_add(PROMISED_MS_FIRST);
        let ppm = kept.saturating_mul(PPM) / promised;
        u32::try_from(ppm.min(PPM)).unwrap_or(0)
    }

    /// Presence with what outranks it.
    #[must_use]
    pub fn believed(&self, presence: HostState) -> HostState {
        let leaves = self.leaving.is_some_and(|leaving| {
            leaving.is_under_way() && matches!(leaving.wish, LeaveWish::All)
        });
        match presence {
            _ if self.out.is_some() => HostState::Lost,
            // Who signed that it leaves, and is silent for long, is not waited for.
            HostState::Absent if leaves => HostState::Lost,
            presence => presence,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 3_600_000;

    #[test]
    fn promised_hours_count_and_fade() {
        let mut record = HostRecord::default();
        assert_eq!(record.kept_ppm(), 1_000_000);
        record.count_time(36 * HOUR, 12 * HOUR);
        assert_eq!(record.kept_ppm(), 500_000);
        (0..40_000).for_each(|_| record.count_time(HOUR, HOUR));
        assert!(record.kept_ppm() > 995_000 && record.promised_ms <= PROMISED_MS_MAX);
    }

    #[test]
    fn who_leaves_and_is_silent_is_not_waited_for() {
        let leaving = |wish| HostRecord {
            leaving: Some(Leaving {
                wish,
                at: UnixMs(1),
                moved_bytes: 40,
                moved_shards: 1,
                done: false,
            }),
            ..HostRecord::default()
        };
        let all = leaving(LeaveWish::All);
        assert_eq!(all.believed(HostState::Absent), HostState::Lost);
        assert_eq!(all.believed(HostState::Suspect), HostState::Suspect);
        let part = leaving(LeaveWish::Part { bytes: 100 });
        assert_eq!(part.believed(HostState::Absent), HostState::Absent);
        assert_eq!(part.leaving.unwrap().wanted_bytes(), 60);
        let out = HostRecord {
            out: Some(Out::Left),
            ..HostRecord::default()
        };
        assert_eq!(out.believed(HostState::Online), HostState::Lost);
    }
}
