//! In a browser: its timers, and its event loop as the one thread.

pub use n0_future::task::{AbortOnDropHandle, JoinError, JoinHandle, JoinSet, spawn};

/// Runs work that computes for long. There is no other thread here: it runs on this one, between
/// other tasks, which is why the app keeps all of this in a worker, off the thread that draws.
pub fn spawn_blocking<T, F>(work: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    spawn(async move { work() })
}

/// Clocks and limits on waits.
pub mod time {
    use n0_future::time::Timeout;
    pub use n0_future::time::{Instant, SystemTime, sleep, sleep_until, timeout};

    /// Waits for `future` until `deadline`.
    pub fn timeout_at<F: IntoFuture>(deadline: Instant, future: F) -> Timeout<F::IntoFuture> {
        timeout(deadline.saturating_duration_since(Instant::now()), future)
    }
}
