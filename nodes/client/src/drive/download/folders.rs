//! Folders that are being filled: each gets its time once nothing more comes into it.

use std::collections::BTreeMap;

use super::target::Attributes;

/// A folder's place below the target, and its attributes.
pub(super) type Unfinished = (Vec<Vec<u8>>, Attributes);

/// Folders that were made and not finished yet, by their place.
#[derive(Debug, Default)]
pub(super) struct Folders(BTreeMap<Vec<Vec<u8>>, Attributes>);

impl Folders {
    /// Notes a folder that was made.
    pub(super) fn enter(&mut self, below: Vec<Vec<u8>>, attributes: Attributes) {
        self.0.insert(below, attributes);
    }

    /// The folders that a walk in order, which has come to `now`, will not come back to; those
    /// further down first.
    pub(super) fn left_before(&mut self, now: &[Vec<u8>]) -> Vec<Unfinished> {
        self.remove(|below| !now.starts_with(below))
    }

    /// All that are left, those further down first.
    pub(super) fn all(&mut self) -> Vec<Unfinished> {
        self.remove(|_| true)
    }

    fn remove(&mut self, is_left: impl Fn(&[Vec<u8>]) -> bool) -> Vec<Unfinished> {
        let left = self
            .0
            .keys()
            .filter(|below| is_left(below))
            .cloned()
            .collect::<Vec<_>>();
        let left = left.into_iter().rev();
        left.filter_map(|below| self.0.remove(&below).map(|found| (below, found)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn below(path: &str) -> Vec<Vec<u8>> {
        path.split('/')
            .map(|name| name.as_bytes().to_vec())
            .collect()
    }

    #[test]
    fn a_folder_is_left_once_the_walk_is_past_it() {
        let mut folders = Folders::default();
        for path in ["a", "a/b", "a/b/c", "a/d"] {
            folders.enter(below(path), Attributes::default());
        }
        let places =
            |left: Vec<Unfinished>| -> Vec<_> { left.into_iter().map(|(at, _)| at).collect() };
        assert_eq!(
            places(folders.left_before(&below("a/d/file"))),
            [below("a/b/c"), below("a/b")]
        );
        assert_eq!(
            places(folders.left_before(&below("a/d"))),
            Vec::<Vec<Vec<u8>>>::new()
        );
        assert_eq!(places(folders.all()), [below("a/d"), below("a")]);
    }
}
