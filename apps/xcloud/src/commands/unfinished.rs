//! `xcloud uploads`.

use std::os::unix::ffi::OsStrExt as _;

use client::drive::Drive;
use client::drive::unfinished::Unfinished;
use serde::Serialize;

use crate::cli::UploadsArgs;
use crate::exit::{Exit, Failure};
use crate::printer::{ExactPath, JsonList, Printer, human_bytes};

#[derive(Serialize)]
struct UploadReport {
    upload: String,
    #[serde(flatten)]
    path: ExactPath,
    files: u64,
    bytes: u64,
    stored_bytes: u64,
    expires_ms: u64,
}

pub(super) async fn uploads(
    drive: &Drive,
    args: UploadsArgs,
    printer: Printer,
) -> Result<Exit, Failure> {
    if let Some(upload) = args.drop {
        drive.drop_unfinished(upload).await?;
        printer.remark(&format!("upload {upload} is given up"));
        return Ok(Exit::Done);
    }
    let unfinished = drive.unfinished().await?;
    if printer.json {
        let mut list = JsonList::new(printer);
        for upload in &unfinished {
            list.push(&report(upload))?;
        }
        list.end()?;
        return Ok(Exit::Done);
    }
    for upload in &unfinished {
        printer.line(line(upload, printer))?;
    }
    if !unfinished.is_empty() {
        printer
            .remark("`xcloud put` of the same files goes on; `xcloud uploads --drop ID` does not");
    }
    Ok(Exit::Done)
}

fn report(upload: &Unfinished) -> UploadReport {
    UploadReport {
        upload: upload.upload.to_string(),
        path: ExactPath::new(upload.first.as_os_str().as_bytes()),
        files: upload.files,
        bytes: upload.bytes,
        stored_bytes: upload.bytes_stored,
        expires_ms: upload.expires.0,
    }
}

fn line(upload: &Unfinished, printer: Printer) -> Vec<u8> {
    let (stored, bytes) = (human_bytes(upload.bytes_stored), human_bytes(upload.bytes));
    let mut line = format!("{}  {stored} of {bytes}  ", upload.upload).into_bytes();
    line.extend(printer.name(upload.first.as_os_str().as_bytes()));
    if upload.files > 1 {
        line.extend(format!(" and {} more", upload.files - 1).into_bytes());
    }
    line
}
