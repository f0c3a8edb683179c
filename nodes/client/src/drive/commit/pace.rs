//! How long to wait before a commit that lost its race is tried again.
//!
//! Only one of several devices can put the next root. Who lost waits a random while, so that they
//! do not meet again; longer at first, and ever shorter for who keeps losing: everybody gets a turn.

use std::time::Duration;

use tasks::time::{Instant, sleep};

use super::CommitError;
use crate::transfer::Environment;

/// A commit that others overtook for so long is given up.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// The longest single wait.
const WAIT_MAX: Duration = Duration::from_secs(2);
/// After so many lost races the waits get shorter again.
const LOST_MOST_PATIENT: u32 = 4;

/// The races of one commit.
#[derive(Debug)]
pub(super) struct Pace {
    began: Instant,
    tried: Instant,
    lost: u32,
}

impl Pace {
    pub(super) fn start() -> Self {
        let now = Instant::now();
        Self {
            began: now,
            tried: now,
            lost: 0,
        }
    }

    /// Notes a lost race and waits for the next.
    ///
    /// # Errors
    /// [`CommitError::Overtaken`] where patience ends.
    pub(super) async fn lost(&mut self, environment: &dyn Environment) -> Result<(), CommitError> {
        self.lost += 1;
        if self.began.elapsed() >= PATIENCE {
            return Err(CommitError::Overtaken { lost: self.lost });
        }
        let most = spread(self.lost, self.tried.elapsed());
        let most_us = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
        sleep(Duration::from_micros(environment.draw(most_us))).await;
        self.tried = Instant::now();
        Ok(())
    }
}

/// The longest wait after `lost` races of which the last took `took`.
fn spread(lost: u32, took: Duration) -> Duration {
    let doublings = if lost <= LOST_MOST_PATIENT {
        lost
    } else {
        (2 * LOST_MOST_PATIENT).saturating_sub(lost)
    };
    (took * (1 << doublings)).min(WAIT_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_keeps_losing_waits_shorter() {
        let took = Duration::from_millis(10);
        let waits: Vec<_> = (1..=10)
            .map(|lost| spread(lost, took).as_millis())
            .collect();
        assert_eq!(waits, [20, 40, 80, 160, 80, 40, 20, 10, 10, 10]);
        assert_eq!(spread(4, Duration::from_secs(9)), WAIT_MAX);
    }
}
