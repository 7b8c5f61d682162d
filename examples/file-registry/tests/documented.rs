//! What docs/registries.md shows is so: the record of a file, the commands, the options.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

use std::{collections::BTreeSet, fs, path::Path, time::Duration};

use file_registry::FileRegistry;
use micro_registry::{Node, Registry};
use serde_json::Value;

const DOCUMENTATION: &str = include_str!("../../../docs/registries.md");
const REFERENCE: &str = include_str!("../../../framework/src/config/reference.toml");
const VARIABLES: &str = include_str!("../../../framework/src/config/env.rs");

fn node() -> Node {
    let address = "10.0.0.7:9090".parse().unwrap();
    let node = Node::builder("clock".parse().unwrap(), "clock-0192f0c4", address);
    node.version("1.2.0").boot("7c1e5f0e9d2b4a68").build().unwrap()
}

/// The block behind the mark `name`.
fn shown(name: &str) -> &'static str {
    let (_, behind) = DOCUMENTATION.split_once(&format!("<!-- {name} -->")).unwrap();
    behind.split("```").nth(1).unwrap().split_once('\n').unwrap().1
}

/// The lines of the blocks of commands.
fn commands() -> impl Iterator<Item = &'static str> {
    let blocks = DOCUMENTATION.split("```sh\n").skip(1);
    blocks.flat_map(|block| block.split("```").next().unwrap().lines())
}

#[tokio::test]
async fn the_documented_file_is_what_is_written_and_read() {
    let folder = tempfile::tempdir().unwrap();
    let registry = FileRegistry::new(folder.path());
    registry.register(&node(), Duration::from_secs(30)).await.unwrap();
    let path = folder.path().join("clock/clock-0192f0c4.json");
    let value = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let (mut documented, written) = (
        value(shown("file record")),
        value(&fs::read_to_string(&path).unwrap()),
    );
    documented["expires_ms"] = written["expires_ms"].clone();
    assert_eq!(documented, written);
    fs::write(&path, documented.to_string()).unwrap();
    assert_eq!(*registry.get_service("clock").await.unwrap().nodes()[0], node());
}

#[test]
fn the_documented_commands_run_what_there_is() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let manifests: Vec<_> = fs::read_dir(examples)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_dir())
        .map(|folder| (fs::read_to_string(folder.join("Cargo.toml")).unwrap(), folder))
        .collect();
    let runs: Vec<_> = commands()
        .filter_map(|line| line.split_once("cargo run -p "))
        .collect();
    assert!(runs.len() >= 4, "{runs:?}");
    for (variables, arguments) in runs {
        for variable in variables
            .split(' ')
            .filter_map(|pair| pair.split('=').next())
            .filter(|name| !name.is_empty())
        {
            assert!(VARIABLES.contains(&format!("\"{variable}\"")), "{variable}");
        }
        let mut words = arguments.split(' ');
        let name = format!("name = \"{}\"", words.next().unwrap());
        let (manifest, folder) = manifests
            .iter()
            .find(|(text, _)| text.contains(&name))
            .expect(&name);
        match (words.next(), words.next()) {
            (Some("--features"), Some(feature)) => {
                assert!(manifest.contains(&format!("{feature} = [")), "{feature}");
            }
            (Some("--bin"), Some(program)) => assert!(folder.join(format!("src/bin/{program}.rs")).exists()),
            rest => assert_eq!(rest, (None, None)),
        }
    }
}

#[test]
fn the_documented_options_are_all_there_are() {
    for table in ["consul", "etcd"] {
        let heading = format!("[{table}]");
        let lines = REFERENCE
            .lines()
            .skip_while(|line| !line.starts_with(&heading))
            .skip(1);
        let lines = lines.take_while(|line| !line.starts_with('['));
        let keys = lines.filter_map(|line| line.trim_start_matches("# ").split_once(" = "));
        let keys: BTreeSet<_> = keys.map(|(key, _)| key).collect();
        let (_, behind) = DOCUMENTATION
            .split_once(&format!("| `[{table}]` in `micro.toml` |"))
            .unwrap();
        let rows: Vec<_> = behind
            .lines()
            .skip(2)
            .take_while(|line| line.starts_with('|'))
            .collect();
        let documented: BTreeSet<_> = rows.iter().map(|row| row.split('`').nth(1).unwrap()).collect();
        assert_eq!(documented, keys, "[{table}]");
        let words = rows.iter().flat_map(|row| row.split('`'));
        for variable in words
            .filter(|word| word.contains('_') && word.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        {
            assert!(VARIABLES.contains(&format!("\"{variable}\"")), "{variable}");
        }
    }
}
