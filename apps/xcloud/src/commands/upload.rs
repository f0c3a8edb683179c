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

#[derive(Serialize)]
struct Put {
    stored: u64,
    bytes: u64,
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
    let outcome = Box::pin(drive.put(request, &tally, &watcher)).await;
    let seconds = bar.end().as_secs_f64();
    let report = outcome?;
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
            unchanged,
            failed,
            failures,
            class,
            seconds,
        })?;
    }
    printer.remark(&summary(&report, seconds));
    Ok(if report.failed > 0 {
        Exit::SomeFailed
    } else {
        Exit::Done
    })
}

fn summary(report: &PutReport, seconds: f64) -> String {
    let rate = super::rate(report.bytes, seconds);
    let mut text = format!(
        "{} files stored, {}{rate}",
        report.stored,
        human_bytes(report.bytes)
    );
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
