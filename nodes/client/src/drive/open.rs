//! Opening: fetches the current root and accepts it only if it is one.
//!
//! A root counts where a device of the account signed it and it descends from the last root this
//! device saw. The Bridge is asked, never believed.

use std::sync::Arc;

use model::codec::DecodeError;
use model::crypto::OpenError as SealError;
use model::formats::device_list::{DeviceList, DeviceListError};
use model::formats::root::{Descent, Root, RootError, RootKeys, SignedRoot};
use model::formats::tree::{PageStore, STORE_PAGES_MIN, Tree};
use model::units::RootHash;
use model::wire::ProblemCode;
use net::{ConnectError, Dialer};

use super::commit::Commits;
use super::home::{DeviceKeys, Home, HomeError, Settings};
#[cfg(not(target_family = "wasm"))]
use super::pages::PageFolder;
use super::read::{Pages, Snapshot};
use super::storage::PageCache;
use crate::bridge_api::{BridgeApi, BridgeError, SignInKey};
use crate::transfer::{Environment, FailureKind, Transfer, TransferLimits};

/// Steps of a proof of descent; each at least halves the distance.
const DESCENT_STEPS_MAX: usize = 256;

/// One device's view of one volume. Clones share connections, pages and commits.
#[derive(Clone, Debug)]
pub struct Drive {
    pub(super) home: Home,
    pub(super) settings: Settings,
    pub(super) keys: DeviceKeys,
    pub(super) environment: Arc<dyn Environment>,
    pub(super) transfer: Transfer,
    pub(super) pages: Arc<Pages>,
    pub(super) commits: Arc<Commits>,
}

impl Head {
    /// The number of its root; 0 where there is none.
    pub(super) fn seq(&self) -> u64 {
        let root = self.root.as_ref();
        root.map_or(0, |root| root.unverified().lineage.seq())
    }
}

/// The state of the volume that was accepted last.
#[derive(Clone, Debug)]
pub(super) struct Head {
    /// The signed root; `None` while the volume has none.
    pub(super) root: Option<SignedRoot>,
    /// The tree it leads to.
    pub(super) tree: Tree,
    /// The key of the top folder, and the volume key before.
    pub(super) keys: RootKeys,
    /// The newest device list.
    pub(super) devices: DeviceList,
}

