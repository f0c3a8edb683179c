//! JSON that a peer sends: bodies of calls and answers, control messages, problems.

use model::wire::Problem;
use model::wire::api::{
    About, Commit, Committed, DeviceListAnswer, Layout, More, MoreRequest, NewAccount, Nodes, Plan,
    PurgeAnswer, PutDeviceList, ReceiptPage, Reports, RootAnswer, Roots, Session, SlotPage,
    UploadRequest, Usage,
};
use model::wire::control::{FromBridge, FromHost};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Decoder;

pub(crate) const DECODERS: &[Decoder] = &[
    Decoder {
        name: "bridge_requests",
        run: requests,
        seeds: request_seeds,
    },
    Decoder {
        name: "bridge_answers",
        run: answers,
        seeds: answer_seeds,
    },
    Decoder {
        name: "control_from_bridge",
        run: same::<FromBridge>,
        seeds: from_bridge_seeds,
    },
    Decoder {
        name: "control_from_host",
        run: same::<FromHost>,
        seeds: from_host_seeds,
    },
    Decoder {
        name: "problem",
        run: same::<Problem>,
        seeds: problem_seeds,
    },
    Decoder {
        name: "host_about",
        run: same::<host::About>,
        seeds: Vec::new,
    },
    Decoder {
        name: "stored_offer",
        run: same::<bridge::hosts::offer::StoredOffer>,
        seeds: offer_seeds,
    },
];

/// What is read is read the same when it was written again.
fn same<T: Serialize + DeserializeOwned + PartialEq>(bytes: &[u8]) -> bool {
    let Ok(value) = serde_json::from_slice::<T>(bytes) else {
        return false;
    };
    let text = serde_json::to_vec(&value);
    let text = text.unwrap_or_else(|error| panic!("what was read is written: {error}"));
    let again = serde_json::from_slice::<T>(&text);
    let again = again.unwrap_or_else(|error| panic!("what was written is read: {error}"));
    assert!(again == value, "another value after writing");
    true
}

/// Every JSON body that the Bridge reads.
fn requests(bytes: &[u8]) -> bool {
    let read = [
        same::<UploadRequest>(bytes),
        same::<MoreRequest>(bytes),
        same::<ReceiptPage>(bytes),
        same::<Commit>(bytes),
        same::<Nodes>(bytes),
        same::<Reports>(bytes),
        same::<NewAccount>(bytes),
        same::<PutDeviceList>(bytes),
    ];
    read.contains(&true)
}

/// Every JSON answer of a Bridge that a client reads.
fn answers(bytes: &[u8]) -> bool {
    let read = [
        same::<About>(bytes),
        same::<Session>(bytes),
        same::<DeviceListAnswer>(bytes),
        same::<Plan>(bytes),
        same::<SlotPage>(bytes),
        same::<More>(bytes),
        same::<Committed>(bytes),
        same::<RootAnswer>(bytes),
        same::<Roots>(bytes),
        same::<Nodes>(bytes),
        same::<Layout>(bytes),
        same::<Usage>(bytes),
        same::<PurgeAnswer>(bytes),
    ];
    read.contains(&true)
}

const ID16: &str = "0123456789abcdef0123456789abcdef";
const ID32: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// Texts with `A` and `B` in the place of ids of 16 and 32 bytes.
fn texts(list: &[&str]) -> Vec<Vec<u8>> {
    let fill = |text: &&str| {
        let text = text.replace("$A", ID16).replace("$B", ID32);
        text.into_bytes()
    };
    list.iter().map(fill).collect()
}

fn request_seeds() -> Vec<Vec<u8>> {
    texts(&[
        r#"{"volume":"$A","payer":"$B","class":"coded:4/8","blobs":[{"blob":"$A","length":5,"owner_tag":"$B"}]}"#,
        r#"{"slots":[{"blob":"$A","segment":0,"index":1,"failed":"$B"}]}"#,
        r#"{"segments":[{"blob":"$A","segment":0,"ids":["$B"],"receipts":["AAAA",null]}]}"#,
        r#"{"root":"AAAA","nodes":[{"hash":"$B","body":"AAAA"}],"pending":["$B"],"retired":["$B"],"blobs":[{"blob":"$A","references":-1,"live_bytes":1}],"receipts":{"segments":[]}}"#,
        r#"{"nodes":[{"hash":"$B","body":""}]}"#,
        r#"{"reports":[{"host":"$B","saw":"bad_shard","shard":"$B","blob":"$A"}]}"#,
        r#"{"identity":"$B","device_list":"AAAA"}"#,
    ])
}

