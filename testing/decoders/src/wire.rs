//! What is signed on the wire: tickets, receipts, signed JSON.

use model::crypto::{Secret, SigningKey};
use model::units::{BridgeId, HostId, OwnerTag, PayerKey, Serial, ShardId, ShardSize, UnixMs};
use model::wire::api::{Purge, SignIn};
use model::wire::control::{DeleteReason, Hello, Order, OrderKind};
use model::wire::{
    Action, Signed, SignedKind, StoreReceipt, Ticket, TicketPurpose, decode_proof, encode_proof,
    parse_range_header, range_header, split_ticket_header, ticket_header,
};

use crate::Decoder;

pub(crate) const DECODERS: &[Decoder] = &[
    Decoder {
        name: "ticket",
        run: ticket,
        seeds: ticket_seeds,
    },
    Decoder {
        name: "ticket_header",
        run: header,
        seeds: header_seeds,
    },
    Decoder {
        name: "leaf_headers",
        run: leaf_headers,
        seeds: leaf_headers_seeds,
    },
    Decoder {
        name: "store_receipt",
        run: receipt,
        seeds: receipt_seeds,
    },
    Decoder {
        name: "signed_json",
        run: signed_json,
        seeds: signed_seeds,
    },
];

const HOST: HostId = HostId([2; 32]);
const NOW: UnixMs = UnixMs(1_000_000_000);

fn key() -> SigningKey {
    SigningKey::from_seed(&Secret::new([7; 32]))
}

/// The headers that ask for a run of leaves and that prove it: each has one spelling.
fn leaf_headers(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else {
        return false;
    };
    let size = 3 * 65_536 + 64;
    let range = parse_range_header(text, size);
    if let Ok(leaves) = &range {
        assert_eq!(range_header(leaves), text);
    }
    let proof = decode_proof(text);
    if let Ok(proof) = &proof {
        assert_eq!(encode_proof(proof), text);
    }
    range.is_ok() || proof.is_ok()
}

fn leaf_headers_seeds() -> Vec<Vec<u8>> {
    let proof = encode_proof(&[[7; 32], [8; 32]]);
    vec![b"bytes=65536-196671".to_vec(), proof.into_bytes()]
}

/// The body of a ticket, under a Bridge's signature.
fn ticket(body: &[u8]) -> bool {
    let bytes = [body, &key().sign("ticket", body).0].concat();
    let mut honoured = false;
    for purpose in [TicketPurpose::Store, TicketPurpose::Read(ShardId([3; 32]))] {
        let Ok(valid) = Ticket::check(&bytes, NOW, &HOST, |_| true, purpose) else {
            continue;
        };
        assert_eq!(valid.ticket().sign(&key()), bytes);
        assert_eq!(valid.owner_tag().is_some(), purpose == TicketPurpose::Store);
        honoured = true;
    }
    honoured
}

fn tickets() -> Vec<Vec<u8>> {
    let (shard, owner_tag) = (ShardId([3; 32]), OwnerTag([4; 32]));
    let actions = [
        Action::Put { owner_tag },
        Action::Get { shard },
        Action::RepairGet { shard },
        Action::RepairPut { owner_tag },
    ];
    let ticket = |action| Ticket {
        serial: Serial([1; 16]),
        bridge: BridgeId(key().public()),
        host: HOST,
        action,
        bytes_max: 1_000,
        payer: PayerKey([5; 32]),
        price_version: 1,
        created: NOW,
        expires: NOW.plus_ms(1_000),
    };
    actions.map(|action| ticket(action).sign(&key())).to_vec()
}

fn ticket_seeds() -> Vec<Vec<u8>> {
    let body = |signed: Vec<u8>| {
        signed
            .split_last_chunk::<64>()
            .map(|(body, _)| body.to_vec())
    };
    tickets().into_iter().filter_map(body).collect()
}

/// The value of an `Authorization` header.
fn header(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else {
        return false;
    };
    let Ok(signed) = split_ticket_header(text) else {
        return false;
    };
    assert_eq!(ticket_header(&signed), text);
    true
}

fn header_seeds() -> Vec<Vec<u8>> {
    let headers = tickets().into_iter().map(|signed| ticket_header(&signed));
    headers.map(String::into_bytes).collect()
}

/// The body of a receipt, under a Host's signature.
fn receipt(body: &[u8]) -> bool {
    let bytes = [body, &key().sign("store-receipt", body).0].concat();
    let Ok(receipt) = StoreReceipt::open(&bytes) else {
        return false;
    };
    assert_eq!(receipt.sign(&key()), bytes);
    true
}

fn receipt_seeds() -> Vec<Vec<u8>> {
    let receipt = StoreReceipt {
        serial: Serial([1; 16]),
        bridge: BridgeId([2; 32]),
        host: HostId(key().public()),
        shard: ShardId([3; 32]),
        size: ShardSize::MAX,
        stored: NOW,
    };
    let body = receipt.sign(&key());
    body.split_last_chunk::<64>()
        .map(|(body, _)| body.to_vec())
        .into_iter()
        .collect()
}

/// A signed body, under the signature of whom it may be from, and the frame around it.
fn signed_json(bytes: &[u8]) -> bool {
    let read = [
        opened::<Hello>(bytes),
        opened::<Order>(bytes),
        opened::<SignIn>(bytes),
        opened::<Purge>(bytes),
    ];
    read.contains(&true)
}

fn opened<T: SignedKind + PartialEq + std::fmt::Debug>(bytes: &[u8]) -> bool {
    let framed = serde_json::from_slice::<Signed<T>>(bytes);
    if let Ok(frame) = &framed {
        let opened = frame.open(&key().public());
        assert!(opened.is_err() || frame.peek().is_ok());
    }
    let encode = |bytes: &[u8]| data_encoding::BASE64URL_NOPAD.encode(bytes);
    let (body, signature) = (encode(bytes), encode(&key().sign(T::KIND, bytes).0));
    let text = format!(r#"{{"body":"{body}","signature":"{signature}"}}"#);
    let frame = serde_json::from_str::<Signed<T>>(&text);
    let frame = frame.unwrap_or_else(|error| panic!("this is a frame: {error}"));
    let Ok(value) = frame.open(&key().public()) else {
        return framed.is_ok();
    };
    let again = Signed::new(&key(), &value).peek();
    assert_eq!(again.ok(), Some(value));
    true
}

fn signed_seeds() -> Vec<Vec<u8>> {
    let order = Order {
        bridge: BridgeId([1; 32]),
        host: HOST,
        seq: 3,
        at: NOW,
        kind: OrderKind::Delete {
            serials: vec![Serial([4; 16])],
            reason: DeleteReason::Retired,
        },
    };
    let frame = serde_json::to_vec(&Signed::new(&key(), &order)).unwrap_or_default();
    let body = serde_json::to_vec(&order).unwrap_or_default();
    let sign_in = format!(
        r#"{{"account":"{}","key":"{}","bridge":"{}","at":7,"nonce":"{}"}}"#,
        "01".repeat(16),
        "02".repeat(32),
        "03".repeat(32),
        "04".repeat(16)
    );
    vec![frame, body, sign_in.into_bytes(), crate::json::hello()]
}
