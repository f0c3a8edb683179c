//! Clients and Bridges of neighbouring protocol versions.

use std::error::Error;

use futures_util::future::join_all;
use model::wire::ProtocolVersions;

use super::crowd::Crowd;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_of_the_version_before_gets_a_commit_for_each_upload() {
    let crowd = Crowd::gather(1).await;
    crowd.network.bridge.books().volume.speaks = Some(ProtocolVersions::FIRST);
    let device = &crowd.devices[0];
    let putting = (0..8).map(async |number| {
        let content = format!("{number:032} {}", "x".repeat(10_000));
        device.has_put(&format!("/file {number}"), &content).await;
    });
    join_all(putting).await;

    assert_eq!(crowd.seen().await.len(), 8);
    let books = crowd.network.bridge.books();
    assert_eq!(
        books
            .volume
            .ended
            .iter()
            .filter(|ended| **ended == 1)
            .count(),
        8
    );
    assert_eq!(books.volume.commits_of_first, 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newer_bridge_that_accepts_ours_is_used() {
    let crowd = Crowd::gather(1).await;
    let newer = ProtocolVersions {
        version: ProtocolVersions::OURS.version + 1,
        ..ProtocolVersions::OURS
    };
    crowd.network.bridge.books().volume.speaks = Some(newer);
    crowd.devices[0].has_put("/file", &"x".repeat(10_000)).await;
    assert_eq!(crowd.network.bridge.books().volume.commits_of_first, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bridge_that_left_our_version_behind_is_refused_before_anything_is_changed() {
    let crowd = Crowd::gather(1).await;
    let roots = {
        let mut books = crowd.network.bridge.books();
        books.volume.speaks = Some("8-9".parse().unwrap());
        books.volume.roots.len()
    };
    let error = crowd.devices[0]
        .put("/file", &"x".repeat(10_000))
        .await
        .unwrap_err();
    let mut told = vec![error.to_string()];
    let mut cause = error.source();
    while let Some(error) = cause {
        told.push(error.to_string());
        cause = error.source();
    }
    let way_out = "the bridge 8 to 9: update xcloud";
    assert!(told.iter().any(|text| text.ends_with(way_out)), "{told:?}");
    assert_eq!(crowd.network.bridge.books().volume.roots.len(), roots);
    assert_eq!(crowd.stored(), 0);
}
