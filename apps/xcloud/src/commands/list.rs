//! `xcloud ls`, `stat` and `du`.

use client::drive::list::Extent;
use client::drive::{Drive, Snapshot, TypedPath};
use data_encoding::BASE64;
use model::formats::tree::{Content, Entry, Folder, Kind, LIST_MAX, Mtime, Name, TreePath, Walked};
use serde::Serialize;
use time::OffsetDateTime;

use super::remote;
use crate::cli::{LsArgs, OptionalPathArgs, PathArgs};
use crate::exit::{Exit, Failure};
use crate::printer::{ExactPath, JsonList, Printer, human_bytes};

/// An entry, as `--json` prints it.
#[derive(Serialize)]
struct EntryReport {
    #[serde(flatten)]
    path: ExactPath,
    name: String,
    #[serde(rename = "type")]
    kind: &'static str,
    size: u64,
    mode: String,
    mtime: i64,
    mtime_ns: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
}

#[derive(Serialize)]
struct StatReport {
    #[serde(flatten)]
    entry: EntryReport,
    id: String,
    epoch: u32,
    content: Option<ContentReport>,
    xattrs: Vec<(String, String)>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case", tag = "in")]
enum ContentReport {
    Tree,
    Blob {
        blob: String,
        offset: u64,
        length: u64,
    },
}

#[derive(Serialize)]
struct DuReport {
    #[serde(flatten)]
    path: ExactPath,
    bytes: u64,
    files: u64,
    folders: u64,
    symlinks: u64,
}

/// Prints entries as the options ask for.
struct Lister {
    printer: Printer,
    long: bool,
    json: Option<JsonList>,
}

pub(super) async fn ls(drive: &Drive, args: LsArgs, printer: Printer) -> Result<Exit, Failure> {
    let typed = path_or_top(args.path.as_deref())?;
    let after = args.after.as_deref().map(std::ffi::OsStr::as_encoded_bytes);
    let after = after.map(Name::new).transpose()?;
    let snapshot = drive.snapshot().await?;
    let entry = snapshot.entry(&typed.path).await?;
    if let (Some(limit), Some(folder)) = (args.limit, entry.folder()) {
        let part = Part {
            folder,
            path: typed.path,
            after,
            limit,
        };
        return list_part(&snapshot, part, printer, args.long).await;
    }
    let json = printer.json.then(|| JsonList::new(printer));
    let mut lister = Lister {
        printer,
        long: args.long,
        json,
    };
    match entry.folder() {
        None => lister.print(&typed.path, &entry, &typed.path.to_bytes())?,
        Some(folder) if args.recursive => {
            let mut walk = snapshot.walk(folder, typed.path.clone());
            while let Some(Walked { path, entry }) = walk.next().await? {
                lister.print(&path, &entry, &path.to_bytes())?;
            }
        }
        Some(folder) => {
            let from = (folder, after);
            list_folder(&snapshot, from, &typed.path, &mut lister).await?;
        }
    }
    if let Some(json) = lister.json {
        json.end()?;
    }
    Ok(Exit::Done)
}

async fn list_folder(
    snapshot: &Snapshot,
    (folder, mut after): (Folder, Option<Name>),
    path: &TreePath,
    lister: &mut Lister,
) -> Result<(), Failure> {
    loop {
        let entries = snapshot.list(&folder, after.as_ref(), LIST_MAX).await?;
        let Some(last) = entries.last() else {
            return Ok(());
        };
        after = Some(last.name.clone());
        for entry in entries {
            let path = path.clone().join(entry.name.clone())?;
            lister.print(&path, &entry, entry.name.as_bytes())?;
        }
    }
}

/// A part of a folder's entries.
struct Part {
    folder: Folder,
    path: TreePath,
    after: Option<Name>,
    limit: u64,
}

/// A part of a folder's entries, as `--json` prints it.
#[derive(Serialize)]
struct PartReport {
    entries: Vec<EntryReport>,
    /// The last name, where more entries follow: the next `--after`.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
    /// Its bytes, where it is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    next_base64: Option<String>,
}

async fn list_part(
    snapshot: &Snapshot,
    mut part: Part,
    printer: Printer,
    long: bool,
) -> Result<Exit, Failure> {
    let json = None;
    let mut lister = Lister {
        printer,
        long,
        json,
    };
    let (mut entries, mut left, mut next) = (Vec::new(), part.limit, None);
    while next.is_none() {
        // One more than wanted tells whether any follow.
        let wanted = usize::try_from(left.saturating_add(1)).unwrap_or(LIST_MAX);
        let wanted = wanted.min(LIST_MAX);
        let page = snapshot.list(&part.folder, part.after.as_ref(), wanted);
        let page = page.await?;
        let is_last = page.len() < wanted;
        for entry in page {
            if left == 0 {
                next = part.after.take();
                break;
            }
            left -= 1;
            part.after = Some(entry.name.clone());
            let path = part.path.clone().join(entry.name.clone())?;
            if printer.json {
                entries.push(report(&path, &entry));
            } else {
                lister.print(&path, &entry, entry.name.as_bytes())?;
            }
        }
        if is_last {
            break;
        }
    }
    if printer.json {
        let next = next.map(|name| ExactPath::new(name.as_bytes()));
        let (next, next_base64) = next.map(ExactPath::into_parts).unzip();
        printer.value(&PartReport {
            entries,
            next,
            next_base64: next_base64.flatten(),
        })?;
    } else if let Some(next) = next {
        let name = String::from_utf8_lossy(next.as_bytes());
        printer.remark(&format!(
            "More entries follow; go on with --after '{name}'."
        ));
    }
    Ok(Exit::Done)
}

impl Lister {
    fn print(&mut self, path: &TreePath, entry: &Entry, shown: &[u8]) -> Result<(), Failure> {
        if let Some(json) = &mut self.json {
            return Ok(json.push(&report(path, entry))?);
        }
        let mut line = Vec::new();
        if self.long {
            let (size, time) = (size(entry), utc(entry.meta.mtime));
            line.extend(format!("{} {size:>14} {time} ", mode(entry)).into_bytes());
        }
        line.extend(self.printer.name(shown));
        match &entry.kind {
            Kind::Folder(_) => line.push(b'/'),
            Kind::Symlink(target) if self.long => {
                line.extend(b" -> ");
                line.extend(self.printer.name(target));
            }
            Kind::File(_) | Kind::Symlink(_) => {}
        }
        Ok(self.printer.line(line)?)
    }
}

pub(super) async fn stat(drive: &Drive, args: PathArgs, to: Printer) -> Result<Exit, Failure> {
    let typed = remote(&args.path)?;
    let entry = drive.snapshot().await?.entry(&typed.path).await?;
    let content = match &entry.kind {
        Kind::File(file) => Some(match &file.content {
            Content::Inline(_) => ContentReport::Tree,
            Content::Blob(slice) => ContentReport::Blob {
                blob: slice.blob.to_string(),
                offset: slice.offset,
                length: slice.length,
            },
        }),
        Kind::Folder(_) | Kind::Symlink(_) => None,
    };
    if to.json {
        let xattrs = entry.meta.xattrs.iter();
        let xattrs = xattrs.map(|(name, value)| (name.clone(), BASE64.encode(value)));
        to.value(&StatReport {
            entry: report(&typed.path, &entry),
            id: entry.id.to_string(),
            epoch: entry.epoch,
            content,
            xattrs: xattrs.collect(),
        })?;
        return Ok(Exit::Done);
    }
    let path = to.name(&typed.path.to_bytes());
    to.line([b"path      ".as_slice(), &path].concat())?;
    to.line(format!("type      {}", kind(entry.as_ref())))?;
    to.line(format!(
        "size      {} ({} bytes)",
        human_bytes(size(&entry)),
        size(&entry)
    ))?;
    to.line(format!("mode      {}", mode(&entry)))?;
    to.line(format!("modified  {}", utc(entry.meta.mtime)))?;
    to.line(format!("id        {}", entry.id))?;
    if let Kind::Symlink(target) = &entry.kind {
        to.line([b"target    ".as_slice(), &to.name(target)].concat())?;
    }
    match content {
        Some(ContentReport::Tree) => to.line("content   in the sealed tree")?,
        Some(ContentReport::Blob { blob, offset, .. }) => {
            to.line(format!("content   blob {blob} from byte {offset}"))?;
        }
        None => {}
    }
    for name in entry.meta.xattrs.keys() {
        to.line([b"attribute ".as_slice(), &to.name(name.as_bytes())].concat())?;
    }
    Ok(Exit::Done)
}

pub(super) async fn du(
    drive: &Drive,
    args: OptionalPathArgs,
    printer: Printer,
) -> Result<Exit, Failure> {
    let typed = path_or_top(args.path.as_deref())?;
    let Extent {
        bytes,
        files,
        folders,
        symlinks,
    } = drive.snapshot().await?.extent(&typed.path).await?;
    if printer.json {
        let path = ExactPath::from(&typed.path);
        printer.value(&DuReport {
            path,
            bytes,
            files,
            folders,
            symlinks,
        })?;
        return Ok(Exit::Done);
    }
    let path = printer.name(&typed.path.to_bytes());
    let facts = format!(
        "{:>9}  {bytes} bytes in {files} files, {folders} folders, {symlinks} symlinks  ",
        human_bytes(bytes)
    );
    printer.line([facts.as_bytes(), &path].concat())?;
    Ok(Exit::Done)
}

fn path_or_top(path: Option<&std::ffi::OsStr>) -> Result<TypedPath, Failure> {
    Ok(remote(path.unwrap_or_else(|| "/".as_ref()))?)
}

fn report(path: &TreePath, entry: &Entry) -> EntryReport {
    let target = match &entry.kind {
        Kind::Symlink(target) => Some(String::from_utf8_lossy(target).into_owned()),
        Kind::File(_) | Kind::Folder(_) => None,
    };
    EntryReport {
        path: ExactPath::from(path),
        name: entry.name.to_string(),
        kind: kind(entry),
        size: size(entry),
        mode: format!("{:04o}", entry.meta.mode),
        mtime: entry.meta.mtime.seconds,
        mtime_ns: entry.meta.mtime.nanos,
        target,
    }
}

const fn kind(entry: &Entry) -> &'static str {
    match entry.kind {
        Kind::Folder(_) => "folder",
        Kind::File(_) => "file",
        Kind::Symlink(_) => "symlink",
    }
}

