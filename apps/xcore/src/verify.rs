//! `xcore verify`: reads every shard of a Host that does not run.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Args;
use host::{Environment as _, SystemEnvironment, Verification};

use crate::config;
use crate::status::size;

/// Some shards have rotted.
const EXIT_ROTTEN: u8 = 3;
/// Nothing has rotted where it could be seen, but a volume is away.
const EXIT_AWAY: u8 = 4;

/// What was said on the command line or in the environment.
#[derive(Debug, Args)]
#[command(
    after_help = "Exit codes: 0 every shard is whole, 1 it could not be checked, \
                        3 shards have rotted, 4 none has but a volume is away."
)]
pub(crate) struct Flags {
    /// Data folder of the Host [default: xcore in the user's data folder].
    #[arg(long, env = "XCORE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Checks every volume of the Host in the data folder.
pub(crate) fn verify(flags: &Flags) -> anyhow::Result<ExitCode> {
    let data = flags.data.clone().map_or_else(config::default_data, Ok)?;
    let _lock = runtime::FolderLock::take(&data)?;
    runtime::raise_open_files();
    let found = host::verify(&data, SystemEnvironment.now())?;
    let text = if flags.json {
        serde_json::to_string_pretty(&found)?
    } else {
        text(&found)
    };
    writeln!(io::stdout(), "{text}").context("cannot write what was found")?;
    Ok(match (found.rotten, found.away) {
        (0, 0) => ExitCode::SUCCESS,
        (0, _) => ExitCode::from(EXIT_AWAY),
        _ => ExitCode::from(EXIT_ROTTEN),
    })
}

fn text(found: &Verification) -> String {
    let mut lines = Vec::new();
    for volume in &found.volumes {
        let folder = volume.folder.display();
        lines.push(match &volume.away {
            Some(reason) => format!("{folder}: away: {reason}"),
            None => format!(
                "{folder}: {} shards read, {}, {} have rotted",
                volume.shards,
                size(volume.bytes),
                volume.rotten.len()
            ),
        });
        for rotten in &volume.rotten {
            let shard = rotten
                .shard
                .map_or_else(|| "a shard without id".to_owned(), |id| id.to_string());
            lines.push(format!(
                "  rotten: {shard} in log {} at {}",
                rotten.log, rotten.offset
            ));
        }
        if volume.damaged_places > 0 {
            lines.push(format!(
                "  {} damaged places between records",
                volume.damaged_places
            ));
        }
    }
    lines.push(match (found.rotten, found.away) {
        (0, 0) => format!("every one of {} shards is whole", found.shards),
        (0, away) => format!("{} shards are whole; {away} volumes are away", found.shards),
        (rotten, _) => format!("{rotten} of {} shards have rotted", found.shards),
    });
    lines.join("\n")
}
