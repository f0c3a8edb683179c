//! Tickets: a Bridge's signed permission for one transfer at one Host.
//!
//! A Host reads no byte of a body and sends none of a shard without one. The encoding is 270
//! bytes, fixed (`docs/spec/wire.md`); the paper's "no mistake is possible because the Bridge
//! connects an owner only with the Hosts where the shards reside" is this signature.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::codec::{DecodeError, Reader, Writer};
use crate::crypto::{Secret, Signature, SignatureError, SigningKey, verify};
use crate::units::{BlobId, BridgeId, HostId, OwnerTag, PayerKey, Serial, ShardId, UnixMs};
use crate::wire::limits::CLOCK_SKEW_MS_MAX;

const VERSION: u8 = 1;
const KIND: &str = "ticket";
const SIGNATURE_BYTES: usize = 64;

/// A Bridge's permission for one transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The ticket's identity; of a PUT also the stored record's.
    pub serial: Serial,
    /// The Bridge that gives it.
    pub bridge: BridgeId,
    /// The only Host that honours it.
    pub host: HostId,
    /// What it permits.
    pub action: Action,
    /// Most bytes of shard content it may move in all.
    pub bytes_max: u64,
    /// Who signs receipts for the transfer.
    pub payer: PayerKey,
    /// The price book it is charged by.
    pub price_version: u32,
    /// When it was given.
    pub created: UnixMs,
    /// When it ends.
    pub expires: UnixMs,
}

/// What a ticket permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Store one shard under the ticket's serial; its id is not known when the plan is made.
    Put {
        /// Who may read or delete it without a Bridge.
        owner_tag: OwnerTag,
    },
    /// Read one shard.
    Get {
        /// Which.
        shard: ShardId,
    },
    /// Prove that one shard is there.
    Audit {
        /// Which.
        shard: ShardId,
    },
    /// Read one shard to repair another.
    RepairGet {
        /// Which.
        shard: ShardId,
    },
    /// Store one restored shard.
    RepairPut {
        /// Who may read or delete it without a Bridge.
        owner_tag: OwnerTag,
    },
}

/// What a Host is asked to do with a ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TicketPurpose {
    /// Store a shard.
    Store,
    /// Read this shard.
    Read(ShardId),
    /// Prove that this shard is there.
    Prove(ShardId),
}

/// A ticket whose signature, Host, time and purpose were checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidTicket(Ticket);

impl ValidTicket {
    /// The checked ticket.
    #[must_use]
    pub const fn ticket(&self) -> &Ticket {
        &self.0
    }

    /// The owner tag under which a PUT stores; `None` for a ticket that reads.
    #[must_use]
    pub const fn owner_tag(&self) -> Option<OwnerTag> {
        match self.0.action {
            Action::Put { owner_tag } | Action::RepairPut { owner_tag } => Some(owner_tag),
            Action::Get { .. } | Action::Audit { .. } | Action::RepairGet { .. } => None,
        }
    }
}

