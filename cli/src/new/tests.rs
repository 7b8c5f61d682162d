//! A new service on disk.

use std::sync::Arc;

use tempfile::TempDir;

use super::*;

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn order(path: &Path) -> Order<'_> {
    Order {
        path,
        template: Template::Service,
        calls: None,
        registry: NewRegistry::Mdns,
        checkout: None,
    }
}

fn make(path: &Path) -> Result<Made> {
    create(&order(path))
}

fn table(path: &Path) -> toml::Table {
    fs::read_to_string(path).unwrap().parse().unwrap()
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
    assert_eq!(make(&folder).unwrap().service, "my-shop");
    assert_eq!(
        files_below(&folder),
        [
            ".dockerignore",
            ".github/workflows/ci.yml",
            ".gitignore",
            "Cargo.toml",
            "Dockerfile",
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
fn no_placeholder_is_left_whatever_is_asked_for() {
    for template in [
        Template::Service,
        Template::Client,
        Template::Gateway,
        Template::Registry,
    ] {
        for registry in [NewRegistry::Mdns, NewRegistry::Consul, NewRegistry::Etcd] {
            let parent = folder();
            let folder = parent.path().join("my-shop");
            let mut order = order(&folder);
            order.template = template;
            order.registry = registry;
            create(&order).unwrap();
            for file in files_below(&folder) {
                let text = fs::read_to_string(folder.join(&file)).unwrap();
                let text = text.replace("${{ vars.MICRO_REPOSITORY }}", "");
                // Braces of `format!`.
                let text = text.replace("{{\"service\"", "").replace("9999}}\"", "");
                for mark in ["{{", "}}", "{%", "%}"] {
                    assert!(!text.contains(mark), "{file}: {mark}");
                }
                assert!(text.ends_with('\n'), "{file}");
                assert!(!text.ends_with("\n\n"), "{file}");
            }
        }
    }
}

/// A line without the mark that makes a comment of a setting.
fn switched_on(line: &str) -> &str {
    let setting = line.strip_prefix("# ").filter(|text| {
        let key = text.split_once(" = ").map(|(key, _)| key);
        let is_plain = |key: &str| {
            key.trim_end()
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        };
        key.is_some_and(is_plain)
    });
    setting.unwrap_or(line)
}

/// Whether framework and gateway take this file, whatever registries this build has.
fn is_taken(file: &Path) -> Result<(), String> {
    let table = table(file);
    if let Some(gateway) = table.get("gateway") {
        let read = gateway.clone().try_into::<micro_gateway::Settings>();
        read.map(drop).map_err(|error| error.to_string())?;
    }
    let memory = |_: &micro::RegistrySettings| {
        Ok(Arc::new(micro::registry::Memory::default()) as Arc<dyn micro::registry::Registry>)
    };
    let builder = micro::Service::builder("my-shop")
        .environment([("MICRO_CONFIG", file.display().to_string())])
        .backend("consul", memory)
        .backend("etcd", memory);
    builder.build().map(drop).map_err(|error| error.to_string())
}

#[test]
fn the_registry_is_in_the_file_and_its_feature_in_the_manifest_of_each_template() {
    let templates = [Template::Service, Template::Client, Template::Gateway];
    let registries = [
        (NewRegistry::Mdns, None, &["consul"][..]),
        (NewRegistry::Consul, Some("consul"), &["consul"]),
        (NewRegistry::Etcd, Some("etcd"), &["consul", "etcd"]),
    ];
    for (template, (registry, kind, features)) in templates
        .into_iter()
        .flat_map(|template| registries.map(|registry| (template, registry)))
    {
        let what = format!("{template:?} {registry:?}");
        let parent = folder();
        let folder = parent.path().join("my-shop");
        let mut order = order(&folder);
        order.template = template;
        order.registry = registry;
        order.calls = (template != Template::Service).then_some("orders");
        create(&order).unwrap();

        let file = folder.join("micro.toml");
        let settings = table(&file);
        let found = settings["registry"].get("kind").and_then(toml::Value::as_str);
        assert_eq!(found, kind, "{what}");
        if template == Template::Gateway {
            assert_eq!(settings["gateway"]["export"], toml::Value::from(vec!["orders"]));
        }
        is_taken(&file).unwrap_or_else(|reason| panic!("{what}: {reason}"));
        // So is what stands there to be switched on.
        let text = fs::read_to_string(&file).unwrap();
        let all: String = text
            .lines()
            .map(|line| format!("{}\n", switched_on(line)))
            .collect();
        assert_ne!(all, text, "{what}");
        fs::write(&file, all).unwrap();
        is_taken(&file).unwrap_or_else(|reason| panic!("{what}, all of it: {reason}"));

        let manifest = table(&folder.join("Cargo.toml"));
        let micro = &manifest["dependencies"]["micro"];
        assert_eq!(micro["features"], toml::Value::from(features.to_vec()), "{what}");
        assert_eq!(
            manifest["dependencies"].get("micro-gateway").is_some(),
            template == Template::Gateway,
            "{what}"
        );
    }
}

#[test]
fn a_service_that_calls_another_knows_its_proto_file() {
    let parent = folder();
    let folder = parent.path().join("checkout");
    let mut order = order(&folder);
    order.template = Template::Client;
    order.calls = Some("my-orders");
    create(&order).unwrap();
    assert!(folder.join("proto/checkout.proto").is_file());
    let other = fs::read_to_string(folder.join("proto/my_orders.proto")).unwrap();
    assert!(other.contains("package my_orders;"), "{other}");
    let main = fs::read_to_string(folder.join("src/main.rs")).unwrap();
    assert!(main.contains(r#"CALLEE: &str = "my-orders";"#), "{main}");
}

#[test]
fn whom_a_service_calls_is_checked() {
    let parent = folder();
    let path = parent.path().join("checkout");
    for (template, calls, reason) in [
        (Template::Client, "check-out", None),
        (Template::Gateway, "check-out", None),
        (Template::Client, "checkout", Some("would call itself")),
        (Template::Gateway, "checkout", Some("would call itself")),
        (
            Template::Client,
            "Orders",
            Some("a service cannot be called `Orders`"),
        ),
        (Template::Service, "orders", Some("add `--template client`")),
    ] {
        let mut order = order(&path);
        (order.template, order.calls) = (template, Some(calls));
        let made = create(&order);
        match reason {
            None => {
                made.unwrap();
                fs::remove_dir_all(&path).unwrap();
            }
            Some(reason) => {
                let failure = made.unwrap_err().to_string();
                assert!(failure.contains(reason), "{failure}");
                assert!(!path.exists());
            }
        }
    }
}

#[test]
fn its_manifest_depends_on_the_checkout() {
    let parent = folder();
    let folder = parent.path().join("my-shop");
    make(&folder).unwrap();
    let manifest = table(&folder.join("Cargo.toml"));
    assert_eq!(manifest["package"]["name"].as_str(), Some("my-shop"));
    let framework = manifest["dependencies"]["micro"]["path"].as_str().unwrap();
    assert!(Path::new(framework).join("Cargo.toml").is_file(), "{framework}");
    assert!(!manifest.contains_key("workspace"));
}

#[test]
fn within_a_workspace_it_becomes_a_member() {
    let parent = folder();
    let manifest = parent.path().join("Cargo.toml");
    fs::write(&manifest, "[workspace]\nmembers = [\"web\"]\n").unwrap();
    let made = make(&parent.path().join("services/my-shop")).unwrap();
    assert_eq!(made.membership.unwrap().member(), "services/my-shop");
    let members = &table(&manifest)["workspace"]["members"];
    assert_eq!(members, &toml::Value::from(vec!["web", "services/my-shop"]));
}

#[test]
fn where_the_ci_file_of_a_member_belongs_is_told() {
    let parent = folder();
    fs::write(parent.path().join("Cargo.toml"), "[workspace]\n").unwrap();
    for template in [Template::Service, Template::Registry] {
        let path = parent.path().join(format!("my-{template:?}").to_lowercase());
        let made = create(&Order {
            template,
            ..order(&path)
        });
        let told = told(&path, template, &made.unwrap());
        let place = format!("move `{}/.github` there", path.display());
        assert!(told.contains(&place), "{told}");
        assert!(path.join(".github/workflows/ci.yml").is_file());
    }
    let alone = folder();
    let path = alone.path().join("my-shop");
    let told = told(&path, Template::Service, &make(&path).unwrap());
    assert!(!told.contains(".github"), "{told}");
}

#[test]
fn a_workspace_that_cannot_be_written_leaves_nothing_behind() {
    let parent = folder();
    fs::write(
        parent.path().join("Cargo.toml"),
        "[workspace]\nmembers = [\"web\"]\n",
    )
    .unwrap();
    let path = parent.path().join("my-shop");
    let membership = Membership::of(&path).unwrap().unwrap();
    fs::create_dir(&path).unwrap();
    fs::remove_file(parent.path().join("Cargo.toml")).unwrap();
    fs::create_dir(parent.path().join("Cargo.toml")).unwrap();
    assert!(write_all(&path, &[], Some(&membership)).is_err());
    assert!(!path.exists());
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
        let failure = make(path).unwrap_err().to_string();
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
    assert!(make(&parent.path().join("inner/match")).is_err());
    let shop = parent.path().join("inner/shop");
    let mut order = order(&shop);
    order.checkout = Some(parent.path());
    assert!(create(&order).is_err());
    assert_eq!(fs::read_dir(parent.path()).unwrap().count(), 0);
}

#[test]
fn a_gateway_exports_what_it_is_made_for_and_says_how_to_ask_it() {
    let parent = folder();
    let path = parent.path().join("edge");
    let mut order = order(&path);
    (order.template, order.calls) = (Template::Gateway, Some("my-orders"));
    let made = create(&order).unwrap();
    let settings = table(&path.join("micro.toml"));
    assert_eq!(
        settings["gateway"]["export"],
        toml::Value::from(vec!["my-orders"])
    );
    let told = told(&path, Template::Gateway, &made);
    assert!(told.contains("/edge && cargo run\n"), "{told}");
    assert!(told.contains("localhost:8080/my-orders/say/hello\n"), "{told}");
}
