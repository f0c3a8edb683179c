//! The disks of all simulated Hosts: in memory, with everything that goes wrong with real ones.
//!
//! What was written and not synced is undecided until the power goes: then each block of it is
//! kept, lost or torn, and each name that its folder was not synced for is there or not, as the
//! seed says. The power can go in the middle of what a store does, after so many accesses; from
//! that moment on nothing of the machine reaches anybody.
//!
//! Every machine has a folder of its own at the top, `/h3` say; all else follows from the path.

mod file;
mod machine;
mod names;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use planet::Dice;
use shardstore::disk::{Capacity, Disk, DiskFile, DiskLock, Entry, Open};

use file::OpenFile;
pub use machine::Machine;

/// The disks of all machines. A clone is the same disks.
#[derive(Clone, Debug)]
pub struct Disks {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug)]
struct Inner {
    machines: BTreeMap<String, Machine>,
    dice: Dice,
    /// Bytes that a new machine's disk has.
    total_bytes: u64,
}

impl Disks {
    /// No machines yet; each will have a disk of `total_bytes`.
    #[must_use]
    pub fn new(seed: u64, total_bytes: u64) -> Self {
        let inner = Inner {
            machines: BTreeMap::new(),
            dice: Dice::new(seed),
            total_bytes,
        };
        Self {
            inner: Arc::new(Mutex::new(inner)),
        }
    }

    /// Looks at or changes the disk of `machine`.
    pub fn with<T>(&self, machine: &str, look: impl FnOnce(&mut Machine) -> T) -> T {
        look(self.inner().machine(machine))
    }

    /// Disks of which that of `machine` holds what it holds here.
    #[must_use]
    pub fn copy_of(&self, machine: &str) -> Self {
        let mut inner = self.inner();
        let copied = inner.machine(machine).clone();
        let copy = Inner {
            machines: BTreeMap::from([(machine.to_owned(), copied)]),
            dice: inner.dice.clone(),
            total_bytes: inner.total_bytes,
        };
        Self {
            inner: Arc::new(Mutex::new(copy)),
        }
    }

    /// Decides what the disk of `machine` holds after its power went, and gives it power again.
    pub fn restore_power(&self, machine: &str) {
        let mut inner = self.inner();
        let mut dice = Dice::new(inner.dice.next());
        inner.machine(machine).come_up(&mut dice);
    }

    /// Takes everything from the disk of `machine`, and gives it power again.
    pub fn wipe(&self, machine: &str) {
        let mut inner = self.inner();
        let total_bytes = inner.total_bytes;
        inner.machine(machine).replace(machine, total_bytes);
    }

    /// Flips one bit of what `machine` holds in files named like one of `suffixes`; `false` where
    /// there is none.
    pub fn flip_bit(&self, machine: &str, suffixes: &[&str]) -> bool {
        let mut inner = self.inner();
        let mut dice = Dice::new(inner.dice.next());
        inner.machine(machine).flip_bit(suffixes, &mut dice)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does something at a path of a machine whose power is on.
    fn at<T>(
        &self,
        path: &Path,
        access: impl FnOnce(&mut Machine) -> io::Result<T>,
    ) -> io::Result<T> {
        let name = machine_of(path)?;
        let mut inner = self.inner();
        let machine = inner.machine(&name);
        machine.access()?;
        access(machine)
    }
}

impl Inner {
    fn machine(&mut self, name: &str) -> &mut Machine {
        let total_bytes = self.total_bytes;
        let machines = &mut self.machines;
        if !machines.contains_key(name) {
            machines.insert(name.to_owned(), Machine::new(name, total_bytes));
        }
        machines.entry(name.to_owned()).or_default()
    }
}

/// The first folder of `path`.
fn machine_of(path: &Path) -> io::Result<String> {
    let mut parts = path.components().skip(1);
    let first = parts.next().ok_or(io::ErrorKind::InvalidInput)?;
    Ok(first.as_os_str().to_string_lossy().into_owned())
}

impl Disk for Disks {
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn DiskFile>> {
        let machine = machine_of(path)?;
        let (number, boot) = self.at(path, |machine| {
            Ok((machine.open(path, how)?, machine.boot()))
        })?;
        let disks = self.clone();
        Ok(Box::new(OpenFile {
            disks,
            machine,
            number,
            boot,
        }))
    }

    fn entry(&self, path: &Path) -> io::Result<Entry> {
        self.at(path, |machine| machine.entry(path))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        self.at(folder, |machine| machine.list(folder))
    }

    fn create_folders(&self, folder: &Path) -> io::Result<()> {
        self.at(folder, |machine| machine.create_folders(folder))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.at(path, |machine| machine.remove(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.at(from, |machine| machine.rename(from, to))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.at(from, |machine| machine.link(from, to))
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        self.at(folder, |machine| machine.sync_folder(folder))
    }

    fn capacity(&self, folder: &Path) -> io::Result<Capacity> {
        self.at(folder, |machine| Ok(machine.capacity()))
    }

    fn lock(&self, path: &Path) -> io::Result<Option<DiskLock>> {
        let taken = self.at(path, |machine| Ok(machine.lock(path)))?;
        Ok(taken.map(|token| Box::new(token) as DiskLock))
    }

    fn salt(&self) -> [u8; 16] {
        let mut inner = self.inner();
        let mut salt = [0; 16];
        salt[..8].copy_from_slice(&inner.dice.next().to_le_bytes());
        salt[8..].copy_from_slice(&inner.dice.next().to_le_bytes());
        salt
    }
}

#[cfg(test)]
mod tests;