/// A ticket that is not honoured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Not the text or bytes of a ticket.
    #[error("malformed ticket")]
    Malformed(#[source] DecodeError),
    /// Of a Bridge that this Host does not serve.
    #[error("ticket of a bridge that this host does not serve")]
    UnknownBridge,
    /// Not signed by the Bridge it names.
    #[error("forged ticket")]
    Forged(#[source] SignatureError),
    /// For another Host.
    #[error("ticket for another host")]
    OtherHost,
    /// Not yet, or no longer, good.
    #[error("ticket is not good at this time (good until {expires:?})")]
    Expired {
        /// Its end.
        expires: UnixMs,
    },
    /// For another action or another shard.
    #[error("ticket for another action or shard")]
    OtherPurpose,
}

impl Ticket {
    /// Bytes of a signed ticket.
    pub const BYTES: usize = 206 + SIGNATURE_BYTES;

    /// Encodes and signs the ticket: body ‖ signature, [`Self::BYTES`] long.
    #[must_use]
    pub fn sign(&self, key: &SigningKey) -> Vec<u8> {
        let body = self.encode();
        let signature = key.sign(KIND, &body);
        [body, signature.0.to_vec()].concat()
    }

    /// Checks a signed ticket for `purpose` at `host`, in the order that is cheapest to refuse:
    /// length, known Bridge, Host, time, purpose, signature.
    ///
    /// # Errors
    /// [`TicketError`] says why it is not honoured.
    pub fn check(
        signed: &[u8],
        now: UnixMs,
        host: &HostId,
        known_bridge: impl Fn(&BridgeId) -> bool,
        purpose: TicketPurpose,
    ) -> Result<ValidTicket, TicketError> {
        let cut = signed.len().saturating_sub(SIGNATURE_BYTES);
        let (body, signature) = signed.split_at(cut);
        let ticket = Self::decode(body).map_err(TicketError::Malformed)?;
        let signature = signature
            .try_into()
            .map_err(|_| TicketError::Malformed(DecodeError::Truncated { field: "signature" }))?;
        if !known_bridge(&ticket.bridge) {
            return Err(TicketError::UnknownBridge);
        }
        if ticket.host != *host {
            return Err(TicketError::OtherHost);
        }
        if now >= ticket.expires || now.plus_ms(CLOCK_SKEW_MS_MAX) < ticket.created {
            return Err(TicketError::Expired {
                expires: ticket.expires,
            });
        }
        if !ticket.action.permits(purpose) {
            return Err(TicketError::OtherPurpose);
        }
        verify(&ticket.bridge.0, KIND, body, &Signature(signature)).map_err(TicketError::Forged)?;
        Ok(ValidTicket(ticket))
    }

    fn encode(&self) -> Vec<u8> {
        let (code, subject) = self.action.parts();
        let mut out = Writer::with_capacity(Self::BYTES);
        out.u8(VERSION)
            .u8(code)
            .bytes(&self.serial.0)
            .bytes(&self.bridge.0)
            .bytes(&self.host.0);
        out.bytes(subject)
            .u64(self.bytes_max)
            .bytes(&self.payer.0)
            .u32(self.price_version);
        out.u64(self.created.0).u64(self.expires.0);
        // Room kept for fields of later minor versions; zero in version 1.
        out.bytes(&[0; 32]);
        out.finish()
    }

    fn decode(body: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Reader::new(body);
        input.version(KIND, VERSION)?;
        let code = input.u8("action")?;
        let serial = Serial(input.array("serial")?);
        let bridge = BridgeId(input.array("bridge")?);
        let host = HostId(input.array("host")?);
        let action = Action::from_parts(code, input.array("subject")?)?;
        let ticket = Self {
            serial,
            bridge,
            host,
            action,
            bytes_max: input.u64("bytes_max")?,
            payer: PayerKey(input.array("payer")?),
            price_version: input.u32("price_version")?,
            created: UnixMs(input.u64("created")?),
            expires: UnixMs(input.u64("expires")?),
        };
        if input.array::<32>("reserved")? != [0; 32] {
            return Err(DecodeError::Invalid { field: "reserved" });
        }
        input.finish()?;
        Ok(ticket)
    }
}

impl Action {
    const fn parts(&self) -> (u8, &[u8; 32]) {
        match self {
            Self::Put { owner_tag } => (1, &owner_tag.0),
            Self::Get { shard } => (2, &shard.0),
            Self::Audit { shard } => (3, &shard.0),
            Self::RepairGet { shard } => (4, &shard.0),
            Self::RepairPut { owner_tag } => (5, &owner_tag.0),
        }
    }

    const fn from_parts(code: u8, subject: [u8; 32]) -> Result<Self, DecodeError> {
        Ok(match code {
            1 => Self::Put {
                owner_tag: OwnerTag(subject),
            },
            2 => Self::Get {
                shard: ShardId(subject),
            },
            3 => Self::Audit {
                shard: ShardId(subject),
            },
            4 => Self::RepairGet {
                shard: ShardId(subject),
            },
            5 => Self::RepairPut {
                owner_tag: OwnerTag(subject),
            },
            _ => return Err(DecodeError::Invalid { field: "action" }),
        })
    }

    fn permits(&self, purpose: TicketPurpose) -> bool {
        match (self, purpose) {
            (Self::Put { .. } | Self::RepairPut { .. }, TicketPurpose::Store) => true,
            (Self::Get { shard } | Self::RepairGet { shard }, TicketPurpose::Read(asked)) => {
                *shard == asked
            }
            (Self::Audit { shard }, TicketPurpose::Prove(asked)) => *shard == asked,
            _ => false,
        }
    }
}

/// The value of an `Authorization` header that carries a signed ticket.
#[must_use]
pub fn ticket_header(signed: &[u8]) -> String {
    format!("Ticket {}", BASE64URL_NOPAD.encode(signed))
}

/// The signed ticket in the value of an `Authorization` header.
///
/// # Errors
/// [`TicketError::Malformed`] where it carries none of the right length.
pub fn split_ticket_header(value: &str) -> Result<Vec<u8>, TicketError> {
    let malformed = TicketError::Malformed(DecodeError::Invalid {
        field: "authorization",
    });
    let text = value.strip_prefix("Ticket ").ok_or(malformed)?;
    if text.len() > 2 * Ticket::BYTES {
        return Err(malformed);
    }
    BASE64URL_NOPAD
        .decode(text.as_bytes())
        .map_err(|_| malformed)
}

/// The Bridge's key from which the serials of its PUT tickets follow, so that it can name a
/// stored record again when it deletes, without having kept the serial.
#[derive(Clone, PartialEq, Eq)]
pub struct SerialKey(Secret);

impl fmt::Debug for SerialKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SerialKey(…)")
    }
}

