//! One page of a folder: sealed outside, entries or links to further pages inside.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::Folder;
use super::entry::Entry;
use super::json::{MalformedPage, entry_text, parse_page};
use crate::crypto::{OpenError, SEAL_OVERHEAD_BYTES, Secret, open, seal, sha256};
use crate::formats::SealedPage;
use crate::units::{AccountId, NodeHash, NodeId, PAGE_BYTES_MAX, VolumeId};

/// Largest plain page.
pub(super) const PLAIN_BYTES_MAX: usize = PAGE_BYTES_MAX - SEAL_OVERHEAD_BYTES;

/// An opened page.
#[derive(Debug)]
pub(super) struct Page {
    /// 0 for a leaf, one more per level above.
    pub(super) level: u8,
    pub(super) body: Body,
}

#[derive(Debug)]
pub(super) enum Body {
    /// Entries in the order of their names.
    Leaf(Vec<Item>),
    /// Links to the pages below, in the order of their lower bounds; never empty.
    Inner(Vec<Child>),
}

/// An entry with the bytes it takes in a page, its comma counted.
#[derive(Clone, Debug)]
pub(super) struct Item {
    pub(super) entry: Arc<Entry>,
    pub(super) bytes: usize,
}

impl Item {
    pub(super) fn new(entry: Arc<Entry>) -> Self {
        let bytes = entry_text(&entry).len() + 1;
        Self { entry, bytes }
    }
}

/// A link from an inner page.
#[derive(Clone, Debug)]
pub(super) struct Child {
    /// No name in the page below is smaller. The first child's is its own page's.
    pub(super) low: Arc<[u8]>,
    pub(super) hash: NodeHash,
}

/// Which page is meant, and what it has to be.
#[derive(Clone, Debug)]
pub(super) struct PageLink {
    pub(super) hash: NodeHash,
    pub(super) low: Arc<[u8]>,
    /// `None` for a top page, which tells itself.
    pub(super) level: Option<u8>,
}

impl PageLink {
    pub(super) fn top(folder: &Folder) -> Self {
        Self {
            hash: folder.hash,
            low: Arc::from([]),
            level: None,
        }
    }

    /// The link from an inner page of `level`.
    pub(super) fn below(level: u8, child: &Child) -> Self {
        let level = Some(level.saturating_sub(1));
        Self {
            hash: child.hash,
            low: Arc::clone(&child.low),
            level,
        }
    }
}

/// A page that is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PageError {
    /// Longer than any page.
    #[error("a page of {bytes} bytes is above {PAGE_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// It does not open under its folder's key at its place.
    #[error("it does not open")]
    Open(#[from] OpenError),
    /// It opens, but was not written by the rules.
    #[error("it is malformed")]
    Malformed(#[from] MalformedPage),
    /// Its level or the order of its names is not what its place asks for.
    #[error("it is out of order")]
    Order,
}

/// What a page is sealed with beside the folder's key: type ‖ account ‖ volume ‖ node id ‖ page
/// key, where the page key is the SHA-256 of its lower bound.
pub(super) type PageContext = [u8; 88];

pub(super) fn page_context(
    (account, volume): (&AccountId, &VolumeId),
    folder: &NodeId,
    low: &[u8],
) -> PageContext {
    let mut context = [0; 88];
    let fields = [
        b"treepage",
        &account.0[..],
        &volume.0,
        &folder.0,
        &sha256(low),
    ]
    .concat();
    context.copy_from_slice(&fields);
    context
}

pub(super) fn seal_page(key: &Secret, context: &PageContext, text: String) -> SealedPage {
    let plain = Zeroizing::new(text);
    SealedPage::new(seal(key, context, plain.as_bytes()))
}

pub(super) fn open_page(
    key: &Secret,
    context: &PageContext,
    link: &PageLink,
    sealed: &[u8],
) -> Result<Page, PageError> {
    let plain = Zeroizing::new(open(key, context, sealed)?);
    let page = parse_page(&plain)?;
    if link.level.is_some_and(|level| level != page.level) || !page.is_ordered(&link.low) {
        return Err(PageError::Order);
    }
    Ok(page)
}

impl Page {
    fn is_ordered(&self, low: &[u8]) -> bool {
        match &self.body {
            Body::Leaf(items) => {
                items
                    .first()
                    .is_none_or(|first| first.entry.name.as_bytes() >= low)
                    && items.is_sorted_by(|a, b| a.entry.name < b.entry.name)
            }
            Body::Inner(children) => {
                children.first().is_some_and(|first| &first.low[..] == low)
                    && children.is_sorted_by(|a, b| a.low < b.low)
            }
        }
    }
}

/// Which child of an inner page holds `name`: the last whose lower bound is not above it.
pub(super) fn child_for<T>(children: &[T], name: &[u8], low: impl Fn(&T) -> &[u8]) -> usize {
    children
        .partition_point(|child| low(child) <= name)
        .saturating_sub(1)
}
