//! `xcloud rm`.

use client::drive::delete::PurgeReport;
use client::drive::{Drive, PathError, TypedPath};
use serde::Serialize;

use super::remote;
use crate::cli::RmArgs;
use crate::exit::{Exit, Failure};
use crate::phrase;
use crate::printer::Printer;

#[derive(Serialize)]
struct Removed {
    removed: usize,
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
    let purged = if args.purge {
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
        } = report;
        Some(Purged {
            roots,
            blobs,
            blobs_in_use,
            pages,
        })
    } else {
        drive.remove(&paths).await?;
        printer.remark(
            "Removed. Content and earlier versions stay until the bridge's retention (30 days \
             unless it says otherwise) ends; `--purge` destroys them now.",
        );
        None
    };
    if printer.json {
        printer.value(&Removed { removed, purged })?;
    }
    Ok(Exit::Done)
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
