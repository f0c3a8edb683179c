//! Draws what goes wrong in a run, and never more than the redundancy is to survive.

use planet::Dice;

use super::{Fault, Node, Plan, Planned};

/// Hosts that may be lost for good, by how many there are: what is acknowledged lies on so many
/// more Hosts than restore it, as long as there are four zones to choose from.
const HOSTS_FOR_TWO_LOSSES: u64 = 9;
/// A Host may leave where so many are there: others can take what it keeps.
const HOSTS_FOR_LEAVING: u64 = 9;
/// Hosts that may be down at a time.
const DOWN_MAX: usize = 3;
/// Faults begin within this time.
const FAULTS_WITHIN_MS: u64 = 60_000;

/// Draws faults that together are survivable.
pub(super) struct Faults {
    dice: Dice,
    hosts: u64,
    devices: u64,
    /// Hosts that are damaged for good.
    damaged: Vec<u64>,
    damaged_max: usize,
    planned: Vec<Planned>,
}

impl Faults {
    pub(super) fn new(plan: &Plan, dice: Dice) -> Self {
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

    /// Up to a dozen, by their time.
    pub(super) fn draw_all(mut self) -> Vec<Planned> {
        let count = self.dice.below(13);
        (0..count).for_each(|_| self.add());
        self.planned.sort_by_key(|planned| planned.at_ms);
        self.planned
    }

    fn add(&mut self) {
        let at_ms = 3_000 + self.dice.below(FAULTS_WITHIN_MS);
        let lasts_ms = 500 + self.dice.below(20_000);
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
        match self.dice.below(20) {
            0..=3 => self.power_cut(Node::Host(host), 60),
            4 => Fault::Restart { host },
            5 => Fault::Gone { host },
            6 | 7 => self.power_cut(Node::Bridge, 200),
            8 => {
                let device = 1 + self.dice.below(self.devices);
                self.power_cut(Node::Device(device), 100)
            }
            16 => Fault::Wiped { host },
            18 => Fault::Drops { host },
            19 => Fault::Leaves { host },
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
        if !self.may_leave(new.fault) {
            return false;
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

    /// Of many Hosts one may leave, and only one whose wish is not lost with its disk.
    fn may_leave(&self, new: Fault) -> bool {
        let mut others = self.planned.iter().map(|other| other.fault);
        match new {
            Fault::Leaves { host } => {
                let clashes =
                    |other| matches!(other, Fault::Leaves { .. }) || damaged(other) == Some(host);
                self.hosts >= HOSTS_FOR_LEAVING && !others.any(clashes)
            }
            other => {
                let host = damaged(other);
                let leaves =
                    |other| matches!(other, Fault::Leaves { host: it } if Some(it) == host);
                !others.any(leaves)
            }
        }
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
        | Fault::Drops { host }
        | Fault::Leaves { host }
        | Fault::Gone { host } => Some(host),
        _ => None,
    }
}

/// The Host that does not have all it had because of a fault.
pub(super) const fn damaged(fault: Fault) -> Option<u64> {
    match fault {
        Fault::Gone { host }
        | Fault::Wiped { host }
        | Fault::Drops { host }
        | Fault::BitFlip { host } => Some(host),
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

/// Up to four minutes, so that no two clocks are further apart than what is tolerated.
pub(super) fn skew(dice: &mut Dice) -> i64 {
    i64::try_from(dice.below(480_000)).unwrap_or(0) - 240_000
}
