//! Metrics of this process, as Prometheus reads them. Whoever serves HTTP shows the text.

use std::fmt;

use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};

/// Upper bounds of histograms of seconds: from 1 ms to 1 minute.
const SECONDS_BUCKETS: [f64; 12] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0, 60.0,
];

/// Media type of [`Metrics::render`].
const MEDIA_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What the `metrics` macros of this process have recorded.
#[derive(Clone)]
pub struct Metrics {
    handle: PrometheusHandle,
}

/// Metrics could not be started: somebody in this process did before.
#[derive(Debug, thiserror::Error)]
#[error("metrics cannot be recorded")]
pub struct MetricsError(#[source] BuildError);

impl Metrics {
    /// Begins to record. Once per process.
    ///
    /// # Errors
    /// [`MetricsError`] the second time.
    pub fn start() -> Result<Self, MetricsError> {
        PrometheusBuilder::new()
            .set_buckets(&SECONDS_BUCKETS)
            .and_then(PrometheusBuilder::install_recorder)
            .map(|handle| Self { handle })
            .map_err(MetricsError)
    }

    /// The media type of the text.
    #[must_use]
    pub const fn media_type() -> &'static str {
        MEDIA_TYPE
    }

    /// Everything recorded so far, in Prometheus's text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.handle.run_upkeep();
        self.handle.render()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_recorded_is_shown() {
        let metrics = Metrics::start().unwrap();
        metrics::counter!("xcloud_test_shards_total").increment(3);
        metrics::histogram!("xcloud_test_duration_seconds").record(0.02);
        let text = metrics.render();
        assert!(text.contains("xcloud_test_shards_total 3"), "{text}");
        assert!(
            text.contains("xcloud_test_duration_seconds_bucket{le=\"0.025\"} 1"),
            "{text}"
        );
        Metrics::start().unwrap_err();
    }
}
