//! One machine's disk: its names, its files, its power, and how full it is.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use planet::Dice;
use shardstore::disk::{Capacity, Entry, Open};

use super::file::{BLOCK_BYTES, FileState};
use super::names::{Names, Node, Number};

/// A machine's disk.
#[derive(Clone, Debug, Default)]
pub struct Machine {
    names: Names,
    files: BTreeMap<Number, FileState>,
    next: Number,
    total_bytes: u64,
    /// Bytes that others take on the same disk.
    pub taken_bytes: u64,
    /// Accesses until the power goes.
    pub power_for: Option<u64>,
    power_is_off: bool,
    /// Counts how often it was started.
    boot: u64,
    locks: BTreeMap<PathBuf, std::sync::Weak<()>>,
    /// A disk that says it synced and did not; what the simulation itself is tested with.
    pub lies: bool,
}

impl Machine {
    pub(super) fn new(name: &str, total_bytes: u64) -> Self {
        let mut machine = Self {
            total_bytes,
            ..Self::default()
        };
        machine.names.found(&Path::new("/").join(name));
        machine
    }

    /// Whether the power has gone.
    #[must_use]
    pub const fn is_dark(&self) -> bool {
        self.power_is_off
    }

    /// Takes the power away. What was not synced is decided on when it comes back.
    pub const fn cut_power(&mut self) {
        self.power_is_off = true;
    }

    pub(super) const fn boot(&self) -> u64 {
        self.boot
    }

    pub(super) fn come_up(&mut self, dice: &mut Dice) {
        self.names.lose_power(dice);
        let kept = self.names.numbers();
        self.files.retain(|number, _| kept.contains(number));
        self.files
            .values_mut()
            .for_each(|file| file.lose_power(dice));
        self.power_is_off = false;
        self.power_for = None;
        self.boot += 1;
        self.locks.clear();
    }

    /// Counts an access.
    ///
    /// # Errors
    /// Where there is no power for it.
    pub fn access(&mut self) -> io::Result<()> {
        if let Some(left) = &mut self.power_for {
            self.power_is_off |= *left == 0;
            *left = left.saturating_sub(1);
        }
        if self.power_is_off {
            return Err(io::Error::other("the power is off"));
        }
        Ok(())
    }

    pub(super) fn open(&mut self, path: &Path, how: Open) -> io::Result<Number> {
        match self.names.file(path) {
            Ok(number) => {
                if how == Open::Truncate {
                    self.file(number).set_len(0);
                }
                Ok(number)
            }
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && matches!(how, Open::Create | Open::Truncate) =>
            {
                self.next += 1;
                self.names.set(path, Some(Node::File(self.next)))?;
                self.files.insert(self.next, FileState::default());
                Ok(self.next)
            }
            Err(error) => Err(error),
        }
    }

    pub(super) fn file(&mut self, number: Number) -> &mut FileState {
        self.files.entry(number).or_default()
    }

    pub(super) fn write(&mut self, number: Number, bytes: &[u8], offset: u64) -> io::Result<()> {
        let room = self.capacity().available_bytes;
        let file = self.file(number);
        if file.wants(bytes.len(), offset) * BLOCK_BYTES <= room {
            file.write(bytes, offset);
            return Ok(());
        }
        // As much as fits is written all the same.
        let fits = usize::try_from(room).unwrap_or(usize::MAX).min(bytes.len());
        file.write(bytes.get(..fits).unwrap_or_default(), offset);
        Err(io::ErrorKind::StorageFull.into())
    }

    pub(super) fn sync(&mut self, number: Number) {
        if !self.lies {
            self.file(number).sync();
        }
    }

    pub(super) fn entry(&self, path: &Path) -> io::Result<Entry> {
        Ok(match self.names.get(path)? {
            Node::Folder => Entry {
                is_folder: true,
                ..Entry::default()
            },
            Node::File(number) => {
                let file = self.files.get(&number).ok_or(io::ErrorKind::NotFound)?;
                Entry {
                    bytes: file.bytes(),
                    allocated_bytes: file.allocated_bytes(),
                    is_folder: false,
                }
            }
        })
    }

    pub(super) fn list(&self, folder: &Path) -> io::Result<Vec<OsString>> {
        self.names.list(folder)
    }

    pub(super) fn create_folders(&mut self, folder: &Path) -> io::Result<()> {
        self.names.create_folders(folder)
    }

    pub(super) fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.names.file(path)?;
        self.names.set(path, None)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let number = self.names.file(from)?;
        self.names.set(to, Some(Node::File(number)))?;
        self.names.set(from, None)
    }

    pub(super) fn link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let number = self.names.file(from)?;
        if self.names.get(to).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.names.set(to, Some(Node::File(number)))
    }

    pub(super) fn sync_folder(&mut self, folder: &Path) -> io::Result<()> {
        self.names.sync(folder)
    }

    pub(super) fn capacity(&self) -> Capacity {
        let used = self
            .names
            .files()
            .filter_map(|(_, number)| self.files.get(&number));
        let used: u64 = used.map(FileState::allocated_bytes).sum();
        Capacity {
            total_bytes: self.total_bytes,
            available_bytes: self.total_bytes.saturating_sub(used + self.taken_bytes),
        }
    }

    /// A token that holds the lock at `path` while it lives.
    pub(super) fn lock(&mut self, path: &Path) -> Option<Arc<()>> {
        let held = self.locks.get(path);
        if held.is_some_and(|held| held.strong_count() > 0) {
            return None;
        }
        let token = Arc::new(());
        self.locks.insert(path.to_owned(), Arc::downgrade(&token));
        Some(token)
    }

    /// Another disk is put in.
    pub(super) fn replace(&mut self, name: &str, total_bytes: u64) {
        let boot = self.boot + 1;
        *self = Self {
            boot,
            ..Self::new(name, total_bytes)
        };
    }

    pub(super) fn flip_bit(&mut self, suffixes: &[&str], dice: &mut Dice) -> bool {
        let is_one = |path: &Path| {
            let name = path.to_string_lossy();
            suffixes.iter().any(|suffix| name.ends_with(suffix))
        };
        let named: BTreeSet<Number> = self
            .names
            .files()
            .filter(|(path, _)| is_one(path))
            .map(|(_, number)| number)
            .collect();
        let named: Vec<Number> = named.into_iter().collect();
        let Some(number) = dice.pick(&named).copied() else {
            return false;
        };
        self.file(number).flip_bit(dice)
    }
}
