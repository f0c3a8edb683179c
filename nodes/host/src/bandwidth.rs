//! A cap on bytes per second, shared by all transfers of one direction.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Unused time that may be made up for at once.
const BURST: Duration = Duration::from_millis(100);

/// Hands out the moments at which bytes may move; without a cap, always now.
#[derive(Debug)]
pub(crate) struct Bandwidth {
    bytes_per_s: Option<u64>,
    /// When everything granted so far will have moved at the capped rate.
    busy_until: Mutex<Option<Instant>>,
}

impl Bandwidth {
    pub(crate) const fn new(bytes_per_s: Option<u64>) -> Self {
        Self {
            bytes_per_s,
            busy_until: Mutex::new(None),
        }
    }

    /// Waits until `bytes` may move.
    pub(crate) async fn grant(&self, bytes: usize) {
        let Some(bytes_per_s) = self.bytes_per_s.filter(|cap| *cap > 0) else {
            return;
        };
        let micros = (bytes as u64).saturating_mul(1_000_000) / bytes_per_s;
        let start = self.book(Instant::now(), Duration::from_micros(micros));
        sleep_until(start).await;
    }

    /// Books a stretch of `takes` and returns when it starts.
    fn book(&self, now: Instant, takes: Duration) -> Instant {
        let mut busy_until = self
            .busy_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let start = busy_until.unwrap_or(earliest).max(earliest);
        *busy_until = Some(start + takes);
        start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn bytes_move_at_the_cap_and_no_faster() {
        let capped = Bandwidth::new(Some(1_000));
        let start = Instant::now();
        for _ in 0..10 {
            capped.grant(500).await;
        }
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(4_300) && took <= Duration::from_millis(4_600));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_cap_nothing_waits() {
        let start = Instant::now();
        Bandwidth::new(None).grant(usize::MAX).await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
