//! Reads the layers of the configuration and merges them.
//!
//! The file is first read by itself, so that an error names its line. Then the layers are merged as TOML tables and
//! read again as a whole, and keys are checked against each other (an end before its start).

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::{Config, Written};
use crate::model::{did_you_mean, nearest_names};

/// A value from outside of the file, with its origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// Flag or variable: `--set limiter.burst=0`, `PERFHARVEST_LIMITER__BURST`.
    pub origin: String,
    /// `table.key`
    pub key: String,
    /// TOML, or plain text for a string.
    pub value: String,
}

/// All values from outside of the file; later ones override earlier ones.
pub type Overrides = Vec<Override>;

/// Why a configuration was refused. Exit code 2.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration file {}", path.display())]
    Unreadable {
        /// As it was given.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML, or a key in it is unknown or has an invalid value.
    #[error("{}:{line}: {message}", path.display())]
    File {
        /// As it was given.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// The key and its error.
        message: String,
    },
    /// A flag or an environment variable has an unknown key or an invalid value.
    #[error("{origin}: {message}")]
    Override {
        /// See [`Override::origin`].
        origin: String,
        /// The error.
        message: String,
    },
    /// Keys that contradict each other, or a value that the types do not exclude.
    #[error("{key}: {message}")]
    Invalid {
        /// `table.key`
        key: &'static str,
        /// The error.
        message: String,
    },
}

/// Prefix of environment variables: `PERFHARVEST_TABLE__KEY`.
const ENV_PREFIX: &str = "PERFHARVEST_";
/// Names after the prefix that are not keys; the last three are for this program's tests.
const ENV_OTHERS: [&str; 4] = ["CONFIG", "FAIL_POINT", "CRASH_SEED", "BLESS"];

impl Config {
    /// Reads `file` (if any), then the environment's variables, then `flags`, and checks the result.
    ///
    /// # Errors
    /// [`ConfigError`], with the place of the invalid value.
    pub fn load(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        flags: &[Override],
    ) -> Result<Self, ConfigError> {
        Self::load_written(file, environment, flags).map(|(config, _)| config)
    }

    /// As [`Config::load`], with the values as they were written.
    ///
    /// # Errors
    /// As [`Config::load`].
    pub(super) fn load_written(
        file: Option<&Path>,
        environment: impl Iterator<Item = (String, String)>,
        flags: &[Override],
    ) -> Result<(Self, Written), ConfigError> {
        let (mut table, file_config) = match file {
            Some(path) => read_file(path)?,
            None => (toml::Table::new(), Self::default()),
        };
        let mut config = file_config;
        let from_environment = environment_overrides(environment)?;
        let overrides = || from_environment.iter().chain(flags);
        for one in overrides() {
            config = apply(&mut table, one)?;
        }
        let is_of_the_file = config.check().err().is_none_or(|(key, _)| !overrides().any(|one| one.key == key));
        config.validate(file.filter(|_| is_of_the_file))?;
        let selects_one = overrides().any(|one| one.key == "source.repository");
        if config.source.repositories.is_empty() || !selects_one {
            return Ok((config, Written(table)));
        }
        let (name, names) = (&config.source.repository, &config.source.repositories);
        if names.contains(name) {
            return Ok((config.of_repository(name), Written(table)));
        }
        let message = format!("`{name}` is not among source.repositories: {}", names.join(", "));
        Err(ConfigError::Invalid { key: "source.repository", message })
    }

    /// Checks the whole configuration.
    ///
    /// # Errors
    /// [`ConfigError::Invalid`], or [`ConfigError::File`] with the line of the key if `file` sets it.
    pub fn validate(&self, file: Option<&Path>) -> Result<(), ConfigError> {
        let Err((key, message)) = self.check() else { return Ok(()) };
        let line = file.and_then(|path| Some((path, line_of_key(&std::fs::read_to_string(path).ok()?, key)?)));
        Err(match line {
            Some((path, line)) => {
                ConfigError::File { path: path.to_owned(), line, message: format!("{key}: {message}") }
            }
            None => ConfigError::Invalid { key, message },
        })
    }
}

fn read_file(path: &Path) -> Result<(toml::Table, Config), ConfigError> {
    let text =
        std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
    let at = |error: &toml::de::Error| ConfigError::File {
        path: path.to_owned(),
        line: error.span().map_or(1, |span| 1 + text[..span.start.min(text.len())].matches('\n').count()),
        message: message_with_key(&text, error),
    };
    let table: toml::Table = toml::from_str(&text).map_err(|error| at(&error))?;
    let config: Config = toml::from_str(&text).map_err(|error| at(&error))?;
    Ok((table, config))
}

/// Adds the most similar name, of those that the message lists, to a message about an unknown key.
fn with_nearest(message: &str) -> String {
    let mut names = message.split('`').skip(1).step_by(2);
    let (true, Some(unknown)) = (message.starts_with("unknown field"), names.next()) else {
        return message.to_owned();
    };
    format!("{message}{}", did_you_mean(unknown, names))
}

