//! The stored formats: what an owner's bytes look like outside the owner's machine.
//!
//! A file version is cut by a [`shape`], listed in a [`manifest`], reached from a sealed
//! [`tree`], whose top a signed [`root`] names; a [`device_list`] says who may sign roots.
//! A [`journal`] is what a device remembers of an upload under way.
//! Nothing here reads or writes anything: pages come in as bytes and go out as bytes, and an
//! operation that lacks pages says which ([`Step::Need`]).

pub mod device_list;
pub mod journal;
pub mod manifest;
pub mod root;
pub mod shape;
pub mod tree;

use crate::crypto::sha256;
use crate::units::NodeHash;

/// What an operation came to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Step<T> {
    /// It is done.
    Ready(T),
    /// These pages are needed first, at most [`NEED_PAGES_MAX`]; fetch them and call again.
    Need(Vec<NodeHash>),
}

/// Most pages that one [`Step::Need`] asks for.
pub const NEED_PAGES_MAX: usize = 128;

/// A sealed page of a tree or a manifest, with the hash that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedPage {
    hash: NodeHash,
    bytes: Vec<u8>,
}

impl SealedPage {
    /// Names `bytes` by their hash.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self {
            hash: NodeHash(sha256(&bytes)),
            bytes,
        }
    }

    /// The SHA-256 of the sealed bytes.
    #[must_use]
    pub const fn hash(&self) -> NodeHash {
        self.hash
    }

    /// The sealed bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The sealed bytes, given away.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}
