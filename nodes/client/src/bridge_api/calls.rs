//! One method per call of `model::wire::api`.

use std::fmt::Write as _;

use http::Method;
use model::units::{BlobId, NodeHash, PayerKey, UploadId, VolumeId};
use model::wire::api::{
    ABOUT, ACCOUNTS, AUDIT_PURPOSE, About, Commit, Committed, DEVICES, DeviceListAnswer, Layout,
    More, MoreRequest, NODES, NewAccount, Nodes, PURGE, Plan, Purge, PurgeAnswer, PutDeviceList,
    REPORTS, ReceiptPage, Reports, RootAnswer, Roots, SPARSE_BLOBS, SlotPage, SparseBlobs, UPLOADS,
    USAGE, UploadRequest, Usage,
};
use model::wire::limits::{
    BLOBS_PER_UPLOAD_MAX, MORE_SLOTS_MAX, NODES_PER_GET_MAX, NODES_PER_PUT_MAX,
    RECEIPT_SEGMENTS_PER_PAGE_MAX, REPORTS_MAX, UPLOADS_PER_COMMIT_MAX,
};
use model::wire::{COMMITS_NAME_UPLOADS, Signed};
use net::Call;
use serde::de::IgnoredAny;

use super::{BridgeApi, BridgeError, Repeat, Request};

/// Calls that need no session.
impl BridgeApi {
    /// What the Bridge says of itself.
    ///
    /// # Errors
    /// [`BridgeError`], as of every call.
    pub async fn about(&self) -> Result<About, BridgeError> {
        self.send(Request::get("about", ABOUT).anyone()).await
    }

    /// Opens an account.
    ///
    /// # Errors
    /// [`BridgeError`], as of every call.
    pub async fn create_account(&self, account: &NewAccount) -> Result<(), BridgeError> {
        let call = Call::new(Method::POST, ACCOUNTS);
        self.send_for_nothing(Request::with_body("open account", call, account)?.anyone())
            .await
    }
}

/// Account and devices.
impl BridgeApi {
    /// The current device list.
    ///
    /// # Errors
    /// [`BridgeError`], as of every call.
    pub async fn device_list(&self) -> Result<DeviceListAnswer, BridgeError> {
        self.send(Request::get("get device list", DEVICES)).await
    }

    /// Replaces the device list by its successor.
    ///
    /// # Errors
    /// [`BridgeError`], as of every call.
    pub async fn put_device_list(&self, list: &PutDeviceList) -> Result<(), BridgeError> {
        let call = Call::new(Method::PUT, DEVICES);
        self.send_for_nothing(Request::with_body("put device list", call, list)?)
            .await
    }

    /// What the account uses.
    ///
    /// # Errors
    /// [`BridgeError`], as of every call.
    pub async fn usage(&self) -> Result<Usage, BridgeError> {
        self.send(Request::get("get usage", USAGE)).await
    }
}

/// Roots and pages.
impl BridgeApi {
    /// The current root of `volume`.
    ///
    /// # Errors
    /// [`BridgeError`], as of every call; [`not_found`](model::wire::ProblemCode::NotFound) where
    /// the volume has none yet.
    pub async fn root(&self, volume: &VolumeId) -> Result<RootAnswer, BridgeError> {
        self.send(Request::get(
            "get root",
            format!("/v1/volumes/{volume}/root"),
        ))
        .await
    }

    /// Earlier roots of `volume`, newest first: at most `limit` with numbers below `before`.
    ///
    /// # Errors
    /// [`BridgeError`], as of every call.
    pub async fn roots(
        &self,
        volume: &VolumeId,
        before: u64,
        limit: usize,
    ) -> Result<Roots, BridgeError> {
        let path = format!("/v1/volumes/{volume}/roots?before={before}&limit={limit}");
        self.send(Request::get("list roots", path)).await
    }

    /// Most uploads that one commit ends at this Bridge.
    #[must_use]
    pub fn uploads_per_commit_max(&self) -> usize {
        if self.speaks(COMMITS_NAME_UPLOADS) {
            UPLOADS_PER_COMMIT_MAX
        } else {
            1
        }
    }

