//! What the load showed, for people and as JSON.

use std::time::Duration;

use serde_json::{Value, json};

use super::load::Load;
use crate::output::table;

const QUANTILES: [(&str, f64); 5] = [
    ("p50", 0.5),
    ("p90", 0.9),
    ("p99", 0.99),
    ("p99.9", 0.999),
    ("max", 1.0),
];
/// The longest bar of the histogram, in characters.
const BAR_MAX: u64 = 40;

#[derive(Debug)]
pub(super) struct Report {
    load: Load,
}

impl Report {
    pub(super) fn of(load: Load) -> Self {
        Self { load }
    }

    /// How many calls ended.
    pub(super) fn calls(&self) -> u64 {
        self.load.latencies.len() + self.failed()
    }

    pub(super) fn failed(&self) -> u64 {
        self.load.failures.values().map(|(count, _)| count).sum()
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let seconds = self.load.took.as_secs_f64();
        let mut lines = vec![format!(
            "{} calls in {seconds:.1} s, {:.1} a second; {} failed",
            self.calls(),
            self.rate(),
            self.failed()
        )];
        if self.load.left_out > 0 {
            lines.push(format!(
                "{} calls were not begun: too many waited for their answers",
                self.load.left_out
            ));
        }
        if !self.load.latencies.is_empty() {
            let times = QUANTILES.map(|(name, quantile)| format!("{name} {}", shown(self.time(quantile))));
            lines.extend(["".to_owned(), times.join("   "), "".to_owned()]);
            lines.extend(self.histogram());
        }
        if !self.load.nodes.is_empty() {
            let counted = |(node, count): (&String, &u64)| vec![node.clone(), count.to_string()];
            let rows: Vec<_> = self.load.nodes.iter().map(counted).collect();
            lines.push("".to_owned());
            lines.extend(table(
                &[vec![vec!["NODE".to_owned(), "CALLS".to_owned()]], rows].concat(),
            ));
        }
        for (code, (count, first)) in &self.load.failures {
            lines.push(format!("\n{count} \u{d7} {code}, the first: {first}"));
        }
        lines
    }

    /// A bar for each doubling of the time.
    fn histogram(&self) -> Vec<String> {
        let mut bars: Vec<(u64, u64)> = Vec::new();
        for step in self.load.latencies.iter_log(1, 2.0) {
            let count = step.count_since_last_iteration();
            if count > 0 || !bars.is_empty() {
                bars.push((step.value_iterated_to() + 1, count));
            }
        }
        let most = bars.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
        let rows: Vec<_> = bars
            .iter()
            .map(|(below, count)| {
                // Whoever is there has a bar.
                let length = (count * BAR_MAX).div_ceil(most);
                let bar: String = (0..length).map(|_| '\u{2588}').collect();
                let below = format!("< {}", shown(Duration::from_micros(*below)));
                vec![below, format!("{bar} {count}")]
            })
            .collect();
        table(&rows)
    }

    pub(super) fn to_json(&self) -> Value {
        let times: serde_json::Map<_, _> = QUANTILES
            .into_iter()
            .map(|(name, quantile)| (name.to_owned(), self.time(quantile).as_secs_f64().into()))
            .collect();
        let failures: serde_json::Map<_, _> = self
            .load
            .failures
            .iter()
            .map(|(code, (count, first))| ((*code).to_owned(), json!({ "calls": count, "first": first })))
            .collect();
        json!({
            "calls": self.calls(),
            "failed": self.failed(),
            "leftOut": self.load.left_out,
            "seconds": self.load.took.as_secs_f64(),
            "callsPerSecond": self.rate(),
            "latencySeconds": times,
            "nodes": self.load.nodes,
            "failures": failures,
        })
    }

    #[expect(clippy::cast_precision_loss, reason = "no load makes 2^52 calls")]
    fn rate(&self) -> f64 {
        self.calls() as f64 / self.load.took.as_secs_f64().max(f64::EPSILON)
    }

    fn time(&self, quantile: f64) -> Duration {
        Duration::from_micros(self.load.latencies.value_at_quantile(quantile))
    }
}

/// Three digits and a unit.
fn shown(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    let (value, unit) = match micros {
        micros if micros < 1e3 => return format!("{micros:.0} \u{b5}s"),
        micros if micros < 1e6 => (micros / 1e3, "ms"),
        micros => (micros / 1e6, "s"),
    };
    match value {
        value if value < 10.0 => format!("{value:.2} {unit}"),
        value if value < 100.0 => format!("{value:.1} {unit}"),
        value => format!("{value:.0} {unit}"),
    }
}

#[cfg(test)]
mod tests {
    use hdrhistogram::Histogram;

    use super::*;

    fn report(micros: &[u64]) -> Report {
        let mut latencies = Histogram::new(3).unwrap();
        micros
            .iter()
            .for_each(|micros| latencies.record(*micros).unwrap());
        let nodes = [("shop-1".to_owned(), latencies.len())];
        Report::of(Load {
            took: Duration::from_secs(2),
            latencies,
            nodes: nodes.into(),
            failures: [("UNAVAILABLE", (1, "away".to_owned()))].into(),
            left_out: 3,
        })
    }

    #[test]
    fn the_report_has_times_a_histogram_nodes_and_failures() {
        let lines = report(&[300, 400, 450, 1_500]).lines().join("\n");
        assert_eq!(
            lines,
            "\
5 calls in 2.0 s, 2.5 a second; 1 failed
3 calls were not begun: too many waited for their answers

p50 400 \u{b5}s   p90 1.50 ms   p99 1.50 ms   p99.9 1.50 ms   max 1.50 ms

< 512 \u{b5}s   \u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588} 3
< 1.02 ms   0
< 2.05 ms  \u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588}\u{2588} 1

NODE    CALLS
shop-1  4

1 \u{d7} UNAVAILABLE, the first: away"
        );
    }

    #[test]
    fn the_same_is_in_the_json() {
        let json = report(&[1_000, 1_000]).to_json();
        assert_eq!(
            (&json["calls"], &json["failed"], &json["leftOut"]),
            (&json!(3), &json!(1), &json!(3))
        );
        assert_eq!(json["nodes"]["shop-1"], 2);
        assert_eq!(json["latencySeconds"]["p50"], 0.001);
        assert_eq!(json["failures"]["UNAVAILABLE"]["first"], "away");
    }

    #[test]
    fn times_have_three_digits_and_a_unit() {
        for (micros, words) in [
            (7, "7 \u{b5}s"),
            (1_234, "1.23 ms"),
            (45_678, "45.7 ms"),
            (999_000, "999 ms"),
            (2_000_000, "2.00 s"),
        ] {
            assert_eq!(shown(Duration::from_micros(micros)), words);
        }
    }
}
