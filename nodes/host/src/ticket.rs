//! Checking a request's ticket, and counting what each read ticket has moved.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::HeaderMap;
use http::header::AUTHORIZATION;
use model::units::{BridgeId, HostId, Serial, UnixMs};
use model::wire::{
    Problem, ProblemCode, Ticket, TicketError, TicketPurpose, ValidTicket, split_ticket_header,
};

use crate::bridges::Bridges;
use crate::limits::TICKETS_COUNTED_MAX;

/// The ticket of a request, checked for `purpose` at `host`.
pub(crate) fn check(
    headers: &HeaderMap,
    now: UnixMs,
    host: &HostId,
    bridges: &Bridges,
    purpose: TicketPurpose,
) -> Result<ValidTicket, Problem> {
    let value = headers
        .get(AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    let value = value.ok_or_else(|| {
        Problem::new(
            ProblemCode::TicketRefused,
            "no ticket: send `authorization: Ticket …`",
        )
    })?;
    split_ticket_header(value)
        .and_then(|signed| {
            Ticket::check(
                &signed,
                now,
                host,
                |bridge| bridges.of(bridge).is_some(),
                purpose,
            )
        })
        .map_err(|error| refused(&error))
}

fn refused(error: &TicketError) -> Problem {
    Problem::new(ProblemCode::TicketRefused, error.to_string())
}

/// What every read ticket has moved so far; a ticket serves until its byte limit or its end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Allowances {
    used: Arc<Mutex<BTreeMap<(BridgeId, Serial), Used>>>,
}

#[derive(Debug)]
struct Used {
    bytes: u64,
    expires: UnixMs,
}

/// Bytes taken from a ticket; what is not spent goes back when dropped.
#[derive(Debug)]
pub(crate) struct Allowance {
    used: Arc<Mutex<BTreeMap<(BridgeId, Serial), Used>>>,
    ticket: (BridgeId, Serial),
    unspent: u64,
}

impl Allowances {
    /// Takes `bytes` from what `ticket` allows.
    pub(crate) fn take(
        &self,
        ticket: &Ticket,
        bytes: u64,
        now: UnixMs,
    ) -> Result<Allowance, Problem> {
        let key = (ticket.bridge, ticket.serial);
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.len() >= TICKETS_COUNTED_MAX && !used.contains_key(&key) {
            used.retain(|_, used| used.expires > now);
            if used.len() >= TICKETS_COUNTED_MAX {
                let detail = "too many tickets are in use here; try again later";
                return Err(Problem::new(ProblemCode::Busy, detail));
            }
        }
        let entry = used.entry(key).or_insert(Used {
            bytes: 0,
            expires: ticket.expires,
        });
        let left = ticket.bytes_max.saturating_sub(entry.bytes);
        if bytes > left {
            let detail = format!("{bytes} bytes asked for, {left} left of the ticket's limit");
            return Err(Problem::new(ProblemCode::TicketRefused, detail));
        }
        entry.bytes += bytes;
        Ok(Allowance {
            used: Arc::clone(&self.used),
            ticket: key,
            unspent: bytes,
        })
    }
}

impl Allowance {
    /// `bytes` have gone out and do not come back.
    pub(crate) fn spend(&mut self, bytes: usize) {
        self.unspent = self.unspent.saturating_sub(bytes as u64);
    }
}

impl Drop for Allowance {
    fn drop(&mut self) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = used.get_mut(&self.ticket) {
            entry.bytes = entry.bytes.saturating_sub(self.unspent);
        }
    }
}

#[cfg(test)]
mod tests {
    use model::units::{PayerKey, ShardId};
    use model::wire::Action;

    use super::*;

    fn ticket(serial: u32, bytes_max: u64, expires: UnixMs) -> Ticket {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&serial.to_le_bytes());
        Ticket {
            serial: Serial(id),
            bridge: BridgeId([1; 32]),
            host: HostId([2; 32]),
            action: Action::Get {
                shard: ShardId([3; 32]),
            },
            bytes_max,
            payer: PayerKey([4; 32]),
            price_version: 1,
            created: UnixMs(0),
            expires,
        }
    }

    #[test]
    fn a_ticket_serves_until_its_limit_and_gets_back_what_was_not_sent() {
        let (allowances, ticket) = (Allowances::default(), ticket(1, 250, UnixMs(10)));
        let mut first = allowances.take(&ticket, 100, UnixMs(1)).unwrap();
        first.spend(100);
        drop(first);
        let mut second = allowances.take(&ticket, 100, UnixMs(1)).unwrap();
        assert!(allowances.take(&ticket, 100, UnixMs(1)).is_err());
        second.spend(30);
        drop(second);
        allowances.take(&ticket, 100, UnixMs(1)).unwrap().spend(100);
        let refused = allowances.take(&ticket, 100, UnixMs(1)).unwrap_err();
        assert_eq!(
            refused.detail,
            "100 bytes asked for, 20 left of the ticket's limit"
        );
    }

    #[test]
    fn the_table_is_bounded_and_forgets_what_has_ended() {
        let allowances = Allowances::default();
        for serial in 0..u32::try_from(TICKETS_COUNTED_MAX).unwrap() {
            let expires = UnixMs(if serial % 2 == 0 { 5 } else { 50 });
            allowances
                .take(&ticket(serial, 9, expires), 1, UnixMs(1))
                .unwrap();
        }
        let next = ticket(u32::MAX, 9, UnixMs(50));
        assert_eq!(
            allowances.take(&next, 1, UnixMs(1)).unwrap_err().code,
            ProblemCode::Busy
        );
        drop(allowances.take(&next, 1, UnixMs(6)).unwrap());
        assert_eq!(
            allowances.used.lock().unwrap().len(),
            TICKETS_COUNTED_MAX / 2 + 1
        );
    }
}
