//! The owner's side: drives uploads and downloads.
//!
//! [`bridge_api`] holds the Bridge's calls, [`transfer`] what up- and downloads share,
//! [`upload`] and [`download`] move blobs, [`audit`] asks whether they are still there. Whoever moves shards (the drive, gateways, repair)
//! does it through these.

pub mod audit;
pub mod bridge_api;
pub mod download;
pub mod drive;
pub mod transfer;
pub mod upload;
