//! The program that etcd-client's build calls `protoc`: the developer's, or protox's, built under the target folder.

use std::{
    env::{self, consts::EXE_SUFFIX},
    path::PathBuf,
};

use crate::{
    Result,
    cargo::{Step, cargo, root, target_folder},
    program,
};

/// Where build scripts look for the program.
const VARIABLE: &str = "PROTOC";
/// The folder that protox is built into, in the target folder.
const FOLDER: &str = "protoc";
const PROTOX: &str = "protox";
/// The one that the workspace is built with, too.
const VERSION: &str = "0.10.0";

/// What compiles proto files: what the developer named, else `protoc` on PATH, else protox, built if need be.
///
/// # Errors
///
/// When protox cannot be built, or the developer named what is no program.
pub(crate) fn provide() -> Result<PathBuf> {
    if let Some(program) = env::var_os(VARIABLE) {
        let program = root().join(program);
        if !program.is_file() {
            return Err(format!("{VARIABLE} names {}, which is no program", program.display()).into());
        }
        return Ok(program);
    }
    if let Some(program) = program::on_path(&format!("protoc{EXE_SUFFIX}")) {
        return Ok(program);
    }
    let folder = target_folder().join(FOLDER);
    let program = folder.join("bin").join(format!("{PROTOX}{EXE_SUFFIX}"));
    if !program.is_file() {
        println!("\nprotoc is not on PATH: build protox");
        let install = format!("install {PROTOX} --version {VERSION} --locked --features bin --root");
        cargo(&install).arg(&folder).run()?;
    }
    Ok(program)
}

impl Step {
    /// Lets this step build what needs a `protoc`: registry-etcd, and whatever has it in.
    pub(crate) fn with_protoc(self) -> Result<Self> {
        Ok(self.env(VARIABLE, provide()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protox_is_the_one_that_the_workspace_is_built_with() {
        let lock = include_str!("../../Cargo.lock");
        let expected = format!("name = \"{PROTOX}\"\nversion = \"{VERSION}\"");
        assert!(
            lock.contains(&expected),
            "Cargo.lock has another {PROTOX} than {VERSION}"
        );
    }
}
