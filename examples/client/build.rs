//! Compiles the greeter's proto file.

fn main() -> Result<(), micro_build::Error> {
    micro_build::compile(&["../greeter/proto/greeter.proto"])
}
