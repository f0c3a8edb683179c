//! Time in the simulation: whole minutes since a Monday at midnight, UTC.

use model::units::UnixMs;

/// Minutes since the start.
pub(crate) type Minute = u32;

pub(crate) const HOUR: Minute = 60;
pub(crate) const DAY: Minute = 24 * HOUR;
/// Never, or not yet.
pub(crate) const NEVER: Minute = Minute::MAX;

const MINUTE_MS: u64 = 60_000;
/// Monday 2024-01-01 00:00 UTC.
const START: UnixMs = UnixMs(1_704_067_200_000);

/// As the Bridge's clock says it.
pub(crate) fn moment(at: Minute) -> UnixMs {
    START.plus_ms(u64::from(at) * MINUTE_MS)
}

/// A span of the Bridge's, rounded up.
pub(crate) fn minutes(ms: u64) -> Minute {
    Minute::try_from(ms.div_ceil(MINUTE_MS)).unwrap_or(NEVER)
}
