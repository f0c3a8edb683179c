//! On an operating system: tokio.

pub use tokio::task::{JoinError, JoinHandle, JoinSet, spawn};
pub use tokio_util::task::AbortOnDropHandle;

/// Clocks and limits on waits.
pub mod time {
    pub use std::time::SystemTime;
    pub use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::time::{Instant, sleep, timeout_at};

    #[tokio::test(start_paused = true)]
    async fn the_clock_is_the_one_that_tests_pause() {
        let began = Instant::now();
        let hour = Duration::from_secs(3_600);
        assert!(timeout_at(began + hour, sleep(2 * hour)).await.is_err());
        assert_eq!(began.elapsed(), hour);
    }
}
