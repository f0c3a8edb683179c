//! `xcloud put`.

use std::path::PathBuf;
use std::sync::Arc;

use client::drive::upload::{PutReport, PutRequest};
use client::drive::{Drive, Tally, Watcher};
use serde::Serialize;

use super::{remote, split_last};
use crate::cli::PutArgs;
use crate::exit::{Exit, Failure};
use crate::printer::{Printer, human_bytes};
use crate::progress::{Bar, Direction, FailedFile};
use crate::signals;

#[derive(Serialize)]
struct Put {
    stored: u64,
    bytes: u64,
    resumed_bytes: u64,
    unchanged: u64,
    failed: u64,
    failures: Vec<FailedFile>,
    class: Option<String>,
    seconds: f64,
}

pub(super) async fn put(drive: &Drive, args: PutArgs, printer: Printer) -> Result<Exit, Failure> {
    let (locals, to) = split_last(args.paths)?;
    let request = PutRequest {
        locals: locals.into_iter().map(PathBuf::from).collect(),
        remote: remote(&to)?,
        class: args.class,
    };
    let tally = Arc::new(Tally::default());
    let bar = Bar::start(printer, Direction::Up, &tally);
    let names = bar.names(printer);
    let watcher: Arc<dyn Watcher> = Arc::clone(&names) as Arc<dyn Watcher>;
    let outcome = tokio::select! {
        outcome = Box::pin(drive.put(request, &tally, &watcher)) => Some(outcome),
        () = signals::asked_to_end() => None,
    };
    let seconds = bar.end().as_secs_f64();
    let report = match outcome {
        Some(Ok(report)) => report,
        Some(Err(error)) => {
            tell_kept(&tally, printer);
            return Err(error.into());
        }
        None => {
            tell_kept(&tally, printer);
            return Ok(Exit::Interrupted);
        }
    };
    let resumed_bytes = tally.transfer.bytes_resumed.get();
    if printer.json {
        let PutReport {
            stored,
            bytes,
            unchanged,
            failed,
            class,
        } = report;
        let class = class.map(|class| class.to_string());
        let failures = names.take_failed();
        printer.value(&Put {
            stored,
            bytes,
            resumed_bytes,
            unchanged,
            failed,
            failures,
            class,
            seconds,
        })?;
    }
    printer.remark(&summary(&report, resumed_bytes, seconds));
    Ok(if report.failed > 0 {
        Exit::SomeFailed
    } else {
        Exit::Done
    })
}

/// Tells what an end before its time does not cost.
fn tell_kept(tally: &Tally, printer: Printer) {
    let (kept, found) = (tally.transfer.bytes_kept.get(), tally.bytes_found.get());
    if kept > 0 {
        let (kept, found) = (human_bytes(kept), human_bytes(found));
        printer.remark(&format!(
            "{kept} of {found} are stored; run the same command to go on"
        ));
    }
}

fn summary(report: &PutReport, resumed_bytes: u64, seconds: f64) -> String {
    let rate = super::rate(report.bytes.saturating_sub(resumed_bytes), seconds);
    let mut text = format!(
        "{} files stored, {}{rate}",
        report.stored,
        human_bytes(report.bytes)
    );
    if resumed_bytes > 0 {
        let resumed = human_bytes(resumed_bytes);
        text += &format!("; {resumed} were stored before");
    }
    if report.unchanged > 0 {
        text += &format!("; {} unchanged", report.unchanged);
    }
    if let Some(class) = report.class {
        text += &format!("; {class}");
    }
    if report.failed > 0 {
        text += &format!("; {} FAILED", report.failed);
    }
    text
}
