//! Builds anew when sources change, and says when there is a newer version to run.

use std::path::Path;

use tokio::sync::watch;

use super::{package::Package, sources::Sources};
use crate::{failure::Result, output::say, settings::FILE};

/// Follows the sources until it is dropped. A build that fails leaves what runs as it is.
pub(super) async fn reload(package: Package, release: bool, versions: watch::Sender<u64>) {
    let mut sources = match Sources::watch(&package.sources, &package.target) {
        Ok(sources) => sources,
        Err(failure) => {
            say(&format!("micro: changes are not followed: {failure}"));
            return std::future::pending().await;
        }
    };
    loop {
        let changed = sources.changed().await;
        let settings = package.folder.join(FILE);
        let is_set_anew = changed.contains(&settings);
        match build(&package, release, &changed).await {
            Ok(is_new) if is_new || is_set_anew => {
                versions.send_modify(|version| *version += 1);
            }
            Ok(_) => {}
            Err(failure) => say(&format!("micro: {failure}; what ran before goes on")),
        }
    }
}

/// Whether there is a newer binary now.
async fn build(package: &Package, release: bool, changed: &[impl AsRef<Path>]) -> Result<bool> {
    let names: Vec<_> = changed
        .iter()
        .filter_map(|path| path.as_ref().strip_prefix(&package.folder).ok())
        .map(|path| path.display().to_string())
        .collect();
    if let Some(first) = names.first() {
        say(&format!("micro: `{first}` has changed"));
    }
    let built = package.build(release).await?;
    Ok(!built.is_fresh)
}
