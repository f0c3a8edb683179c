//! Work that would block, done on the very thread that asks for it: for a simulated network, whose
//! every run must be the same.
//!
//! Which thread that is, is told by a guard, since a simulation is one thread and many of them may
//! run side by side. Programs never take the guard; for them all this is one look at a flag.

use std::cell::Cell;
use std::marker::PhantomData;
use std::time::Duration;

use tokio::task::JoinHandle;

/// How long the simulated machine is busy with a piece of blocking work that starts now.
pub type Pace = fn() -> Duration;

thread_local! {
    static PACE: Cell<Option<Pace>> = const { Cell::new(None) };
}

/// As long as it lives, [`spawn_blocking`] on this thread is work of this thread.
#[derive(Debug)]
pub struct Inline {
    before: Option<Pace>,
    /// It belongs to its thread.
    _thread: PhantomData<*const ()>,
}

impl Inline {
    /// From now on blocking work that this thread asks for is done by this thread, in its turn
    /// among the runtime's tasks, after the time that `pace` says.
    #[must_use]
    pub fn here(pace: Pace) -> Self {
        Self {
            before: PACE.replace(Some(pace)),
            _thread: PhantomData,
        }
    }
}

impl Drop for Inline {
    fn drop(&mut self) {
        PACE.set(self.before);
    }
}

/// Whether blocking work of this thread is done by itself.
#[must_use]
pub fn is_inline() -> bool {
    PACE.get().is_some()
}

/// Waits as long as the simulated machine is busy with a piece of work; not at all elsewhere.
pub async fn keep_pace() {
    let takes = PACE.get().map_or(Duration::ZERO, |pace| pace());
    if !takes.is_zero() {
        tokio::time::sleep(takes).await;
    }
}

/// Runs work that may block or computes for long on a thread for that; see [`Inline`] for where
/// there is none.
#[track_caller]
pub fn spawn_blocking<T, F>(work: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    if is_inline() {
        return tokio::spawn(async move {
            keep_pace().await;
            work()
        });
    }
    tokio::task::spawn_blocking(work)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn inline_work_stays_on_its_thread_and_takes_simulated_time() {
        let here = thread::current().id();
        let elsewhere = spawn_blocking(|| thread::current().id()).await.unwrap();
        assert_ne!(elsewhere, here);

        let inline = Inline::here(|| Duration::from_secs(5));
        let began = Instant::now();
        let found = spawn_blocking(|| thread::current().id()).await.unwrap();
        assert_eq!((found, began.elapsed().as_secs()), (here, 5));
        assert!(is_inline());

        drop(inline);
        assert!(!is_inline());
    }
}
