//! The body of a request: chunks in memory, sent as they are and cheap to send again.

use std::collections::VecDeque;

use bytes::Bytes;

/// Chunks that are sent one after the other, without copying them together.
#[derive(Clone, Debug, Default)]
pub struct Payload {
    chunks: VecDeque<Bytes>,
    bytes_left: u64,
}

impl Payload {
    /// No body.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Bytes that remain to be sent.
    #[must_use]
    pub const fn len(&self) -> u64 {
        self.bytes_left
    }

    /// Whether nothing remains to be sent.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes_left == 0
    }
}

impl FromIterator<Bytes> for Payload {
    fn from_iter<I: IntoIterator<Item = Bytes>>(chunks: I) -> Self {
        let chunks: VecDeque<Bytes> = chunks.into_iter().filter(|c| !c.is_empty()).collect();
        let bytes_left = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        Self { chunks, bytes_left }
    }
}

impl From<Vec<Bytes>> for Payload {
    fn from(chunks: Vec<Bytes>) -> Self {
        chunks.into_iter().collect()
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        [bytes].into_iter().collect()
    }
}

impl From<Vec<u8>> for Payload {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

/// The chunks, each taken out.
impl Iterator for Payload {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        let chunk = self.chunks.pop_front()?;
        self.bytes_left -= chunk.len() as u64;
        Some(chunk)
    }
}
