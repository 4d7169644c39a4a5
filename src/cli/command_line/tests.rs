use std::path::PathBuf;

use super::super::flags::Configured;
use super::*;
use crate::config::{Config, Semantics};

/// The long flags of each command, sorted.
const FLAGS: &[(&str, &str)] = &[
    (
        "run",
        "base-url commits config data-end dry-run end json log-format no-progress out quiet repository requests-per-second \
         retry-set-aside same-source sample semantics set start store verbose",
    ),
    (
        "refresh",
        "base-url commits config data-end dry-run end full json log-format no-progress out quiet repository \
         requests-per-second retry-set-aside same-source sample semantics set start store verbose",
    ),
    (
        "crawl",
        "base-url commits config data-end dry-run end json log-format no-progress quiet repository requests-per-second \
         retry-set-aside same-source sample set start store verbose",
    ),
    ("reduce", "commits config data-end end log-format no-progress out quiet semantics set start store verbose"),
    (
        "plan",
        "base-url config data-end end full json log-format quiet refresh repository requests-per-second same-source \
         sample set start store verbose",
    ),
    ("status", "as-of check config job-horizon json log-format max-age quiet set store verbose watch"),
    ("failures", "config corrected json log-format quiet set store verbose"),
    ("export", "commits config format log-format out output quiet set store tables verbose"),
    ("publish", "commits config keep-emails log-format output quiet set store verbose"),
    ("import", "base-url config data-end end log-format quiet repository set start store verbose"),
    ("verify", "config json log-format out quiet repair set store verbose"),
    ("compact", "config json log-format quiet set store verbose"),
    (
        "commits",
        "base-url config data-end end from log-format output quiet repository requests-per-second set start store verbose",
    ),
    ("relabel", "config exclude-framework-ids input limit log-format output quiet report-json set store verbose"),
    ("report", "commits config log-format out output quiet semantics set store verbose"),
    ("config check", "config online set"),
    ("config show", "config set"),
    ("config init", ""),
    (
        "simulate",
        "alert-changes-within alerts arrival-delay arrival-log bind capacity corpus data-per-signature date-skew \
         deleted-alert-share dump edited-alert-share fault history job-expiry jobs-finish-within kill-after kill-alert \
         kill-hangs-up kill-over-data late-share late-within latency new-signature-share now pushes \
         reassigned-alert-share retry-after seed signatures vanishing-signature-share weeks",
    ),
    ("demo", "no-progress out store"),
    ("completions", ""),
    ("man", ""),
];

/// A flag, a value, the key that it sets, and the key's value then.
const SETTINGS: &[(&str, &str, &str, &str)] = &[
    ("set", "batch.job_ids=7", "batch.job_ids", "7"),
    ("base-url", "http://127.0.0.1:1", "source.base_url", "\"http://127.0.0.1:1\""),
    ("repository", "try", "source.repository", "\"try\""),
    ("start", "2026-07-01", "window.start", "\"2026-07-01T00:00:00Z\""),
    ("end", "2026-07-02", "window.end", "\"2026-07-02T00:00:00Z\""),
    ("data-end", "2026-07-03", "window.data_end", "\"2026-07-03T00:00:00Z\""),
    ("sample", "5", "sample.signatures", "5"),
    ("requests-per-second", "0.5", "limiter.requests_per_second", "0.5"),
    ("requests-per-second", "7", "limiter.requests_per_second", "7"),
    ("commits", "c.jsonl", "inputs.commits", "\"c.jsonl\""),
    ("store", "1", "store.path", "\"1\""),
    ("out", "o", "artifacts.out", "\"o\""),
    ("semantics", "reference", "artifacts.semantics", "\"reference\""),
    ("verbose", "", "log.level", "\"info,perfharvest=debug\""),
    ("quiet", "", "log.level", "\"error\""),
    ("quiet", "", "log.progress", "false"),
    ("log-format", "json", "log.format", "\"json\""),
    ("no-progress", "", "log.progress", "false"),
];

fn long_flags(words: &str) -> Vec<String> {
    let mut command = Cli::command();
    command.build();
    for word in words.split(' ') {
        command = command.find_subcommand(word).unwrap().clone();
    }
    let mut flags: Vec<String> =
        command.get_arguments().filter_map(|argument| Some(argument.get_long()?.to_owned())).collect();
    flags.retain(|flag| flag != "help");
    flags.sort_unstable();
    flags
}

fn configured(command: &Command) -> Option<&dyn Configured> {
    Some(match command {
        Command::Run(args) => args,
        Command::Refresh(args) => args,
        Command::Crawl(args) => args,
        Command::Reduce(args) => args,
        Command::Plan(args) => args,
        Command::Status(args) => args,
        Command::Failures(args) => args,
        Command::Export(args) => args,
        Command::Publish(args) => args,
        Command::Import(args) => args,
        Command::Verify(args) => args,
        Command::Compact(args) => args,
        Command::Commits(args) => args,
        Command::Relabel(args) => args,
        Command::Report(args) => args,
        Command::Config(command) => command.configured()?,
        Command::Simulate(_) | Command::Demo(_) | Command::Completions(_) | Command::Man(_) => return None,
    })
}

