//! What holds for the nodes of `micro run`, with shell scripts in their place.

mod told;

use std::{fs, path::PathBuf, time::Duration};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tempfile::TempDir;
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::{
    keeper::{Reached, Readiness, Waiting},
    printer::Facts,
    process::Launch,
    supervisor::{Front, Next, Plan, supervise},
};
use crate::failure::Result;

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(20);

/// A node is ready once it has made a file named after itself.
#[derive(Clone)]
struct Files(PathBuf);

impl Readiness for Files {
    async fn ready(&self, id: &str, _waiting: &Waiting) -> Reached {
        eventually(|| self.0.join(id).exists()).await;
        Reached {
            address: id.to_owned(),
            has_tls: false,
        }
    }
}

/// A folder in which scripts leave their process ids.
struct World {
    folder: TempDir,
}

impl World {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    /// Starts two nodes of `script`, in which `ready` says that the node is.
    fn run(&self, script: &str) -> Running {
        self.run_all(&[("node", 2, script)], None)
    }

    /// Starts so many nodes of each script, and, once they are ready, one of what stands in front of them.
    fn run_all(&self, services: &[(&str, usize, &str)], front: Option<&str>) -> Running {
        let (newer, versions) = watch::channel(0);
        let readiness = Files(self.folder.path().to_owned());
        let plans = services.iter().map(|(name, nodes, script)| Plan {
            name: (*name).to_owned(),
            nodes: *nodes,
            launch: self.launch(script),
            readiness: readiness.clone(),
            versions: versions.clone(),
        });
        let plans: Vec<_> = plans.collect();
        let name = front.map(|_| "front");
        let front = front.map(|script| Front {
            launch: self.launch(script),
            readiness: readiness.clone(),
            words: Box::new(|_| ("it is in front".to_owned(), Facts::new())),
        });
        let (stop, mut stopped) = mpsc::channel(2);
        let (tell, told) = oneshot::channel();
        let next = async {
            tell.send(()).unwrap();
            Next {
                words: "all are ready".to_owned(),
                front,
            }
        };
        let task = tokio::spawn(async move { supervise(plans, name, next, false, &mut stopped).await });
        Running {
            task,
            stop,
            told,
            newer,
        }
    }

    /// A process that may say `ready`.
    fn launch(&self, script: &str) -> Launch {
        let folder = self.folder.path().display();
        Launch::of_script(&format!(
            "ready() {{ echo $$ > '{folder}'/.new-$$; mv '{folder}'/.new-$$ '{folder}'/$MICRO_SERVER_ID; }}\n{script}"
        ))
    }

    /// The process ids of all nodes that were ever ready, by the name of the node.
    fn started(&self, name: &str) -> Vec<Pid> {
        fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(name))
            .filter_map(|entry| fs::read_to_string(entry.path()).unwrap().trim().parse().ok())
            .map(Pid::from_raw)
            .collect()
    }
}

/// Waits until processes have done what they do without telling us.
async fn eventually(is_so: impl Fn() -> bool) {
    let wait = async {
        while !is_so() {
            sleep(POLL).await;
        }
    };
    timeout(PATIENCE, wait).await.expect("it comes in time");
}

fn is_alive(pid: Pid) -> bool {
    kill(pid, None).is_ok()
}

/// A `micro run` on its way.
struct Running {
    task: JoinHandle<Result<()>>,
    stop: mpsc::Sender<()>,
    told: oneshot::Receiver<()>,
    newer: watch::Sender<u64>,
}

impl Running {
    async fn all_ready(&mut self) {
        timeout(PATIENCE, &mut self.told).await.unwrap().unwrap();
    }

    /// There is something newer to run.
    fn renew(&self) {
        self.newer.send_modify(|version| *version += 1);
    }

    async fn stop(&self) {
        self.stop.send(()).await.unwrap();
    }

    async fn ended(self) -> Result<(), String> {
        let ended = timeout(PATIENCE, self.task).await.unwrap().unwrap();
        ended.map_err(|failure| failure.to_string())
    }
}

const WELL_BEHAVED: &str = "trap 'exit 0' TERM; ready; while :; do sleep 0.05; done";
const STUBBORN: &str = "trap '' TERM; ready; while :; do sleep 0.05; done";

