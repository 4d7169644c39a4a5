//! Commands that messages recommend, ready to be pasted into a shell.

use std::path::Path;

use crate::config::{Config, Semantics};

/// `command` with the flags for everything that is not at its default, as far as the command takes them.
pub(super) fn advice(config: &Config, command: &str) -> String {
    let default = Config::default();
    let mut text = command.to_owned();
    let mut add = |flag: &str, path: &Path| text.push_str(&format!(" {flag} {}", quoted(path)));
    let name = command.split(' ').nth(1).unwrap_or_default();
    if config.store.path != default.store.path {
        add("--store", &config.store.path);
    }
    if config.artifacts.out != default.artifacts.out && matches!(name, "run" | "reduce" | "report" | "verify") {
        add("--out", &config.artifacts.out);
    }
    if let Some(commits) = config.commits_file().filter(|_| matches!(name, "run" | "reduce" | "report")) {
        add("--commits", &commits);
    }
    if config.artifacts.semantics == Semantics::Reference && matches!(name, "run" | "reduce" | "report") {
        text.push_str(" --semantics reference");
    }
    text
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
    }
}
