//! Buffers that are used again, so that moving shards neither takes memory on a stranger's word
//! nor pays for fresh pages each time.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

/// Buffers of one size. How many are out at a time is bounded by whoever takes them; as many are
/// kept.
#[derive(Clone, Debug)]
pub(crate) struct Buffers {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    buffer_bytes: usize,
    kept_max: usize,
    free: Mutex<Vec<Vec<u8>>>,
}

/// A buffer on loan: goes back when dropped, also from inside the [`Bytes`] it was turned into.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    len: usize,
    home: Arc<Inner>,
    /// The right to have it, held as long as its memory is.
    _turn: Option<OwnedSemaphorePermit>,
}

impl Buffers {
    pub(crate) fn new(buffer_bytes: usize, kept_max: usize) -> Self {
        let free = Mutex::default();
        Self {
            inner: Arc::new(Inner {
                buffer_bytes,
                kept_max,
                free,
            }),
        }
    }

    /// An empty buffer; `turn` is given back when its memory is.
    pub(crate) fn take(&self, turn: Option<OwnedSemaphorePermit>) -> Buffer {
        let kept = self
            .inner
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let (bytes, home) = (kept.unwrap_or_default(), Arc::clone(&self.inner));
        Buffer {
            bytes,
            len: 0,
            home,
            _turn: turn,
        }
    }
}

impl Buffer {
    /// Appends `bytes`; `false` where they do not fit.
    ///
    /// A fresh buffer grows with what arrives: nothing is set aside for what was only announced.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> bool {
        let end = self.len + bytes.len();
        if end > self.home.buffer_bytes {
            return false;
        }
        if end > self.bytes.len() {
            let grown = end.next_power_of_two().min(self.home.buffer_bytes);
            self.bytes.resize(grown, 0);
        }
        if let Some(free) = self.bytes.get_mut(self.len..end) {
            free.copy_from_slice(bytes);
        }
        self.len = end;
        true
    }

    /// The first `len` bytes, to be filled; at most the size of a buffer.
    pub(crate) fn fill(&mut self, len: usize) -> &mut [u8] {
        self.len = len.min(self.home.buffer_bytes);
        if self.bytes.len() < self.len {
            self.bytes.resize(self.len, 0);
        }
        self.bytes.get_mut(..self.len).unwrap_or_default()
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut free = self
            .home
            .free
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if free.len() < self.home.kept_max {
            free.push(std::mem::take(&mut self.bytes));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_and_are_bounded() {
        let buffers = Buffers::new(100, 1);
        let (mut one, two) = (buffers.take(None), buffers.take(None));
        assert!(one.append(&[1; 60]));
        assert!(one.append(&[2; 40]));
        assert!(!one.append(&[3]));
        let bytes = one.into_bytes();
        assert_eq!((bytes.len(), bytes[59], bytes[60]), (100, 1, 2));
        drop(bytes.slice(10..20));
        drop((bytes, two));
        assert_eq!(buffers.inner.free.lock().unwrap().len(), 1);

        let mut again = buffers.take(None);
        assert!(again.as_ref().is_empty());
        again.fill(10).copy_from_slice(&[9; 10]);
        assert_eq!(again.as_ref(), [9; 10]);
    }

    #[test]
    fn memory_follows_what_arrived() {
        let mut buffer = Buffers::new(1_000_000, 1).take(None);
        assert!(buffer.append(&[1; 10]));
        assert!(buffer.bytes.len() <= 16);
    }
}
