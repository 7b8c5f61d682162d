//! A new service on disk.

use tempfile::TempDir;

use super::*;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn files_below(folder: &Path) -> Vec<String> {
    let mut files = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else {
                files.push(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    files.sort();
    files
}

#[test]
fn a_new_service_has_all_that_it_needs_and_nothing_else() {
    let parent = folder();
    let folder = parent.path().join("services/my-shop");
    assert_eq!(create(&folder, None).unwrap(), "my-shop");
    assert_eq!(
        files_below(&folder),
        [
            ".gitignore",
            "Cargo.toml",
            "README.md",
            "build.rs",
            "micro.toml",
            "proto/my_shop.proto",
            "src/handler.rs",
            "src/main.rs",
            "src/tests.rs",
        ]
    );
}

#[test]
fn no_placeholder_is_left() {
    let parent = folder();
    let folder = parent.path().join("my-shop");
    create(&folder, None).unwrap();
    for file in files_below(&folder) {
        let text = fs::read_to_string(folder.join(&file)).unwrap();
        for mark in ["{{", "}}", "{%", "%}"] {
            assert!(!text.contains(mark), "{file}: {mark}");
        }
        assert!(text.ends_with('\n'), "{file}");
        assert!(!text.ends_with("\n\n"), "{file}");
    }
}

#[test]
fn its_manifest_depends_on_the_checkout() {
    let parent = folder();
    let folder = parent.path().join("my-shop");
    create(&folder, None).unwrap();
    let manifest: toml::Table = fs::read_to_string(folder.join("Cargo.toml"))
        .unwrap()
        .parse()
        .unwrap();
    assert_eq!(manifest["package"]["name"].as_str(), Some("my-shop"));
    let framework = manifest["dependencies"]["micro"]["path"].as_str().unwrap();
    assert!(Path::new(framework).join("Cargo.toml").is_file(), "{framework}");
    assert!(!manifest.contains_key("workspace"));
}

#[test]
fn within_a_workspace_that_does_not_know_it_it_is_one_of_its_own() {
    let parent = folder();
    fs::write(parent.path().join("Cargo.toml"), "[workspace]\n").unwrap();
    let folder = parent.path().join("my-shop");
    create(&folder, None).unwrap();
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    assert!(manifest.contains_key("workspace"));
}

#[test]
fn what_exists_is_refused_and_left_as_it_is() {
    let parent = folder();
    let full = parent.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("mine.txt"), "mine").unwrap();
    let empty = parent.path().join("empty");
    fs::create_dir(&empty).unwrap();
    let file = parent.path().join("file");
    fs::write(&file, "mine").unwrap();
    for path in [&full, &empty, &file] {
        let failure = create(path, None).unwrap_err().to_string();
        assert!(
            failure.contains("exists already and was left as it is"),
            "{failure}"
        );
    }
    assert_eq!(files_below(parent.path()), ["file", "full/mine.txt"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
}

#[test]
fn nothing_is_made_of_what_is_refused() {
    let parent = folder();
    assert!(create(&parent.path().join("inner/match"), None).is_err());
    assert!(create(&parent.path().join("inner/shop"), Some(parent.path())).is_err());
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
}
