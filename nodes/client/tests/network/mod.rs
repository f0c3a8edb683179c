//! A whole network in one process: a Bridge and Hosts that keep everything in memory, behind the
//! real sockets and TLS, with a switch for every way in which a Host can fail.

mod bridge;
mod host;
mod volume;

use std::path::Path;
use std::sync::Arc;

use client::bridge_api::{BridgeApi, SignInKey};
use client::download::{BlobAccess, Downloader, Piece, Sink, StreamSink};
use client::transfer::{
    Environment, Progress, SystemEnvironment, Transfer, TransferLimits, dialer_limits,
};
use client::upload::{BlobSource, InMemory, StagedUpload, StoreRequest, UploadError, Uploader};
use model::crypto::{FileCipher, Secret, SigningKey};
use model::formats::shape::Class;
use model::units::{AccountId, BlobId, BridgeId, OwnerTag, VolumeId};
use model::wire::api::{Commit, Committed};
use net::Dialer;

pub(crate) use bridge::Bridge;
pub(crate) use host::{Fault, Host};

/// The owner's volume.
const VOLUME: VolumeId = VolumeId([0x70; 16]);

/// A Bridge and its Hosts.
pub(crate) struct Network {
    pub(crate) bridge: Arc<Bridge>,
    pub(crate) hosts: Vec<Arc<Host>>,
}

impl Network {
    /// A network of `hosts` healthy Hosts.
    pub(crate) fn start(hosts: u8) -> Self {
        let key = SigningKey::from_seed(&Secret::new([0xb0; 32]));
        let id = BridgeId(key.public());
        let hosts: Vec<_> = (1..=hosts).map(|number| Host::start(number, id)).collect();
        Self {
            bridge: Bridge::start(key, hosts.clone()),
            hosts,
        }
    }

    /// An owner who knows nothing of the Hosts yet.
    pub(crate) fn owner(&self) -> Owner {
        self.owner_with(TransferLimits::default())
    }

    pub(crate) fn owner_with(&self, limits: TransferLimits) -> Owner {
        let environment: Arc<dyn Environment> = Arc::new(SystemEnvironment);
        let dialer = Dialer::new(dialer_limits()).unwrap();
        let key = SigningKey::from_seed(&Secret::new([0xde; 32]));
        let sign_in = SignInKey {
            bridge: self.bridge.id(),
            account: AccountId([0xac; 16]),
            key,
        };
        let api = BridgeApi::new(
            dialer.clone(),
            self.bridge.url(),
            Some(sign_in),
            Arc::clone(&environment),
        );
        Owner {
            transfer: Transfer::new(api, dialer, environment, limits),
            progress: Arc::default(),
        }
    }

    /// Switches `fault` on at the Hosts with these numbers, from 1.
    pub(crate) fn fail(&self, hosts: &[u8], fault: Fault) {
        for number in hosts {
            self.hosts[usize::from(*number) - 1].fail(fault);
        }
    }
}

/// An owner's side of the network.
pub(crate) struct Owner {
    pub(crate) transfer: Transfer,
    pub(crate) progress: Arc<Progress>,
}

/// A file that was stored, and everything its tree entry would say.
#[derive(Clone, Debug)]
pub(crate) struct StoredFile {
    pub(crate) access: BlobAccess,
    pub(crate) file_secret: Secret,
    pub(crate) plain: Vec<u8>,
}

impl Owner {
    pub(crate) fn api(&self) -> &BridgeApi {
        self.transfer.api()
    }

    pub(crate) async fn stage(
        &self,
        blobs: Vec<BlobSource>,
        class: Option<Class>,
    ) -> Result<StagedUpload, UploadError> {
        let request = StoreRequest {
            volume: VOLUME,
            class,
            blobs,
        };
        Uploader::new(self.transfer.clone())
            .store(request, &self.progress)
            .await
    }

    pub(crate) async fn commit(&self, staged: &StagedUpload) -> Committed {
        let commit = Commit {
            uploads: vec![staged.upload],
            nodes: staged.nodes.clone(),
            pending: staged.pending.clone(),
            receipts: staged.receipts.clone(),
            ..Commit::default()
        };
        self.api().put_root(&VOLUME, &commit).await.unwrap()
    }

    /// Stores and commits `plain` as one file.
    pub(crate) async fn put(
        &self,
        plain: &[u8],
        class: Option<Class>,
    ) -> Result<StoredFile, UploadError> {
        let (source, mut stored) = file_in_memory(plain);
        let staged = self.stage(vec![source], class).await?;
        stored.access.manifest = staged.blobs[0].manifest;
        self.commit(&staged).await;
        Ok(stored)
    }

    /// Fetches a whole file.
    pub(crate) async fn get(
        &self,
        file: &StoredFile,
    ) -> Result<Vec<u8>, client::download::DownloadError> {
        let sink = Arc::new(StreamSink::new(Vec::new()));
        let piece = file.piece(0..file.plain.len() as u64, sink.clone());
        let downloader = Downloader::new(self.transfer.clone());
        downloader
            .fetch(&file.access, vec![piece], &self.progress)
            .await?;
        Ok(Arc::into_inner(sink).unwrap().into_inner())
    }
}

impl StoredFile {
    pub(crate) fn piece(&self, range: std::ops::Range<u64>, sink: Arc<dyn Sink>) -> Piece {
        let file_offset = range.start;
        Piece {
            range,
            file_secret: self.file_secret.clone(),
            file_offset,
            sink,
        }
    }
}

/// A file under fresh secrets, its ciphertext in memory.
pub(crate) fn file_in_memory(plain: &[u8]) -> (BlobSource, StoredFile) {
    let (access, file_secret) = fresh_access();
    let mut bytes = plain.to_vec();
    FileCipher::new(&file_secret).apply(0, &mut bytes);
    let source = source(&access, plain.len() as u64, Box::new(InMemory::new(bytes)));
    (
        source,
        StoredFile {
            access,
            file_secret,
            plain: plain.to_vec(),
        },
    )
}

/// A file under fresh secrets, encrypted as it is read.
pub(crate) fn file_on_disk(path: &Path, plain: &[u8]) -> (BlobSource, StoredFile) {
    let (access, file_secret) = fresh_access();
    let content = client::upload::EncryptedFile::new(path, plain.len() as u64, &file_secret);
    let source = source(&access, plain.len() as u64, Box::new(content));
    (
        source,
        StoredFile {
            access,
            file_secret,
            plain: plain.to_vec(),
        },
    )
}

fn fresh_access() -> (BlobAccess, Secret) {
    let (mut blob, mut secret, mut file_secret) = ([0; 16], [0; 32], [0; 32]);
    SystemEnvironment.random(&mut blob);
    SystemEnvironment.random(&mut secret);
    SystemEnvironment.random(&mut file_secret);
    let manifest = model::units::NodeHash::default();
    let access = BlobAccess {
        blob: BlobId(blob),
        secret: Secret::new(secret),
        manifest,
    };
    (access, Secret::new(file_secret))
}

fn source(
    access: &BlobAccess,
    length: u64,
    content: Box<dyn client::upload::Ciphertext>,
) -> BlobSource {
    let (blob, secret) = (access.blob, access.secret.clone());
    BlobSource {
        blob,
        length,
        owner_tag: OwnerTag([0x0e; 32]),
        secret,
        content,
    }
}

/// Bytes that look random and are the same every time.
pub(crate) fn bytes(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(len);
    out
}
