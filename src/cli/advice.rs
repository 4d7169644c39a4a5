//! Commands that messages recommend, ready to be pasted into a shell.

use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::config::{Config, Semantics};

/// `command` with the flags for everything that is not at its default, as far as the command takes them.
pub(super) fn advice(config: &Config, command: &str) -> String {
    let default = Config::default();
    let mut text = command.to_owned();
    let mut add = |flag: &str, path: &Path| text.push_str(&format!(" {flag} {}", quoted(path)));
    let name = command.split(' ').nth(1).unwrap_or_default();
    let [store, out] = config.configured_paths();
    if store != default.store.path {
        add("--store", store);
    }
    if out != default.artifacts.out && matches!(name, "run" | "refresh" | "reduce" | "report" | "verify") {
        add("--out", out);
    }
    if let Some(commits) = config.commits_file().filter(|_| matches!(name, "run" | "refresh" | "reduce" | "report")) {
        add("--commits", &commits);
    }
    if config.artifacts.semantics == Semantics::Reference && matches!(name, "run" | "refresh" | "reduce" | "report") {
        text.push_str(" --semantics reference");
    }
    if !config.source.repositories.is_empty() {
        let name = &config.source.repository;
        text.push_str(&format!(" --set 'source.repositories=[\"{name}\"]' --set source.repository={name}"));
    }
    text
}

/// The configuration of the command that runs.
static IN_USE: Mutex<Option<Config>> = Mutex::new(None);

/// Commands that an error may recommend without flags: the stages that make errors do not know the flags.
const COMPLETED: [&str; 11] =
    ["run", "refresh", "crawl", "reduce", "report", "verify", "compact", "failures", "status", "export", "publish"];

/// Sets the configuration that [`complete_commands`] uses.
pub(super) fn remember(config: &Config) {
    *in_use() = Some(config.clone());
}

/// Adds to the commands in the text of an error the flags for all settings that differ from their defaults.
pub(super) fn complete_commands(text: &str) -> String {
    in_use().as_ref().map_or_else(|| text.to_owned(), |config| complete(config, text))
}

fn in_use() -> MutexGuard<'static, Option<Config>> {
    IN_USE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn complete(config: &Config, text: &str) -> String {
    let is_bare = |part: &str| {
        let name = part.strip_prefix("perfharvest ").and_then(|rest| rest.split(' ').next());
        name.is_some_and(|name| COMPLETED.contains(&name))
            && ![" --store ", " --out "].iter().any(|flag| part.contains(flag))
    };
    let parts = text.split('`').map(|part| if is_bare(part) { advice(config, part) } else { part.to_owned() });
    parts.collect::<Vec<_>>().join("`")
}

/// A path as one word of a shell command.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '+' | ',' | ':' | '@' | '%');
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn commands_in_an_error_get_the_flags_that_they_lack() {
        let mut config = Config::default();
        let text =
            "it is damaged; run `perfharvest verify --repair`, or `perfharvest failures --store b`; see `ulimit -n`";
        assert_eq!(complete(&config, text), text);
        config.store.path = PathBuf::from("a");
        let said = complete(&config, text);
        assert_eq!(said, text.replace("--repair`", "--repair --store a`"));
        assert_eq!(complete(&config, &said), said);
    }

    #[test]
    fn advice_names_what_is_not_at_its_default_and_can_be_pasted() {
        let mut config = Config::default();
        assert_eq!(advice(&config, "perfharvest failures"), "perfharvest failures");
        config.store.path = PathBuf::from("my store");
        config.artifacts.out = PathBuf::from("it's/out");
        assert_eq!(advice(&config, "perfharvest failures"), "perfharvest failures --store 'my store'");
        let said = advice(&config, "perfharvest verify --repair");
        assert_eq!(said, r"perfharvest verify --repair --store 'my store' --out 'it'\''s/out'");
        config.inputs.commits = Some(PathBuf::from("all.jsonl"));
        config.artifacts.out = Config::default().artifacts.out;
        assert_eq!(advice(&config, "perfharvest run"), "perfharvest run --store 'my store' --commits all.jsonl");
        config.source.repositories = vec!["autoland".to_owned(), "try".to_owned()];
        let said = advice(&config.of_repository("try"), "perfharvest status");
        let expected =
            "perfharvest status --store 'my store' --set 'source.repositories=[\"try\"]' --set source.repository=try";
        assert_eq!(said, expected);
    }
}
