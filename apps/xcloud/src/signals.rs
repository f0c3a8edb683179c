//! Ctrl-C and SIGTERM.

use tokio::signal::unix::{SignalKind, signal};

/// Ends when the user or the system asks the program to end.
pub(crate) async fn asked_to_end() {
    let (Ok(mut interrupt), Ok(mut terminate)) = (
        signal(SignalKind::interrupt()),
        signal(SignalKind::terminate()),
    ) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
