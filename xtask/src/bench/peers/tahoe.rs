//! A grid of Tahoe-LAFS on loopback: introducer, storage nodes, and a client with its web API.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use ::planet::{Keeper, Node, free_ports};
use anyhow::{Context as _, Result, ensure};

use super::{Given, Tasks, Took, web};
use crate::bench::{files, meter};
use crate::tools;

const NODES: usize = 5;
/// Any 3 of 5, and nothing less than five counts as stored.
const SHARES: [&str; 3] = ["--shares-needed=3", "--shares-total=5", "--shares-happy=5"];
/// Requests for small files at a time.
const AT_ONCE: usize = 8;
const READY_WITHIN: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(200);

pub(super) fn run(dir: &Path, given: &Given<'_>) -> Result<Tasks> {
    let program = tools::tahoe()?;
    files::empty_folder(dir)?;
    let mut grid = Grid::start(&program, dir)?;
    grid.wait_until_ready()?;
    let client = grid.client;
    let (cap, up) = grid.measure(|| web::put(client, "/uri", given.large))?;
    files::empty_folder(given.back)?;
    let back = given.back.join("large");
    let ((), down) = grid.measure(|| web::get(client, &format!("/uri/{cap}"), &back))?;
    files::ensure_same(given.large, &back)?;

    let paths: Vec<PathBuf> = (0..given.small_count)
        .map(|number| given.small.join(format!("{}/{number}", number / 1_000)))
        .collect();
    let (caps, small_up) = grid.measure(|| all(&paths, |path| web::put(client, "/uri", path)))?;
    files::empty_folder(given.back)?;
    let numbered: Vec<_> = caps.into_iter().enumerate().collect();
    let place = |number: usize| given.back.join(number.to_string());
    let (_, small_down) = grid.measure(|| {
        all(&numbered, |(number, cap)| {
            web::get(client, &format!("/uri/{cap}"), &place(*number))
        })
    })?;
    for (number, path) in paths.iter().enumerate() {
        files::ensure_same(path, &place(number))?;
    }
    Ok([up, down, small_up, small_down])
}

/// Does `work` for all of `tasks`, some at a time; the answers in their order.
fn all<T: Sync, A: Send>(tasks: &[T], work: impl Fn(&T) -> Result<A> + Sync) -> Result<Vec<A>> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work_on = || {
        while let Some((at, task)) = take(&next, tasks) {
            let answer = (at, work(task));
            done.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(answer);
        }
    };
    thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(work_on))));
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, answer)| answer).collect()
}

fn take<'a, T>(next: &AtomicUsize, tasks: &'a [T]) -> Option<(usize, &'a T)> {
    let at = next.fetch_add(1, Ordering::Relaxed);
    Some((at, tasks.get(at)?))
}

/// Its processes, which are ended with it, or with us.
struct Grid {
    // Before the keeper, so that each is collected before the group is ended.
    nodes: Vec<Node>,
    client: SocketAddr,
    _keeper: Keeper,
}

impl Grid {
    fn start(program: &Path, dir: &Path) -> Result<Self> {
        let keeper = Keeper::start()?;
        let ports = free_ports(NODES + 2)?;
        let (Some((introducer, ports)), true) = (ports.split_first(), ports.len() == NODES + 2)
        else {
            anyhow::bail!("no free ports");
        };
        let mut nodes = Vec::new();
        let mut run = |name: &str| -> Result<()> {
            let mut node = Node::new(
                name,
                program,
                dir.join(format!("{name}.log")),
                keeper.group(),
            )
            .args(["run", "--allow-stdin-close"])
            .args([dir.join(name)]);
            node.start()?;
            nodes.push(node);
            Ok(())
        };
        create(
            program,
            &["create-introducer"],
            *introducer,
            &dir.join("introducer"),
        )?;
        run("introducer")?;
        let furl = read_when_there(&dir.join("introducer/private/introducer.furl"))?;
        let furl = format!("--introducer={}", furl.trim());
        let (client, storage) = ports.split_last().context("no free ports")?;
        for (number, port) in (1..).zip(storage) {
            let name = format!("s{number}");
            let nickname = format!("--nickname={name}");
            let options = ["create-node", &furl, &nickname, "--webport=none"];
            create(
                program,
                &[&options[..], &SHARES].concat(),
                *port,
                &dir.join(&name),
            )?;
            run(&name)?;
        }
        let webport = format!("--webport=tcp:{client}:interface=127.0.0.1");
        let options = ["create-client", &furl, "--nickname=client", &webport];
        tahoe(
            program,
            &[&options[..], &SHARES].concat(),
            &dir.join("client"),
        )?;
        run("client")?;
        Ok(Self {
            nodes,
            client: (Ipv4Addr::LOCALHOST, *client).into(),
            _keeper: keeper,
        })
    }

    /// Until the client is connected to all storage nodes.
    fn wait_until_ready(&mut self) -> Result<()> {
        let began = Instant::now();
        loop {
            let welcome = web::ask(self.client, "/?t=json").unwrap_or_default();
            let statuses = welcome.split("\"connection_status\"").skip(1);
            let connected = statuses.filter(|rest| {
                rest.trim_start_matches([':', ' ', '"'])
                    .to_lowercase()
                    .starts_with("connect")
            });
            if connected.count() >= NODES {
                return Ok(());
            }
            for node in &mut self.nodes {
                ensure!(
                    node.is_running(),
                    "{} ended: {}",
                    node.name(),
                    node.log_tail()
                );
            }
            ensure!(
                began.elapsed() < READY_WITHIN,
                "the grid is not ready: {welcome}"
            );
            sleep(LOOK_EVERY);
        }
    }

    fn measure<A>(&self, work: impl FnOnce() -> Result<A>) -> Result<(A, Took)> {
        let cpu_before = self.cpu_s()?;
        let began = Instant::now();
        let answer = work()?;
        let wall_s = began.elapsed().as_secs_f64();
        let peaks = self
            .nodes
            .iter()
            .filter_map(Node::pid)
            .map(meter::peak_memory);
        let took = Took {
            wall_s,
            cpu_s: self.cpu_s()? - cpu_before,
            peak_bytes: peaks.max().unwrap_or(0),
        };
        Ok((answer, took))
    }

    fn cpu_s(&self) -> Result<f64> {
        self.nodes
            .iter()
            .filter_map(Node::pid)
            .map(meter::cpu_time)
            .sum()
    }
}

fn create(program: &Path, options: &[&str], port: u16, folder: &Path) -> Result<()> {
    let (listen, location) = (
        format!("--port=tcp:{port}:interface=127.0.0.1"),
        format!("--location=tcp:127.0.0.1:{port}"),
    );
    tahoe(
        program,
        &[options, &["--listen=tcp", &listen, &location]].concat(),
        folder,
    )
}

fn tahoe(program: &Path, options: &[&str], folder: &Path) -> Result<()> {
    let output = Command::new(program)
        .args(options)
        .arg(folder)
        .stdin(Stdio::null())
        .output()
        .context("running tahoe")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "tahoe {options:?} failed: {said}");
    Ok(())
}

fn read_when_there(path: &Path) -> Result<String> {
    let began = Instant::now();
    loop {
        match fs::read_to_string(path) {
            Ok(text) if !text.is_empty() => return Ok(text),
            _ => ensure!(
                began.elapsed() < READY_WITHIN,
                "{} does not appear",
                path.display()
            ),
        }
        sleep(LOOK_EVERY);
    }
}
