//! Signs the tickets of planned slots. Signing is slow beside the rest, so it happens after the
//! transaction and off the async threads.

use std::collections::BTreeMap;

use metastore::HostAlias;
use model::units::UnixMs;
use model::wire::api::{HostAddress, More, SegmentSlots, Slot, SlotPage};
use model::wire::limits::UPLOAD_LIFETIME_MS;
use model::wire::{Action, Base64, Ticket};

use super::more::Spares;
use super::record::OpenUpload;
use super::slots::{PlannedPage, PlannedSegment};
use crate::context::Context;

/// The price book that tickets name until there is one.
pub const PRICE_VERSION: u32 = 0;

/// The Hosts that an answer refers to by index.
#[derive(Debug, Default)]
pub(crate) struct HostList {
    hosts: Vec<HostAddress>,
    at: BTreeMap<HostAlias, u16>,
}

impl HostList {
    /// The index of a Host in the answer; `None` for one that is not known.
    pub(crate) fn index(&mut self, context: &Context, alias: HostAlias) -> Option<u16> {
        if let Some(at) = self.at.get(&alias) {
            return Some(*at);
        }
        let at = u16::try_from(self.hosts.len()).ok()?;
        self.hosts.push(context.roster.address(alias)?);
        self.at.insert(alias, at);
        Some(at)
    }

    /// The Host at an index.
    pub(crate) fn get(&self, at: u16) -> Option<&HostAddress> {
        self.hosts.get(usize::from(at))
    }

    pub(crate) fn into_hosts(self) -> Vec<HostAddress> {
        self.hosts
    }
}

/// A page of slots with its tickets.
#[must_use]
pub fn slot_page(context: &Context, open: &OpenUpload, page: &PlannedPage) -> SlotPage {
    let mut hosts = HostList::default();
    let segment = |segment: &PlannedSegment| SegmentSlots {
        blob: segment.blob,
        segment: segment.segment,
        slots: (0..)
            .zip(&segment.hosts)
            .filter_map(|(index, host)| slot(context, open, &mut hosts, (segment, index, *host)))
            .collect(),
    };
    let segments = page.segments.iter().map(segment).collect();
    let next = page.next.map(super::slots::SlotCursor::to_text);
    SlotPage {
        hosts: hosts.into_hosts(),
        segments,
        next,
    }
}

/// Spares with their tickets.
#[must_use]
pub fn spares(context: &Context, spares: &Spares) -> More {
    let mut hosts = HostList::default();
    let slots = spares.spares.iter().map(|spare| {
        let spare = spare.as_ref()?;
        let host = *spare.segment.hosts.first()?;
        slot(
            context,
            &spares.open,
            &mut hosts,
            (&spare.segment, spare.index, host),
        )
    });
    let slots = slots.collect();
    More {
        hosts: hosts.into_hosts(),
        slots,
    }
}

/// One slot with its signed PUT ticket.
fn slot(
    context: &Context,
    open: &OpenUpload,
    hosts: &mut HostList,
    (segment, index, alias): (&PlannedSegment, u16, HostAlias),
) -> Option<Slot> {
    let at = hosts.index(context, alias)?;
    let host = hosts.get(at)?.host;
    let keys = &context.keys;
    let ticket = Ticket {
        serial: keys
            .serials
            .serial(&segment.blob, segment.segment, index, &host),
        bridge: keys.id,
        host,
        action: Action::Put {
            owner_tag: segment.owner_tag,
        },
        bytes_max: u64::from(segment.shard_size.bytes()),
        payer: open.payer,
        price_version: PRICE_VERSION,
        created: context.now,
        expires: expires(open),
    };
    Some(Slot {
        host: at,
        ticket: Base64(ticket.sign(&keys.signing)),
    })
}

/// When the plan of an upload and its tickets end.
#[must_use]
pub const fn expires(open: &OpenUpload) -> UnixMs {
    open.created.plus_ms(UPLOAD_LIFETIME_MS)
}
