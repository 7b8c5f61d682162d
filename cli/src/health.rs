//! `micro health`: what each node of a service says of its own health.

use futures_util::{StreamExt, stream};
use micro::{CallOptions, Channel, registry::Node};
use serde_json::{Value, json};
use tonic::{Code, Request, Status};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::{
    arguments::ServiceArguments,
    failure::{Failure, Result, code_name},
    lookup::Lookup,
    output::{print, print_json, table},
    progress::waiting,
};

/// What the help of the command ends with.
pub(crate) const HELP: &str = "\
Examples:
  micro health greeter
  micro health greeter --json

Exit codes: 0 when all nodes are serving, 1 when some are not, 78 when there is no node.";

/// How many nodes are asked at a time.
const CONCURRENCY: usize = 32;

/// What one node answered.
struct Report<'a> {
    node: &'a Node,
    answer: Result<ServingStatus, Status>,
}

/// Asks each node; fails unless all are serving.
pub(crate) async fn health(lookup: &Lookup, arguments: &ServiceArguments) -> Result<()> {
    let snapshot = lookup.nodes(&arguments.service).await?;
    let channel = lookup.channel(&arguments.service);
    let asked = stream::iter(snapshot.nodes())
        .map(|node| ask(channel.clone(), node))
        .buffered(CONCURRENCY)
        .collect();
    let words = || format!("waiting for the answers of `{}`", arguments.service);
    let reports: Vec<_> = waiting(words, asked).await;
    if arguments.json {
        print_json(&reports.iter().map(Report::to_json).collect::<Value>())?;
    } else {
        let header = ["NODE", "VERSION", "ADDRESS", "HEALTH"]
            .map(str::to_owned)
            .to_vec();
        let rows: Vec<_> = [header]
            .into_iter()
            .chain(reports.iter().map(Report::to_row))
            .collect();
        table(&rows).iter().try_for_each(|line| print(line))?;
    }
    let ill = reports.iter().filter(|report| !report.is_serving()).count();
    match ill {
        0 => Ok(()),
        _ => Err(Failure::new(format!(
            "{ill} of {} nodes of `{}` not serving",
            reports.len(),
            arguments.service
        ))),
    }
}

async fn ask(channel: Channel, node: &Node) -> Report<'_> {
    let mut request = Request::new(HealthCheckRequest {
        service: String::new(),
    });
    request
        .extensions_mut()
        .insert(CallOptions::new().node(node.id()));
    let answer = HealthClient::new(channel).check(request).await;
    Report {
        node,
        answer: answer.map(|response| response.into_inner().status()),
    }
}

impl Report<'_> {
    fn is_serving(&self) -> bool {
        matches!(self.answer, Ok(ServingStatus::Serving))
    }

    fn to_row(&self) -> Vec<String> {
        let answer = match &self.answer {
            Ok(status) => status.as_str_name().to_owned(),
            Err(status) if status.code() == Code::Unimplemented => "no health service".to_owned(),
            Err(status) => format!("{}: {}", code_name(status.code()), status.message()),
        };
        vec![
            self.node.id().to_owned(),
            self.node.version().to_owned(),
            self.node.address().to_string(),
            answer,
        ]
    }

    fn to_json(&self) -> Value {
        let mut report = json!({
            "node": self.node.id(),
            "version": self.node.version(),
            "address": self.node.address().to_string(),
        });
        match &self.answer {
            Ok(status) => report["status"] = status.as_str_name().into(),
            Err(status) => {
                report["error"] = json!({ "code": code_name(status.code()), "message": status.message() });
            }
        }
        report
    }
}
