//! What the nodes ran, read from the files they wrote: it outlives them.

use std::{
    collections::{HashMap, HashSet},
    fs,
    path::Path,
    time::Duration,
};

/// How often each call was run.
#[derive(Debug, Default)]
pub struct Executions {
    /// By kind (`r`, `w`) and id of the call.
    runs: HashMap<(char, u64), usize>,
    /// By node.
    nodes: HashMap<String, Vec<u64>>,
    /// What was refused, by node.
    refused: HashMap<String, HashSet<u64>>,
    /// How late after their deadline handlers were dropped.
    dropped: Vec<Duration>,
}

impl Executions {
    /// Reads what all nodes wrote in `folder`.
    pub(super) fn read(folder: &Path) -> Self {
        let mut executions = Self::default();
        for entry in fs::read_dir(folder).expect("the laboratory's folder") {
            let path = entry.expect("the laboratory's folder").path();
            if path.extension().is_none_or(|extension| extension != "executions") {
                continue;
            }
            let node = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let text = fs::read_to_string(&path).expect("nodes write ASCII");
            for line in text.lines() {
                let (kind, id) = line.split_once(' ').expect("a kind and an id");
                let (id, late) = id.split_once(' ').unwrap_or((id, "0"));
                let (kind, id) = (kind.chars().next().expect("a kind"), id.parse().expect("an id"));
                let late = late.parse().expect("milliseconds");
                if kind == 'x' {
                    executions.dropped.push(Duration::from_millis(late));
                    continue;
                }
                if kind == 'f' {
                    executions.refused.entry(node.clone()).or_default().insert(id);
                    continue;
                }
                *executions.runs.entry((kind, id)).or_default() += 1;
                executions.nodes.entry(node.clone()).or_default().push(id);
            }
        }
        executions
    }

    /// How many calls that may run once ran more than once.
    #[must_use]
    pub fn duplicates(&self) -> usize {
        let twice = self
            .runs
            .iter()
            .filter(|((kind, _), runs)| *kind == 'w' && **runs > 1);
        twice.count()
    }

    /// How many calls were run.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.runs.len()
    }

    /// The calls that `node` answered UNAVAILABLE, as it was told to.
    #[must_use]
    pub fn refused_by(&self, node: &str) -> HashSet<u64> {
        self.refused.get(node).cloned().unwrap_or_default()
    }

    /// How late after their deadline those handlers were dropped that did not come to their end.
    #[must_use]
    pub fn dropped(&self) -> &[Duration] {
        &self.dropped
    }

    /// The calls that `node` ran.
    #[must_use]
    pub fn of(&self, node: &str) -> &[u64] {
        self.nodes.get(node).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_must_run_once_can_be_a_duplicate() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("a.executions"), "r 1\nw 2\nw 3\n").expect("written");
        fs::write(folder.path().join("b.executions"), "r 1\nw 2\nf 4\nx 2 17\n").expect("written");
        fs::write(folder.path().join("micro.toml"), "w w").expect("written");
        let executions = Executions::read(folder.path());
        assert_eq!(executions.duplicates(), 1);
        assert_eq!(executions.calls(), 3);
        assert_eq!(executions.of("b"), [1, 2]);
        assert_eq!(executions.refused_by("b"), HashSet::from([4]));
        assert_eq!(executions.dropped(), [Duration::from_millis(17)]);
    }
}
