//! How a network stands, by what its programs say: where an owner's segments lie, what a Host keeps
//! and what the Bridge decided about it.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::owner::Owner;

/// A segment of a file, as `xcloud where` shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct Segment {
    /// Shards that bring it back.
    pub k: u16,
    /// Shards there are to be.
    pub n: u16,
    /// Shards whose Host is online.
    pub live: u16,
    /// All of them.
    pub shards: Vec<Placed>,
}

/// A shard and who keeps it.
#[derive(Clone, Debug, Deserialize)]
pub struct Placed {
    /// The shard's id.
    pub id: String,
    /// Its Host's name; `None` where nobody has it.
    pub name: Option<String>,
    /// Whether that Host is online.
    pub online: bool,
}

/// What `xcloud verify` counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Proofs {
    /// Shards whose Host proved a leaf.
    pub proved: u64,
    /// Shards whose proof failed.
    pub failed: u64,
    /// Shards whose Host could not be asked.
    pub unreachable: u64,
    /// Shards that no Host has.
    pub nowhere: u64,
}

/// What a Host writes down of itself, in parts.
#[derive(Clone, Debug, Deserialize)]
pub struct HostStatus {
    /// Its id.
    pub host: String,
    /// Records stored, those in the trash included.
    pub records: u64,
    /// Bytes of shards, those in the trash included.
    pub live_bytes: u64,
    /// Records in its trash.
    pub trash_records: u64,
    /// Their bytes.
    pub trash_bytes: u64,
    /// Bytes of shards received since its start.
    pub received_bytes: u64,
    /// Bytes of shards sent since its start.
    pub sent_bytes: u64,
    /// Shards made anew here since its start.
    pub repairs: u64,
    /// Resting.
    pub paused: bool,
    /// When this was written, in milliseconds since 1970.
    pub at: u64,
}

/// A Bridge's decision about a Host.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Event {
    /// `audit_failed`, say.
    pub kind: String,
    /// Why.
    pub reason: String,
}

impl Segment {
    /// Names of the Hosts that are online and keep a shard.
    #[must_use]
    pub fn keepers(&self) -> BTreeSet<&str> {
        let online = self.shards.iter().filter(|shard| shard.online);
        online.filter_map(|shard| shard.name.as_deref()).collect()
    }

    /// Whether all its shards are on different Hosts that are online.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.live == self.n && self.keepers().len() == usize::from(self.n)
    }
}

impl HostStatus {
    /// Records that are not in the trash.
    #[must_use]
    pub const fn kept_records(&self) -> u64 {
        self.records.saturating_sub(self.trash_records)
    }

    /// Their bytes.
    #[must_use]
    pub const fn kept_bytes(&self) -> u64 {
        self.live_bytes.saturating_sub(self.trash_bytes)
    }
}

impl Proofs {
    /// Whether every shard was proved.
    #[must_use]
    pub const fn are_whole(&self) -> bool {
        self.proved > 0 && self.failed == 0 && self.unreachable == 0 && self.nowhere == 0
    }
}

impl Owner {
    /// Where the segments of the file `path` lie; none where the Bridge keeps it itself.
    ///
    /// # Errors
    /// When the client cannot say.
    pub fn segments(&self, path: &str) -> Result<Vec<Segment>> {
        #[derive(Deserialize)]
        struct Where {
            segments: Vec<Segment>,
        }
        let said: Where = read(&self.run(["--json", "where", path])?, "where")?;
        Ok(said.segments)
    }

    /// Paths of all files.
    ///
    /// # Errors
    /// When the client cannot say.
    pub fn files(&self) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Entry {
            path: String,
            r#type: String,
        }
        let listed: Vec<Entry> = read(&self.run(["--json", "ls", "-R", "/"])?, "ls")?;
        let files = listed.into_iter().filter(|entry| entry.r#type == "file");
        Ok(files.map(|entry| entry.path).collect())
    }

    /// Has every Host prove what it keeps of what lies below `path`, and whether all comes back.
    ///
    /// # Errors
    /// When the client says something else.
    pub fn proofs(&self, path: &str) -> Result<(Proofs, bool)> {
        #[derive(Deserialize)]
        struct Verified {
            shards: Proofs,
        }
        let output = self.run(["--json", "verify", path])?;
        let said = serde_json::from_slice(&output.stdout);
        let said: Verified = said.with_context(|| failure(&output, "verify"))?;
        Ok((said.shards, output.status.success()))
    }
}

/// What Bridges decided about the Host whose data is in the folder `data`, oldest first.
pub(crate) fn events(xcore: &Path, data: &Path) -> Result<Vec<Event>> {
    let mut command = Command::new(xcore);
    command.args(["events", "--json", "--data"]).arg(data);
    let output = command.stdin(Stdio::null()).output()?;
    ensure!(
        output.status.success(),
        "{}",
        failure(&output, "xcore events")
    );
    let events = serde_json::Deserializer::from_slice(&output.stdout).into_iter::<Event>();
    events.map(|event| Ok(event?)).collect()
}

/// The names of the Hosts that the Bridge whose data is in the folder `data` knows, and what it
/// believes of each.
pub(crate) fn host_states(xbridge: &Path, data: &Path) -> Result<Vec<(String, String)>> {
    #[derive(Deserialize)]
    struct Listed {
        name: String,
        state: String,
    }
    let mut command = Command::new(xbridge);
    command.args(["hosts", "--json", "--data"]).arg(data);
    let output = command.stdin(Stdio::null()).output()?;
    let listed: Vec<Listed> = read(&output, "xbridge hosts")?;
    Ok(listed.into_iter().map(|it| (it.name, it.state)).collect())
}

/// Whether two files have the same content.
pub(crate) fn same_files(one: &Path, other: &Path) -> Result<bool> {
    Ok(std::fs::read(one)? == std::fs::read(other)?)
}

/// The JSON that a program printed before it ended well.
fn read<T: DeserializeOwned>(output: &Output, what: &str) -> Result<T> {
    ensure!(output.status.success(), "{}", failure(output, what));
    serde_json::from_slice(&output.stdout).with_context(|| failure(output, what))
}

fn failure(output: &Output, what: &str) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    format!("{what} ended ({}): {}", output.status, said.trim())
}
