//! Devices of one account, each with a home of its own.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::Write as _;
use std::sync::Arc;

use client::drive::arrange::Arrangement;
use client::drive::join::Contact;
use client::drive::upload::{PutError, PutReport, PutRequest};
use client::drive::{Drive, Home, Tally, TypedPath, Watcher};
use client::transfer::{Environment, FailureKind, SystemEnvironment};
use model::crypto::{Mnemonic, Secret};
use model::formats::tree::{Content, Kind, TreePath};
use tempfile::TempDir;
use tokio::sync::Barrier;

use crate::network::Network;

/// A network and the devices of its one account.
pub(crate) struct Crowd {
    pub(crate) network: Network,
    pub(crate) devices: Vec<Device>,
}

/// A device and the folder with its home and files.
pub(crate) struct Device {
    pub(crate) drive: Drive,
    folder: TempDir,
}

/// Hears nothing.
#[derive(Debug)]
struct Deaf;

impl Watcher for Deaf {
    fn failed(&self, _path: &[u8], _error: &(dyn Error + 'static)) {}

    fn warned(&self, _path: &[u8], _remark: &str) {}
}

/// What stands in the tree: files by their path, with their content; folders with `None`.
pub(crate) type Seen = BTreeMap<String, Option<String>>;

impl Crowd {
    pub(crate) async fn gather(devices: usize) -> Self {
        let network = Network::start(8);
        let phrase = Mnemonic::from_entropy(&Secret::new([0x77; 32]));
        let environment: Arc<dyn Environment> = Arc::new(SystemEnvironment);
        let reached = Contact::reach(network.bridge.url(), Arc::clone(&environment));
        let contact = reached.await.unwrap();
        let mut gathered = Vec::new();
        for number in 0..devices {
            let folder = tempfile::tempdir().unwrap();
            let (home, name) = (Home::at(folder.path().join("home")), format!("d{number}"));
            if number == 0 {
                contact.open_account(&home, &phrase, &name).await.unwrap();
            } else {
                let joined = contact.restore_account(&home, &phrase, &name);
                joined.await.unwrap();
            }
            let drive = Drive::open(home, Arc::clone(&environment)).unwrap();
            gathered.push(Device { drive, folder });
        }
        Self {
            network,
            devices: gathered,
        }
    }

    /// The next `count` operations all start from the same root.
    pub(crate) fn meet(&self, count: usize) {
        self.network.bridge.books().volume.meeting = Some(Arc::new(Barrier::new(count)));
    }

    /// Shards that Hosts store.
    pub(crate) fn stored(&self) -> usize {
        self.network.hosts.iter().map(|host| host.shards()).sum()
    }

    /// The tree, which all devices see the same.
    pub(crate) async fn seen(&self) -> Seen {
        let mut all = Vec::new();
        for device in &self.devices {
            all.push(device.seen().await);
        }
        assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{all:#?}");
        all.pop().unwrap()
    }
}

impl Device {
    /// Puts a file with this content, in a local file of its own.
    pub(crate) async fn put(&self, path: &str, content: &str) -> Result<PutReport, PutError> {
        // Named after its content, of which there is no second.
        let name: String = content.chars().take(32).collect();
        let local = self.folder.path().join(name.replace('/', "-"));
        let mut file = File::create(&local).unwrap();
        file.write_all(content.as_bytes()).unwrap();
        drop(file);
        let request = PutRequest {
            locals: vec![local],
            remote: typed(path),
            class: None,
        };
        let (tally, watcher) = (
            Arc::new(Tally::default()),
            Arc::new(Deaf) as Arc<dyn Watcher>,
        );
        self.drive.put(request, &tally, &watcher).await
    }

    /// Puts a file, which must go well.
    pub(crate) async fn has_put(&self, path: &str, content: &str) {
        let report = self.put(path, content).await.unwrap();
        assert_eq!((report.stored, report.failed), (1, 0), "{path}");
    }

    /// Removes a path; returns what was left of it.
    pub(crate) async fn remove(&self, path: &str) -> Result<Vec<String>, FailureKind> {
        let removed = self.drive.remove(&[typed(path)]).await;
        let left = removed.map_err(|error| error.kind())?;
        Ok(left.iter().map(ToString::to_string).collect())
    }

    pub(crate) async fn rename(&self, from: &str, to: &str) -> Result<(), FailureKind> {
        let (from, to) = ([typed(from)], typed(to));
        let moved = self.drive.arrange(Arrangement::Move, &from, &to);
        moved.await.map_err(|error| error.kind())
    }

    pub(crate) async fn make_folders(&self, path: &str) -> Result<(), FailureKind> {
        let path = [typed(path)];
        let made = self.drive.make_folders(&path, true);
        made.await.map_err(|error| error.kind())
    }

    pub(crate) async fn seen(&self) -> Seen {
        let snapshot = self.drive.snapshot().await.unwrap();
        let top = snapshot.entry(&TreePath::top()).await.unwrap();
        let mut walk = snapshot.walk(top.folder().unwrap(), TreePath::top());
        let mut seen = Seen::new();
        while let Some(walked) = walk.next().await.unwrap() {
            let content = match &walked.entry.kind {
                Kind::File(file) => Some(match &file.content {
                    Content::Inline(bytes) => String::from_utf8(bytes.clone()).unwrap(),
                    Content::Blob(slice) => slice.blob.to_string(),
                }),
                Kind::Folder(_) | Kind::Symlink(_) => None,
            };
            seen.insert(walked.path.to_string(), content);
        }
        seen
    }
}

pub(crate) fn typed(path: &str) -> TypedPath {
    TypedPath::parse(path.as_bytes()).unwrap()
}
