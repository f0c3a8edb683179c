//! What compaction asks of the writer: records written anew, and a log let go.

use super::batch::{Answer, Batch, Waiting};
use super::{WriteError, Writer};
use crate::record::{Header, Kind, Location};

impl Writer {
    /// Appends the record that was at `at`, unless it went away meanwhile.
    pub(super) fn stage_rewrite(
        &mut self,
        (header, at): (Header, Location),
        bytes: &[u8],
        answer: Answer<bool>,
        batch: &mut Batch,
    ) {
        if !self.is_needed(&header, at) {
            answer.send(Ok(false)).ok();
            return;
        }
        if !self.shared.space.has_room_to_move(header.record_len()) {
            answer.send(Err(WriteError::DiskFull)).ok();
            return;
        }
        self.append(header, bytes, Waiting::Flag(answer), batch);
    }

    /// Gives a log up whose records have all been written anew; `false` where some are still in it.
    pub(super) fn let_go(&mut self, log: u32) -> bool {
        let mut index = self.shared.index_mut();
        let Some(pins) = index.logs.get_mut(&log).filter(|pins| pins.slots == 0) else {
            return !index.logs.contains_key(&log);
        };
        // The headers that guarded other logs have been carried over.
        pins.guards.clear();
        self.look_for_dead = true;
        true
    }

    fn is_needed(&self, header: &Header, at: Location) -> bool {
        let index = self.shared.index();
        match header.kind {
            Kind::Put { .. } => {
                index.holds_record(header, at)
                    && index.holds_bytes(&header.shard, at)
                    && !index.shared.contains_key(&at)
            }
            Kind::Reference { .. } => index.holds_record(header, at),
            Kind::Tombstone { target, .. } => index.logs.contains_key(&target.log),
            Kind::Void => false,
        }
    }
}
