//! Methods as Go Micro writes them: what it wrote is read, and what we wrote comes back.

use micro_registry::{Idempotency, Method, ServiceName, go_micro::Endpoint};
use proptest::prelude::*;

fn greeter() -> ServiceName {
    "greeter".parse().expect("a good name")
}

fn read(json: &str) -> Option<Method> {
    let endpoint: Endpoint = serde_json::from_str(json).expect("JSON of an endpoint");
    endpoint.method(&greeter())
}

fn written(method: &Method) -> String {
    serde_json::to_string(&Endpoint::new(method, &greeter())).expect("texts and nothing else")
}

#[test]
fn what_go_micro_wrote_is_read() {
    let json = r#"{"request":{"name":"Request","type":"Request","values":[{"name":"name","type":"string","values":null}]},
        "response":{"name":"Response","type":"Response","values":[]},"metadata":{},"name":"Greeter.Hello"}"#;
    let mut expected = Method::new("greeter.Greeter", "Hello");
    expected.request = "Request".into();
    expected.response = "Response".into();
    assert_eq!(read(json), Some(expected));
}

#[test]
fn null_may_stand_everywhere_and_a_field_may_be_absent() {
    let plain = Some(Method::new("greeter.Greeter", "Hello"));
    for json in [
        r#"{"request":null,"response":null,"metadata":null,"name":"Greeter.Hello"}"#,
        r#"{"request":{"name":null,"type":null,"values":null},"metadata":{"stream":null},"name":"Greeter.Hello"}"#,
        r#"{"name":"Greeter.Hello","later":[1]}"#,
    ] {
        assert_eq!(read(json), plain, "{json}");
    }
    assert_eq!(read(r#"{"name":null}"#), None);
    assert_eq!(read(r#"{"name":"topic"}"#), None);
}

#[test]
fn a_stream_of_go_micros_is_not_unary() {
    let method = read(r#"{"name":"Greeter.Chat","metadata":{"stream":"true"}}"#).unwrap();
    assert!(method.client_streaming && method.server_streaming);
}

#[test]
fn what_we_write_has_the_form_that_go_micro_reads() {
    let mut method = Method::new("greeter.v1.Say", "Greetings");
    method.request = "greeter.v1.HelloRequest".into();
    method.server_streaming = true;
    method.idempotency = Idempotency::NoSideEffects;
    let expected = r#"{"request":{"name":"HelloRequest","type":"greeter.v1.HelloRequest","values":null},"response":null,"metadata":{"idempotency":"NO_SIDE_EFFECTS","server-streaming":"true","service":"greeter.v1.Say","stream":"true"},"name":"Say.Greetings"}"#;
    assert_eq!(written(&method), expected);
}

#[test]
fn deep_nesting_is_passed_over() {
    let nested = |depth| "[{\"values\":".repeat(depth) + "null" + &"}]".repeat(depth);
    let json = |depth| {
        format!(
            r#"{{"name":"Greeter.Hello","request":{{"type":"R","values":{}}}}}"#,
            nested(depth)
        )
    };
    assert_eq!(read(&json(20)).unwrap().request, "R");
    // Neither recursion nor a panic: read or refused.
    let _: Result<Endpoint, _> = serde_json::from_str(&json(100_000));
}

proptest! {
    #[test]
    fn every_method_comes_back(
        service in "[a-z0-9_.]{0,12}",
        names in prop::array::uniform3("[a-zA-Z0-9_.\"\\\\<>é]{0,12}"),
        streaming in any::<[bool; 2]>(),
        idempotency in prop::sample::select(vec![
            Idempotency::Unknown,
            Idempotency::Idempotent,
            Idempotency::NoSideEffects,
        ]),
    ) {
        let [name, request, response] = names;
        let mut method = Method::new(service, name);
        (method.request, method.response) = (request, response);
        [method.client_streaming, method.server_streaming] = streaming;
        method.idempotency = idempotency;
        prop_assert_eq!(read(&written(&method)), Some(method));
    }

    #[test]
    fn no_text_makes_reading_panic(json in "\\PC{0,200}") {
        let endpoint: Result<Endpoint, _> = serde_json::from_str(&json);
        if let Ok(endpoint) = endpoint {
            let _ = endpoint.method(&greeter());
        }
    }
}
