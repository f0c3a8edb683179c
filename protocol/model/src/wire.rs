//! What travels between the three parties: tickets, receipts, orders and the Bridge's API.
//!
//! Permissions and proofs are fixed-width binary and signed; everything else is JSON. Lists have
//! a named maximum, checked by whoever receives them (`docs/spec/wire.md`).

pub mod api;
pub mod audit;
pub mod control;
mod leaves;
pub mod limits;
#[cfg(feature = "openapi")]
pub(crate) mod openapi;
mod problem;
mod receipt;
pub mod repair;
mod schedule;
mod signed;
mod ticket;
pub mod upkeep;
mod version;

pub use leaves::{
    LEAF_PROOF, LeafHeaderError, content_range, decode_proof, encode_proof, parse_range_header,
    range_header,
};
pub use problem::{Problem, ProblemCode};
pub use receipt::{StoreReceipt, StoreReceiptError, TransferReceipt};
pub use schedule::{HoursPerWeekError, Schedule};
pub use signed::{Base64, Signed, SignedError, SignedKind};
pub use ticket::{
    Action, SerialKey, Ticket, TicketError, TicketPurpose, ValidTicket, split_ticket_header,
    ticket_header,
};
pub use version::{
    COMMITS_NAME_UPLOADS, HEALS, PROTOCOL_HEADER, Program, ProtocolVersions, ProtocolVersionsError,
    VersionRefused,
};
