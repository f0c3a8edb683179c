//! A Bridge's database: volumes whose roots grow one by one, each in a commit with its pages.
//! Acknowledged means that the commit returned, which is when an owner is answered.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use metastore::{RootRow, Store, StoreConfig, StoreError, SwapError, Tx};
use model::crypto::sha256;
use model::units::{AccountId, NodeHash, RootHash, UnixMs, VolumeId};

/// Volumes written at the same time, so that commits are grouped.
const VOLUMES: u64 = 16;
/// Pages that come with a root.
const PAGES: u64 = 2;
/// Bytes of a page: between this and twice as many.
const PAGE_BYTES: usize = 1_500;
/// Roots read at a time.
const ROOTS_PER_CALL: u32 = 1_000;

pub(crate) async fn write(file: &Path) -> Result<()> {
    let store = open(file)?;
    let mut writers = tokio::task::JoinSet::new();
    for volume in 0..VOLUMES {
        writers.spawn(grow(store.clone(), volume));
    }
    while let Some(ended) = writers.join_next().await {
        ended??;
    }
    Ok(())
}

async fn grow(store: Store, volume: u64) -> Result<()> {
    let (account, id) = place(volume);
    let current = store.read(move |tx| tx.current_root(&account, &id)).await?;
    let mut prev = current;
    loop {
        let seq = prev.as_ref().map_or(0, |root| root.seq) + 1;
        let next = root(volume, seq);
        let (pushed, before) = (next.clone(), prev.as_ref().map(|root| root.hash));
        store
            .write(move |tx: &mut dyn Tx| {
                let pages: Vec<_> = (0..PAGES)
                    .map(|page| self::page(volume, seq, page))
                    .collect();
                for (hash, bytes) in &pages {
                    tx.put_pending_node(&account, hash, bytes, UnixMs(u64::MAX >> 1))?;
                }
                let hashes: Vec<_> = pages.iter().map(|(hash, _)| *hash).collect();
                tx.push_root(&account, &id, before.as_ref(), &pushed)?;
                let missing = tx.commit_nodes(&account, &hashes)?;
                assert!(missing.is_empty(), "pages put in this commit are missing");
                Ok::<_, SwapError<RootRow>>(())
            })
            .await?;
        // Printed after the commit returned; whole lines, also from several tasks.
        println!("{volume} {seq}");
        prev = Some(next);
    }
}

pub(crate) async fn check(file: &Path) -> Result<()> {
    let store = open(file)?;
    let mut acknowledged = BTreeMap::new();
    for line in std::io::stdin().lines() {
        let line = line?;
        let numbers = line.split_once(' ').and_then(|(volume, seq)| {
            Some((volume.parse::<u64>().ok()?, seq.parse::<u64>().ok()?))
        });
        let (volume, seq) = numbers.with_context(|| format!("`{line}` is no acknowledgement"))?;
        let highest = acknowledged.entry(volume).or_insert(seq);
        *highest = seq.max(*highest);
    }
    let mut roots = 0;
    for volume in 0..VOLUMES {
        let current = store.read(move |tx| whole_history(tx, volume)).await??;
        let promised = acknowledged.get(&volume).copied().unwrap_or(0);
        ensure!(
            current >= promised,
            "volume {volume} is at root {current}, and {promised} was acknowledged"
        );
        roots += current;
    }
    println!("{} {roots}", acknowledged.values().sum::<u64>());
    Ok(())
}

/// Prints what the pages of the owner with these settings take.
pub(crate) async fn page_bytes(file: &Path, settings: &Path) -> Result<()> {
    let settings: serde_json::Value = serde_json::from_slice(&std::fs::read(settings)?)?;
    let account = settings["account"]
        .as_str()
        .context("no account in the settings")?;
    let account: AccountId = account.parse()?;
    let usage = open(file)?.read(move |tx| tx.usage(&account)).await?;
    println!("{}", usage.node_bytes);
    Ok(())
}

/// The number of the current root; an error where any root or page up to it is not what was
/// written.
fn whole_history(tx: &dyn Tx, volume: u64) -> Result<Result<u64>, StoreError> {
    let (account, id) = place(volume);
    let current = tx.current_root(&account, &id)?.map_or(0, |root| root.seq);
    let mut expected = current;
    while expected > 0 {
        let found = tx.roots_before(&account, &id, expected + 1, ROOTS_PER_CALL)?;
        if found.is_empty() {
            return Ok(Err(anyhow::anyhow!(
                "volume {volume}: root {expected} is lost"
            )));
        }
        for row in found {
            let pages: Vec<_> = (0..PAGES)
                .map(|page| self::page(volume, expected, page))
                .collect();
            let hashes: Vec<_> = pages.iter().map(|(hash, _)| *hash).collect();
            let rows = tx.nodes(&account, &hashes)?;
            let same = rows.len() == pages.len()
                && rows
                    .iter()
                    .zip(&pages)
                    .all(|(row, page)| row.bytes == page.1);
            if row != root(volume, expected) || !same {
                return Ok(Err(anyhow::anyhow!(
                    "volume {volume}: root {expected} is not whole"
                )));
            }
            expected -= 1;
        }
    }
    // A page of the root that never came would be half a commit.
    let hashes = [
        page(volume, current + 1, 0).0,
        page(volume, current + 1, 1).0,
    ];
    let half = tx.nodes(&account, &hashes)?;
    if !half.is_empty() {
        return Ok(Err(anyhow::anyhow!(
            "volume {volume}: half of root {} is there",
            current + 1
        )));
    }
    Ok(Ok(current))
}

fn open(file: &Path) -> Result<Store> {
    Store::open(file, StoreConfig::default()).with_context(|| format!("opening {}", file.display()))
}

fn place(volume: u64) -> (AccountId, VolumeId) {
    let half = |what: &str| {
        let hash = sha256(format!("{what} {volume}").as_bytes());
        let mut id = [0; 16];
        id.copy_from_slice(&hash[..16]);
        id
    };
    (AccountId(half("account")), VolumeId(half("volume")))
}

fn root(volume: u64, seq: u64) -> RootRow {
    let bytes = content(format!("root {volume} {seq}").as_bytes(), 300);
    RootRow {
        seq,
        hash: RootHash(sha256(&bytes)),
        bytes,
        time: UnixMs(seq),
    }
}

fn page(volume: u64, seq: u64, page: u64) -> (NodeHash, Vec<u8>) {
    let name = format!("page {volume} {seq} {page}");
    let more = usize::from(sha256(name.as_bytes())[0]) * PAGE_BYTES / 255;
    let bytes = content(name.as_bytes(), PAGE_BYTES + more);
    (NodeHash(sha256(&bytes)), bytes)
}

fn content(name: &[u8], len: usize) -> Vec<u8> {
    sha256(name).into_iter().cycle().take(len).collect()
}
