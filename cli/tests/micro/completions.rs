//! `micro completions`, in the shell itself.

use std::process::{Command, Stdio};

use micro_dynamic::fake::Reflection;

use crate::support::{Shop, micro, run};

/// What bash offers after `line`, its last word being the one at the cursor.
async fn offered(shop: &Shop, line: &str) -> Vec<String> {
    let script = run(shop.micro(&["completions", "bash"]), "").await.output;
    let words: Vec<_> = line.split(' ').collect();
    let (last, before) = (words[words.len() - 1], words[words.len() - 2]);
    let ask = format!(
        "{script}\nCOMP_WORDS=({line})\n[ -n '{last}' ] || COMP_WORDS+=('')\nCOMP_CWORD={}\nCOMP_TYPE=9\n\
         _clap_complete_micro micro '{last}' '{before}'\nprintf '%s\\n' \"${{COMPREPLY[@]}}\"",
        words.len() - 1
    );
    let of_micro = shop.micro(&[]);
    let mut bash = Command::new("bash");
    bash.args(["--norc", "-c", &ask])
        .envs(
            of_micro
                .get_envs()
                .filter_map(|(name, value)| Some((name, value?))),
        )
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let ended = run(bash, "").await;
    assert_eq!((ended.code, ended.errors.as_str()), (0, ""), "{line}");
    ended
        .output
        .lines()
        .map(|word| word.trim_end().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_services_and_methods_are_completed() {
    let shop = Shop::start(Reflection::V1).await;
    assert_eq!(offered(&shop, "micro serv").await, ["services"]);
    assert_eq!(offered(&shop, "micro call sh").await, ["shop"]);
    assert_eq!(offered(&shop, "micro health ").await[0], "shop");
    assert_eq!(offered(&shop, "micro call shop Shop.Tr").await, ["Shop.Track"]);
    assert!(
        offered(&shop, "micro call shop ")
            .await
            .contains(&"Shop.Chat".to_owned())
    );
    // Whoever is not there offers nothing, and says nothing.
    assert_eq!(offered(&shop, "micro call nobody Sh").await, [""]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_shell_has_its_script() {
    for (shell, mark) in [
        ("bash", "complete -o"),
        ("zsh", "#compdef micro"),
        ("fish", "complete --"),
    ] {
        let ended = run(micro(&["completions", shell]), "").await;
        assert_eq!((ended.code, ended.errors.as_str()), (0, ""), "{shell}");
        assert!(ended.output.contains(mark), "{}", ended.output);
        assert!(ended.output.contains("MICRO_COMPLETE"), "{}", ended.output);
    }
    let ended = run(micro(&["completions", "ksh"]), "").await;
    assert_eq!(ended.code, 2);
    assert!(ended.errors.contains("bash, zsh, fish"), "{}", ended.errors);
}
