//! An owner that signs up and calls the Bridge.

use std::sync::atomic::{AtomicU8, Ordering};

use http::Method;
use http::header::{AUTHORIZATION, HeaderValue};
use model::crypto::{Secret, SigningKey, account_of};
use model::formats::device_list::{Device, DeviceListDraft};
use model::formats::root::{Lineage, Root, SEALED_KEYS_BYTES, SignedRoot};
use model::units::{AccountId, BridgeId, DeviceId, DeviceListHash, NodeHash, UnixMs, VolumeId};
use model::wire::api::{NewAccount, Session, SignIn};
use model::wire::{Base64, Problem, Signed};
use net::{Call, CallError, Dialer, Endpoint, Reply};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) const VOLUME: VolumeId = VolumeId([0x77; 16]);

static NONCES: AtomicU8 = AtomicU8::new(0);

/// An owner with one device that is signed in.
pub(crate) struct Owner {
    dialer: Dialer,
    endpoint: Endpoint,
    bridge: BridgeId,
    account: AccountId,
    device: SigningKey,
    token: String,
}

impl Owner {
    pub(crate) async fn sign_up(dialer: &Dialer, endpoint: &Endpoint, bridge: BridgeId) -> Self {
        let identity = SigningKey::from_seed(&Secret::new([1; 32]));
        let device = SigningKey::from_seed(&Secret::new([2; 32]));
        let enrolled = Device {
            id: DeviceId(device.public()),
            name: "desk".to_owned(),
            kem_key: Vec::new(),
            added: UnixMs(1),
        };
        let list = DeviceListDraft::first(identity.public(), enrolled)
            .sign(&identity)
            .unwrap();
        let account = NewAccount {
            identity: DeviceId(identity.public()),
            device_list: Base64(list.bytes().to_vec()),
        };
        // Twice: repeating it is no error.
        for _ in 0..2 {
            let () = dialer
                .post_json(endpoint, "/v1/accounts", &account)
                .await
                .unwrap();
        }
        let mut owner = Self {
            dialer: dialer.clone(),
            endpoint: endpoint.clone(),
            bridge,
            account: account_of(&identity.public()),
            device,
            token: String::new(),
        };
        let sign_in = owner.sign_in_body();
        let session: Session = dialer
            .post_json(endpoint, "/v1/sessions", &sign_in)
            .await
            .unwrap();
        owner.token = session.token;
        owner
    }

    /// The same owner, with the same session, at another address of the Bridge.
    pub(crate) fn moved_to(self, endpoint: &Endpoint) -> Self {
        Self {
            endpoint: endpoint.clone(),
            ..self
        }
    }

    pub(crate) fn sign_in_body(&self) -> Signed<SignIn> {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        let nonce = NONCES.fetch_add(1, Ordering::Relaxed);
        let sign_in = SignIn {
            account: self.account,
            key: DeviceId(self.device.public()),
            bridge: self.bridge,
            at: UnixMs(u64::try_from(now.as_millis()).unwrap()),
            nonce: format!("{nonce:032x}"),
        };
        Signed::new(&self.device, &sign_in)
    }

    /// A call with the session's token.
    pub(crate) fn call(&self, method: Method, path: &str) -> Call {
        let token = HeaderValue::try_from(format!("Bearer {}", self.token)).unwrap();
        Call::new(method, path).header(AUTHORIZATION, token)
    }

    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        self.dialer
            .send_json(&self.endpoint, &self.call(Method::GET, path))
            .await
    }

    pub(crate) async fn send<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, CallError> {
        let call = self.call(method, path).json(body).unwrap();
        self.dialer.send_json(&self.endpoint, &call).await
    }

    /// The root that follows `before`.
    pub(crate) fn root(&self, before: Option<&SignedRoot>) -> SignedRoot {
        let lineage = before.map_or(Lineage::first(), |before| {
            before.unverified().lineage.next(before.hash())
        });
        let root = Root {
            account: self.account,
            volume: VOLUME,
            lineage,
            top: NodeHash([1; 32]),
            epoch: 0,
            sealed_keys: [0; SEALED_KEYS_BYTES],
            device_list: DeviceListHash::default(),
            time: UnixMs(1),
            pins: Vec::new(),
            locations: Vec::new(),
        };
        root.sign(&self.device).unwrap()
    }
}

/// The problem document of an answer that is one.
pub(crate) async fn problem(mut reply: Reply) -> Problem {
    let media = reply.headers().get(http::header::CONTENT_TYPE).cloned();
    assert_eq!(media.unwrap(), "application/problem+json");
    let status = reply.status().as_u16();
    let body = reply.collect_limited(1 << 16).await.unwrap();
    let problem: Problem = serde_json::from_slice(&body).unwrap();
    assert_eq!(problem.status, status);
    problem
}
