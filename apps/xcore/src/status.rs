//! `xcore status`: how a Host is, for people or as JSON.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use host::{Behind, BridgeShown, JoinState, Pause, Status, VolumeShown};
use serde::Serialize;

use crate::{config, exit, moment, run};

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
        (true, true) => resting(status),
        (true, false) if status.bridges.len() > 1 => {
            let joined = |bridge: &&BridgeShown| matches!(bridge.join, JoinState::Joined { .. });
            let joined = status.bridges.iter().filter(joined).count();
            format!(
                "running, joined to {joined} of {} bridges",
                status.bridges.len()
            )
        }
        (true, false) => format!("running, {}", status.join),
        (false, _) => "stopped".to_owned(),
    };
    let used = status.live_bytes + status.overhead_bytes;
    let mut lines = vec![
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
    ];
    if status.trash_records > 0 {
        let (bytes, records) = (size(status.trash_bytes), status.trash_records);
        lines.push(format!(
            "trash     {bytes} in {records} records, given up when space is needed"
        ));
    }
    lines.push(upkeep_line(status));
    lines.extend(exit::shown(status).map(|leaving| format!("leaving   {leaving}")));
    lines.extend(status.wishes.given_back.map(|given| {
        let bytes = size(given.bytes);
        format!("given     back {bytes}, not offered until more space is configured")
    }));
    lines.extend(status.bridges.iter().map(bridge_line));
    lines.extend(status.volumes.iter().map(volume_line));
    lines.join("\n")
}

fn resting(status: &Status) -> String {
    match status.wishes.pause {
        Some(Pause { until: Some(until) }) if status.wishes.is_paused(status.at) => {
            format!("running, paused until {}", moment::text(until))
        }
        Some(Pause { until: None }) => "running, paused until `xcore resume`".to_owned(),
        Some(_) | None => "running, outside its hours".to_owned(),
    }
}

fn upkeep_line(status: &Status) -> String {
    let last = status
        .audited_at
        .map(|at| format!(", last {}", moment::text(at)));
    format!(
        "healing   {} audits answered{}, {} shards made anew since the start",
        status.audits,
        last.unwrap_or_default(),
        status.repairs
    )
}

fn bridge_line(bridge: &BridgeShown) -> String {
    let held = size(bridge.held_bytes);
    let of = bridge
        .quota_bytes
        .map(|quota| format!(" of {}", size(quota)));
    let of = of.unwrap_or_default();
    let (records, url, join) = (bridge.records, &bridge.url, &bridge.join);
    let mut line = format!("bridge    {url}: {join}; holds {held}{of} in {records} records");
    if bridge.events > 0 {
        let events = format!(", {} events", bridge.events);
        line.push_str(&events);
    }
    if let Some(Behind { mark, before }) = bridge.frozen {
        let frozen = format!(
            "; FROZEN: its memory went back from {before} to {mark} minutes, nothing is deleted \
             until it has caught up"
        );
        line.push_str(&frozen);
    }
    line
}

fn volume_line(volume: &VolumeShown) -> String {
    let folder = volume.folder.display();
    let (used, space) = (size(volume.used_bytes), size(volume.space_bytes));
    let mut line = match (volume.state.as_str(), &volume.reason) {
        ("away", reason) => {
            let reason = reason.as_deref().unwrap_or("no reason is known");
            return format!("volume    {folder}: AWAY: {reason} (id {})", volume.id);
        }
        ("read_only", _) => {
            format!("volume    {folder}: DISK FAILED, takes no more; {used} of {space} used")
        }
        _ => format!("volume    {folder}: {used} of {space} used"),
    };
    let shards = format!(
        ", {} free, {} shards",
        size(volume.free_bytes),
        volume.shards
    );
    line.push_str(&shards);
    if volume.rotten > 0 {
        let rotten = format!(", {} ROTTEN", volume.rotten);
        line.push_str(&rotten);
    }
    line
}

/// Bytes with three digits and a decimal unit.
pub(crate) fn size(bytes: u64) -> String {
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
