//! Reads the layers of the configuration and merges them.
//!
//! The file is first read by itself, so that an error names its line. Then the layers are merged as TOML tables and read again
//! as a whole, and keys are checked against each other (an end before its start).

use std::path::{Path, PathBuf};

use thiserror::Error;

use super::Config;
use super::check::nearest;

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
        Ok(config)
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
    match nearest(unknown, names) {
        Some(nearest) => format!("{message}; did you mean `{nearest}`?"),
        None => message.to_owned(),
    }
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
    let names = all_keys().into_iter().map(|key| format!("{ENV_PREFIX}{}", key.to_uppercase().replacen('.', "__", 1)));
    let names: Vec<String> = names.collect();
    let nearest = nearest(&origin, names.iter().map(String::as_str)).unwrap_or_default();
    let message = format!(
        "is not a variable of this program, which have the form PERFHARVEST_TABLE__KEY; did you mean {nearest}?"
    );
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
        let meant = nearest(&one.key, names().map(|(_, name)| name));
        let meant = names().find(|(_, name)| Some(*name) == meant).map_or("", |(key, _)| key.as_str());
        return Err(wrong(format!("`{}` is not of the form table.key; did you mean `{meant}`?", one.key)));
    };
    // Text that is not TOML is a string. Text that is TOML may be meant as a string too (a path such as 1), so try both.
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
        match toml::Value::Table(tried.clone()).try_into::<Config>() {
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
mod tests {
    use super::*;

    fn load(text: &str, flags: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        let mut file = tempfile::NamedTempFile::new_in(folder.path()).unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        file.persist(&path).unwrap();
        let flags: Overrides = flags
            .iter()
            .map(|(key, value)| Override {
                origin: format!("--set {key}={value}"),
                key: (*key).to_owned(),
                value: (*value).to_owned(),
            })
            .collect();
        Config::load(Some(&path), std::iter::empty(), &flags)
    }

    fn message(text: &str) -> String {
        load(text, &[]).unwrap_err().to_string()
    }

    #[test]
    fn the_shipped_file_holds_every_key_with_its_default() {
        let text = include_str!("../../config.toml");
        assert_eq!(toml::from_str::<Config>(text).unwrap(), Config::default());
        // The file has every key; a key without a default is a comment.
        let shown = toml::to_string(&Config::default()).unwrap();
        let keys = shown.lines().filter_map(|line| line.split(" = ").next()).filter(|key| !key.starts_with('['));
        for key in keys.filter(|key| !key.is_empty()).chain([
            "start",
            "end",
            "data_end",
            "signatures",
            "alerts_repository_id",
            "commits",
            "commits_from",
            "perf_llm_struc",
            "bind",
        ]) {
            assert!(
                text.lines().any(|line| line.trim_start_matches("# ").split('=').next().map(str::trim) == Some(key)),
                "config.toml does not show {key}"
            );
        }
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let said = message("[limiter]\nburst = 1\nbrust = 2\n");
        assert!(said.contains("config.toml:3:") && said.contains("brust"), "{said}");
        assert!(said.ends_with("did you mean `burst`?"), "{said}");
        let said = message("[limiter]\nrequest_per_second = 2\n");
        assert!(said.ends_with("did you mean `requests_per_second`?"), "{said}");
        assert!(message("[limitter]\n").ends_with("did you mean `limiter`?"));
    }

    #[test]
    fn a_wrong_type_and_a_zero_rate_are_refused_with_line_and_key() {
        let said = message("[limiter]\n\nrequests_per_second = 0\n");
        assert!(said.contains("config.toml:3:") && said.contains("requests_per_second"), "{said}");
        let said = message("[batch]\njob_ids = \"many\"\n");
        assert!(said.contains("config.toml:2:") && said.contains("job_ids"), "{said}");
        let said = message("[retry]\nmax_delay = 5\n");
        assert!(said.contains("config.toml:2:") && said.contains("max_delay"), "{said}");
    }

    #[test]
    fn more_than_a_thousand_fetchers_are_refused_with_line_and_key() {
        for key in ["alerts", "signatures", "summaries", "job_details"] {
            assert!(load(&format!("[concurrency]\n{key} = 1000\n"), &[]).is_ok());
            let said = message(&format!("[concurrency]\n{key} = 1001\n"));
            assert!(said.contains(&format!("config.toml:2: concurrency.{key}: 1001 is above 1000")), "{said}");
        }
    }

    #[test]
    fn an_end_before_its_start_is_refused_with_line_and_key() {
        let said = message("[window]\nstart = 2026-07-01T00:00:00Z\nend = 2026-06-01T00:00:00Z\n");
        assert!(said.contains("config.toml:3:") && said.contains("window.end"), "{said}");
    }

    #[test]
    fn broken_toml_is_refused_with_its_line() {
        assert!(message("[source]\nbase_url = \n").contains("config.toml:2:"));
    }

    #[test]
    fn a_flag_wins_over_the_environment_and_that_over_the_file() {
        let flag = [Override { origin: "--set".into(), key: "limiter.burst".into(), value: "4".into() }];
        let environment = || [("PERFHARVEST_LIMITER__BURST".to_owned(), "3".to_owned())].into_iter();
        let burst = |c: Config| c.limiter.burst.get();
        assert_eq!(burst(Config::load(None, environment(), &flag).unwrap()), 4);
        assert_eq!(burst(Config::load(None, environment(), &[]).unwrap()), 3);
        assert_eq!(burst(load("[limiter]\nburst = 2\n", &[]).unwrap()), 2);
        assert_eq!(burst(load("[limiter]\nburst = 2\n", &[("limiter.burst", "5")]).unwrap()), 5);
    }

    #[test]
    fn every_key_can_be_set_and_has_an_effect() {
        let default = toml::Table::try_from(Config::default()).unwrap();
        let mut keys: Vec<(String, toml::Value)> = default
            .iter()
            .flat_map(|(table, keys)| {
                keys.as_table().unwrap().iter().map(move |(key, value)| (format!("{table}.{key}"), value.clone()))
            })
            .collect();
        for key in ["window.start", "window.end", "window.data_end"] {
            keys.push((key.to_owned(), toml::Value::String("t".to_owned())));
        }
        for (key, value) in &keys {
            let other = match (key.as_str(), value) {
                ("source.base_url", _) => "http://127.0.0.1:1".to_owned(),
                ("artifacts.semantics", _) => "reference".to_owned(),
                ("log.format", _) => "json".to_owned(),
                ("log.level", _) => "debug".to_owned(),
                ("limiter.min_requests_per_second", _) => "3".to_owned(),
                ("retry.initial_delay", _) => "3s".to_owned(),
                (_, toml::Value::Boolean(on)) => (!on).to_string(),
                (_, toml::Value::Integer(n)) => if *n == 100 { 99 } else { n + 7 }.to_string(),
                (_, toml::Value::Array(_)) => "[]".to_owned(),
                (_, toml::Value::String(text)) if text == "t" => "2026-07-02".to_owned(),
                (_, toml::Value::String(text)) if humantime::parse_duration(text).is_ok() => "61m".to_owned(),
                _ => "other".to_owned(),
            };
            let config = load("", &[(key, &other)]).unwrap_or_else(|error| panic!("{key}={other}: {error}"));
            assert_ne!(config, Config::default(), "{key}={other} changed nothing");
        }
    }

    #[test]
    fn a_mistyped_level_is_refused_with_its_line_and_the_nearest() {
        let said = message("[log]\nlevel = \"inof\"\n");
        assert!(said.contains("config.toml:2: log.level: `inof`") && said.ends_with("did you mean `info`?"), "{said}");
        assert!(message("[log]\nlevel = \"info,perfharvest=loud\"\n").contains("config.toml:2: log.level"));
        let flags = [("limiter.burst", "3")];
        let said = load("[log]\nlevel = \"loud\"\n", &flags).unwrap_err().to_string();
        assert!(said.contains("config.toml:2:"), "another flag does not hide the line: {said}");
        let said = load("[log]\nlevel = \"info\"\n", &[("log.level", "loud")]).unwrap_err().to_string();
        assert!(said.starts_with("log.level: `loud`"), "{said}");
        for level in ["off", "WARN", "info,perfharvest=debug", "perfharvest=trace"] {
            load("", &[("log.level", &format!("\"{level}\""))]).unwrap_or_else(|error| panic!("{level}: {error}"));
        }
    }

    #[test]
    fn a_number_that_must_not_be_zero_is_asked_for_in_words() {
        let said = message("[limiter]\nburst = 0\n");
        assert!(said.ends_with("expected a whole number from 1"), "{said}");
        let said = load("", &[("batch.job_ids", "many")]).unwrap_err().to_string();
        assert!(said.ends_with("expected a whole number from 1"), "{said}");
    }

    #[test]
    fn a_rate_may_be_below_one_without_a_lower_minimum_and_not_zero() {
        let half = load("[limiter]\nrequests_per_second = 0.5\n", &[]).unwrap();
        assert_eq!(half.limiter.requests_per_second.to_string(), "0.5");
        for (text, least) in [("0", "1"), ("-1", "1"), ("nan", "1"), ("0.5", "1.5")] {
            let text = format!("[limiter]\nmin_requests_per_second = {least}\nrequests_per_second = {text}\n");
            let said = message(&text);
            assert!(said.contains("config.toml:") && said.contains("requests_per_second"), "{said}");
        }
        assert!(message("[limiter]\nrequests_per_second = 0\n").ends_with("0 is not a rate; expected at least 0.001"));
    }

    #[test]
    fn a_key_without_its_table_and_an_unknown_variable_are_refused_with_what_was_meant() {
        let said = load("", &[("requests_per_second", "3")]).unwrap_err().to_string();
        assert!(said.ends_with("did you mean `limiter.requests_per_second`?"), "{said}");
        let from = |name: &str| Config::load(None, [(name.to_owned(), "3".to_owned())].into_iter(), &[]);
        let said = from("PERFHARVEST_LIMITER_REQUESTS_PER_SECOND").unwrap_err().to_string();
        assert!(said.ends_with("did you mean PERFHARVEST_LIMITER__REQUESTS_PER_SECOND?"), "{said}");
        from("PERFHARVEST_CONFIG").unwrap();
        from("PERFHARVESTER").unwrap();
    }

    #[test]
    fn an_address_without_its_scheme_is_refused_with_the_whole_one() {
        for (given, meant) in
            [("treeherder.mozilla.org", "https://treeherder.mozilla.org"), ("localhost:8000", "http://localhost:8000")]
        {
            let said = load("", &[("source.base_url", given)]).unwrap_err().to_string();
            assert!(said.ends_with(&format!("did you mean `{meant}`?")), "{said}");
        }
        let said = load("", &[("source.base_url", "ftp://a.example")]).unwrap_err().to_string();
        assert!(said.ends_with("is not an http or https address"), "{said}");
    }

    #[test]
    fn a_wrong_override_is_named() {
        let said = load("", &[("limiter.brust", "3")]).unwrap_err().to_string();
        assert!(said.starts_with("--set limiter.brust=3: ") && said.contains("brust"), "{said}");
        let said = load("", &[("inputs.commits_from", "hgweb:http://me:secret@h")]).unwrap_err().to_string();
        assert!(said.starts_with("--set inputs.commits_from: ") && !said.contains("secret"), "{said}");
        let said = load("", &[("limiter.burst", "0")]).unwrap_err().to_string();
        assert!(said.contains("limiter.burst"), "{said}");
    }
}
