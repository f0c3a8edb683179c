//! What a seed means: who is there, what owners do, and what goes wrong when.

mod survivable;

use planet::Dice;

use survivable::{Faults, damaged};

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Its seed.
    pub seed: u64,
    /// How many Hosts there are.
    pub hosts: u64,
    /// How many devices each owner has.
    pub devices: Vec<u64>,
    /// What each device does.
    pub operations: u64,
    /// How long removed content is kept.
    pub retention_ms: u64,
    /// How long Hosts keep what they were told to delete.
    pub trash_ms: u64,
    /// Whether the Bridge is restored from an old backup in the end.
    pub restores: bool,
    /// Shortest and longest way of a message.
    pub latency_ms: (u64, u64),
    /// By how much clocks are ahead, node by node: the Bridge, the Hosts, the devices.
    pub skew_ms: Vec<i64>,
    /// When each Host joins.
    pub joins_ms: Vec<u64>,
    /// What goes wrong, by time.
    pub faults: Vec<Planned>,
    /// What is broken on purpose, to see that it is noticed.
    pub sabotage: Option<Sabotage>,
}

/// A fault and its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planned {
    /// When it begins.
    pub at_ms: u64,
    /// When it is over.
    pub until_ms: u64,
    /// What it is.
    pub fault: Fault,
}

/// What goes wrong. Hosts and devices are counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A node loses its power, after it has so often more turned to its disk or its clock. What a
    /// Bridge's database acknowledged is durable, and so is what a device keeps.
    PowerCut {
        /// Which.
        node: Node,
        /// How often.
        accesses: u64,
    },
    /// A Host is stopped in good order and started again.
    Restart {
        /// Which.
        host: u64,
    },
    /// A Host never comes back.
    Gone {
        /// Which.
        host: u64,
    },
    /// A Host comes back with an empty disk.
    Wiped {
        /// Which.
        host: u64,
    },
    /// A node's clock is wrong for a while.
    ClockJump {
        /// Which.
        node: Node,
        /// By how much it is ahead.
        ms: i64,
    },
    /// Nothing gets from one node to another, or also not back.
    Partition {
        /// Who is not heard.
        from: Node,
        /// Who does not hear.
        to: Node,
        /// Whether the other way works.
        one_way: bool,
    },
    /// What is sent between two nodes waits until it is over.
    Clogged {
        /// One.
        a: Node,
        /// The other.
        b: Node,
    },
    /// A node sends and gets little.
    Slow {
        /// Which.
        node: Node,
        /// How little.
        bytes_per_s: u64,
    },
    /// A Host's disk is full.
    DiskFull {
        /// Which.
        host: u64,
    },
    /// All disks take so long for everything.
    SlowDisks {
        /// How long.
        ms: u64,
    },
    /// A Host has lost every second of its shards when it comes back, and says nothing of it.
    Drops {
        /// Which.
        host: u64,
    },
    /// A Host asks to leave.
    Leaves {
        /// Which.
        host: u64,
    },
    /// A bit on a disk changes by itself.
    BitFlip {
        /// Of which Host.
        host: u64,
    },
}

/// A node of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Node {
    /// The Bridge.
    Bridge,
    /// A Host, from 1.
    Host(u64),
    /// A device, from 1.
    Device(u64),
}

/// Hosts that are left where too many are lost on purpose.
pub(crate) const HOSTS_LEFT: u64 = 2;

/// What is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// Disks say that they synced, and did not.
    DisksLie,
    /// More Hosts are lost than the redundancy survives.
    TooManyGone,
    /// The Bridge is restored from a backup that is older than what it acknowledged.
    OldBackup,
}

impl Plan {
    /// The run of `seed`.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let mut dice = Dice::new(seed ^ 0x5eed_0fa1_1da7_a000);
        let hosts = 6 + dice.below(7);
        let devices: Vec<u64> = (0..1 + dice.below(3))
            .map(|_| 1 + dice.below(3) / 2)
            .collect();
        let nodes = 1 + hosts + devices.iter().sum::<u64>();
        let skewed = dice.below(3) == 0;
        let mut plan = Self {
            seed,
            hosts,
            operations: 5 + dice.below(11),
            retention_ms: *dice.pick(&[1, 20_000, 86_400_000]).unwrap_or(&1),
            trash_ms: *dice.pick(&[0, 3_600_000]).unwrap_or(&0),
            restores: dice.below(4) == 0,
            latency_ms: (1, 5 + dice.below(95)),
            skew_ms: (0..nodes)
                .map(|_| {
                    if skewed {
                        survivable::skew(&mut dice)
                    } else {
                        0
                    }
                })
                .collect(),
            joins_ms: Vec::new(),
            devices,
            faults: Vec::new(),
            sabotage: None,
        };
        // All but a few are there from the start.
        plan.joins_ms = (0..hosts)
            .map(|host| {
                if host < 5 {
                    0
                } else {
                    dice.below(3) / 2 * dice.below(40_000)
                }
            })
            .collect();
        plan.faults = Faults::new(&plan, dice).draw_all();
        plan
    }

    /// The same run with something broken on purpose.
    #[must_use]
    pub fn sabotaged(self, sabotage: Sabotage) -> Self {
        Self {
            sabotage: Some(sabotage),
            ..self
        }
    }

    /// How many devices there are in all.
    #[must_use]
    pub fn device_count(&self) -> u64 {
        self.devices.iter().sum()
    }

    /// Whether the shards of `host` do not count: it is gone, or some of its bits are.
    #[must_use]
    pub fn is_damaged(&self, host: u64) -> bool {
        let mut faults = self.faults.iter();
        faults.any(|planned| damaged(planned.fault) == Some(host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_differ_and_stay_within_the_redundancy() {
        let mut faults = 0;
        for seed in 0..500 {
            let plan = Plan::of(seed);
            assert_eq!(format!("{plan:?}"), format!("{:?}", Plan::of(seed)));
            let damaged = (1..=plan.hosts)
                .filter(|host| plan.is_damaged(*host))
                .count();
            assert!(
                damaged <= 2 && (plan.hosts >= 9 || damaged <= 1),
                "seed {seed}"
            );
            faults += plan.faults.len();
        }
        assert!(faults > 1_000, "{faults} faults");
    }
}
