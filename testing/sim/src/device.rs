//! An owner's device: joins, works, and in the end looks whether everything is there.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use client::drive::join::{Contact, JoinError};
use client::drive::{Drive, Home, Lock, PageCache, Storage};
use client::transfer::{FailureKind, dialer_limits};
use futures_util::future::join_all;
use model::crypto::Mnemonic;
use model::formats::root::SignedRoot;
use model::units::NodeHash;
use net::Dialer;
use planet::Dice;
use tokio::time::sleep;

use crate::disk::Disks;
use crate::model::Files;
use crate::ops::{self, Operation, Outcome};
use crate::plan::Node;
use crate::shared::Shared;

/// Pause between two tries, and how many there are once everything works again.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(5);
const TRIES: u32 = 60;
/// The file that remembers the last root seen.
const ROOT_SEEN: &str = "root.seen";

/// What a device keeps when its program dies, and where its work stands.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) owner: u64,
    /// Whether it opens the account; others of the owner join it.
    is_first: bool,
    /// What takes its power away.
    machine: (Disks, String),
    small: Mutex<BTreeMap<String, Vec<u8>>>,
    pages: Mutex<BTreeMap<NodeHash, Vec<u8>>>,
    files: Mutex<Files>,
    progress: Mutex<Progress>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Operations begun.
    begun: u64,
    worked: bool,
    checked: bool,
    /// The highest number of a root that was remembered.
    root: u64,
}

impl Kept {
    pub(crate) fn new(owner: u64, is_first: bool, machine: (Disks, String)) -> Self {
        Self {
            owner,
            is_first,
            machine,
            small: Mutex::default(),
            pages: Mutex::default(),
            files: Mutex::default(),
            progress: Mutex::default(),
        }
    }

    fn access(&self) -> io::Result<()> {
        let (disks, name) = &self.machine;
        disks.with(name, crate::disk::Machine::access)
    }

    pub(crate) fn files(&self) -> MutexGuard<'_, Files> {
        lock(&self.files)
    }

    /// Whether it has done all its operations.
    pub(crate) fn has_worked(&self) -> bool {
        lock(&self.progress).worked
    }

    /// Whether it has found everything there in the end.
    pub(crate) fn has_checked(&self) -> bool {
        lock(&self.progress).checked
    }
}

impl Storage for Kept {
    fn make(&self) -> io::Result<()> {
        Ok(())
    }

    fn read(&self, name: &str, _bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
        self.access()?;
        Ok(lock(&self.small).get(name).cloned())
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.access()?;
        if name == ROOT_SEEN {
            let root = SignedRoot::parse(bytes).map_err(io::Error::other)?;
            let (seq, mut progress) = (root.unverified().lineage.seq(), lock(&self.progress));
            if seq < progress.root {
                return Err(io::Error::other("an older root than before"));
            }
            progress.root = seq;
        }
        lock(&self.small).insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn replace_unsynced(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.replace(name, bytes)
    }

    fn lock(&self, _name: &str) -> io::Result<Lock> {
        Ok(Box::new(()))
    }
}

impl PageCache for Kept {
    fn read(&self, hash: &NodeHash, _bytes_max: u64) -> Option<Vec<u8>> {
        lock(&self.pages).get(hash).cloned()
    }

    fn put(&self, hash: &NodeHash, bytes: &[u8]) {
        lock(&self.pages).insert(*hash, bytes.to_vec());
    }

    fn remove(&self, hash: &NodeHash) {
        lock(&self.pages).remove(hash);
    }
}

/// A device's program, from its start to its end.
pub(crate) struct Device {
    shared: Arc<Shared>,
    kept: Arc<Kept>,
    number: u64,
    name: String,
}

impl Device {
    /// The device `number`, from 1; `None` where there is no such.
    pub(crate) fn new(shared: Arc<Shared>, number: u64) -> Option<Self> {
        let index = usize::try_from(number).ok()?.checked_sub(1)?;
        let kept = Arc::clone(shared.devices.get(index)?);
        let name = Node::Device(number).to_string();
        Some(Self {
            shared,
            kept,
            number,
            name,
        })
    }

    /// Does what is left of its work, waits until everything works again, and checks.
    pub(crate) async fn run(self) -> anyhow::Result<()> {
        let drive = loop {
            match self.join().await {
                Ok(drive) => break drive,
                Err(why) => self.note(format_args!("not joined: {why:#}")),
            }
            sleep(TRY_AGAIN_AFTER).await;
        };
        while let Some(number) = self.next_operation() {
            self.operate(&drive, number).await;
        }
        lock(&self.kept.progress).worked = true;
        self.note("has worked");
        while !self.shared.is_healed() {
            sleep(Duration::from_millis(500)).await;
        }
        self.check(&drive).await;
        lock(&self.kept.progress).checked = true;
        Ok(())
    }

