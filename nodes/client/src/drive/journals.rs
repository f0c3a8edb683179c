//! The journals of unfinished uploads: a file each in `uploads/` of the home, sealed by the device.
//!
//! A journal belongs to the run that holds its lock; a crash or `kill -9` gives the lock back and
//! leaves the file. Whatever cannot be believed is removed: its upload is then started over.

mod file;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use model::crypto::Secret;
use model::formats::journal::{
    FRAME_BYTES, HEADER_BYTES, Journal, JournalError, JournalKey, JournalRecord, JournalStart,
    RECORD_BYTES_MAX, read_header,
};
use model::units::{AccountId, UploadId, VolumeId};
use rustix::fs::{FlockOperation, flock};
use shardstore::durable;

use super::home::HomeError;
use crate::upload::LogError;
pub(super) use file::JournalFile;

/// Journals that are looked at; beyond them, uploads are started over.
const JOURNALS_MAX: usize = 1_024;
const SUFFIX: &str = ".journal";

/// The journals of one device.
#[derive(Clone, Debug)]
pub(super) struct Journals {
    folder: PathBuf,
    device: Secret,
    account: AccountId,
    volume: VolumeId,
}

/// What a run left behind.
#[derive(Debug)]
pub(super) enum Left {
    /// A journal that may be gone on with.
    Journal(LeftJournal),
    /// One that could not be believed, and was removed.
    Broken(UploadId),
}

/// A journal that no other run uses, as long as this one holds it.
#[derive(Debug)]
pub(super) struct LeftJournal {
    path: PathBuf,
    input: BufReader<File>,
    /// As far as it was read: its start.
    journal: Box<Journal>,
    /// Bytes of that.
    end: u64,
}

/// A journal that cannot be gone on with.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResumeError {
    /// It cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        #[source]
        source: io::Error,
    },
    /// What it says cannot be believed.
    #[error("{} is damaged", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        #[source]
        source: JournalError,
    },
}

impl Journals {
    pub(super) const fn new(
        folder: PathBuf,
        device: Secret,
        account: AccountId,
        volume: VolumeId,
    ) -> Self {
        Self {
            folder,
            device,
            account,
            volume,
        }
    }

    /// Begins the journal of `upload`. It is durable with the first ids that are. Blocking.
    pub(super) fn begin(
        &self,
        upload: UploadId,
        start: &JournalStart,
    ) -> Result<JournalFile, LogError> {
        let key = self.key(upload);
        let first = key.frame(0, &JournalRecord::Start(start.clone()))?;
        let path = self.path(upload);
        let failed = |source| LogError::Write {
            path: path.clone(),
            source,
        };
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(durable::MODE_PRIVATE)
            .open(&path)
            .map_err(failed)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|error| failed(error.into()))?;
        let made = JournalFile::begin(path.clone(), file, key, start);
        made.write_first(&first)?;
        Ok(made)
    }

    /// The journals that no other run uses now. Blocking.
    pub(super) fn left(&self) -> Result<Vec<Left>, HomeError> {
        let failed = |path: &Path, source| HomeError::Read {
            path: path.to_owned(),
            source,
        };
        let in_folder = |source| failed(&self.folder, source);
        let mut left = Vec::new();
        let names = fs::read_dir(&self.folder).map_err(in_folder)?;
        for name in names.take(JOURNALS_MAX) {
            let path = name.map_err(in_folder)?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            let id = name.and_then(|name| name.strip_suffix(SUFFIX)?.parse().ok());
            if let Some(upload) = id {
                let opened = self.open(&path, upload);
                left.extend(opened.map_err(|source| failed(&path, source))?);
            }
        }
        Ok(left)
    }

    /// Removes the journal of `upload`, if there is one.
    pub(super) fn remove(&self, upload: UploadId) {
        remove(&self.path(upload));
    }

    fn path(&self, upload: UploadId) -> PathBuf {
        self.folder.join(format!("{upload}{SUFFIX}"))
    }

    /// Opens a journal; `None` where another run uses it.
    fn open(&self, path: &Path, upload: UploadId) -> io::Result<Option<Left>> {
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
            locked => locked?,
        }
        if file.metadata()?.nlink() == 0 {
            // Its run came to its end between the two calls.
            return Ok(None);
        }
        let mut input = BufReader::new(file);
        match read_start(&mut input, self.key(upload))? {
            Some((journal, end)) => Ok(Some(Left::Journal(LeftJournal {
                path: path.to_owned(),
                input,
                journal: Box::new(journal),
                end,
            }))),
            None => {
                // Nothing left this machine before the start was durable.
                fs::remove_file(path)?;
                Ok(Some(Left::Broken(upload)))
            }
        }
    }

    fn key(&self, upload: UploadId) -> JournalKey {
        JournalKey::new(&self.device, self.account, self.volume, upload)
    }
}

