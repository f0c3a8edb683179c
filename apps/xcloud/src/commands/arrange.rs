//! `xcloud mkdir`, `mv` and `cp`.

use client::drive::arrange::Arrangement;
use client::drive::{Drive, PathError, TypedPath};
use serde::Serialize;

use super::{remote, split_last};
use crate::cli::{MkdirArgs, MoveArgs};
use crate::exit::{Exit, Failure};
use crate::printer::Printer;

#[derive(Serialize)]
struct Arranged {
    done: usize,
}

pub(super) async fn mkdir(drive: &Drive, args: MkdirArgs, to: Printer) -> Result<Exit, Failure> {
    let paths: Vec<TypedPath> = args
        .paths
        .iter()
        .map(|path| remote(path))
        .collect::<Result<_, PathError>>()?;
    drive.make_folders(&paths, args.parents).await?;
    tell(to, paths.len())
}

pub(super) async fn mv(drive: &Drive, args: MoveArgs, to: Printer) -> Result<Exit, Failure> {
    arrange(drive, Arrangement::Move, args, to).await
}

pub(super) async fn cp(drive: &Drive, args: MoveArgs, to: Printer) -> Result<Exit, Failure> {
    arrange(drive, Arrangement::Copy, args, to).await
}

async fn arrange(
    drive: &Drive,
    arrangement: Arrangement,
    args: MoveArgs,
    printer: Printer,
) -> Result<Exit, Failure> {
    let (from, to) = split_last(args.paths)?;
    let from: Vec<TypedPath> = from
        .iter()
        .map(|path| remote(path))
        .collect::<Result<_, PathError>>()?;
    drive.arrange(arrangement, &from, &remote(&to)?).await?;
    tell(printer, from.len())
}

fn tell(printer: Printer, done: usize) -> Result<Exit, Failure> {
    if printer.json {
        printer.value(&Arranged { done })?;
    }
    Ok(Exit::Done)
}
