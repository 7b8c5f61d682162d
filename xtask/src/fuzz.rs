//! `cargo xtask fuzz`: looks for bytes that do harm to what reads them, with libFuzzer.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    Result,
    cargo::{Step, cargo, root, target_folder},
};

/// The package of the targets, beside the workspace.
const FOLDER: &str = "fuzz";
/// What a fuzzer learns from where its bytes led, and what notices harm that is no panic.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Zsanitizer=address -Ccodegen-units=1";
/// The limits of one run: bytes that take more time or memory than this do harm.
const LIMITS: &str = "-timeout=10 -rss_limit_mb=1024 -max_len=65536 -print_final_stats=1";
const NEEDED: &str = "fuzzing needs rustup with a nightly toolchain (`rustup toolchain install nightly`) and a \
    compiler for C++, which libFuzzer is written in";

/// Runs `target`, or all of them, for as many seconds each.
pub(crate) fn run(target: Option<&str>, seconds: u32) -> Result<()> {
    let targets = chosen(target)?;
    let host = host()?;
    let built = target_folder().join(FOLDER);
    copy_lock()?;
    let build = "cargo build --release --bins --manifest-path fuzz/Cargo.toml --target";
    nightly(&format!("{build} {host}"))
        .env("RUSTFLAGS", FLAGS)
        .env("CARGO_TARGET_DIR", &built)
        .with_protoc()?
        .run()
        .map_err(|error| format!("{error}; {NEEDED}"))?;
    // One that finds something keeps no other from being run.
    let found = targets
        .iter()
        .filter_map(|target| fuzz(target, seconds, &built, &host).err());
    match found.map(|error| error.to_string()).collect::<Vec<_>>() {
        found if found.is_empty() => Ok(()),
        found => Err(found.join("\n").into()),
    }
}

/// Looks whether the targets still compile; for that, neither a nightly toolchain nor libFuzzer itself is needed.
pub(crate) fn check() -> Result<()> {
    copy_lock()?;
    cargo("check --bins --manifest-path fuzz/Cargo.toml")
        .env("CARGO_TARGET_DIR", target_folder())
        // Nothing is linked, so it need not be there; without this, it would be built, by a compiler for C++.
        .env("CUSTOM_LIBFUZZER_PATH", target_folder().join("libfuzzer.a"))
        .with_protoc()?
        .run()
}

/// The versions that the workspace is built with.
fn copy_lock() -> Result<()> {
    fs::copy(root().join("Cargo.lock"), root().join(FOLDER).join("Cargo.lock"))?;
    Ok(())
}

fn fuzz(target: &str, seconds: u32, built: &Path, host: &str) -> Result<()> {
    let (learnt, known) = (
        built.join("corpus").join(target),
        root().join(FOLDER).join("corpus").join(target),
    );
    let found = built.join("artifacts").join(target);
    fs::create_dir_all(&learnt)?;
    fs::create_dir_all(&found)?;
    let program = built.join(host).join("release").join(target);
    let arguments = format!(
        "{LIMITS} -max_total_time={seconds} -artifact_prefix={}/",
        found.display()
    );
    // What is learnt goes into the first folder, and what the repository keeps is only read.
    Step::new(program, format!("{target} {arguments}"), arguments.split(' '))
        .arg(&learnt)
        .arg(&known)
        .run()
        .map_err(|error| {
            let found = found.display();
            format!("{error}: what did it is in {found}; once mended, keep it as fuzz/corpus/{target}/<what it is>").into()
        })
}

/// The targets that are asked for.
fn chosen(target: Option<&str>) -> Result<Vec<String>> {
    let all = targets()?;
    match target {
        None => Ok(all),
        Some(target) if all.iter().any(|known| known == target) => Ok(vec![target.to_owned()]),
        Some(target) => Err(format!("{target:?} is no target; allowed are {}", all.join(", ")).into()),
    }
}

/// The targets there are, each a file.
fn targets() -> Result<Vec<String>> {
    let files = fs::read_dir(root().join(FOLDER).join("fuzz_targets"))?;
    let paths = files
        .map(|file| Ok(file?.path()))
        .collect::<Result<Vec<PathBuf>>>()?;
    let names = paths.iter().filter_map(|path| path.file_stem()?.to_str());
    let mut names: Vec<_> = names.map(str::to_owned).collect();
    names.sort_unstable();
    Ok(names)
}

fn nightly(command: &str) -> Step {
    Step::new(
        "rustup",
        command,
        ["run", "nightly"].into_iter().chain(command.split(' ')),
    )
}

/// The triple of this machine: named, it keeps the flags from build scripts and macros.
fn host() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output()?;
    let said = String::from_utf8(output.stdout)?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .ok_or_else(|| "rustc does not say what it compiles for".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_is_built_and_has_a_corpus_that_tests_replay() {
        let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
        let replaying = [
            "gateway",
            "registry",
            "registry-consul",
            "registry-etcd",
            "registry-mdns",
        ];
        let replaying = replaying.map(|package| {
            let file = root().join(package).join("src/fuzzing.rs");
            fs::read_to_string(file).unwrap()
        });
        for target in targets().unwrap() {
            assert!(
                manifest.contains(&format!("path = \"fuzz_targets/{target}.rs\"")),
                "{target}"
            );
            let corpus = fs::read_dir(root().join("fuzz/corpus").join(&target)).unwrap();
            assert!(corpus.count() > 0, "{target}");
            let tests = replaying
                .iter()
                .filter(|text| text.contains(&format!("{target}\"")));
            assert_eq!(tests.count(), 1, "{target} is replayed");
        }
    }

    #[test]
    fn what_is_no_target_lists_what_is() {
        let error = chosen(Some("zookeeper")).unwrap_err().to_string();
        assert!(error.contains("allowed are address, consul_health"), "{error}");
    }
}
