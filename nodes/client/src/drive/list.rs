//! `ls`, `stat`, `du`: looking at the tree.

use model::formats::tree::{Kind, TreePath};

use super::read::{ReadError, Snapshot};

/// What lies below a path, itself included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Bytes of files.
    pub bytes: u64,
    /// Files.
    pub files: u64,
    /// Folders.
    pub folders: u64,
    /// Symlinks.
    pub symlinks: u64,
}

impl Extent {
    fn add(&mut self, kind: &Kind) {
        match kind {
            Kind::Folder(_) => self.folders += 1,
            Kind::Symlink(_) => self.symlinks += 1,
            Kind::File(file) => {
                self.files += 1;
                self.bytes += file.size();
            }
        }
    }
}

impl Snapshot {
    /// Sums up what lies at and below `path`.
    ///
    /// # Errors
    /// [`ReadError`].
    pub async fn extent(&self, path: &TreePath) -> Result<Extent, ReadError> {
        let entry = self.entry(path).await?;
        let mut extent = Extent::default();
        extent.add(&entry.kind);
        if let Some(folder) = entry.folder() {
            let mut walk = self.walk(folder, path.clone());
            while let Some(walked) = walk.next().await? {
                extent.add(&walked.entry.kind);
            }
        }
        Ok(extent)
    }
}
