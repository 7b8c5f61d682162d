//! Where the servers' programs are: named, on PATH, or unpacked by `cargo xtask test`.

use std::{env, path::PathBuf};

use crate::{Error, Result};

/// A server's program.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Program {
    Consul,
    Etcd,
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Self::Consul => "consul",
            Self::Etcd => "etcd",
        }
    }

    fn variable(self) -> &'static str {
        match self {
            Self::Consul => "MICRO_TEST_CONSUL",
            Self::Etcd => "MICRO_TEST_ETCD",
        }
    }

    /// The program's file, which nobody starts without knowing.
    pub(crate) fn find(self) -> Result<PathBuf> {
        let (name, variable) = (self.name(), self.variable());
        if let Some(program) = env::var_os(variable) {
            let program = PathBuf::from(program);
            if !program.is_file() {
                let shown = program.display();
                return Err(Error::new(format!(
                    "{variable} names {shown}, which is no program"
                )));
            }
            return Ok(program);
        }
        let path = env::var_os("PATH").unwrap_or_default();
        let on_path = env::split_paths(&path).map(|folder| folder.join(name));
        // A test's own program is in the target folder, too, some folders deeper.
        let own = env::current_exe().unwrap_or_default();
        let unpacked = own.ancestors().map(|folder| folder.join("servers").join(name));
        on_path
            .chain(unpacked)
            .find(|program| program.is_file())
            .ok_or_else(|| {
                Error::new(format!(
                    "no program `{name}`: run the tests by `cargo xtask test`, which gets it, or install {name}, or set \
                     {variable} to the path of its program"
                ))
            })
    }
}
