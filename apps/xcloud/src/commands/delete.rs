//! `xcloud rm`.

use client::drive::delete::PurgeReport;
use client::drive::{Drive, PathError, TypedPath};
use model::formats::tree::TreePath;
use serde::Serialize;

use super::remote;
use crate::cli::RmArgs;
use crate::exit::{Exit, Failure};
use crate::phrase;
use crate::printer::{ExactPath, Printer};

#[derive(Serialize)]
struct Removed {
    removed: usize,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    left: Vec<ExactPath>,
    #[serde(skip_serializing_if = "Option::is_none")]
    purged: Option<Purged>,
}

#[derive(Serialize)]
struct Purged {
    roots: u64,
    blobs: u64,
    blobs_in_use: u64,
    pages: u64,
}

pub(super) async fn rm(drive: &Drive, args: RmArgs, printer: Printer) -> Result<Exit, Failure> {
    let paths: Vec<TypedPath> = args
        .paths
        .iter()
        .map(|path| remote(path))
        .collect::<Result<_, PathError>>()?;
    let removed = paths.len();
    let (left, purged) = if args.purge {
        let phrase = match &args.mnemonic_file {
            Some(path) => phrase::read_file(path)?,
            None => phrase::ask()?,
        };
        let report = drive.purge(&paths, &phrase).await?;
        printer.remark(&told(&report));
        let PurgeReport {
            roots,
            blobs,
            blobs_in_use,
            pages,
            left,
        } = report;
        let purged = Purged {
            roots,
            blobs,
            blobs_in_use,
            pages,
        };
        (left, Some(purged))
    } else {
        let left = drive.remove(&paths).await?;
        printer.remark(
            "Removed. Content and earlier versions stay until the bridge's retention (30 days \
             unless it says otherwise) ends; `--purge` destroys them now.",
        );
        (left, None)
    };
    let exit = tell_left(&left, printer);
    if printer.json {
        let left = left.iter().map(ExactPath::from).collect();
        printer.value(&Removed {
            removed,
            left,
            purged,
        })?;
    }
    Ok(exit)
}

/// Names what was not removed.
fn tell_left(left: &[TreePath], printer: Printer) -> Exit {
    for path in left {
        let path = path.to_bytes();
        let name = String::from_utf8_lossy(&path);
        printer.complain(&format!(
            "{name}: another device made or changed it just now, so it stays"
        ));
    }
    if left.is_empty() {
        Exit::Done
    } else {
        Exit::Conflict
    }
}

fn told(report: &PurgeReport) -> String {
    let mut text = format!(
        "Destroyed: {} blobs and {} pages, in {} versions of the tree.",
        report.blobs, report.pages, report.roots
    );
    if report.blobs_in_use > 0 {
        text += &format!(
            " {} blobs hold other files as well and stay; the keys to what was removed are gone.",
            report.blobs_in_use
        );
    }
    text
}
