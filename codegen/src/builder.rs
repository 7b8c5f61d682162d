//! What can be said about a build beyond its files, and the build itself.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

use prost_build::Config;

use crate::{
    Error, ErrorKind,
    code::{self, ALL_PACKAGES},
    descriptors,
    package::Package,
    sources::Sources,
};

/// A build with more to say than [`compile`](crate::compile).
///
/// ```no_run
/// fn main() -> Result<(), micro_build::Error> {
///     micro_build::configure()
///         .include("../common/proto")
///         .type_attribute("shop.orders.v1.Order", "#[derive(serde::Serialize)]")
///         .compile(&["proto/shop/orders/v1/orders.proto"])
/// }
/// ```
#[derive(Debug, Default)]
#[must_use = "nothing is compiled before `compile`"]
pub struct Builder {
    includes: Vec<PathBuf>,
    out_dir: Option<PathBuf>,
    config: Config,
}

/// Begins a build with settings; each has a default, under which it is what [`compile`](crate::compile) does.
pub fn configure() -> Builder {
    Builder::default()
}

impl Builder {
    /// Adds a folder that imports are relative to, before those added later. Default: the nearest folder named `proto`
    /// above each file, else the file's own; for files within an added folder, that folder.
    pub fn include(mut self, folder: impl Into<PathBuf>) -> Self {
        self.includes.push(folder.into());
        self
    }

    /// Sets where the code is written. Default: `OUT_DIR`, where `micro::include_proto!` looks for it.
    pub fn out_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.out_dir = Some(folder.into());
        self
    }

    /// Adds a Rust attribute to the messages, enums and one-ofs whose proto name ends in `path`; a `path` that begins
    /// with a dot is the beginning of the whole name, and `.` alone means all of them. Default: none.
    pub fn type_attribute(mut self, path: impl AsRef<str>, attribute: impl AsRef<str>) -> Self {
        self.config.type_attribute(path, attribute);
        self
    }

    /// Adds a Rust attribute to the fields whose proto name ends in `path`, which is read as in
    /// [`type_attribute`](Self::type_attribute). Default: none.
    pub fn field_attribute(mut self, path: impl AsRef<str>, attribute: impl AsRef<str>) -> Self {
        self.config.field_attribute(path, attribute);
        self
    }

    /// Uses the Rust types at `rust_path` for the proto package or type `proto_path` (`.shop.common.v1`), instead of
    /// generating them anew: for protos that another crate has compiled. Default: none.
    pub fn extern_path(mut self, proto_path: impl Into<String>, rust_path: impl Into<String>) -> Self {
        self.config.extern_path(proto_path, rust_path);
        self
    }

    /// Compiles `files` and what they import, as [`compile`](crate::compile) does.
    ///
    /// # Errors
    ///
    /// Those of [`compile`](crate::compile).
    pub fn compile(self, files: &[impl AsRef<Path>]) -> Result<(), Error> {
        let files: Vec<PathBuf> = files.iter().map(|file| file.as_ref().to_owned()).collect();
        let out_dir = self.out_dir.map_or_else(out_dir_of_cargo, Ok)?;
        let sources = Sources::read(&files, &self.includes)?;
        for path in &sources.paths {
            println!("cargo::rerun-if-changed={}", path.display());
        }
        write_packages(&sources, self.config, &Folder(out_dir))
    }
}

fn out_dir_of_cargo() -> Result<PathBuf, Error> {
    env::var_os("OUT_DIR").map(PathBuf::from).ok_or_else(|| {
        Error::new(
            ErrorKind::Environment,
            "`OUT_DIR` is not set: `micro_build::compile` is for a build.rs",
        )
    })
}

fn write_packages(sources: &Sources, config: Config, folder: &Folder) -> Result<(), Error> {
    let modules = code::generate(sources, config)?;
    let packages = Package::all(&sources.pool);
    for package in &packages {
        // A package of options alone has no code.
        let code = modules.get(&package.module()).map_or("", String::as_str);
        let file = code::package_file(package, code, package.uses(&sources.pool))?;
        folder.write(
            package.file_stem(),
            &file,
            &descriptors::of_package(&sources.pool, package)?,
        )?;
    }
    let file = code::all_packages_file(&packages)?;
    folder.write(ALL_PACKAGES, &file, &descriptors::all(&sources.pool)?)
}

/// Where the generated files go.
struct Folder(PathBuf);

impl Folder {
    fn write(&self, stem: &str, code: &str, descriptors: &[u8]) -> Result<(), Error> {
        self.write_file(&format!("{stem}.rs"), code.as_bytes())?;
        self.write_file(&format!("{stem}.binpb"), descriptors)
    }

    /// Leaves a file alone that is already right, so that nothing is compiled again because of its date.
    fn write_file(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        let path = self.0.join(name);
        let written = match fs::read(&path) {
            Ok(present) if present == content => Ok(()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => fs::write(&path, content),
        };
        written.map_err(|error| Error::write(&path, error))
    }
}
