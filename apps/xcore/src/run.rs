//! `xcore run`: everything from the identity to the last request.

use std::io::{self, Write as _};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use host::{Host, HostConfig, SystemEnvironment};

use crate::config::{Config, Flags};

/// Reads of cold disks that wait at a time, each on a thread of its own.
const BLOCKING_THREADS_MAX: usize = 32;

/// Runs a Host until a signal stops it.
pub(crate) fn run(flags: &Flags) -> anyhow::Result<()> {
    let config = Config::load(flags)?;
    runtime::start_logs(config.log_format, &config.log_level)?;
    let data = &config.host.settings().data;
    let _lock = runtime::FolderLock::take(data)?;
    runtime::raise_open_files();
    let key = host::identity(data)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build()
        .context("cannot start the async threads")?;
    runtime.block_on(serve(config.host, key))
}

async fn serve(config: HostConfig, key: model::crypto::SigningKey) -> anyhow::Result<()> {
    let stop = runtime::stop_on_signal().context("cannot listen for signals")?;
    let metrics = runtime::Metrics::start()?;
    let host = Host::open(config, key, Arc::new(SystemEnvironment), Some(metrics))?;
    let (id, bound) = (host.id(), host.bound());
    tracing::info!(host = id.short(), listen = %bound, "serving");
    // The one line on standard output: who serves where.
    writeln!(io::stdout(), "{id} {bound}").context("cannot write the address")?;
    host.run(stop).await;
    tracing::info!("stopped");
    Ok(())
}

/// Whether a Host runs in the folder `data`: its lock is taken.
pub(crate) fn is_running(data: &Path) -> bool {
    let lock = std::fs::File::open(data.join("lock"));
    lock.is_ok_and(|file| {
        matches!(
            file.try_lock_shared(),
            Err(std::fs::TryLockError::WouldBlock)
        )
    })
}
