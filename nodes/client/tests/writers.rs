//! Many writers: whatever devices do at the same time, nothing that was acknowledged is lost, and
//! all of them come to see the same tree.

#[expect(
    clippy::unwrap_used,
    reason = "a network that cannot be started fails the test"
)]
#[expect(dead_code, reason = "other tests use more of it")]
mod network;
#[expect(clippy::unwrap_used, reason = "what a test cannot do fails it")]
mod writers {
    pub(crate) mod crowd;
    mod day;
    mod races;
    mod shared;
    mod versions;
}
