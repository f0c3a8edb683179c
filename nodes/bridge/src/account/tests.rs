//! Who may sign in, and for how long.

use model::crypto::SigningKey;
use model::formats::device_list::{DeviceList, Revoked};
use model::units::{AccountId, BridgeId, DeviceId, UnixMs};
use model::wire::api::{Session, SignIn};
use model::wire::{ProblemCode, Signed};

use super::devices::{DevicesError, device_list, replace_device_list};
use super::session::{
    DEVICE_SESSION_MS, IDENTITY_SESSION_MS, Owner, SignInError, owner, sign_in, token_hash,
};
use super::sign_up::sign_up;
use crate::refusal::Refusal;
use crate::testing::{World, key};

fn body(world: &World, key: &SigningKey, nonce: u8) -> SignIn {
    SignIn {
        account: world.account(),
        key: DeviceId(key.public()),
        bridge: world.context.keys.id,
        at: world.context.now,
        nonce: format!("{nonce:032x}"),
    }
}

fn enter(world: &mut World, key: &SigningKey, body: &SignIn) -> Result<Session, SignInError> {
    let (context, mut rng) = (world.context.clone(), world.rng());
    let signed = Signed::new(key, body);
    world.write(move |tx| sign_in(tx, &context, &mut rng, &signed))
}

fn who(world: &World, session: &Session) -> Option<Owner> {
    let (context, hash) = (world.context.clone(), token_hash(&session.token));
    world.read(move |tx| Ok(owner(tx, &context, &hash).unwrap()))
}

#[test]
fn devices_and_the_identity_key_sign_in_each_for_its_time() {
    let mut world = World::new(1);
    for (key, lifetime) in [
        (world.device.clone(), DEVICE_SESSION_MS),
        (world.owner.identity.clone(), IDENTITY_SESSION_MS),
    ] {
        let sign_in = body(&world, &key, 1);
        let session = enter(&mut world, &key, &sign_in).unwrap();
        assert_eq!(session.expires, world.context.now.plus_ms(lifetime));
        let owner = Owner {
            account: world.account(),
            key: DeviceId(key.public()),
        };
        assert_eq!(who(&world, &session), Some(owner));
        let before = world.context.now;
        world.context.now = session.expires;
        assert_eq!(who(&world, &session), None);
        world.context.now = before;
    }
}

#[test]
fn other_sign_ins_are_refused() {
    let mut world = World::new(1);
    let device = world.device.clone();
    let good = body(&world, &device, 1);
    let (now, other) = (world.context.now, key(2, 9));
    let mut refused = |signer: &SigningKey, body: SignIn| {
        enter(&mut world, signer, &body).unwrap_err().problem().code
    };

    assert_eq!(refused(&other, good.clone()), ProblemCode::Forbidden);
    let stranger = SignIn {
        key: DeviceId(other.public()),
        ..good.clone()
    };
    assert_eq!(refused(&other, stranger), ProblemCode::Unauthorized);
    let nobody = SignIn {
        account: AccountId([0; 16]),
        ..good.clone()
    };
    assert_eq!(refused(&device, nobody), ProblemCode::Unauthorized);
    let elsewhere = SignIn {
        bridge: BridgeId([0; 32]),
        ..good.clone()
    };
    assert_eq!(refused(&device, elsewhere), ProblemCode::Forbidden);
    for at in [UnixMs(now.0 - 600_001), UnixMs(now.0 + 600_001)] {
        assert_eq!(
            refused(&device, SignIn { at, ..good.clone() }),
            ProblemCode::Forbidden
        );
    }
    for nonce in ["", "xyz", &"g".repeat(32)] {
        let bad = SignIn {
            nonce: nonce.to_owned(),
            ..good.clone()
        };
        assert_eq!(refused(&device, bad), ProblemCode::BadRequest);
    }
}

#[test]
fn a_sign_in_counts_once_however_it_is_written() {
    let mut world = World::new(1);
    let device = world.device.clone();
    let first = SignIn {
        nonce: "ab".repeat(16),
        ..body(&world, &device, 0)
    };
    enter(&mut world, &device, &first).unwrap();
    let shouted = SignIn {
        nonce: "AB".repeat(16),
        ..first.clone()
    };
    for again in [first, shouted] {
        let refused = enter(&mut world, &device, &again).unwrap_err();
        assert!(matches!(refused, SignInError::Replayed));
    }
}

#[test]
fn a_revoked_device_is_signed_out_at_once() {
    let mut world = World::new(1);
    let (device, account) = (world.device.clone(), world.account());
    let sign_in = body(&world, &device, 1);
    let session = enter(&mut world, &device, &sign_in).unwrap();
    let first = world.read(move |tx| Ok(device_list(tx, &account).unwrap()));
    let first = DeviceList::open(&first.device_list.0, &account).unwrap();
    let mut draft = first.content().clone();
    let gone = draft.devices.remove(0);
    draft.revoked.push(Revoked {
        id: gone.id,
        time: UnixMs(2),
        last_roots: Vec::new(),
    });
    (draft.seq, draft.prev) = (2, first.hash());
    let second = draft
        .clone()
        .sign(&world.owner.identity)
        .unwrap()
        .bytes()
        .to_vec();
    draft.seq = 3;
    let skips = draft.sign(&world.owner.identity).unwrap().bytes().to_vec();
    let replace = |world: &World, bytes: Vec<u8>| -> Result<(), DevicesError> {
        world.write(move |tx| replace_device_list(tx, &account, &bytes))
    };

    assert_eq!(
        replace(&world, skips).unwrap_err().problem().code,
        ProblemCode::Conflict
    );
    assert!(who(&world, &session).is_some());
    replace(&world, second.clone()).unwrap();
    replace(&world, second).unwrap();

    assert_eq!(who(&world, &session), None);
}

#[test]
fn an_account_is_opened_once_and_only_by_its_identity() {
    let world = World::new(1);
    let good = world.new_account();
    let again = |mut change: Box<dyn FnMut(&mut model::wire::api::NewAccount) + Send>| {
        let mut account = good.clone();
        change(&mut account);
        world
            .write(move |tx| sign_up(tx, &account, UnixMs(5)))
            .map_err(|error| error.problem().code)
    };
    assert_eq!(again(Box::new(|_| {})), Ok(world.account()));
    let bent = again(Box::new(|account| account.device_list.0[60] ^= 1));
    assert_eq!(bent, Err(ProblemCode::BadRequest));
    let stolen = again(Box::new(|account| {
        account.identity = DeviceId(key(1, 7).public());
    }));
    assert_eq!(stolen, Err(ProblemCode::BadRequest));
}
