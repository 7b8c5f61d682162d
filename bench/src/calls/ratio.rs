//! Ratios of rounds that ran next to each other: their median, and how far they spread.

use std::fmt;

/// The middle of several ratios, and between which two half of them lie.
#[derive(Debug)]
pub(crate) struct Ratio {
    quartiles: [f64; 3],
}

impl Ratio {
    pub(crate) fn of(mut ratios: Vec<f64>) -> Self {
        ratios.sort_by(f64::total_cmp);
        Self {
            quartiles: [0.25, 0.5, 0.75].map(|share| quantile(&ratios, share)),
        }
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [low, middle, high] = self.quartiles;
        write!(f, "{middle:.3} ({low:.3} to {high:.3})")
    }
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
        assert_eq!(ratio.to_string(), "1.100 (1.000 to 1.200)");
        assert!((median(vec![2.0, 1.0]) - 1.5).abs() < 1e-9);
        assert!(median(Vec::new()).is_nan());
    }
}
