//! What others did meanwhile: nothing of it is lost, and nothing of ours.
//!
//! - A name that others made or changed is kept beside ours as `name (conflict DEVICE TIME)`.
//! - A folder that others removed comes back for what we put into it.
//! - A removal takes what its run knew; what others added or changed since then stays.

use std::sync::Arc;

use model::formats::tree::{
    Change, EditError, Entry, Folder, Kind, LIST_MAX, Meta, NAME_BYTES_MAX, Name, TreePath,
};
use model::units::UnixMs;
use time::OffsetDateTime;

use super::rebase::{Rebase, holds_same};
use super::{CommitError, Run};
use crate::drive::read::{ReadError, Snapshot};

/// Names beside one that are tried, until one is free.
const NAMES_BESIDE_MAX: u32 = 10_000;

impl Rebase<'_> {
    /// Makes way for what `change` puts at `path`: what others put there goes aside. Where that is
    /// a folder, `change` itself does; then it is returned with its new path.
    pub(super) async fn make_way(
        &mut self,
        run: &Run,
        change: &Change,
        path: &TreePath,
    ) -> Result<Option<Change>, CommitError> {
        if !run.is_foreign(&self.head.tree) && !self.is_written(path) {
            return Ok(None);
        }
        let Some(theirs) = self.find(path).await? else {
            return Ok(None);
        };
        if is_same(&theirs, change) || self.knows(run, path, &theirs).await? {
            return Ok(None);
        }
        if !matches!(theirs.kind, Kind::Folder(_)) {
            self.move_aside(path).await?;
            return Ok(None);
        }
        let device = self.drive.settings.device_name.clone();
        let time = self.drive.environment.now();
        let beside = self.beside(path, &device, time).await?;
        Ok(Some(put_at(change, beside)))
    }

    /// Renames what others put at `path`.
    pub(super) async fn move_aside(&mut self, path: &TreePath) -> Result<(), CommitError> {
        let (device, time) = self.made_by(path);
        let to = self.beside(path, &device, time).await?;
        let from = path.clone();
        self.apply(&Change::Move { from, to }).await
    }

    /// The device and time of the root that brought what stands at `path`, as far as it is known.
    fn made_by(&self, path: &TreePath) -> (String, UnixMs) {
        match &self.head.root {
            Some(root) if !self.is_written(path) => {
                let device = self.head.devices.device(&root.device());
                let device =
                    device.map_or_else(|| root.device().short(), |device| device.name.clone());
                (device, root.unverified().time)
            }
            _ => {
                let device = self.drive.settings.device_name.clone();
                (device, self.drive.environment.now())
            }
        }
    }

    /// A free name beside `path`: `name (conflict DEVICE TIME)`.
    async fn beside(
        &mut self,
        path: &TreePath,
        device: &str,
        time: UnixMs,
    ) -> Result<TreePath, CommitError> {
        for number in 1..=NAMES_BESIDE_MAX {
            let name = name_beside(path, device, time, number);
            if let Some(beside) = name
                && self.find(&beside).await?.is_none()
            {
                return Ok(beside);
            }
        }
        Err(EditError::Exists { path: path.clone() }.into())
    }

    /// Makes the folders above `path` again that `run` knew and others removed.
    pub(super) async fn revive_above(
        &mut self,
        run: &Run,
        path: &TreePath,
    ) -> Result<(), CommitError> {
        for above in above(path) {
            if self.find(&above).await?.is_some() {
                continue;
            }
            let is_folder = |known: &Entry| matches!(known.kind, Kind::Folder(_));
            let states = [run.own().last, run.start.clone()];
            let Some(known) = self.entry_in(states, &above, is_folder).await? else {
                return Err(EditError::NotFound { path: above }.into());
            };
            let meta = known.meta.clone();
            self.apply(&Change::MakeFolder { path: above, meta })
                .await?;
        }
        Ok(())
    }

    /// Removes what `run` knew at `path`; returns what it left.
    pub(super) async fn remove(
        &mut self,
        run: &Run,
        path: &TreePath,
    ) -> Result<Vec<TreePath>, CommitError> {
        let removal = Change::Remove { path: path.clone() };
        if !run.is_foreign(&self.head.tree) {
            self.apply(&removal).await?;
            return Ok(Vec::new());
        }
        let known = self.snapshot(&run.own().known);
        let now = self.snapshot(&self.head.tree);
        let missing = || EditError::NotFound { path: path.clone() };
        let before = known.find(path).await?.ok_or_else(missing)?;
        let Some(entry) = now.find(path).await? else {
            // Others removed or moved it, which is what was wanted of this name.
            return Ok(Vec::new());
        };
        let left = new_in((&known, &before), (&now, &entry), path).await?;
        match left.first() {
            None => self.apply(&removal).await?,
            Some(first) if first == path => {}
            Some(_) => self.remove_around(&now, (path, &entry.meta), &left).await?,
        }
        Ok(left)
    }

    /// Removes the folder at `path` but for `left`: it is made anew, and they move over.
    async fn remove_around(
        &mut self,
        now: &Snapshot,
        (path, meta): (&TreePath, &Meta),
        left: &[TreePath],
    ) -> Result<(), CommitError> {
        let old = self
            .beside(path, "removed", self.drive.environment.now())
            .await?;
        self.rename(path, &old).await?;
        self.make_folder(path, meta).await?;
        for kept in left {
            for above in above(kept).filter(|above| above.starts_with(path)) {
                if self.find(&above).await?.is_none() {
                    let meta = now.entry(&above).await?.meta.clone();
                    self.make_folder(&above, &meta).await?;
                }
            }
            let mut below = kept.names().iter().skip(path.names().len()).cloned();
            let from = below.try_fold(old.clone(), TreePath::join);
            let from = from.map_err(|_| EditError::NotFound { path: kept.clone() })?;
            self.rename(&from, kept).await?;
        }
        self.apply(&Change::Remove { path: old }).await
    }

    async fn rename(&mut self, from: &TreePath, to: &TreePath) -> Result<(), CommitError> {
        let (from, to) = (from.clone(), to.clone());
        self.apply(&Change::Move { from, to }).await
    }

    async fn make_folder(&mut self, path: &TreePath, meta: &Meta) -> Result<(), CommitError> {
        let (path, meta) = (path.clone(), meta.clone());
        self.apply(&Change::MakeFolder { path, meta }).await
    }
}

