//! Waiting and tasks, natively and in a browser, under one name each.
//!
//! Natively everything here *is* tokio's, the same types and functions, so its paused clock works
//! in tests and nothing is wrapped; only [`spawn_blocking`] looks first whether this is the thread
//! of a simulation ([`Inline`]), which has no other threads. tokio's clock and `spawn` panic in a browser; there the same
//! names lead to timers and tasks of the browser's event loop.
//!
//! `tokio::sync` and `tokio::select!` work on both and are used directly. What must never be used
//! in code that runs in a browser: `tokio::time`, `tokio::task`, and the clocks of `std::time`.

#[cfg(target_family = "wasm")]
mod browser;
#[cfg(not(target_family = "wasm"))]
mod inline;
#[cfg(not(target_family = "wasm"))]
mod native;

#[cfg(target_family = "wasm")]
pub use browser::{AbortOnDropHandle, JoinError, JoinHandle, JoinSet, spawn, spawn_blocking, time};
#[cfg(not(target_family = "wasm"))]
pub use inline::{Inline, Pace, is_inline, keep_pace, spawn_blocking};
#[cfg(not(target_family = "wasm"))]
pub use native::{AbortOnDropHandle, JoinError, JoinHandle, JoinSet, spawn, time};