/// `words`, with the arguments that the command requires.
fn parsed(words: &str, more: &[&str]) -> Command {
    let required: &[&str] = match words {
        "export" => &["--format", "archive"],
        "publish" => &["--output", "a"],
        "import" => &["a.harvest"],
        "relabel" => &["--input", "a", "--output", "b"],
        _ => &[],
    };
    let all = std::iter::once("perfharvest").chain(words.split(' ')).chain(required.iter().copied());
    Cli::try_parse_from(all.chain(more.iter().copied()))
        .unwrap_or_else(|error| panic!("{words} {more:?}: {error}"))
        .command
}

/// The configuration that the flags make of the defaults.
fn config_of(command: &Command) -> Config {
    let flags = configured(command).unwrap().layers().unwrap().flags;
    Config::load(None, std::iter::empty(), &flags).unwrap()
}

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn each_command_takes_exactly_the_flags_that_it_uses() {
    let mut commands = Vec::new();
    for command in Cli::command().get_subcommands() {
        let inner: Vec<String> =
            command.get_subcommands().map(|inner| format!("{} {}", command.get_name(), inner.get_name())).collect();
        commands.extend(if inner.is_empty() { vec![command.get_name().to_owned()] } else { inner });
    }
    assert_eq!(FLAGS.iter().map(|(words, _)| *words).collect::<Vec<_>>(), commands);
    for (words, flags) in FLAGS {
        assert_eq!(long_flags(words), flags.split_whitespace().collect::<Vec<_>>(), "{words}");
    }
}

#[test]
fn each_flag_of_each_command_reaches_its_key() {
    let mut num_tried = 0;
    for (words, flags) in FLAGS {
        if configured(&parsed_or_skip(words)).is_none() {
            continue;
        }
        for (flag, value, key, expected) in
            SETTINGS.iter().filter(|(flag, ..)| flags.split_whitespace().any(|own| own == *flag))
        {
            let flag = format!("--{flag}");
            let given = [flag.as_str(), value];
            let config = config_of(&parsed(words, &given[..if value.is_empty() { 1 } else { 2 }]));
            let (table, name) = key.split_once('.').unwrap();
            let shown = toml::Table::try_from(&config).unwrap();
            assert_eq!(shown[table][name].to_string(), *expected, "{words} {flag}");
            num_tried += 1;
        }
    }
    assert!(num_tried > 80, "{num_tried}");
}

/// The command without anything that is optional.
fn parsed_or_skip(words: &str) -> Command {
    match words {
        "completions" => parsed("completions", &["bash"]),
        words => parsed(words, &[]),
    }
}

#[test]
fn a_configuration_file_is_read_by_each_command_that_takes_one() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("my.toml");
    let file = std::fs::OpenOptions::new().write(true).create_new(true).open(&path).unwrap();
    std::io::Write::write_all(&mut &file, b"[limiter]\nburst = 77\n").unwrap();
    for (words, flags) in FLAGS {
        if flags.split_whitespace().any(|flag| flag == "config") {
            let command = parsed(words, &["-c", path.to_str().unwrap()]);
            assert_eq!(configured(&command).unwrap().load().unwrap().limiter.burst.get(), 77, "{words}");
        }
    }
}

#[test]
fn a_flag_of_its_own_wins_over_set_and_a_file_name_that_looks_like_a_number_is_a_name() {
    let given = ["--set", "limiter.requests_per_second=3", "--requests-per-second", "7", "--store", "1"];
    let config = config_of(&parsed("run", &given));
    assert_eq!(
        (config.limiter.requests_per_second.to_string(), config.store.path),
        ("7".to_owned(), PathBuf::from("1"))
    );
    let refused = parsed("run", &["--set", "limiter.burst"]);
    let said = configured(&refused).unwrap().layers().unwrap_err().to_string();
    assert!(said.contains("--set limiter.burst: expected TABLE.KEY=VALUE"), "{said}");
}

#[test]
fn a_mistyped_flag_suggests_the_nearest() {
    for (words, given, meant) in [
        (&["run"][..], "--requests-per-secnd", "--requests-per-second"),
        (&["verify"], "--repiar", "--repair"),
        (&["status"], "--jsn", "--json"),
    ] {
        let all = std::iter::once("perfharvest").chain(words.iter().copied()).chain([given]);
        let said = Cli::try_parse_from(all).unwrap_err().to_string();
        assert!(said.contains(meant), "{said}");
    }
}