    fn note(&self, what: impl std::fmt::Display) {
        self.shared.trace.note(&self.name, what);
    }

    async fn join(&self) -> anyhow::Result<Drive> {
        let (environment, _) = self.shared.start(Node::Device(self.number));
        let home = Home::over(Arc::clone(&self.kept) as _, self.name.clone());
        let dialer = Dialer::new(dialer_limits())?;
        if home.settings().is_err() {
            let url = self.shared.bridge_url()?;
            let reached = Contact::reach_over(dialer.clone(), url, Arc::clone(&environment) as _);
            let contact = reached.await?;
            let entropy = self.shared.secret(&format!("owner {}", self.kept.owner));
            let phrase = Mnemonic::from_entropy(&entropy);
            if self.kept.is_first {
                match contact.open_account(&home, &phrase, &self.name).await {
                    Ok(_) => {}
                    Err(error) if is_open_already(&error) => {
                        contact.restore_account(&home, &phrase, &self.name).await?;
                    }
                    Err(error) => return Err(error.into()),
                }
            } else {
                contact.restore_account(&home, &phrase, &self.name).await?;
            }
            self.note("joined");
        }
        let pages = Arc::clone(&self.kept) as _;
        Ok(Drive::over(home, pages, dialer, environment)?)
    }

    fn next_operation(&self) -> Option<u64> {
        let mut progress = lock(&self.kept.progress);
        if progress.begun >= self.shared.plan.operations {
            return None;
        }
        progress.begun += 1;
        Some(progress.begun)
    }

    async fn operate(&self, drive: &Drive, number: u64) {
        let seed = self.shared.plan.seed.rotate_left(20) ^ (self.number << 32) ^ number;
        let mut dice = Dice::new(seed);
        sleep(Duration::from_millis(dice.below(6_000))).await;
        let folder = format!("/{}", self.name);
        if dice.below(5) == 0 {
            let several = Operation::several(&mut dice, &folder, number);
            let all = several.into_iter().map(|one| self.carry_out(drive, one));
            join_all(all).await;
            return;
        }
        let operation = Operation::draw(&mut dice, &folder, number, &self.kept.files());
        self.carry_out(drive, operation).await;
    }

    async fn carry_out(&self, drive: &Drive, operation: Operation) {
        let folder = format!("/{}", self.name);
        let changes = operation.changes(&self.kept.files());
        self.kept.files().begin(&changes);
        let files = self.kept.files().clone();
        match operation.run(drive, &folder, &files).await {
            Outcome::Done(what) => {
                self.note(format_args!("{operation}: {what}"));
                self.kept.files().end(changes);
            }
            Outcome::Failed(why) => self.note(format_args!("{operation} failed: {why}")),
            Outcome::Wrong(what) => {
                let trace = &self.shared.trace;
                trace.violation(&self.name, format_args!("{operation}: {what}"));
            }
        }
    }

    /// Everything is there, and nothing else. One thing that is not is enough.
    async fn check(&self, drive: &Drive) {
        let all = self.shared.files(&self.kept);
        let mut good = self.insist("ls", || ops::list(drive, &all, "/")).await;
        let files = self.kept.files().clone();
        for path in files.paths() {
            let get = Operation::Get { path };
            let what = get.to_string();
            good = good && self.insist(&what, || get.run(drive, "", &files)).await;
        }
        self.note("has checked");
    }

    /// Tries until it is done, since Hosts and Bridge may need a moment to find each other again.
    async fn insist(&self, what: &str, attempt: impl AsyncFn() -> Outcome) -> bool {
        let mut last = String::new();
        for _ in 0..TRIES {
            match attempt().await {
                Outcome::Done(_) => return true,
                Outcome::Failed(why) => last = why,
                Outcome::Wrong(wrong) => {
                    let text = format_args!("{what} in the end: {wrong}");
                    self.shared.trace.violation(&self.name, text);
                    return false;
                }
            }
            sleep(TRY_AGAIN_AFTER).await;
        }
        let text = format_args!("{what} fails in the end: {last}");
        self.shared.trace.violation(&self.name, text);
        false
    }
}

fn is_open_already(error: &JoinError) -> bool {
    error.kind() == FailureKind::Conflict
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
