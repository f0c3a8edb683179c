//! The pages of one volume that are at hand.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::page::{Page, PageContext, PageError, PageLink, open_page, page_context};
use super::{Folder, TreeError};
use crate::crypto::{Secret, sha256};
use crate::formats::Step;
use crate::units::{AccountId, NodeHash, PAGE_BYTES_MAX, VolumeId};

/// Fewest pages a store keeps: every operation gets by with so many.
pub const STORE_PAGES_MIN: usize = 1_024;

/// A bounded cache of a volume's pages, each opened once and kept open.
///
/// It knows a page by the hash of its sealed bytes, so that whoever delivers pages cannot put one
/// in another's place; a page opens only under the key and at the place it was sealed for.
#[derive(Debug)]
pub struct PageStore {
    account: AccountId,
    volume: VolumeId,
    pages_max: usize,
    pages: BTreeMap<NodeHash, Slot>,
    /// Hashes by when they were last used.
    by_use: BTreeMap<u64, NodeHash>,
    clock: u64,
}

#[derive(Debug)]
struct Slot {
    used: u64,
    state: State,
}

#[derive(Debug)]
enum State {
    Sealed(Vec<u8>),
    Open {
        key: Secret,
        context: Box<PageContext>,
        page: Arc<Page>,
    },
}

impl PageStore {
    /// An empty store for at most `pages_max` pages (at least [`STORE_PAGES_MIN`]).
    #[must_use]
    pub fn new(account: AccountId, volume: VolumeId, pages_max: usize) -> Self {
        Self {
            account,
            volume,
            pages_max: pages_max.max(STORE_PAGES_MIN),
            pages: BTreeMap::new(),
            by_use: BTreeMap::new(),
            clock: 0,
        }
    }

    /// Takes a sealed page and returns the hash it is now known by; the least recently used page
    /// makes room. The caller compares the hash with the one it asked for.
    ///
    /// # Errors
    /// [`PageError::TooLong`].
    pub fn insert(&mut self, sealed: Vec<u8>) -> Result<NodeHash, PageError> {
        let bytes = sealed.len();
        if bytes > PAGE_BYTES_MAX {
            return Err(PageError::TooLong { bytes });
        }
        let hash = NodeHash(sha256(&sealed));
        if self.contains(&hash) {
            self.touch(&hash);
            return Ok(hash);
        }
        self.make_room();
        self.clock += 1;
        self.by_use.insert(self.clock, hash);
        self.pages.insert(
            hash,
            Slot {
                used: self.clock,
                state: State::Sealed(sealed),
            },
        );
        Ok(hash)
    }

    /// Whether the page is here.
    #[must_use]
    pub fn contains(&self, hash: &NodeHash) -> bool {
        self.pages.contains_key(hash)
    }

    /// The account whose pages these are.
    #[must_use]
    pub const fn account(&self) -> AccountId {
        self.account
    }

    /// The volume whose pages these are.
    #[must_use]
    pub const fn volume(&self) -> VolumeId {
        self.volume
    }

    /// Opens the page behind `link` in `folder`.
    pub(super) fn open(
        &mut self,
        folder: &Folder,
        link: &PageLink,
    ) -> Result<Step<Arc<Page>>, TreeError> {
        self.touch(&link.hash);
        let scope = (&self.account, &self.volume);
        let Some(slot) = self.pages.get_mut(&link.hash) else {
            return Ok(Step::Need(vec![link.hash]));
        };
        let wanted = page_context(scope, &folder.id, &link.low);
        let refused = |source| TreeError::Page {
            hash: link.hash,
            source,
        };
        match &slot.state {
            State::Open { key, context, page } => {
                let same = **context == wanted && *key == folder.key;
                let fits = link.level.is_none_or(|level| level == page.level);
                match (same, fits) {
                    (true, true) => Ok(Step::Ready(Arc::clone(page))),
                    (true, false) => Err(refused(PageError::Order)),
                    (false, _) => Err(refused(PageError::Open(crate::crypto::OpenError))),
                }
            }
            State::Sealed(sealed) => {
                let page = open_page(&folder.key, &wanted, link, sealed).map_err(refused)?;
                let page = Arc::new(page);
                let (key, context) = (folder.key.clone(), Box::new(wanted));
                slot.state = State::Open {
                    key,
                    context,
                    page: Arc::clone(&page),
                };
                Ok(Step::Ready(page))
            }
        }
    }

    fn touch(&mut self, hash: &NodeHash) {
        if let Some(slot) = self.pages.get_mut(hash) {
            self.clock += 1;
            self.by_use.remove(&slot.used);
            self.by_use.insert(self.clock, *hash);
            slot.used = self.clock;
        }
    }

    fn make_room(&mut self) {
        while self.pages.len() >= self.pages_max {
            let Some((_, oldest)) = self.by_use.pop_first() else {
                return;
            };
            self.pages.remove(&oldest);
        }
    }
}
