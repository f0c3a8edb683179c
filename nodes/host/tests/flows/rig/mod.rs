//! A Bridge that says what a test tells it to, a Host over real sockets, and a client.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a rig of tests may panic"
)]

mod bridge;
mod host;

use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ::host::{BridgeSettings, Environment, Settings, VolumeSettings};
use bytes::Bytes;
use model::units::UnixMs;
use model::wire::Schedule;

pub(crate) use bridge::TestBridge;
pub(crate) use host::TestHost;

/// Nothing in these tests takes longer, unless it never happens.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a Host must sign.
pub(crate) const NONCE: &str = "00ff";

/// A clock that stands still until it is set.
#[derive(Debug)]
pub(crate) struct TestClock(AtomicU64);

impl TestClock {
    pub(crate) fn set(&self, now: UnixMs) {
        self.0.store(now.0, Ordering::SeqCst);
    }
}

impl Environment for TestClock {
    fn now(&self) -> UnixMs {
        UnixMs(self.0.load(Ordering::SeqCst))
    }

    fn draw(&self) -> u64 {
        7
    }
}

/// 2024-01-01 00:00 UTC, a Monday.
pub(crate) const MONDAY: UnixMs = UnixMs(1_704_067_200_000);

pub(crate) fn settings(data: &Path, bridge_port: u16) -> Settings {
    Settings {
        data: data.to_owned(),
        bridges: vec![bridge(bridge_port, None)],
        listen: "127.0.0.1:0".parse().unwrap(),
        addresses: Vec::new(),
        volumes: vec![VolumeSettings {
            folder: None,
            space_bytes: 268_435_456,
        }],
        keep_free_bytes: Some(0),
        name: "h1".to_owned(),
        zone: Some("z1".to_owned()),
        region: None,
        bandwidth_up: None,
        bandwidth_down: None,
        schedule: Schedule::ALWAYS,
        scrub_within: Duration::from_secs(60),
        upkeep_bytes_per_s: 1 << 30,
        trash: Duration::ZERO,
    }
}

pub(crate) fn bridge(port: u16, space_bytes: Option<u64>) -> BridgeSettings {
    BridgeSettings {
        url: format!("http://127.0.0.1:{port}").parse().unwrap(),
        space_bytes,
    }
}

/// Content that differs by `seed`, and from place to place.
pub(crate) fn shard(seed: u8, bytes: usize) -> Bytes {
    let mut state = u64::from(seed) + 1;
    let mut next = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        state.to_be_bytes()
    };
    let mut content = Vec::with_capacity(bytes + 8);
    while content.len() < bytes {
        content.extend(next());
    }
    content.truncate(bytes);
    content.into()
}

/// Flips a bit where `bytes` lie in a file of the Host's store; `false` where they lie in none.
pub(crate) fn rot(data: &Path, bytes: &[u8]) -> bool {
    let mut folders = vec![data.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let content = std::fs::read(&path).unwrap();
            let found = content
                .windows(bytes.len())
                .position(|window| window == bytes);
            if let Some(at) = found {
                let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
                file.write_all_at(&[content[at] ^ 1], at as u64).unwrap();
                return true;
            }
        }
    }
    false
}
