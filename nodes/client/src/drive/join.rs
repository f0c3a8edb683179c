//! Joining: opens an account at a Bridge, or brings an existing one to this device.
//!
//! The recovery phrase is used here and forgotten. What stays on the device is its own key, the
//! volume's key and the settings, written last: until then the home counts as empty.

use std::sync::Arc;

use model::crypto::{AccountKeys, AccountRootKey, Mnemonic, Secret, SigningKey};
use model::formats::device_list::{
    DEVICE_NAME_BYTES_MAX, DEVICES_MAX, Device, DeviceList, DeviceListDraft, DeviceListError,
    DeviceListSignError,
};
use model::units::{AccountId, BridgeId, DeviceId};
use model::wire::api::{About, NewAccount, PutDeviceList};
use model::wire::{Base64, ProblemCode};
use model::wire::{Program, ProtocolVersions, VersionRefused};
use net::{BridgeUrl, ConnectError, Dialer};

use super::home::{DeviceKeys, Home, HomeError, SETTINGS_VERSION, Settings};
use crate::bridge_api::{BridgeApi, BridgeError, SignInKey};
use crate::transfer::{Environment, FailureKind};

/// How often a device list is tried that other devices extend at the same time; each try that
/// fails let another device in.
const ENROL_TRIES_MAX: usize = 2 * DEVICES_MAX;

/// A Bridge that answered and speaks our protocol.
#[derive(Debug)]
pub struct Contact {
    url: BridgeUrl,
    about: About,
    dialer: Dialer,
    environment: Arc<dyn Environment>,
}

