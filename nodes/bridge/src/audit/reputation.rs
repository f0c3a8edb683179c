//! A Host's record of audits as a beta distribution: what was seen lately counts for more. One bad
//! answer in a thousand is nothing; one in twenty-five, for long enough, and the Host is out.

use metastore::Reputation;

const MILLION: u64 = 1_000_000;
/// What a new Host starts with: a thousand passes.
const ALPHA_FIRST: u64 = 1_000 * MILLION;
/// What is kept of the record with each further verdict, in thousandths.
const KEPT_THOUSANDTHS: u64 = 999;
/// Below this a Host gets no more shards and those it has move away; in millionths.
const SCORE_MIN_PPM: u64 = 960_000;

/// What an audit came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The shard is there.
    Passed,
    /// It is not, by the Host's own word.
    Failed,
}

/// The record of a Host that has none yet.
#[must_use]
pub const fn first() -> Reputation {
    Reputation {
        alpha_millionths: ALPHA_FIRST,
        beta_millionths: 0,
        audits_passed: 0,
    }
}

/// The record after one more verdict.
#[must_use]
pub fn after(record: Reputation, verdict: Verdict) -> Reputation {
    let record = if record.alpha_millionths == 0 && record.beta_millionths == 0 {
        first()
    } else {
        record
    };
    let fade = |weight: u64| weight / 1_000 * KEPT_THOUSANDTHS;
    let passed = u64::from(verdict == Verdict::Passed);
    Reputation {
        alpha_millionths: fade(record.alpha_millionths) + passed * MILLION,
        beta_millionths: fade(record.beta_millionths) + (1 - passed) * MILLION,
        audits_passed: record.audits_passed.saturating_add(passed),
    }
}

/// Weight of good verdicts among all, in millionths; a Host without any is believed to be good.
#[must_use]
pub fn score_ppm(record: Reputation) -> u32 {
    let all = record
        .alpha_millionths
        .saturating_add(record.beta_millionths);
    let score = record
        .alpha_millionths
        .saturating_mul(1_000)
        .checked_div(all / 1_000)
        .unwrap_or(MILLION);
    u32::try_from(score.min(MILLION)).unwrap_or(0)
}

/// Whether the record is so bad that the Host is out.
#[must_use]
pub fn is_out(record: Reputation) -> bool {
    u64::from(score_ppm(record)) < SCORE_MIN_PPM
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(verdicts: impl Iterator<Item = Verdict>) -> Reputation {
        verdicts.fold(Reputation::default(), after)
    }

    #[test]
    fn a_good_host_stays_in_and_a_single_failure_is_forgiven() {
        assert_eq!(score_ppm(Reputation::default()), 1_000_000);
        let good = run((0..10_000).map(|_| Verdict::Passed));
        assert_eq!((score_ppm(good), good.audits_passed), (1_000_000, 10_000));
        let once = after(good, Verdict::Failed);
        assert!(!is_out(once) && score_ppm(once) < 1_000_000);
    }

    #[test]
    fn who_fails_often_enough_is_out() {
        let fails = |one_in: u32, of: u32| {
            let verdict = |i| {
                if i % one_in == 0 {
                    Verdict::Failed
                } else {
                    Verdict::Passed
                }
            };
            is_out(run((0..of).map(verdict)))
        };
        assert!(!fails(100, 20_000), "one in a hundred stays");
        assert!(fails(20, 20_000), "one in twenty does not");
        let all = (0..).position(|count| is_out(run((0..count).map(|_| Verdict::Failed))));
        assert_eq!(all, Some(41));
    }
}
