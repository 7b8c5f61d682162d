//! What to type next, once all nodes are ready.

use futures_util::future::join_all;
use micro::CallOptions;
use micro_dynamic::{Catalog, example, to_json};
use prost_reflect::MethodDescriptor;

use super::front::Place;
use crate::{
    gateway::local_host,
    invocation::{Invocation, quote},
    lookup::Lookup,
};

/// A call of a service that somebody can make.
struct Suggestion {
    service: String,
    /// The method as the command line has it, and as the path of an HTTP request does.
    method: String,
    path: Option<String>,
    message: String,
}

/// The lines to type, with this command and over HTTP.
#[derive(Debug)]
pub(super) struct NextStep {
    /// What to say now.
    pub(super) words: String,
    /// The message of a request and its path, if a method takes HTTP and JSON.
    request: Option<(String, String)>,
}

/// What to type in another terminal, now that so many nodes of each service are ready.
pub(super) async fn next_step(lookup: &Lookup, services: &[(String, usize)]) -> NextStep {
    let suggested = join_all(services.iter().map(|(service, _)| suggestion(lookup, service))).await;
    let invocation = Invocation::of_this_process();
    let lines = services.iter().zip(&suggested).map(|((service, _), suggested)| {
        let arguments = match suggested {
            Some(call) => vec!["call", service, &call.method, &call.message],
            // Without reflection there is no call to suggest, but still something to look at.
            None => vec!["describe", service],
        };
        let typed = lookup.typed().iter().map(String::as_str);
        format!("    {}\n", invocation.line(arguments.into_iter().chain(typed)))
    });
    let lines: String = lines.collect();
    let request = suggested.into_iter().flatten().find_map(|call| {
        let path = call.path?;
        Some((call.message, format!("{}/{path}", call.service)))
    });
    NextStep {
        words: format!(
            "{} ready; Ctrl-C stops everything. Now type in another terminal:\n\n{lines}",
            ready(services)
        ),
        request,
    }
}

impl NextStep {
    /// What to say once the gateway is there, too, where URLs begin with `scheme`.
    pub(super) fn over_http(&self, scheme: &str, place: &Place) -> String {
        let Place { address, instead_of } = place;
        let why = instead_of.map_or_else(String::new, |taken| format!(", as {taken} is taken"));
        let line = self.request.as_ref().map_or_else(String::new, |(message, path)| {
            let (message, host) = (quote(message), short(address));
            let url = match scheme {
                // It is what curl takes a URL without one for.
                "http" => format!("{host}/{path}"),
                _ => format!("{scheme}://{host}/{path}"),
            };
            format!("; or type\n\n    curl -d {message} {url}\n")
        });
        let dashboard = local(address).map_or_else(
            || format!("and no dashboard, as `localhost` does not lead to {address}"),
            |host| format!("the dashboard is at {scheme}://{host}/dashboard"),
        );
        format!("HTTP and JSON are at {scheme}://{address}{why}, {dashboard}{line}")
    }
}

/// The same place, as `localhost` where that leads there.
fn short(address: &str) -> String {
    local(address).unwrap_or_else(|| address.to_owned())
}

fn local(address: &str) -> Option<String> {
    local_host(address.parse().ok()?)
}

/// `2 nodes of a and 1 node of b are`.
fn ready(services: &[(String, usize)]) -> String {
    let counted = services.iter().map(|(service, nodes)| match nodes {
        1 => format!("1 node of `{service}`"),
        _ => format!("{nodes} nodes of `{service}`"),
    });
    let counted: Vec<_> = counted.collect();
    let verb = match services {
        [(_, 1)] => "is",
        _ => "are",
    };
    match counted.split_last() {
        Some((last, [])) => format!("{last} {verb}"),
        Some((last, before)) => format!("{} and {last} {verb}", before.join(", ")),
        None => "nothing is".to_owned(),
    }
}

async fn suggestion(lookup: &Lookup, service: &str) -> Option<Suggestion> {
    let catalog = lookup.catalog(service, CallOptions::new(), None).await.ok()?;
    first_call(&catalog, service)
}

