//! Randomness: one generator, drawn from in a fixed order, and the distributions of the model.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng, SeedableRng};

use crate::minutes::{Minute, NEVER};

/// The simulation's only source of chance.
#[derive(Debug)]
pub(crate) struct Draw(pub(crate) ChaCha8Rng);

impl Draw {
    pub(crate) fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    /// Uniform in 0..1, never 0.
    pub(crate) fn unit(&mut self) -> f64 {
        // 53 bits, moved by half a step.
        ((self.0.next_u64() >> 11) as f64 + 0.5) / 9_007_199_254_740_992.0
    }

    pub(crate) fn chance(&mut self, of: f64) -> bool {
        self.unit() < of
    }

    /// Uniform in 0..`below`; 0 where that is empty.
    pub(crate) fn below(&mut self, below: u32) -> u32 {
        let scaled = u64::from(self.0.next_u32()) * u64::from(below);
        u32::try_from(scaled >> 32).unwrap_or(0)
    }

    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * self.unit().ln()
    }

    /// Weibull: below 1, `shape` makes a heavy tail.
    pub(crate) fn weibull(&mut self, scale: f64, shape: f64) -> f64 {
        scale * (-self.unit().ln()).powf(shape.recip())
    }

    pub(crate) fn lognormal(&mut self, median: f64, sigma: f64) -> f64 {
        median * (sigma * self.normal()).exp()
    }

    /// Pareto from `least` on, cut at `most`.
    pub(crate) fn pareto(&mut self, least: f64, alpha: f64, most: f64) -> f64 {
        (least * self.unit().powf(-alpha.recip())).min(most)
    }

    /// Standard normal (Box and Muller).
    pub(crate) fn normal(&mut self) -> f64 {
        let radius = (-2.0 * self.unit().ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// Whole minutes, at least one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to what fits"
)]
pub(crate) fn whole(minutes: f64) -> Minute {
    minutes.clamp(1.0, f64::from(NEVER / 2)) as Minute
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mean(of: impl FnMut() -> f64) -> f64 {
        let sum: f64 = std::iter::repeat_with(of).take(200_000).sum();
        sum / 200_000.0
    }

    #[test]
    fn distributions_have_their_means() {
        let mut draw = Draw::new(1);
        let near = |found: f64, expected: f64| {
            assert!((found / expected - 1.0).abs() < 0.03, "{found} {expected}");
        };
        near(mean(|| draw.unit()), 0.5);
        near(mean(|| draw.exponential(7.0)), 7.0);
        // The gamma function of 1 + 1/0.6.
        near(mean(|| draw.weibull(10.0, 0.6)), 15.05);
        near(mean(|| draw.lognormal(3.0, 1.0)), 3.0 * 0.5_f64.exp());
        near(mean(|| draw.pareto(1.0, 3.0, 1e9)), 1.5);
        near(mean(|| f64::from(draw.below(100))), 49.5);
        assert_eq!(draw.below(0), 0);
        assert_eq!((whole(0.2), whole(f64::INFINITY)), (1, NEVER / 2));
    }
}