#[test]
fn the_defaults_in_the_help_are_those_of_the_configuration() {
    let default = Config::default();
    let help = Cli::command().find_subcommand_mut("run").unwrap().render_help().to_string();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for value in [
        default.source.base_url,
        default.source.repository,
        default.store.path.display().to_string(),
        default.artifacts.out.display().to_string(),
        default.artifacts.semantics.name().to_owned(),
        default.limiter.requests_per_second.to_string(),
    ] {
        assert!(help.contains(&format!("[default: {value}]")), "{value}: {help}");
    }
    assert_eq!(default.artifacts.semantics, Semantics::Corrected);
}

/// An option with a value is required, can be given several times, or says what happens without it.
#[test]
fn every_option_shows_its_default() {
    const REQUIRED: [&str; 3] = ["format", "input", "output"];
    let mut cli = Cli::command();
    cli.build();
    let inner = cli.get_subcommands().flat_map(clap::Command::get_subcommands);
    for command in cli.get_subcommands().chain(inner).filter(|command| command.get_name() != "help") {
        for argument in command.get_arguments() {
            let Some(flag) = argument.get_long().filter(|_| argument.get_action().takes_values()) else { continue };
            let is_list = matches!(argument.get_action(), clap::ArgAction::Append);
            let help = argument.get_long_help().or_else(|| argument.get_help()).map(ToString::to_string);
            let says =
                help.is_some_and(|help| help.contains("[default: ")) || !argument.get_default_values().is_empty();
            assert!(says || is_list || REQUIRED.contains(&flag), "{} --{flag}", command.get_name());
        }
    }
}

#[test]
fn the_defaults_of_generated_data_in_the_help_are_those_of_the_generator() {
    let default = treeherder_sim::GeneratorConfig::default();
    let mut cli = Cli::command();
    let help = cli.find_subcommand_mut("simulate").unwrap().render_long_help().to_string();
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for (what, value) in [
        ("Mean number of data per signature", default.data_per_signature),
        ("Number of alert summaries", default.alerts),
        ("Number of pushes", default.pushes),
    ] {
        assert!(help.contains(&format!("{what} [default: {value}]")), "{what}: {value}");
    }
}

#[test]
fn examples_fit_into_a_terminal_and_help_has_no_stray_backticks() {
    let mut cli = Cli::command();
    let commands = cli.get_subcommands().cloned().collect::<Vec<_>>();
    for command in commands.iter().chain([&cli]) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in help.lines().filter(|line| line.starts_with("  ")) {
            assert!(line.len() <= 80, "{}: {line}", command.get_name());
        }
    }
    let help = cli.find_subcommand_mut("relabel").unwrap().render_help().to_string();
    assert!(!help.contains('`'), "{help}");
}

/// The examples in a help text, without comments: each parses as it is written.
#[test]
fn every_example_parses() {
    let mut num_examples = 0;
    for command in Cli::command().get_subcommands().chain([&Cli::command()]) {
        let help = command.get_after_help().map(ToString::to_string).unwrap_or_default().replace("\\\n", " ");
        for line in help.lines() {
            let Some(at) = line.find("perfharvest ").filter(|at| line[..*at].ends_with("  ") || line.contains("<("))
            else {
                continue;
            };
            let line = line[at..].split("  #").next().unwrap_or_default();
            let line = line.split([')', '|', '>']).next().unwrap_or_default();
            if let Err(error) = Cli::try_parse_from(line.split_whitespace()) {
                panic!("{line}: {error}");
            }
            num_examples += 1;
        }
    }
    assert!(num_examples >= 30, "{num_examples}");
}

/// The commands in the texts that ship with the program: in shell blocks of Markdown, and in the recipes.
#[test]
fn every_command_in_the_documents_parses() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut num_commands = 0;
    for name in [
        "README.md",
        "docs/damage.md",
        "docs/tuning.md",
        "examples/weekly/crontab",
        "examples/weekly/README.md",
        "examples/weekly/github-actions.yml",
        "examples/weekly/perfharvest.service",
        "examples/weekly/perfharvest-check.service",
        "examples/weekly/slurm.sh",
    ] {
        let text = std::fs::read_to_string(folder.join(name)).unwrap().replace("\\\n", " ");
        let is_markdown = std::path::Path::new(name).extension().is_some_and(|extension| extension == "md");
        let mut in_shell = !is_markdown;
        for line in text.lines() {
            let line = line.trim_start();
            if is_markdown && line.starts_with("```") {
                in_shell = line == "```sh";
                continue;
            }
            if line.starts_with('#') || !in_shell {
                continue;
            }
            let arguments = line.split_once("bin/perfharvest ").map(|(_, arguments)| arguments);
            let Some(arguments) = arguments.or_else(|| line.strip_prefix("perfharvest ")) else { continue };
            let arguments = arguments.split([';', '|', '>', '&', ')']).next().unwrap_or_default();
            let command = format!("perfharvest {arguments}");
            let words = shlex::split(&command).unwrap_or_else(|| panic!("{name}: {command}"));
            if let Err(error) = Cli::try_parse_from(words) {
                panic!("{name}: {command}: {error}");
            }
            num_commands += 1;
        }
    }
    assert!(num_commands >= 20, "{num_commands}");
}
