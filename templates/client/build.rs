//! Compiles the proto files: the service's own, and the one of the service that it calls.

fn main() -> Result<(), micro_build::Error> {
    micro_build::compile(&["proto/{{crate_name}}.proto", "proto/{{callee_crate_name}}.proto"])
}
