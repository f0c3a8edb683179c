//! The one way our programs write a small file: whole, durable, and never half of it.

use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::disk::{self, File, Open};

/// Permission bits of a file that only its owner may read.
pub const MODE_PRIVATE: u32 = 0o600;

/// Replaces `path` by `bytes`, mode 0600: temporary file, fsync, rename, fsync of the folder.
/// After a crash at any instant the file holds either its old or its new content.
///
/// # Errors
/// Whatever the file system answers; the old content is then still in place.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_with(path, |out| out.write_all(bytes))
}

/// Like [`replace`], for content that is produced while it is written.
///
/// # Errors
/// Whatever `fill` or the file system answers; the old content is then still in place.
pub fn replace_with(
    path: &Path,
    fill: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let temporary = temporary_beside(path)?;
    let file = File::open(&temporary, Open::Truncate)?;
    let mut out = BufWriter::with_capacity(1 << 16, file.sequential());
    fill(&mut out)?;
    out.into_inner()
        .map_err(io::IntoInnerError::into_error)?
        .into_file()
        .sync_all()?;
    disk::rename(&temporary, path)?;
    sync_folder_of(path)
}

/// Creates `path` with `bytes`, mode 0600, durably, and never replaces an existing file.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] where the file is there, or what the file system answers.
pub fn create_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let temporary = temporary_beside(path)?;
    let file = File::open(&temporary, Open::Truncate)?;
    file.write_all_at(bytes, 0)?;
    file.sync_all()?;
    let linked = disk::link(&temporary, path);
    disk::remove(&temporary)?;
    linked?;
    sync_folder_of(path)
}

/// Makes the entries of the folder that holds `path` durable.
///
/// # Errors
/// Whatever the file system answers.
pub fn sync_folder_of(path: &Path) -> io::Result<()> {
    disk::sync_folder(&disk::folder_of(path))
}

fn temporary_beside(path: &Path) -> io::Result<std::path::PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(".new");
    Ok(path.with_file_name(temporary))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn replaced_content_is_whole_and_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");

        replace(&path, b"first, and longer").unwrap();
        replace(&path, b"second").unwrap();

        assert_eq!(std::fs::read(&path).unwrap(), b"second");
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            MODE_PRIVATE
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn content_that_fails_half_way_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        replace(&path, b"old").unwrap();

        let failed = replace_with(&path, |out| {
            out.write_all(b"ne")?;
            Err(io::Error::other("no more"))
        });

        assert_eq!(failed.unwrap_err().to_string(), "no more");
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn creating_never_replaces() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");

        create_new(&path, b"mine").unwrap();
        let second = create_new(&path, b"yours").unwrap_err();

        assert_eq!(second.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
    }
}
