//! What was seen of Hosts, told to the Bridge: worth a moment, never a failure.
//!
//! A shard that is bad or missing outranks Hosts that were merely slow: where there is no room for
//! all, the Bridge still hears of every shard it should look at.

use std::time::Duration;

use model::wire::api::{Report, Reports, Sighting};
use model::wire::limits::REPORTS_MAX;
use tasks::time::timeout;

use crate::bridge_api::BridgeApi;

/// What is told to the Bridge without need may take this long.
pub(crate) const COURTESY: Duration = Duration::from_secs(2);

/// Reports that wait for the end of an operation; those that matter least are dropped.
#[derive(Debug, Default)]
pub(crate) struct ReportBook {
    reports: Vec<Report>,
}

impl ReportBook {
    pub(crate) fn note(&mut self, reports: Vec<Report>) {
        for report in reports {
            if self.reports.len() < REPORTS_MAX {
                self.reports.push(report);
            } else if is_grave(&report)
                && let Some(lesser) = self.reports.iter_mut().find(|report| !is_grave(report))
            {
                *lesser = report;
            }
        }
    }

    /// Whether a batch is full, so that it is better sent before more is noted.
    pub(crate) fn is_full(&self) -> bool {
        self.reports.len() >= REPORTS_MAX
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

/// Whether a shard is gone, as far as the reporter can tell.
const fn is_grave(report: &Report) -> bool {
    matches!(report.saw, Sighting::BadShard | Sighting::Missing)
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::units::HostId;

    fn report(saw: Sighting) -> Report {
        Report {
            host: HostId([1; 32]),
            saw,
            shard: None,
            blob: None,
            segment: None,
            index: None,
        }
    }

    #[test]
    fn bad_shards_take_the_places_of_slow_hosts() {
        let mut book = ReportBook::default();
        book.note(vec![report(Sighting::Slow); REPORTS_MAX + 5]);
        assert!(book.is_full());
        book.note(vec![report(Sighting::BadShard), report(Sighting::Silent)]);
        assert_eq!(book.reports.len(), REPORTS_MAX);
        let bad = book
            .reports
            .iter()
            .filter(|report| is_grave(report))
            .count();
        assert_eq!(bad, 1);
    }
}
