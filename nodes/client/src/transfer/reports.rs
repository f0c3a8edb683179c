//! What was seen of Hosts, told to the Bridge: worth a moment, never a failure.

use std::time::Duration;

use model::wire::api::{Report, Reports};
use model::wire::limits::REPORTS_MAX;
use tasks::time::timeout;

use crate::bridge_api::BridgeApi;

/// What is told to the Bridge without need may take this long.
pub(crate) const COURTESY: Duration = Duration::from_secs(2);

/// Reports that wait for the end of an operation; further ones are dropped.
#[derive(Debug, Default)]
pub(crate) struct ReportBook {
    reports: Vec<Report>,
}

impl ReportBook {
    pub(crate) fn note(&mut self, reports: Vec<Report>) {
        let room = REPORTS_MAX.saturating_sub(self.reports.len());
        self.reports.extend(reports.into_iter().take(room));
    }

    /// Sends what was noted.
    pub(crate) async fn tell(&mut self, api: &BridgeApi) {
        if self.reports.is_empty() {
            return;
        }
        let reports = Reports {
            reports: std::mem::take(&mut self.reports),
        };
        if !matches!(timeout(COURTESY, api.report(&reports)).await, Ok(Ok(()))) {
            tracing::debug!(reports = reports.reports.len(), "reports did not arrive");
        }
    }
}