/// A device that could not join.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The home cannot be used.
    #[error("the home of this device cannot be used")]
    Home(#[from] HomeError),
    /// Connections cannot be made at all.
    #[error("no connection can be made from here")]
    Dialer(#[source] ConnectError),
    /// The Bridge did not answer, or not as one.
    #[error("{url} does not answer as a bridge")]
    Reach {
        /// Its URL.
        url: BridgeUrl,
        /// Why.
        #[source]
        source: Box<BridgeError>,
    },
    /// The Bridge has another key than its URL says.
    #[error("{url} is the bridge {}, not the one its url names", found.short())]
    OtherBridge {
        /// Its URL.
        url: BridgeUrl,
        /// Its id.
        found: BridgeId,
    },
    /// The Bridge speaks no version of the protocol that this program accepts.
    #[error("{url} cannot be used: {refused}")]
    Protocol {
        /// Its URL.
        url: BridgeUrl,
        /// Who is behind.
        refused: VersionRefused,
    },
    /// A device name above the limit.
    #[error(
        "the device name is {bytes} bytes long, at most {DEVICE_NAME_BYTES_MAX} and at least 1"
    )]
    DeviceName {
        /// Its length.
        bytes: usize,
    },
    /// The Bridge does not open the account.
    #[error("the bridge does not open the account")]
    Open(#[source] BridgeError),
    /// There is no account of this phrase.
    #[error("{url} knows no account of this recovery phrase; check the phrase and the url")]
    NoAccount {
        /// The Bridge's URL.
        url: BridgeUrl,
    },
    /// The Bridge does not hand out or take the device list.
    #[error("the device list could not be exchanged with the bridge")]
    Devices(#[source] BridgeError),
    /// The Bridge handed out a device list that is not the account's.
    #[error("the bridge handed out a wrong device list")]
    WrongDevices(#[source] DeviceListError),
    /// The account has as many devices as it may have.
    #[error("the account has {DEVICES_MAX} devices already; remove one first")]
    TooManyDevices,
    /// The device list cannot be signed.
    #[error("the device list cannot be signed")]
    Sign(#[source] DeviceListSignError),
}

impl JoinError {
    /// What kind of failure it is.
    #[must_use]
    pub fn kind(&self) -> FailureKind {
        match self {
            Self::Home(HomeError::AlreadyInitialised { .. }) => FailureKind::Conflict,
            Self::Home(_) | Self::Dialer(_) => FailureKind::Local,
            Self::Reach { source, .. } => source.kind(),
            Self::Open(source) | Self::Devices(source) => source.kind(),
            Self::OtherBridge { .. } | Self::WrongDevices(_) => FailureKind::Integrity,
            Self::NoAccount { .. } => FailureKind::NotFound,
            Self::Protocol { .. }
            | Self::DeviceName { .. }
            | Self::TooManyDevices
            | Self::Sign(_) => FailureKind::Refused,
        }
    }
}

impl Contact {
    /// Asks the Bridge at `url` what it is, over sockets.
    ///
    /// # Errors
    /// [`JoinError::Dialer`], and those of [`Self::reach_over`].
    #[cfg(not(target_family = "wasm"))]
    pub async fn reach(
        url: BridgeUrl,
        environment: Arc<dyn Environment>,
    ) -> Result<Self, JoinError> {
        let dialer = Dialer::new(crate::transfer::dialer_limits()).map_err(JoinError::Dialer)?;
        Self::reach_over(dialer, url, environment).await
    }

    /// Asks the Bridge at `url` what it is.
    ///
    /// # Errors
    /// [`JoinError::Reach`], [`JoinError::OtherBridge`] and [`JoinError::Protocol`].
    pub async fn reach_over(
        dialer: Dialer,
        url: BridgeUrl,
        environment: Arc<dyn Environment>,
    ) -> Result<Self, JoinError> {
        let api = BridgeApi::new(dialer.clone(), url.clone(), None, Arc::clone(&environment));
        let about = match api.about().await {
            Ok(about) => about,
            Err(source) => {
                return Err(JoinError::Reach {
                    url,
                    source: Box::new(source),
                });
            }
        };
        if url.pinned().is_some_and(|pinned| pinned != about.bridge) {
            return Err(JoinError::OtherBridge {
                url,
                found: about.bridge,
            });
        }
        let agreed =
            ProtocolVersions::OURS.agree(Program::Client, (Program::Bridge, about.protocol));
        if let Err(refused) = agreed {
            return Err(JoinError::Protocol { url, refused });
        }
        Ok(Self {
            url,
            about,
            dialer,
            environment,
        })
    }

    /// What the Bridge says of itself.
    #[must_use]
    pub const fn about(&self) -> &About {
        &self.about
    }

    /// Opens the account of `phrase` and initialises `home` for it.
    ///
    /// # Errors
    /// [`JoinError`]; the account may be open then, and [`Self::restore_account`] finds it.
    pub async fn open_account(
        &self,
        home: &Home,
        phrase: &Mnemonic,
        device_name: &str,
    ) -> Result<Settings, JoinError> {
        home.expect_empty()?;
        let joining = self.joining(phrase, device_name)?;
        let identity = joining.root.account_keys().identity;
        let list = DeviceListDraft::first(identity.public(), joining.entry(device_name, self))
            .sign(&identity)
            .map_err(JoinError::Sign)?;
        let account = NewAccount {
            identity: DeviceId(identity.public()),
            device_list: Base64(list.bytes().to_vec()),
        };
        self.api(None)
            .create_account(&account)
            .await
            .map_err(JoinError::Open)?;
        joining.settle(home, self, device_name)
    }

    /// Enrols this device in the existing account of `phrase` and initialises `home` for it.
    ///
    /// # Errors
    /// [`JoinError`].
    pub async fn restore_account(
        &self,
        home: &Home,
        phrase: &Mnemonic,
        device_name: &str,
    ) -> Result<Settings, JoinError> {
        home.expect_empty()?;
        let joining = self.joining(phrase, device_name)?;
        let keys = joining.root.account_keys();
        let api = self.api(Some((keys.account, keys.identity.clone())));
        let mut tries_left = ENROL_TRIES_MAX;
        while let Err(error) = self.enrol(&api, &joining, &keys, device_name).await {
            tries_left -= 1;
            let overtaken = matches!(
                &error,
                JoinError::Devices(source) if source.code() == Some(ProblemCode::Conflict)
            );
            if !overtaken || tries_left == 0 {
                return Err(error);
            }
        }
        joining.settle(home, self, device_name)
    }

    /// Adds this device to the current device list. Another device that does so at the same time
    /// makes the Bridge answer `conflict`.
    async fn enrol(
        &self,
        api: &BridgeApi,
        joining: &Joining,
        keys: &AccountKeys,
        device_name: &str,
    ) -> Result<(), JoinError> {
        let answer = api
            .device_list()
            .await
            .map_err(|source| match source.code() {
                Some(ProblemCode::Unauthorized | ProblemCode::NotFound) => JoinError::NoAccount {
                    url: self.url.clone(),
                },
                _ => JoinError::Devices(source),
            })?;
        let known = DeviceList::open(&answer.device_list.0, &keys.account)
            .map_err(JoinError::WrongDevices)?;
        let list = joining
            .enrol(&known, joining.entry(device_name, self))?
            .sign(&keys.identity)
            .map_err(JoinError::Sign)?;
        let put = PutDeviceList {
            device_list: Base64(list.bytes().to_vec()),
        };
        api.put_device_list(&put).await.map_err(JoinError::Devices)
    }

    fn api(&self, sign_in: Option<(AccountId, SigningKey)>) -> BridgeApi {
        let sign_in = sign_in.map(|(account, key)| SignInKey {
            bridge: self.about.bridge,
            account,
            key,
        });
        let environment = Arc::clone(&self.environment);
        BridgeApi::new(self.dialer.clone(), self.url.clone(), sign_in, environment)
    }

    fn joining(&self, phrase: &Mnemonic, device_name: &str) -> Result<Joining, JoinError> {
        let bytes = device_name.len();
        if bytes == 0 || bytes > DEVICE_NAME_BYTES_MAX {
            return Err(JoinError::DeviceName { bytes });
        }
        let mut seed = [0; 32];
        self.environment.random(&mut seed);
        let device = SigningKey::from_seed(&Secret::new(seed));
        Ok(Joining {
            root: phrase.account_root_key(),
            device,
        })
    }
}

/// A device on its way into an account.
struct Joining {
    root: AccountRootKey,
    device: SigningKey,
}

impl Joining {
    fn entry(&self, name: &str, contact: &Contact) -> Device {
        Device {
            id: DeviceId(self.device.public()),
            name: name.to_owned(),
            kem_key: Vec::new(),
            added: contact.environment.now(),
        }
    }

    fn enrol(&self, known: &DeviceList, device: Device) -> Result<DeviceListDraft, JoinError> {
        let mut draft = known.content().clone();
        if draft.devices.len() >= DEVICES_MAX {
            return Err(JoinError::TooManyDevices);
        }
        draft.seq = draft.seq.saturating_add(1);
        draft.prev = known.hash();
        draft.time = device.added;
        draft.devices.push(device);
        Ok(draft)
    }

    fn settle(
        &self,
        home: &Home,
        contact: &Contact,
        device_name: &str,
    ) -> Result<Settings, JoinError> {
        let (volume, epoch) = (self.root.first_volume(), 0);
        let settings = Settings {
            version: SETTINGS_VERSION,
            bridge: contact.url.clone(),
            bridge_id: contact.about.bridge,
            account: self.root.account_keys().account,
            volume,
            epoch,
            device_name: device_name.to_owned(),
        };
        let volume_key = self.root.volume_key(&volume, epoch);
        home.initialise(
            &settings,
            &DeviceKeys {
                device: self.device.clone(),
                volume: volume_key,
            },
        )?;
        Ok(settings)
    }
}
