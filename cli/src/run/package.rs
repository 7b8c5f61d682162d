//! The package that `micro run` builds: found by cargo, built by cargo, in cargo's own words.

use std::{
    env,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    process::Stdio,
};

use serde::Deserialize;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    process::Command,
};

use crate::failure::{Failure, Result};

pub(super) const MANIFEST: &str = "Cargo.toml";

/// A package with the binary that is to run.
#[derive(Clone, Debug)]
pub(super) struct Package {
    /// The name in `Cargo.toml`.
    pub(super) name: String,
    /// The folder of `Cargo.toml`, absolute.
    pub(super) folder: PathBuf,
    /// The folders of all packages that cargo builds together with it.
    pub(super) sources: Vec<PathBuf>,
    /// Where cargo builds.
    pub(super) target: PathBuf,
    binary: String,
}

/// What cargo built.
#[derive(Debug)]
pub(super) struct Built {
    pub(super) executable: PathBuf,
    /// Whether it was there already, and nothing was to be done.
    pub(super) is_fresh: bool,
}

/// What `cargo metadata` says, as far as it matters here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<MetadataPackage>,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct MetadataPackage {
    name: String,
    manifest_path: PathBuf,
    default_run: Option<String>,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

/// A line of `cargo build --message-format=json`, as far as it matters here.
#[derive(Deserialize)]
struct Artifact {
    reason: String,
    target: Option<Target>,
    executable: Option<PathBuf>,
    #[serde(default)]
    fresh: bool,
}

impl Target {
    fn is_binary(&self) -> bool {
        self.kind.iter().any(|kind| kind == "bin")
    }
}

impl Package {
    /// The folder of the package at `path`, absolute; `path` may also be its `Cargo.toml`.
    pub(super) fn folder(path: &Path) -> Result<PathBuf> {
        let named = path.file_name().is_some_and(|name| name == MANIFEST);
        let folder = if named { path.parent() } else { Some(path) };
        // The parent of a bare file name is empty.
        let folder = folder
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        if !folder.join(MANIFEST).is_file() {
            return Err(Failure::usage(format!(
                "no package at `{}`: a folder with a {MANIFEST} is needed",
                path.display()
            )));
        }
        fs::canonicalize(folder)
            .map_err(|error| Failure::because(format!("open `{}`", folder.display()), &error))
    }

    /// Finds the package in `folder`, and its binary `binary`, which need not be named if there is one only.
    pub(super) async fn find(folder: &Path, binary: Option<&str>) -> Result<Self> {
        let manifest = folder.join(MANIFEST);
        let output = Command::new(cargo())
            .args(["metadata", "--no-deps", "--format-version=1", "--manifest-path"])
            .arg(&manifest)
            .current_dir(folder)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|error| cannot_start(&error))?;
        if !output.status.success() {
            return Err(Failure::new(format!(
                "cargo cannot read `{}`",
                manifest.display()
            )));
        }
        let metadata: Metadata = serde_json::from_slice(&output.stdout)
            .map_err(|error| Failure::because("read what cargo says of the package", &error))?;
        let folders = members(&metadata, folder);
        let sources = sources(&metadata);
        let Some(package) = metadata
            .packages
            .into_iter()
            .find(|package| is_same_file(&package.manifest_path, &manifest))
        else {
            return Err(Failure::usage(format!(
                "`{}` is a workspace and no package; give the folder of one that has a binary: {}",
                folder.display(),
                folders.join(", ")
            )));
        };
        Ok(Self {
            binary: package.binary(binary)?,
            name: package.name,
            folder: folder.to_owned(),
            sources,
            target: metadata.target_directory,
        })
    }

    /// Builds the binary and answers where it is; what the compiler says goes to standard error as it comes.
    pub(super) async fn build(&self, release: bool) -> Result<Built> {
        let mut command = Command::new(cargo());
        command
            .args([
                "build",
                "--message-format=json-render-diagnostics",
                "--manifest-path",
            ])
            .arg(self.folder.join(MANIFEST))
            .args(["--bin", &self.binary])
            // Its toolchain and cargo's settings are those of its folder.
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true);
        if release {
            command.arg("--release");
        }
        let mut child = command.spawn().map_err(|error| cannot_start(&error))?;
        let output = child.stdout.take().expect("standard output is piped");
        let executable = self.executable(output).await;
        let status = child
            .wait()
            .await
            .map_err(|error| Failure::because("wait for cargo", &error))?;
        if !status.success() {
            return Err(Failure::new(format!("cannot build `{}`", self.name)));
        }
        executable
            .map_err(|error| Failure::because("read what cargo built", &error))?
            .ok_or_else(|| Failure::new(format!("cargo built no binary `{}`", self.binary)))
    }

    async fn executable(&self, output: impl tokio::io::AsyncRead + Unpin) -> io::Result<Option<Built>> {
        let mut lines = BufReader::new(output).lines();
        let mut found = None;
        while let Some(line) = lines.next_line().await? {
            // Build scripts of some packages print lines of their own between cargo's.
            let Ok(artifact) = serde_json::from_str::<Artifact>(&line) else {
                continue;
            };
            let is_ours = artifact.reason == "compiler-artifact"
                && artifact
                    .target
                    .is_some_and(|target| target.is_binary() && target.name == self.binary);
            if is_ours {
                let is_fresh = artifact.fresh;
                let built = artifact
                    .executable
                    .map(|executable| Built { executable, is_fresh });
                found = built.or(found);
            }
        }
        Ok(found)
    }
}

