//! Paths in the cloud as people type them.

use model::formats::tree::{Name, PathError, TreePath};

/// A path as it was typed: slashes at the end and doubled ones are forgiven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypedPath {
    /// Where it leads.
    pub path: TreePath,
    /// It ended in a slash: what is in it is meant, or it must be a folder.
    pub slash: bool,
}

impl TypedPath {
    /// Reads an absolute path.
    ///
    /// # Errors
    /// [`PathError`], also for `..`.
    pub fn parse(typed: &[u8]) -> Result<Self, PathError> {
        if !typed.starts_with(b"/") {
            return Err(PathError::Relative {
                path: String::from_utf8_lossy(typed).into_owned(),
            });
        }
        let names = typed
            .split(|byte| *byte == b'/')
            .filter(|name| !name.is_empty() && *name != b".");
        let mut path = TreePath::top();
        for name in names {
            path = path.join(Name::new(name)?)?;
        }
        Ok(Self {
            path,
            slash: super::slash::ends_in_slash(typed),
        })
    }
}

/// `path` and the names of `below` under it.
///
/// # Errors
/// [`PathError`] for bytes that are no name, and beyond the greatest depth.
#[cfg(not(target_family = "wasm"))]
pub(super) fn extend(path: &TreePath, below: &[Vec<u8>]) -> Result<TreePath, PathError> {
    below
        .iter()
        .try_fold(path.clone(), |path, name| path.join(Name::new(name)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slashes_are_forgiven_and_noted() {
        for (typed, path, slash) in [
            ("/", "/", true),
            ("//", "/", true),
            ("/a", "/a", false),
            ("/a/", "/a", true),
            ("/a//b", "/a/b", false),
            ("/a/./b/.", "/a/b", true),
        ] {
            let expected = TypedPath {
                path: TreePath::parse(path.as_bytes()).unwrap(),
                slash,
            };
            assert_eq!(
                TypedPath::parse(typed.as_bytes()).unwrap(),
                expected,
                "{typed}"
            );
        }
        assert!(TypedPath::parse(b"a").is_err());
        assert!(TypedPath::parse(b"/a/../b").is_err());
    }
}
