//! The client as a browser has it: requests are carried, and nothing it keeps lies in a folder.
#![expect(
    clippy::unwrap_used,
    reason = "what cannot be read or stored fails the test"
)]

#[expect(dead_code, reason = "other tests use more of it")]
mod network;

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use client::drive::join::Contact;
use client::drive::{Drive, Home, Lock, NewContent, NewFile, PageCache, PutFileError, Storage};
use client::transfer::{Environment, Progress, SystemEnvironment, dialer_limits};
use client::upload::InMemory;
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream;
use http::{Request, Response};
use model::crypto::{FileCipher, Mnemonic, Secret};
use model::formats::tree::TreePath;
use model::units::NodeHash;
use net::{Call, CallError, CarriedBody, Carrier, CarryError, Dialer, Endpoint, Payload, Taken};
use network::{Fault, Network, bytes};

/// Carries over the sockets of another dialer.
#[derive(Debug)]
struct Relay(Dialer);

impl Carrier for Relay {
    fn carry(
        &self,
        endpoint: &Endpoint,
        request: Request<Payload>,
        mut taken: Taken,
    ) -> BoxFuture<'static, Result<Response<CarriedBody>, CarryError>> {
        let (dialer, endpoint) = (self.0.clone(), endpoint.clone());
        Box::pin(async move {
            let (head, body) = request.into_parts();
            taken.add(usize::try_from(body.len()).unwrap_or(usize::MAX));
            let mut call = Call::new(head.method, head.uri.to_string()).body(body);
            for (name, value) in &head.headers {
                call = call.header(name.clone(), value.clone());
            }
            let reply = dialer
                .send(&endpoint, &call)
                .await
                .map_err(|error| match error {
                    CallError::Connect { .. } => CarryError::Unsent(error.into()),
                    _ => CarryError::Broken(error.into()),
                })?;
            let mut answer = Response::builder().status(reply.status());
            if let Some(headers) = answer.headers_mut() {
                headers.clone_from(reply.headers());
            }
            let body = stream::unfold(reply, async |mut reply| {
                let chunk = reply.chunk().await.map_err(Into::into).transpose()?;
                Some((chunk, reply))
            });
            answer
                .body(body.boxed())
                .map_err(|error| CarryError::Broken(error.into()))
        })
    }
}

/// What a device keeps, in memory.
#[derive(Debug, Default)]
struct Kept {
    files: Mutex<BTreeMap<String, Vec<u8>>>,
    pages: Mutex<BTreeMap<NodeHash, Vec<u8>>>,
}

impl Kept {
    fn files(&self) -> MutexGuard<'_, BTreeMap<String, Vec<u8>>> {
        self.files.lock().unwrap()
    }

    fn pages(&self) -> MutexGuard<'_, BTreeMap<NodeHash, Vec<u8>>> {
        self.pages.lock().unwrap()
    }
}

impl Storage for Kept {
    fn make(&self) -> io::Result<()> {
        Ok(())
    }

    fn read(&self, name: &str, _bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
        Ok(self.files().get(name).cloned())
    }

    fn replace(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.files().insert(name.to_owned(), bytes.to_vec());
        Ok(())
    }

    fn replace_unsynced(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.replace(name, bytes)
    }

    fn lock(&self, _name: &str) -> io::Result<Lock> {
        Ok(Box::new(()))
    }
}

impl PageCache for Kept {
    fn read(&self, hash: &NodeHash, _bytes_max: u64) -> Option<Vec<u8>> {
        self.pages().get(hash).cloned()
    }

    fn put(&self, hash: &NodeHash, bytes: &[u8]) {
        self.pages().insert(*hash, bytes.to_vec());
    }

    fn remove(&self, hash: &NodeHash) {
        self.pages().remove(hash);
    }
}

fn carried() -> Dialer {
    let relay = Relay(Dialer::new(dialer_limits()).unwrap());
    Dialer::over(Arc::new(relay), dialer_limits())
}

