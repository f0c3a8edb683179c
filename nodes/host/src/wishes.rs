//! What the owner of a Host wishes of it while it runs: to leave, to pause, other hours. A small
//! file that `xcore` writes and a running Host looks at; what it says holds until it is changed.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::units::{BridgeId, UnixMs};
use model::wire::Schedule;
use model::wire::upkeep::LeaveWish;
use serde::{Deserialize, Serialize};
use shardstore::disk::{self, Lock};
use shardstore::durable;
use tasks::spawn_blocking;
use tokio_util::sync::CancellationToken;

use crate::host::Node;
use crate::leave;
use crate::limits::WISHES_LOOK;
use crate::upkeep::pause;

/// Name of the file in a Host's data folder.
const FILE_NAME: &str = "wishes.json";
/// Held by whoever changes the file.
const LOCK_NAME: &str = "wishes.lock";
const FILE_BYTES_MAX: u64 = 65_536;
/// Between two looks whether the lock is free.
const LOCK_AGAIN: Duration = Duration::from_millis(10);

/// What the owner wishes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wishes {
    /// To leave, wholly or in part, or to stay after all.
    pub leave: Option<LeaveAsked>,
    /// To rest for a while.
    pub pause: Option<Pause>,
    /// Other hours than those configured.
    pub schedule: Option<Schedule>,
    /// Space that is offered no more since it was given back.
    pub given_back: Option<GivenBack>,
}

/// A wish to leave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaveAsked {
    /// What is wished, of all Bridges together.
    pub wish: LeaveWish,
    /// When; of two wishes the later one holds.
    pub at: UnixMs,
    /// Who asks.
    pub by: AskedBy,
    /// How much of a partial exit each Bridge is asked for, once that is known.
    #[serde(default)]
    pub parts: Option<BTreeMap<BridgeId, u64>>,
    /// Whether every Bridge has said that it is done.
    #[serde(default)]
    pub done: bool,
}

/// Who wants to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AskedBy {
    /// The owner, by `xcore exit`.
    Owner,
    /// The Host itself, whose volumes hold more than they may.
    Space,
}

/// A rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pause {
    /// Its end; without one it lasts until the owner says otherwise.
    pub until: Option<UnixMs>,
}

/// What partial exits have given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenBack {
    /// Bytes.
    pub bytes: u64,
    /// Of so many that were configured then; once more are, it is forgotten.
    pub of_bytes: u64,
}

/// Wishes that cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum WishesError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file holds something else.
    #[error("{} holds no wishes", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        #[source]
        source: serde_json::Error,
    },
    /// The file cannot be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Wishes {
    /// Reads the wishes in the folder `data`; none where there is no file.
    ///
    /// # Errors
    /// [`WishesError`] where the file cannot be used.
    pub fn read(data: &Path) -> Result<Self, WishesError> {
        let path = data.join(FILE_NAME);
        match disk::read(&path, FILE_BYTES_MAX) {
            Ok(bytes) => serde_json::from_slice(&bytes)
                .map_err(|source| WishesError::Damaged { path, source }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(source) => Err(WishesError::Read { path, source }),
        }
    }

    /// Changes the wishes in the folder `data`, durably, alone at a time, and returns them.
    ///
    /// # Errors
    /// [`WishesError`] where they cannot be read or written.
    pub fn change(data: &Path, change: impl FnOnce(&mut Self)) -> Result<Self, WishesError> {
        let path = data.join(FILE_NAME);
        let failed = |source| WishesError::Write {
            path: path.clone(),
            source,
        };
        let _lock = lock(data).map_err(failed)?;
        let before = Self::read(data)?;
        let mut wishes = before.clone();
        change(&mut wishes);
        if wishes != before {
            // Numbers and text as JSON: this cannot fail.
            let bytes = serde_json::to_vec_pretty(&wishes).unwrap_or_default();
            durable::replace(&path, &bytes).map_err(failed)?;
        }
        Ok(wishes)
    }

    /// Wishes to leave, or to stay, from `now` on. Returns when that was wished.
    pub fn ask(&mut self, wish: LeaveWish, by: AskedBy, now: UnixMs) -> UnixMs {
        let before = self.leave.as_ref().map_or(UnixMs(0), |leave| leave.at);
        let at = now.max(before.plus_ms(1));
        self.leave = Some(LeaveAsked {
            wish,
            at,
            by,
            parts: None,
            done: false,
        });
        at
    }

    /// Whether the owner wishes that the Host rests at `now`.
    #[must_use]
    pub fn is_paused(&self, now: UnixMs) -> bool {
        let rest = self.pause;
        rest.is_some_and(|pause| pause.until.is_none_or(|until| now < until))
    }

    /// Whether it wants no new shards, because it leaves.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.leave.as_ref().is_some_and(|leave| match leave.wish {
            LeaveWish::Stay => false,
            LeaveWish::Part { .. } => !leave.done,
            LeaveWish::All => true,
        })
    }

    /// What is offered where `space_bytes` are configured.
    #[must_use]
    pub fn space_bytes(&self, space_bytes: u64) -> u64 {
        match self.given_back {
            Some(GivenBack { bytes, of_bytes }) if space_bytes <= of_bytes => {
                space_bytes.min(of_bytes.saturating_sub(bytes))
            }
            Some(_) | None => space_bytes,
        }
    }
}

