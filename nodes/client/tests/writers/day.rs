//! Property: random operations of several devices, round by round; within a round all run at the
//! same time. After each round every file that was acknowledged is there, unless an operation that
//! started after its acknowledgement took its place or removed it, and all devices see one tree.

use std::collections::BTreeSet;

use client::transfer::FailureKind;
use futures_util::future::join_all;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::crowd::{Crowd, Device, Seen};

const DEVICES: usize = 4;
const ROUNDS: usize = 8;
const DAYS: u32 = 6;
const PATHS: [&str; 9] = [
    "/a", "/b", "/d", "/d/a", "/d/b", "/d/e", "/d/e/a", "/f", "/f/a",
];

#[derive(Clone, Debug)]
enum Deed {
    Put(&'static str),
    Remove(&'static str),
    Rename(&'static str, &'static str),
    MakeFolders(&'static str),
}

fn path() -> impl Strategy<Value = &'static str> {
    proptest::sample::select(PATHS.as_slice())
}

fn deed() -> impl Strategy<Value = Deed> {
    prop_oneof![
        4 => path().prop_map(Deed::Put),
        2 => path().prop_map(Deed::Remove),
        2 => (path(), path()).prop_map(|(from, to)| Deed::Rename(from, to)),
        1 => path().prop_map(Deed::MakeFolders),
    ]
}

fn day() -> impl Strategy<Value = Vec<Vec<Deed>>> {
    let round = proptest::collection::vec(deed(), DEVICES);
    proptest::collection::vec(round, ROUNDS)
}

/// Does a deed; returns the path and content of a file that was acknowledged.
async fn act(
    device: &Device,
    deed: &Deed,
    content: String,
) -> Result<Option<(&'static str, String)>, FailureKind> {
    match deed {
        Deed::Put(path) => {
            let report = device.put(path, &content).await;
            let report = report.map_err(|error| error.kind())?;
            return Ok((report.stored == 1).then_some((path, content)));
        }
        Deed::Remove(path) => drop(device.remove(path).await?),
        Deed::Rename(from, to) => device.rename(from, to).await?,
        Deed::MakeFolders(path) => device.make_folders(path).await?,
    }
    Ok(None)
}

impl Deed {
    /// Whether it was meant to take the file at `path` away.
    fn takes(&self, path: &str, before: &Seen) -> bool {
        let into = |to: &str| match before.get(to) {
            Some(None) => path.starts_with(&format!("{to}/")),
            _ => path == to,
        };
        match self {
            Self::Put(to) | Self::Rename(_, to) => into(to),
            Self::Remove(gone) => path == *gone || path.starts_with(&format!("{gone}/")),
            Self::MakeFolders(_) => false,
        }
    }
}

async fn one_day(rounds: &[Vec<Deed>]) {
    let crowd = Crowd::gather(DEVICES).await;
    let mut before = Seen::new();
    for (number, deeds) in rounds.iter().enumerate() {
        crowd.meet(DEVICES);
        let acting = crowd.devices.iter().zip(deeds).enumerate();
        let acting =
            acting.map(|(who, (device, deed))| act(device, deed, format!("{number} {who}")));
        let outcomes = join_all(acting).await;
        let after = crowd.seen().await;
        let there: BTreeSet<&str> = after.values().flatten().map(String::as_str).collect();

        for outcome in &outcomes {
            let expected = [
                FailureKind::NotFound,
                FailureKind::Conflict,
                FailureKind::Refused,
            ];
            if let Err(kind) = outcome {
                assert!(expected.contains(kind), "{kind:?} in {deeds:?}");
            }
            if let Ok(Some((path, content))) = outcome {
                let content = content.as_str();
                assert!(there.contains(content), "{path} of {deeds:?}: {after:#?}");
            }
        }
        for (path, content) in before
            .iter()
            .filter_map(|(path, content)| Some((path, content.as_ref()?)))
        {
            let taken = deeds.iter().any(|deed| deed.takes(path, &before));
            assert!(
                taken || there.contains(content.as_str()),
                "{path} with {content} is lost by {deeds:?}: {before:#?} {after:#?}"
            );
        }
        before = after;
    }
}

#[test]
fn nothing_acknowledged_is_lost_and_all_devices_agree() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let config = Config {
        failure_persistence: None,
        ..Config::with_cases(DAYS)
    };
    let lived = TestRunner::new(config).run(&day(), |rounds| {
        runtime.block_on(one_day(&rounds));
        Ok(())
    });
    lived.unwrap();
}
