//! Colours: on a terminal that has them, unless somebody wants none, and nowhere else.

use std::{
    fs::File,
    io::Read,
    os::unix::fs::OpenOptionsExt,
    process::{Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use micro_dynamic::fake::Reflection;
use nix::{
    fcntl::OFlag,
    pty::{grantpt, posix_openpt, ptsname_r, unlockpt},
};

use crate::{
    running::Running,
    support::{Shop, run},
};

const PATIENCE: Duration = Duration::from_secs(60);

/// What a command shows on a terminal, until it ends or has said `enough`.
fn shown(mut command: Command, enough: &str) -> String {
    // Closed in the processes that other tests start meanwhile: they would hold it open.
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let mut screen = posix_openpt(flags).unwrap();
    grantpt(&screen).unwrap();
    unlockpt(&screen).unwrap();
    let terminal = File::options()
        .read(true)
        .write(true)
        .custom_flags(OFlag::O_NOCTTY.bits())
        .open(ptsname_r(&screen).unwrap())
        .unwrap();
    command
        .stdin(terminal.try_clone().unwrap())
        .stdout(terminal.try_clone().unwrap())
        .stderr(terminal);
    let mut child = command.spawn().unwrap();
    // With it goes the last end of the terminal that is not the child's.
    drop(command);
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = [0; 4096];
        // It ends with an error once nobody has the terminal any more.
        while let Ok(count @ 1..) = screen.read(&mut bytes) {
            if sender.send(bytes[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    let mut said = Vec::new();
    loop {
        match receiver.recv_timeout(PATIENCE) {
            Ok(more) => said.extend(more),
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                child.kill().unwrap();
                panic!("it neither ends nor says {enough:?}");
            }
        }
        if String::from_utf8_lossy(&said).contains(enough) {
            // It may have ended by itself.
            let _ = child.kill();
        }
    }
    child.wait().unwrap();
    String::from_utf8(said).unwrap()
}

/// The same command with these variables, and no others that colours go by.
fn with(mut command: Command, variables: &[(&str, &str)]) -> Command {
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI", "TERM"] {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied());
    command
}

/// What has colours: help, errors, results and logs; and what each says last.
fn commands(shop: &Shop) -> [(Command, &'static str); 4] {
    let mut logging = shop.micro(&["call", "shop", "Look", "{}"]);
    logging.env("RUST_LOG", "trace");
    [
        (shop.micro(&["--help"]), "never ends like this"),
        (shop.micro(&["call", "shop", "Nothing"]), "never ends like this"),
        (shop.micro(&["watch", "shop"]), "  shop  "),
        (logging, "never ends like this"),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn colours_are_for_terminals_that_have_them_and_for_who_wants_them() {
    let shop = Shop::start(Reflection::V1).await;
    let colourful = ("TERM", "xterm-256color");
    for (variables, expected) in [
        (&[colourful][..], true),
        (&[colourful, ("NO_COLOR", "1")], false),
        (&[colourful, ("NO_COLOR", "")], true),
        (&[("TERM", "dumb")], false),
    ] {
        for (command, enough) in commands(&shop) {
            let what = format!("{command:?} with {variables:?}");
            let said = tokio::task::block_in_place(|| shown(with(command, variables), enough));
            assert!(!said.is_empty(), "{what}");
            assert_eq!(said.contains('\x1b'), expected, "{what}: {said:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_read_by_programs_has_no_colours() {
    let shop = Shop::start(Reflection::V1).await;
    for (command, enough) in commands(&shop) {
        // It does not end by itself.
        if enough.contains("shop") {
            continue;
        }
        let ended = run(with(command, &[("TERM", "xterm-256color")]), "").await;
        let said = ended.output + &ended.errors;
        assert!(!said.is_empty() && !said.contains('\x1b'), "{said:?}");
    }
}

/// A service of the examples, as whoever copies it starts it.
fn greeter() -> Command {
    let in_workspace = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO"));
        command.args(arguments).args(["--quiet", "--package", "greeter"]);
        command
            .current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
            .env_remove("RUST_LOG")
            .env("MICRO_REGISTRY", "memory")
            .env("CARGO_TERM_COLOR", "never");
        for name in ["MICRO_REGISTRY_ADDRESS", "MICRO_CONFIG", "MICRO_SERVER_ADDRESS"] {
            command.env_remove(name);
        }
        command
    };
    assert!(in_workspace(&["build"]).status().unwrap().success());
    // Which becomes the program.
    in_workspace(&["run"])
}

#[test]
fn the_log_of_a_service_has_colours_on_terminals_whose_users_want_them() {
    let serving = "serving";
    for (variables, expected) in [
        (&[][..], true),
        (&[("NO_COLOR", "1")], false),
        (&[("NO_COLOR", "")], true),
    ] {
        let said = shown(with(greeter(), variables), serving);
        assert_eq!(said.contains('\x1b'), expected, "{variables:?}: {said:?}");
    }
    let mut piped = with(greeter(), &[]);
    piped.stdout(Stdio::piped()).stderr(Stdio::piped());
    let said = Running::start(piped).output_until(serving).join("\n");
    assert!(!said.contains('\x1b'), "{said:?}");
}
