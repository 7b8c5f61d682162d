//! `cargo xtask bench`: the benchmarks, built for release.

use crate::{
    Result,
    cargo::{Step, cargo, target_folder},
};

/// Builds the benchmarks and runs those that `arguments` say.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    cargo("build --release --package micro-bench").run()?;
    let program = target_folder().join("release").join("micro-bench");
    let shown = format!("micro-bench {}", arguments.join(" "));
    Step::new(program, shown, arguments.iter().map(String::as_str)).run()
}
