//! What must hold for every seed, held against what was written down.

use std::{collections::BTreeMap, time::Duration};

use tonic::Code;

use crate::{
    plan::{LAST, MayFail, Plan},
    run::TICK,
    world::{CallRecord, Records, World},
};

/// How much later than its deadline a call may end: clocks move on by ticks, and an answer waits for the next one.
const SLACK: Duration = TICK.saturating_mul(2);
/// What calls end with when nodes fail; anything else is a fault of ours.
const CODES: [Code; 3] = [Code::Ok, Code::Unavailable, Code::DeadlineExceeded];
/// With which words a failure begins that says that the call certainly did not run.
const NOT_RUN: &str = "no node of `";

/// All that does not hold.
pub(crate) fn violations(plan: &Plan, world: &World, records: &Records) -> Vec<String> {
    let mut violations = records.complaints.clone();
    let mut executions: BTreeMap<u64, usize> = BTreeMap::new();
    for execution in &records.executions {
        *executions.entry(execution.call).or_default() += 1;
    }
    for call in &records.calls {
        let times = executions.get(&call.id).copied().unwrap_or_default();
        violations.extend(of_call(plan, call, times).map(|what| format!("call {}: {what}", call.id)));
    }
    if violations.is_empty() {
        violations.extend(unused(plan, world, records));
    }
    violations.extend(called_after_leaving(plan, world, records));
    violations
}

fn of_call(plan: &Plan, call: &CallRecord, executions: usize) -> Option<String> {
    let Some(end) = &call.end else {
        return Some("has not ended".to_owned());
    };
    if !call.idempotent && executions > 1 {
        return Some(format!("is not idempotent and ran {executions} times"));
    }
    if end.at > call.deadline + SLACK {
        return Some(format!("ended {:?} after its deadline", end.at - call.deadline));
    }
    if !CODES.contains(&end.code) {
        return Some(format!("ended with {:?}: {}", end.code, end.said));
    }
    if end.code == Code::Ok && executions == 0 {
        return Some("was answered and never ran".to_owned());
    }
    if end.said.starts_with(NOT_RUN) && executions > 0 {
        return Some(format!("ran, although: {}", end.said));
    }
    let may_fail = match plan.may_fail {
        MayFail::None => false,
        MayFail::NotIdempotent => !call.idempotent,
        MayFail::Any => true,
    };
    (call.failed() && !may_fail).then(|| format!("failed: {:?} {}", end.code, end.said))
}

/// The servers that a client does not call at the end, long after the last fault.
fn unused(plan: &Plan, world: &World, records: &Records) -> Vec<String> {
    let since = plan.load_until() - LAST;
    let mut unused = Vec::new();
    for server in 0..plan.servers {
        let Some(process) = world.process(server) else {
            continue;
        };
        for client in 0..plan.clients {
            let of_client = |id: u64| usize::try_from(id).is_ok_and(|id| records.calls[id].client == client);
            let mut late = records
                .executions
                .iter()
                .filter(|execution| execution.at >= since);
            if !late.any(|execution| execution.node == process.node && of_client(execution.call)) {
                unused.push(format!("client {client} does not call {} again", process.node));
            }
        }
    }
    unused
}

/// The calls that reach a node which left long ago.
fn called_after_leaving(plan: &Plan, world: &World, records: &Records) -> Vec<String> {
    let Some(bound) = plan.left_within else {
        return Vec::new();
    };
    let late = records.executions.iter().filter_map(|execution| {
        let left = world.directory.withdrawn(&execution.node)?;
        let after = execution.at.checked_sub(left + bound)?;
        let (call, node) = (execution.call, &execution.node);
        Some(format!(
            "call {call} ran on {node} {:?} after it had left",
            after + bound
        ))
    });
    late.collect()
}

impl CallRecord {
    /// Whether it ended with anything but an answer.
    pub(crate) fn failed(&self) -> bool {
        self.end.as_ref().is_none_or(|end| end.code != Code::Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::{End, Execution};

    /// A call that was made at the beginning, with a second's deadline, and what became of it.
    fn call(idempotent: bool, end_ms: u64, code: Code, said: &str) -> CallRecord {
        let end = End {
            at: Duration::from_millis(end_ms),
            code,
            said: said.to_owned(),
        };
        CallRecord {
            id: 0,
            client: 0,
            idempotent,
            deadline: Duration::from_secs(1),
            end: Some(end),
        }
    }

    /// What is found in a world of one call that ran so often.
    fn found(may_fail: MayFail, call: CallRecord, executions: usize) -> Vec<String> {
        let plan = Plan::new(may_fail);
        let execution = Execution {
            call: 0,
            node: "server-0-1".into(),
            at: Duration::ZERO,
        };
        let records = Records {
            calls: vec![call],
            executions: vec![execution; executions],
            ..Records::default()
        };
        violations(&plan, &World::new(plan.servers), &records)
    }

    #[test]
    fn what_does_not_hold_is_found() {
        let none = MayFail::None;
        let not_run = "no node of `greeter` in simulated took the call";
        for (may_fail, call, executions, expected) in [
            (
                none,
                call(false, 10, Code::Ok, ""),
                2,
                "is not idempotent and ran 2 times",
            ),
            (none, call(true, 1_011, Code::Ok, ""), 1, "after its deadline"),
            (
                MayFail::Any,
                call(true, 10, Code::Internal, ""),
                1,
                "ended with Internal",
            ),
            (none, call(true, 10, Code::Ok, ""), 0, "never ran"),
            (
                MayFail::Any,
                call(true, 10, Code::Unavailable, not_run),
                1,
                "ran, although",
            ),
            (
                none,
                call(false, 10, Code::Unavailable, ""),
                1,
                "failed: Unavailable",
            ),
            (
                MayFail::NotIdempotent,
                call(true, 10, Code::Unavailable, ""),
                1,
                "failed: Unavailable",
            ),
        ] {
            let found = found(may_fail, call, executions);
            assert!(
                found.iter().any(|violation| violation.contains(expected)),
                "{expected}: {found:?}"
            );
        }
    }

    #[test]
    fn what_holds_is_no_violation() {
        for (may_fail, call, executions) in [
            (MayFail::None, call(true, 1_010, Code::Ok, ""), 2),
            (MayFail::NotIdempotent, call(false, 10, Code::Unavailable, ""), 1),
            (MayFail::Any, call(true, 1_000, Code::DeadlineExceeded, ""), 1),
        ] {
            assert_eq!(found(may_fail, call, executions), [""; 0]);
        }
    }

    #[test]
    fn a_server_that_a_client_does_not_call_again_is_found() {
        let plan = Plan::new(MayFail::None);
        let world = World::new(plan.servers);
        world.start(1, 1);
        let found = violations(&plan, &world, &Records::default());
        let unused = |client| format!("client {client} does not call server-1-1 again");
        assert_eq!(found, [unused(0), unused(1)]);
    }
}