impl MetadataPackage {
    fn binary(&self, asked: Option<&str>) -> Result<String> {
        let binaries: Vec<_> = self
            .targets
            .iter()
            .filter(|target| target.is_binary())
            .map(|target| target.name.as_str())
            .collect();
        let name = &self.name;
        let listed = binaries.join(", ");
        if let Some(asked) = asked {
            return match binaries.contains(&asked) {
                true => Ok(asked.to_owned()),
                false if binaries.is_empty() => {
                    Err(Failure::usage(format!("package `{name}` has no binary to run")))
                }
                false => Err(Failure::usage(format!(
                    "package `{name}` has no binary `{asked}`; there are: {listed}"
                ))),
            };
        }
        match (&self.default_run, binaries.as_slice()) {
            (Some(default), _) => Ok(default.clone()),
            (None, [only]) => Ok((*only).to_owned()),
            (None, []) => Err(Failure::usage(format!("package `{name}` has no binary to run"))),
            (None, _) => Err(Failure::usage(format!(
                "package `{name}` has several binaries; say which with --bin: {listed}"
            ))),
        }
    }
}

/// The cargo that started this process, or the one on the path.
fn cargo() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

fn cannot_start(error: &io::Error) -> Failure {
    Failure::because(format!("start `{}`", Path::new(&cargo()).display()), error)
}

/// The folders of all packages of a workspace with a binary, as they can be typed after that of the workspace.
fn members(workspace: &Metadata, folder: &Path) -> Vec<String> {
    let packages = workspace.packages.iter();
    packages
        .filter(|package| package.targets.iter().any(Target::is_binary))
        .filter_map(|package| package.manifest_path.parent())
        .map(|member| {
            member
                .strip_prefix(folder)
                .unwrap_or(member)
                .display()
                .to_string()
        })
        .collect()
}

/// The folders of all packages of the workspace.
fn sources(workspace: &Metadata) -> Vec<PathBuf> {
    let folders = workspace
        .packages
        .iter()
        .filter_map(|package| package.manifest_path.parent());
    let mut folders: Vec<_> = folders.map(Path::to_owned).collect();
    folders.sort_unstable();
    // What is below another is watched with it.
    folders.dedup_by(|folder, before| folder.starts_with(before));
    folders
}

fn is_same_file(a: &Path, b: &Path) -> bool {
    fs::canonicalize(a).is_ok_and(|a| a == b)
}
