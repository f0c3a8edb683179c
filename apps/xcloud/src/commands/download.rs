//! `xcloud get` and `xcloud cat`.

use std::sync::Arc;

use client::drive::download::{GetReport, GetRequest};
use client::drive::{Drive, Tally, Watcher};
use client::transfer::FailureKind;
use serde::Serialize;

use super::{remote, split_last};
use crate::cli::{CatArgs, GetArgs};
use crate::exit::{Exit, Failure};
use crate::printer::{Printer, human_bytes};
use crate::progress::{Bar, Direction, FailedFile};

#[derive(Serialize)]
struct Got {
    written: u64,
    bytes: u64,
    unchanged: u64,
    /// Bytes that an interrupted run had left.
    resumed: u64,
    /// Bytes of shards that came from Hosts.
    received: u64,
    failed: u64,
    failures: Vec<FailedFile>,
    seconds: f64,
}

pub(super) async fn get(drive: &Drive, args: GetArgs, printer: Printer) -> Result<Exit, Failure> {
    let (from, to) = split_last(args.paths)?;
    let remotes = from
        .iter()
        .map(|path| remote(path))
        .collect::<Result<_, _>>()?;
    let request = GetRequest {
        remotes,
        local: to.into(),
        range: args.range,
    };
    let to_stdout = request.local.as_os_str() == "-";
    let tally = Arc::new(Tally::default());
    let bar = Bar::start(printer, Direction::Down, &tally);
    let names = bar.names(printer);
    let watcher: Arc<dyn Watcher> = Arc::clone(&names) as Arc<dyn Watcher>;
    let outcome = drive.get(&request, &tally, &watcher).await;
    let seconds = bar.end().as_secs_f64();
    let report = outcome?;
    if printer.json && !to_stdout {
        let GetReport {
            written,
            bytes,
            unchanged,
            failed,
            ..
        } = report;
        let failures = names.take_failed();
        printer.value(&Got {
            written,
            bytes,
            unchanged,
            resumed: tally.bytes_resumed.get(),
            received: tally.transfer.shard_bytes_received.get(),
            failed,
            failures,
            seconds,
        })?;
    }
    if !to_stdout {
        printer.remark(&summary(&report, seconds));
    }
    Ok(exit_of(&report))
}

pub(super) async fn cat(drive: &Drive, args: CatArgs, printer: Printer) -> Result<Exit, Failure> {
    let remotes: Vec<_> = args
        .paths
        .iter()
        .map(|path| remote(path))
        .collect::<Result<_, _>>()?;
    let tally = Arc::new(Tally::default());
    let bar = Bar::start(printer, Direction::Down, &tally);
    let out = std::io::stdout();
    let outcome = drive.cat(&remotes, args.range, &tally, out).await;
    bar.end();
    outcome?;
    Ok(Exit::Done)
}

/// Missing Hosts and wrong bytes have codes of their own, also where only some files met them.
fn exit_of(report: &GetReport) -> Exit {
    match report.gravest {
        None if report.failed == 0 => Exit::Done,
        Some(kind @ (FailureKind::Unavailable | FailureKind::Integrity | FailureKind::Quota)) => {
            kind.into()
        }
        _ => Exit::SomeFailed,
    }
}

fn summary(report: &GetReport, seconds: f64) -> String {
    let rate = super::rate(report.bytes, seconds);
    let mut text = format!(
        "{} files written, {}{rate}",
        report.written,
        human_bytes(report.bytes)
    );
    if report.unchanged > 0 {
        text += &format!("; {} unchanged", report.unchanged);
    }
    if report.failed > 0 {
        text += &format!("; {} FAILED", report.failed);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gravest_failure_decides() {
        let exit = |failed, gravest| {
            exit_of(&GetReport {
                failed,
                gravest,
                ..GetReport::default()
            })
        };
        assert_eq!(exit(0, None), Exit::Done);
        assert_eq!(exit(1, None), Exit::SomeFailed);
        assert_eq!(exit(1, Some(FailureKind::Local)), Exit::SomeFailed);
        assert_eq!(exit(2, Some(FailureKind::Conflict)), Exit::SomeFailed);
        assert_eq!(exit(2, Some(FailureKind::Unavailable)), Exit::Unavailable);
        assert_eq!(exit(2, Some(FailureKind::Integrity)), Exit::Integrity);
    }
}
