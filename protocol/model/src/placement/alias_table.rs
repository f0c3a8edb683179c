//! Weighted random choice in constant time: the alias method of Walker, built as by Vose.

use std::ops::Range;

use rand_core::Rng;

/// Consecutive Hosts of one weight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peers {
    pub(super) first: u32,
    pub(super) count: u32,
    /// Of each, positive and finite.
    pub(super) weight: f32,
}

/// Hosts drawn in proportion to their weights: first their peers, then one of these. There are
/// few different weights, so the table stays in cache and a draw waits for no memory.
#[derive(Clone, Debug, Default)]
pub(super) struct AliasTable {
    columns: Vec<Column>,
    members: Range<u32>,
    weight: f64,
}

/// One draw falls on a column: mostly on its own peers, else on others.
#[derive(Clone, Copy, Debug)]
struct Column {
    /// The draw is of the column's own peers below this, in parts of 2^32.
    own_below: u32,
    other: Span,
    own: Span,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    first: u32,
    count: u32,
}

impl AliasTable {
    /// Of these Hosts, each peers next to the ones before.
    pub(super) fn new(peers: &[Peers]) -> Self {
        let total = |peers: &Peers| f64::from(peers.count) * f64::from(peers.weight);
        let weight: f64 = peers.iter().map(total).sum();
        let scale = peers.len() as f64 / weight;
        let mut shares: Vec<f64> = peers.iter().map(|peers| total(peers) * scale).collect();
        // What rounding leaves over keeps its column whole: there own and other are one.
        let mut columns: Vec<Column> = peers.iter().map(Column::whole).collect();
        let (mut poor, mut rich): (Vec<usize>, Vec<usize>) =
            (0..shares.len()).partition(|at| shares[*at] < 1.0);
        // Each poor column is filled up by one rich one, which may become poor by that.
        while let (Some(to), Some(from)) = (poor.pop(), rich.last().copied()) {
            columns[to].own_below = parts(shares[to]);
            columns[to].other = columns[from].own;
            shares[from] -= 1.0 - shares[to];
            if shares[from] < 1.0 {
                rich.pop();
                poor.push(from);
            }
        }
        let (first, last) = (peers.first(), peers.last());
        Self {
            columns,
            members: first.map_or(0, |peers| peers.first)
                ..last.map_or(0, |peers| peers.first + peers.count),
            weight,
        }
    }

    /// Draws a member, or `None` from an empty table.
    pub(super) fn draw(&self, rng: &mut (impl Rng + ?Sized)) -> Option<u32> {
        let random = rng.next_u64();
        let (high, low) = (random >> 32, random & u64::from(u32::MAX));
        let column = self.columns.get(scaled(high, self.columns.len() as u64))?;
        // Chosen without a branch: nobody could predict it.
        let own = low < u64::from(column.own_below);
        let Span { first, count } = [column.other, column.own][usize::from(own)];
        let at = scaled(u64::from(rng.next_u32()), u64::from(count));
        first.checked_add(u32::try_from(at).ok()?)
    }

    /// All members.
    pub(super) fn members(&self) -> Range<u32> {
        self.members.clone()
    }

    /// The sum of all weights.
    pub(super) const fn weight(&self) -> f64 {
        self.weight
    }
}

impl Column {
    const fn whole(peers: &Peers) -> Self {
        let own = Span {
            first: peers.first,
            count: peers.count,
        };
        Self {
            own_below: 0,
            other: own,
            own,
        }
    }
}

/// A random number of 32 bits, brought down to one below `bound`, which has 32 bits as well.
const fn scaled(random: u64, bound: u64) -> usize {
    ((random * bound) >> 32) as usize
}

/// A share in 0..1 as parts of 2^32.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "float casts saturate, and rounding leaves shares within 0..1 but for the last bits"
)]
fn parts(share: f64) -> u32 {
    (share * 4_294_967_296.0) as u32
}

#[cfg(test)]
mod tests {
    use rand_chacha::ChaCha8Rng;
    use rand_core::SeedableRng;

    use super::*;

    #[test]
    fn members_are_drawn_by_weight() {
        let weights = [
            (1.0, 1),
            (0.5, 3),
            (7.0, 1),
            (0.001, 2),
            (3.0, 4),
            (100.0, 1),
            (0.25, 1),
        ];
        let (mut first, mut peers, mut by_member) = (10, Vec::new(), Vec::new());
        for (weight, count) in weights {
            peers.push(Peers {
                first,
                count,
                weight,
            });
            first += count;
            by_member.extend((0..count).map(|_| f64::from(weight)));
        }
        let table = AliasTable::new(&peers);
        assert_eq!(table.members(), 10..23);
        let (mut rng, draws) = (ChaCha8Rng::seed_from_u64(7), 1_000_000);
        let mut counts = [0_u32; 13];
        for _ in 0..draws {
            counts[table.draw(&mut rng).unwrap() as usize - 10] += 1;
        }
        for (weight, count) in by_member.into_iter().zip(counts) {
            let expected = f64::from(draws) * weight / table.weight();
            let deviation = (f64::from(count) - expected).abs();
            assert!(
                deviation < 5.0 * expected.sqrt() + 1.0,
                "{count} draws of {expected}"
            );
        }
    }

    #[test]
    fn an_empty_table_draws_nothing() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        assert_eq!(AliasTable::new(&[]).draw(&mut rng), None);
        let alone = Peers {
            first: 3,
            count: 1,
            weight: 0.1,
        };
        assert_eq!(AliasTable::new(&[alone]).draw(&mut rng), Some(3));
    }
}