/// What stands at and below `path` now and did not before, or held something else.
async fn new_in(
    (known, before): (&Snapshot, &Entry),
    (now, entry): (&Snapshot, &Entry),
    path: &TreePath,
) -> Result<Vec<TreePath>, ReadError> {
    let mut left = Vec::new();
    let Some(both) = same_folder(before, entry) else {
        left.extend((!is_known(before, entry)).then(|| path.clone()));
        return Ok(left);
    };
    let mut open = vec![(both, path.clone())];
    while let Some(((old, new), path)) = open.pop() {
        if old.hash == new.hash {
            continue;
        }
        let (mut olds, mut news) = (Listing::new(known, old), Listing::new(now, new));
        while let Some(entry) = news.next().await? {
            let before = olds.find(&entry.name).await?;
            let Ok(path) = path.clone().join(entry.name.clone()) else {
                continue;
            };
            match before {
                Some(before) => match same_folder(&before, &entry) {
                    Some(both) => open.push((both, path)),
                    None if is_known(&before, &entry) => {}
                    None => left.push(path),
                },
                None => left.push(path),
            }
        }
    }
    left.sort_unstable();
    Ok(left)
}

/// Both as folders, where they are the same one.
fn same_folder(before: &Entry, entry: &Entry) -> Option<(Folder, Folder)> {
    let both = before.folder().zip(entry.folder());
    both.filter(|(old, new)| old.key == new.key && old.id == new.id)
}

/// Whether a run that saw `before` knows what `entry` holds.
fn is_known(before: &Entry, entry: &Entry) -> bool {
    !matches!(entry.kind, Kind::Folder(_)) && holds_same(before, entry)
}

/// The entries of a folder in order, a page at a time.
struct Listing<'a> {
    snapshot: &'a Snapshot,
    folder: Folder,
    page: std::collections::VecDeque<Arc<Entry>>,
    last: Option<Name>,
    ended: bool,
}

impl<'a> Listing<'a> {
    fn new(snapshot: &'a Snapshot, folder: Folder) -> Self {
        Self {
            snapshot,
            folder,
            page: std::collections::VecDeque::new(),
            last: None,
            ended: false,
        }
    }

