//! Follows intents on the tree of a root, whichever that is.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::crypto::Secret;
use model::formats::Step;
use model::formats::tree::{
    self, Change, EditError, Entry, FileVersion, Kind, Meta, Tree, TreeEdit, TreePath,
};

use super::group::Job;
use super::{CommitError, Intent, Outcome, Refused, Run, mtime};
use crate::drive::open::{Drive, Head};
use crate::drive::read::{ReadError, Snapshot};

/// An edit of the head's tree, and whose names it put there.
pub(super) struct Rebase<'a> {
    pub(super) drive: &'a Drive,
    pub(super) head: &'a Head,
    edit: TreeEdit,
    written: BTreeMap<TreePath, &'a Run>,
}

impl Drive {
    /// Applies what all jobs want to the head's tree.
    pub(super) async fn edit(
        &self,
        head: &Head,
        jobs: &[Job],
        seed: &Secret,
    ) -> Result<(tree::Commit, Vec<Outcome>), CommitError> {
        let epoch = self.settings.epoch;
        let edit = match &head.root {
            Some(_) => TreeEdit::new(&head.tree, epoch, seed.clone()),
            None => self.first_edit(&head.keys.top, seed.clone()),
        };
        let mut rebase = Rebase {
            drive: self,
            head,
            edit,
            written: BTreeMap::new(),
        };
        rebase.fetch_ahead(jobs).await?;
        let mut outcomes = Vec::with_capacity(jobs.len());
        for job in jobs {
            outcomes.push(rebase.follow_all(&job.run, &job.wanted.intents).await?);
        }
        let mut edit = rebase.edit;
        let finished = self
            .pages
            .with(|store| Ok::<_, ReadError>(edit.finish(store)?));
        Ok((finished.await?, outcomes))
    }
}

impl<'a> Rebase<'a> {
    /// Fetches the pages that the intents lead to, many at a time.
    async fn fetch_ahead(&mut self, jobs: &[Job]) -> Result<(), CommitError> {
        let intents = jobs.iter().flat_map(|job| &job.wanted.intents);
        let paths: Vec<&TreePath> = intents.flat_map(paths).collect();
        let edit = &mut self.edit;
        let fetched = self
            .drive
            .pages
            .with(|store| Ok::<_, ReadError>(edit.load_ahead(store, paths.iter().copied())));
        Ok(fetched.await?)
    }

    async fn follow_all(
        &mut self,
        run: &'a Run,
        intents: &[Intent],
    ) -> Result<Outcome, CommitError> {
        let mut outcome = Outcome::default();
        for intent in intents {
            let followed = match intent {
                Intent::Put(change) => self.put(run, change).await,
                Intent::Folder { path, meta } => self.folder(run, path, meta.as_ref()).await,
                Intent::Replace { path, was, file } => self.replace(path, was, file).await,
                Intent::Remove(path) => {
                    outcome.left.extend(self.remove(run, path).await?);
                    Ok(())
                }
                Intent::Exactly(change) => {
                    self.exactly(run, change).await?;
                    Ok(())
                }
            };
            match followed {
                Ok(()) => {}
                Err(CommitError::Edit(error)) => outcome.refused.extend(refusal(intent, error)),
                Err(error) => return Err(error),
            }
        }
        Ok(outcome)
    }

    async fn put(&mut self, run: &'a Run, change: &Change) -> Result<(), CommitError> {
        let Some(path) = put_path(change) else {
            return Ok(());
        };
        let ours = self.make_way(run, change, path).await?;
        let change = ours.as_ref().unwrap_or(change);
        match self.apply(change).await {
            Err(CommitError::Edit(EditError::NotFound { .. })) => {
                self.revive_above(run, path).await?;
                self.apply(change).await?;
            }
            other => other?,
        }
        if let Some(path) = put_path(change) {
            self.written.insert(path.clone(), run);
        }
        Ok(())
    }

    async fn folder(
        &mut self,
        run: &'a Run,
        path: &TreePath,
        meta: Option<&Meta>,
    ) -> Result<(), CommitError> {
        let mut there = self.find(path).await?;
        if let Some(theirs) = &there
            && !matches!(theirs.kind, Kind::Folder(_))
            && !self.knows(run, path, theirs).await?
        {
            self.move_aside(path).await?;
            there = None;
        }
        let meta = match (there, meta) {
            (Some(entry), _) if !matches!(entry.kind, Kind::Folder(_)) => {
                return Err(EditError::NotAFolder { path: path.clone() }.into());
            }
            (Some(_), None) => return Ok(()),
            (Some(entry), Some(meta)) if entry.meta == *meta => return Ok(()),
            (Some(_), Some(meta)) => {
                let (path, meta) = (path.clone(), meta.clone());
                return self.apply(&Change::SetMeta { path, meta }).await;
            }
            (None, meta) => meta.cloned().unwrap_or_else(|| self.fresh_meta()),
        };
        self.revive_above(run, path).await?;
        let path = path.clone();
        self.apply(&Change::MakeFolder { path, meta }).await
    }

