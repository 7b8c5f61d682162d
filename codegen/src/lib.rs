//! The `build.rs` helper of micro: turns proto files into messages, clients and servers, without protoc.
//!
//! ```no_run
//! fn main() -> Result<(), micro_build::Error> {
//!     micro_build::compile(&["proto/greeter.proto"])
//! }
//! ```
//!
//! The crate's code then takes the package in, with the descriptors that reflection needs:
//!
//! ```ignore
//! pub mod greeter {
//!     micro::include_proto!("greeter");
//! }
//! ```
//!
//! The generated code needs two dependencies: `micro` and `tonic`, the latter with `default-features = false` and the
//! feature `codegen`. Messages of `google/protobuf/*.proto` come with the crate and need no file; their types are in
//! `micro::prost_types`.

mod builder;
mod code;
mod descriptors;
mod diagnostic;
mod error;
mod package;
mod sources;

use std::path::Path;

pub use builder::{Builder, configure};
pub use error::{Error, ErrorKind};

/// Compiles `files` and what they import into `OUT_DIR`, for `micro::include_proto!`.
///
/// Paths are relative to the package. Imports are looked for in the nearest folder named `proto` above each file, else
/// in the file's own folder; [`Builder::include`] names other folders. Cargo runs the build script again once one of
/// the files changes. Name all files in one call: a second call would replace what the first one wrote for a package
/// that both of them touch.
///
/// # Errors
///
/// [`ErrorKind::Proto`] when a file is missing or wrong: the message begins with file, line and column, and is what
/// `main() -> Result<(), micro_build::Error>` prints. [`ErrorKind::Write`] when the code cannot be written,
/// [`ErrorKind::Environment`] outside a build script.
pub fn compile(files: &[impl AsRef<Path>]) -> Result<(), Error> {
    configure().compile(files)
}
