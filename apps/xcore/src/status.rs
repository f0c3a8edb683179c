//! `xcore status`: how a Host is, for people or as JSON.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use host::Status;
use serde::Serialize;

use crate::{config, run};

/// What was said on the command line or in the environment.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Data folder of the Host [default: xcore in the user's data folder].
    #[arg(long, env = "XCORE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// The status file's content, and whether it is of now.
#[derive(Debug, Serialize)]
struct Shown {
    running: bool,
    #[serde(flatten)]
    status: Status,
}

/// Prints the status of the Host in the data folder.
pub(crate) fn show(flags: &Flags) -> anyhow::Result<()> {
    let data = flags.data.clone().map_or_else(config::default_data, Ok)?;
    let status = Status::read(&data)
        .with_context(|| format!("no host has run in {} yet", data.display()))?;
    let shown = Shown {
        running: run::is_running(&data),
        status,
    };
    let text = if flags.json {
        serde_json::to_string_pretty(&shown)?
    } else {
        text(&shown)
    };
    writeln!(io::stdout(), "{text}").context("cannot write the status")
}

fn text(shown: &Shown) -> String {
    let Shown { running, status } = shown;
    let state = match (running, status.paused) {
        (true, true) => "running, outside its hours".to_owned(),
        (true, false) => format!("running, {}", status.join),
        (false, _) => "stopped".to_owned(),
    };
    let used = status.live_bytes + status.overhead_bytes;
    [
        format!("host      {} ({})", status.name, status.host.short()),
        format!("state     {state}"),
        format!("address   {}", status.listen),
        format!("schedule  {}", status.schedule),
        format!(
            "space     {} used of {} offered, {} free, {} reserved",
            size(used),
            size(status.space_bytes),
            size(status.free_bytes),
            size(status.reserved_bytes)
        ),
        format!(
            "shards    {} in {} records, {} and {} overhead",
            status.shards,
            status.records,
            size(status.live_bytes),
            size(status.overhead_bytes)
        ),
        format!(
            "moved     {} received, {} sent since the start",
            size(status.received_bytes),
            size(status.sent_bytes)
        ),
    ]
    .join("\n")
}

/// Bytes with three digits and a decimal unit.
fn size(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let (mut tenths, mut unit) = (bytes.saturating_mul(10), 0);
    while tenths >= 10_000 && unit + 1 < units.len() {
        tenths /= 1_000;
        unit += 1;
    }
    let unit = units.get(unit).unwrap_or(&"B");
    if tenths.is_multiple_of(10) || tenths >= 1_000 {
        format!("{} {unit}", tenths / 10)
    } else {
        format!("{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        let shown = [0, 999, 1_000, 1_550, 123_456, 10_000_000_000, 1 << 50].map(size);
        assert_eq!(
            shown,
            [
                "0 B", "999 B", "1 kB", "1.5 kB", "123 kB", "10 GB", "1125 TB"
            ]
        );
    }
}
