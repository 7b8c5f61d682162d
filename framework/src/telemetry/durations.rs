//! How long the calls of one method take, by the code that they end with.

use arc_swap::ArcSwapOption;
use metrics::{Histogram, Unit};
use tokio::time::Duration;
use tonic::Code;

use super::{Metric, Telemetry};

/// What a server answers.
pub(crate) const SERVER_CALL: Metric = Metric {
    name: "rpc.server.call.duration",
    unit: Unit::Seconds,
    help: "Duration of incoming calls, to the end of the answer.",
};

/// What a client calls, with all its attempts.
pub(crate) const CLIENT_CALL: Metric = Metric {
    name: "rpc.client.call.duration",
    unit: Unit::Seconds,
    help: "Duration of outgoing calls, to the end of the answer.",
};

/// gRPC's names of its codes, in their order.
const CODE_NAMES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// gRPC's name of `code`.
pub(crate) fn code_name(code: Code) -> &'static str {
    CODE_NAMES[index(code)]
}

fn index(code: Code) -> usize {
    // Codes are 0 to 16.
    (code as i32 as usize).min(CODE_NAMES.len() - 1)
}

/// Whether a call that ended so failed by a fault of the server's, as OpenTelemetry's conventions have it.
pub(crate) fn is_fault(code: Code) -> bool {
    use Code::{DataLoss, DeadlineExceeded, Internal, Unavailable, Unimplemented, Unknown};
    matches!(
        code,
        Unknown | DeadlineExceeded | Unimplemented | Internal | Unavailable | DataLoss
    )
}

/// Whether it failed: to its caller whatever is no success is a failure.
fn is_error(metric: Metric, code: Code) -> bool {
    match metric.name == SERVER_CALL.name {
        true => is_fault(code),
        false => code != Code::Ok,
    }
}

/// The durations of one method's calls. Recording one takes no lock and formats nothing.
#[derive(Debug)]
pub(crate) struct Durations {
    telemetry: Telemetry,
    metric: Metric,
    labels: Vec<(&'static str, String)>,
    /// Made when a call first ends with the code.
    by_code: [ArcSwapOption<Histogram>; CODE_NAMES.len()],
}

impl Durations {
    /// Of the method with this full name, `greeter.Say/Hello`, with labels besides OpenTelemetry's own.
    pub(crate) fn new(
        telemetry: &Telemetry,
        metric: Metric,
        method: &str,
        labels: &[(&'static str, &str)],
    ) -> Self {
        let own = [("rpc.system.name", "grpc"), ("rpc.method", method)];
        Self {
            telemetry: telemetry.clone(),
            metric,
            labels: own
                .iter()
                .chain(labels)
                .map(|&(name, value)| (name, value.to_owned()))
                .collect(),
            by_code: [const { ArcSwapOption::const_empty() }; CODE_NAMES.len()],
        }
    }

    /// A call took this long and ended with `code`.
    pub(crate) fn record(&self, code: Code, duration: Duration) {
        let slot = &self.by_code[index(code)];
        match &*slot.load() {
            Some(histogram) => histogram.record(duration.as_secs_f64()),
            None => {
                // Two who come first get handles of the same histogram.
                let histogram = self.histogram(code);
                histogram.record(duration.as_secs_f64());
                slot.store(Some(histogram.into()));
            }
        }
    }

    fn histogram(&self, code: Code) -> Histogram {
        let mut labels: Vec<(&'static str, &str)> = self
            .labels
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        labels.push(("rpc.response.status_code", code_name(code)));
        if is_error(self.metric, code) {
            labels.push(("error.type", code_name(code)));
        }
        self.telemetry.histogram(self.metric, &labels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_the_name_that_grpc_gives_it() {
        for (number, name) in CODE_NAMES.iter().enumerate() {
            let code = Code::from_i32(i32::try_from(number).unwrap());
            assert_eq!(code_name(code), *name);
            let of_tonic = format!("{code:?}").to_uppercase();
            assert_eq!(name.replace('_', ""), of_tonic);
        }
    }

    #[test]
    fn calls_are_told_apart_by_method_and_code() {
        let telemetry = Telemetry::new();
        let hello = Durations::new(
            &telemetry,
            SERVER_CALL,
            "greeter.Say/Hello",
            &[("micro.service", "greeter")],
        );
        hello.record(Code::Ok, Duration::from_millis(20));
        hello.record(Code::Ok, Duration::from_millis(40));
        hello.record(Code::Unavailable, Duration::ZERO);
        let text = telemetry.render();
        let count = |labels: &str| {
            format!(
                "rpc_server_call_duration_seconds_count{{rpc_system_name=\"grpc\",rpc_method=\"greeter.Say/Hello\",\
                 micro_service=\"greeter\",rpc_response_status_code={labels}}}"
            )
        };
        assert!(text.contains(&format!("{} 2", count("\"OK\""))), "{text}");
        let unavailable = count("\"UNAVAILABLE\",error_type=\"UNAVAILABLE\"");
        assert!(text.contains(&format!("{unavailable} 1")), "{text}");
        assert!(!text.contains("INTERNAL"), "what never happened is no series");
    }

    #[test]
    fn what_is_no_fault_of_a_server_s_is_an_error_to_its_caller_alone() {
        for (metric, errors) in [(SERVER_CALL, 6), (CLIENT_CALL, 16)] {
            let is_error = |number: &i32| is_error(metric, Code::from_i32(*number));
            assert_eq!((0..17).filter(is_error).count(), errors, "{}", metric.name);
        }
        assert!(!is_error(SERVER_CALL, Code::Cancelled) && is_error(CLIENT_CALL, Code::Cancelled));
    }
}