    /// Puts a root in place, which ends the uploads it names. The Bridge takes the same commit
    /// again.
    ///
    /// # Errors
    /// [`BridgeError`], as of every call; see [`BridgeError::root_conflict`].
    pub async fn put_root(
        &self,
        volume: &VolumeId,
        commit: &Commit,
    ) -> Result<Committed, BridgeError> {
        let (count, limit) = (commit.uploads.len(), self.uploads_per_commit_max());
        at_most("put root", "uploads", count, limit)?;
        let call = match commit.uploads.first() {
            // Before, a commit was made to the upload that it ends.
            Some(upload) if !self.speaks(COMMITS_NAME_UPLOADS) => {
                Call::new(Method::POST, format!("{UPLOADS}/{upload}/commit"))
            }
            _ => Call::new(Method::PUT, format!("/v1/volumes/{volume}/root")),
        };
        self.send(Request::with_body("put root", call, commit)?)
            .await
    }

    /// Sealed pages by their hashes, at most 64; unknown ones are left out. The hashes of what
    /// comes back are not checked here.
    ///
    /// # Errors
    /// [`BridgeError`], as of every call.
    pub async fn nodes(&self, hashes: &[NodeHash]) -> Result<Nodes, BridgeError> {
        at_most("get nodes", "pages", hashes.len(), NODES_PER_GET_MAX)?;
        let mut path = NODES.to_owned();
        for (index, hash) in hashes.iter().enumerate() {
            let joint = if index == 0 { '?' } else { '&' };
            // Writing to a string cannot fail.
            let _written = write!(path, "{joint}hash={hash}");
        }
        self.send(Request::get("get nodes", path)).await
    }

    /// Puts pages that a later commit will name as pending.
    ///
    /// # Errors
    /// [`BridgeError`], as of every call.
    pub async fn put_nodes(&self, nodes: &Nodes) -> Result<(), BridgeError> {
        at_most("put nodes", "pages", nodes.nodes.len(), NODES_PER_PUT_MAX)?;
        let call = Call::new(Method::PUT, NODES);
        self.send_for_nothing(Request::with_body("put nodes", call, nodes)?)
            .await
    }
}

/// Uploads.
impl BridgeApi {
    /// Asks for places for blobs.
    ///
    /// # Errors
    /// [`BridgeError`], as of every call.
    pub async fn plan(&self, request: &UploadRequest) -> Result<Plan, BridgeError> {
        at_most(
            "plan upload",
            "blobs",
            request.blobs.len(),
            BLOBS_PER_UPLOAD_MAX,
        )?;
        let call = Call::new(Method::POST, UPLOADS);
        let request = Request::with_body("plan upload", call, request)?;
        self.send(request.repeat(Repeat::IfUnsent)).await
    }

    /// The next page of an upload's slots.
    ///
    /// # Errors
    /// [`BridgeError`], as of every call.
    pub async fn slots(&self, upload: &UploadId, cursor: &str) -> Result<SlotPage, BridgeError> {
        let path = format!("{UPLOADS}/{upload}/slots?cursor={}", escape(cursor));
        self.send(Request::get("get slots", path)).await
    }

    /// Asks for spare Hosts.
    ///
    /// # Errors
    /// [`BridgeError`], as of every call.
    pub async fn more(
        &self,
        upload: &UploadId,
        request: &MoreRequest,
    ) -> Result<More, BridgeError> {
        at_most("get spares", "slots", request.slots.len(), MORE_SLOTS_MAX)?;
        let call = Call::new(Method::POST, format!("{UPLOADS}/{upload}/more"));
        let request = Request::with_body("get spares", call, request)?;
        self.send(request.repeat(Repeat::IfUnsent)).await
    }

    /// Hands receipts in.
    ///
    /// # Errors
    /// [`BridgeError`], as of every call.
    pub async fn put_receipts(
        &self,
        upload: &UploadId,
        page: &ReceiptPage,
    ) -> Result<(), BridgeError> {
        let count = page.segments.len();
        at_most(
            "put receipts",
            "segments",
            count,
            RECEIPT_SEGMENTS_PER_PAGE_MAX,
        )?;
        let call = Call::new(Method::PUT, format!("{UPLOADS}/{upload}/receipts"));
        self.send_for_nothing(Request::with_body("put receipts", call, page)?)
            .await
    }

