//! The vectors of `docs/spec/vectors/erasure.json`, made by an independent implementation.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use data_encoding::HEXLOWER;
use erasure::Code;
use serde::Deserialize;
use sha2::{Digest, Sha256};

#[derive(Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    k: u16,
    n: u16,
    size: usize,
    parity: Option<Vec<String>>,
    parity_sha256: String,
}

#[test]
fn parity_is_the_specified_one() {
    let text = include_str!("../../../docs/spec/vectors/erasure.json");
    let vectors: Vectors = serde_json::from_str(text).unwrap();
    assert!(vectors.vectors.len() >= 13, "the file holds every shape");
    for vector in vectors.vectors {
        check(&vector);
    }
}

fn check(
    Vector {
        k,
        n,
        size,
        parity,
        parity_sha256,
    }: &Vector,
) {
    let data: Vec<Vec<u8>> = (0..*k)
        .map(|j| content(&format!("erasure {k} of {n} shard {j}"), *size))
        .collect();
    let data: Vec<&[u8]> = data.iter().map(Vec::as_slice).collect();
    let mut found = vec![vec![0; *size]; usize::from(n - k)];
    let mut outs: Vec<&mut [u8]> = found.iter_mut().map(Vec::as_mut_slice).collect();

    Code::new(*k, *n).unwrap().encode(&data, &mut outs).unwrap();

    if let Some(expected) = parity {
        let found: Vec<String> = found.iter().map(|shard| HEXLOWER.encode(shard)).collect();
        assert_eq!(&found, expected, "{k} of {n}");
    }
    let digest = HEXLOWER.encode(&Sha256::digest(found.concat()));
    assert_eq!(&digest, parity_sha256, "{k} of {n}, {size} bytes");
}

fn content(label: &str, size: usize) -> Vec<u8> {
    (0..size / 32)
        .flat_map(|i| Sha256::digest(format!("{label}/{i}")))
        .collect()
}
