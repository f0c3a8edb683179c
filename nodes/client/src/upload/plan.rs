//! Which Host gets which shard: the Bridge's plan, checked, its pages fetched ahead.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use model::formats::shape::{Class, Shape};
use model::units::{BlobId, BridgeId, HostId, Serial, UnixMs, UploadId};
use model::wire::api::{HostAddress, SegmentSlots, Slot, SlotPage};
use model::wire::limits::SEGMENTS_PER_PAGE_MAX;
use model::wire::{Ticket, TicketError, TicketPurpose};
use tasks::AbortOnDropHandle;
use tokio::sync::mpsc;

use super::UploadError;
use crate::bridge_api::BridgeApi;
use crate::transfer::hosts::Host;

/// Pages that wait to be used, besides the one in use.
const PAGES_AHEAD: usize = 1;

/// A plan by which nothing is sent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Another class than the owner asked for.
    #[error("the plan is for {given}, {asked} was asked for")]
    OtherClass {
        /// What the owner asked for.
        asked: Class,
        /// What the plan is for.
        given: Class,
    },
    /// Too little redundancy, which only the owner may ask for.
    #[error("{given} is too little redundancy to be decided by a bridge")]
    WeakClass {
        /// What the plan is for.
        given: Class,
    },
    /// A page does not go on where the one before ended.
    #[error("segment {segment} of blob {} was expected next", blob.short())]
    Order {
        /// The blob that was expected.
        blob: BlobId,
        /// The segment that was expected.
        segment: u64,
    },
    /// The pages end too early.
    #[error("the plan ends before its last segment")]
    Ended,
    /// A page is empty or longer than pages are.
    #[error("a page of {segments} segments, 1 to {SEGMENTS_PER_PAGE_MAX} are allowed")]
    PageLength {
        /// Its length.
        segments: usize,
    },
    /// The wrong number of slots.
    #[error("segment {segment} has {given} slots, its class has {needed}")]
    Slots {
        /// The segment.
        segment: u64,
        /// How many there are.
        given: usize,
        /// How many there must be.
        needed: u16,
    },
    /// Two shards of a segment for one Host.
    #[error("segment {segment} has two slots at host {}", host.short())]
    RepeatedHost {
        /// The segment.
        segment: u64,
        /// The Host.
        host: HostId,
    },
    /// A slot refers to a Host that the page does not name.
    #[error("a slot refers to host {index}, which the page does not name")]
    NoHost {
        /// The reference.
        index: u16,
    },
    /// A ticket that the Host would not honour.
    #[error("the ticket for host {} is not good", host.short())]
    Ticket {
        /// The Host.
        host: HostId,
        /// Why.
        #[source]
        source: TicketError,
    },
}

/// A place for one shard.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) host: Arc<Host>,
    /// As it goes into the header.
    pub(super) ticket: Vec<u8>,
    pub(super) serial: Serial,
    pub(super) bridge: BridgeId,
}

/// Whether to send anything in `given`, when the owner asked for `asked`.
pub(super) fn check_class(asked: Option<Class>, given: Class) -> Result<(), PlanError> {
    match asked {
        Some(asked) if asked == given => Ok(()),
        Some(asked) => Err(PlanError::OtherClass { asked, given }),
        None if given.n() >= 3 && given.k() <= given.n() / 2 => Ok(()),
        None => Err(PlanError::WeakClass { given }),
    }
}

/// A place as a page gives it: its ticket must be good for that Host now.
pub(super) fn place(
    hosts: &[Arc<Host>],
    slot: &Slot,
    bridge: Option<BridgeId>,
    now: UnixMs,
) -> Result<Place, PlanError> {
    let no_host = PlanError::NoHost { index: slot.host };
    let host = Arc::clone(hosts.get(usize::from(slot.host)).ok_or(no_host)?);
    let is_known = |signer: &BridgeId| bridge.is_none_or(|bridge| bridge == *signer);
    let ticket = Ticket::check(
        &slot.ticket.0,
        now,
        &host.id,
        is_known,
        TicketPurpose::Store,
    )
    .map_err(|source| PlanError::Ticket {
        host: host.id,
        source,
    })?;
    let (serial, bridge) = (ticket.ticket().serial, ticket.ticket().bridge);
    Ok(Place {
        host,
        ticket: slot.ticket.0.clone(),
        serial,
        bridge,
    })
}

