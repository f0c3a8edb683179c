//! Network namespaces around a switch: one for each Host, one for the Bridge and one for an owner.
//! The machine's own network is not touched; two rigs do not meet.

use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context as _, Result, ensure};

/// The numbers of the Bridge and the owner; Hosts come before.
pub(super) const BRIDGE: usize = 200;
pub(super) const OWNER: usize = 201;
/// Bytes that may leave in a burst.
const BURST: &str = "64kb";
/// Packets that would wait longer are dropped.
const WAIT_MAX: &str = "300ms";

/// What a line does to packets, both ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nothing.
    None,
    /// Loses some.
    Loses {
        /// Of a hundred.
        percent: u64,
    },
    /// Loses all.
    CutOff,
}

/// The namespaces; gone when dropped.
#[derive(Debug)]
pub(super) struct Rig {
    prefix: String,
    nodes: Vec<usize>,
}

/// Why there can be no bad lines on this machine; nothing where there can.
#[must_use]
pub fn why_not() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("only root can make network namespaces".to_owned());
    }
    let try_it = || {
        let rig = Rig::make(1)?;
        rig.limit(0, 1_000)?;
        rig.trouble(0, Trouble::Loses { percent: 5 })?;
        rig.carried(0).map(drop)
    };
    try_it()
        .err()
        .map(|error: anyhow::Error| format!("{error:#}"))
}

impl Rig {
    /// A switch with so many Hosts, a Bridge and an owner.
    pub(super) fn make(hosts: usize) -> Result<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let made = MADE.fetch_add(1, Ordering::Relaxed);
        let mut rig = Self {
            prefix: format!("planet{}-{made}", std::process::id()),
            nodes: Vec::new(),
        };
        let switch = rig.switch();
        run("ip", &["netns", "add", &switch])?;
        rig.inside(&switch, "ip link add name switch type bridge")?;
        rig.inside(&switch, "ip link set switch up")?;
        for node in (0..hosts).chain([BRIDGE, OWNER]) {
            rig.add(node)?;
        }
        Ok(rig)
    }

    /// Where the node is reached.
    pub(super) fn address(node: usize) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, u8::try_from(node + 1).unwrap_or(u8::MAX))
    }

    /// What comes before a command to run it where the node is.
    pub(super) fn enter(&self, node: usize) -> Vec<OsString> {
        let name = self.namespace(node);
        ["ip", "netns", "exec", &name].map(OsString::from).into()
    }

    /// Limits what the line of a node carries, each way.
    pub(super) fn limit(&self, node: usize, kbit: u64) -> Result<()> {
        let shape = |device: &str| {
            format!(
                "tc qdisc replace dev {device} root tbf rate {kbit}kbit burst {BURST} latency {WAIT_MAX}"
            )
        };
        self.inside(&self.namespace(node), &shape("line"))?;
        self.inside(&self.switch(), &shape(&port(node)))
    }

    /// From now on the line of a node does so to packets.
    pub(super) fn trouble(&self, node: usize, trouble: Trouble) -> Result<()> {
        let name = self.namespace(node);
        for (chain, direction) in [("in", "iifname"), ("out", "oifname")] {
            self.inside(&name, &format!("nft flush chain inet planet {chain}"))?;
            let what = match trouble {
                Trouble::None => continue,
                Trouble::Loses { percent } => format!("numgen random mod 100 < {percent} drop"),
                Trouble::CutOff => "drop".to_owned(),
            };
            let rule = format!("nft add rule inet planet {chain} {direction} line {what}");
            self.inside(&name, &rule)?;
        }
        Ok(())
    }

    /// Bytes that came over the line of a node, and that left.
    pub(super) fn carried(&self, node: usize) -> Result<(u64, u64)> {
        let count = |direction: &str| {
            let path = format!("/sys/class/net/line/statistics/{direction}_bytes");
            let said = output(
                "ip",
                &["netns", "exec", &self.namespace(node), "cat", &path],
            )?;
            said.trim().parse::<u64>().context("a count of bytes")
        };
        Ok((count("rx")?, count("tx")?))
    }

    fn add(&mut self, node: usize) -> Result<()> {
        let (switch, name, port) = (self.switch(), self.namespace(node), port(node));
        run("ip", &["netns", "add", &name])?;
        self.nodes.push(node);
        let link = format!("ip link add {port} type veth peer name line netns {name}");
        self.inside(&switch, &link)?;
        self.inside(&switch, &format!("ip link set {port} master switch up"))?;
        let address = Self::address(node);
        for command in [
            "ip link set lo up",
            &format!("ip address add {address}/24 dev line"),
            "ip link set line up",
            "nft add table inet planet",
            "nft add chain inet planet in { type filter hook input priority 0 ; }",
            "nft add chain inet planet out { type filter hook output priority 0 ; }",
        ] {
            self.inside(&name, command)?;
        }
        Ok(())
    }

    fn inside(&self, namespace: &str, command: &str) -> Result<()> {
        let words = command.split_whitespace();
        let args: Vec<&str> = ["netns", "exec", namespace]
            .into_iter()
            .chain(words)
            .collect();
        run("ip", &args)
    }

    fn switch(&self) -> String {
        format!("{}-switch", self.prefix)
    }

    fn namespace(&self, node: usize) -> String {
        format!("{}-{node}", self.prefix)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let nodes = self.nodes.iter().map(|node| self.namespace(*node));
        for name in nodes.chain([self.switch()]) {
            // With it go its lines. One that stays is seen by `ip netns`.
            let _stays = run("ip", &["netns", "delete", &name]);
        }
    }
}

fn port(node: usize) -> String {
    format!("port{node}")
}

fn run(program: &str, args: &[&str]) -> Result<()> {
    output(program, args).map(drop)
}

fn output(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .output();
    let output = output.with_context(|| format!("running {program}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{program} {} failed: {}",
        args.join(" "),
        said.trim()
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
