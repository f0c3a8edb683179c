//! One drive used by many tasks: what they want at the same time shares a root.

use std::sync::Arc;

use client::drive::upload::PutError;
use client::transfer::FailureKind;
use futures_util::future::join_all;
use model::units::UploadId;

use super::crowd::{Crowd, typed};

/// Shards of a file of the class `coded:4/8`.
const SHARDS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_small_puts_at_once_make_few_roots() {
    let crowd = Crowd::gather(1).await;
    let device = &crowd.devices[0];
    let barrier = Arc::clone(&crowd.network.bridge.books().volume.barrier);
    let held = barrier.lock().await;
    let putting = (0..64).map(async |number| {
        let content = format!("{number:032} {}", "x".repeat(10_000));
        device.has_put(&format!("/file {number}"), &content).await;
    });
    let opening = async {
        // The first root is on its way; the others become ready meanwhile.
        while crowd.stored() < 64 * SHARDS {
            tokio::task::yield_now().await;
        }
        drop(held);
    };
    tokio::join!(join_all(putting), opening);

    assert_eq!(crowd.seen().await.len(), 64);
    let books = crowd.network.bridge.books();
    let ended: usize = books.volume.ended.iter().sum();
    assert_eq!(ended, 64);
    assert_eq!(books.volume.references.values().sum::<i64>(), 64);
    let roots = books.volume.roots.len();
    assert!(roots <= 16, "{roots} roots");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_caller_hears_of_its_own_refusal() {
    let crowd = Crowd::gather(1).await;
    let device = &crowd.devices[0];
    let barrier = {
        let mut books = crowd.network.bridge.books();
        books.volume.refused = Some(UploadId([3; 16]));
        Arc::clone(&books.volume.barrier)
    };
    let held = barrier.lock().await;
    let putting = (0..6).map(async |number| {
        let content = format!("{number:032} {}", "x".repeat(10_000));
        device.put(&format!("/file {number}"), &content).await
    });
    let opening = async {
        while crowd.stored() < 6 * SHARDS {
            tokio::task::yield_now().await;
        }
        drop(held);
    };
    let wanted = [typed("/file 9/sub")];
    let folder = device.drive.make_folders(&wanted, false);
    let (put, (), made) = tokio::join!(join_all(putting), opening, folder);

    let failed: Vec<_> = put.iter().filter_map(|put| put.as_ref().err()).collect();
    assert!(
        matches!(failed.as_slice(), [PutError::Commit(_)]),
        "{failed:?}"
    );
    assert_eq!(made.unwrap_err().kind(), FailureKind::NotFound);
    assert_eq!(crowd.seen().await.len(), 5);
}
