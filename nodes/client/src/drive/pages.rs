//! Sealed pages on this device's disk, by hash: what was fetched once is not fetched again.
//!
//! They may be lost or damaged without harm: every page is checked against its hash when it is
//! read, and a page that fails counts as missing. Nothing here opens a page.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use model::units::NodeHash;
use tasks::time::SystemTime;

use super::home::write_unsynced;
use super::storage::PageCache;

/// Bytes of pages kept in one of the 256 folders; 256 MiB in all.
const FOLDER_BYTES_MAX: u64 = 1 << 20;
/// A folder is weighed once in so many additions to it, on average.
const WEIGH_ONE_IN: u8 = 32;

/// A folder of pages.
#[derive(Clone, Debug)]
pub(crate) struct PageFolder {
    dir: PathBuf,
}

impl PageCache for PageFolder {
    fn read(&self, hash: &NodeHash, bytes_max: u64) -> Option<Vec<u8>> {
        let path = self.path(hash);
        if fs::metadata(&path).ok()?.len() > bytes_max {
            return None;
        }
        fs::read(&path).ok()
    }

    fn put(&self, hash: &NodeHash, bytes: &[u8]) {
        if let Err(error) = self.try_put(hash, bytes) {
            tracing::debug!(%error, "page not kept");
        }
    }

    fn remove(&self, hash: &NodeHash) {
        // What is not there is forgotten already.
        let _gone = fs::remove_file(self.path(hash));
    }
}

impl PageFolder {
    pub(crate) const fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    fn try_put(&self, hash: &NodeHash, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(hash);
        let [_, _, chance, ..] = hash.0;
        match write_unsynced(&path, bytes) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let Some(folder) = path.parent() else {
                    return Err(error);
                };
                fs::create_dir_all(folder)?;
                write_unsynced(&path, bytes)?;
            }
            other => other?,
        }
        match path.parent() {
            Some(folder) if chance % WEIGH_ONE_IN == 0 => trim(folder, FOLDER_BYTES_MAX),
            _ => Ok(()),
        }
    }

    fn path(&self, hash: &NodeHash) -> PathBuf {
        let name = hash.to_string();
        let folder: String = name.chars().take(2).collect();
        self.dir.join(folder).join(name)
    }
}

/// Removes the oldest files of `folder` until it holds at most `bytes_max`.
fn trim(folder: &Path, bytes_max: u64) -> io::Result<()> {
    let mut files: Vec<(SystemTime, u64, PathBuf)> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        files.push((metadata.modified()?, metadata.len(), entry.path()));
    }
    files.sort_unstable();
    let mut total: u64 = files.iter().map(|(_, bytes, _)| bytes).sum();
    for (_, bytes, path) in files {
        if total <= bytes_max {
            break;
        }
        fs::remove_file(path)?;
        total -= bytes;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use model::crypto::sha256;

    use super::*;

    fn page(byte: u8) -> (NodeHash, Vec<u8>) {
        let bytes = vec![byte; 1_000];
        (NodeHash(sha256(&bytes)), bytes)
    }

    #[test]
    fn a_page_is_kept_until_it_is_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let kept = PageFolder::new(folder.path().join("pages"));
        let cache: &dyn PageCache = &kept;
        let (hash, bytes) = page(1);
        assert_eq!(cache.get(&hash), None);

        cache.put(&hash, &bytes);
        assert_eq!(cache.get(&hash), Some(bytes));

        write_unsynced(&kept.path(&hash), b"other bytes").unwrap();
        assert_eq!(cache.get(&hash), None);
        cache.remove(&hash);
        cache.remove(&hash);
    }

    #[test]
    fn a_folder_keeps_its_newest_pages() {
        let folder = tempfile::tempdir().unwrap();
        for (index, name) in ["old", "middle", "new"].into_iter().enumerate() {
            let path = folder.path().join(name);
            write_unsynced(&path, &[0; 100]).unwrap();
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(index as u64);
            fs::File::open(&path).unwrap().set_modified(time).unwrap();
        }
        trim(folder.path(), 250).unwrap();
        assert!(!folder.path().join("old").exists());
        assert!(folder.path().join("middle").exists() && folder.path().join("new").exists());
    }
}
