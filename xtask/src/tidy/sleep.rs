//! A test does not sleep: it stops time, waits for an event, or polls with a bound.

use super::source::Source;
use crate::finding::Finding;

/// Functions that poll, with a bound, what cannot tell us: file, function, what it waits for.
const POLLS: [(&str, &str, &str); 13] = [
    (
        "tests/dashboard/src/lib.rs",
        "eventually",
        "what a browser shows, and what the processes do that it shows",
    ),
    (
        "tests/servers/src/poll.rs",
        "on",
        "what the servers of registries do, such as answering and electing a leader",
    ),
    (
        "registry-consul/tests/real/keeper.rs",
        "eventually_lists",
        "what Consul knows, which spreads between its servers",
    ),
    (
        "registry-consul/tests/real/keeper.rs",
        "keeps_listing",
        "that nobody is lost while Consul's servers fail",
    ),
    (
        "framework/tests/client/support.rs",
        "eventually",
        "what a client does when nobody calls it, such as connecting ahead",
    ),
    (
        "cli/src/run/tests.rs",
        "eventually",
        "what the processes of nodes do, such as writing a file and ending",
    ),
    (
        "cli/tests/micro/running.rs",
        "eventually",
        "that processes which belong to others have ended",
    ),
    ("tests/servers/src/shim.rs", "write", "how late an answer must be"),
    (
        "tests/src/laboratory/mod.rs",
        "wait",
        "what services and registries do, such as registering and forgetting",
    ),
    (
        "tests/src/laboratory/mod.rs",
        "pass",
        "that a fault or a load has gone on for as long as it should",
    ),
    (
        "tests/src/bin/probe.rs",
        "work",
        "that a handler has worked for as long as its caller said",
    ),
    (
        "tests/tests/system/support.rs",
        "wait",
        "what processes do, such as saying something and ending",
    ),
    (
        "tests/tests/system/support.rs",
        "eventually",
        "what services do for their callers, such as joining and leaving",
    ),
];

/// Functions that let time pass, for tests that all have stopped it: file and function.
const UNDER_STOPPED_TIME: [(&str, &str); 3] = [
    ("framework/src/server/tests/overload.rs", "fill"),
    ("framework/src/service/watchdog.rs", "stall"),
    ("framework/tests/client/hops.rs", "told"),
];

pub(super) fn check(source: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for name in ["sleep", "sleep_until"] {
        for (index, token) in source.find(name) {
            let called = source.word(index + 1) == "(";
            // Under stopped time tokio's sleep takes none; the thread's always does.
            let stopped = token.around.paused && !of_the_thread(source, index);
            if called && token.around.test && !stopped && !is_listed(source, token.around.function.as_deref())
            {
                let message = "sleeps: stop time with `start_paused`, wait for an event, or poll with a bound \
                               in a function listed in xtask/src/tidy/sleep.rs";
                findings.push(Finding::at(&source.path, token.line, message));
            }
        }
    }
    findings
}

fn of_the_thread(source: &Source, index: usize) -> bool {
    index >= 3 && source.word(index - 3) == "thread"
}

fn is_listed(source: &Source, function: Option<&str>) -> bool {
    let polls = POLLS.iter().map(|(path, name, _)| (*path, *name));
    polls
        .chain(UNDER_STOPPED_TIME)
        .any(|(path, name)| path == source.path && Some(name) == function)
}

#[cfg(test)]
mod tests {
    use super::{
        super::testing::{in_library, in_test},
        *,
    };

    #[test]
    fn a_test_that_sleeps_is_found() {
        for text in [
            "#[tokio::test] async fn a() { tokio::time::sleep(B).await }",
            "#[test] fn a() { std::thread::sleep(B) }",
            "#[tokio::test(start_paused = true)] async fn a() { thread::sleep(B) }",
            "async fn a() { sleep_until(b).await }",
        ] {
            assert_eq!(in_test(check, "a/tests/b.rs", text).len(), 1, "{text}");
        }
    }

    #[test]
    fn a_listed_function_may_poll() {
        for (path, function, _) in POLLS {
            let text = format!("async fn {function}() {{ time::sleep(B).await }}");
            assert_eq!(in_test(check, path, &text).len(), 0, "{path}");
            assert_eq!(in_test(check, "a/tests/b.rs", &text).len(), 1, "{path}");
        }
    }

    #[test]
    fn stopped_time_and_code_that_waits_for_its_living_may_sleep() {
        let paused = "#[tokio::test(start_paused = true)] async fn a() { time::sleep(B).await }";
        assert_eq!(in_test(check, "a/tests/b.rs", paused).len(), 0);
        let backoff = "async fn a() { time::sleep(B).await }";
        assert_eq!(in_library(check, "a/src/b.rs", backoff).len(), 0);
    }
}
