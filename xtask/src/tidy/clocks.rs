//! The wall clock is read where it cannot be helped: somebody may set it, and what is timed by it jumps along.

use super::source::Source;
use crate::finding::Finding;

const WALL_CLOCK: &str = "SystemTime";

/// Where a library may read it, and what for.
const MAY_READ: [(&str, &str); 3] = [
    (
        "framework/src/service/pulse.rs",
        "finds out that the host was suspended, when the monotonic clock stands still; a clock that was set costs a renewal",
    ),
    (
        "framework/src/telemetry/otlp/metrics.rs",
        "says when a metric was read, as OTLP asks for, and times nothing by it",
    ),
    (
        "registry-mdns/src/announcer.rs",
        "tells the newer of two announcements of one id, which come from two processes",
    ),
];

pub(super) fn check(source: &Source) -> Vec<Finding> {
    if !source.library || MAY_READ.iter().any(|(path, _)| source.path == *path) {
        return Vec::new();
    }
    let outside = source.find(WALL_CLOCK).filter(|(_, token)| !token.around.test);
    outside
        .map(|(_, token)| {
            let message = "reads the wall clock, which somebody may set: use `Instant`";
            Finding::at(&source.path, token.line, message)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{in_library, in_program},
        *,
    };

    #[test]
    fn a_library_that_reads_the_wall_clock_is_found() {
        for text in [
            "fn a() { std::time::SystemTime::now() }",
            "use std::time::{Duration, SystemTime};",
        ] {
            assert_eq!(in_library(check, "framework/src/a.rs", text).len(), 1, "{text}");
            for (path, _) in MAY_READ {
                assert_eq!(in_library(check, path, text).len(), 0, "{path}: {text}");
            }
            assert_eq!(in_program(check, "bench/src/a.rs", text).len(), 0, "{text}");
        }
        let text = "#[cfg(test)] mod tests { use std::time::SystemTime; }";
        assert_eq!(in_library(check, "framework/src/a.rs", text).len(), 0);
    }
}
