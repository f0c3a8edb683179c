//! `get FILE -`: one file to standard output, in order, each byte verified before it goes out.

use std::io::{self, Write as _};
use std::sync::Arc;

use model::formats::tree::{Content, Kind};

use super::{GetError, GetReport, GetRequest, access_of, piece_of};
use crate::download::{Downloader, Sink, StreamSink};
use crate::drive::open::Drive;
use crate::drive::read::Snapshot;
use crate::drive::watch::Tally;

impl Drive {
    pub(super) async fn get_to_stdout(
        &self,
        request: &GetRequest,
        snapshot: &Snapshot,
        tally: &Arc<Tally>,
    ) -> Result<GetReport, GetError> {
        let [remote] = request.remotes.as_slice() else {
            return Err(GetError::Stdout);
        };
        let entry = snapshot.entry(&remote.path).await?;
        let Kind::File(file) = &entry.kind else {
            return Err(GetError::Stdout);
        };
        let bytes = file.size();
        tally.files_found.add(1);
        tally.bytes_found.add(bytes);
        tally.all_found.add(1);
        let out = StreamSink::new(io::stdout());
        match &file.content {
            Content::Inline(bytes) => out.write_at(0, bytes).map_err(broken)?,
            Content::Blob(slice) => {
                let piece = piece_of(slice, Arc::new(out));
                let downloader = Downloader::new(self.transfer.clone());
                let access = access_of(slice);
                let fetched = downloader.fetch(&access, vec![piece], &tally.transfer);
                let path = remote.path.clone();
                fetched.await.map_err(|source| GetError::Fetch {
                    path,
                    source: Box::new(source),
                })?;
            }
        }
        io::stdout().flush().map_err(broken)?;
        Ok(GetReport {
            written: 1,
            bytes,
            ..GetReport::default()
        })
    }
}

fn broken(source: io::Error) -> GetError {
    GetError::Destination {
        path: "-".into(),
        source,
    }
}
