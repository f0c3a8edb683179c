//! Disasters, again and again, under load: nothing that was acknowledged may be lost, ever.
//!
//! [`kills`] ends a Host or the Bridge of a planet with `kill -9` while owners put and get;
//! [`power`] cuts the power of a file system while a shard store and a Bridge's database are
//! written. Both count what was acknowledged and look for all of it afterwards. They stop at the
//! first loss and leave everything where it is.

pub mod chaos;
pub mod kills;
pub mod lines;
mod load;
pub mod power;

use std::time::Duration;

/// How often something took how long.
#[derive(Clone, Copy, Debug, Default)]
pub struct Durations {
    count: u32,
    sum: Duration,
    max: Duration,
}

impl Durations {
    fn add(&mut self, took: Duration) {
        self.count += 1;
        self.sum += took;
        self.max = self.max.max(took);
    }
}

impl std::fmt::Display for Durations {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mean = self.sum.checked_div(self.count).unwrap_or_default();
        write!(
            f,
            "{} ms (longest {})",
            mean.as_millis(),
            self.max.as_millis()
        )
    }
}

/// What a campaign is told from outside, and tells.
pub struct Talk<'a> {
    /// Asked again and again: whether to stop now.
    pub give_up: &'a dyn Fn() -> bool,
    /// Told after every cycle.
    pub progress: &'a mut dyn FnMut(&dyn std::fmt::Display),
}

impl std::fmt::Debug for Talk<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Talk").finish_non_exhaustive()
    }
}
