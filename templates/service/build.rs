//! Compiles the service's proto file.

fn main() -> Result<(), micro_build::Error> {
    micro_build::compile(&["proto/{{crate_name}}.proto"])
}
