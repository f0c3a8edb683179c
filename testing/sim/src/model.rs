//! What an owner should see: every path with the contents that may be there.
//!
//! Most often that is one. An operation whose end was not seen leaves two: it may have been done,
//! or be done yet, by a request that is still on its way.

use std::collections::BTreeMap;
use std::fmt;

use planet::noise;

/// A file's content, made of a seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Content {
    pub(crate) seed: u64,
    pub(crate) bytes: usize,
}

impl Content {
    pub(crate) fn make(self) -> Vec<u8> {
        noise(self.seed, self.bytes)
    }
}

impl fmt::Display for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} B of {:x}", self.bytes, self.seed)
    }
}

/// What may be at a path: `None` for nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Possible(Vec<Option<Content>>);

impl Possible {
    fn certain(content: Option<Content>) -> Self {
        Self(vec![content])
    }

    fn or(&mut self, content: Option<Content>) {
        if !self.0.contains(&content) {
            self.0.push(content);
        }
    }

    /// Whether nothing may be there.
    pub(crate) fn may_be_nothing(&self) -> bool {
        self.0.contains(&None)
    }

    /// Whether something may be there.
    pub(crate) fn may_be_something(&self) -> bool {
        self.0.iter().any(Option::is_some)
    }

    /// Whether `bytes` may be there.
    pub(crate) fn may_be(&self, bytes: &[u8]) -> bool {
        let contents = self.0.iter().flatten();
        contents
            .filter(|content| content.bytes == bytes.len())
            .any(|content| content.make() == bytes)
    }

    /// Whether a file of so many bytes may be there.
    pub(crate) fn may_have_size(&self, bytes: u64) -> bool {
        let mut contents = self.0.iter().flatten();
        contents.any(|content| content.bytes as u64 == bytes)
    }
}

impl fmt::Display for Possible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, content) in self.0.iter().enumerate() {
            let or = if index == 0 { "" } else { " or " };
            match content {
                Some(content) => write!(f, "{or}{content}")?,
                None => write!(f, "{or}nothing")?,
            }
        }
        Ok(())
    }
}

/// The files of a device, by path.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Files(BTreeMap<String, Possible>);

impl Files {
    pub(crate) fn at(&self, path: &str) -> Possible {
        let known = self.0.get(path).cloned();
        known.unwrap_or_else(|| Possible::certain(None))
    }

    /// Paths where something may be.
    pub(crate) fn paths(&self) -> Vec<String> {
        let some = self.0.iter().filter(|(_, file)| file.may_be_something());
        some.map(|(path, _)| path.clone()).collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &Possible)> {
        self.0.iter()
    }

    /// From now on each of `changes` may have been made.
    pub(crate) fn begin(&mut self, changes: &[(String, Vec<Option<Content>>)]) {
        for (path, contents) in changes {
            let mut file = self.at(path);
            contents.iter().for_each(|content| file.or(*content));
            self.0.insert(path.clone(), file);
        }
    }

    /// All of `changes` were made. Where what was made is itself uncertain, it stays so.
    pub(crate) fn end(&mut self, changes: Vec<(String, Vec<Option<Content>>)>) {
        for (path, contents) in changes {
            self.0.insert(path, Possible(contents));
        }
    }

    /// What may be at `path`, as a change.
    pub(crate) fn contents(&self, path: &str) -> Vec<Option<Content>> {
        self.at(path).0
    }
}