    async fn peek(&mut self) -> Result<Option<&Arc<Entry>>, ReadError> {
        if self.page.is_empty() && !self.ended {
            let (folder, last) = (&self.folder, self.last.as_ref());
            let page = self.snapshot.list(folder, last, LIST_MAX).await?;
            self.ended = page.len() < LIST_MAX;
            self.last = page.last().map(|entry| entry.name.clone());
            self.page.extend(page);
        }
        Ok(self.page.front())
    }

    async fn next(&mut self) -> Result<Option<Arc<Entry>>, ReadError> {
        self.peek().await?;
        Ok(self.page.pop_front())
    }

    /// The entry `name`, which comes behind all that were asked for before.
    async fn find(&mut self, name: &Name) -> Result<Option<Arc<Entry>>, ReadError> {
        while let Some(next) = self.peek().await? {
            match next.name.cmp(name) {
                std::cmp::Ordering::Less => {
                    self.page.pop_front();
                }
                std::cmp::Ordering::Equal => return self.next().await,
                std::cmp::Ordering::Greater => return Ok(None),
            }
        }
        Ok(None)
    }
}

/// The folders above `path`, from the top down, without the top folder.
fn above(path: &TreePath) -> impl Iterator<Item = TreePath> {
    let up = std::iter::successors(path.parent(), TreePath::parent);
    let mut above: Vec<_> = up.filter(|path| path.name().is_some()).collect();
    above.reverse();
    above.into_iter()
}

/// Whether `entry` already is what `change` wants to put.
fn is_same(entry: &Entry, change: &Change) -> bool {
    match (change, &entry.kind) {
        (Change::PutFile { file, .. }, Kind::File(there)) => file == there,
        (Change::PutSymlink { target, .. }, Kind::Symlink(there)) => target == there,
        _ => false,
    }
}

/// The same put elsewhere.
fn put_at(change: &Change, to: TreePath) -> Change {
    let mut change = change.clone();
    if let Change::PutFile { path, .. } | Change::PutSymlink { path, .. } = &mut change {
        *path = to;
    }
    change
}

fn name_beside(path: &TreePath, device: &str, time: UnixMs, number: u32) -> Option<TreePath> {
    let number = match number {
        1 => String::new(),
        more => format!(" {more}"),
    };
    let tail = format!(" (conflict {device} {}{number})", utc(time));
    let tail: String = tail
        .chars()
        .map(|char| {
            if char == '/' || char == '\0' {
                '-'
            } else {
                char
            }
        })
        .collect();
    let name = path.name()?.as_bytes();
    let room = NAME_BYTES_MAX.saturating_sub(tail.len());
    let stem = name.get(..name.len().min(room)).unwrap_or(name);
    let name = Name::new(&[stem, tail.as_bytes()].concat()).ok()?;
    path.parent()?.join(name).ok()
}

/// `2026-11-22 08-15-19`: a time that every file system takes in a name.
fn utc(time: UnixMs) -> String {
    let seconds = i64::try_from(time.0 / 1_000).unwrap_or(i64::MAX);
    let time = OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH);
    let (date, (hour, minute, second)) = (time.date(), time.to_hms());
    format!("{date} {hour:02}-{minute:02}-{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_names_are_civil() {
        assert_eq!(utc(UnixMs(0)), "1970-01-01 00-00-00");
        assert_eq!(utc(UnixMs(951_782_400_000)), "2000-02-29 00-00-00");
        assert_eq!(utc(UnixMs(1_795_335_319_123)), "2026-11-22 08-15-19");
        assert_eq!(utc(UnixMs(4_107_542_399_000)), "2100-02-28 23-59-59");
    }

    #[test]
    fn names_beside_are_names_however_long_and_odd() {
        let path = TreePath::parse(&[b"/d/".as_slice(), &[b'n'; NAME_BYTES_MAX]].concat()).unwrap();
        let beside = name_beside(&path, "a/b", UnixMs(0), 2).unwrap();
        let name = beside.name().unwrap().to_string();
        assert_eq!(name.len(), NAME_BYTES_MAX);
        assert!(
            name.ends_with("n (conflict a-b 1970-01-01 00-00-00 2)"),
            "{name}"
        );
        assert_eq!(beside.parent(), path.parent());
    }

    #[test]
    fn the_folders_above_come_from_the_top() {
        let path = TreePath::parse(b"/a/b/c").unwrap();
        let above: Vec<_> = above(&path).map(|path| path.to_string()).collect();
        assert_eq!(above, ["/a", "/a/b"]);
    }
}
