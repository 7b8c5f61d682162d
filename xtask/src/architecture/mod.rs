//! What ARCHITECTURE.md says of the packages, held against `cargo metadata`.

mod direction;
mod manifests;
mod tree;

use crate::{finding::Finding, workspace::Workspace};

/// Everything in the workspace that the architecture forbids.
pub(crate) fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = direction::check(workspace);
    findings.extend(manifests::check(workspace));
    findings.extend(tree::check(workspace));
    findings
}
