//! `xbridge`: connects owners and Hosts. With no arguments it keeps its data in the user's data
//! folder and listens on 127.0.0.1:7400.

mod beside;
mod config;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use bridge::bridge::BridgeConfig;
use bridge::environment::SystemEnvironment;
use bridge::server::{Server, ServerConfig};
use clap::Parser as _;

use crate::config::{Config, Flags};

fn main() -> ExitCode {
    let flags = Flags::parse();
    match run(&flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Standard error is all that is left to tell it on.
            let told = writeln!(std::io::stderr(), "xbridge: {error:#}");
            ExitCode::from(if told.is_ok() { 1 } else { 2 })
        }
    }
}

fn run(flags: &Flags) -> anyhow::Result<()> {
    if let Some(instead) = &flags.instead {
        return beside::run(instead, flags);
    }
    let config = Config::load(flags)?;
    runtime::start_logs(config.log_format, &config.log_level)?;
    let metrics = runtime::Metrics::start()?;
    let _lock = runtime::FolderLock::take(&config.data)?;
    runtime::raise_open_files();
    let server = ServerConfig {
        data: config.data.clone(),
        listen: config.listen,
        tls: config.tls,
        bridge: BridgeConfig {
            policy: config.policy,
            behind_proxy: config.behind_proxy,
            metrics: Some(metrics),
            environment: Arc::new(SystemEnvironment),
        },
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the async threads")?;
    runtime.block_on(serve(server))
}

async fn serve(config: ServerConfig) -> anyhow::Result<()> {
    let stop = runtime::stop_on_signal().context("cannot listen for signals")?;
    let server = Server::start(config, stop).await?;
    tracing::info!(bridge = %server.id(), url = server.url(), "serving");
    // The one line on standard output: what Hosts and owners are given.
    writeln!(std::io::stdout(), "{}", server.url()).context("cannot write the url")?;
    server.serve().await;
    tracing::info!("stopped");
    Ok(())
}
