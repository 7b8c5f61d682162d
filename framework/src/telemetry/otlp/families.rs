//! What `/metrics` tells, as OTLP tells it: the names of OpenTelemetry again, and points of counters, gauges and histograms.

use std::collections::BTreeMap;

use metrics::Unit;
use opentelemetry_proto::tonic::{
    common::v1::{AnyValue, KeyValue, any_value},
    metrics::v1::{
        AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
        metric::Data, number_data_point,
    },
};

use crate::telemetry::{Names, Telemetry};

/// Everything that `telemetry` has recorded, between two times in nanoseconds since 1970.
pub(super) fn read(telemetry: &Telemetry, since: u64, now: u64) -> Vec<Metric> {
    let text = telemetry.render();
    let names = telemetry.names();
    let mut families = Vec::new();
    for line in text.lines() {
        if let Some(line) = line.strip_prefix("# TYPE ") {
            let (name, kind) = line.split_once(' ').unwrap_or((line, ""));
            families.push(Family {
                name,
                kind,
                samples: Vec::new(),
            });
        } else if let (Some(sample), Some(family)) = (Sample::read(line), families.last_mut()) {
            family.samples.push(sample);
        }
    }
    let metrics = families.into_iter();
    metrics
        .filter_map(|family| family.metric(&names, since, now))
        .collect()
}

/// The lines below one `# TYPE`.
struct Family<'t> {
    name: &'t str,
    kind: &'t str,
    samples: Vec<Sample<'t>>,
}

/// One line: `name{label="value"} 1`.
struct Sample<'t> {
    name: &'t str,
    labels: Vec<(&'t str, String)>,
    value: f64,
}

impl<'t> Sample<'t> {
    /// `None` for a comment, and for an empty line.
    fn read(line: &'t str) -> Option<Self> {
        if line.starts_with('#') {
            return None;
        }
        let (series, value) = line.rsplit_once(' ')?;
        let (name, mut labels) = series.split_once('{').unwrap_or((series, ""));
        let mut read = Vec::new();
        while let Some((name, rest)) = labels.split_once("=\"") {
            let (value, rest) = quoted(rest);
            read.push((name, value));
            labels = rest.strip_prefix(',').unwrap_or(rest);
        }
        Some(Self {
            name,
            labels: read,
            value: value.parse().ok()?,
        })
    }

    fn attributes(&self, names: &Names) -> Vec<KeyValue> {
        let labels = self.labels.iter().filter(|(name, _)| *name != BOUND);
        let attribute = |(name, value): &(&str, String)| KeyValue {
            key: names.label(name).to_owned(),
            value: Some(AnyValue {
                value: Some(any_value::Value::StringValue(value.clone())),
            }),
            ..KeyValue::default()
        };
        labels.map(attribute).collect()
    }
}

/// The label that has a bucket's upper end.
const BOUND: &str = "le";

/// What stands before the closing quote, without its escapes, and what stands after it.
fn quoted(text: &str) -> (String, &str) {
    let (mut value, mut rest) = (String::new(), text.chars());
    while let Some(next) = rest.next() {
        match next {
            '"' => break,
            '\\' => match rest.next() {
                Some('n') => value.push('\n'),
                Some(escaped) => value.push(escaped),
                None => break,
            },
            next => value.push(next),
        }
    }
    (value, rest.as_str())
}

impl Family<'_> {
    fn metric(&self, names: &Names, since: u64, now: u64) -> Option<Metric> {
        let known = names.metric(self.name)?;
        let point = |sample: &Sample<'_>| NumberDataPoint {
            attributes: sample.attributes(names),
            start_time_unix_nano: since,
            time_unix_nano: now,
            value: Some(number_data_point::Value::AsDouble(sample.value)),
            ..NumberDataPoint::default()
        };
        let data = match self.kind {
            "counter" => Data::Sum(Sum {
                data_points: self.samples.iter().map(point).collect(),
                aggregation_temporality: AggregationTemporality::Cumulative.into(),
                is_monotonic: true,
            }),
            "gauge" => Data::Gauge(Gauge {
                data_points: self.samples.iter().map(point).collect(),
            }),
            "histogram" => Data::Histogram(Histogram {
                data_points: self.histograms(names, since, now),
                aggregation_temporality: AggregationTemporality::Cumulative.into(),
            }),
            // All that the framework records is one of those.
            _ => return None,
        };
        Some(Metric {
            name: known.name.to_owned(),
            description: known.help.to_owned(),
            unit: unit(known.unit).to_owned(),
            data: Some(data),
            ..Metric::default()
        })
    }

    /// One point of each set of labels, whose lines stand together: buckets that count those below as well, a sum, a count.
    fn histograms(&self, names: &Names, since: u64, now: u64) -> Vec<HistogramDataPoint> {
        let mut points = BTreeMap::<Vec<(&str, String)>, HistogramDataPoint>::new();
        for sample in &self.samples {
            let is_bound = |(name, _): &&(&str, String)| *name == BOUND;
            let (bound, labels): (Vec<_>, Vec<_>) = sample.labels.iter().partition(is_bound);
            let labels = labels.into_iter().cloned().collect();
            let point = points.entry(labels).or_insert_with(|| HistogramDataPoint {
                attributes: sample.attributes(names),
                start_time_unix_nano: since,
                time_unix_nano: now,
                ..HistogramDataPoint::default()
            });
            match (sample.name.strip_prefix(self.name), bound.first()) {
                (Some("_bucket"), Some((_, bound))) => {
                    let below: u64 = point.bucket_counts.iter().sum();
                    point
                        .bucket_counts
                        .push((sample.value as u64).saturating_sub(below));
                    // The last bucket has no end.
                    point
                        .explicit_bounds
                        .extend(bound.parse().ok().filter(|bound: &f64| bound.is_finite()));
                }
                (Some("_sum"), _) => point.sum = Some(sample.value),
                (Some("_count"), _) => point.count = sample.value as u64,
                _ => {}
            }
        }
        points.into_values().collect()
    }
}

