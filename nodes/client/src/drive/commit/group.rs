//! Group commit: what several runs of this program want while a root is under way shares the next.
//!
//! The first to come starts a task that commits group after group until nobody waits, so a caller
//! that goes away takes nothing of the others with it. Each hears only of its own changes, and
//! only when their root is durable. Changes that must be followed to the letter, and removals,
//! have a root of their own: what they may do depends on what stands in the tree.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::wire::limits::{NODES_PER_PUT_MAX, RECEIPT_SEGMENTS_PER_PAGE_MAX};
use tokio::sync::oneshot;

use super::pace::Pace;
use super::send::Sent;
use super::{CommitError, Intent, Outcome, Run, Wanted};
use crate::drive::open::{Drive, Head};
use crate::drive::storage::Lock;

/// Intents that share a root, unless one caller has more.
const INTENTS_MAX: usize = 8_192;

/// Commits of one drive: those that wait, and the state the last one left.
#[derive(Debug, Default)]
pub(in crate::drive) struct Commits {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Job>,
    /// A task takes from `waiting`.
    is_running: bool,
    head: Option<Head>,
}

/// What one run wants.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) wanted: Wanted,
    pub(super) run: Arc<Run>,
    head: Head,
    answer: oneshot::Sender<Result<Outcome, CommitError>>,
}

/// Commits what is wanted, in one root with what others want at the same time.
pub(super) async fn commit(
    drive: &Drive,
    head: Head,
    run: Arc<Run>,
    wanted: Wanted,
) -> Result<Outcome, CommitError> {
    let (answer, told) = oneshot::channel();
    let job = Job {
        wanted,
        run,
        head,
        answer,
    };
    if drive.commits.push(job) {
        let drive = drive.clone();
        tasks::spawn(async move { Turn(&drive).run().await });
    }
    told.await.map_err(|_| CommitError::Interrupted)?
}

/// The task that commits; when it ends, however it ends, the next job starts another.
struct Turn<'a>(&'a Drive);

impl Turn<'_> {
    async fn run(self) {
        while let Some(group) = self.0.commits.next_group(self.uploads_max()) {
            self.0.commit_jobs(group).await;
        }
    }

    /// Uploads that a root may end where this Bridge is asked.
    fn uploads_max(&self) -> usize {
        self.0.transfer.api().uploads_per_commit_max()
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.0.commits.state();
        // Where the task was stopped half-way, those that wait are told by their channels.
        state.waiting.clear();
        state.is_running = false;
    }
}

impl Commits {
    /// Adds a job; `true` where nobody takes it yet.
    fn push(&self, job: Job) -> bool {
        let mut state = self.state();
        state.waiting.push_back(job);
        !std::mem::replace(&mut state.is_running, true)
    }

    /// The jobs that share the next root. Where there are none, the turn is over.
    fn next_group(&self, uploads_max: usize) -> Option<Vec<Job>> {
        let mut state = self.state();
        let Some(first) = state.waiting.pop_front() else {
            state.is_running = false;
            return None;
        };
        let mut load = Load {
            uploads_max,
            ..Load::default()
        };
        let mut shares = load.take(&first);
        let mut group = vec![first];
        while shares && let Some(next) = state.waiting.front() {
            shares = load.take(next);
            if shares {
                group.extend(state.waiting.pop_front());
            }
        }
        Some(group)
    }

    fn head(&self) -> Option<Head> {
        self.state().head.clone()
    }

