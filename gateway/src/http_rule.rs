//! The `google.api.http` annotations of a method, as its descriptor has them.

use prost::Message;
use prost_reflect::MethodDescriptor;

/// The most paths of one method, additional bindings included.
const RULES_MAX: usize = 16;

/// One path of a method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    /// `GET` and the like; `*` stands for any.
    pub(crate) verb: String,
    pub(crate) template: String,
    /// A field, `*` for all that is not in the path, or nothing.
    pub(crate) body: String,
    /// A field, or nothing for all of the answer.
    pub(crate) response_body: String,
}

/// The rules of `method`: its own first, then the additional ones, which have none within them.
pub(crate) fn of(method: &MethodDescriptor) -> Vec<Rule> {
    // Read by number: whoever describes a method need not describe the annotation.
    let options: Option<Options> = method.options().transcode_to().ok();
    let Some(http) = options.and_then(|options| options.http) else {
        return Vec::new();
    };
    let rules = std::iter::once(&http).chain(&http.additional_bindings);
    rules.take(RULES_MAX).filter_map(HttpRule::rule).collect()
}

/// What is read of `google.protobuf.MethodOptions`.
#[derive(Clone, PartialEq, Message)]
struct Options {
    #[prost(message, optional, tag = "72295728")]
    http: Option<HttpRule>,
}

/// `google.api.HttpRule`
#[derive(Clone, PartialEq, Message)]
struct HttpRule {
    #[prost(oneof = "Pattern", tags = "2, 3, 4, 5, 6, 8")]
    pattern: Option<Pattern>,
    #[prost(string, tag = "7")]
    body: String,
    #[prost(message, repeated, tag = "11")]
    additional_bindings: Vec<HttpRule>,
    #[prost(string, tag = "12")]
    response_body: String,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Pattern {
    #[prost(string, tag = "2")]
    Get(String),
    #[prost(string, tag = "3")]
    Put(String),
    #[prost(string, tag = "4")]
    Post(String),
    #[prost(string, tag = "5")]
    Delete(String),
    #[prost(string, tag = "6")]
    Patch(String),
    #[prost(message, tag = "8")]
    Custom(Custom),
}

/// `google.api.CustomHttpPattern`
#[derive(Clone, PartialEq, Message)]
struct Custom {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    path: String,
}

impl HttpRule {
    fn rule(&self) -> Option<Rule> {
        let (verb, template) = match self.pattern.as_ref()? {
            Pattern::Get(path) => ("GET", path),
            Pattern::Put(path) => ("PUT", path),
            Pattern::Post(path) => ("POST", path),
            Pattern::Delete(path) => ("DELETE", path),
            Pattern::Patch(path) => ("PATCH", path),
            Pattern::Custom(custom) => (custom.kind.as_str(), &custom.path),
        };
        Some(Rule {
            verb: verb.to_owned(),
            template: template.clone(),
            body: self.body.clone(),
            response_body: self.response_body.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use micro_dynamic::fake::desk_pool;

    use super::*;

    fn rules(method: &str) -> Vec<(String, String, String, String)> {
        let desk = desk_pool().get_service_by_name("desk.Desk").unwrap();
        let method = desk.methods().find(|known| known.name() == method).unwrap();
        let plain = |rule: Rule| (rule.verb, rule.template, rule.body, rule.response_body);
        of(&method).into_iter().map(plain).collect()
    }

    fn rule(verb: &str, template: &str, body: &str, response_body: &str) -> (String, String, String, String) {
        let [verb, template, body, response_body] = [verb, template, body, response_body].map(str::to_owned);
        (verb, template, body, response_body)
    }

    #[test]
    fn annotations_are_read_from_the_descriptor() {
        assert_eq!(
            rules("GetBook"),
            [
                rule("GET", "/v1/{name=shelves/*/books/*}", "", ""),
                rule("GET", "/v1/books/{id}", "", ""),
            ]
        );
        assert_eq!(
            rules("CreateBook"),
            [rule("POST", "/v1/{name=shelves/*}/books", "book", "")]
        );
        assert_eq!(rules("PurgeBooks"), [rule("PURGE", "/v1/books", "", "")]);
        assert_eq!(
            rules("ReadFile"),
            [
                rule("GET", "/v1/files/{name=**}", "", "book"),
                rule("GET", "/v1/raw/{name=**}", "", "")
            ]
        );
        assert!(rules("Count").is_empty());
    }
}
