//! The JSON text of entries and pages (`docs/spec/tree.md`).
//!
//! One value has one text: fields in a fixed order, no white space, absent where empty. The
//! reader refuses unknown fields, so that nothing is lost when a page is written again.

use std::collections::BTreeMap;
use std::sync::Arc;

use data_encoding::BASE64URL_NOPAD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::entry::{BlobSlice, Content, Entry, FileVersion, FolderLink, Kind, Meta, Mtime};
use super::page::{Body, Child, Item, Page};
use super::path::Name;
use super::{LEVELS_MAX, XATTRS_MAX};
use crate::crypto::Secret;
use crate::formats::shape::BLOB_BYTES_MAX;
use crate::units::{BlobId, INLINE_BYTES_MAX, NodeHash, NodeId};

const VERSION: u8 = 1;

/// Plain bytes of a page around its items.
pub(super) const PAGE_FRAME_BYTES: usize = r#"{"v":1,"l":0,"e":[]}"#.len();

/// Bytes that are not the text of a page.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MalformedPage {
    /// Not JSON, or not of this form; the line and column where it ends.
    #[error("not the text of a page (line {line}, column {column})")]
    Json {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
    },
    /// Another text than the one that its values have.
    #[error("not the one text of its values")]
    NotCanonical,
    /// Of a version that this program does not read.
    #[error("unknown version {version} of a page")]
    Version {
        /// The version.
        version: u8,
    },
    /// A field has a value it may not have.
    #[error("`{field}` holds a value it may not hold")]
    Field {
        /// The field.
        field: &'static str,
    },
}

/// The text of an entry.
pub(super) fn entry_text(entry: &Entry) -> String {
    text(&RawEntry::from(entry))
}

/// Checks the bounds that an entry's types leave open: what is refused here is neither written
/// nor read.
pub(super) fn check_entry(entry: &Entry) -> Result<(), MalformedPage> {
    let content = match &entry.kind {
        Kind::File(FileVersion { content, .. }) => Some(content),
        Kind::Folder(_) | Kind::Symlink(_) => None,
    };
    let content_fits = match content {
        Some(Content::Inline(bytes)) => bytes.len() <= INLINE_BYTES_MAX,
        Some(Content::Blob(slice)) => {
            let end = slice.offset.checked_add(slice.length);
            slice.length > 0 && end.is_some_and(|end| end <= BLOB_BYTES_MAX)
        }
        None => true,
    };
    let checks = [
        ("t", entry.meta.mtime.nanos < 1_000_000_000),
        ("m", entry.meta.mode <= 0o7777),
        ("x", entry.meta.xattrs.len() <= XATTRS_MAX),
        ("f", content_fits),
    ];
    let broken = checks.into_iter().find(|(_, holds)| !holds);
    broken.map_or(Ok(()), |(field, _)| Err(MalformedPage::Field { field }))
}

/// The text of an inner page's item.
pub(super) fn child_text(low: &[u8], hash: &NodeHash) -> String {
    let (name, name64) = either(low);
    text(&RawChild {
        name,
        name64,
        hash: Array64(hash.0),
    })
}

/// The text of a page from the texts of its items.
pub(super) fn page_text(level: u8, items: &[String]) -> String {
    let field = if level == 0 { 'e' } else { 'c' };
    let items = items.join(",");
    format!("{{\"v\":{VERSION},\"l\":{level},\"{field}\":[{items}]}}")
}

/// Reads the text of a page and checks every field by itself.
pub(super) fn parse_page(plain: &[u8]) -> Result<Page, MalformedPage> {
    let raw: RawPage = serde_json::from_slice(plain).map_err(|error| MalformedPage::Json {
        line: error.line(),
        column: error.column(),
    })?;
    if raw.version != VERSION {
        return Err(MalformedPage::Version {
            version: raw.version,
        });
    }
    let (body, texts) = match (raw.level, raw.entries, raw.children) {
        (0, Some(entries), None) => leaf(entries)?,
        (1..=LEVELS_MAX, None, Some(children)) if !children.is_empty() => inner(children)?,
        _ => return Err(MalformedPage::Field { field: "l" }),
    };
    if page_text(raw.level, &texts).as_bytes() != plain {
        return Err(MalformedPage::NotCanonical);
    }
    Ok(Page {
        level: raw.level,
        body,
    })
}

/// The entries of a leaf and their texts.
fn leaf(raw: Vec<RawEntry>) -> Result<(Body, Vec<String>), MalformedPage> {
    let (mut items, mut texts) = (Vec::with_capacity(raw.len()), Vec::with_capacity(raw.len()));
    for entry in raw {
        let entry = Entry::try_from(entry)?;
        let text = entry_text(&entry);
        items.push(Item {
            entry: Arc::new(entry),
            bytes: text.len() + 1,
        });
        texts.push(text);
    }
    Ok((Body::Leaf(items), texts))
}

