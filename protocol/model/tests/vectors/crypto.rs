//! docs/spec/crypto.md.

use model::crypto::{
    FileCipher, LeafRange, Mnemonic, Signature, SigningKey, hash_shard, leaf_hash, open, seal,
    sha256, verify,
};
use model::units::{BlobId, ShardId};
use serde_json::Value;

use super::{array, bytes, list, number, pattern, secret, text, unhex};

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../../docs/spec/vectors/crypto.json")).unwrap()
}

#[test]
fn expand() {
    for vector in list(&vectors(), "expand") {
        let out = secret(vector, "key").expand(text(vector, "label"), &bytes(vector, "context"));
        assert_eq!(out.expose()[..], bytes(vector, "out"));
    }
}

#[test]
fn file_cipher() {
    for vector in list(&vectors(), "file_cipher") {
        let mut run = bytes(vector, "plain");
        let secret = secret(vector, "secret");
        FileCipher::new(&secret).apply(number(vector, "offset"), &mut run);
        assert_eq!(run, bytes(vector, "cipher"));
    }
}

#[test]
fn sealed_objects() {
    for vector in list(&vectors(), "seal") {
        let (key, context) = (secret(vector, "key"), bytes(vector, "context"));
        let (plain, sealed) = (bytes(vector, "plain"), bytes(vector, "sealed"));
        assert_eq!(seal(&key, &context, &plain), sealed);
        assert_eq!(open(&key, &context, &sealed).unwrap(), plain);
    }
}

#[test]
fn shard_ids() {
    for vector in list(&vectors(), "shard_id") {
        let shard = pattern(usize::try_from(number(vector, "bytes")).unwrap());
        assert_eq!(hash_shard(&shard).to_string(), text(vector, "id"));
    }
}

#[test]
fn proofs_of_leaf_ranges() {
    let vectors = vectors();
    assert!(!list(&vectors, "leaf_range").is_empty());
    for vector in list(&vectors, "leaf_range") {
        let size = u32::try_from(number(vector, "bytes")).unwrap();
        let shard = pattern(size as usize);
        let leaf = |field| {
            u32::try_from(number(vector, field) * 65_536)
                .unwrap()
                .min(size)
        };
        let bytes = leaf("first")..leaf("end");
        let range = LeafRange::of_bytes(size, bytes.clone()).unwrap();
        let proof = list(vector, "proof").iter();
        let proof: Vec<[u8; 32]> = proof
            .map(|node| unhex(node.as_str().unwrap()).try_into().unwrap())
            .collect();
        let leaves: Vec<[u8; 32]> = shard.chunks(65_536).map(leaf_hash).collect();
        assert_eq!(range.proof(&leaves).unwrap(), proof);
        let id = ShardId(array(vector, "id"));
        let run = &shard[bytes.start as usize..bytes.end as usize];
        assert_eq!(range.verify(&id, run, &proof), Ok(()));
    }
}

#[test]
fn signatures() {
    for vector in list(&vectors(), "sign") {
        let key = SigningKey::from_seed(&secret(vector, "seed"));
        let kind = if text(vector, "kind") == "root" {
            "root"
        } else {
            "ticket"
        };
        let body = bytes(vector, "body");
        assert_eq!(key.public(), array(vector, "public"));
        let signature = Signature(array(vector, "signature"));
        assert_eq!(key.sign(kind, &body), signature);
        assert_eq!(verify(&key.public(), kind, &body, &signature), Ok(()));
    }
}

#[test]
fn a_phrase_leads_to_every_key() {
    for vector in list(&vectors(), "account") {
        let phrase = Mnemonic::parse(text(vector, "phrase")).unwrap();
        let again = Mnemonic::from_entropy(&secret(vector, "entropy"));
        assert!(again.words().eq(text(vector, "phrase").split(' ')));

        let ark = phrase.account_root_key();
        let keys = ark.account_keys();
        assert_eq!(keys.identity.public(), array(vector, "identity_public"));
        assert_eq!(keys.account.to_string(), text(vector, "account"));
        let volume = ark.first_volume();
        assert_eq!(volume.to_string(), text(vector, "first_volume"));
        assert_eq!(ark.volume_key(&volume, 0).0, secret(vector, "volume_key_0"));
        assert_eq!(ark.volume_key(&volume, 1).0, secret(vector, "volume_key_1"));

        let (key, blob) = (ark.volume_key(&volume, 0), BlobId(array(vector, "blob")));
        assert_eq!(key.owner_key(&blob).public(), array(vector, "owner_public"));
        assert_eq!(
            key.owner_tag(&blob).0,
            sha256(&bytes(vector, "owner_public"))
        );
        assert_eq!(key.owner_tag(&blob).to_string(), text(vector, "owner_tag"));
    }
}
