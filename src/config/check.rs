//! Checks a configuration as a whole: keys against each other, and texts with a grammar.

use std::time::Duration;

use tracing_subscriber::filter::{ParseError, Targets};

use super::repositories::{check_list, is_name};
use super::{Config, LimiterConfig, LogConfig};
use crate::model::did_you_mean;

/// The levels of `log.level`; any other text is a list of filter directives.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Maximum fetchers of a kind: each costs memory and wakes for every batch, and no server answers more requests at
/// once.
const MAX_FETCHERS: usize = 1000;

impl LogConfig {
    /// The events of `level` that are logged.
    ///
    /// # Errors
    /// A directive is invalid.
    pub fn filter(&self) -> Result<Targets, ParseError> {
        // Targets would take `" info"` for the name of a module.
        let text: String = self.level.chars().filter(|character| !character.is_whitespace()).collect();
        text.split(',').filter(|directive| !directive.is_empty()).collect::<Vec<_>>().join(",").parse()
    }
}

impl Config {
    /// Returns the first invalid key and its error.
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        let window = &self.window;
        if let (Some(start), Some(end)) = (window.start, window.end)
            && end < start
        {
            return Err(("window.end", format!("{end} is before window.start, {start}")));
        }
        if let (Some(start), Some(data_end)) = (window.start, window.data_end)
            && data_end <= start
        {
            return Err(("window.data_end", format!("{data_end} is not after window.start, {start}")));
        }
        check_base_url(&self.source.base_url).map_err(|message| ("source.base_url", message))?;
        let name = &self.source.repository;
        if !is_name(name) {
            return Err(("source.repository", format!("`{name}` is not a repository name such as autoland")));
        }
        check_list(&self.source.repositories).map_err(|message| ("source.repositories", message))?;
        let agent = &self.source.user_agent;
        if agent.trim().is_empty() || !agent.bytes().all(|b| (0x20..0x7f).contains(&b)) {
            return Err(("source.user_agent", "must be printable ASCII text with a name and a contact".to_owned()));
        }
        for (key, value) in [
            ("source.timeout", self.source.timeout),
            ("source.connect_timeout", self.source.connect_timeout),
            ("retry.initial_delay", self.retry.initial_delay),
            ("retry.max_delay", self.retry.max_delay),
        ] {
            if value == Duration::ZERO {
                return Err((key, "must be longer than 0 s".to_owned()));
            }
        }
        if self.retry.max_delay < self.retry.initial_delay {
            return Err(("retry.max_delay", "is shorter than retry.initial_delay".to_owned()));
        }
        // A rate below the default minimum needs no second key.
        let (rate, least) = (self.limiter.requests_per_second, self.limiter.min_requests_per_second);
        if least > rate && least > LimiterConfig::default().min_requests_per_second {
            return Err(("limiter.min_requests_per_second", "is above limiter.requests_per_second".to_owned()));
        }
        if self.batch.job_ids.get() > 2000 {
            return Err(("batch.job_ids", "is above 2000, the most that the server returns at once".to_owned()));
        }
        if self.batch.alert_page.get() > 100 {
            return Err(("batch.alert_page", "is above 100, the most that the server returns at once".to_owned()));
        }
        self.check_concurrency()?;
        if let Some(bind) = self.metrics.bind
            && !bind.ip().is_loopback()
        {
            return Err(("metrics.bind", format!("{bind} is not a loopback address such as 127.0.0.1:9464")));
        }
        if let Some(textfile) = &self.metrics.textfile
            && textfile.extension().is_none_or(|extension| extension != "prom")
        {
            let message =
                format!("{} does not end in .prom, so the node exporter would not read it", textfile.display());
            return Err(("metrics.textfile", message));
        }
        check_level(&self.log).map_err(|message| ("log.level", message))
    }

    fn check_concurrency(&self) -> Result<(), (&'static str, String)> {
        let concurrency = &self.concurrency;
        for (key, fetchers) in [
            ("concurrency.alerts", concurrency.alerts),
            ("concurrency.signatures", concurrency.signatures),
            ("concurrency.summaries", concurrency.summaries),
            ("concurrency.job_details", concurrency.job_details),
        ] {
            if fetchers.get() > MAX_FETCHERS {
                return Err((key, format!("{fetchers} is above {MAX_FETCHERS}")));
            }
        }
        Ok(())
    }
}

