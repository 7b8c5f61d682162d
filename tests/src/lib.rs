//! The fault laboratory: real services, real registries and a real load, so that a test and `cargo xtask chaos` do the same.

pub mod laboratory;

/// What `proto/probe.proto` says, as Rust.
#[allow(missing_docs, reason = "generated; the proto file has the words")]
pub mod probe {
    micro::include_proto!("probe");
}
