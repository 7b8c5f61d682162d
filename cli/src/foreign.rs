//! Calls of services that do not describe themselves and take JSON: those of Go Micro.

use std::sync::Arc;

use futures_util::stream;
use http::uri::PathAndQuery;
use micro::{
    CallOptions,
    registry::{Method, Node, Snapshot},
};
use micro_dynamic::invoke_json;
use serde_json::Value;
use tonic::Request;

use crate::{
    arguments::CallArguments,
    failure::{Failure, Result},
    input,
    lookup::Lookup,
    metadata::to_metadata,
    output::print,
};

/// What a gRPC server of Go Micro's says of itself in the registry.
const MARK: (&str, &str) = ("server", "grpc");

/// The methods that servers of Go Micro's announced, each once.
pub(crate) fn methods(snapshot: &Snapshot) -> Vec<&Method> {
    let is_foreign = |node: &&Arc<Node>| {
        node.boot().is_empty() && node.metadata().get(MARK.0).is_some_and(|value| value == MARK.1)
    };
    let mut methods: Vec<&Method> = Vec::new();
    for method in snapshot
        .nodes()
        .iter()
        .filter(is_foreign)
        .flat_map(|node| node.methods())
    {
        if !methods.iter().any(|known| known.path() == method.path()) {
            methods.push(method);
        }
    }
    methods
}

/// Calls one of `methods` and prints each message of the answer on a line.
///
/// What is typed goes to the server as it is, once it is known to be JSON.
pub(crate) async fn call(lookup: &Lookup, arguments: &CallArguments, methods: &[&Method]) -> Result<()> {
    let method = named(methods, &arguments.method)
        .map_err(|mistake| Failure::usage(format!("`{}` has {mistake}", arguments.service)))?;
    let path = PathAndQuery::try_from(method.path())
        .map_err(|error| Failure::because(format!("call `{method}`"), &error))?;
    let text = input::text(&arguments.message).await?;
    let messages = match method.is_unary() {
        true => vec![text],
        false => text
            .lines()
            .filter(|line| !line.trim().is_empty())
            .map(str::to_owned)
            .collect(),
    };
    for message in &messages {
        serde_json::from_str::<Value>(message)
            .map_err(|error| Failure::usage(format!("`{message}` is not JSON: {error}")))?;
    }

    let options = CallOptions::new().node_metadata(MARK.0, MARK.1);
    let options = match arguments.timeout {
        Some(timeout) => options.timeout(timeout),
        None => options,
    };
    let mut request = Request::new(stream::iter(messages));
    *request.metadata_mut() = to_metadata(&arguments.headers);
    request.extensions_mut().insert(options);
    let channel = lookup.channel(&arguments.service);
    let mut replies = invoke_json(channel, path, request).await?.into_inner();
    while let Some(reply) = replies.message().await? {
        // Go puts spaces where it likes.
        let value: Value = serde_json::from_str(&reply)
            .map_err(|error| Failure::because("read the answer, which is not JSON", &error))?;
        print(&value.to_string())?;
    }
    Ok(())
}

/// The method that somebody typed as `greeter.Say/Hello`, `Say.Hello` or `Hello`.
fn named<'m>(methods: &[&'m Method], asked: &str) -> std::result::Result<&'m Method, String> {
    let dotted = asked.strip_prefix('/').unwrap_or(asked).replace('/', ".");
    let fits = |method: &&&Method| {
        let full = format!("{}.{}", method.service, method.name);
        full.strip_suffix(&dotted)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    let fitting: Vec<&Method> = methods.iter().filter(fits).copied().collect();
    let names = |methods: &[&Method]| {
        let names: Vec<_> = methods.iter().map(ToString::to_string).collect();
        names.join(", ")
    };
    match fitting.as_slice() {
        [method] => Ok(method),
        [] => Err(format!("no method `{asked}`; there are: {}", names(methods))),
        several => Err(format!("several methods that fit `{asked}`: {}", names(several))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(id: &str, marks: &[(&str, &str)], methods: &[(&str, &str)]) -> Arc<Node> {
        let address: micro::registry::Address = "127.0.0.1:9090".parse().unwrap();
        let methods: Vec<_> = methods
            .iter()
            .map(|&(service, name)| Method::new(service, name))
            .collect();
        let mut node = Node::builder("greeter".parse().unwrap(), id, address).methods(methods);
        for (key, value) in marks {
            node = node.metadata(*key, *value);
        }
        Arc::new(node.build().unwrap())
    }

    fn snapshot() -> Snapshot {
        let go = [("server", "grpc"), ("transport", "grpc")];
        Snapshot::new([
            node(
                "a",
                &go,
                &[("greeter.Say", "Hello"), ("greeter.Say", "Greetings")],
            ),
            node("b", &go, &[("greeter.Say", "Hello"), ("greeter.Ask", "Hello")]),
            node("c", &[], &[("greeter.Other", "Hello")]),
        ])
    }

    #[test]
    fn the_methods_of_go_micros_nodes_are_those_that_can_be_called() {
        let snapshot = snapshot();
        let names: Vec<_> = methods(&snapshot).iter().map(ToString::to_string).collect();
        assert_eq!(
            names,
            ["greeter.Say/Hello", "greeter.Say/Greetings", "greeter.Ask/Hello"]
        );
    }

    #[test]
    fn a_method_is_found_by_every_end_of_its_name_that_no_other_has() {
        let snapshot = snapshot();
        let methods = methods(&snapshot);
        for (asked, found) in [
            ("Greetings", "greeter.Say/Greetings"),
            ("Say.Hello", "greeter.Say/Hello"),
            ("Ask/Hello", "greeter.Ask/Hello"),
            ("/greeter.Say/Hello", "greeter.Say/Hello"),
        ] {
            assert_eq!(named(&methods, asked).unwrap().to_string(), found, "{asked}");
        }
        let mistake = named(&methods, "Hello").unwrap_err();
        assert_eq!(
            mistake,
            "several methods that fit `Hello`: greeter.Say/Hello, greeter.Ask/Hello"
        );
        let mistake = named(&methods, "ello").unwrap_err();
        assert!(mistake.contains("there are: greeter.Say/Hello"), "{mistake}");
    }
}
