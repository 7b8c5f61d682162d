//! The registry passes the suite that every backend passes.

use std::{fs, path::PathBuf, sync::Arc};

use async_trait::async_trait;
use {{crate_name}}::FileRegistry;
use micro_registry::{
    Registry, ServiceName,
    conformance::{Absent, Foreign, Harness, Restart},
};
use tempfile::TempDir;

/// A folder of one clause's own; it goes with the harness.
struct FileHarness {
    parent: TempDir,
}

impl FileHarness {
    fn folder(&self) -> PathBuf {
        self.parent.path().join("shared")
    }
}

#[async_trait]
impl Harness for FileHarness {
    async fn start() -> Self {
        let parent = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(parent.path().join("shared")).expect("the temporary folder is ours");
        Self { parent }
    }

    async fn process(&self) -> Arc<dyn Registry> {
        Arc::new(FileRegistry::new(self.folder()))
    }
}

#[async_trait]
impl Absent for FileHarness {
    async fn absent(&self) -> Arc<dyn Registry> {
        Arc::new(FileRegistry::new(self.parent.path().join("not-mounted")))
    }
}

#[async_trait]
impl Restart for FileHarness {
    async fn stop(&self) {
        fs::remove_dir_all(self.folder()).expect("the temporary folder is ours");
    }

    async fn start_empty(&self) {
        fs::create_dir(self.folder()).expect("the temporary folder is ours");
    }
}

#[async_trait]
impl Foreign for FileHarness {
    async fn write_bad_records(&self, service: &ServiceName) -> usize {
        let deep = "[".repeat(100_000);
        let good = format!(
            {% raw %}r#"{{"service":"{service}","id":"bad-1","address":"10.0.0.1:80","expires_ms":9999999999999}}"#{% endraw %}
        );
        let texts = [
            String::new(),
            "null".to_owned(),
            "{}".to_owned(),
            deep,
            good.replace("bad-1", "bad 1"),
            good.replace("bad-1", "another-file"),
            good.replace("10.0.0.1:80", "10.0.0.1"),
            good.replace("10.0.0.1:80", "http://10.0.0.1:80"),
            good.replace("10.0.0.1:80", "0.0.0.0:80"),
            good.replace(service.as_str(), "../agent"),
            good.replace("9999999999999", "-1"),
            good.replace("id", "service"),
            format!("{good}{}", " ".repeat(3_000_000)),
        ];
        let folder = self.folder().join(service.as_str());
        for (number, text) in texts.iter().enumerate() {
            fs::write(folder.join(format!("bad-{number}.json")), text).expect("the temporary folder is ours");
        }
        fs::write(folder.join("bytes.json"), [0xff, 0, 0xfe]).expect("the temporary folder is ours");
        fs::create_dir(folder.join("folder.json")).expect("the temporary folder is ours");
        texts.len() + 2
    }
}

micro_registry::conformance!(FileHarness);
