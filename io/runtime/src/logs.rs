//! Logs on standard error: for people, or one JSON object a line.

use std::io::IsTerminal as _;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::TryInitError;
use tracing_subscriber::{
    Layer as _, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _,
};

/// Environment variable with a filter such as `info,host=debug`.
const FILTER_VARIABLE: &str = "XCLOUD_LOG";

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people; coloured on a terminal.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// Why logging did not start.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The filter in the environment is not understood.
    #[error("the filter in {FILTER_VARIABLE} is not understood")]
    Filter(#[source] ParseError),
    /// Somebody else in this process started logging before.
    #[error("logging has been started already")]
    Twice(#[source] TryInitError),
}

/// Text that names no log format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is neither human nor json")]
pub struct LogFormatError {
    text: String,
}

impl FromStr for LogFormat {
    type Err = LogFormatError;

    fn from_str(text: &str) -> Result<Self, LogFormatError> {
        match text {
            "human" => Ok(Self::Human),
            "json" => Ok(Self::Json),
            _ => Err(LogFormatError {
                text: text.to_owned(),
            }),
        }
    }
}

/// Starts logging to standard error at `level` and above (`"info"`, `"warn"`, …), unless
/// `XCLOUD_LOG` says otherwise.
///
/// # Errors
/// [`LogsError`] for a filter that is not understood and for a second call.
pub fn start_logs(format: LogFormat, level: &str) -> Result<(), LogsError> {
    let filter = match std::env::var(FILTER_VARIABLE) {
        Ok(filter) => EnvFilter::try_new(filter),
        Err(_) => EnvFilter::try_new(level),
    };
    let filter = filter.map_err(LogsError::Filter)?;
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Human => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()
        .map_err(LogsError::Twice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_have_names() {
        assert_eq!("json".parse(), Ok(LogFormat::Json));
        assert_eq!("human".parse(), Ok(LogFormat::Human));
        assert_eq!(
            "xml".parse::<LogFormat>().unwrap_err().to_string(),
            "`xml` is neither human nor json"
        );
    }
}