/// The links of an inner page and their texts.
fn inner(raw: Vec<RawChild>) -> Result<(Body, Vec<String>), MalformedPage> {
    let children: Vec<_> = raw
        .into_iter()
        .map(Child::try_from)
        .collect::<Result<_, _>>()?;
    let texts = children
        .iter()
        .map(|child| child_text(&child.low, &child.hash))
        .collect();
    Ok((Body::Inner(children), texts))
}

#[expect(
    clippy::expect_used,
    reason = "plain structs with string keys always serialise"
)]
fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("a plain struct has a JSON text")
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPage {
    #[serde(rename = "v")]
    version: u8,
    #[serde(rename = "l")]
    level: u8,
    #[serde(rename = "e")]
    entries: Option<Vec<RawEntry>>,
    #[serde(rename = "c")]
    children: Option<Vec<RawChild>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawChild {
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(rename = "nb", default, skip_serializing_if = "Option::is_none")]
    name64: Option<Bytes64>,
    #[serde(rename = "h")]
    hash: Array64<32>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawEntry {
    id: Array64<16>,
    #[serde(rename = "n", default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(rename = "nb", default, skip_serializing_if = "Option::is_none")]
    name64: Option<Bytes64>,
    #[serde(rename = "t")]
    mtime: (i64, u32),
    #[serde(rename = "m")]
    mode: u32,
    #[serde(rename = "x", default, skip_serializing_if = "BTreeMap::is_empty")]
    xattrs: BTreeMap<String, Bytes64>,
    #[serde(rename = "e")]
    epoch: u32,
    #[serde(rename = "d", default, skip_serializing_if = "Option::is_none")]
    folder: Option<RawFolder>,
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    file: Option<RawFile>,
    #[serde(rename = "s", default, skip_serializing_if = "Option::is_none")]
    symlink: Option<String>,
    #[serde(rename = "sb", default, skip_serializing_if = "Option::is_none")]
    symlink64: Option<Bytes64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFolder {
    #[serde(rename = "k")]
    key: Array64<32>,
    #[serde(rename = "h")]
    hash: Array64<32>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFile {
    #[serde(rename = "h", default, skip_serializing_if = "Option::is_none")]
    sha256: Option<Array64<32>>,
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    inline: Option<Bytes64>,
    #[serde(rename = "b", default, skip_serializing_if = "Option::is_none")]
    blob: Option<RawBlob>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBlob {
    id: Array64<16>,
    #[serde(rename = "o")]
    offset: u64,
    #[serde(rename = "l")]
    length: u64,
    #[serde(rename = "fk")]
    file_secret: Array64<32>,
    #[serde(rename = "bk")]
    blob_secret: Array64<32>,
    #[serde(rename = "m")]
    manifest: Array64<32>,
}

impl From<&Entry> for RawEntry {
    fn from(entry: &Entry) -> Self {
        let (name, name64) = either(entry.name.as_bytes());
        let mut raw = Self {
            id: Array64(entry.id.0),
            name,
            name64,
            mtime: (entry.meta.mtime.seconds, entry.meta.mtime.nanos),
            mode: entry.meta.mode,
            xattrs: (entry.meta.xattrs.iter())
                .map(|(name, value)| (name.clone(), Bytes64(value.clone())))
                .collect(),
            epoch: entry.epoch,
            folder: None,
            file: None,
            symlink: None,
            symlink64: None,
        };
        match &entry.kind {
            Kind::Folder(link) => {
                let key = Array64(*link.key.expose());
                raw.folder = Some(RawFolder {
                    key,
                    hash: Array64(link.hash.0),
                });
            }
            Kind::File(file) => raw.file = Some(RawFile::from(file)),
            Kind::Symlink(target) => (raw.symlink, raw.symlink64) = either(target),
        }
        raw
    }
}

impl From<&FileVersion> for RawFile {
    fn from(file: &FileVersion) -> Self {
        let sha256 = file.sha256.map(Array64);
        match &file.content {
            Content::Inline(bytes) => Self {
                sha256,
                inline: Some(Bytes64(bytes.clone())),
                blob: None,
            },
            Content::Blob(slice) => Self {
                sha256,
                inline: None,
                blob: Some(RawBlob::from(slice)),
            },
        }
    }
}

impl From<&BlobSlice> for RawBlob {
    fn from(slice: &BlobSlice) -> Self {
        Self {
            id: Array64(slice.blob.0),
            offset: slice.offset,
            length: slice.length,
            file_secret: Array64(*slice.file_secret.expose()),
            blob_secret: Array64(*slice.blob_secret.expose()),
            manifest: Array64(slice.manifest.0),
        }
    }
}

impl TryFrom<RawEntry> for Entry {
    type Error = MalformedPage;

    fn try_from(raw: RawEntry) -> Result<Self, MalformedPage> {
        let wrong = |field| MalformedPage::Field { field };
        let name = one_of(raw.name, raw.name64, "n")?.ok_or_else(|| wrong("n"))?;
        let symlink = one_of(raw.symlink, raw.symlink64, "s")?;
        let kind = match (raw.folder, raw.file, symlink) {
            (Some(folder), None, None) => Kind::Folder(FolderLink {
                key: Secret::new(folder.key.0),
                hash: NodeHash(folder.hash.0),
            }),
            (None, Some(file), None) => Kind::File(FileVersion::try_from(file)?),
            (None, None, Some(target)) => Kind::Symlink(target),
            _ => return Err(wrong("kind")),
        };
        let (seconds, nanos) = raw.mtime;
        let xattrs = raw
            .xattrs
            .into_iter()
            .map(|(name, value)| (name, value.0))
            .collect();
        let entry = Self {
            id: NodeId(raw.id.0),
            name: Name::new(&name).map_err(|_| wrong("n"))?,
            meta: Meta {
                mtime: Mtime { seconds, nanos },
                mode: raw.mode,
                xattrs,
            },
            epoch: raw.epoch,
            kind,
        };
        check_entry(&entry)?;
        Ok(entry)
    }
}

impl TryFrom<RawFile> for FileVersion {
    type Error = MalformedPage;

    fn try_from(raw: RawFile) -> Result<Self, MalformedPage> {
        let content = match (raw.inline, raw.blob) {
            (Some(bytes), None) => Content::Inline(bytes.0),
            (None, Some(blob)) => Content::Blob(BlobSlice::from(blob)),
            _ => return Err(MalformedPage::Field { field: "f" }),
        };
        Ok(Self {
            sha256: raw.sha256.map(|hash| hash.0),
            content,
        })
    }
}

impl From<RawBlob> for BlobSlice {
    fn from(raw: RawBlob) -> Self {
        Self {
            blob: BlobId(raw.id.0),
            offset: raw.offset,
            length: raw.length,
            file_secret: Secret::new(raw.file_secret.0),
            blob_secret: Secret::new(raw.blob_secret.0),
            manifest: NodeHash(raw.manifest.0),
        }
    }
}

impl TryFrom<RawChild> for Child {
    type Error = MalformedPage;

    fn try_from(raw: RawChild) -> Result<Self, MalformedPage> {
        let low = one_of(raw.name, raw.name64, "n")?;
        let low = low.ok_or(MalformedPage::Field { field: "n" })?;
        Ok(Self {
            low: low.into(),
            hash: NodeHash(raw.hash.0),
        })
    }
}

/// Bytes as text where they are UTF-8, else for base64.
fn either(bytes: &[u8]) -> (Option<String>, Option<Bytes64>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (Some(text.to_owned()), None),
        Err(_) => (None, Some(Bytes64(bytes.to_vec()))),
    }
}

/// The reverse of [`either`]; UTF-8 in base64 would be a second text of one value, and is refused.
fn one_of(
    text: Option<String>,
    bytes: Option<Bytes64>,
    field: &'static str,
) -> Result<Option<Vec<u8>>, MalformedPage> {
    match (text, bytes) {
        (text, None) => Ok(text.map(String::into_bytes)),
        (None, Some(Bytes64(bytes))) if std::str::from_utf8(&bytes).is_err() => Ok(Some(bytes)),
        _ => Err(MalformedPage::Field { field }),
    }
}

/// Bytes in base64url without padding.
struct Bytes64(Vec<u8>);

/// A fixed number of bytes in base64url without padding.
struct Array64<const N: usize>([u8; N]);

impl Serialize for Bytes64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64URL_NOPAD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Bytes64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        BASE64URL_NOPAD
            .decode(text.as_bytes())
            .map(Self)
            .map_err(serde::de::Error::custom)
    }
}

impl<const N: usize> Serialize for Array64<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64URL_NOPAD.encode(&self.0))
    }
}

impl<'de, const N: usize> Deserialize<'de> for Array64<N> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Bytes64(bytes) = Bytes64::deserialize(deserializer)?;
        let wrong = |_| serde::de::Error::custom("a field of another width");
        bytes.try_into().map(Self).map_err(wrong)
    }
}
