//! A program out of one of Debian's packages, without installing it or touching what the machine has installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process,
};

use crate::{Result, cargo::Step};

/// Where apt keeps the sources of packages.
const SOURCES: [&str; 2] = ["/etc/apt/sources.list", "/etc/apt/sources.list.d"];
/// Where Debian is served when the machine's own sources do not say.
const MIRROR: &str = "http://deb.debian.org/debian";
/// The keys with which Debian signs its suites, old and new; from the package `debian-archive-keyring`.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A package in Debian's section `main`.
#[derive(Debug)]
pub(super) struct Package {
    pub(super) name: &'static str,
    pub(super) suite: &'static str,
    /// The one file that is wanted of it.
    pub(super) program: &'static str,
}

impl Package {
    /// Downloads the package with apt, which checks its signature, and puts its program at `program`.
    pub(super) fn unpack(&self, folder: &Path, program: &Path) -> Result<()> {
        if !Path::new(KEYS).is_file() {
            return Err(format!("no keys to check it with at {KEYS}").into());
        }
        // Two runs at the same time do not meet: each has a folder of its own, and the last step is one rename.
        let scratch = Scratch::new(folder.join(format!("{}-{}", self.name, process::id())))?;
        let apt = Apt::new(&scratch.0, self.suite)?;
        apt.step(["update"]).run()?;
        apt.step(["download", self.name]).within(&scratch.0).run()?;
        let package = package_in(&scratch.0)?;
        let unpacked = scratch.0.join("unpacked");
        let arguments = ["-x", text(&package)?, text(&unpacked)?];
        Step::new(
            "dpkg-deb",
            format!("dpkg-deb -x {}", package.display()),
            arguments,
        )
        .run()?;
        fs::rename(unpacked.join(self.program), program)?;
        Ok(())
    }
}

/// A folder that goes when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(folder: PathBuf) -> Result<Self> {
        fs::create_dir_all(&folder)?;
        Ok(Self(folder))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What stays behind is a folder of cargo's, and goes with `cargo clean`.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// apt with a state and sources of its own.
struct Apt {
    options: Vec<String>,
}

impl Apt {
    fn new(folder: &Path, suite: &str) -> Result<Self> {
        for part in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(part))?;
        }
        fs::write(folder.join("status"), "")?;
        let mirror = mirror();
        let source = format!("deb [signed-by={KEYS}] {mirror} {suite} main\n");
        fs::write(folder.join("sources.list"), source)?;
        let folder = text(folder)?;
        let options = [
            format!("Dir::State={folder}/state"),
            format!("Dir::State::status={folder}/status"),
            format!("Dir::Cache={folder}/cache"),
            format!("Dir::Etc::sourcelist={folder}/sources.list"),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
            "Acquire::Retries=3".to_owned(),
            // The user that apt would change to may not write into our folder.
            "APT::Sandbox::User=root".to_owned(),
        ];
        Ok(Self {
            options: options.into(),
        })
    }

    fn step<const N: usize>(&self, command: [&str; N]) -> Step {
        let options = self.options.iter().flat_map(|option| ["-o", option.as_str()]);
        let shown = format!("apt-get {}", command.join(" "));
        Step::new("apt-get", shown, ["-q"].into_iter().chain(options).chain(command))
    }
}

/// The mirror of Debian that this machine uses.
fn mirror() -> String {
    let mut files = vec![PathBuf::from(SOURCES[0])];
    if let Ok(entries) = fs::read_dir(SOURCES[1]) {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    let texts = files.iter().filter_map(|file| fs::read_to_string(file).ok());
    texts
        .filter_map(|text| mirror_in(&text))
        .next()
        .unwrap_or_else(|| MIRROR.to_owned())
}

/// The first mirror of Debian's own suites in a file of sources, in either of apt's formats.
fn mirror_in(sources: &str) -> Option<String> {
    let lines = sources
        .lines()
        .filter(|line| line.starts_with("deb ") || line.starts_with("URIs:"));
    lines
        .flat_map(str::split_whitespace)
        .find(|word| word.starts_with("http") && word.trim_end_matches('/').ends_with("/debian"))
        .map(str::to_owned)
}

fn package_in(folder: &Path) -> Result<PathBuf> {
    let mut files = fs::read_dir(folder)?.flatten().map(|entry| entry.path());
    let found = files.find(|file| file.extension().is_some_and(|extension| extension == "deb"));
    found.ok_or_else(|| "apt-get downloaded no package".into())
}

fn text(path: &Path) -> Result<&str> {
    path.to_str()
        .ok_or_else(|| format!("{} is not UTF-8", path.display()).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_of_the_machine_is_found_in_both_formats() {
        let of_lines = "# deb http://old.example/debian x main\n\
                        deb https://packages.example/apt tools main\n\
                        deb [arch=amd64] http://mirror.example/debian/ bookworm main\n";
        assert_eq!(
            mirror_in(of_lines).as_deref(),
            Some("http://mirror.example/debian/")
        );
        let of_fields = "Types: deb\n# URIs: http://old.example/debian\nURIs: http://security.example/debian-security \
                         http://mirror.example/debian\nSuites: bookworm\n";
        assert_eq!(
            mirror_in(of_fields).as_deref(),
            Some("http://mirror.example/debian")
        );
        assert_eq!(mirror_in("deb http://archive.example/ubuntu noble main"), None);
    }
}
