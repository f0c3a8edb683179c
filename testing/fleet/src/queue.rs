//! The repair queue: what is to be looked at, and what waits, by the production's order.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use bridge::repair::judge::Need;

use crate::model_figures::QueueRule;

/// Segments that may need repair, and those that do.
#[derive(Debug)]
pub(crate) struct Queue {
    rule: QueueRule,
    /// To be looked at with the next scan.
    fresh: Vec<u32>,
    /// By urgency. A segment may be in it twice, under the needs it had.
    urgent: BinaryHeap<Reverse<(Need, u32)>>,
    /// In the order they came.
    in_turn: VecDeque<u32>,
    /// Put aside while an outage is on.
    held: Vec<u32>,
    /// Per segment: needs repair that has not begun.
    waiting: Vec<bool>,
    pub(crate) waiting_count: u32,
}

impl Queue {
    pub(crate) fn new(rule: QueueRule, segments: u32) -> Self {
        Self {
            rule,
            fresh: Vec::new(),
            urgent: BinaryHeap::new(),
            in_turn: VecDeque::new(),
            held: Vec::new(),
            waiting: vec![false; segments as usize],
            waiting_count: 0,
        }
    }

    /// Something changed about a segment.
    pub(crate) fn look_at(&mut self, segment: u32) {
        self.fresh.push(segment);
    }

    /// What changed since the last scan, each segment once.
    pub(crate) fn take_fresh(&mut self) -> Vec<u32> {
        let mut fresh = std::mem::take(&mut self.fresh);
        fresh.sort_unstable();
        fresh.dedup();
        fresh
    }

    /// A segment needs repair.
    pub(crate) fn put(&mut self, segment: u32, need: Need) {
        let known = std::mem::replace(&mut self.waiting[segment as usize], true);
        self.waiting_count += u32::from(!known);
        match self.rule {
            QueueRule::Urgent => self.urgent.push(Reverse((need, segment))),
            QueueRule::WaitForFirst if !known => self.in_turn.push_back(segment),
            QueueRule::WaitForFirst => {}
        }
    }

    /// The next segment that waits.
    pub(crate) fn next(&mut self) -> Option<u32> {
        loop {
            let segment = match self.rule {
                QueueRule::Urgent => self.urgent.pop()?.0.1,
                QueueRule::WaitForFirst => *self.in_turn.front()?,
            };
            if self.waiting[segment as usize] {
                return Some(segment);
            }
            if self.rule == QueueRule::WaitForFirst {
                self.in_turn.pop_front();
            }
        }
    }

    /// It has begun, or is not needed any more.
    pub(crate) fn done(&mut self, segment: u32) {
        let waited = std::mem::replace(&mut self.waiting[segment as usize], false);
        self.waiting_count -= u32::from(waited);
    }

    /// An outage is on, and it is not critical.
    pub(crate) fn hold(&mut self, segment: u32) {
        self.held.push(segment);
    }

    /// The outage is over.
    pub(crate) fn release(&mut self) {
        self.fresh.append(&mut self.held);
    }

    /// Whether a segment that cannot be repaired now holds up all others.
    pub(crate) fn waits_for_first(&self) -> bool {
        self.rule == QueueRule::WaitForFirst
    }
}