impl LeftJournal {
    pub(super) const fn upload(&self) -> UploadId {
        self.journal.key().upload()
    }

    pub(super) const fn start(&self) -> &JournalStart {
        self.journal.start()
    }

    /// Reads the rest, and makes it ready to be gone on with: everything in it is durable, and
    /// what a crash left of a last record is cut off. Blocking.
    pub(super) fn resume(mut self) -> Result<(Journal, JournalFile), ResumeError> {
        let path = self.path.clone();
        self.read_rest()?;
        let file = self.input.into_inner();
        let cut = file.set_len(self.end).and_then(|()| file.sync_all());
        cut.and_then(|()| durable::sync_folder_of(&path))
            .map_err(|source| ResumeError::Read {
                path: path.clone(),
                source,
            })?;
        let made = JournalFile::go_on(path, file, &self.journal, self.end);
        Ok((*self.journal, made))
    }

    /// Bytes of its upload, and how many of them are stored. Blocking.
    pub(super) fn bytes(&mut self) -> Result<(u64, u64), ResumeError> {
        self.read_rest()?;
        Ok(self.journal.bytes())
    }

    /// Removes it. Blocking.
    pub(super) fn remove(self) {
        remove(&self.path);
    }

    /// Takes the records up to the first that is torn. One that does not open, with others behind
    /// it that do, was not torn but damaged.
    fn read_rest(&mut self) -> Result<(), ResumeError> {
        let unreadable = |source| ResumeError::Read {
            path: self.path.clone(),
            source,
        };
        let mut torn: Option<JournalError> = None;
        let mut ahead = 0;
        while let Some(sealed) = read_frame(&mut self.input).map_err(unreadable)? {
            let damaged = |source| ResumeError::Damaged {
                path: self.path.clone(),
                source,
            };
            if let Some(error) = &torn {
                if self.journal.opens_ahead(ahead, &sealed) {
                    return Err(damaged(error.clone()));
                }
                ahead += 1;
                continue;
            }
            match self.journal.push(&sealed) {
                Ok(()) => self.end += (FRAME_BYTES + sealed.len()) as u64,
                Err(error @ JournalError::Open { .. }) => (torn, ahead) = (Some(error), 1),
                Err(error) => return Err(damaged(error)),
            }
        }
        Ok(())
    }
}

/// Reads the header and the first record; `None` where they are not there or not ours.
fn read_start(input: &mut impl Read, key: JournalKey) -> io::Result<Option<(Journal, u64)>> {
    let mut header = [0; HEADER_BYTES];
    match input.read_exact(&mut header) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    if read_header(&header) != Ok(key.upload()) {
        return Ok(None);
    }
    let Some(sealed) = read_frame(input)? else {
        return Ok(None);
    };
    let end = (HEADER_BYTES + FRAME_BYTES + sealed.len()) as u64;
    Ok(Journal::begin(key, &sealed)
        .ok()
        .map(|journal| (journal, end)))
}

/// The next sealed record; `None` where no whole one is left. Memory grows with what is there,
/// not with what a length says.
fn read_frame(input: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; FRAME_BYTES];
    match input.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let length = u32::from_le_bytes(length) as usize;
    if length == 0 || length > RECORD_BYTES_MAX {
        return Ok(None);
    }
    let mut sealed = Vec::new();
    input.take(length as u64).read_to_end(&mut sealed)?;
    Ok((sealed.len() == length).then_some(sealed))
}

fn remove(path: &Path) {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            // It is found to be over when it is looked at the next time.
            tracing::warn!(%error, "the journal of an upload was not removed");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests;
