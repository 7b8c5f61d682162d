//! Programs out of Debian's packages, without installing them or touching what the machine has installed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{self, Command},
};

use crate::{Result, cargo::Step};

/// Where apt keeps the sources of packages.
const SOURCES: [&str; 2] = ["/etc/apt/sources.list", "/etc/apt/sources.list.d"];
/// Where Debian is served when the machine's own sources do not say.
const MIRROR: &str = "http://deb.debian.org/debian";
const SECURITY_MIRROR: &str = "http://deb.debian.org/debian-security";
/// Which system this is.
const RELEASE: &str = "/etc/os-release";
/// The packages that this machine has.
const STATUS: &str = "/var/lib/dpkg/status";
/// The keys with which Debian signs its suites, old and new; from the package `debian-archive-keyring`.
const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// A package in Debian's section `main`.
#[derive(Debug)]
pub(crate) struct Package {
    pub(crate) name: &'static str,
    pub(crate) suite: &'static str,
    /// The one file that is wanted of it.
    pub(crate) program: &'static str,
}

impl Package {
    /// Downloads the package with apt, which checks its signature, and puts its program at `program`.
    pub(crate) fn unpack(&self, folder: &Path, program: &Path) -> Result<()> {
        let scratch = Scratch::new(folder, self.name)?;
        let source = source(&mirror("/debian", MIRROR), self.suite);
        fs::write(scratch.0.join("status"), "")?;
        let apt = Apt::new(&scratch.0, &source, &scratch.0.join("status"))?;
        apt.step(["update"])?.run()?;
        apt.step(["download", self.name])?.within(&scratch.0).run()?;
        let unpacked = scratch.0.join("unpacked");
        extract(&scratch.0, &unpacked)?;
        fs::rename(unpacked.join(self.program), program)?;
        Ok(())
    }
}

/// Downloads packages of this machine's own release, and what they need that it does not have, and unpacks all of it
/// as `root` within `folder`.
pub(crate) fn unpack_all<const N: usize>(packages: [&str; N], folder: &Path, root: &str) -> Result<()> {
    let release = fs::read_to_string(RELEASE).map_err(|_| "this is no Debian")?;
    let suite = suite_in(&release).ok_or("this is no Debian")?;
    let scratch = Scratch::new(folder, root)?;
    let (main, security) = (
        mirror("/debian", MIRROR),
        mirror("/debian-security", SECURITY_MIRROR),
    );
    let sources = [
        source(&main, suite),
        source(&main, &format!("{suite}-updates")),
        source(&security, &format!("{suite}-security")),
    ];
    let apt = Apt::new(&scratch.0, &sources.concat(), Path::new(STATUS))?;
    apt.step(["update"])?.run()?;
    let install = ["install", "--yes", "--download-only", "--no-install-recommends"];
    apt.step(install.into_iter().chain(packages))?.run()?;
    let unpacked = scratch.0.join("unpacked");
    extract(&scratch.0.join("cache/archives"), &unpacked)?;
    let root = folder.join(root);
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    fs::rename(unpacked, root)?;
    Ok(())
}

/// A folder that goes when it is dropped.
struct Scratch(PathBuf);