pub(super) fn dialable(hosts: &[HostAddress]) -> Vec<Arc<Host>> {
    hosts
        .iter()
        .map(|address| Arc::new(Host::new(address)))
        .collect()
}

/// The segments of an upload in order, each with its places.
#[derive(Debug)]
pub(super) struct PlanFeed {
    pages: mpsc::Receiver<Result<SlotPage, UploadError>>,
    ready: VecDeque<SegmentSlots>,
    hosts: Vec<Arc<Host>>,
    bridge: Option<BridgeId>,
    _fetcher: AbortOnDropHandle<()>,
}

impl PlanFeed {
    /// Begins with `first` and fetches what follows it.
    pub(super) fn new(api: BridgeApi, upload: UploadId, first: SlotPage) -> Self {
        let (sender, pages) = mpsc::channel(PAGES_AHEAD);
        let bridge = api.bridge();
        let fetcher = tasks::spawn(fetch_pages(api, upload, first, sender));
        Self {
            pages,
            ready: VecDeque::new(),
            hosts: Vec::new(),
            bridge,
            _fetcher: AbortOnDropHandle::new(fetcher),
        }
    }

    /// The places of `segment` of `blob`, which must be the next one.
    pub(super) async fn next(
        &mut self,
        blob: BlobId,
        shape: Shape,
        segment: u64,
        now: UnixMs,
    ) -> Result<Vec<Place>, UploadError> {
        while self.ready.is_empty() {
            let page = self
                .pages
                .recv()
                .await
                .ok_or(UploadError::BadPlan(PlanError::Ended))??;
            let segments = page.segments.len();
            if segments == 0 || segments > SEGMENTS_PER_PAGE_MAX {
                return Err(UploadError::BadPlan(PlanError::PageLength { segments }));
            }
            self.hosts = dialable(&page.hosts);
            self.ready = page.segments.into();
        }
        let next = self.ready.pop_front();
        let slots = next.filter(|next| next.blob == blob && next.segment == segment);
        let slots = slots.ok_or(UploadError::BadPlan(PlanError::Order { blob, segment }))?;
        let place = |slot: &Slot| place(&self.hosts, slot, self.bridge, now);
        places(&slots, shape.class(), place).map_err(UploadError::BadPlan)
    }
}

/// The places of a segment: n of them, at different Hosts.
fn places(
    slots: &SegmentSlots,
    class: Class,
    place: impl Fn(&Slot) -> Result<Place, PlanError>,
) -> Result<Vec<Place>, PlanError> {
    let (segment, given, needed) = (slots.segment, slots.slots.len(), class.n());
    if given != usize::from(needed) {
        return Err(PlanError::Slots {
            segment,
            given,
            needed,
        });
    }
    let mut places = Vec::with_capacity(given);
    let mut used = BTreeSet::new();
    for slot in &slots.slots {
        let place = place(slot)?;
        if !used.insert(place.host.id) {
            return Err(PlanError::RepeatedHost {
                segment,
                host: place.host.id,
            });
        }
        places.push(place);
    }
    Ok(places)
}

async fn fetch_pages(
    api: BridgeApi,
    upload: UploadId,
    first: SlotPage,
    pages: mpsc::Sender<Result<SlotPage, UploadError>>,
) {
    let mut page = Ok(first);
    loop {
        let next = page
            .as_ref()
            .ok()
            .and_then(|page: &SlotPage| page.next.clone());
        if pages.send(page.map_err(UploadError::Plan)).await.is_err() {
            return;
        }
        let Some(cursor) = next else { return };
        page = api.slots(&upload, &cursor).await;
    }
}

#[cfg(test)]
mod tests {
    use model::crypto::{Secret, SigningKey};
    use model::units::{OwnerTag, PayerKey};
    use model::wire::{Action, Base64};

    use super::*;

