//! rsync's slash rule, for both directions: where a source ends up in its destination.
//!
//! `put dir /` makes /dir, `put dir/ /` puts what is in it, a file into an existing folder keeps
//! its name. Nothing here looks at a disk or a tree; both sides are described to it.

/// What is to be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A file or a symlink.
    File,
    /// A folder, to be placed under its name.
    Folder,
    /// What is in a folder: it was named with a slash at the end, or has no name of its own.
    Contents,
}

/// What stands at the destination now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occupant {
    /// Nothing.
    Nothing,
    /// A file or a symlink.
    File,
    /// A folder.
    Folder,
}

/// The destination as it was named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Destination {
    /// What is there now.
    pub occupant: Occupant,
    /// It must be a folder: named with a slash at the end, or one of several sources goes there.
    pub folder_wanted: bool,
}

/// Where the source goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Under its own name into the destination.
    Inside,
    /// Its contents into the destination.
    Contents,
    /// It becomes the destination.
    Exactly,
}

/// The destination is a file and would have to be a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the destination is a file, and this needs a folder")]
pub struct FolderNeeded;

/// Applies the rule.
///
/// # Errors
/// [`FolderNeeded`] where the destination is a file and the source cannot replace it.
pub const fn place(source: Source, to: Destination) -> Result<Placement, FolderNeeded> {
    let into_folder = to.folder_wanted || matches!(to.occupant, Occupant::Folder);
    match (source, to.occupant) {
        (Source::Folder | Source::Contents, Occupant::File) => Err(FolderNeeded),
        (Source::File, Occupant::File) if to.folder_wanted => Err(FolderNeeded),
        (Source::Contents, Occupant::Nothing | Occupant::Folder) => Ok(Placement::Contents),
        (Source::Folder, Occupant::Nothing | Occupant::Folder) => Ok(Placement::Inside),
        (Source::File, _) if into_folder => Ok(Placement::Inside),
        (Source::File, _) => Ok(Placement::Exactly),
    }
}

/// Whether a path was named with a slash (or `/.`) at its end, and so means what is in it.
#[must_use]
pub fn ends_in_slash(path: &[u8]) -> bool {
    path.ends_with(b"/") || path.ends_with(b"/.") || path.ends_with(b"/..") || is_nameless(path)
}

fn is_nameless(path: &[u8]) -> bool {
    path == b"." || path == b".."
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(occupant: Occupant, folder_wanted: bool) -> Destination {
        Destination {
            occupant,
            folder_wanted,
        }
    }

    #[test]
    fn folders_go_inside_and_contents_go_flat() {
        for occupant in [Occupant::Nothing, Occupant::Folder] {
            for wanted in [false, true] {
                let to = to(occupant, wanted);
                assert_eq!(place(Source::Folder, to), Ok(Placement::Inside));
                assert_eq!(place(Source::Contents, to), Ok(Placement::Contents));
            }
        }
    }

    #[test]
    fn a_file_keeps_its_name_in_a_folder_and_takes_another_elsewhere() {
        let file = |occupant, wanted| place(Source::File, to(occupant, wanted));
        assert_eq!(file(Occupant::Folder, false), Ok(Placement::Inside));
        assert_eq!(file(Occupant::Nothing, true), Ok(Placement::Inside));
        assert_eq!(file(Occupant::Nothing, false), Ok(Placement::Exactly));
        assert_eq!(file(Occupant::File, false), Ok(Placement::Exactly));
    }

    #[test]
    fn a_file_is_never_taken_for_a_folder() {
        assert_eq!(
            place(Source::Folder, to(Occupant::File, false)),
            Err(FolderNeeded)
        );
        assert_eq!(
            place(Source::Contents, to(Occupant::File, false)),
            Err(FolderNeeded)
        );
        assert_eq!(
            place(Source::File, to(Occupant::File, true)),
            Err(FolderNeeded)
        );
    }

    #[test]
    fn slashes_are_seen_where_rsync_sees_them() {
        for path in ["dir/", "dir//", "/", ".", "..", "dir/.", "dir/.."] {
            assert!(ends_in_slash(path.as_bytes()), "{path}");
        }
        for path in ["dir", "a/b", "...", "dir/.hidden", "dir/a."] {
            assert!(!ends_in_slash(path.as_bytes()), "{path}");
        }
    }
}
