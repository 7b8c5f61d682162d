//! Compiles the protos of the tests.

fn main() -> Result<(), micro_build::Error> {
    micro_build::compile(&[
        "proto/shop/orders/v1/orders.proto",
        "proto/plain.proto",
        "proto/probe.proto",
        "../examples/greeter/proto/greeter.proto",
    ])
}
