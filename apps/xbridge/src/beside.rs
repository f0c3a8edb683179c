//! What `xbridge` does beside a Bridge that runs, or instead of one: backups, lists, the operator's
//! word.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use anyhow::{Context as _, ensure};
use bridge::hosts::offer::StoredOffer;
use bridge::hosts::record::HostRecord;
use bridge::{keys, operator, server};
use metastore::{HostRow, HostState, Store, StoreConfig};
use model::units::{HostId, UnixMs};
use serde::Serialize;

use crate::config::{Flags, Instead};

/// Hosts read at a time.
const HOSTS_PER_READ: u32 = 1_000;

pub(crate) fn run(instead: &Instead, flags: &Flags) -> anyhow::Result<()> {
    match instead {
        Instead::Openapi => {
            let text = bridge::http::openapi();
            write!(io::stdout(), "{text}").context("cannot write the description")
        }
        Instead::Backup { to } => backup(&flags.data()?, to),
        Instead::Hosts { json } => list(&flags.data()?, *json),
        Instead::Lose { host } => lose(&flags.data()?, *host),
    }
}

/// Copies key and database; the folder is complete only when this returns without an error.
fn backup(data: &Path, to: &Path) -> anyhow::Result<()> {
    let mut folder = fs::DirBuilder::new();
    let made = folder.mode(0o700).create(to);
    made.with_context(|| format!("cannot make {}", to.display()))?;
    let key = fs::read(data.join(keys::FILE_NAME))
        .with_context(|| format!("no bridge has run in {} yet", data.display()))?;
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to.join(keys::FILE_NAME))
        .context("cannot write the key")?;
    file.write_all(&key).context("cannot write the key")?;
    file.sync_all().context("cannot write the key")?;
    metastore::backup(
        &data.join(server::DATABASE_NAME),
        &to.join(server::DATABASE_NAME),
    )?;
    fs::File::open(to)?.sync_all()?;
    let line = format!("copied to {}; whoever has it is this bridge", to.display());
    writeln!(io::stdout(), "{line}").context("cannot say so")
}

/// A Host, as it is listed.
#[derive(Debug, Serialize)]
struct HostListed {
    host: HostId,
    name: String,
    zone: String,
    agent: String,
    state: &'static str,
    last_seen: UnixMs,
    audits_passed: u64,
    score_ppm: u32,
    kept_hours_ppm: u32,
    proved: Option<UnixMs>,
    out: Option<bridge::hosts::record::Out>,
    leaving: Option<bridge::hosts::record::Leaving>,
}

fn list(data: &Path, json: bool) -> anyhow::Result<()> {
    let (runtime, store) = open(data)?;
    let mut listed = Vec::new();
    let mut after = None;
    loop {
        let rows = runtime.block_on(store.read(move |tx| tx.scan_hosts(after, HOSTS_PER_READ)))?;
        let Some(last) = rows.last() else { break };
        after = Some(last.alias);
        for row in &rows {
            listed.push(describe(row)?);
        }
    }
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(&listed)?)?;
        return Ok(());
    }
    for host in &listed {
        let HostListed {
            host: id,
            name,
            zone,
            state,
            audits_passed,
            score_ppm,
            kept_hours_ppm,
            ..
        } = host;
        let (score, kept) = (score_ppm / 10_000, kept_hours_ppm / 10_000);
        writeln!(
            out,
            "{id}  {name:<16} {zone:<16} {state:<13} {audits_passed} audits passed ({score} %), \
             {kept} % of its hours kept"
        )?;
    }
    Ok(())
}

fn describe(row: &HostRow) -> anyhow::Result<HostListed> {
    let offer: StoredOffer = serde_json::from_slice(&row.offer)?;
    let record = HostRecord::of(row)?;
    Ok(HostListed {
        host: row.id,
        name: offer.offer.name,
        zone: offer.zone,
        agent: offer.agent,
        state: match row.state {
            HostState::Online => "online",
            HostState::ScheduledOff => "scheduled off",
            HostState::Suspect => "suspect",
            HostState::Absent => "absent",
            HostState::Lost => "lost",
        },
        last_seen: row.last_seen,
        audits_passed: row.reputation.audits_passed,
        score_ppm: bridge::audit::reputation::score_ppm(row.reputation),
        kept_hours_ppm: record.kept_ppm(),
        proved: record.proved,
        out: record.out,
        leaving: record.leaving,
    })
}

fn lose(data: &Path, host: HostId) -> anyhow::Result<()> {
    let (runtime, store) = open(data)?;
    let declared = store.write(move |tx| operator::declare_lost(tx, &host));
    let known = runtime.block_on(declared)?;
    ensure!(known, "no host {host} ever joined this bridge");
    let line = "declared lost: a running bridge begins to make anew what it kept within a minute";
    writeln!(io::stdout(), "{line}").context("cannot say so")
}

/// The database beside the Bridge that may be using it.
fn open(data: &Path) -> anyhow::Result<(tokio::runtime::Runtime, Store)> {
    let path = data.join(server::DATABASE_NAME);
    ensure!(path.exists(), "no bridge has run in {} yet", data.display());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start")?;
    let store = Store::open(&path, StoreConfig::default())?;
    Ok((runtime, store))
}
