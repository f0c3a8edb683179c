//! `xcore volumes`: the volumes a Host has had, and how to have it forget one that is lost.

use std::io::{self, Write as _};
use std::path::PathBuf;

use anyhow::Context as _;
use clap::Args;
use host::VolumeFound;

use crate::config;
use crate::status::size;

/// What was said on the command line or in the environment.
#[derive(Debug, Args)]
pub(crate) struct Flags {
    /// Data folder of the Host [default: xcore in the user's data folder].
    #[arg(long, env = "XCORE_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Forget this volume for good: what lay on it counts as lost from then on, and others repair
    /// it. Only while the Host does not run.
    #[arg(long, value_name = "ID")]
    forget: Option<String>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Shows the volumes of the Host in the data folder, or forgets one.
pub(crate) fn volumes(flags: &Flags) -> anyhow::Result<()> {
    let data = flags.data.clone().map_or_else(config::default_data, Ok)?;
    let shown = match &flags.forget {
        None => host::volumes(&data)?,
        Some(id) => {
            let _lock = runtime::FolderLock::take(&data)?;
            let id = id.parse().with_context(|| format!("--forget {id}"))?;
            vec![host::forget_volume(&data, id)?]
        }
    };
    let text = if flags.json {
        serde_json::to_string_pretty(&shown)?
    } else {
        text(&shown, flags.forget.is_some())
    };
    writeln!(io::stdout(), "{text}").context("cannot write the volumes")
}

fn text(shown: &[VolumeFound], forgotten: bool) -> String {
    let line = |volume: &VolumeFound| {
        let state = match (forgotten, volume.there) {
            (true, _) => "forgotten",
            (false, true) => "there",
            (false, false) => "away",
        };
        let folder = volume.folder.display();
        format!(
            "{}  {state:9}  {:>8}  {folder}",
            volume.id,
            size(volume.space_bytes)
        )
    };
    if shown.is_empty() {
        return "no host with volumes has run here yet".to_owned();
    }
    shown.iter().map(line).collect::<Vec<_>>().join("\n")
}
