//! Compiles the benchmarked service's proto file.

fn main() -> Result<(), micro_build::Error> {
    micro_build::compile(&["proto/bench.proto"])
}
