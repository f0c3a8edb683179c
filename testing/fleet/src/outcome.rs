//! What came of a simulated time.

use serde::{Deserialize, Serialize};

use crate::statistics::{Bound, bound, nines};

/// What a year did to a class.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// How the segments are coded.
    pub class: String,
    /// Everything random followed from it.
    pub seed: u64,
    /// Hosts at a time.
    pub hosts: u32,
    /// Segments watched.
    pub segments: u32,
    /// Days counted.
    pub days: u32,
    /// Hours of promised silence after which Hosts were given up.
    pub lost_after_hours: f64,
    /// Segments times years.
    pub segment_years: f64,
    /// Segments that could not be restored any more.
    pub losses: u64,
    /// By what they were lost in the end.
    pub causes: Causes,
    /// Nines of durability per segment and year: most likely, and the 95 % bounds.
    pub nines: f64,
    /// Lower bound.
    pub nines_low: f64,
    /// Upper bound; null where nothing was lost.
    pub nines_high: Option<f64>,
    /// Share of segments with fewer than k shards online, on average.
    pub unreadable_mean: f64,
    /// At the worst moment.
    pub unreadable_worst: f64,
    /// Share of Hosts online, on average.
    pub online_mean: f64,
    /// Shards made anew.
    pub repaired: u64,
    /// Of those, shards whose Host came back with them afterwards.
    pub wasted: u64,
    /// Repairs that came to nothing: their Host came back first, or the destination went.
    pub in_vain: u64,
    /// Bytes that repair moved per Host and day.
    pub repair_bytes_per_host_day: f64,
    /// Share of all upload bandwidth that was online.
    pub repair_share_of_bandwidth: f64,
    /// Bytes that repair moved per byte stored (parity counted) and year.
    pub repair_bytes_per_stored_byte: f64,
    /// Segments that waited for repair, on average, as a share of all.
    pub queue_mean: f64,
    /// At the worst moment.
    pub queue_worst: f64,
    /// Times that a segment could not be repaired for want of sources.
    pub blocked: u64,
    /// Times that a Host was given up by its silence.
    pub given_up: u64,
    /// Of those, Hosts that came back.
    pub given_up_returned: u64,
    /// Shards of absent Hosts that counted again when these came back.
    pub readopted: u64,
    /// Hosts that left for good.
    pub departed: u64,
    /// Disks that were lost, by themselves, by fire or by a bad version.
    pub disks_lost: u64,
    /// Hours in which an outage paused repair.
    pub outage_hours: f64,
    /// How many real shards each watched one stands for.
    pub shard_weight: f64,
}

/// Losses by their last cause.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Causes {
    /// A Host left.
    pub departure: u64,
    /// A disk failed.
    pub disk: u64,
    /// A shard rotted.
    pub rot: u64,
    /// A zone burnt.
    pub fire: u64,
    /// A bad version.
    pub version: u64,
}

impl Outcome {
    /// Works the bounds out of the counts.
    pub(crate) fn conclude(&mut self) {
        self.segment_years = f64::from(self.segments) * f64::from(self.days) / 365.0;
        let Bound { low, likely, high } = bound(self.losses, self.segment_years);
        self.nines = nines(if self.losses == 0 { high } else { likely });
        self.nines_low = nines(high);
        self.nines_high = (self.losses > 0).then(|| nines(low));
    }

    /// The outcome for people.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let Causes {
            departure,
            disk,
            rot,
            fire,
            version,
        } = self.causes;
        let at_most = if self.losses == 0 { "more than " } else { "" };
        let high = self
            .nines_high
            .map_or_else(|| "∞".to_owned(), |high| format!("{high:.2}"));
        vec![
            format!(
                "{}: {} hosts, {} segments, {} days, hosts given up after {} h, seed {}",
                self.class, self.hosts, self.segments, self.days, self.lost_after_hours, self.seed
            ),
            format!(
                "  losses {} in {:.0} segment-years (departure {departure}, disk {disk}, rot {rot}, fire {fire}, version {version})",
                self.losses, self.segment_years
            ),
            format!(
                "  durability {at_most}{:.2} nines per segment-year, 95 %: {:.2} to {high}",
                self.nines, self.nines_low
            ),
            format!(
                "  unreadable now: mean {:.2e}, worst {:.2e}; {:.1} % of hosts online",
                self.unreadable_mean,
                self.unreadable_worst,
                100.0 * self.online_mean
            ),
            format!(
                "  repair: {:.0} MB per host and day ({:.2} % of upload bandwidth), {:.2} bytes per stored byte and year",
                self.repair_bytes_per_host_day / 1e6,
                100.0 * self.repair_share_of_bandwidth,
                self.repair_bytes_per_stored_byte
            ),
            format!(
                "  {} shards repaired, {} of them wasted ({:.0} %), {} in vain, {} waits for sources",
                self.repaired,
                self.wasted,
                100.0 * self.wasted as f64 / (self.repaired.max(1) as f64),
                self.in_vain,
                self.blocked
            ),
            format!(
                "  queue: mean {:.2e} of segments, worst {:.2e}; outages paused repair for {:.0} h",
                self.queue_mean, self.queue_worst, self.outage_hours
            ),
            format!(
                "  hosts: {} left, {} lost their disk, {} given up, {} of these came back; {} shards of absent hosts counted again",
                self.departed,
                self.disks_lost,
                self.given_up,
                self.given_up_returned,
                self.readopted
            ),
        ]
    }
}