    /// Puts `file` where `was` stands; it is the same content, so nobody's knowledge changes.
    async fn replace(
        &mut self,
        path: &TreePath,
        was: &FileVersion,
        file: &FileVersion,
    ) -> Result<(), CommitError> {
        let Some(there) = self.find(path).await? else {
            return Ok(());
        };
        match &there.kind {
            Kind::File(now) if now == was => {
                let (path, meta, file) = (path.clone(), there.meta.clone(), file.clone());
                self.apply(&Change::PutFile { path, meta, file }).await
            }
            _ => Ok(()),
        }
    }

    async fn exactly(&mut self, run: &'a Run, change: &Change) -> Result<(), CommitError> {
        let (Change::Move { from, to } | Change::Copy { from, to }) = change else {
            return self.apply(change).await;
        };
        if from != to
            && let Some(theirs) = self.find(to).await?
            && !matches!(theirs.kind, Kind::Folder(_))
            && !self.knows(run, to, &theirs).await?
        {
            self.move_aside(to).await?;
        }
        self.apply(change).await?;
        self.written.insert(to.clone(), run);
        Ok(())
    }

    /// Whether `run` knows what `theirs` at `path` holds, so that it may take its place.
    pub(super) async fn knows(
        &self,
        run: &Run,
        path: &TreePath,
        theirs: &Entry,
    ) -> Result<bool, CommitError> {
        if let Some(by) = self.written.get(path) {
            return Ok(std::ptr::eq(*by, run));
        }
        if !run.is_foreign(&self.head.tree) {
            return Ok(true);
        }
        let states = [run.own().known, run.start.clone()];
        let known = self.entry_in(states, path, |known| holds_same(known, theirs));
        Ok(known.await?.is_some())
    }

    /// The entry at `path` in one of these states of the tree, where it is as wanted.
    pub(super) async fn entry_in(
        &self,
        states: [Tree; 2],
        path: &TreePath,
        wanted: impl Fn(&Entry) -> bool,
    ) -> Result<Option<Arc<Entry>>, CommitError> {
        for tree in states {
            let entry = self.snapshot(&tree).find(path).await?;
            if let Some(entry) = entry.filter(|entry| wanted(entry)) {
                return Ok(Some(entry));
            }
        }
        Ok(None)
    }

    /// Whether this edit put a name at `path`.
    pub(super) fn is_written(&self, path: &TreePath) -> bool {
        self.written.contains_key(path)
    }

    pub(super) fn snapshot(&self, tree: &Tree) -> Snapshot {
        Snapshot::new(tree.clone(), Arc::clone(&self.drive.pages))
    }

    /// What stands at `path` in the edit.
    pub(super) async fn find(
        &mut self,
        path: &TreePath,
    ) -> Result<Option<Arc<Entry>>, CommitError> {
        let edit = &mut self.edit;
        let found = self
            .drive
            .pages
            .with(|store| Ok::<_, ReadError>(edit.find(store, path)?));
        Ok(found.await?)
    }

    pub(super) async fn apply(&mut self, change: &Change) -> Result<(), CommitError> {
        let edit = &mut self.edit;
        self.drive
            .pages
            .with(|store| -> Result<Step<()>, CommitError> { Ok(edit.apply(store, change)?) })
            .await
    }

    fn fresh_meta(&self) -> Meta {
        Meta {
            mode: 0o755,
            mtime: mtime(self.drive.environment.now()),
            ..Meta::default()
        }
    }
}

fn paths(intent: &Intent) -> Vec<&TreePath> {
    match intent {
        Intent::Put(change) | Intent::Exactly(change) => change.paths().collect(),
        Intent::Folder { path, .. } | Intent::Replace { path, .. } | Intent::Remove(path) => {
            vec![path]
        }
    }
}

pub(super) const fn put_path(change: &Change) -> Option<&TreePath> {
    match change {
        Change::PutFile { path, .. } | Change::PutSymlink { path, .. } => Some(path),
        Change::MakeFolder { .. }
        | Change::SetMeta { .. }
        | Change::Remove { .. }
        | Change::Move { .. }
        | Change::Copy { .. } => None,
    }
}

fn refusal(intent: &Intent, error: EditError) -> Option<Refused> {
    let path = paths(intent).into_iter().next()?.clone();
    Some(Refused { path, error })
}

/// Whether two entries hold the same: the same content, or both are folders.
pub(super) fn holds_same(one: &Entry, other: &Entry) -> bool {
    match (&one.kind, &other.kind) {
        (Kind::Folder(_), Kind::Folder(_)) => true,
        (one, other) => one == other,
    }
}
