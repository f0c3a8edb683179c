//! The owner's files as a filesystem: paths, folders and versions over sealed pages and blobs.
//!
//! A [`Drive`] is one device's view of one volume. Each flow has its file: [`join`], `open`,
//! `upload` (put), `download` (get, cat), `file` and `stream` (one file from anywhere, parts of
//! one to anywhere), `list` (ls, stat, du), `arrange` (mkdir, mv, cp), `delete` (rm, purge),
//! `tidy`, `locate` (where), `verify`, and `commit`, through which every change goes.
//!
//! What moves local files, and the home that is a folder, are only where there is a file system.
//! In a browser the rest stands on the app's own [`Storage`] and [`PageCache`].
//!
//! What is absent: no plaintext is ever written anywhere but where the owner asked for it; no
//! root is accepted that a device of the account did not sign or that does not descend from the
//! last one seen; no page is used under another hash than the one asked for.

pub mod arrange;
#[cfg_attr(
    target_family = "wasm",
    expect(
        dead_code,
        reason = "only local files are put so far, and a browser has none"
    )
)]
mod commit;
pub mod delete;
#[cfg(not(target_family = "wasm"))]
pub mod download;
mod file;
mod home;
pub mod join;
#[cfg(not(target_family = "wasm"))]
mod journals;
pub mod list;
pub mod locate;
mod open;
#[cfg(not(target_family = "wasm"))]
mod pages;
mod path;
mod range;
mod read;
pub mod rollback;
pub mod slash;
mod storage;
pub mod stream;
pub mod tidy;
#[cfg(not(target_family = "wasm"))]
pub mod unfinished;
#[cfg(not(target_family = "wasm"))]
pub mod upload;
pub mod verify;
mod watch;

pub use commit::CommitError;
pub use file::{NewContent, NewFile, PutFileError};
pub use home::{DeviceKeys, Home, HomeError, Settings};
pub use model::formats::tree::PathError;
pub use open::{Drive, OpenError};
pub use path::TypedPath;
pub use range::{ByteRange, RangeError};
pub use read::{ReadError, Snapshot, SnapshotWalk};
#[cfg(not(target_family = "wasm"))]
pub use shardstore::durable::create_new as create_private_file;
pub use storage::{Lock, PageCache, Storage};
pub use watch::{Tally, Watcher};
