//! What happens when: a bucket for every minute. Putting and taking cost the same however much
//! waits, and what is put into one minute comes out in the order it was put.

use crate::minutes::Minute;

/// What happens to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A Host's owner switches it on or off.
    Habit(u32),
    /// The storm that kept a Host off may be over.
    Calm(u32),
    /// The Bridge looks at a Host that it has not heard since then.
    Check(u32, Minute),
    /// A Host is gone for good.
    Death(u32),
    /// A Host says that it will leave.
    Leave(u32),
    /// Somebody joins.
    Arrival,
    /// A disk fails somewhere; the next failure follows.
    Disk,
    /// Audits have found that a Host lost its shards.
    DiskFound(u32),
    /// A shard rots somewhere; the next follows.
    Rot,
    /// The rot of a shard is found by its Host or by an audit: slot, Host.
    RotFound(u32, u32),
    /// A zone has an outage; the next follows.
    ZoneOutage,
    /// A zone burns down; the next follows.
    Fire,
    /// An autonomous system has an outage; its next follows.
    SystemOutage(u32),
    /// A bad version of the software gets out.
    BadVersion,
    /// It reaches this Host.
    BadVersionAt(u32),
    /// The Bridge looks at a segment once more.
    Look(u32),
    /// A repair of this slot at this Host is done.
    Repaired(u32, u32),
}

/// Buckets up to a last minute; what would come later never does.
#[derive(Debug)]
pub(crate) struct Calendar {
    buckets: Vec<Vec<Event>>,
}

impl Calendar {
    pub(crate) fn new(end: Minute) -> Self {
        Self {
            buckets: vec![Vec::new(); end as usize],
        }
    }

    pub(crate) fn put(&mut self, at: Minute, event: Event) {
        if let Some(bucket) = self.buckets.get_mut(at as usize) {
            bucket.push(event);
        }
    }

    /// What happens at `at`. More may be put there while that happens: take again until it is
    /// empty.
    pub(crate) fn take(&mut self, at: Minute) -> Vec<Event> {
        self.buckets
            .get_mut(at as usize)
            .map(std::mem::take)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_order_and_never_after_the_end() {
        let mut calendar = Calendar::new(10);
        calendar.put(3, Event::Look(1));
        calendar.put(3, Event::Look(2));
        calendar.put(10, Event::Arrival);
        assert_eq!(calendar.take(3), [Event::Look(1), Event::Look(2)]);
        assert_eq!(calendar.take(3), []);
        assert_eq!(calendar.take(10), []);
    }
}