    fn set_head(&self, head: Head) {
        self.state().head = Some(head);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a group's commit carries.
#[derive(Debug, Default)]
struct Load {
    uploads_max: usize,
    intents: usize,
    uploads: usize,
    segments: usize,
    nodes: usize,
}

impl Load {
    /// Adds a job; `false` where others cannot share a root with it, or no more have room.
    fn take(&mut self, job: &Job) -> bool {
        self.intents += job.wanted.intents.len();
        if let Some(upload) = &job.wanted.upload {
            self.uploads += 1;
            self.segments += upload.receipts.segments.len();
            self.nodes += upload.nodes.len();
        }
        let shares = |intent: &Intent| match intent {
            Intent::Put(_) | Intent::Folder { .. } | Intent::Replace { .. } => true,
            Intent::Remove(_) | Intent::Exactly(_) => false,
        };
        self.intents <= INTENTS_MAX
            && self.uploads <= self.uploads_max
            && self.segments <= RECEIPT_SEGMENTS_PER_PAGE_MAX
            && self.nodes <= NODES_PER_PUT_MAX
            && job.wanted.intents.iter().all(shares)
    }
}

impl Job {
    fn tell(self, told: Result<Outcome, CommitError>) {
        // Who does not wait any more does not hear it.
        let _gone = self.answer.send(told);
    }
}

impl Drive {
    /// Commits jobs together; one by one where one of them may have spoilt it for all.
    async fn commit_jobs(&self, jobs: Vec<Job>) {
        match self.commit_group(&jobs).await {
            Ok(outcomes) => {
                for (job, outcome) in jobs.into_iter().zip(outcomes) {
                    job.tell(Ok(outcome));
                }
            }
            Err(error) if jobs.len() > 1 && error.may_be_of_one() => {
                tracing::debug!(%error, jobs = jobs.len(), "a shared root was refused");
                for job in jobs {
                    let alone = std::slice::from_ref(&job);
                    let told = self.commit_group(alone).await;
                    job.tell(told.map(|mut outcomes| outcomes.pop().unwrap_or_default()));
                }
            }
            Err(error) => self.tell_all(jobs, error),
        }
    }

    fn tell_all(&self, mut jobs: Vec<Job>, error: CommitError) {
        if let (Some(only), true) = (jobs.pop(), jobs.is_empty()) {
            return only.tell(Err(error));
        }
        let error = Arc::new(error);
        for job in jobs {
            job.tell(Err(CommitError::Shared(Arc::clone(&error))));
        }
    }

    /// Commits jobs in one root. Holds the lock of the home, so that runs of one device take
    /// turns instead of overtaking each other.
    async fn commit_group(&self, jobs: &[Job]) -> Result<Vec<Outcome>, CommitError> {
        let _turn = self.lock_home().await?;
        let mut head = self.newest_head(jobs).await?;
        // Node ids and keys follow from it. It stays while this is tried again, so that pages
        // which a newer root does not touch stay the same as well, and are not sent twice.
        let seed = self.draw_secret();
        let (mut sent, mut pace) = (Sent::default(), Pace::start());
        loop {
            let (edited, outcomes) = self.edit(&head, jobs, &seed).await?;
            let uploads = jobs.iter().filter_map(|job| job.wanted.upload.as_ref());
            let uploads: Vec<_> = uploads.collect();
            if edited.top == head.tree.top().hash && uploads.is_empty() {
                return Ok(outcomes);
            }
            let signed = self.sign(&head, &edited)?;
            let seen = self.root_seen();
            let newer = self.send(&edited, &signed, &uploads, &mut sent).await?;
            let Some(newer) = newer else {
                let before = head.tree.clone();
                let head = self.settle(head, &edited, signed)?;
                for job in jobs {
                    let alone = jobs.iter().all(|other| Arc::ptr_eq(&other.run, &job.run));
                    let mixed = !alone || job.run.is_foreign(&before);
                    job.run.set_own(head.tree.clone(), mixed);
                }
                self.commits.set_head(head);
                return Ok(outcomes);
            };
            tracing::debug!(seq = newer.seq, "root conflict, rebasing");
            let refused = |error| CommitError::Newer(Box::new(error));
            let seen = seen.map_err(refused)?;
            head = self.accept(&newer.root.0, seen).await.map_err(refused)?;
            pace.lost(&*self.environment).await?;
        }
    }

    async fn lock_home(&self) -> Result<Lock, CommitError> {
        let home = self.home.clone();
        let lock = tasks::spawn_blocking(move || home.lock()).await;
        lock.map_err(|_| CommitError::Interrupted)?
            .map_err(CommitError::Lock)
    }

    /// The newest state that anybody on this device knows of.
    async fn newest_head(&self, jobs: &[Job]) -> Result<Head, CommitError> {
        let known = jobs.iter().map(|job| job.head.clone());
        let newest = known.chain(self.commits.head()).max_by_key(Head::seq);
        let refused = |error| CommitError::Newer(Box::new(error));
        let seen = self.root_seen().map_err(refused)?;
        let seen = seen.map_or(0, |seen| seen.unverified().lineage.seq());
        match newest {
            Some(head) if head.seq() >= seen => Ok(head),
            // Another run of this device committed meanwhile.
            _ => self.head().await.map_err(refused),
        }
    }
}