impl SerialKey {
    /// Uses `secret` for serials and nothing else.
    #[must_use]
    pub fn new(secret: &Secret) -> Self {
        Self(secret.expand("serial", b""))
    }

    /// The serial of the slot (`blob`, `segment`, `index`) at `host`:
    /// HMAC-SHA256(key, blob ‖ segment ‖ index ‖ host)[0..16].
    #[must_use]
    #[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
    pub fn serial(&self, blob: &BlobId, segment: u64, index: u16, host: &HostId) -> Serial {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.0.expose()).expect("any key length");
        mac.update(&blob.0);
        mac.update(&segment.to_le_bytes());
        mac.update(&index.to_le_bytes());
        mac.update(&host.0);
        let tag: [u8; 32] = mac.finalize().into_bytes().into();
        let (serial, _) = tag.split_at(16);
        Serial(serial.try_into().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixMs = UnixMs(1_000_000_000);

    fn bridge_key() -> SigningKey {
        SigningKey::from_seed(&Secret::new([4; 32]))
    }

    fn ticket() -> Ticket {
        Ticket {
            serial: Serial([1; 16]),
            bridge: BridgeId(bridge_key().public()),
            host: HostId([2; 32]),
            action: Action::Get {
                shard: ShardId([3; 32]),
            },
            bytes_max: 1_000,
            payer: PayerKey([5; 32]),
            price_version: 1,
            created: NOW,
            expires: NOW.plus_ms(1_000),
        }
    }

    fn check(signed: &[u8], now: UnixMs, host: u8, shard: u8) -> Result<ValidTicket, TicketError> {
        let purpose = TicketPurpose::Read(ShardId([shard; 32]));
        let known = BridgeId(bridge_key().public());
        Ticket::check(
            signed,
            now,
            &HostId([host; 32]),
            |bridge| *bridge == known,
            purpose,
        )
    }

    #[test]
    fn a_good_ticket_is_honoured() {
        let signed = ticket().sign(&bridge_key());
        assert_eq!(signed.len(), Ticket::BYTES);
        let header = ticket_header(&signed);
        assert_eq!(split_ticket_header(&header).unwrap(), signed);
        assert_eq!(check(&signed, NOW, 2, 3).unwrap().ticket(), &ticket());
    }

    #[test]
    fn every_other_ticket_is_refused() {
        let signed = ticket().sign(&bridge_key());
        assert_eq!(check(&signed, NOW, 9, 3), Err(TicketError::OtherHost));
        assert_eq!(check(&signed, NOW, 2, 9), Err(TicketError::OtherPurpose));
        let expires = NOW.plus_ms(1_000);
        assert_eq!(
            check(&signed, expires, 2, 3),
            Err(TicketError::Expired { expires })
        );
        let host = HostId([2; 32]);
        let store = Ticket::check(&signed, NOW, &host, |_| true, TicketPurpose::Store);
        assert_eq!(store, Err(TicketError::OtherPurpose));
        let read = TicketPurpose::Read(ShardId([3; 32]));
        let stranger = Ticket::check(&signed, NOW, &host, |_| false, read);
        assert_eq!(stranger, Err(TicketError::UnknownBridge));
        for byte in 0..signed.len() {
            let mut bent = signed.clone();
            bent[byte] ^= 1;
            assert!(check(&bent, NOW, 2, 3).is_err(), "byte {byte}");
            assert!(check(&signed[..byte], NOW, 2, 3).is_err(), "length {byte}");
        }
    }
}
