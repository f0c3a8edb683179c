//! Property: with as many faults as there is parity, of any mixture, what comes out is what went
//! in; with more, a typed error, and never a wrong byte.

#[expect(
    clippy::unwrap_used,
    reason = "a network that cannot be started fails the test"
)]
#[expect(dead_code, reason = "other tests use more of it")]
mod network;

use futures_util::future::join_all;
use network::{Fault, Network, bytes};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestCaseResult, TestRunner};

/// Batches, and networks that run at the same time in each: most of the time is spent waiting.
const BATCHES: u32 = 2;
const NETWORKS: usize = 12;
const HOSTS: u8 = 8;
const PARITY: usize = 4;

fn faults() -> impl Strategy<Value = Vec<Option<Fault>>> {
    let fault = prop_oneof![
        Just(Fault::Dead),
        Just(Fault::Silent),
        Just(Fault::Garbage),
        Just(Fault::Cut),
        Just(Fault::Slow),
        Just(Fault::Full),
        Just(Fault::Busy),
    ];
    proptest::collection::vec(proptest::option::of(fault), usize::from(HOSTS))
}

async fn one_network(faults: &[Option<Fault>]) -> TestCaseResult {
    let network = Network::start(HOSTS);
    let class = "coded:4/8".parse().ok();
    let stored = network.owner().put(&bytes(90_001), class).await;
    let file = stored.map_err(|error| TestCaseError::fail(error.to_string()))?;
    for (number, fault) in (1..).zip(faults) {
        network.fail(&[number], fault.unwrap_or(Fault::None));
    }
    let failing = faults.iter().flatten().count();
    match network.owner().get(&file).await {
        Ok(got) => prop_assert!(got == file.plain, "other bytes under {faults:?}"),
        // A slow Host gives its shard in the end, so more faults may still work out.
        Err(error) => prop_assert!(failing > PARITY, "{faults:?}: {error}"),
    }
    Ok(())
}

#[test]
fn any_mixture_of_faults_gives_equal_bytes_or_a_typed_error() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let config = Config {
        cases: BATCHES,
        failure_persistence: None,
        ..Config::default()
    };
    let batches = proptest::collection::vec(faults(), NETWORKS);
    let outcome = TestRunner::new(config).run(&batches, |batch| {
        let networks = batch.iter().map(|faults| one_network(faults));
        runtime.block_on(join_all(networks)).into_iter().collect()
    });
    outcome.unwrap();
}