fn answer_seeds() -> Vec<Vec<u8>> {
    texts(&[
        r#"{"bridge":"$B","agent":"xbridge/0","protocol":{"version":1,"oldest":1},"now":1,"hosts_online":8,"zones_online":8,"class":"mirrors:3"}"#,
        r#"{"token":"abc","expires":1}"#,
        r#"{"upload":"$A","expires":1,"class":"mirrors:3","slots":{"hosts":[{"host":"$B","name":"h","addresses":["127.0.0.1:1"],"zone":"z","region":"r","online":true}],"segments":[{"blob":"$A","segment":0,"slots":[{"host":0,"ticket":"AAAA"}]}],"next":"0.1"}}"#,
        r#"{"hosts":[],"slots":[null,{"host":1,"ticket":""}]}"#,
        r#"{"seq":1,"hash":"$B"}"#,
        r#"{"roots":[{"root":"AAAA","seq":1,"hash":"$B"}]}"#,
        r#"{"length":1,"class":"coded:4/8","hosts":[],"segments":[{"segment":0,"shards":[{"id":"$B","host":0,"ticket":"AAAA"},{"id":"$B"}]}]}"#,
        r#"{"blob_bytes":1,"shard_bytes":1,"node_bytes":1,"reserved_bytes":1,"quota_bytes":1}"#,
        r#"{"blobs":1,"blobs_in_use":0,"nodes":2}"#,
        r#"{"device_list":"AAAA","identity":"$B"}"#,
    ])
}

fn from_bridge_seeds() -> Vec<Vec<u8>> {
    texts(&[
        r#"{"type":"challenge","bridge":"$B","nonce":"$B","protocol":{"version":1,"oldest":1}}"#,
        r#"{"type":"welcome","heartbeat_ms":20000,"zone":"z","orders_done":3}"#,
        r#"{"type":"refused","problem":{"type":"urn:xcloud:problem:busy","title":"t","status":429,"code":"busy","detail":"d"}}"#,
        r#"{"type":"reachability","reachable":false,"detail":"d"}"#,
        r#"{"type":"order","order":{"body":"AAAA","signature":"AAAA"}}"#,
        r#"{"type":"audit","challenge":{"body":"AAAA","signature":"AAAA"}}"#,
        r#"{"type":"repair","order":{"body":"AAAA","signature":"AAAA"}}"#,
        r#"{"type":"inventory","inventory":{"id":"$A","serials":"AAAA"}}"#,
        r#"{"type":"retain","set":{"body":"AAAA","signature":"AAAA"}}"#,
        r#"{"type":"event","event":{"body":"AAAA","signature":"AAAA"}}"#,
        r#"{"type":"mark","mark":{"body":"AAAA","signature":"AAAA"}}"#,
        r#"{"type":"leaving","progress":{"wish":{"wish":"part","bytes":9},"moved_bytes":1,"moved_shards":1,"left_bytes":1,"left_shards":1,"done":false}}"#,
    ])
}

fn from_host_seeds() -> Vec<Vec<u8>> {
    texts(&[
        r#"{"type":"hello","hello":{"body":"AAAA","signature":"AAAA"}}"#,
        r#"{"type":"heartbeat","state":{"used_bytes":1,"free_bytes":2,"shards":3,"paused":false}}"#,
        r#"{"type":"orders_done","seq":9}"#,
        r#"{"type":"proof","proof":{"answer":{"body":"AAAA","signature":"AAAA"},"leaf":"AAAA"}}"#,
        r#"{"type":"repaired","repaired":{"id":"$A","outcome":{"end":"stored","receipt":"AAAA"},"saw":[{"host":"$B","index":1,"saw":"missing"}]}}"#,
        r#"{"type":"repaired","repaired":{"id":"$A","outcome":{"end":"inconsistent","found":"$B"}}}"#,
        r#"{"type":"holdings","holdings":{"id":"$A","gone":[1,2]}}"#,
        r#"{"type":"retained","trashed":1}"#,
        r#"{"type":"leave","leave":{"body":"AAAA","signature":"AAAA"}}"#,
    ])
}

fn problem_seeds() -> Vec<Vec<u8>> {
    texts(&[
        r#"{"type":"urn:xcloud:problem:quota_exceeded","title":"t","status":402,"code":"quota_exceeded","detail":"d","facts":{"needed":1}}"#,
        r#"{"type":"urn:xcloud:problem:moon","title":"t","status":418,"code":"moon","detail":"d"}"#,
    ])
}

const OFFER: &str = r#"{"name":"h","addresses":["127.0.0.1:1"],"space_bytes":1,"bandwidth_up":1,"schedule":"always","zone":"z","region":"r","until":9}"#;

/// The body of a Host's hello.
pub(crate) fn hello() -> Vec<u8> {
    let text = format!(
        r#"{{"host":"$B","bridge":"$B","nonce":"$B","protocol":{{"version":1,"oldest":1}},"agent":"xcore/0","offer":{OFFER},"state":{{"used_bytes":1,"free_bytes":2,"shards":3,"paused":false}}}}"#
    );
    texts(&[&text]).concat()
}

fn offer_seeds() -> Vec<Vec<u8>> {
    let text = format!(r#"{{"offer":{OFFER},"zone":"z","agent":"xcore/0"}}"#);
    vec![text.into_bytes()]
}
