//! Compiles the service's proto file, and that of the greeter which it calls.

fn main() -> Result<(), micro_build::Error> {
    micro_build::compile(&["proto/welcome.proto", "../greeter/proto/greeter.proto"])
}