#[tokio::test]
async fn when_all_are_ready_the_next_step_is_told_and_a_stop_ends_them_well() {
    let world = World::new();
    let mut run = world.run(WELL_BEHAVED);
    run.all_ready().await;
    run.stop().await;
    assert_eq!(run.ended().await, Ok(()));
    let pids = world.started("node");
    assert_eq!(pids.len(), 2);
    assert!(!pids.into_iter().any(is_alive));
}

#[tokio::test]
async fn a_crashed_node_is_started_again_under_another_id() {
    let world = World::new();
    let mut run = world.run(WELL_BEHAVED);
    run.all_ready().await;
    kill(world.started("node-1")[0], Signal::SIGKILL).unwrap();
    eventually(|| world.started("node-1").len() == 2).await;
    run.stop().await;
    assert_eq!(run.ended().await, Ok(()));
    assert_eq!(world.started("node-2").len(), 1);
}

#[tokio::test]
async fn a_node_that_ends_before_it_is_ready_ends_everything() {
    let world = World::new();
    let run = world.run(&format!(
        "case $MICRO_SERVER_ID in node-2*) exit 3;; esac; {WELL_BEHAVED}"
    ));
    assert_eq!(
        run.ended().await,
        Err("node-2 ended before it was ready: exit code 3".to_owned())
    );
    assert!(!world.started("node").into_iter().any(is_alive));
}

#[tokio::test]
async fn a_second_stop_kills_what_does_not_end() {
    let world = World::new();
    let mut run = world.run(STUBBORN);
    run.all_ready().await;
    run.stop().await;
    run.stop().await;
    assert_eq!(run.ended().await, Err("nodes were killed".to_owned()));
    assert!(!world.started("node").into_iter().any(is_alive));
}

#[tokio::test]
async fn a_node_that_fails_on_its_way_down_is_told() {
    let world = World::new();
    let mut run = world.run("trap 'exit 4' TERM; ready; while :; do sleep 0.05; done");
    run.all_ready().await;
    run.stop().await;
    let failure = run.ended().await.unwrap_err();
    assert!(failure.ends_with("did not stop well: exit code 4"), "{failure}");
}

#[tokio::test]
async fn nodes_that_end_by_themselves_end_the_run() {
    let world = World::new();
    assert_eq!(world.run("exit 0").ended().await, Ok(()));
}

#[tokio::test]
async fn nothing_outlives_the_run() {
    let world = World::new();
    let mut run = world.run(STUBBORN);
    run.all_ready().await;
    let pids = world.started("node");
    run.task.abort();
    eventually(|| !pids.iter().copied().any(is_alive)).await;
}

#[tokio::test]
async fn what_is_newer_takes_over_once_it_is_ready() {
    let world = World::new();
    let go = world.folder.path().join("go");
    // The second start of a node is ready only when it is told to be.
    let folder = world.folder.path().display().to_string();
    let mut run = world.run(&format!(
        "trap 'exit 0' TERM\nif ls '{folder}' | grep -q \"^${{MICRO_SERVER_ID%-*}}-\"; then\n\
         echo $$ > '{folder}'/new-$MICRO_SERVER_ID; while ! [ -e '{}' ]; do sleep 0.02; done; fi\n\
         ready; while :; do sleep 0.05; done",
        go.display()
    ));
    run.all_ready().await;
    let old = world.started("node");
    run.renew();
    // All four are there: the new ones wait, and the old ones serve.
    eventually(|| world.started("new").len() == 2).await;
    assert!(old.iter().copied().all(is_alive));
    fs::write(&go, "").unwrap();
    eventually(|| world.started("node").len() == 4 && !old.iter().copied().any(is_alive)).await;
    run.stop().await;
    assert_eq!(run.ended().await, Ok(()));
    assert!(!world.started("node").into_iter().any(is_alive));
}

