//! What owners saw of Hosts. A report convicts nobody: it is counted, logged, lowers the Host's
//! standing in this process's eyes until its heartbeats restore it, and has shards that are said to
//! be bad asked for at once.

use metastore::HostAlias;
use model::units::{AccountId, HostId};
use model::wire::api::{Report, Reports, Sighting};
use model::wire::limits::REPORTS_MAX;
use model::wire::{Problem, ProblemCode};

use crate::hosts::directory::Directory;
use crate::hosts::roster::Roster;
use crate::place::{Place, SegmentKey};
use crate::refusal::Refusal;

/// Why reports were not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportError {
    /// Too many at once.
    #[error("{reports} reports in one request, limit {REPORTS_MAX}")]
    TooMany {
        /// How many.
        reports: usize,
    },
}

impl Refusal for ReportError {
    fn problem(&self) -> Problem {
        Problem::new(ProblemCode::TooLarge, self.to_string())
    }
}

/// Takes reports. Each Host counts once, whatever is said of it how often; unknown Hosts are
/// passed over.
///
/// # Errors
/// [`ReportError`].
pub fn report(
    directory: &Directory,
    roster: &Roster,
    reports: &Reports,
) -> Result<(), ReportError> {
    if reports.reports.len() > REPORTS_MAX {
        return Err(ReportError::TooMany {
            reports: reports.reports.len(),
        });
    }
    let mut seen: Vec<(HostId, Sighting)> = reports
        .reports
        .iter()
        .map(|report| (report.host, report.saw))
        .collect();
    seen.sort_unstable();
    seen.dedup();
    for (host, saw) in &seen {
        let kind = sighting_label(*saw);
        metrics::counter!("xcloud_bridge_report_sightings_total", "saw" => kind).increment(1);
        tracing::info!(host = %host.short(), saw = kind, "an owner reported a host");
    }
    seen.dedup_by_key(|(host, _)| *host);
    directory.lower(seen.iter().filter_map(|(host, _)| roster.alias_of(host)));
    Ok(())
}

/// Shards that an owner says are bad or missing: their Hosts are asked to prove them at once. An
/// owner speaks of its own shards only; whether the Host keeps such a one is looked up before it is
/// asked.
pub fn suspects(roster: &Roster, account: AccountId, reports: &Reports) -> Vec<(HostAlias, Place)> {
    let suspect = |report: &Report| {
        let bad = matches!(report.saw, Sighting::BadShard | Sighting::Missing);
        let segment = SegmentKey {
            account,
            blob: report.blob?,
            segment: report.segment?,
        };
        let place = segment.slot(report.index?);
        let alias = roster.alias_of(&report.host)?;
        bad.then_some((alias, place))
    };
    reports.reports.iter().filter_map(suspect).collect()
}

const fn sighting_label(saw: Sighting) -> &'static str {
    match saw {
        Sighting::Silent => "silent",
        Sighting::Slow => "slow",
        Sighting::BadShard => "bad_shard",
        Sighting::Missing => "missing",
        Sighting::Refused => "refused",
    }
}