/// A call of the first unary method, or of the first method at all.
fn first_call(catalog: &Catalog, service: &str) -> Option<Suggestion> {
    let methods: Vec<_> = catalog
        .services()
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .collect();
    let is_unary =
        |method: &&MethodDescriptor| !method.is_client_streaming() && !method.is_server_streaming();
    let method = methods.iter().find(is_unary).or(methods.first())?;
    let message = to_json(&example(&method.input())).ok()?;
    Some(Suggestion {
        service: service.to_owned(),
        method: short_name(catalog, method),
        path: (!method.is_client_streaming()).then(|| path(catalog, method)),
        message,
    })
}

/// Whether type and name of the method are enough to find it.
fn is_found_by(catalog: &Catalog, name: &str, method: &MethodDescriptor) -> bool {
    catalog.method(name).is_ok_and(|found| &found == method)
}

/// `Say.Hello` where that says enough, and else `greeter.Say/Hello`.
fn short_name(catalog: &Catalog, method: &MethodDescriptor) -> String {
    let service = method.parent_service();
    let short = format!("{}.{}", service.name(), method.name());
    if is_found_by(catalog, &short, method) {
        return short;
    }
    format!("{}/{}", service.full_name(), method.name())
}

/// `say/hello` where that says enough, and else `greeter.Say/hello`.
fn path(catalog: &Catalog, method: &MethodDescriptor) -> String {
    let service = method.parent_service();
    let short = format!("{}.{}", service.name(), method.name());
    let of_type = match is_found_by(catalog, &short, method) {
        true => in_camel_case(service.name()),
        false => service.full_name().to_owned(),
    };
    format!("{of_type}/{}", in_camel_case(method.name()))
}

/// `SayHello` as `sayHello`.
fn in_camel_case(name: &str) -> String {
    let mut letters = name.chars();
    let first = letters.next().map(|first| first.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_ready_is_told_in_a_sentence() {
        let counted = |services: &[(&str, usize)]| {
            let services: Vec<_> = services
                .iter()
                .map(|(name, nodes)| ((*name).to_owned(), *nodes))
                .collect();
            ready(&services)
        };
        assert_eq!(counted(&[("a", 1)]), "1 node of `a` is");
        assert_eq!(counted(&[("a", 2)]), "2 nodes of `a` are");
        assert_eq!(
            counted(&[("a", 1), ("b", 2), ("c", 1)]),
            "1 node of `a`, 2 nodes of `b` and 1 node of `c` are"
        );
    }

    #[test]
    fn the_line_for_curl_has_the_place_that_there_was_room_at() {
        let next = NextStep {
            words: String::new(),
            request: Some((r#"{"name":"Ada"}"#.to_owned(), "a/say/hello".to_owned())),
        };
        let place = Place {
            address: "127.0.0.1:4711".to_owned(),
            instead_of: Some("127.0.0.1:8080"),
        };
        assert_eq!(
            next.over_http("https", &place),
            "HTTP and JSON are at https://127.0.0.1:4711, as 127.0.0.1:8080 is taken, the dashboard is at \
             https://localhost:4711/dashboard; or type\n\n    \
             curl -d '{\"name\":\"Ada\"}' https://localhost:4711/a/say/hello\n"
        );
        assert_eq!(
            next.over_http("http", &place),
            "HTTP and JSON are at http://127.0.0.1:4711, as 127.0.0.1:8080 is taken, the dashboard is at \
             http://localhost:4711/dashboard; or type\n\n    \
             curl -d '{\"name\":\"Ada\"}' localhost:4711/a/say/hello\n"
        );
        let next = NextStep {
            words: String::new(),
            request: None,
        };
        let place = Place {
            address: "10.0.0.1:80".to_owned(),
            instead_of: None,
        };
        assert_eq!(
            next.over_http("http", &place),
            "HTTP and JSON are at http://10.0.0.1:80, and no dashboard, as `localhost` does not lead to 10.0.0.1:80"
        );
    }
}