/// Waits until nobody else changes the file, which takes moments.
fn lock(data: &Path) -> io::Result<Lock> {
    let path = data.join(LOCK_NAME);
    loop {
        if let Some(lock) = Lock::take(&path)? {
            return Ok(lock);
        }
        std::thread::sleep(LOCK_AGAIN);
    }
}

/// Looks for new wishes, and after leaving, until `stop` is cancelled.
pub(crate) async fn heed(node: Arc<Node>, stop: CancellationToken) {
    loop {
        let looking = Arc::clone(&node);
        let looked = spawn_blocking(move || look(&looking)).await;
        if let Ok(Err(error)) = looked {
            tracing::warn!(
                error = crate::join::with_causes(&error),
                "wishes not heeded"
            );
        }
        if !pause(&stop, WISHES_LOOK).await {
            return;
        }
    }
}

fn look(node: &Node) -> Result<(), WishesError> {
    let data = &node.config.settings().data;
    node.take_wishes(Wishes::read(data)?);
    if let Some(change) = leave::due(node) {
        node.take_wishes(Wishes::change(data, change)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_kept_and_of_two_to_leave_the_later_holds() {
        let data = tempfile::tempdir().unwrap();
        assert_eq!(Wishes::read(data.path()).unwrap(), Wishes::default());
        let ask = |wish, now| {
            Wishes::change(data.path(), |wishes| {
                wishes.ask(wish, AskedBy::Owner, UnixMs(now));
            })
        };
        ask(LeaveWish::All, 50).unwrap();
        let stays = ask(LeaveWish::Stay, 7).unwrap();
        let read = Wishes::read(data.path()).unwrap();
        assert_eq!(read, stays);
        assert_eq!(read.leave.unwrap().at, UnixMs(51), "the clock went back");
    }

    #[test]
    fn a_pause_ends_and_space_given_back_is_not_offered_until_more_is_configured() {
        let mut wishes = Wishes::default();
        assert!(!wishes.is_paused(UnixMs(5)));
        wishes.pause = Some(Pause { until: None });
        assert!(wishes.is_paused(UnixMs(5)));
        let until = Some(UnixMs(5));
        wishes.pause = Some(Pause { until });
        assert!(wishes.is_paused(UnixMs(4)) && !wishes.is_paused(UnixMs(5)));

        wishes.given_back = Some(GivenBack {
            bytes: 300,
            of_bytes: 1_000,
        });
        assert_eq!(
            [1_000, 800, 500].map(|space| wishes.space_bytes(space)),
            [700, 700, 500]
        );
        assert_eq!(wishes.space_bytes(1_001), 1_001);
    }
}
