//! What a node consists of survives the way it is stored.

use std::slice;

use crate::{
    Idempotency, Method, Node,
    conformance::{
        Harness, Methods, Stage,
        stage::{built, node_of},
    },
};

/// Names that are no service names: [`a_name_outside_the_grammar_is_refused`].
pub(super) const BAD_NAMES: [&str; 14] = [
    "",
    ".",
    "..",
    "-greeter",
    "greeter-",
    "greeter/v2",
    "../agent/self",
    "%2e%2e",
    "greeter v2",
    "greeter\n",
    "greeter\0",
    "gr\u{e9}eter",
    "greeter*",
    "a234567890123456789012345678901234567890123456789012345678901234",
];

/// Keys and values, the version and the id keep `/ . = % é`, quotes, spaces and the case of letters.
pub async fn metadata_with_marks_and_spaces_survives<H: Harness>(stage: &Stage<H>) {
    let pairs = [
        ("zone", "a"),
        ("Zone", "another key"),
        ("a/b.c=d%e", "/ . = % + & ? # ; , : \\ |"),
        ("\u{e9}", "\u{e9} \u{4f60}\u{597d} \u{1f980}"),
        ("a \"quoted\" key", "\"quoted\" and 'single'"),
        ("empty", ""),
        ("spaces", "  before and after  "),
        ("json", r#"{"a":[null,"\u0041"]}"#),
        ("lines", "one\r\ntwo\tthree"),
        ("percent", "%2F%zz%"),
        ("null", "null"),
    ];
    let mut node = stage
        .node_builder("node/1:a=b%2F\u{e9}.c")
        .version("1.2.0 (\"\u{e9}\" a/b=c%20)");
    for (key, value) in pairs {
        node = node.metadata(key, value);
    }
    survives(stage, &[built(node)]).await;
}

/// IPv4, IPv6 and host names come back as they were registered.
pub async fn every_form_of_address_survives<H: Harness>(stage: &Stage<H>) {
    let addresses = stage.harness().addresses().into_iter().enumerate();
    let nodes: Vec<_> = addresses
        .map(|(number, address)| {
            built(Node::builder(stage.service().clone(), format!("node-{number}"), address).boot("boot-1"))
        })
        .collect();
    survives(stage, &nodes).await;
}

/// Methods come back as they were registered, or there are none, as the harness says.
pub async fn methods_are_kept_or_left_out_as_a_whole<H: Harness>(stage: &Stage<H>) {
    let mut hello = Method::new("greeter.v1.Say", "Hello");
    hello.request = "greeter.v1.HelloRequest".into();
    hello.response = "greeter.v1.HelloReply".into();
    hello.idempotency = Idempotency::NoSideEffects;
    let mut put = Method::new("greeter.v1.Say", "Put");
    put.idempotency = Idempotency::Idempotent;
    let mut greetings = Method::new("greeter.v1.Say", "Greetings");
    greetings.server_streaming = true;
    let mut chat = greetings.clone();
    chat.name = "Chat".into();
    chat.client_streaming = true;
    let node = built(
        stage
            .node_builder("node-1")
            .methods([hello, put, greetings, chat]),
    );
    let (announcer, other) = stage.two_processes().await;
    announcer.register(&node).await;
    let expected = match stage.harness().methods() {
        Methods::Kept => node,
        Methods::LeftOut => node.without_methods(),
    };
    other.lists(stage.service(), &[expected]).await;
}

/// Service names of every allowed mark, of 63 characters, and that differ in one mark or in case only, all work.
pub async fn names_at_the_edge_of_the_grammar_work<H: Harness>(stage: &Stage<H>) {
    let length = stage.service().as_str().len();
    let longest = "x".repeat(63 - length);
    let suffixes = [".a_b-c.9", "-a.b_c-9", "_A-B.C_9", "_a-b.c_9", &longest];
    let (announcer, other) = stage.two_processes().await;
    let nodes = suffixes.map(|suffix| built(node_of(&stage.service_with(suffix), "node-1")));
    for node in &nodes {
        announcer.register(node).await;
    }
    for node in &nodes {
        other.lists(node.service(), slice::from_ref(node)).await;
        other.names(node.service()).await;
    }
}

/// A service name outside the grammar is an invalid argument, to a list and to a watch.
///
/// That nothing was sent shows where the backend is away: `a_backend_that_is_away_answers_unavailable_in_time`.
pub async fn a_name_outside_the_grammar_is_refused<H: Harness>(stage: &Stage<H>) {
    stage.process().await.refuses(&BAD_NAMES).await;
}

async fn survives<H: Harness>(stage: &Stage<H>, nodes: &[Node]) {
    let (announcer, other) = stage.two_processes().await;
    for node in nodes {
        announcer.register(node).await;
    }
    other.lists(stage.service(), nodes).await;
    other.watch(stage.service()).await.yields(nodes).await;
    // What a backend stored under a name of its own making is found again by that name.
    for node in nodes {
        announcer.deregister(node).await;
    }
    other.lists(stage.service(), &[]).await;
}