/// A volume that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The home cannot be used.
    #[error("the home of this device cannot be used")]
    Home(#[from] HomeError),
    /// Connections cannot be made at all.
    #[error("no connection can be made from here")]
    Dialer(#[source] ConnectError),
    /// The Bridge does not hand out the root.
    #[error("the current root could not be fetched")]
    Fetch(#[source] BridgeError),
    /// The Bridge does not hand out the device list.
    #[error("the device list could not be fetched")]
    FetchDevices(#[source] BridgeError),
    /// The device list is not the account's.
    #[error("the bridge handed out a wrong device list")]
    WrongDevices(#[source] DeviceListError),
    /// The device list is older than one seen before.
    #[error("the bridge handed out device list {found}, but list {seen} was seen before")]
    OldDevices {
        /// Its number.
        found: u64,
        /// The number seen.
        seen: u64,
    },
    /// The root cannot be read.
    #[error("the bridge handed out a malformed root")]
    Malformed(#[source] DecodeError),
    /// The root is not signed by a device of the account, or of another volume.
    #[error("the bridge handed out a root that does not count")]
    Root(#[source] RootError),
    /// The root is of another volume.
    #[error("the bridge handed out the root of another volume")]
    OtherVolume,
    /// The root leads away from what this device saw.
    #[error(
        "the bridge handed out root {found}, which does not descend from root {seen} that this \
         device saw; the history was turned back or forked. Where the bridge's operator says that it \
         was restored from an older backup: xcloud accept-rollback"
    )]
    Forked {
        /// The number of the root handed out; 0 for none.
        found: u64,
        /// The number of the root seen.
        seen: u64,
    },
    /// Earlier roots that would prove descent are missing.
    #[error("the history between root {found} and root {seen} could not be fetched")]
    History {
        /// The number of the root handed out.
        found: u64,
        /// The number of the root seen.
        seen: u64,
        /// Why.
        #[source]
        source: BridgeError,
    },
    /// The root is sealed under a volume key this device does not have.
    #[error("the root's keys do not open with this device's volume key")]
    Keys(#[source] SealError),
}

impl OpenError {
    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Home(HomeError::NotInitialised { .. }) => FailureKind::Refused,
            Self::Home(_) | Self::Dialer(_) => FailureKind::Local,
            Self::Fetch(source) | Self::FetchDevices(source) | Self::History { source, .. } => {
                source.kind()
            }
            Self::WrongDevices(_)
            | Self::OldDevices { .. }
            | Self::Malformed(_)
            | Self::Root(_)
            | Self::OtherVolume
            | Self::Forked { .. }
            | Self::Keys(_) => FailureKind::Integrity,
        }
    }
}

impl Drive {
    /// Opens the volume of a `home` that is a folder. Nothing is sent yet.
    ///
    /// # Errors
    /// [`OpenError::Home`] and [`OpenError::Dialer`].
    #[cfg(not(target_family = "wasm"))]
    pub fn open(home: Home, environment: Arc<dyn Environment>) -> Result<Self, OpenError> {
        let dialer = Dialer::new(crate::transfer::dialer_limits()).map_err(OpenError::Dialer)?;
        let pages = Arc::new(PageFolder::new(home.pages_dir()));
        Self::over(home, pages, dialer, environment)
    }

    /// Opens the volume of a `home` that is anywhere. Nothing is sent yet.
    ///
    /// # Errors
    /// [`OpenError::Home`].
    pub fn over(
        home: Home,
        pages: Arc<dyn PageCache>,
        dialer: Dialer,
        environment: Arc<dyn Environment>,
    ) -> Result<Self, OpenError> {
        let (settings, keys) = (home.settings()?, home.keys()?);
        let sign_in = SignInKey {
            bridge: settings.bridge_id,
            account: settings.account,
            key: keys.device.clone(),
        };
        let url = settings.bridge.clone();
        let api = BridgeApi::new(dialer.clone(), url, Some(sign_in), Arc::clone(&environment));
        if let Some(session) = home.session() {
            api.resume(session);
        }
        let limits = TransferLimits::default();
        let transfer = Transfer::new(api.clone(), dialer, Arc::clone(&environment), limits);
        let store = PageStore::new(settings.account, settings.volume, STORE_PAGES_MIN);
        let pages = Arc::new(Pages::new(store, pages, api));
        Ok(Self {
            home,
            settings,
            keys,
            environment,
            transfer,
            pages,
            commits: Arc::default(),
        })
    }

    /// The settings of this device.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The state of the tree now.
    ///
    /// # Errors
    /// [`OpenError`].
    pub async fn snapshot(&self) -> Result<Snapshot, OpenError> {
        let head = self.head().await?;
        Ok(Snapshot::new(head.tree, Arc::clone(&self.pages)))
    }

    /// Keeps the session for the next start, which is then quicker.
    pub fn close(&self) {
        let session = self.transfer.api().session();
        if let Some(session) = session.filter(|now| self.home.session().as_ref() != Some(now)) {
            self.home.keep_session(&session);
        }
    }

    /// Fetches and checks the current root.
    pub(super) async fn head(&self) -> Result<Head, OpenError> {
        // Read first: another run may see a newer root while this one waits for the answer.
        let seen = self.root_seen()?;
        match self.transfer.api().root(&self.settings.volume).await {
            Ok(answer) => self.accept(&answer.root.0, seen).await,
            Err(error) if error.code() == Some(ProblemCode::NotFound) => self.no_root(seen).await,
            Err(error) => Err(OpenError::Fetch(error)),
        }
    }

    /// Checks a root that the Bridge says is the current one against the one `seen` before it was
    /// asked, and remembers it.
    pub(super) async fn accept(
        &self,
        bytes: &[u8],
        seen: Option<SignedRoot>,
    ) -> Result<Head, OpenError> {
        let signed = SignedRoot::parse(bytes).map_err(OpenError::Malformed)?;
        let is_seen = seen
            .as_ref()
            .is_some_and(|seen| seen.hash() == signed.hash());
        let devices = self.devices_for(signed.unverified()).await?;
        if !is_seen {
            let root = signed.verify(&devices).map_err(OpenError::Root)?;
            if root.volume != self.settings.volume {
                return Err(OpenError::OtherVolume);
            }
            if let Some(seen) = &seen {
                self.check_descent(&signed, seen).await?;
            }
        }
        let root = signed.unverified();
        let keys = root.open_keys(&self.keys.volume).map_err(OpenError::Keys)?;
        let tree = Tree::new(root.volume, keys.top.clone(), root.top);
        if !is_seen {
            self.home.see_root(&signed)?;
        }
        Ok(Head {
            root: Some(signed),
            tree,
            keys,
            devices,
        })
    }

    /// The root that the Bridge has, unchecked.
    pub(super) async fn root_found(&self) -> Result<Option<SignedRoot>, OpenError> {
        match self.transfer.api().root(&self.settings.volume).await {
            Ok(answer) => SignedRoot::parse(&answer.root.0)
                .map(Some)
                .map_err(OpenError::Malformed),
            Err(error) if error.code() == Some(ProblemCode::NotFound) => Ok(None),
            Err(error) => Err(OpenError::Fetch(error)),
        }
    }

    /// Checks that a device of the account signed `signed`, for this volume.
    pub(super) async fn verify_root(&self, signed: &SignedRoot) -> Result<(), OpenError> {
        let devices = self.devices_for(signed.unverified()).await?;
        let root = signed.verify(&devices).map_err(OpenError::Root)?;
        if root.volume != self.settings.volume {
            return Err(OpenError::OtherVolume);
        }
        Ok(())
    }

    async fn no_root(&self, seen: Option<SignedRoot>) -> Result<Head, OpenError> {
        if let Some(seen) = seen {
            let seen = seen.unverified().lineage.seq();
            return Err(OpenError::Forked { found: 0, seen });
        }
        let devices = match self.devices_seen()? {
            Some(devices) => devices,
            None => self.fetch_devices(None).await?,
        };
        let (tree, keys) = self.empty_tree();
        Ok(Head {
            root: None,
            tree,
            keys,
            devices,
        })
    }

    /// The last root this device accepted.
    pub(super) fn root_seen(&self) -> Result<Option<SignedRoot>, OpenError> {
        let bytes = self.home.root_seen()?;
        bytes
            .map(|bytes| SignedRoot::parse(&bytes).map_err(OpenError::Malformed))
            .transpose()
    }

    fn devices_seen(&self) -> Result<Option<DeviceList>, OpenError> {
        let open = |bytes: Vec<u8>| {
            DeviceList::open(&bytes, &self.settings.account).map_err(OpenError::WrongDevices)
        };
        self.home.devices_seen()?.map(open).transpose()
    }

    /// The newest device list: the one seen, unless `root` goes by another.
    async fn devices_for(&self, root: &Root) -> Result<DeviceList, OpenError> {
        match self.devices_seen()? {
            Some(seen) if seen.hash() == root.device_list => Ok(seen),
            seen => self.fetch_devices(seen).await,
        }
    }

    async fn fetch_devices(&self, seen: Option<DeviceList>) -> Result<DeviceList, OpenError> {
        let answer = self
            .transfer
            .api()
            .device_list()
            .await
            .map_err(OpenError::FetchDevices)?;
        let list = DeviceList::open(&answer.device_list.0, &self.settings.account)
            .map_err(OpenError::WrongDevices)?;
        if let Some(seen) = seen {
            let (found, seen_seq) = (list.content().seq, seen.content().seq);
            if found < seen_seq || (found == seen_seq && list != seen) {
                return Err(OpenError::OldDevices {
                    found,
                    seen: seen_seq,
                });
            }
        }
        self.home.see_devices(list.bytes())?;
        Ok(list)
    }

    /// Proves that `signed` descends from `seen`, over ancestors fetched from the Bridge.
    async fn check_descent(&self, signed: &SignedRoot, seen: &SignedRoot) -> Result<(), OpenError> {
        let (found, seen_hash) = (signed.unverified().lineage.seq(), seen.hash());
        let seen = seen.unverified().lineage.seq();
        let (mut lineage, mut hash) = (signed.unverified().lineage, signed.hash());
        for _ in 0..DESCENT_STEPS_MAX {
            match lineage.descent_from(hash, seen, seen_hash) {
                Descent::Proven => return Ok(()),
                Descent::Refuted => break,
                Descent::Ask { seq, hash: wanted } => {
                    let ancestor = self.ancestor(seq, &wanted, (found, seen)).await?;
                    (lineage, hash) = (ancestor.lineage, wanted);
                }
            }
        }
        Err(OpenError::Forked { found, seen })
    }

    /// Fetches the root numbered `seq`, whose hash a verified descendant names.
    async fn ancestor(
        &self,
        seq: u64,
        hash: &RootHash,
        (found, seen): (u64, u64),
    ) -> Result<Root, OpenError> {
        let before = seq.saturating_add(1);
        let answer = self
            .transfer
            .api()
            .roots(&self.settings.volume, before, 1)
            .await;
        let answer = answer.map_err(|source| OpenError::History {
            found,
            seen,
            source,
        })?;
        let first = answer
            .roots
            .first()
            .ok_or(OpenError::Forked { found, seen })?;
        let signed = SignedRoot::parse(&first.root.0).map_err(OpenError::Malformed)?;
        signed.expect_hash(hash).cloned().map_err(OpenError::Root)
    }
}
