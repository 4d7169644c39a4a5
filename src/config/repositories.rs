//! Several repositories, each with a store and a dataset of its own.

use std::path::{Path, PathBuf};

use super::{CommitsFrom, Config};

/// Stands for the name of the repository in `inputs.commits` and `inputs.commits_from`.
const PLACEHOLDER: &str = "{repository}";

/// False for texts that cannot be the name of a folder and of a repository.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.bytes().all(|b| b == b'.')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
}

/// The error of a list of repositories.
pub(super) fn check_list(names: &[String]) -> Result<(), String> {
    for (index, name) in names.iter().enumerate() {
        if !is_name(name) {
            return Err(format!("`{name}` is not a repository name such as autoland"));
        }
        // Each has a folder, and some file systems do not tell the case.
        if names[..index].iter().any(|other| other.eq_ignore_ascii_case(name)) {
            return Err(format!("`{name}` stands twice"));
        }
    }
    Ok(())
}

impl Config {
    /// The repositories of `source.repositories`, unless this is the configuration of one of them.
    #[must_use]
    pub fn repositories(&self) -> &[String] {
        if self.source.is_one_of_several { &[] } else { &self.source.repositories }
    }

    /// The configuration of one of [`Config::repositories`]: its store and its artifacts are in folders with its name, below
    /// `store.path` and `artifacts.out`, and its file of metrics has its name behind its own.
    #[must_use]
    pub fn of_repository(&self, name: &str) -> Self {
        let mut config = self.clone();
        name.clone_into(&mut config.source.repository);
        config.source.is_one_of_several = true;
        config.store.path.push(name);
        config.artifacts.out.push(name);
        let filled = |path: &Path| PathBuf::from(path.to_string_lossy().replace(PLACEHOLDER, name));
        config.metrics.textfile = self.metrics.textfile.as_deref().map(|path| {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            path.with_file_name(format!("{stem}-{name}.prom"))
        });
        config.inputs.commits = self.inputs.commits.as_deref().map(filled);
        config.inputs.commits_from = self.inputs.commits_from.as_ref().map(|from| match from {
            CommitsFrom::Clone(folder) => CommitsFrom::Clone(filled(folder)),
            // An address is stored in its encoded form.
            CommitsFrom::Hgweb(url) => {
                CommitsFrom::Hgweb(url.replace(PLACEHOLDER, name).replace("%7Brepository%7D", name))
            }
            CommitsFrom::Pushes => CommitsFrom::Pushes,
        });
        config
    }

    /// `store.path` and `artifacts.out` as they are configured.
    #[must_use]
    pub fn configured_paths(&self) -> [&Path; 2] {
        let paths = [self.store.path.as_path(), &self.artifacts.out];
        if self.source.is_one_of_several { paths.map(|path| path.parent().unwrap_or(path)) } else { paths }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn several() -> Config {
        let mut config = Config::default();
        config.source.repositories = vec!["autoland".to_owned(), "mozilla-central".to_owned()];
        config
    }

    #[test]
    fn each_repository_has_folders_and_commits_of_its_own() {
        let mut config = several();
        config.store.path = PathBuf::from("stores");
        config.artifacts.out = PathBuf::from("sets");
        config.inputs.commits = Some(PathBuf::from("commits/{repository}.jsonl"));
        config.inputs.commits_from = Some("hgweb:https://hg.example.org/{repository}".parse().unwrap());
        config.metrics.textfile = Some(PathBuf::from("metrics/perfharvest.prom"));
        let one = config.of_repository("mozilla-central");
        assert_eq!(one.metrics.textfile.as_deref(), Some(Path::new("metrics/perfharvest-mozilla-central.prom")));
        assert_eq!(one.source.repository, "mozilla-central");
        assert_eq!(one.store.path, Path::new("stores/mozilla-central"));
        assert_eq!(one.artifacts.out, Path::new("sets/mozilla-central"));
        assert_eq!(one.commits_file().unwrap(), Path::new("commits/mozilla-central.jsonl"));
        assert_eq!(
            one.inputs.commits_from.as_ref().unwrap().to_string(),
            "hgweb:https://hg.example.org/mozilla-central"
        );
        assert_eq!(one.configured_paths(), config.configured_paths());
        assert!(one.repositories().is_empty());
        assert_eq!(config.repositories().len(), 2);
    }

    #[test]
    fn a_name_that_is_no_folder_and_one_that_stands_twice_are_refused() {
        for names in [&["a/b"][..], &[".."], &[""], &["autoland", "Autoland"]] {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            assert!(check_list(&names).is_err(), "{names:?}");
        }
        assert_eq!(check_list(&several().source.repositories), Ok(()));
    }
}
