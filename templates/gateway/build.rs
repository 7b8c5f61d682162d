//! Compiles the proto file of a service that the tests export; the gateway itself learns all it needs from the nodes.

fn main() -> Result<(), micro_build::Error> {
    micro_build::compile(&["proto/{{callee_crate_name}}.proto"])
}
