//! `xcloud tidy`.

use std::sync::Arc;

use client::drive::tidy::{TidyReport, TidyRequest};
use client::drive::{Drive, Tally, Watcher};
use serde::Serialize;

use crate::cli::TidyArgs;
use crate::exit::{Exit, Failure};
use crate::printer::{Printer, human_bytes};
use crate::progress::{Bar, Direction, FailedFile};

/// Bytes that one run rewrites at most; the next one goes on.
const RUN_BYTES_MAX: u64 = 1 << 30;

#[derive(Serialize)]
struct Tidied {
    dry_run: bool,
    packs: u64,
    pack_bytes: u64,
    live_bytes: u64,
    moved: u64,
    moved_bytes: u64,
    changed: u64,
    failed: u64,
    emptied: u64,
    more: bool,
    failures: Vec<FailedFile>,
}

pub(super) async fn tidy(drive: &Drive, args: TidyArgs, printer: Printer) -> Result<Exit, Failure> {
    let request = TidyRequest {
        dry_run: args.dry_run,
        bytes_max: RUN_BYTES_MAX,
    };
    let tally = Arc::new(Tally::default());
    let bar = Bar::start(printer, Direction::Down, &tally);
    let names = bar.names(printer);
    let watcher: Arc<dyn Watcher> = Arc::clone(&names) as Arc<dyn Watcher>;
    let outcome = drive.tidy(request, &tally, &watcher).await;
    bar.end();
    let report = outcome?;
    if printer.json {
        printer.value(&Tidied {
            dry_run: args.dry_run,
            packs: report.packs,
            pack_bytes: report.pack_bytes,
            live_bytes: report.live_bytes,
            moved: report.moved,
            moved_bytes: report.moved_bytes,
            changed: report.changed,
            failed: report.failed,
            emptied: report.emptied,
            more: report.is_cut_short,
            failures: names.take_failed(),
        })?;
    }
    printer.remark(&summary(&report, args.dry_run));
    Ok(match (report.failed, report.failure) {
        (0, _) => Exit::Done,
        (_, Some(kind)) => kind.into(),
        (_, None) => Exit::SomeFailed,
    })
}

fn summary(report: &TidyReport, dry_run: bool) -> String {
    let found = format!(
        "{} packs of {} are less than half in use, {} of them",
        report.packs,
        human_bytes(report.pack_bytes),
        human_bytes(report.live_bytes)
    );
    if report.packs == 0 {
        return "nothing to tidy".to_owned();
    }
    if dry_run {
        return found;
    }
    let mut text = format!(
        "{found}; {} files rewritten, {}; {} packs go when retention ends",
        report.moved,
        human_bytes(report.moved_bytes),
        report.emptied
    );
    if report.changed > 0 {
        text += &format!("; {} changed meanwhile", report.changed);
    }
    if report.failed > 0 {
        text += &format!("; {} FAILED", report.failed);
    }
    if report.is_cut_short {
        text += "; there is more, run it again";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summary_says_what_was_done() {
        let report = TidyReport {
            packs: 2,
            pack_bytes: 4_000_000,
            live_bytes: 1_000_000,
            moved: 7,
            moved_bytes: 900_000,
            changed: 1,
            emptied: 2,
            ..TidyReport::default()
        };
        assert_eq!(
            summary(&report, false),
            "2 packs of 4.0 MB are less than half in use, 1.0 MB of them; 7 files rewritten, \
             900.0 kB; 2 packs go when retention ends; 1 changed meanwhile"
        );
        assert_eq!(summary(&TidyReport::default(), true), "nothing to tidy");
    }
}
