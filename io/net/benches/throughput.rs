//! Moves shards up and down over loopback, both sides in this process, and prints MB/s and CPU
//! seconds per GB of both sides together.
//!
//! `cargo bench -p net --bench throughput -- [GB [CONNECTIONS]]`

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::routing::{get, put};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use model::crypto::{Secret, SigningKey, TreeHasher};
use model::units::{HostId, SHARD_BYTES_MAX};
use net::{
    Call, Dialer, DialerLimits, Endpoint, Identity, Listener, Router, Security, ServeLimits,
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

type Failure = Box<dyn std::error::Error + Send + Sync>;

const SHARD: u64 = SHARD_BYTES_MAX as u64;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print(&format!("failed: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let mut numbers = std::env::args().filter_map(|arg| arg.parse::<u64>().ok());
    let shards = numbers.next().unwrap_or(3) * 1_000_000_000 / SHARD;
    let connections = numbers.next().unwrap_or(8);
    print(&format!(
        "{shards} shards of {SHARD} B over {connections} connections"
    ));
    print("transport  way   hash    MB/s  CPU-s/GB");
    let key = SigningKey::from_seed(&Secret::new([1; 32]));
    for (name, security) in [
        ("tcp", Security::PlainLoopback),
        ("tls", Security::Tls(Identity::new(&key)?)),
    ] {
        let server = tokio::runtime::Runtime::new()?;
        let listener = server.block_on(async {
            Listener::bind(
                SocketAddr::from(([127, 0, 0, 1], 0)),
                security,
                ServeLimits::default(),
            )
        })?;
        let addr = listener.local_addr();
        let stop = CancellationToken::new();
        let serving = server.spawn(listener.serve(router(), stop.clone()));
        let to = match name {
            "tcp" => Endpoint::Bridge(format!("http://{addr}").parse()?),
            _ => Endpoint::Host {
                id: HostId(key.public()),
                addrs: vec![addr],
            },
        };
        let client = tokio::runtime::Runtime::new()?;
        for (way, path, hash) in [
            ("up", "/sink", "none"),
            ("up", "/hash", "once"),
            ("down", "/shard", "none"),
            ("down", "/pieces", "none"),
            ("down", "/shard", "once"),
        ] {
            let (began, cpu) = (Instant::now(), cpu_time()?);
            client.block_on(transfer(
                &to,
                Job {
                    way,
                    path,
                    hash: hash == "once",
                },
                shards,
                connections,
            ))?;
            let (wall, cpu) = (began.elapsed(), cpu_time()? - cpu);
            let gb = (shards * SHARD) as f64 / 1e9;
            print(&format!(
                "{name:9}  {way:4}  {hash:4}  {:6.0}  {:8.2}  {path}",
                gb * 1000.0 / wall.as_secs_f64(),
                cpu.as_secs_f64() / gb
            ));
        }
        stop.cancel();
        server.block_on(serving)?;
    }
    Ok(())
}

fn router() -> Router {
    let shard = Bytes::from(vec![0x5a; SHARD_BYTES_MAX as usize]);
    let pieces = shard.clone();
    Router::new()
        .route("/sink", put(async |body: Body| swallow(body, false).await))
        .route("/hash", put(async |body: Body| swallow(body, true).await))
        .route("/shard", get(move || std::future::ready(shard.clone())))
        .route(
            "/pieces",
            get(move || std::future::ready(in_pieces(&pieces))),
        )
}

fn in_pieces(shard: &Bytes) -> Body {
    let shard = shard.clone();
    let starts = (0..shard.len()).step_by(256 * 1024);
    let pieces =
        starts.map(move |at| Ok::<_, Failure>(shard.slice(at..shard.len().min(at + 256 * 1024))));
    Body::from_stream(futures_util::stream::iter(pieces))
}

async fn swallow(mut body: Body, hash: bool) -> String {
    let mut hasher = TreeHasher::default();
    let mut bytes = 0;
    while let Some(Ok(frame)) = body.frame().await {
        let Ok(chunk) = frame.into_data() else {
            continue;
        };
        bytes += chunk.len();
        if hash {
            hasher.update(&chunk);
        }
    }
    bytes.to_string()
}

#[derive(Clone, Copy)]
struct Job {
    way: &'static str,
    path: &'static str,
    hash: bool,
}

async fn transfer(to: &Endpoint, job: Job, shards: u64, connections: u64) -> Result<(), Failure> {
    let per_endpoint_max = usize::try_from(connections)?;
    let dialer = Dialer::new(DialerLimits {
        per_endpoint_max,
        ..DialerLimits::default()
    })?;
    let left = Arc::new(AtomicU64::new(shards));
    let shard = Bytes::from(vec![0x5a; SHARD_BYTES_MAX as usize]);
    let mut lanes = JoinSet::new();
    for _ in 0..connections {
        let (dialer, to, left, shard) = (dialer.clone(), to.clone(), left.clone(), shard.clone());
        lanes.spawn(async move {
            while left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
                .is_ok()
            {
                move_one(&dialer, &to, job, &shard).await?;
            }
            Ok::<_, Failure>(())
        });
    }
    while let Some(lane) = lanes.join_next().await {
        lane??;
    }
    Ok(())
}

async fn move_one(dialer: &Dialer, to: &Endpoint, job: Job, shard: &Bytes) -> Result<(), Failure> {
    if job.way == "up" {
        let mut reply = dialer.send(to, &Call::put(job.path, shard.clone())).await?;
        let taken = reply.collect_limited(100).await?;
        return if taken == SHARD.to_string() {
            Ok(())
        } else {
            Err("bytes went missing".into())
        };
    }
    let mut reply = dialer.send(to, &Call::get(job.path)).await?;
    let mut hasher = TreeHasher::default();
    let mut bytes = 0;
    while let Some(chunk) = reply.chunk().await? {
        bytes += chunk.len() as u64;
        if job.hash {
            hasher.update(&chunk);
        }
    }
    if bytes == SHARD {
        Ok(())
    } else {
        Err("bytes went missing".into())
    }
}

/// User and system time of this process.
fn cpu_time() -> Result<Duration, Failure> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let (_, after_name) = stat.rsplit_once(')').ok_or("no process name")?;
    let ticks: u64 = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse::<u64>().unwrap_or(0))
        .sum();
    Ok(Duration::from_millis(ticks * 10))
}

#[expect(clippy::print_stdout, reason = "a bench prints its figures")]
fn print(line: &str) {
    println!("{line}");
}
