//! Measures how long a peer lets us wait, so that a crawling one is cut and a busy one is not.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep};

/// A peer was slower than the minimum rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{moved_bytes} bytes moved, {} ms behind the minimum rate", behind.as_millis())]
pub struct TooSlow {
    /// Bytes that were moved in all.
    pub moved_bytes: u64,
    /// Time waited beyond what those bytes allowed.
    pub behind: Duration,
}

/// The slowest transfer that is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// Waiting that is forgiven.
    pub(crate) grace: Duration,
    /// The rate at which bytes make up for waiting.
    pub(crate) bytes_per_second: u64,
}

/// Waiting is a debt, moved bytes pay it back, a debt above the grace ends the transfer.
///
/// Only time in which our side asked and the peer did not answer counts.
#[derive(Debug)]
pub(crate) struct Meter {
    pace: Pace,
    moved_bytes: u64,
    debt: Duration,
    waiting_since: Option<Instant>,
    /// Kept over many waits and set anew only when it rings, so that fast transfers hardly
    /// touch the timer; it may ring up to one grace late.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Meter {
    pub(crate) const fn new(pace: Pace) -> Self {
        Self {
            pace,
            moved_bytes: 0,
            debt: Duration::ZERO,
            waiting_since: None,
            alarm: None,
        }
    }

    /// The peer answered: with `bytes`, or with the end.
    pub(crate) fn moved(&mut self, bytes: usize) {
        let waited = self
            .waiting_since
            .take()
            .map_or(Duration::ZERO, |since| since.elapsed());
        self.moved_bytes = self.moved_bytes.saturating_add(bytes as u64);
        let paid_us = (bytes as u64).saturating_mul(1_000_000) / self.pace.bytes_per_second.max(1);
        self.debt = (self.debt + waited).saturating_sub(Duration::from_micros(paid_us));
    }

    /// The peer lets us wait; ready once that has been too long.
    pub(crate) fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<TooSlow> {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let alarm = self
            .alarm
            .get_or_insert_with(|| Box::pin(sleep(self.pace.grace)));
        loop {
            ready!(alarm.as_mut().poll(cx));
            let behind = self.debt + since.elapsed();
            if behind >= self.pace.grace {
                return Poll::Ready(TooSlow {
                    moved_bytes: self.moved_bytes,
                    behind,
                });
            }
            alarm
                .as_mut()
                .reset(Instant::now() + (self.pace.grace - behind));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    const PACE: Pace = Pace {
        grace: Duration::from_secs(10),
        bytes_per_second: 1000,
    };

    /// Waits `ms`, then `bytes` come.
    async fn step(meter: &mut Meter, ms: u64, bytes: usize) -> Result<(), TooSlow> {
        tokio::select! {
            biased;
            slow = poll_fn(|cx| meter.poll_waiting(cx)) => Err(slow),
            () = sleep(Duration::from_millis(ms)) => {
                meter.moved(bytes);
                Ok(())
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_after_the_grace() {
        let mut meter = Meter::new(PACE);
        let slow = step(&mut meter, 60_000, 0).await.unwrap_err();
        assert_eq!(slow.moved_bytes, 0);
        assert!(slow.behind >= PACE.grace && slow.behind < PACE.grace + Duration::from_secs(1));
    }

    #[tokio::test(start_paused = true)]
    async fn the_minimum_rate_may_go_on_forever() {
        let mut meter = Meter::new(PACE);
        for _ in 0..1000 {
            step(&mut meter, 1000, 1000).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn half_the_rate_ends_within_four_graces() {
        let mut meter = Meter::new(PACE);
        let mut seconds = 0;
        while step(&mut meter, 1000, 500).await.is_ok() {
            seconds += 1;
        }
        assert!((18..=40).contains(&seconds), "{seconds}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_fast_start_buys_no_long_silence() {
        let mut meter = Meter::new(PACE);
        step(&mut meter, 1, 1_000_000_000).await.unwrap();
        step(&mut meter, 60_000, 0).await.unwrap_err();
    }
}
