//! `cat`, and `get FILE -`: files to a stream, in order, each byte verified before it goes out.
//!
//! Several segments are fetched ahead of whoever reads; when nobody reads any more, nothing more
//! is fetched.

use std::io;
use std::sync::Arc;

use model::formats::tree::TreePath;

use super::{GetError, GetReport, GetRequest};
use crate::drive::open::Drive;
use crate::drive::path::TypedPath;
use crate::drive::range::ByteRange;
use crate::drive::read::Snapshot;
use crate::drive::stream::{FileError, OpenFile};
use crate::drive::watch::Tally;

impl Drive {
    /// Writes files to `out`, one after the other, or `range` of each.
    ///
    /// # Errors
    /// [`GetError`]; what was written before is right, and everything in front of it is there.
    pub async fn cat(
        &self,
        remotes: &[TypedPath],
        range: Option<ByteRange>,
        tally: &Arc<Tally>,
        out: impl io::Write + Send + 'static,
    ) -> Result<GetReport, GetError> {
        let snapshot = self.snapshot().await?;
        let mut files = Vec::with_capacity(remotes.len());
        // Everything is found before anything is written.
        for remote in remotes {
            let file = self.file_at(&snapshot, &remote.path, remote.slash).await?;
            let whole = 0..file.size();
            let wanted = range.map_or(Ok(whole), |range| file.place(range))?;
            tally.files_found.add(1);
            tally.bytes_found.add(wanted.end - wanted.start);
            files.push((file.counted_by(&tally.transfer), wanted));
        }
        tally.all_found.add(1);
        let (mut out, mut report) = (out, GetReport::default());
        for (file, wanted) in files {
            report.written += 1;
            report.bytes += wanted.end - wanted.start;
            let mut stream = file.stream(wanted);
            while let Some(bytes) = stream.next().await? {
                let written = tasks::spawn_blocking(move || {
                    let written = out.write_all(&bytes);
                    (out, written)
                });
                let written = written.await.map_err(|_| GetError::Interrupted)?;
                out = written.0;
                written.1.map_err(broken)?;
            }
            tally.files_done.add(1);
        }
        out.flush().map_err(broken)?;
        Ok(report)
    }

    pub(super) async fn get_to_stdout(
        &self,
        request: &GetRequest,
        tally: &Arc<Tally>,
    ) -> Result<GetReport, GetError> {
        match request.remotes.as_slice() {
            [_one] => {
                self.cat(&request.remotes, request.range, tally, io::stdout())
                    .await
            }
            _ => Err(GetError::Stdout),
        }
    }

    async fn file_at(
        &self,
        snapshot: &Snapshot,
        path: &TreePath,
        slash: bool,
    ) -> Result<OpenFile, GetError> {
        if slash {
            return Err(FileError::NoFile { path: path.clone() }.into());
        }
        Ok(self.open_in(snapshot, path).await?)
    }
}

fn broken(source: io::Error) -> GetError {
    GetError::Destination {
        path: "-".into(),
        source,
    }
}
