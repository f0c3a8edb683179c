//! Names and paths in a volume: bytes, as the owner's system gave them.

use std::fmt;
use std::sync::Arc;

/// Longest name, in bytes.
pub const NAME_BYTES_MAX: usize = 255;
/// Most names in a path.
pub const PATH_DEPTH_MAX: usize = 256;

/// The name of an entry: 1 to 255 bytes, neither `.` nor `..`, without `/` and NUL.
///
/// Only the top folder, which stands in no folder, has an empty one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<[u8]>);

/// An absolute path: the names from the top folder down.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreePath {
    names: Vec<Name>,
}

/// Bytes that are no name or path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathError {
    /// It does not start with `/`.
    #[error("`{path}` is not absolute: it must start with `/`")]
    Relative {
        /// What was given.
        path: String,
    },
    /// Nothing between two slashes, or behind the last one.
    #[error("a name is empty")]
    Empty,
    /// `.` or `..`.
    #[error("`{name}` is no name: paths are taken literally")]
    Dots {
        /// What was given.
        name: String,
    },
    /// A slash or NUL inside a name.
    #[error("`{name}` holds a slash or NUL")]
    Forbidden {
        /// What was given.
        name: String,
    },
    /// A name above [`NAME_BYTES_MAX`].
    #[error("a name of {bytes} bytes is above {NAME_BYTES_MAX}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// More than [`PATH_DEPTH_MAX`] names.
    #[error("a path of {names} names is deeper than {PATH_DEPTH_MAX}")]
    TooDeep {
        /// How many.
        names: usize,
    },
}

impl Name {
    /// Checks `bytes` and takes a copy.
    ///
    /// # Errors
    /// [`PathError`] for bytes that are no name.
    pub fn new(bytes: &[u8]) -> Result<Self, PathError> {
        let text = || String::from_utf8_lossy(bytes).into_owned();
        match bytes {
            [] => Err(PathError::Empty),
            b"." | b".." => Err(PathError::Dots { name: text() }),
            _ if bytes.len() > NAME_BYTES_MAX => Err(PathError::TooLong { bytes: bytes.len() }),
            _ if bytes.iter().any(|byte| matches!(byte, b'/' | 0)) => {
                Err(PathError::Forbidden { name: text() })
            }
            _ => Ok(Self(bytes.into())),
        }
    }

    /// The name of the top folder.
    pub(super) fn top() -> Self {
        Self(Arc::from([]))
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Its bytes, shared.
    pub(super) fn shared(&self) -> Arc<[u8]> {
        Arc::clone(&self.0)
    }
}

impl TreePath {
    /// The path of the top folder: `/`.
    #[must_use]
    pub const fn top() -> Self {
        Self { names: Vec::new() }
    }

    /// Reads an absolute path: `/`, `/a`, `/a/b`.
    ///
    /// # Errors
    /// [`PathError`]; a slash at the end is an empty name, and refused.
    pub fn parse(path: &[u8]) -> Result<Self, PathError> {
        let Some(rest) = path.strip_prefix(b"/") else {
            return Err(PathError::Relative {
                path: String::from_utf8_lossy(path).into_owned(),
            });
        };
        if rest.is_empty() {
            return Ok(Self::top());
        }
        let mut found = Self::top();
        for name in rest.split(|byte| *byte == b'/') {
            found = found.join(Name::new(name)?)?;
        }
        Ok(found)
    }

    /// The path of `name` in this folder.
    ///
    /// # Errors
    /// [`PathError::TooDeep`].
    pub fn join(mut self, name: Name) -> Result<Self, PathError> {
        self.names.push(name);
        let names = self.names.len();
        if names > PATH_DEPTH_MAX {
            Err(PathError::TooDeep { names })
        } else {
            Ok(self)
        }
    }

    /// The path of `name` in this folder, however deep.
    pub(super) fn below(&self, name: Name) -> Self {
        let mut names = Vec::with_capacity(self.names.len() + 1);
        names.extend_from_slice(&self.names);
        names.push(name);
        Self { names }
    }

    /// The names, from the top down.
    #[must_use]
    pub fn names(&self) -> &[Name] {
        &self.names
    }

    /// The last name; `None` for the top folder.
    #[must_use]
    pub fn name(&self) -> Option<&Name> {
        self.names.last()
    }

    /// The folder it stands in; `None` for the top folder.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (_, above) = self.names.split_last()?;
        Some(Self {
            names: above.to_vec(),
        })
    }

    /// Whether it is `other` or lies somewhere below it.
    #[must_use]
    pub fn starts_with(&self, other: &Self) -> bool {
        self.names.starts_with(&other.names)
    }

    /// Its bytes: `/a/b`.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        if self.names.is_empty() {
            return b"/".to_vec();
        }
        self.names
            .iter()
            .flat_map(|name| [b"/", name.as_bytes()].concat())
            .collect()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Name({})", self.0.escape_ascii())
    }
}

impl fmt::Display for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.to_bytes()))
    }
}

impl fmt::Debug for TreePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TreePath({})", self.to_bytes().escape_ascii())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_literally() {
        let long = [&b"/"[..], &[b'x'; 255]].concat();
        for path in [&b"/"[..], b"/a", b"/a/b", b"/...", b"/\xff\xfe/ ", &long] {
            assert_eq!(TreePath::parse(path).unwrap().to_bytes(), path);
        }
        let longer = [&long[..], b"x"].concat();
        for path in [
            &b""[..],
            b"a",
            b"/a/",
            b"//a",
            b"/a//b",
            b"/.",
            b"/a/..",
            b"/\0",
            &longer,
        ] {
            assert!(TreePath::parse(path).is_err(), "{}", path.escape_ascii());
        }
        assert!(TreePath::parse(&b"/a".repeat(PATH_DEPTH_MAX)).is_ok());
        assert!(TreePath::parse(&b"/a".repeat(PATH_DEPTH_MAX + 1)).is_err());
    }

    #[test]
    fn below_means_whole_names() {
        let path = |text: &str| TreePath::parse(text.as_bytes()).unwrap();
        assert!(path("/a/b").starts_with(&path("/a")));
        assert!(path("/a").starts_with(&path("/")));
        assert!(!path("/ab").starts_with(&path("/a")));
        assert_eq!(path("/a/b").parent(), Some(path("/a")));
        assert_eq!(path("/").parent(), None);
    }
}