impl Scratch {
    /// Two runs at the same time do not meet: each has a folder of its own, and the last step is one rename.
    fn new(folder: &Path, name: &str) -> Result<Self> {
        if !Path::new(KEYS).is_file() {
            return Err(format!("no keys to check it with at {KEYS}").into());
        }
        let folder = folder.join(format!("{name}-{}", process::id()));
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
    fn new(folder: &Path, sources: &str, status: &Path) -> Result<Self> {
        for part in ["state/lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(part))?;
        }
        fs::write(folder.join("sources.list"), sources)?;
        let status = text(status)?;
        let folder = text(folder)?;
        let options = [
            format!("Dir::State={folder}/state"),
            format!("Dir::State::status={status}"),
            format!("Dir::Cache={folder}/cache"),
            format!("Dir::Etc::sourcelist={folder}/sources.list"),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            // What the machine prefers for itself is not asked.
            "Dir::Etc::preferences=/dev/null".to_owned(),
            "Dir::Etc::preferencesparts=/dev/null".to_owned(),
            // The folders are ours alone, and the system's lock is root's.
            "Debug::NoLocking=1".to_owned(),
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

    fn step<'a>(&self, command: impl IntoIterator<Item = &'a str>) -> Result<Step> {
        let command: Vec<_> = command.into_iter().collect();
        let options = self.options.iter().flat_map(|option| ["-o", option.as_str()]);
        let shown = format!("apt-get {}", command.join(" "));
        let arguments = ["-qq"].into_iter().chain(options).chain(command);
        Ok(Step::new("apt-get", shown, arguments))
    }
}

/// A line of sources.
fn source(mirror: &str, suite: &str) -> String {
    format!("deb [signed-by={KEYS}] {mirror} {suite} main\n")
}

/// The mirror that this machine uses of what is found at a path with this end.
fn mirror(end: &str, default: &str) -> String {
    let mut files = vec![PathBuf::from(SOURCES[0])];
    if let Ok(entries) = fs::read_dir(SOURCES[1]) {
        files.extend(entries.flatten().map(|entry| entry.path()));
    }
    let texts = files.iter().filter_map(|file| fs::read_to_string(file).ok());
    texts
        .filter_map(|text| mirror_in(&text, end))
        .next()
        .unwrap_or_else(|| default.to_owned())
}

/// The first mirror with this end in a file of sources, in either of apt's formats.
fn mirror_in(sources: &str, end: &str) -> Option<String> {
    let lines = sources
        .lines()
        .filter(|line| line.starts_with("deb ") || line.starts_with("URIs:"));
    lines
        .flat_map(str::split_whitespace)
        .find(|word| word.starts_with("http") && word.trim_end_matches('/').ends_with(end))
        .map(str::to_owned)
}

/// The name of the suite that this machine runs, if it is one of Debian's.
fn suite_in(release: &str) -> Option<&str> {
    let value = |name: &str| {
        let mut lines = release.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
    };
    (value("ID")? == "debian").then(|| value("VERSION_CODENAME"))?
}

/// Unpacks every package in `packages`.
fn extract(packages: &Path, root: &Path) -> Result<()> {
    let files = fs::read_dir(packages)?.flatten().map(|entry| entry.path());
    let files = files.filter(|file| file.extension().is_some_and(|extension| extension == "deb"));
    let mut count = 0;
    for file in files {
        let unpacked = Command::new("dpkg-deb").arg("-x").arg(&file).arg(root).status()?;
        if !unpacked.success() {
            return Err(format!("`dpkg-deb -x {}` failed ({unpacked})", file.display()).into());
        }
        count += 1;
    }
    println!("  unpacked {count} packages");
    if count == 0 {
        return Err("apt-get downloaded no package".into());
    }
    Ok(())
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
            mirror_in(of_lines, "/debian").as_deref(),
            Some("http://mirror.example/debian/")
        );
        let of_fields = "Types: deb\n# URIs: http://old.example/debian\nURIs: http://security.example/debian-security \
                         http://mirror.example/debian\nSuites: bookworm\n";
        assert_eq!(
            mirror_in(of_fields, "/debian").as_deref(),
            Some("http://mirror.example/debian")
        );
        assert_eq!(
            mirror_in(of_fields, "/debian-security").as_deref(),
            Some("http://security.example/debian-security")
        );
        assert_eq!(
            mirror_in("deb http://archive.example/ubuntu noble main", "/debian"),
            None
        );
    }

    #[test]
    fn the_suite_is_known_on_debian_alone() {
        let release =
            "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nVERSION_CODENAME=bookworm\nID=debian\n";
        assert_eq!(suite_in(release), Some("bookworm"));
        assert_eq!(
            suite_in("ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=noble\n"),
            None
        );
        assert_eq!(suite_in("ID=debian\n"), None);
    }
}