#[tokio::test]
async fn what_is_newer_and_fails_leaves_what_runs_as_it_is() {
    let world = World::new();
    let bad = world.folder.path().join("bad");
    let tried = world.folder.path().join("tried");
    let mut run = world.run(&format!(
        "if [ -e '{}' ]; then echo x >> '{}'; exit 3; fi; {WELL_BEHAVED}",
        bad.display(),
        tried.display()
    ));
    run.all_ready().await;
    let old = world.started("node");
    fs::write(&bad, "").unwrap();
    run.renew();
    eventually(|| fs::read_to_string(&tried).is_ok_and(|tried| tried.lines().count() == 2)).await;
    assert!(old.iter().copied().all(is_alive));
    // What is mended after that runs.
    fs::remove_file(&bad).unwrap();
    run.renew();
    eventually(|| world.started("node").len() == 4 && !old.iter().copied().any(is_alive)).await;
    run.stop().await;
    assert_eq!(run.ended().await, Ok(()));
}

#[tokio::test]
async fn a_second_stop_kills_old_and_new_alike() {
    let world = World::new();
    let mut run = world.run(STUBBORN);
    run.all_ready().await;
    run.renew();
    eventually(|| world.started("node").len() == 4).await;
    let pids = world.started("node");
    assert!(pids.iter().copied().all(is_alive), "the old ones do not end");
    run.stop().await;
    run.stop().await;
    assert_eq!(run.ended().await, Err("nodes were killed".to_owned()));
    // Nobody waits for those that were to be replaced: they are killed, and are gone in the time that the kernel takes.
    eventually(|| !pids.iter().copied().any(is_alive)).await;
}

#[tokio::test]
async fn several_services_are_ready_together_and_one_stop_ends_all() {
    let world = World::new();
    let mut run = world.run_all(&[("a", 1, WELL_BEHAVED), ("b", 2, WELL_BEHAVED)], None);
    run.all_ready().await;
    assert_eq!((world.started("a").len(), world.started("b").len()), (1, 2));
    run.stop().await;
    assert_eq!(run.ended().await, Ok(()));
    assert!(!world.started("").into_iter().any(is_alive));
}

#[tokio::test]
async fn what_is_in_front_comes_last_and_goes_first() {
    let world = World::new();
    let at = |name: &str| world.folder.path().join(name);
    let (asked, go) = (at("asked"), at("go"));
    // It drains until it is told that it has; whoever is asked to stop before that fails.
    let front = format!(
        "trap 'echo x > {}; while ! [ -e {} ]; do sleep 0.02; done; exit 0' TERM; ready; while :; do sleep 0.05; done",
        asked.display(),
        go.display()
    );
    let service = format!(
        "trap '[ -e {} ] && exit 0; exit 9' TERM; ready; while :; do sleep 0.05; done",
        go.display()
    );
    let mut run = world.run_all(&[("node", 2, &service)], Some(&front));
    run.all_ready().await;
    eventually(|| world.started("front").len() == 1).await;
    run.stop().await;
    eventually(|| asked.exists()).await;
    assert!(world.started("node").into_iter().all(is_alive));
    fs::write(&go, "").unwrap();
    assert_eq!(run.ended().await, Ok(()));
    assert!(!world.started("").into_iter().any(is_alive));
}

#[tokio::test]
async fn services_go_on_without_what_is_in_front_if_that_cannot_start() {
    let world = World::new();
    let tried = world.folder.path().join("tried");
    let mut run = world.run_all(
        &[("node", 1, WELL_BEHAVED)],
        Some(&format!("echo $$ > '{}'; exit 3", tried.display())),
    );
    run.all_ready().await;
    // It is gone once its end was noticed.
    let pid = || fs::read_to_string(&tried).unwrap_or_default().trim().parse();
    eventually(|| pid().is_ok_and(|pid| !is_alive(Pid::from_raw(pid)))).await;
    assert!(world.started("node").into_iter().all(is_alive));
    run.stop().await;
    assert_eq!(run.ended().await, Ok(()));
}

#[tokio::test]
async fn what_is_in_front_of_nothing_ends() {
    let world = World::new();
    let end = world.folder.path().join("end");
    let service = format!("ready; while ! [ -e '{}' ]; do sleep 0.02; done", end.display());
    let mut run = world.run_all(&[("node", 1, &service)], Some(WELL_BEHAVED));
    run.all_ready().await;
    eventually(|| world.started("front").len() == 1).await;
    fs::write(&end, "").unwrap();
    assert_eq!(run.ended().await, Ok(()));
    assert!(!world.started("front").into_iter().any(is_alive));
}