/// The root of a server, and nothing that may be a secret: the address is stored in the crawl's identity and in the
/// manifest.
fn check_base_url(address: &str) -> Result<(), String> {
    let before_path = address.split_once("://").map_or(address, |(_, rest)| rest).split(['/', '?', '#']).next();
    let parsed = url::Url::parse(address);
    let has_login = parsed.as_ref().is_ok_and(|url| !url.username().is_empty() || url.password().is_some());
    if has_login || before_path.is_some_and(|host| host.contains('@')) {
        return Err("holds a user name or password, which would be stored in files; remove it (a proxy's belongs in \
                    HTTPS_PROXY)"
            .to_owned());
    }
    if address.contains(['?', '#']) {
        return Err("has a query or fragment; give only the root of the server".to_owned());
    }
    let not_http = |why: String| format!("`{address}` is not an http or https address{why}{}", with_scheme(address));
    let url = parsed.map_err(|why| not_http(format!(": {why}")))?;
    if url.cannot_be_a_base() || !matches!(url.scheme(), "http" | "https") {
        return Err(not_http(String::new()));
    }
    let root = address.trim_end_matches('/');
    match root.strip_suffix("/api") {
        Some(root) => {
            Err(format!("`{address}` ends in /api, which is added to it; use `{}`", root.trim_end_matches('/')))
        }
        None => Ok(()),
    }
}

/// Suggests the whole address if only the scheme is missing.
fn with_scheme(address: &str) -> String {
    let host = address.split([':', '/']).next().unwrap_or_default();
    let scheme = if matches!(host, "localhost" | "127.0.0.1") { "http" } else { "https" };
    let whole = format!("{scheme}://{address}");
    let is_host = !address.contains("://") && (host.contains('.') || host == "localhost");
    if is_host && url::Url::parse(&whole).is_ok() { format!("; did you mean `{whole}`?") } else { String::new() }
}

/// Refuses mistyped levels: the filter would take them for names of modules, and silence everything else.
fn check_level(log: &LogConfig) -> Result<(), String> {
    let level = log.level.as_str();
    if level.contains('[') {
        return Err(format!("`{level}` filters spans or fields, which the log does not have; name modules only"));
    }
    if level.contains(['=', ',']) {
        return log.filter().map(drop).map_err(|why| format!("`{level}` is invalid: {why}"));
    }
    if LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level.trim())) {
        return Ok(());
    }
    Err(format!("`{level}` is not one of {}{}", LEVELS.join(", "), did_you_mean(level, LEVELS)))
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::filter::LevelFilter;

    use super::*;

    #[test]
    fn blanks_and_empty_parts_of_a_level_do_not_count() {
        let filter = |level: &str| LogConfig { level: level.to_owned(), ..LogConfig::default() }.filter().unwrap();
        for level in ["info", " INFO ", "info,", ",info"] {
            assert_eq!(filter(level).default_level(), Some(LevelFilter::INFO), "{level}");
        }
        let spaced = filter("info, perfharvest = debug");
        assert_eq!(spaced.default_level(), Some(LevelFilter::INFO));
        assert!(spaced.would_enable("perfharvest::fetch", &tracing::Level::DEBUG));
        assert!(!spaced.would_enable("hyper", &tracing::Level::DEBUG));
    }

    #[test]
    fn the_root_of_a_server_is_accepted_under_any_path() {
        for address in
            ["https://treeherder.mozilla.org", "http://127.0.0.1:1/", "https://a.example/th", "https://a.example/@x"]
        {
            assert_eq!(check_base_url(address), Ok(()), "{address}");
        }
    }

    #[test]
    fn an_address_with_a_secret_is_refused_without_printing_it() {
        for address in [
            "https://user:s3cret@a.example",
            "https://s3cret@a.example/th",
            "https://:s3cret@a.example",
            "user:s3cret@a.example",
            "ftp://user:s3cret@a.example/",
            "http://user:s3cret@",
            "http:/user:s3cret@a.example",
            "https://a.example/?key=s3cret",
            "https://a.example/#s3cret",
        ] {
            let message = check_base_url(address).unwrap_err();
            assert!(!message.contains("s3cret"), "{message}");
        }
    }

    #[test]
    fn the_api_is_not_part_of_the_root() {
        for address in ["https://a.example/api", "https://a.example/api/", "https://a.example//api//"] {
            let message = check_base_url(address).unwrap_err();
            assert!(message.ends_with("use `https://a.example`"), "{message}");
        }
    }
}
