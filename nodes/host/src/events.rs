//! Events: what the Bridges decided about this Host and why, each signed, numbered without gaps
//! and kept as it came, so that it can be shown to anybody.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use model::units::{BridgeId, HostId};
use model::wire::limits::EVENT_REASON_CHARS_MAX;
use model::wire::upkeep::HostEvent;
use model::wire::{Signed, SignedError};
use shardstore::disk::{self, File, Open};
use shardstore::durable;

use crate::limits::{EVENT_LINE_BYTES_MAX, EVENTS_KEPT_MAX, EVENTS_SLACK};

/// Name of the file in a Host's data folder: one signed event on each line.
pub const EVENTS_FILE: &str = "events.jsonl";
const FILE_BYTES_MAX: u64 = ((EVENTS_KEPT_MAX + EVENTS_SLACK) * EVENT_LINE_BYTES_MAX) as u64;

/// Events that cannot be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum EventsError {
    /// The file cannot be read or written.
    #[error("cannot use {}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Not signed by the Bridge.
    #[error("an event that the bridge did not sign")]
    Signed(#[from] SignedError),
    /// Of another Bridge, or about another Host.
    #[error("an event about another host or of another bridge")]
    NotForUs,
    /// Numbers are missing before it.
    #[error("event {found} came after {seen}; those between are missing")]
    Gap {
        /// The newest that is kept.
        seen: u64,
        /// The one that came.
        found: u64,
    },
    /// Its reason is longer than one may be.
    #[error("event {seq} has a reason of more than {EVENT_REASON_CHARS_MAX} characters")]
    TooLong {
        /// The event.
        seq: u64,
    },
}

/// The events that are kept, and how far each Bridge's are known.
#[derive(Debug)]
pub(crate) struct Events {
    path: PathBuf,
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    file: File,
    lines: usize,
    seen: BTreeMap<BridgeId, u64>,
}

/// Events as they were read from their file.
#[derive(Debug, Default)]
pub struct EventsFound {
    /// Those whose signature holds, in the order in which they came.
    pub events: Vec<HostEvent>,
    /// Lines that are none.
    pub damaged: u64,
}

impl Events {
    /// Opens the file in the folder `data`, and cuts off what a crash left half written.
    ///
    /// # Errors
    /// [`EventsError::File`].
    pub(crate) fn open(data: &Path) -> Result<Self, EventsError> {
        let path = data.join(EVENTS_FILE);
        let failed = |source| EventsError::File {
            path: path.clone(),
            source,
        };
        let text = read_text(&path).map_err(failed)?;
        let whole = text.rfind('\n').map_or(0, |end| end + 1);
        let open = || {
            let file = File::open(&path, Open::Create)?;
            file.set_len(whole as u64)?;
            durable::sync_folder_of(&path)?;
            Ok(file)
        };
        let file = open().map_err(failed)?;
        let text = text.get(..whole).unwrap_or_default();
        let mut seen = BTreeMap::new();
        for event in parse(text).events {
            let newest: &mut u64 = seen.entry(event.bridge).or_default();
            *newest = event.seq.max(*newest);
        }
        let lines = text.lines().count();
        let kept = Mutex::new(Kept { file, lines, seen });
        Ok(Self { path, kept })
    }

    /// The newest event of `bridge` that is kept; 0 for none.
    pub(crate) fn seen(&self, bridge: &BridgeId) -> u64 {
        self.kept().seen.get(bridge).copied().unwrap_or_default()
    }

    /// Keeps an event of `bridge` about `host`, durably; `None` where it is kept already. Blocks.
    ///
    /// # Errors
    /// [`EventsError`] where it is not the Bridge's next.
    pub(crate) fn keep(
        &self,
        (bridge, host): (BridgeId, HostId),
        signed: &Signed<HostEvent>,
    ) -> Result<Option<HostEvent>, EventsError> {
        let event = signed.open(&bridge.0)?;
        if event.bridge != bridge || event.host != host {
            return Err(EventsError::NotForUs);
        }
        let mut kept = self.kept();
        let (seq, seen) = (event.seq, kept.seen.get(&bridge).copied().unwrap_or(0));
        if seq <= seen {
            return Ok(None);
        }
        if seq != seen + 1 {
            return Err(EventsError::Gap { seen, found: seq });
        }
        // Plain text and numbers: this cannot fail.
        let mut line = serde_json::to_vec(signed).unwrap_or_default();
        line.push(b'\n');
        let long = event.reason.chars().count() > EVENT_REASON_CHARS_MAX;
        if long || line.len() > EVENT_LINE_BYTES_MAX {
            return Err(EventsError::TooLong { seq });
        }
        let failed = |source| EventsError::File {
            path: self.path.clone(),
            source,
        };
        let end = kept.file.bytes().map_err(failed)?;
        let written = kept.file.write_all_at(&line, end);
        if let Err(source) = written.and_then(|()| kept.file.sync_data()) {
            kept.file.set_len(end).ok();
            return Err(failed(source));
        }
        kept.lines += 1;
        kept.seen.insert(bridge, seq);
        if kept.lines > EVENTS_KEPT_MAX + EVENTS_SLACK {
            self.forget_oldest(&mut kept).map_err(failed)?;
        }
        Ok(Some(event))
    }