/// As the Unified Code for Units of Measure has them, which OpenTelemetry uses.
fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Seconds => "s",
        Unit::Milliseconds => "ms",
        Unit::Bytes => "By",
        _ => "1",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry;

    const REFUSED: telemetry::Metric = telemetry::Metric {
        name: "micro.test.refused",
        unit: Unit::Count,
        help: "What a test refused.",
    };
    const OPEN: telemetry::Metric = telemetry::Metric {
        name: "micro.test.refused.open",
        unit: Unit::Bytes,
        help: "What a test has open.",
    };
    const TOOK: telemetry::Metric = telemetry::Metric {
        name: "micro.test.duration",
        unit: Unit::Seconds,
        help: "How long a test took.",
    };

    fn recorded() -> Telemetry {
        let telemetry = Telemetry::new();
        let odd = "a \"b\"\\,\n{c}=";
        telemetry
            .counter(REFUSED, &[("micro.reason", odd), ("rpc_like", "x")])
            .increment(2);
        telemetry.gauge(OPEN, &[]).set(3.5);
        for (zone, seconds) in [("a", 0.02), ("a", 0.3), ("a", 60.0), ("b", 0.0001)] {
            telemetry.histogram(TOOK, &[("micro.zone", zone)]).record(seconds);
        }
        telemetry
    }

    fn labels(attributes: &[KeyValue]) -> Vec<(&str, &str)> {
        attributes
            .iter()
            .map(
                |attribute| match attribute.value.as_ref().and_then(|value| value.value.as_ref()) {
                    Some(any_value::Value::StringValue(value)) => (attribute.key.as_str(), value.as_str()),
                    other => panic!("{}: {other:?}", attribute.key),
                },
            )
            .collect()
    }

    #[test]
    fn counters_and_gauges_have_the_names_units_and_labels_they_were_given() {
        let metrics = read(&recorded(), 7, 9);
        let named = |name: &str| metrics.iter().find(|metric| metric.name == name).unwrap();
        let (refused, open) = (named(REFUSED.name), named(OPEN.name));
        assert_eq!(
            [&refused.description, &refused.unit, &open.unit],
            [REFUSED.help, "1", "By"]
        );
        let Some(Data::Sum(sum)) = &refused.data else {
            panic!("{refused:?}");
        };
        assert!(sum.is_monotonic && sum.aggregation_temporality() == AggregationTemporality::Cumulative);
        let [point] = &sum.data_points[..] else {
            panic!("{sum:?}");
        };
        assert_eq!(point.value, Some(number_data_point::Value::AsDouble(2.0)));
        assert_eq!([point.start_time_unix_nano, point.time_unix_nano], [7, 9]);
        let expected = [("micro.reason", "a \"b\"\\,\n{c}="), ("rpc_like", "x")];
        assert_eq!(labels(&point.attributes), expected);
        let Some(Data::Gauge(gauge)) = &open.data else {
            panic!("{open:?}");
        };
        assert_eq!(
            gauge.data_points[0].value,
            Some(number_data_point::Value::AsDouble(3.5))
        );
        assert_eq!(metrics.len(), 3, "{metrics:?}");
    }

    #[test]
    fn a_bucket_counts_what_is_in_it_alone_and_the_last_one_has_no_end() {
        let metrics = read(&recorded(), 7, 9);
        let took = metrics.iter().find(|metric| metric.name == TOOK.name).unwrap();
        assert_eq!(took.unit, "s");
        let Some(Data::Histogram(histogram)) = &took.data else {
            panic!("{took:?}");
        };
        let [a, b] = &histogram.data_points[..] else {
            panic!("{histogram:?}");
        };
        assert_eq!(labels(&a.attributes), [("micro.zone", "a")]);
        assert_eq!(a.explicit_bounds, telemetry::DURATION_BUCKETS);
        assert_eq!(a.bucket_counts.len(), a.explicit_bounds.len() + 1);
        let filled = |point: &HistogramDataPoint| -> Vec<(usize, u64)> {
            let counts = point.bucket_counts.iter().copied().enumerate();
            counts.filter(|(_, count)| *count > 0).collect()
        };
        let last = a.explicit_bounds.len();
        assert_eq!(filled(a), [(4, 1), (9, 1), (last, 1)]);
        assert_eq!((a.count, b.count), (3, 1));
        assert!((a.sum.unwrap() - 60.32).abs() < 1e-9, "{a:?}");
        assert_eq!(filled(b), [(0, 1)]);
    }

    #[test]
    fn what_is_no_sample_is_none() {
        for line in ["", "# HELP a b", "# UNIT", "a", "a{", "a b"] {
            assert!(Sample::read(line).is_none(), "{line:?}");
        }
        let sample = Sample::read("a{b=\"c").map(|sample| sample.labels);
        assert!(sample.is_none(), "no value");
    }
}
