//! Two or more devices that start from the same root, so that all but one are overtaken.

use client::transfer::FailureKind;
use futures_util::future::join_all;

use super::crowd::{Crowd, Seen};

fn names(seen: &Seen) -> Vec<&str> {
    seen.keys().map(String::as_str).collect()
}

/// Contents of the files at `path` and beside it.
fn versions<'a>(seen: &'a Seen, path: &str) -> Vec<&'a str> {
    let beside = format!("{path} (conflict d");
    let found = seen
        .iter()
        .filter(|(name, _)| *name == path || name.starts_with(&beside));
    let mut found: Vec<_> = found
        .filter_map(|(_, content)| content.as_deref())
        .collect();
    found.sort_unstable();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixteen_devices_fill_an_empty_volume_at_once() {
    let crowd = Crowd::gather(16).await;
    crowd.meet(16);
    let putting = crowd
        .devices
        .iter()
        .enumerate()
        .map(async |(number, device)| {
            let path = format!("/in/one/folder/{number}");
            device.has_put(&path, &number.to_string()).await;
        });
    join_all(putting).await;

    let seen = crowd.seen().await;
    for number in 0..16 {
        let path = format!("/in/one/folder/{number}");
        assert_eq!(seen[&path].as_deref(), Some(number.to_string().as_str()));
    }
    assert_eq!(seen.len(), 3 + 16);
    assert!(crowd.network.bridge.books().volume.conflicts >= 15);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_one_name_one_wins_and_the_others_are_kept_beside() {
    let crowd = Crowd::gather(6).await;
    for known in [false, true] {
        crowd.meet(6);
        let writing = crowd
            .devices
            .iter()
            .enumerate()
            .map(async |(number, device)| {
                device.has_put("/name", &format!("{known} {number}")).await;
            });
        join_all(writing).await;

        let seen = crowd.seen().await;
        let of_this: Vec<_> = versions(&seen, "/name")
            .into_iter()
            .filter(|content| content.starts_with(&known.to_string()))
            .collect();
        assert_eq!(of_this.len(), 6, "{seen:?}");
        assert!(
            seen["/name"]
                .as_deref()
                .unwrap()
                .starts_with(&known.to_string())
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_edited_while_it_is_removed_stays() {
    let crowd = Crowd::gather(2).await;
    let (one, other) = (&crowd.devices[0], &crowd.devices[1]);
    for round in 0..4 {
        one.has_put("/file", &format!("old {round}")).await;
        crowd.meet(2);
        // Of another length: within a tick of the clock, the same length means the same content.
        let edited = format!("edited {round}");
        let (left, ()) = tokio::join!(one.remove("/file"), other.has_put("/file", &edited));
        assert!(matches!(left.as_deref(), Ok([] | [_])), "{left:?}");
        assert_eq!(crowd.seen().await["/file"], Some(edited));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_is_removed_keeps_what_others_put_into_it() {
    let crowd = Crowd::gather(2).await;
    let (one, other) = (&crowd.devices[0], &crowd.devices[1]);
    for round in 0..4 {
        let new = format!("/d/sub/new {round}");
        one.has_put("/d/old", &format!("old {round}")).await;
        one.has_put("/d/sub/old", &format!("sub {round}")).await;
        crowd.meet(2);
        let (left, ()) = tokio::join!(one.remove("/d"), other.has_put(&new, &new));
        let seen = crowd.seen().await;
        assert_eq!(names(&seen), ["/d", "/d/sub", &new], "{left:?}");
        assert!(left.unwrap().iter().all(|path| *path == new));
        assert_eq!(one.remove("/d").await, Ok(Vec::new()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_new_names_for_one_entry_the_first_counts() {
    let crowd = Crowd::gather(2).await;
    let (one, other) = (&crowd.devices[0], &crowd.devices[1]);
    one.has_put("/x", "x").await;
    crowd.meet(2);
    let (a, b) = tokio::join!(one.rename("/x", "/a"), other.rename("/x", "/b"));
    let seen = crowd.seen().await;
    match (a, b) {
        (Ok(()), Err(FailureKind::NotFound)) => assert_eq!(names(&seen), ["/a"]),
        (Err(FailureKind::NotFound), Ok(())) => assert_eq!(names(&seen), ["/b"]),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_that_appeared_is_kept_beside_what_is_moved_there() {
    let crowd = Crowd::gather(2).await;
    let (one, other) = (&crowd.devices[0], &crowd.devices[1]);
    one.has_put("/x", "moved").await;
    crowd.meet(2);
    let (moved, ()) = tokio::join!(one.rename("/x", "/y"), other.has_put("/y", "appeared"));
    moved.unwrap();
    let seen = crowd.seen().await;
    assert_eq!(versions(&seen, "/y"), ["appeared", "moved"], "{seen:?}");
    assert_eq!(seen.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_and_a_folder_of_one_name_both_stay() {
    let crowd = Crowd::gather(2).await;
    let (one, other) = (&crowd.devices[0], &crowd.devices[1]);
    crowd.meet(2);
    let (made, ()) = tokio::join!(one.make_folders("/n/sub"), other.has_put("/n", "file"));
    made.unwrap();
    let seen = crowd.seen().await;
    assert!(seen.contains_key("/n/sub"), "{seen:?}");
    assert_eq!(versions(&seen, "/n"), ["file"], "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn folders_that_both_make_are_one() {
    let crowd = Crowd::gather(2).await;
    let (one, other) = (&crowd.devices[0], &crowd.devices[1]);
    crowd.meet(2);
    let made = tokio::join!(one.make_folders("/a/b/c"), other.make_folders("/a/b/d"));
    assert_eq!(made, (Ok(()), Ok(())));
    let seen = crowd.seen().await;
    assert_eq!(names(&seen), ["/a", "/a/b", "/a/b/c", "/a/b/d"]);
}