    const NOW: UnixMs = UnixMs(1_000_000);

    fn bridge_key() -> SigningKey {
        SigningKey::from_seed(&Secret::new([9; 32]))
    }

    fn hosts() -> Vec<Arc<Host>> {
        let address = |number| HostAddress {
            host: HostId([number; 32]),
            name: format!("h{number}"),
            addresses: vec!["127.0.0.1:1".to_owned(), "nonsense".to_owned()],
            zone: String::new(),
            region: None,
            online: true,
            proved: None,
        };
        dialable(&[address(0), address(1), address(2)])
    }

    /// A slot at Host `at` of the page, with a ticket for `ticket_host`.
    fn slot(at: u16, ticket_host: u8, key: &SigningKey) -> Slot {
        let ticket = Ticket {
            serial: Serial([1; 16]),
            bridge: BridgeId(key.public()),
            host: HostId([ticket_host; 32]),
            action: Action::Put {
                owner_tag: OwnerTag::default(),
            },
            bytes_max: 1,
            payer: PayerKey::default(),
            price_version: 1,
            created: NOW,
            expires: NOW.plus_ms(1_000),
        };
        Slot {
            host: at,
            ticket: Base64(ticket.sign(key)),
        }
    }

    fn check(slots: Vec<Slot>, class: Class) -> Result<Vec<Place>, PlanError> {
        let slots = SegmentSlots {
            blob: BlobId::default(),
            segment: 0,
            slots,
        };
        let bridge = Some(BridgeId(bridge_key().public()));
        places(&slots, class, |slot| place(&hosts(), slot, bridge, NOW))
    }

    #[test]
    fn only_n_good_tickets_for_different_hosts_are_a_plan() {
        let (key, mirrors) = (bridge_key(), Class::mirrors(3).unwrap());
        let good: Vec<Slot> = (0..3).map(|at| slot(at.into(), at, &key)).collect();
        let places = check(good.clone(), mirrors).unwrap();
        assert_eq!(places[2].host.name, "h2");
        assert_eq!(places[2].serial, Serial([1; 16]));

        let with = |bad: Slot| vec![good[0].clone(), good[1].clone(), bad];
        let repeated = check(with(slot(0, 0, &key)), mirrors);
        assert!(
            matches!(repeated, Err(PlanError::RepeatedHost { .. })),
            "{repeated:?}"
        );
        let unnamed = check(with(slot(3, 3, &key)), mirrors);
        assert!(
            matches!(unnamed, Err(PlanError::NoHost { index: 3 })),
            "{unnamed:?}"
        );
        let other_host = check(with(slot(2, 1, &key)), mirrors);
        assert!(
            matches!(other_host, Err(PlanError::Ticket { .. })),
            "{other_host:?}"
        );
        let stranger = SigningKey::from_seed(&Secret::new([8; 32]));
        let other_bridge = check(with(slot(2, 2, &stranger)), mirrors);
        assert!(
            matches!(other_bridge, Err(PlanError::Ticket { .. })),
            "{other_bridge:?}"
        );
        let short = check(good[..2].to_vec(), mirrors);
        assert!(
            matches!(
                short,
                Err(PlanError::Slots {
                    given: 2,
                    needed: 3,
                    ..
                })
            ),
            "{short:?}"
        );
    }

    #[test]
    fn little_redundancy_is_for_the_owner_to_ask_for() {
        let class = |text: &str| text.parse::<Class>().unwrap();
        for weak in ["mirrors:1", "mirrors:2", "coded:2/3", "coded:5/8"] {
            let given = class(weak);
            assert_eq!(
                check_class(None, given),
                Err(PlanError::WeakClass { given })
            );
            assert_eq!(check_class(Some(given), given), Ok(()));
        }
        for enough in ["mirrors:3", "coded:4/8", "coded:16/32"] {
            assert_eq!(check_class(None, class(enough)), Ok(()));
        }
        let (asked, given) = (class("coded:4/8"), class("mirrors:3"));
        let other = PlanError::OtherClass { asked, given };
        assert_eq!(check_class(Some(asked), given), Err(other));
    }
}