/// The message for people: without the names of Rust's types, and with the name that was probably meant.
fn readable(error: &toml::de::Error) -> String {
    let mut message = with_nearest(error.message().trim());
    for number in ["u8", "u16", "u32", "u64", "usize"] {
        for (said, meant) in [("a nonzero ", "a whole number from 1"), ("", "a whole number from 0")] {
            let said = format!("expected {said}{number}");
            if message.ends_with(&said) {
                message = message.replace(&said, &format!("expected {meant}"));
            }
        }
    }
    message
}

/// All keys, as `table.key`. The shipped file shows each, those without a default as a comment.
fn all_keys() -> Vec<String> {
    let mut keys = Vec::new();
    let mut table = "";
    for line in include_str!("../../config.toml").lines() {
        if let Some(header) = line.strip_prefix('[') {
            table = header.split(']').next().unwrap_or_default();
        } else if let Some((name, _)) = line.trim_start_matches("# ").split_once(" =")
            && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
        {
            keys.push(format!("{table}.{name}"));
        }
    }
    keys
}

/// The error's message, with the key of its line unless the message names it.
fn message_with_key(text: &str, error: &toml::de::Error) -> String {
    let message = readable(error);
    let Some(span) = error.span() else { return message };
    let line_start = text[..span.start.min(text.len())].rfind('\n').map_or(0, |at| at + 1);
    let key = text[line_start..].split(['=', '\n']).next().unwrap_or_default().trim();
    if key.is_empty() || key.starts_with('[') || message.contains(&format!("`{key}`")) {
        message
    } else {
        format!("{key}: {message}")
    }
}

/// The line, from 1, that sets `table.key`.
fn line_of_key(text: &str, key: &str) -> Option<usize> {
    let (table, name) = key.split_once('.')?;
    let mut current = "";
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            current = header.trim();
        } else if current == table && line.split('=').next().map(str::trim) == Some(name) {
            return Some(index + 1);
        }
    }
    None
}

fn environment_overrides(variables: impl Iterator<Item = (String, String)>) -> Result<Overrides, ConfigError> {
    let mut found = Overrides::new();
    for (name, value) in variables {
        let Some(own) = name.strip_prefix(ENV_PREFIX) else { continue };
        match own.split_once("__") {
            Some((table, key)) => {
                let key = format!("{}.{}", table.to_lowercase(), key.to_lowercase());
                found.push(Override { origin: name, key, value });
            }
            None if ENV_OTHERS.contains(&own) => {}
            None => return Err(unknown_variable(name)),
        }
    }
    found.sort_by(|a, b| a.origin.cmp(&b.origin)); // the environment has no order
    Ok(found)
}

/// The error for a variable with this program's prefix that is not a key, so that it is not ignored silently.
fn unknown_variable(origin: String) -> ConfigError {
    let names: Vec<String> = all_keys().iter().map(|key| key.to_uppercase().replacen('.', "__", 1)).collect();
    // Without the prefix, which makes all of them similar.
    let own = origin.trim_start_matches(ENV_PREFIX);
    let nearest = nearest_names(own, names.iter().map(String::as_str));
    let nearest = nearest.first().map_or_else(String::new, |name| format!("; did you mean {ENV_PREFIX}{name}?"));
    let message = format!("is not a variable of this program, which have the form PERFHARVEST_TABLE__KEY{nearest}");
    ConfigError::Override { origin, message }
}

/// Sets one value in the table and reads the whole again, so that an error names the value that caused it.
fn apply(table: &mut toml::Table, one: &Override) -> Result<Config, ConfigError> {
    // An address with a password is not repeated.
    let is_secret = one.value.contains("://") && one.value.contains('@');
    let origin = if is_secret { one.origin.split('=').next().unwrap_or_default() } else { &one.origin };
    let wrong = |message: String| ConfigError::Override { origin: origin.to_owned(), message };
    let Some((section, name)) = one.key.split_once('.') else {
        let keys = all_keys();
        let names = || keys.iter().filter_map(|key| Some((key, key.split_once('.')?.1)));
        let meant = nearest_names(&one.key, names().map(|(_, name)| name)).first().copied();
        let meant = names().find(|(_, name)| Some(*name) == meant);
        let meant = meant.map_or_else(String::new, |(key, _)| format!("; did you mean `{key}`?"));
        return Err(wrong(format!("`{}` is not of the form table.key{meant}", one.key)));
    };
    // Text that is not TOML is a string. Text that is TOML may be meant as a string too (a path such as 1), so try
    // both.
    let literal = toml::from_str::<toml::Table>(&format!("v = {}", one.value)).ok().and_then(|mut t| t.remove("v"));
    let plain = toml::Value::String(one.value.clone());
    let mut first_error = None;
    for value in literal.into_iter().chain([plain]) {
        let mut tried = table.clone();
        let entry = tried.entry(section).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        let Some(inner) = entry.as_table_mut() else {
            return Err(wrong(format!("`{section}` is not a table")));
        };
        inner.insert(name.to_owned(), value);
        // As text, which the file is read from too: the compiler makes one deserializer of all tables, and not two.
        match toml::from_str::<Config>(&tried.to_string()) {
            Ok(config) => {
                *table = tried;
                return Ok(config);
            }
            Err(error) => {
                first_error.get_or_insert(readable(&error));
            }
        }
    }
    Err(wrong(format!("{}: {}", one.key, first_error.unwrap_or_default())))
}

#[cfg(test)]
mod tests;
