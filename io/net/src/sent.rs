//! Watches a request on its way out: who stops taking it is told from who takes it slowly.
//!
//! Handed over means taken by the socket. The kernel is told to take little ahead of the network
//! (`sockets/connect.rs`), so what is handed over follows what the peer takes. Without sockets the
//! carrier says what was taken.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tasks::time::{Instant, timeout_at};
use tokio::sync::Notify;

use crate::error::Step;

/// Some of a request waits in buffers after it was handed over, so an answer may take as long as
/// the request took, but for that reason not longer than this.
const BUFFERED_MAX: Duration = Duration::from_secs(20);

/// What a connection handed over so far. A clone tells the same.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    state: Mutex<State>,
    /// Rings when the request under way is complete.
    complete: Notify,
}

#[derive(Clone, Copy, Debug)]
struct State {
    bytes: u64,
    newest: Instant,
    /// Once there are so many bytes, no more than the length of a head is left of the request.
    complete_at: u64,
}

/// How long each part of an exchange may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// Without any of the request being taken.
    pub(crate) stall: Duration,
    /// From the last of the request to the answer.
    pub(crate) answer: Duration,
}

/// A request that began to be sent at a certain moment.
#[derive(Debug)]
pub(crate) struct Watch {
    sent: Sent,
    began: Instant,
    patience: Patience,
}

impl Sent {
    pub(crate) fn new() -> Self {
        let state = State {
            bytes: 0,
            newest: Instant::now(),
            complete_at: 0,
        };
        Self {
            inner: Arc::new(Inner {
                state: Mutex::new(state),
                complete: Notify::new(),
            }),
        }
    }

    /// Watches a request with a body of `body_bytes`, which begins now.
    pub(crate) fn watch(&self, body_bytes: u64, patience: Patience) -> Watch {
        let mut state = self.state();
        state.complete_at = state.bytes.saturating_add(body_bytes);
        Watch {
            sent: self.clone(),
            began: Instant::now(),
            patience,
        }
    }

    /// Takes note of `bytes` more.
    pub(crate) fn add(&self, bytes: usize) {
        let mut state = self.state();
        let was_complete = state.is_complete();
        state.bytes = state.bytes.saturating_add(bytes as u64);
        state.newest = Instant::now();
        if !was_complete && state.is_complete() {
            self.inner.complete.notify_one();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    const fn is_complete(&self) -> bool {
        self.bytes >= self.complete_at
    }
}

impl Watch {
    /// Returns once the peer took longer than it may, with what it was to do and the limit.
    pub(crate) async fn overdue(&self) -> (Step, Duration) {
        loop {
            let state = *self.sent.state();
            let since = state.newest.max(self.began);
            let (step, limit) = if state.is_complete() {
                let buffered = (since - self.began).min(BUFFERED_MAX);
                let limit = self.patience.answer.max(buffered);
                (Step::Answer, limit)
            } else {
                (Step::Send, self.patience.stall)
            };
            if since.elapsed() >= limit {
                return (step, limit);
            }
            // Which of the two it was is looked up above.
            let _either = timeout_at(since + limit, self.sent.inner.complete.notified()).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use tasks::time::sleep;

    use super::*;

    const PATIENCE: Patience = Patience {
        stall: Duration::from_secs(10),
        answer: Duration::from_secs(7),
    };

    /// Takes `bytes` every `every_s` seconds, `times` over, and then nothing; returns what was
    /// overdue after how many seconds.
    async fn overdue(body: u64, every_s: u64, bytes: usize, times: u32) -> (Step, u64, u64) {
        let sent = Sent::new();
        // An exchange before this one.
        sent.add(1_000_000);
        let (watch, began) = (sent.watch(body, PATIENCE), Instant::now());
        let taking = async {
            for _ in 0..times {
                sleep(Duration::from_secs(every_s)).await;
                sent.add(bytes);
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            biased;
            () = taking => unreachable!(),
            (step, limit) = watch.overdue() => (step, limit.as_secs(), began.elapsed().as_secs()),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_body_is_to_be_answered_at_once() {
        assert_eq!(overdue(0, 0, 0, 0).await, (Step::Answer, 7, 7));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_taken_is_a_stall() {
        assert_eq!(overdue(100, 0, 0, 0).await, (Step::Send, 10, 10));
        assert_eq!(overdue(100, 2, 10, 9).await, (Step::Send, 10, 28));
    }

    #[tokio::test(start_paused = true)]
    async fn the_answer_counts_from_the_end_of_the_body() {
        assert_eq!(overdue(100, 1, 20, 5).await, (Step::Answer, 7, 12));
        assert_eq!(overdue(100, 2, 100, 1).await, (Step::Answer, 7, 9));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_body_gives_the_answer_more_time_within_bounds() {
        assert_eq!(overdue(100, 5, 50, 2).await, (Step::Answer, 10, 20));
        assert_eq!(overdue(100, 9, 1, 100).await, (Step::Answer, 20, 920));
    }
}
