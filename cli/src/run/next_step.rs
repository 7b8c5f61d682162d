//! What to type next, once all nodes are ready.

use micro::CallOptions;
use micro_dynamic::{Catalog, example, to_json};
use prost_reflect::MethodDescriptor;

use crate::{invocation::Invocation, lookup::Lookup};

/// What to type in another terminal, now that all nodes are ready.
pub(super) async fn next_step(lookup: &Lookup, service: &str, nodes: usize) -> String {
    let arguments = match lookup.catalog(service, CallOptions::new(), None).await {
        Ok(catalog) => first_call(&catalog, service),
        // Without reflection there is no call to suggest, but still something to look at.
        Err(_) => None,
    };
    let arguments = arguments.unwrap_or_else(|| vec!["describe".to_owned(), service.to_owned()]);
    let arguments = arguments.iter().chain(lookup.typed());
    let line = Invocation::of_this_process().line(arguments.map(String::as_str));
    let ready = match nodes {
        1 => format!("1 node of `{service}` is ready"),
        _ => format!("{nodes} nodes of `{service}` are ready"),
    };
    format!("{ready}; Ctrl-C stops everything. Now type in another terminal:\n\n    {line}\n")
}

/// A call of the first unary method, or of the first method at all.
fn first_call(catalog: &Catalog, service: &str) -> Option<Vec<String>> {
    let methods: Vec<_> = catalog
        .services()
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .collect();
    let is_unary =
        |method: &&MethodDescriptor| !method.is_client_streaming() && !method.is_server_streaming();
    let method = methods.iter().find(is_unary).or(methods.first())?;
    let json = to_json(&example(&method.input())).ok()?;
    let name = short_name(catalog, method);
    Some(["call", service, &name, &json].map(str::to_owned).to_vec())
}

/// `Say.Hello` where that says enough, and else `greeter.Say/Hello`.
fn short_name(catalog: &Catalog, method: &MethodDescriptor) -> String {
    let service = method.parent_service();
    let short = format!("{}.{}", service.name(), method.name());
    if catalog.method(&short).is_ok_and(|found| &found == method) {
        return short;
    }
    format!("{}/{}", service.full_name(), method.name())
}