/// A device of a new account.
async fn device(network: &Network) -> (Drive, Arc<Kept>) {
    let environment: Arc<dyn Environment> = Arc::new(SystemEnvironment);
    let kept = Arc::new(Kept::default());
    let home = Home::over(Arc::clone(&kept) as _, "this browser");
    let (dialer, url) = (carried(), network.bridge.url());
    let contact = Contact::reach_over(dialer.clone(), url, Arc::clone(&environment));
    let contact = contact.await.unwrap();
    let phrase = Mnemonic::from_entropy(&Secret::new([0x77; 32]));
    contact.open_account(&home, &phrase, "tab").await.unwrap();
    let drive = Drive::over(home, Arc::clone(&kept) as _, dialer, environment).unwrap();
    (drive, kept)
}

async fn put(drive: &Drive, path: &str, plain: &[u8]) -> Result<(), PutFileError> {
    let content = if plain.len() <= 4_096 {
        NewContent::Tiny(plain.to_vec())
    } else {
        let secret = Secret::new([0x11; 32]);
        let mut ciphertext = plain.to_vec();
        FileCipher::new(&secret).apply(0, &mut ciphertext);
        NewContent::Long {
            length: plain.len() as u64,
            secret,
            content: Box::new(InMemory::new(ciphertext)),
        }
    };
    let file = NewFile {
        path: TreePath::parse(path.as_bytes()).unwrap(),
        content,
        class: Some("coded:4/8".parse().unwrap()),
    };
    let progress = Arc::new(Progress::default());
    drive.put_file(file, &progress).await.map(drop)
}

async fn get(drive: &Drive, path: &str, length: usize) -> Vec<u8> {
    let path = TreePath::parse(path.as_bytes()).unwrap();
    let file = drive.open_file(&path).await.unwrap();
    file.read_at(0, length).await.unwrap().to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn files_go_up_and_come_back_though_hosts_fail() {
    let network = Network::start(8);
    let (drive, _) = device(&network).await;
    let (tiny, long) = (b"tiny".to_vec(), bytes(10_000_000));
    put(&drive, "/notes/tiny", &tiny).await.unwrap();
    put(&drive, "/films/long", &long).await.unwrap();

    network.fail(&[1, 3, 5, 7], Fault::Dead);

    assert_eq!(get(&drive, "/notes/tiny", 4).await, tiny);
    assert!(get(&drive, "/films/long", long.len()).await == long);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_not_what_was_kept_is_fetched_again() {
    let network = Network::start(8);
    let (drive, kept) = device(&network).await;
    put(&drive, "/tiny", b"tiny").await.unwrap();
    kept.pages().values_mut().for_each(|page| page.fill(0));
    let home = Home::over(Arc::clone(&kept) as _, "this browser");
    let environment = Arc::new(SystemEnvironment);
    let again = Drive::over(home, kept as _, carried(), environment).unwrap();
    assert_eq!(get(&again, "/tiny", 4).await, b"tiny");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_takes_no_folders_place_and_a_folder_no_files() {
    let network = Network::start(8);
    let (drive, _) = device(&network).await;
    put(&drive, "/a/b", b"b").await.unwrap();
    let error = put(&drive, "/a", b"a").await.unwrap_err();
    assert!(matches!(error, PutFileError::IsFolder { .. }), "{error:?}");
    let error = put(&drive, "/a/b/c", b"c").await.unwrap_err();
    assert!(
        matches!(error, PutFileError::FolderNeeded { .. }),
        "{error:?}"
    );
    let long = NewFile {
        path: TreePath::parse(b"/long").unwrap(),
        content: NewContent::Tiny(vec![0; 4_097]),
        class: None,
    };
    let error = drive.put_file(long, &Arc::default()).await.unwrap_err();
    assert!(matches!(error, PutFileError::TooLong { bytes: 4_097 }));
}
