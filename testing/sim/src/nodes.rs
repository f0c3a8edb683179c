//! The programs that run on the nodes: the production ones, started as their `main` would.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bridge::bridge::BridgeConfig;
use bridge::context::Policy;
use bridge::server::{Server, ServerConfig};
use bridge::timing::Timing;
use host::{BridgeSettings, Host, HostConfig, Settings, VolumeSettings};
use model::wire::Schedule;
use tokio::time::sleep;

use crate::device::Device;
use crate::plan::Node;
use crate::shared::{BRIDGE_PORT, HOST_PORT, Shared};

/// Pause before a program that could not start is started again.
const START_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// What a Host offers.
pub(crate) const SPACE_BYTES: u64 = 512 << 20;

/// Seconds where a network of home computers takes hours. What retain sets spare is what may still
/// be stored for an upload, by clocks that are eight minutes apart.
const TIMING: Timing = Timing {
    heartbeat_ms: 5_000,
    silence_max_ms: 20_000,
    absent_after_ms: 20_000,
    lost_after_ms: 45_000,
    lost_at_last_ms: 45_000,
    audit_every_ms: 10_000,
    audit_within_ms: 10_000,
    audit_again_ms: 5_000,
    scan_every_ms: 10_000,
    repair_within_ms: 60_000,
    retain_every_ms: 60_000,
    retain_older_than_ms: 900_000,
    vetted_audits: 0,
};

/// The data folder of a Host.
pub(crate) fn data_of(host: u64) -> PathBuf {
    Path::new("/")
        .join(Node::Host(host).to_string())
        .join("data")
}

/// The folder of its only volume.
pub(crate) fn volume_of(host: u64) -> PathBuf {
    data_of(host).join("store")
}

/// Runs `node` until it ends.
pub(crate) async fn run(shared: Arc<Shared>, node: Node) -> turmoil::Result {
    let trace = shared.trace.clone();
    let ended = match node {
        Node::Bridge => run_bridge(&shared).await,
        Node::Host(number) => run_host(&shared, number).await,
        Node::Device(number) => match Device::new(shared, number) {
            Some(device) => device.run().await,
            None => Ok(()),
        },
    };
    if let Err(error) = ended {
        trace.violation(&node.to_string(), format_args!("does not run: {error:#}"));
    }
    Ok(())
}

async fn run_bridge(shared: &Shared) -> anyhow::Result<()> {
    let (environment, stop) = shared.start(Node::Bridge);
    let config = ServerConfig {
        data: PathBuf::from("/b"),
        listen: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), BRIDGE_PORT),
        tls: true,
        bridge: BridgeConfig {
            policy: Policy {
                retention_ms: shared.plan.retention_ms,
                timing: TIMING,
                ..Policy::default()
            },
            behind_proxy: false,
            metrics: None,
            environment,
        },
    };
    let server = Server::over(shared.bridge.clone(), shared.store(), config, stop).await?;
    shared.trace.note("b", "serves");
    server.serve().await;
    Ok(())
}

async fn run_host(shared: &Shared, number: u64) -> anyhow::Result<()> {
    let name = Node::Host(number).to_string();
    let joins_ms = usize::try_from(number - 1)
        .ok()
        .and_then(|index| shared.plan.joins_ms.get(index))
        .copied()
        .unwrap_or(0);
    let wait_ms = joins_ms.saturating_sub(shared.clock.ms());
    sleep(Duration::from_millis(wait_ms)).await;
    loop {
        let (environment, stop) = shared.start(Node::Host(number));
        let config = HostConfig::new(settings(shared, number)?)?;
        let opened = Host::open(config, shared.host_key(number), environment, None);
        match opened {
            Ok(host) => {
                shared.trace.note(&name, "serves");
                host.run(stop).await;
                shared.trace.note(&name, "stopped");
                return Ok(());
            }
            // A full disk, say, or no power.
            Err(error) => {
                let error = anyhow::Error::from(error);
                shared
                    .trace
                    .note(&name, format_args!("does not start: {error:#}"));
            }
        }
        sleep(START_AGAIN_AFTER).await;
    }
}

fn settings(shared: &Shared, number: u64) -> anyhow::Result<Settings> {
    let node = Node::Host(number);
    Ok(Settings {
        data: data_of(number),
        bridges: vec![BridgeSettings {
            url: shared.bridge_url()?,
            space_bytes: None,
        }],
        listen: SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), HOST_PORT),
        addresses: vec![SocketAddr::new(node.ip(), HOST_PORT)],
        volumes: vec![VolumeSettings {
            folder: None,
            space_bytes: SPACE_BYTES,
        }],
        keep_free_bytes: Some(0),
        name: node.to_string(),
        zone: None,
        region: None,
        bandwidth_up: None,
        bandwidth_down: None,
        schedule: Schedule::ALWAYS,
        scrub_within: Duration::from_secs(60),
        upkeep_bytes_per_s: 16_000_000,
        trash: Duration::from_millis(shared.plan.trash_ms),
    })
}
