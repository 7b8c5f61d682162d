//! Chromium and its driver for the tests of pages: found on this machine, or unpacked under the target folder.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use crate::{
    Result,
    cargo::{root, target_folder},
    debian, program,
};

/// The folder of what was unpacked, in the target folder.
const FOLDER: &str = "browser";
/// The folder in it that stands for the root of Debian's packages.
const ROOT: &str = "root";
/// The browser, its driver, and the fonts that pictures of the page are made with.
const PACKAGES: [&str; 4] = [
    "chromium",
    "chromium-driver",
    "fonts-inter",
    "fonts-jetbrains-mono",
];
/// Where Debian's programs look for fonts: among those unpacked alone, so that pictures are the same everywhere.
const FONTS: &str = r#"<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir prefix="relative">usr/share/fonts</dir>
  <cachedir prefix="xdg">fontconfig</cachedir>
  <match><test name="family"><string>system-ui</string></test><edit name="family" mode="prepend" binding="strong"><string>Inter</string></edit></match>
  <match><test name="family"><string>ui-monospace</string></test><edit name="family" mode="prepend" binding="strong"><string>JetBrains Mono</string></edit></match>
  <match><test name="family"><string>monospace</string></test><edit name="family" mode="prepend" binding="strong"><string>JetBrains Mono</string></edit></match>
</fontconfig>
"#;

/// A program that the tests start.
#[derive(Debug)]
struct Program {
    /// What it is called, on one system or another.
    names: &'static [&'static str],
    /// Tells the tests which program to start; a developer may set it.
    variable: &'static str,
    /// Where it is in Debian's packages.
    path: &'static str,
}

const CHROMIUM: Program = Program {
    names: &["chromium", "chromium-browser", "google-chrome"],
    variable: "MICRO_TEST_CHROMIUM",
    path: "usr/lib/chromium/chromium",
};
const DRIVER: Program = Program {
    names: &["chromedriver"],
    variable: "MICRO_TEST_CHROMEDRIVER",
    path: "usr/bin/chromedriver",
};
const PROGRAMS: [Program; 2] = [CHROMIUM, DRIVER];

/// The variables that tell the tests which browser and driver to start: what the developer named, else what is on PATH,
/// else what was unpacked before, else Debian's packages.
///
/// # Errors
///
/// When one is neither on this machine nor among Debian's packages; the message says how to get it.
pub(crate) fn provide() -> Result<Vec<(&'static str, PathBuf)>> {
    let named = all(|program| env::var_os(program.variable).map(|path| root().join(path)));
    if let Some(named) = named {
        return match named.iter().find(|(_, path)| !path.is_file()) {
            Some((variable, path)) => {
                Err(format!("{variable} names {}, which is no program", path.display()).into())
            }
            None => Ok(named),
        };
    }
    let installed = all(|program| program.names.iter().find_map(|name| program::on_path(name)));
    if let Some(installed) = installed {
        return Ok(installed);
    }
    let folder = target_folder().join(FOLDER);
    let unpacked = || {
        all(|program| {
            let start = folder.join(program.names[0]);
            start.is_file().then_some(start)
        })
    };
    if let Some(unpacked) = unpacked() {
        return Ok(unpacked);
    }
    println!("\nchromium and chromedriver are not both on PATH: unpack Debian's");
    unpack(&folder).map_err(|error| advice(&error.to_string()))?;
    unpacked().ok_or_else(|| advice("what was unpacked is not complete").into())
}

/// Each program by the variable for it, if `find` finds them all: one of two versions may not know the other.
fn all(find: impl Fn(&Program) -> Option<PathBuf>) -> Option<Vec<(&'static str, PathBuf)>> {
    let found = PROGRAMS
        .iter()
        .map(|program| Some((program.variable, find(program)?)));
    found.collect()
}

fn unpack(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    debian::unpack_all(PACKAGES, folder, ROOT)?;
    let unpacked = folder.join(ROOT);
    fs::write(unpacked.join("fonts.conf"), FONTS)?;
    let mut libraries = Vec::new();
    for part in ["usr/lib", "lib"] {
        folders_of_libraries(&unpacked.join(part), &mut libraries)?;
    }
    let libraries: Vec<_> = libraries
        .iter()
        .filter_map(|library| library.strip_prefix(&unpacked).ok()?.to_str())
        .collect();
    for program in &PROGRAMS {
        write_start(&folder.join(program.names[0]), &start(program.path, &libraries))?;
    }
    Ok(())
}

/// The folders below `folder` that hold libraries; not Chromium's own, which it finds by itself.
fn folders_of_libraries(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    if !folder.is_dir() || folder.ends_with("chromium") {
        return Ok(());
    }
    let is_library = |path: &PathBuf| {
        let name = path.file_name().map(|name| name.to_string_lossy());
        name.is_some_and(|name| name.contains(".so"))
    };
    let entries: Vec<_> = fs::read_dir(folder)?
        .flatten()
        .map(|entry| entry.path())
        .collect();
    if entries.iter().any(is_library) {
        found.push(folder.to_owned());
    }
    let folders = entries.iter().filter(|path| path.is_dir() && !path.is_symlink());
    folders
        .into_iter()
        .try_for_each(|inner| folders_of_libraries(inner, found))
}

/// A script that starts a program of Debian's with the libraries and the fonts that were unpacked with it.
fn start(path: &str, libraries: &[&str]) -> String {
    let libraries: Vec<_> = libraries
        .iter()
        .map(|library| format!("$root/{library}"))
        .collect();
    format!(
        "#!/bin/sh\nroot=$(dirname \"$(readlink -f \"$0\")\")/{ROOT}\nexport LD_LIBRARY_PATH=\"{}\"\n\
         export FONTCONFIG_FILE=\"$root/fonts.conf\" XDG_CACHE_HOME=\"$root/cache\"\nexec \"$root/{path}\" \"$@\"\n",
        libraries.join(":")
    )
}

fn write_start(path: &Path, script: &str) -> Result<()> {
    fs::write(path, script)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

fn advice(reason: &str) -> String {
    format!(
        "the tests of the dashboard start Chromium, which is not on PATH with its driver, and Debian's packages cannot be \
         had here ({reason}): install `chromium` and `chromedriver` (on Debian: `apt-get install chromium \
         chromium-driver`), or set {} and {} to the paths of the programs",
        CHROMIUM.variable, DRIVER.variable
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_that_cannot_be_had_says_how_to_get_it() {
        let advice = advice("no apt-get");
        for needed in [
            "chromium-driver",
            "MICRO_TEST_CHROMIUM",
            "MICRO_TEST_CHROMEDRIVER",
            "no apt-get",
        ] {
            assert!(advice.contains(needed), "{advice}");
        }
    }

    #[test]
    fn a_program_is_started_with_what_was_unpacked_with_it() {
        let script = start("usr/bin/a", &["usr/lib/x", "lib/y"]);
        assert!(
            script.contains("LD_LIBRARY_PATH=\"$root/usr/lib/x:$root/lib/y\""),
            "{script}"
        );
        assert!(script.ends_with("exec \"$root/usr/bin/a\" \"$@\"\n"), "{script}");
    }

    #[test]
    fn both_programs_come_from_one_place() {
        assert!(all(|program| (program.names[0] == "chromium").then(PathBuf::new)).is_none());
        assert_eq!(all(|_| Some(PathBuf::new())).map(|found| found.len()), Some(2));
    }
}
