//! Start-up and shut-down of a program: configuration, logs, metrics, signals.
//!
//! Small things every program needs in the same way. Nothing here knows what the program does.

mod backoff;
mod config;
mod files;
mod folder;
mod logs;
mod metered;
mod quantity;
mod signals;

pub use backoff::Backoff;
pub use config::{ConfigError, layered};
pub use files::raise_open_files;
pub use folder::{FolderLock, FolderLockError};
pub use logs::{LogFormat, LogFormatError, LogsError, start_logs};
pub use metered::{Metrics, MetricsError};
pub use quantity::{QuantityError, Size, Span};
pub use signals::stop_on_signal;
