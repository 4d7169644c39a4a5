//! Opens the store for commands that only read.

use super::advice::{advice, complete_commands};
use super::terminal::say;
use crate::config::{Config, StoreConfig};
use crate::store::{Store, StoreError, Unavailable};

/// Opens the store. While a crawl runs, or without write permission, reports the commit as of which it is read.
pub(super) fn open_to_read(config: &StoreConfig) -> Result<Store, StoreError> {
    Ok(say_how_far(Store::open_to_read(config)?, config))
}

/// As [`open_to_read`], to show the dataset: while a harvest is open, that of the one before.
pub(super) fn open_to_show(config: &StoreConfig) -> Result<Store, StoreError> {
    let store = say_how_far(Store::open_to_show(config)?, config);
    if let (Some(harvest), Some(identity)) = (store.hides(), store.identity()?) {
        say(&complete_commands(&format!(
            "harvest {harvest} is open: showing the data up to {}, those of the harvest before; `perfharvest refresh` \
             finishes it",
            identity.data_end,
        )));
    }
    Ok(store)
}

fn say_how_far(store: Store, config: &StoreConfig) -> Store {
    if let Some((reason, commit)) = store.as_of() {
        let reason = match reason {
            Unavailable::InUse => "another process is writing to the store",
            Unavailable::ReadOnly => "this process may not write to the store",
        };
        say(&format!("{reason} {}: reading it as of commit {commit}", config.path.display()));
    }
    store
}

/// Why the commits cannot be read; `None` if they can be, or if reading them fails with a reason of its own.
pub(super) fn lack_of_commits(config: &Config) -> Option<String> {
    let Some(file) = config.commits_file() else { return Some("no commits are given (--commits)".to_owned()) };
    let is_made_later = config.inputs.commits_from.is_some() && !file.exists();
    is_made_later
        .then(|| format!("{} is not there yet (`{}` makes it)", file.display(), advice(config, "perfharvest run")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commits_that_a_run_makes_are_missed_only_before_it() {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::default();
        config.store.path = folder.path().to_owned();
        assert!(lack_of_commits(&config).unwrap().starts_with("no commits are given"));
        config.inputs.commits_from = Some("pushes".parse().unwrap());
        assert!(lack_of_commits(&config).unwrap().contains("all_commits.jsonl is not there yet (`perfharvest run"));
        std::fs::OpenOptions::new().write(true).create_new(true).open(folder.path().join("all_commits.jsonl")).unwrap();
        assert_eq!(lack_of_commits(&config), None);
        config.inputs.commits = Some("missing".into());
        config.inputs.commits_from = None;
        assert_eq!(lack_of_commits(&config), None, "reading it fails by itself");
    }
}
