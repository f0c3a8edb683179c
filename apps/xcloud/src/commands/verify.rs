//! `xcloud verify`.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};

use client::drive::verify::{
    Examiner, Grade, Leaves, SegmentAudit, Verdict, VerifyReport, VerifyRequest,
};
use client::drive::{Drive, Tally, Watcher};
use model::formats::tree::TreePath;
use model::units::HostId;
use serde::Serialize;

use super::remote;
use crate::cli::VerifyArgs;
use crate::exit::{Exit, Failure};
use crate::printer::{ExactPath, Printer, human_bytes};
use crate::progress::{Bar, Direction, FailedFile, Names};

/// Failures and silent Hosts listed in the JSON result; failures are all named on standard error.
const LISTED_MAX: usize = 10_000;

#[derive(Serialize)]
struct Verified {
    #[serde(flatten)]
    path: ExactPath,
    files: u64,
    bytes: u64,
    inline_files: u64,
    files_failed: u64,
    blobs: u64,
    segments: u64,
    segments_lost: u64,
    segments_unavailable: u64,
    shards: Shards,
    /// Shards whose proof failed.
    failures: Vec<FailedShard>,
    /// Segments that do not come back by what was proved.
    short: Vec<ShortSegment>,
    /// Hosts that could not be asked.
    unreachable: Vec<SilentHost>,
    /// Files that do not come back, or of which nothing could be learnt.
    failed: Vec<FailedFile>,
    seconds: f64,
}

#[derive(Serialize)]
struct Shards {
    proved: u64,
    failed: u64,
    unreachable: u64,
    nowhere: u64,
}

#[derive(Serialize)]
struct FailedShard {
    #[serde(flatten)]
    path: ExactPath,
    /// More files of the same pack that lie in the segment.
    other_files: usize,
    blob: String,
    segment: u64,
    index: u16,
    shard: String,
    host: Option<String>,
    name: Option<String>,
    why: &'static str,
}

#[derive(Serialize)]
struct ShortSegment {
    #[serde(flatten)]
    path: ExactPath,
    other_files: usize,
    blob: String,
    segment: u64,
    proved: u16,
    k: u16,
    lost: bool,
}

#[derive(Clone, Serialize)]
struct SilentHost {
    host: String,
    name: String,
    shards: u64,
    why: String,
}

/// Names what is found as it is found, and keeps it for the JSON result.
#[derive(Debug)]
struct Findings {
    names: Arc<Names>,
    found: Mutex<Found>,
}

#[derive(Default)]
struct Found {
    failures: Vec<FailedShard>,
    short: Vec<ShortSegment>,
    silent: BTreeMap<HostId, SilentHost>,
}

impl std::fmt::Debug for Found {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Found")
            .field("failures", &self.failures.len())
            .finish_non_exhaustive()
    }
}

pub(super) async fn verify(
    drive: &Drive,
    args: VerifyArgs,
    printer: Printer,
) -> Result<Exit, Failure> {
    let typed = remote(&args.path)?;
    let request = VerifyRequest {
        path: typed.path.clone(),
        leaves: if args.all { Leaves::All } else { Leaves::One },
    };
    let tally = Arc::new(Tally::default());
    let bar = Bar::start(printer, Direction::Proof, &tally);
    let findings = Arc::new(Findings {
        names: bar.names(printer),
        found: Mutex::default(),
    });
    let examiner = Arc::clone(&findings) as Arc<dyn Examiner>;
    let outcome = drive.verify(&request, &tally, &examiner).await;
    let seconds = bar.end().as_secs_f64();
    let report = outcome?;
    let found = findings.take();
    for host in found.silent.values() {
        let line = format!(
            "{} could not be asked for {} shards: {}",
            host.name, host.shards, host.why
        );
        printer.remark(&line);
    }
    if printer.json {
        let failed = findings.names.take_failed();
        let path = ExactPath::from(&typed.path);
        printer.value(&verified(path, &report, (found, failed), seconds))?;
    } else {
        printer.line(summary(&report))?;
    }
    Ok(report.failure().map_or(Exit::Done, Exit::from))
}

