//! What happened in a run, in order, with the simulated time; and its hash.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

use crate::environment::Clock;

/// The events of a run. A clone writes to the same trace.
#[derive(Clone, Debug)]
pub(crate) struct Trace {
    clock: Clock,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    lines: Vec<String>,
    violations: Vec<String>,
}

impl Trace {
    pub(crate) fn new(clock: Clock) -> Self {
        Self {
            clock,
            inner: Arc::default(),
        }
    }

    /// `who` did or met `what`.
    pub(crate) fn note(&self, who: &str, what: impl fmt::Display) {
        let ms = self.clock.ms();
        let line = format!("{:>4}.{:03} {who:<5} {what}", ms / 1_000, ms % 1_000);
        self.lock().lines.push(line);
    }

    /// Something happened that must never happen.
    pub(crate) fn violation(&self, who: &str, what: impl fmt::Display) {
        let text = format!("{who}: {what}");
        self.note(who, format_args!("VIOLATION {what}"));
        self.lock().violations.push(text);
    }

    /// Everything noted so far, and everything that must never happen and did.
    pub(crate) fn take(&self) -> (Vec<String>, Vec<String>) {
        let mut inner = self.lock();
        let Inner { lines, violations } = &mut *inner;
        (std::mem::take(lines), std::mem::take(violations))
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The SHA-256 of `lines`, in hexadecimal.
pub(crate) fn hash(lines: &[String]) -> String {
    let mut hasher = Sha256::new();
    for line in lines {
        hasher.update(line.as_bytes());
        hasher.update(b"\n");
    }
    HEXLOWER.encode(&hasher.finalize())
}
