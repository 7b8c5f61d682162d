//! `micro describe`: the nodes of a service, its methods, and what their messages are made of.

mod schema;

use std::sync::Arc;

use micro::{
    CallOptions,
    registry::{Method, Node, Snapshot},
};
use serde_json::{Value, json};
use tonic::Code;

use self::schema::Schema;
use crate::{
    arguments::ServiceArguments,
    failure::Result,
    lookup::Lookup,
    output::{Form, print, print_json, table},
    progress::waiting,
};

/// Shows all that is known of a service.
pub(crate) async fn describe(lookup: &Lookup, arguments: &ServiceArguments) -> Result<()> {
    let service = &arguments.service;
    let snapshot = lookup.nodes(service).await?;
    let options = speaker(&snapshot).map_or(CallOptions::new(), |node| CallOptions::new().node(node.id()));
    let words = || format!("waiting for `{service}` to describe itself");
    let (schema, failure) = match waiting(words, lookup.catalog(service, options, None)).await {
        Ok(catalog) => (Schema::of(&catalog), None),
        // What the registry knows is shown all the same.
        Err(failure) => (Schema::default(), Some(failure)),
    };
    let methods = if failure.is_none() {
        schema.methods()
    } else {
        announced(&snapshot)
    };
    if arguments.json {
        print_json(&json!({
            "service": service,
            "registry": lookup.registry(),
            "nodes": snapshot.nodes().iter().map(|node| node_to_json(node)).collect::<Value>(),
            "methods": methods.iter().map(method_to_json).collect::<Value>(),
            "messages": schema.messages_to_json(),
            "enums": schema.enums_to_json(),
        }))?;
    } else {
        let sections = [nodes_table(&snapshot), methods_lines(&methods), schema.lines()];
        let shown: Vec<_> = sections
            .iter()
            .filter(|lines| !lines.is_empty())
            .map(|lines| lines.join("\n"))
            .collect();
        print(&shown.join("\n\n"))?;
    }
    match failure {
        Some(failure) if failure.code() == Some(Code::Unimplemented) => {
            Form::of(arguments.json).tell(&failure);
            Ok(())
        }
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

/// The node that is asked. Of several versions the latest speaks, as a rolling update is on its way to it; where all
/// are the same, any node may.
fn speaker(snapshot: &Snapshot) -> Option<&Node> {
    let latest = snapshot.nodes().iter().max_by_key(|node| rank(node.version()))?;
    let is_latest = |node: &Arc<Node>| node.version() == latest.version();
    (!snapshot.nodes().iter().all(is_latest)).then_some(latest)
}

/// Orders versions by their numbers first: `1.10.0` comes after `1.9.2`.
fn rank(version: &str) -> (Vec<u64>, &str) {
    let numbers = version.split(|c: char| !c.is_ascii_digit());
    (
        numbers.filter_map(|number| number.parse().ok()).collect(),
        version,
    )
}

/// The methods that nodes announced in the registry, each once.
fn announced(snapshot: &Snapshot) -> Vec<Method> {
    let mut methods: Vec<Method> = Vec::new();
    for method in snapshot.nodes().iter().flat_map(|node| node.methods()) {
        if !methods.contains(method) {
            methods.push(method.clone());
        }
    }
    methods
}

fn nodes_table(snapshot: &Snapshot) -> Vec<String> {
    let header = ["NODE", "VERSION", "ADDRESS", "METADATA"]
        .map(str::to_owned)
        .to_vec();
    let rows = snapshot.nodes().iter().map(|node| {
        let metadata = node
            .metadata()
            .iter()
            .map(|(key, value)| format!("{key}={value}"));
        vec![
            node.id().to_owned(),
            node.version().to_owned(),
            node.address().to_string(),
            metadata.collect::<Vec<_>>().join(" "),
        ]
    });
    table(&[header].into_iter().chain(rows).collect::<Vec<_>>())
}

fn node_to_json(node: &Node) -> Value {
    json!({
        "id": node.id(),
        "version": node.version(),
        "address": node.address().to_string(),
        "metadata": node.metadata(),
    })
}

fn methods_lines(methods: &[Method]) -> Vec<String> {
    let stream = |is_stream| if is_stream { "stream " } else { "" };
    let rows: Vec<_> = methods
        .iter()
        .map(|method| {
            vec![
                method.to_string(),
                format!("{}{}", stream(method.client_streaming), method.request),
                "->".to_owned(),
                format!("{}{}", stream(method.server_streaming), method.response),
            ]
        })
        .collect();
    table(&rows)
}

fn method_to_json(method: &Method) -> Value {
    json!({
        "service": method.service,
        "name": method.name,
        "request": method.request,
        "response": method.response,
        "clientStreaming": method.client_streaming,
        "serverStreaming": method.server_streaming,
    })
}

#[cfg(test)]
mod tests {
    use super::rank;

    #[test]
    fn versions_are_ordered_by_their_numbers() {
        let mut versions = ["1.10.0", "", "1.9.2", "2.0.0-rc1", "latest"];
        versions.sort_by_key(|version| rank(version));
        assert_eq!(versions, ["", "latest", "1.9.2", "1.10.0", "2.0.0-rc1"]);
    }
}