impl Watcher for Findings {
    fn failed(&self, path: &[u8], error: &(dyn Error + 'static)) {
        self.names.failed(path, error);
    }

    fn warned(&self, path: &[u8], remark: &str) {
        self.names.warned(path, remark);
    }
}

impl Examiner for Findings {
    fn unproved(&self, segment: &SegmentAudit, file: &TreePath, others: usize) {
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        for shard in &segment.unproved {
            let host = shard.host.as_ref();
            match &shard.verdict {
                Verdict::Proved | Verdict::Nowhere => {}
                Verdict::Failed(failing) => {
                    let at = host.map_or_else(String::new, |host| {
                        format!(" at {} ({})", host.name, host.id.short())
                    });
                    let place = format!("segment {}, shard {}{at}", segment.segment, shard.index);
                    self.names
                        .warned(&file.to_bytes(), &format!("{place}: {failing}"));
                    if found.failures.len() < LISTED_MAX {
                        found.failures.push(FailedShard {
                            path: ExactPath::from(file),
                            other_files: others,
                            blob: segment.blob.to_string(),
                            segment: segment.segment,
                            index: shard.index,
                            shard: shard.shard.to_string(),
                            host: host.map(|host| host.id.to_string()),
                            name: host.map(|host| host.name.clone()),
                            why: failing.code(),
                        });
                    }
                }
                Verdict::Unreachable(why) => {
                    if let Some(host) = host {
                        found.note_silent(host.id, &host.name, why);
                    }
                }
            }
        }
        let grade = segment.grade();
        if grade >= Grade::Unavailable && found.short.len() < LISTED_MAX {
            found.short.push(ShortSegment {
                path: ExactPath::from(file),
                other_files: others,
                blob: segment.blob.to_string(),
                segment: segment.segment,
                proved: segment.proved,
                k: segment.k,
                lost: grade == Grade::Lost,
            });
        }
    }
}

impl Findings {
    fn take(&self) -> Found {
        std::mem::take(&mut *self.found.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Found {
    fn note_silent(&mut self, host: HostId, name: &str, why: &str) {
        if let Some(silent) = self.silent.get_mut(&host) {
            silent.shards += 1;
        } else if self.silent.len() < LISTED_MAX {
            let silent = SilentHost {
                host: host.to_string(),
                name: name.to_owned(),
                shards: 1,
                why: why.to_owned(),
            };
            self.silent.insert(host, silent);
        }
    }
}

fn verified(
    path: ExactPath,
    report: &VerifyReport,
    (found, failed): (Found, Vec<FailedFile>),
    seconds: f64,
) -> Verified {
    Verified {
        path,
        files: report.files,
        bytes: report.bytes,
        inline_files: report.inline_files,
        files_failed: report.files_failed,
        blobs: report.blobs,
        segments: report.segments,
        segments_lost: report.segments_lost,
        segments_unavailable: report.segments_unavailable,
        shards: Shards {
            proved: report.proved,
            failed: report.failed,
            unreachable: report.unreachable,
            nowhere: report.nowhere,
        },
        failures: found.failures,
        short: found.short,
        unreachable: found.silent.into_values().collect(),
        failed,
        seconds,
    }
}

fn summary(report: &VerifyReport) -> String {
    let VerifyReport {
        files,
        proved,
        failed,
        unreachable,
        nowhere,
        ..
    } = report;
    let mut text = format!(
        "{files} files come back, {}: {proved} shards proved",
        human_bytes(report.bytes)
    );
    for (count, what) in [
        (failed, "FAILED"),
        (unreachable, "could not be asked for"),
        (nowhere, "await repair"),
    ] {
        if *count > 0 {
            text += &format!(", {count} {what}");
        }
    }
    if report.files_failed > 0 {
        text += &format!("; {} files do NOT come back now", report.files_failed);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_says_what_is_proved_and_what_is_not() {
        let mut report = VerifyReport {
            files: 3,
            bytes: 9_000_000,
            inline_files: 1,
            proved: 16,
            ..VerifyReport::default()
        };
        assert_eq!(
            summary(&report),
            "3 files come back, 9.0 MB: 16 shards proved"
        );
        report.failed = 1;
        report.unreachable = 2;
        report.nowhere = 3;
        report.files_failed = 4;
        assert_eq!(
            summary(&report),
            "3 files come back, 9.0 MB: 16 shards proved, 1 FAILED, 2 could not be asked for, \
             3 await repair; 4 files do NOT come back now"
        );
    }
}
