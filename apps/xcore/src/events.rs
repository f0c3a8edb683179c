//! `xcore events`: what the Bridges decided about a Host, each with its reason.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use host::EventsFound;
use model::wire::upkeep::HostEvent;

use crate::{config, moment};

/// What was said on the command line or in the environment.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Data folder of the Host [default: xcore in the user's data folder].
    #[arg(long, env = "XCORE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print JSON, one event on each line.
    #[arg(long)]
    json: bool,
}

/// Prints the events of the Host in the data folder, oldest first. Each one's signature is checked;
/// lines that are no events are counted.
pub(crate) fn show(flags: &Flags) -> anyhow::Result<()> {
    let data = flags.data.clone().map_or_else(config::default_data, Ok)?;
    let found = host::events(&data)?;
    let text = if flags.json {
        json(&found)?
    } else {
        text(&found)
    };
    writeln!(io::stdout(), "{text}").context("cannot write the events")
}

fn json(found: &EventsFound) -> serde_json::Result<String> {
    let lines = found.events.iter().map(serde_json::to_string);
    Ok(lines.collect::<serde_json::Result<Vec<_>>>()?.join("\n"))
}

fn text(found: &EventsFound) -> String {
    let mut lines: Vec<String> = found.events.iter().map(line).collect();
    if lines.is_empty() {
        lines.push("no bridge has decided anything about this host yet".to_owned());
    }
    if found.damaged > 0 {
        lines.push(format!("{} lines of the file are no events", found.damaged));
    }
    lines.join("\n")
}

fn line(event: &HostEvent) -> String {
    let (at, bridge) = (moment::text(event.at), event.bridge.short());
    format!(
        "{at}  {bridge}  {:18}  {}",
        kind(event),
        printable(&event.reason)
    )
}

/// The kind as JSON says it, with spaces.
fn kind(event: &HostEvent) -> String {
    let kind = serde_json::to_value(event.kind).unwrap_or_default();
    kind.as_str().unwrap_or_default().replace('_', " ")
}

/// A reason is another's text: nothing in it moves the cursor.
fn printable(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use model::units::{BridgeId, HostId, UnixMs};
    use model::wire::upkeep::HostEventKind;

    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_its_reason_says() {
        let event = HostEvent {
            bridge: BridgeId([0xab; 32]),
            host: HostId([2; 32]),
            seq: 7,
            at: UnixMs(1_796_114_096_000),
            kind: HostEventKind::AuditFailed,
            reason: "leaf 3 of shard 77\u{1b}[2J\nis missing".to_owned(),
        };
        let expected = "2026-12-01 08:34:56 UTC  abababab  audit failed        \
                        leaf 3 of shard 77 [2J is missing";
        assert_eq!(line(&event), expected);
        let found = EventsFound {
            events: vec![event],
            damaged: 2,
        };
        assert!(text(&found).ends_with("2 lines of the file are no events"));
        assert!(json(&found).unwrap().contains("\"kind\":\"audit_failed\""));
        assert!(text(&EventsFound::default()).starts_with("no bridge"));
    }
}
