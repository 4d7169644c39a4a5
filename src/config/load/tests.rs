use super::*;
use crate::config::Scope;

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
    let text = include_str!("../../../config.toml");
    assert_eq!(toml::from_str::<Config>(text).unwrap(), Config::default());
    // The file has every key; a key without a default is a comment.
    let shown = toml::to_string(&Config::default()).unwrap();
    let keys = shown.lines().filter_map(|line| line.split(" = ").next()).filter(|key| !key.starts_with('['));
    for key in keys.filter(|key| !key.is_empty()).chain([
        "start",
        "end",
        "data_end",
        "signatures",
        "frameworks",
        "platforms",
        "suites",
        "alert_statuses",
        "alerts_repository_id",
        "commits",
        "commits_from",
        "perf_llm_struc",
        "eval_predictions",
        "final_test_predictions",
        "created_cutoff",
        "title",
        "description",
        "license",
        "authors",
        "doi",
        "url",
        "bind",
        "textfile",
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
    for key in ["window.start", "window.end", "window.data_end", "bisect.created_cutoff"] {
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
            (_, toml::Value::Array(of)) => if of.is_empty() { "[7]" } else { "[]" }.to_owned(),
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
    assert!(
        message("[log]\nlevel = \"[crawl]=debug\"\n")
            .contains("config.toml:2: log.level: `[crawl]=debug` filters spans")
    );
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

#[test]
fn all_job_details_widen_a_scope_and_an_unset_key_keeps_them() {
    let sampled = load("", &[]).unwrap().scope_over(&Scope::default()).unwrap();
    assert!(sampled.is_all() && !serde_json::to_string(&sampled).unwrap().contains("all_jobs"));
    let all = load("[jobs]\ndetails = \"all\"", &[]).unwrap().scope_over(&sampled).unwrap();
    assert_eq!(all.to_string(), "signatures: all; job details: all");
    assert!(all.includes(&sampled) && !sampled.includes(&all) && all.of_data() == sampled);
    assert_eq!(load("", &[]).unwrap().scope_over(&all).unwrap(), all);
    let narrower = load("", &[("jobs.details", "sampled")]).unwrap().scope_over(&all).unwrap();
    assert_eq!(all.differences(&narrower), [("jobs.details", "all".to_owned(), "sampled".to_owned())]);
    let said = message("[jobs]\ndetails = \"some\"\n");
    assert!(said.contains("config.toml:2:") && said.contains("sampled"), "{said}");
}