    /// Writes the file anew with the newest events, and the newest of each Bridge.
    fn forget_oldest(&self, kept: &mut Kept) -> io::Result<()> {
        let text = read_text(&self.path)?;
        let first = kept.lines.saturating_sub(EVENTS_KEPT_MAX);
        let is_newest = |line: &str| {
            let event = parse(line).events.pop();
            event.is_some_and(|event| kept.seen.get(&event.bridge) == Some(&event.seq))
        };
        let lines = text.lines().enumerate();
        let lines: Vec<&str> = lines
            .filter(|(number, line)| *number >= first || is_newest(line))
            .map(|(_, line)| line)
            .collect();
        durable::replace_with(&self.path, |out| {
            lines.iter().try_for_each(|line| writeln!(out, "{line}"))
        })?;
        kept.file = File::open(&self.path, Open::Write)?;
        kept.lines = lines.len();
        Ok(())
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The events that the Host in the folder `data` keeps, each with its signature checked.
///
/// # Errors
/// [`EventsError::File`] where they cannot be read.
pub fn events(data: &Path) -> Result<EventsFound, EventsError> {
    let path = data.join(EVENTS_FILE);
    match read_text(&path) {
        Ok(text) => Ok(parse(&text)),
        Err(source) => Err(EventsError::File { path, source }),
    }
}

fn read_text(path: &Path) -> io::Result<String> {
    match disk::read(path, FILE_BYTES_MAX) {
        // What is no text is no event.
        Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(error),
    }
}

fn parse(text: &str) -> EventsFound {
    let mut found = EventsFound::default();
    for line in text.lines() {
        match read_event(line) {
            Some(event) => found.events.push(event),
            None => found.damaged += 1,
        }
    }
    found
}

fn read_event(line: &str) -> Option<HostEvent> {
    let signed: Signed<HostEvent> = serde_json::from_str(line).ok()?;
    let bridge = signed.peek().ok()?.bridge;
    signed.open(&bridge.0).ok()
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use model::crypto::{Secret, SigningKey};
    use model::units::UnixMs;
    use model::wire::upkeep::HostEventKind;

    use super::*;

    const HOST: HostId = HostId([2; 32]);

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_seed(&Secret::new([seed; 32]))
    }

    fn bridge(seed: u8) -> BridgeId {
        BridgeId(key(seed).public())
    }

    fn event(seed: u8, seq: u64) -> Signed<HostEvent> {
        let event = HostEvent {
            bridge: bridge(seed),
            host: HOST,
            seq,
            at: UnixMs(seq),
            kind: HostEventKind::Vetted,
            reason: "100 audits passed".to_owned(),
        };
        Signed::new(&key(seed), &event)
    }

    fn keep(events: &Events, seed: u8, seq: u64) -> Result<bool, EventsError> {
        let kept = events.keep((bridge(seed), HOST), &event(seed, seq));
        kept.map(|event| event.is_some())
    }

    #[test]
    fn events_are_kept_once_in_order_and_without_gaps() {
        let data = tempfile::tempdir().unwrap();
        let open = || Events::open(data.path()).unwrap();
        let kept = open();
        assert!(keep(&kept, 1, 1).unwrap() && keep(&kept, 1, 2).unwrap());
        assert!(keep(&kept, 3, 1).unwrap() && !keep(&kept, 1, 2).unwrap());
        let gap = keep(&kept, 1, 4).unwrap_err();
        assert_eq!(
            gap.to_string(),
            "event 4 came after 2; those between are missing"
        );
        let forged = kept.keep((bridge(1), HOST), &event(3, 3));
        assert!(matches!(forged, Err(EventsError::Signed(_))));
        let elsewhere = kept.keep((bridge(1), HostId([9; 32])), &event(1, 3));
        assert!(matches!(elsewhere, Err(EventsError::NotForUs)));
        drop(kept);

        let path = data.path().join(EVENTS_FILE);
        let half = serde_json::to_string(&event(1, 3)).unwrap();
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap();
        file.write_all(half.get(..50).unwrap().as_bytes()).unwrap();
        let kept = open();
        assert_eq!((kept.seen(&bridge(1)), kept.seen(&bridge(3))), (2, 1));
        assert!(keep(&kept, 1, 3).unwrap());
        let found = events(data.path()).unwrap();
        let seqs: Vec<u64> = found.events.iter().map(|event| event.seq).collect();
        assert_eq!((seqs, found.damaged), (vec![1, 2, 1, 3], 0));
    }

    #[test]
    fn a_changed_event_is_none() {
        let data = tempfile::tempdir().unwrap();
        let kept = Events::open(data.path()).unwrap();
        keep(&kept, 1, 1).unwrap();
        keep(&kept, 1, 2).unwrap();
        let path = data.path().join(EVENTS_FILE);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[20] = if bytes[20] == b'A' { b'B' } else { b'A' };
        durable::replace(&path, &bytes).unwrap();
        let found = events(data.path()).unwrap();
        assert_eq!((found.events.len(), found.damaged), (1, 1));
    }

    #[test]
    fn the_oldest_are_forgotten_and_no_bridge_is() {
        let data = tempfile::tempdir().unwrap();
        let kept = Events::open(data.path()).unwrap();
        for seed in [3, 1] {
            keep(&kept, seed, 1).unwrap();
        }
        let line = std::fs::read(data.path().join(EVENTS_FILE)).unwrap();
        let old = line.repeat(EVENTS_KEPT_MAX / 2);
        let mut book = kept.kept();
        let end = book.file.bytes().unwrap();
        book.file.write_all_at(&old, end).unwrap();
        book.lines += EVENTS_KEPT_MAX;
        book.seen.insert(bridge(1), 7);
        kept.forget_oldest(&mut book).unwrap();
        assert!(book.lines >= EVENTS_KEPT_MAX && book.lines < EVENTS_KEPT_MAX + 3);
    }
}
