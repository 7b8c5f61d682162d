//! The names that metrics and labels were given, which `/metrics` tells with `_` for `.`, and a unit behind.

use std::collections::BTreeSet;

use super::{Labels, Metric};

/// Everything that was asked for so far: a small set, as all names stand in the code.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names {
    metrics: Vec<Metric>,
    labels: BTreeSet<&'static str>,
}

impl Names {
    pub(super) fn add(&mut self, metric: Metric, labels: Labels<'_>) {
        if self.metrics.iter().all(|known| known.name != metric.name) {
            self.metrics.push(metric);
        }
        self.labels.extend(labels.iter().map(|(name, _)| *name));
    }

    /// The metric that Prometheus' text has as `family`.
    pub(crate) fn metric(&self, family: &str) -> Option<Metric> {
        let is_told_so = |metric: &&Metric| {
            let unit = format!("_{}", metric.unit.as_str());
            family.strip_prefix(&told(metric.name)).is_some_and(|rest| {
                let rest = rest.strip_suffix("_total").unwrap_or(rest);
                rest.is_empty() || rest == unit
            })
        };
        self.metrics.iter().find(is_told_so).copied()
    }

    /// The label that Prometheus' text has as `label`; that itself, if nobody gave such a one.
    pub(crate) fn label<'l>(&self, label: &'l str) -> &'l str {
        let given = self.labels.iter().find(|given| told(given) == label);
        given.copied().unwrap_or(label)
    }
}

fn told(name: &str) -> String {
    name.replace('.', "_")
}
