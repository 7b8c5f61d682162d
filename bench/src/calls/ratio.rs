//! Ratios of rounds that ran next to each other: their median, and how far they spread.

use std::fmt;

/// The middle of several ratios, how sure it is, and between which two half of them lie.
#[derive(Debug)]
pub(crate) struct Ratio {
    quartiles: [f64; 3],
    /// Between which two the middle of all rounds that could be run lies, 95 times in 100.
    sure: [f64; 2],
}

impl Ratio {
    pub(crate) fn of(mut ratios: Vec<f64>) -> Self {
        ratios.sort_by(f64::total_cmp);
        Self {
            quartiles: [0.25, 0.5, 0.75].map(|share| quantile(&ratios, share)),
            sure: sure(&ratios),
        }
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [low, middle, high] = self.quartiles;
        let [from, to] = self.sure;
        write!(f, "{middle:.3} [{from:.3} to {to:.3}] ({low:.3} to {high:.3})")
    }
}

/// The interval of a median that the sign test gives, which asks nothing of how the values are distributed: each lies below the
/// median as often as above it, so how many do is binomial with one half. Up to 1,000 values; too few of them give the lowest and
/// the highest.
fn sure(sorted: &[f64]) -> [f64; 2] {
    let count = sorted.len();
    if count == 0 {
        return [f64::NAN; 2];
    }
    let (mut odds, mut below, mut rank) = (0.5_f64.powf(count as f64), 0.0, 0);
    // `odds` is that of exactly `rank` values below the median.
    while below + odds <= 0.025 && 2 * rank < count {
        below += odds;
        odds *= (count - rank) as f64 / (rank + 1) as f64;
        rank += 1;
    }
    let first = rank.saturating_sub(1);
    [sorted[first], sorted[count - 1 - first]]
}

/// The middle value; not a number when there is none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    quantile(&values, 0.5)
}

/// The value below which `share` of the sorted `values` lie, between two of them in proportion.
fn quantile(values: &[f64], share: f64) -> f64 {
    let Some(last) = values.len().checked_sub(1) else {
        return f64::NAN;
    };
    let place = share * last as f64;
    let below = values[place.floor() as usize];
    let above = values[(place.ceil() as usize).min(last)];
    below + (above - below) * place.fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_ratios_lie_between_the_quartiles() {
        let ratio = Ratio::of(vec![1.3, 0.9, 1.0, 1.1, 1.2]);
        assert_eq!(ratio.to_string(), "1.100 [0.900 to 1.300] (1.000 to 1.200)");
        assert!((median(vec![2.0, 1.0]) - 1.5).abs() < 1e-9);
        assert!(median(Vec::new()).is_nan());
    }

    /// The ranks of tables of the sign test for two sides and 5 in 100.
    #[test]
    fn the_interval_of_a_median_is_that_of_the_sign_test() {
        for (count, rank) in [
            (1, 1),
            (5, 1),
            (6, 1),
            (9, 2),
            (12, 3),
            (20, 6),
            (25, 8),
            (100, 40),
        ] {
            let values: Vec<f64> = (1..=count).map(f64::from).collect();
            assert_eq!(
                sure(&values),
                [f64::from(rank), f64::from(count + 1 - rank)],
                "{count}"
            );
        }
    }
}