const fn size(entry: &Entry) -> u64 {
    match &entry.kind {
        Kind::File(file) => file.size(),
        Kind::Symlink(target) => target.len() as u64,
        Kind::Folder(_) => 0,
    }
}

/// `drwxr-xr-x`.
fn mode(entry: &Entry) -> String {
    let mut text = String::from(match entry.kind {
        Kind::Folder(_) => "d",
        Kind::File(_) => "-",
        Kind::Symlink(_) => "l",
    });
    for shift in [6, 3, 0] {
        let bits = entry.meta.mode >> shift;
        for (bit, letter) in [(4, 'r'), (2, 'w'), (1, 'x')] {
            text.push(if bits & bit != 0 { letter } else { '-' });
        }
    }
    text
}

/// `2026-11-22 08:15:19` in UTC; seconds since 1970 where the year has more than four digits.
fn utc(time: Mtime) -> String {
    civil(time.seconds)
}

/// Seconds since 1970 as people write them.
pub(super) fn civil(seconds: i64) -> String {
    let Ok(time) = OffsetDateTime::from_unix_timestamp(seconds) else {
        return format!("@{seconds}");
    };
    let (date, (hour, minute, second)) = (time.date(), time.to_hms());
    format!("{date} {hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_civil_also_before_1970() {
        let shown = |seconds| utc(Mtime { seconds, nanos: 0 });
        assert_eq!(shown(0), "1970-01-01 00:00:00");
        assert_eq!(shown(-1), "1969-12-31 23:59:59");
        assert_eq!(shown(951_782_400), "2000-02-29 00:00:00");
    }
}
