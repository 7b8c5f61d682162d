//! Builds anew when sources change, and says when there is a newer version to run.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use futures_util::future::join_all;
use tokio::sync::watch;

use super::{
    package::Package,
    printer::{Facts, message},
    sources::Sources,
};
use crate::output::{print, say};

/// A service that is built and run anew when it changes.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) package: Package,
    pub(super) release: bool,
    /// The file with its settings, a change of which makes its nodes start anew.
    pub(super) settings: PathBuf,
    pub(super) versions: watch::Sender<u64>,
    /// Whether what is said is JSON.
    pub(super) is_json: bool,
}

/// Follows the sources of all services until it is dropped. A build that fails leaves what runs as it is.
pub(super) async fn reload(services: Vec<Followed>) {
    // Those of one workspace have their sources in common, and cargo builds one of them at a time.
    let mut workspaces: BTreeMap<Vec<PathBuf>, Vec<Followed>> = BTreeMap::new();
    for service in services {
        let sources = service.package.sources.clone();
        workspaces.entry(sources).or_default().push(service);
    }
    join_all(
        workspaces
            .iter()
            .map(|(sources, services)| follow(sources, services)),
    )
    .await;
    // Where nothing is followed, nothing ends.
    std::future::pending::<()>().await;
}

async fn follow(folders: &[PathBuf], services: &[Followed]) {
    let Some(first) = services.first() else { return };
    let files: Vec<_> = services.iter().map(|service| service.settings.clone()).collect();
    let mut sources = match Sources::watch(folders, &first.package.target, &files) {
        Ok(sources) => sources,
        Err(failure) => return first.say(&format!("changes are not followed: {failure}")),
    };
    loop {
        let changed = sources.changed().await;
        tell(services, &changed);
        for service in services {
            service.renew(&changed).await;
        }
    }
}

impl Followed {
    /// Builds it, and has its nodes replaced if that is called for.
    async fn renew(&self, changed: &[PathBuf]) {
        match self.package.build(self.release).await {
            Ok(built) if !built.is_fresh || changed.contains(&self.settings) => {
                self.versions.send_modify(|version| *version += 1);
            }
            Ok(_) => {}
            Err(failure) => self.say(&format!("{failure}; what ran before goes on")),
        }
    }

    fn say(&self, words: &str) {
        if self.is_json {
            // When nobody reads any more, the nodes' own lines end all of it.
            let _ = print(&message(words, Facts::new()).to_string());
        } else {
            say(&format!("micro: {words}"));
        }
    }
}

/// Says what has changed, if it belongs to one of the services rather than to the workspace around them.
fn tell(services: &[Followed], changed: &[PathBuf]) {
    let changed = services.iter().find_map(|service| {
        let of_it = |path: &PathBuf| shown(path, service);
        Some((service, changed.iter().find_map(of_it)?))
    });
    match (changed, services) {
        (Some((service, path)), [_]) => service.say(&format!("`{path}` has changed")),
        (Some((service, path)), _) => {
            let name = &service.package.name;
            service.say(&format!("`{path}` of `{name}` has changed"));
        }
        (None, _) => {}
    }
}

/// The file as somebody in the folder of the service would call it.
fn shown(path: &Path, service: &Followed) -> Option<String> {
    if path == service.settings && !path.starts_with(&service.package.folder) {
        return Some(path.display().to_string());
    }
    let within = path.strip_prefix(&service.package.folder).ok()?;
    (!within.as_os_str().is_empty()).then(|| within.display().to_string())
}
