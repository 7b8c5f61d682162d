//! Compiles the proto file of the two programs.

fn main() -> Result<(), micro_build::Error> {
    micro_build::compile(&["proto/clock.proto"])
}
