//! The check of a configuration, with and without its server.

use treeherder_sim::{Behaviour, Endpoint, ScriptedReply};

use crate::clocks::skewed;
use crate::support::{silent_port, simulator};

/// `config check` of a source: its exit code and its words.
async fn checked(base_url: &str, repository: &str, more: &[&str]) -> (Option<i32>, String) {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_perfharvest"));
    command.args(["config", "check", "--set", &format!("source.base_url={base_url:?}")]);
    command.args(["--set", &format!("source.repository={repository:?}")]).args(more);
    let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_online_check_says_what_the_server_is_and_has() {
    let server = simulator(Behaviour::default()).await;
    let online = async |base_url: &str, repository: &str| checked(base_url, repository, &["--online"]).await;
    let (code, said) = online(&server.url(), "autoland").await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("has the repository autoland") && said.contains("the clocks differ by"), "{said}");
    assert_eq!(server.served().total(), 2);

    let (code, said) = online(&server.url(), "autolnad").await;
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("did you mean `autoland`?"), "{said}");
    assert_eq!(server.served().total(), 5);

    let html = ScriptedReply::body("<html>log in</html>").header("content-type", "text/html");
    server.script(html.at(Endpoint::Framework));
    let (code, said) = online(&server.url(), "autoland").await;
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("does not answer as Treeherder does") && said.contains("login page"), "{said}");

    let (code, said) = online(&skewed(3 * 86_400).await.url(), "autoland").await;
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("correct this machine's clock"), "{said}");

    let (_port, nobody) = silent_port();
    let (code, said) = online(&format!("http://{nobody}"), "autoland").await;
    assert_eq!(code, Some(5), "{said}");
    assert!(said.contains("whether the server is up"), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_offline_check_asks_nothing() {
    let server = simulator(Behaviour::default()).await;
    let (code, said) = checked(&server.url(), "autolnad", &[]).await;
    assert_eq!((code, server.served().total()), (Some(0), 0), "{said}");
}
