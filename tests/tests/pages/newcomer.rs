//! What somebody new has: a clean clone, an empty home, and what they have built since.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Folders beside the clone in which pages make a workspace. It gets the versions that are there without a network.
const WORKSPACES: [&str; 2] = ["shop", "etcd-shop"];

/// The settings of this workspace's profiles, so that what was built for the clone need not be built again.
const CARGO_CONFIG: &str = r#"
[profile.dev]
debug = "line-tables-only"

[profile.dev.package."*"]
debug = false
"#;

/// A clean clone and an empty home, made anew for each run.
///
/// What cargo builds from them stays in a folder of their own, for the next run: in the target folder of the checkout the
/// clone's packages would pass for those of the checkout.
pub(crate) struct Newcomer {
    pub(crate) clone: PathBuf,
    pub(crate) home: PathBuf,
    pub(crate) target: PathBuf,
}

impl Newcomer {
    /// Clones the checkout, with what git would commit now, into `folder`.
    pub(crate) fn arrive(checkout: &Path, folder: &Path) -> Self {
        let at = |name: &str| folder.join(name);
        let newcomer = Self {
            clone: at("micro"),
            home: at("home"),
            target: at("target"),
        };
        for old in [&newcomer.clone, &newcomer.home] {
            match fs::remove_dir_all(old) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    panic!("remove {}: {error}", old.display())
                }
                _ => {}
            }
        }
        fs::create_dir_all(&newcomer.target).unwrap();
        let (from, to) = (checkout.to_str().unwrap(), newcomer.clone.to_str().unwrap());
        git(folder, &["clone", "--quiet", "--shared", from, to], Vec::new());
        let changes = git(checkout, &["diff", "--binary", "HEAD"], Vec::new());
        if !changes.is_empty() {
            git(&newcomer.clone, &["apply"], changes);
        }
        // Where somebody finds the programs whom no variable tells where to build.
        symlink(&newcomer.target, newcomer.clone.join("target")).unwrap();
        for workspace in WORKSPACES {
            fs::create_dir_all(newcomer.home.join(workspace)).unwrap();
            let lock = newcomer.home.join(workspace).join("Cargo.lock");
            fs::copy(newcomer.clone.join("Cargo.lock"), lock).unwrap();
        }
        fs::create_dir(newcomer.home.join(".cargo")).unwrap();
        fs::write(newcomer.home.join(".cargo/config.toml"), CARGO_CONFIG).unwrap();
        newcomer
    }
}

/// Runs git with this input, and answers with what it says.
fn git(folder: &Path, arguments: &[&str], input: Vec<u8>) -> Vec<u8> {
    let mut command = Command::new("git");
    // What a hook of git's is told is about another folder.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"] {
        command.env_remove(name);
    }
    command.current_dir(folder).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command
        .spawn()
        .expect("git is there, as whoever cloned this has it");
    let mut writer = child.stdin.take().unwrap();
    let writing = std::thread::spawn(move || io::Write::write_all(&mut writer, &input));
    let output = child.wait_with_output().unwrap();
    writing.join().unwrap().unwrap();
    assert!(
        output.status.success(),
        "git {} in {}: {}",
        arguments.join(" "),
        folder.display(),
        output.status
    );
    output.stdout
}
