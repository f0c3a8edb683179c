//! What a count of losses says about their rate: the exact interval of Clopper and Pearson.

/// A chance of loss, with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// Lower end; 0 where nothing was lost.
    pub low: f64,
    /// Most likely.
    pub likely: f64,
    /// Upper end; where nothing was lost, the rule of three: 1 − 0.05^(1/trials).
    pub high: f64,
}

/// Halvings of an interval of logarithms: far beyond what a double tells apart.
const HALVINGS: u32 = 100;

/// The chance behind `losses` in `trials`. Two-sided, but with no losses one-sided.
#[must_use]
pub fn bound(losses: u64, trials: f64) -> Bound {
    if trials <= 0.0 {
        return Bound {
            low: 0.0,
            likely: 0.0,
            high: 1.0,
        };
    }
    let lost = losses as f64;
    if losses == 0 {
        return Bound {
            low: 0.0,
            likely: 0.0,
            high: 1.0 - (0.05_f64.ln() / trials).exp(),
        };
    }
    let likely = (lost / trials).min(1.0);
    // At the lower end as many or more come by a chance of 2.5 %, at the upper as many or fewer.
    let low = solve(|chance| 1.0 - at_most(losses - 1, trials, chance) >= 0.025);
    let high = if lost >= trials {
        1.0
    } else {
        solve(|chance| at_most(losses, trials, chance) <= 0.025)
    };
    Bound { low, likely, high }
}

/// −log₁₀: 0.001 is three nines.
#[must_use]
pub fn nines(chance: f64) -> f64 {
    -chance.max(1e-300).log10()
}

/// The least chance for which `holds`; it does so for all above.
fn solve(holds: impl Fn(f64) -> bool) -> f64 {
    let (mut below, mut above) = (-300.0_f64, 0.0_f64);
    for _ in 0..HALVINGS {
        let middle = f64::midpoint(below, above);
        if holds(10_f64.powf(middle)) {
            above = middle;
        } else {
            below = middle;
        }
    }
    10_f64.powf(above)
}

/// The chance of at most `most` losses in `trials`: the binomial sum, from its largest term
/// downwards, in logarithms.
fn at_most(most: u64, trials: f64, chance: f64) -> f64 {
    if chance >= 1.0 {
        return 0.0;
    }
    let (success, failure) = (chance.ln(), (-chance).ln_1p());
    let term =
        |losses: f64| ln_choose(trials, losses) + losses * success + (trials - losses) * failure;
    let mean = trials * chance;
    if most as f64 > mean + 50.0 * (mean.sqrt() + 1.0) {
        return 1.0;
    }
    let mut sum = 0.0;
    for losses in (0..=most).rev() {
        let share = term(losses as f64).exp();
        sum += share;
        // Below the mean terms only get smaller.
        if (losses as f64) < mean && share < sum * 1e-15 {
            break;
        }
    }
    sum.min(1.0)
}

fn ln_choose(of: f64, some: f64) -> f64 {
    ln_gamma(of + 1.0) - ln_gamma(some + 1.0) - ln_gamma(of - some + 1.0)
}

/// Stirling's series, after stepping up to where it is good to twelve digits.
fn ln_gamma(mut x: f64) -> f64 {
    let mut stepped = 0.0;
    while x < 15.0 {
        stepped += x.ln();
        x += 1.0;
    }
    let (inverse, square) = (x.recip(), (x * x).recip());
    let series = inverse * (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1_260.0)));
    (x - 0.5) * x.ln() - x + 0.5 * std::f64::consts::TAU.ln() + series - stepped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(losses: u64, trials: f64, low: f64, high: f64) {
        let found = bound(losses, trials);
        let near = |a: f64, b: f64| (a - b).abs() <= 2e-3 * b.abs();
        assert!(near(found.low, low) && near(found.high, high), "{found:?}");
    }

    #[test]
    fn intervals_are_those_of_the_tables() {
        // Exact binomial intervals, as printed in textbooks.
        check(1, 10.0, 0.002_529, 0.445_02);
        check(5, 10.0, 0.187_09, 0.812_91);
        check(10, 10.0, 0.691_50, 1.0);
        check(3, 1_000.0, 0.000_619, 0.008_742);
        // Like Poisson: 100 events are 81.36 to 121.63.
        check(100, 1e8, 81.364e-8, 121.627e-8);
    }

    #[test]
    fn nothing_lost_is_the_rule_of_three() {
        let found = bound(0, 1e6);
        assert!((found.high / 3e-6 - 1.0).abs() < 0.01, "{found:?}");
        assert!(found.low <= 0.0);
        assert!((nines(found.high) - 5.52).abs() < 0.01);
    }
}
