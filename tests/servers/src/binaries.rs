//! The command and the services of the examples, as whole-system tests start them.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
};

/// The program `name`: the command or a service of the examples, built once for all registries by the cargo that runs
/// the test.
///
/// # Panics
///
/// When cargo cannot build them, or none has this name.
#[must_use]
pub fn binary(name: &str) -> PathBuf {
    static BUILT: OnceLock<BTreeMap<String, PathBuf>> = OnceLock::new();
    let binary = BUILT.get_or_init(build).get(name);
    binary
        .unwrap_or_else(|| panic!("no binary `{name}` was built"))
        .clone()
}

fn build() -> BTreeMap<String, PathBuf> {
    let mut ancestors = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let root = ancestors.nth(2).expect("the package is in a folder of the tests");
    let mut cargo = Command::new(env!("CARGO"));
    // What cargo tells a test of its package would have the packages built anew whose build scripts look at it.
    let told = |name: &String| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
    env::vars().map(|(name, _)| name).filter(told).for_each(|name| {
        cargo.env_remove(name);
    });
    let output = cargo
        .args(["build", "--quiet", "--message-format=json"])
        .args(["-p", "micro-cli", "-p", "greeter", "-p", "welcome"])
        // One binary of each for all registries.
        .arg("--features=micro-cli/etcd,greeter/consul,greeter/etcd,welcome/consul,welcome/etcd")
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo build failed");
    let messages = String::from_utf8(output.stdout).expect("cargo writes UTF-8");
    let executables = messages.lines().filter_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let path = PathBuf::from(message.get("executable")?.as_str()?);
        Some((message["target"]["name"].as_str()?.to_owned(), kept(&path)))
    });
    executables.collect()
}

/// A name of this program's own for what was built: a `micro run` in another test builds the same package with
/// other features, and cargo puts that in its place.
fn kept(built: &Path) -> PathBuf {
    let folder = built.with_file_name("programs");
    fs::create_dir_all(&folder).expect("the target folder can be written to");
    let kept = folder.join(built.file_name().expect("a program has a name"));
    if kept.exists() {
        fs::remove_file(&kept).expect("what an earlier test kept can be removed");
    }
    fs::hard_link(built, &kept).expect("the target folder has links");
    kept
}
