//! Every decoder of what a peer, a disk or a user wrote, each as a function of bytes that must
//! neither panic nor take much memory, whatever the bytes are, and that checks what the format
//! promises of what it reads: that it is written again as it was. The fuzzer of `fuzz/` calls
//! them with what it finds, the tests here with what it found before.
//!
//! Bytes under a signature, a seal or a checksum are signed, sealed and summed here first: a
//! fuzzer cannot, and whoever holds the key may be the one who lies.
#![expect(clippy::panic, reason = "a broken promise is what these look for")]

pub mod corpus;
mod disks;
mod formats;
mod journal;
mod json;
mod segments;
mod texts;
mod wire;

/// A decoder under its name.
#[derive(Clone, Copy, Debug)]
pub struct Decoder {
    /// Its name: of the fuzzer's target and of the corpus.
    pub name: &'static str,
    /// Decodes; whether the bytes were accepted.
    pub run: fn(&[u8]) -> bool,
    /// Inputs to begin with, from the encoders.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
#[must_use]
pub fn all() -> Vec<Decoder> {
    let groups = [
        formats::DECODERS,
        journal::DECODERS,
        wire::DECODERS,
        json::DECODERS,
        disks::DECODERS,
        segments::DECODERS,
        texts::DECODERS,
    ];
    groups.concat()
}

/// The decoder `name`.
#[must_use]
pub fn find(name: &str) -> Option<Decoder> {
    all().into_iter().find(|decoder| decoder.name == name)
}