    /// Gives an upload up.
    ///
    /// # Errors
    /// [`BridgeError`], as of every call.
    pub async fn abandon(&self, upload: &UploadId) -> Result<(), BridgeError> {
        let mut request = Request::get("abandon upload", "");
        request.call = Call::new(Method::DELETE, format!("{UPLOADS}/{upload}"));
        self.send_for_nothing(request).await
    }
}

/// Blobs.
impl BridgeApi {
    /// Where shards lie: at most `limit` segments from `first`.
    ///
    /// # Errors
    /// [`BridgeError`], as of every call.
    pub async fn layout(
        &self,
        blob: &BlobId,
        first: u64,
        limit: u64,
        payer: &PayerKey,
    ) -> Result<Layout, BridgeError> {
        let path = format!("/v1/blobs/{blob}/layout?first={first}&limit={limit}&payer={payer}");
        self.send(Request::get("get layout", path)).await
    }

    /// Where shards lie, as [`Self::layout`], with tickets for asking for proofs instead of shards.
    ///
    /// # Errors
    /// [`BridgeError`], as of every call.
    pub async fn audit_layout(
        &self,
        blob: &BlobId,
        first: u64,
        limit: u64,
        payer: &PayerKey,
    ) -> Result<Layout, BridgeError> {
        let window = format!("first={first}&limit={limit}&payer={payer}&purpose={AUDIT_PURPOSE}");
        let path = format!("/v1/blobs/{blob}/layout?{window}");
        self.send(Request::get("get audit layout", path)).await
    }

    /// Blobs of the account that are less than half alive, by their ids, after `after`.
    ///
    /// # Errors
    /// [`BridgeError`], as of every call.
    pub async fn sparse_blobs(&self, after: Option<&BlobId>) -> Result<SparseBlobs, BridgeError> {
        let path = after.map_or_else(
            || SPARSE_BLOBS.to_owned(),
            |after| format!("{SPARSE_BLOBS}?after={after}"),
        );
        self.send(Request::get("list sparse blobs", path)).await
    }

    /// Tells what was seen of Hosts.
    ///
    /// # Errors
    /// [`BridgeError`], as of every call.
    pub async fn report(&self, reports: &Reports) -> Result<(), BridgeError> {
        at_most("report", "reports", reports.reports.len(), REPORTS_MAX)?;
        let call = Call::new(Method::POST, REPORTS);
        let request = Request::with_body("report", call, reports)?;
        self.send_for_nothing(request.repeat(Repeat::Never)).await
    }

    /// Destroys blobs and pages before their retention is over.
    ///
    /// # Errors
    /// [`BridgeError`], as of every call.
    pub async fn purge(&self, purge: &Signed<Purge>) -> Result<PurgeAnswer, BridgeError> {
        let call = Call::new(Method::POST, PURGE);
        self.send(Request::with_body("purge", call, purge)?).await
    }
}

impl BridgeApi {
    /// Sends a call whose answer says nothing beyond its success.
    async fn send_for_nothing(&self, request: Request) -> Result<(), BridgeError> {
        self.send::<IgnoredAny>(request).await.map(|_| ())
    }
}

const fn at_most(
    call: &'static str,
    what: &'static str,
    count: usize,
    limit: usize,
) -> Result<(), BridgeError> {
    if count > limit {
        return Err(BridgeError::TooMany {
            call,
            what,
            count,
            limit,
        });
    }
    Ok(())
}

/// Writes a value so that it can stand in a query (RFC 3986).
fn escape(value: &str) -> String {
    let mut out = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _written = write!(out, "%{byte:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_escaped() {
        assert_eq!(escape("aZ9-._~"), "aZ9-._~");
        assert_eq!(escape("a&b=ü"), "a%26b%3D%C3%BC");
    }
}
