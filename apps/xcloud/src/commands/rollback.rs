//! `xcloud accept-rollback`.

use client::drive::Drive;
use client::drive::rollback::Rollback;
use model::units::UnixMs;
use serde::Serialize;

use super::list::civil;
use crate::cli::RollbackArgs;
use crate::exit::{Exit, Failure};
use crate::printer::Printer;

#[derive(Serialize)]
struct RolledBack {
    rolled_back: bool,
    accepted: bool,
    seen: Option<u64>,
    seen_at: Option<UnixMs>,
    found: Option<u64>,
    found_at: Option<UnixMs>,
}

pub(super) async fn accept(
    drive: &Drive,
    args: RollbackArgs,
    printer: Printer,
) -> Result<Exit, Failure> {
    let rollback = drive.rollback().await?;
    let accepted = rollback.is_some() && args.yes;
    if accepted {
        drive.accept_rollback().await?;
    }
    if printer.json {
        printer.value(&RolledBack {
            rolled_back: rollback.is_some(),
            accepted,
            seen: rollback.map(|it| it.seen),
            seen_at: rollback.map(|it| it.seen_at),
            found: rollback.map(|it| it.found),
            found_at: rollback.map(|it| it.found_at),
        })?;
    } else {
        tell(rollback.as_ref(), accepted, printer)?;
    }
    Ok(match (rollback, accepted) {
        (Some(_), false) => Exit::Conflict,
        (None, _) | (Some(_), true) => Exit::Done,
    })
}

fn utc(time: UnixMs) -> String {
    civil(i64::try_from(time.0 / 1_000).unwrap_or(i64::MAX))
}

fn tell(rollback: Option<&Rollback>, accepted: bool, printer: Printer) -> Result<(), Failure> {
    let Some(rollback) = rollback else {
        printer
            .line("the bridge's history goes on from what this device saw; nothing to accept")?;
        return Ok(());
    };
    let Rollback {
        seen,
        seen_at,
        found,
        found_at,
    } = *rollback;
    printer.line(format!("this device saw root {seen} of {}", utc(seen_at)))?;
    printer.line(match found {
        0 => "the bridge has none".to_owned(),
        found => format!("the bridge has root {found} of {}", utc(found_at)),
    })?;
    printer.line(if accepted {
        "accepted; put again what was stored since"
    } else {
        "what was stored since is no longer in the tree. A bridge that was restored from a backup \
         looks like this, and so does one that hides what you did. To go on: accept-rollback --yes"
    })?;
    Ok(())
}
