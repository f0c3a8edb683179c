//! What a seed means: who is there, what owners do, and what goes wrong when.

use planet::Dice;

/// Hosts that may be lost for good, by how many there are: what is acknowledged lies on so many
/// more Hosts than restore it, as long as there are four zones to choose from.
const HOSTS_FOR_TWO_LOSSES: u64 = 9;
/// Hosts that may be down at a time.
const DOWN_MAX: usize = 3;
/// Faults begin within this time.
const FAULTS_WITHIN_MS: u64 = 90_000;

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
            operations: 8 + dice.below(13),
            retention_ms: *dice.pick(&[1, 20_000, 86_400_000]).unwrap_or(&1),
            latency_ms: (1, 5 + dice.below(95)),
            skew_ms: (0..nodes)
                .map(|_| if skewed { skew(&mut dice) } else { 0 })
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
                    dice.below(3) / 2 * dice.below(60_000)
                }
            })
            .collect();
        let mut faults = Faults::new(&plan, dice);
        let count = faults.dice.below(13);
        for _ in 0..count {
            faults.add();
        }
        let mut planned = faults.planned;
        planned.sort_by_key(|planned| planned.at_ms);
        plan.faults = planned;
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

/// Up to four minutes, so that no two clocks are further apart than what is tolerated.
fn skew(dice: &mut Dice) -> i64 {
    i64::try_from(dice.below(480_000)).unwrap_or(0) - 240_000
}

/// Draws faults that together are survivable.
struct Faults {
    dice: Dice,
    hosts: u64,
    devices: u64,
    /// Hosts that are damaged for good.
    damaged: Vec<u64>,
    damaged_max: usize,
    planned: Vec<Planned>,
}

impl Faults {
    fn new(plan: &Plan, dice: Dice) -> Self {
        Self {
            dice,
            hosts: plan.hosts,
            devices: plan.device_count(),
            damaged: Vec::new(),
            damaged_max: if plan.hosts >= HOSTS_FOR_TWO_LOSSES {
                2
            } else {
                1
            },
            planned: Vec::new(),
        }
    }

    fn add(&mut self) {
        let at_ms = 3_000 + self.dice.below(FAULTS_WITHIN_MS);
        let lasts_ms = 500 + self.dice.below(25_000);
        let fault = self.draw();
        let planned = Planned {
            at_ms,
            until_ms: at_ms + lasts_ms,
            fault,
        };
        if self.is_survivable(&planned) {
            if let Some(host) = damaged(fault)
                && !self.damaged.contains(&host)
            {
                self.damaged.push(host);
            }
            self.planned.push(planned);
        }
    }

    fn power_cut(&mut self, node: Node, accesses_max: u64) -> Fault {
        let accesses = self.dice.below(accesses_max);
        Fault::PowerCut { node, accesses }
    }

    fn draw(&mut self) -> Fault {
        let host = 1 + self.dice.below(self.hosts);
        match self.dice.below(18) {
            0..=3 => self.power_cut(Node::Host(host), 60),
            4 => Fault::Restart { host },
            5 => Fault::Gone { host },
            6 | 7 => self.power_cut(Node::Bridge, 200),
            8 => {
                let device = 1 + self.dice.below(self.devices);
                self.power_cut(Node::Device(device), 100)
            }
            16 => Fault::Wiped { host },
            17 => Fault::ClockJump {
                node: self.node(),
                ms: skew(&mut self.dice),
            },
            9 | 10 => Fault::Partition {
                from: self.node(),
                to: self.node(),
                one_way: self.dice.below(2) == 0,
            },
            11 => Fault::Clogged {
                a: self.node(),
                b: self.node(),
            },
            12 => Fault::Slow {
                node: self.node(),
                bytes_per_s: 40_000 + self.dice.below(400_000),
            },
            13 => Fault::DiskFull { host },
            14 => Fault::SlowDisks {
                ms: 5 + self.dice.below(500),
            },
            _ => Fault::BitFlip { host },
        }
    }

    fn node(&mut self) -> Node {
        match self.dice.below(4) {
            0 => Node::Bridge,
            1 => Node::Device(1 + self.dice.below(self.devices)),
            _ => Node::Host(1 + self.dice.below(self.hosts)),
        }
    }

    fn is_survivable(&self, new: &Planned) -> bool {
        if let Some(host) = damaged(new.fault)
            && !self.damaged.contains(&host)
            && self.damaged.len() >= self.damaged_max
        {
            return false;
        }
        match new.fault {
            Fault::Partition { from: a, to: b, .. } | Fault::Clogged { a, b } => {
                return a != b && !self.overlaps(new, |other| pair_of(other) == pair_of(new.fault));
            }
            Fault::PowerCut { node, .. } if !matches!(node, Node::Host(_)) => {
                let is_same =
                    |other| matches!(other, Fault::PowerCut { node: cut, .. } if cut == node);
                return !self.overlaps(new, is_same);
            }
            _ => {}
        }
        let Some(host) = down(new.fault) else {
            let kind = std::mem::discriminant(&new.fault);
            return !self.overlaps(new, |other| std::mem::discriminant(&other) == kind);
        };
        let others = self.planned.iter().filter(|other| {
            let gone = matches!(other.fault, Fault::Gone { .. } | Fault::PowerCut { .. });
            down(other.fault).is_some() && (gone || overlap(other, new))
        });
        let twice = self.planned.iter().any(|other| {
            down(other.fault) == Some(host)
                && (matches!(other.fault, Fault::Gone { .. })
                    || matches!(new.fault, Fault::Gone { .. })
                    || overlap(other, new))
        });
        !twice && others.count() < DOWN_MAX
    }

    fn overlaps(&self, new: &Planned, is_same: impl Fn(Fault) -> bool) -> bool {
        let mut others = self.planned.iter();
        others.any(|other| is_same(other.fault) && overlap(other, new))
    }
}

/// The Host that is down because of a fault.
const fn down(fault: Fault) -> Option<u64> {
    match fault {
        Fault::PowerCut {
            node: Node::Host(host),
            ..
        }
        | Fault::Restart { host }
        | Fault::Wiped { host }
        | Fault::Gone { host } => Some(host),
        _ => None,
    }
}

/// The Host that does not have all it had because of a fault.
const fn damaged(fault: Fault) -> Option<u64> {
    match fault {
        Fault::Gone { host } | Fault::Wiped { host } | Fault::BitFlip { host } => Some(host),
        _ => None,
    }
}

fn pair_of(fault: Fault) -> Option<(Node, Node)> {
    match fault {
        Fault::Partition { from: a, to: b, .. } | Fault::Clogged { a, b } => {
            Some((a.min(b), a.max(b)))
        }
        _ => None,
    }
}

const fn overlap(a: &Planned, b: &Planned) -> bool {
    a.at_ms <= b.until_ms && b.at_ms <= a.until_ms
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
