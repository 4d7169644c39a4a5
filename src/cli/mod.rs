//! The command line: types for clap here, one file a command beside it.
//!
//! stdout is data, stderr is talk.

mod commits;
mod config;
mod demo;
mod export;
mod import;
mod list_failures;
mod plan;
mod relabel;
mod report;
mod run;
mod shell;
mod simulate;
mod status;
mod verify;

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};
use tracing::level_filters::LevelFilter;

use crate::Error;
use crate::config::{Config, Layers, LogFormat, Override, Overrides, Semantics};
use crate::dataset::Artifact;

/// Harvests Mozilla Treeherder's performance history into research datasets.
#[derive(Debug, Parser)]
#[command(name = "perfharvest", version, about, max_term_width = 100, arg_required_else_help = true)]
#[command(after_help = "Try it without network: perfharvest demo\n\
    Crawl Treeherder:       perfharvest run --commits all_commits.jsonl --start 2026-07-01\n\
    See how far it is:      perfharvest status\n\
    Interrupted? Run the same command again: it goes on where it was.")]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Crawl what is missing, then make the artifacts: the main job. Run again, it resumes
    #[command(after_help = help_with_exit_codes(
        "Examples:\n  \
        perfharvest run --commits all_commits.jsonl --start 2026-07-01\n  \
        perfharvest run -c my.toml --set limiter.requests_per_second=10\n  \
        perfharvest run --sample 50 --store try.store --out try  # to see what comes"
    ))]
    Run(Common<RunArgs>),
    /// Crawl what is missing; make no artifacts
    #[command(after_help = help_with_exit_codes(
        "Examples:\n  \
        perfharvest crawl --start 2026-07-01 --store crawl.store\n  \
        perfharvest crawl --dry-run  # ten job details, to see whether it works\n\n\
        Run again, it goes on where it was. Without --commits, the busiest revision is not known, and the job details of \
        its signatures are not fetched."
    ))]
    Crawl(Common<RunArgs>),
    /// Make artifacts from what is stored; never touches the network
    #[command(after_help = artifact_help())]
    Reduce(Common<ReduceArgs>),
    /// Show what a run would ask, and how long it takes; asks only for the lists that tell
    #[command(after_help = "Examples:\n  \
        perfharvest plan --start 2026-07-01\n  \
        perfharvest plan --requests-per-second 10 --json\n\n\
        The answers are stored: a run that follows does not ask for them again. While a crawl runs, the plan is made from \
        what it has written beside its store, without a request.")]
    Plan(Common<plan::PlanArgs>),
    /// Show how far a crawl is, also while one runs
    #[command(after_help = "Examples:\n  \
        perfharvest status --store crawl.store\n  \
        perfharvest status --watch\n  \
        perfharvest status --json | jq .counts.kinds.summaries\n\n\
        The exit code is 0 when the crawl is complete, else 3. With --watch, an object of --json is a line.")]
    Status(Common<StatusArgs>),
    /// List what failed and why; the next run tries these again
    #[command(after_help = "Examples:\n  \
        perfharvest failures --store crawl.store\n  \
        perfharvest failures --json | jq -r 'select(.kind == \"job_details\").job_id'")]
    Failures(Common<FailuresArgs>),
    /// Write the store as one file, a backup of what the server deletes; or the dataset as Parquet
    #[command(after_help = "Examples:\n  \
        perfharvest export --format archive\n  \
        perfharvest export --format archive --output backup.phar --store crawl.store\n  \
        perfharvest export --format parquet --commits all_commits.jsonl\n\n\
        The same store gives the same bytes. `perfharvest import FILE` makes a store of an archive again. Parquet files of \
        an earlier export are replaced. Of an unfinished crawl, what is settled is exported, with a warning and exit code 3.")]
    Export(Common<export::ExportArgs>),
    /// Take an archive, or the files of the older scripts, into an empty store
    #[command(after_help = "Examples:\n  \
        perfharvest import perfharvest-autoland-2026-11-22.phar --store new.store\n  \
        perfharvest import old-scripts/ --start 2026-07-01 --data-end 2026-11-22\n\n\
        Of a folder, perf_jobs_by_signature.jsonl, all_signatures.jsonl and max_revision_jobs.jsonl are read. What is whole \
        is not asked again; empty lists, which may be swallowed errors, and all that is missing are asked by the next run. \
        alert_summaries.csv is not read: alerts do not expire, and the next run asks for them.")]
    Import(Common<import::ImportArgs>),
    /// Check every stored value, the ledger and the artifacts
    #[command(after_help = "Examples:\n  \
        perfharvest verify --store crawl.store\n  \
        perfharvest verify --repair\n\n\
        The exit code is 4 when something is damaged or missing. A repair asks nothing of the server: damaged answers are \
        fetched by the next run, damaged artifacts are removed and made by the next reduce.")]
    Verify(Common<verify::VerifyArgs>),
    #[command(about = "Make all_commits.jsonl from a clone, an hgweb server or Treeherder's pushes")]
    #[command(after_help = commits_help())]
    Commits(Common<commits::CommitsArgs>),
    #[command(about = "Relabel records of perf_llm_struc.jsonl by the stored alerts")]
    #[command(after_help = "Example:\n  \
        perfharvest relabel --input perf_llm_struc.jsonl --output relabelled.jsonl")]
    Relabel(Common<relabel::RelabelArgs>),
    /// Make an HTML page of what is stored: coverage, distributions, alerts, groups, failures
    #[command(after_help = "Example:\n  \
        perfharvest report --commits all_commits.jsonl --output report.html\n\n\
        One file that needs no network. It reads only, and also of a crawl that is not complete: it says so, and the exit \
        code is 3. Of artifacts in --out it shows sizes and digests.")]
    Report(Common<report::ReportArgs>),
    /// Check, show or begin a configuration
    #[command(after_help = "Examples:\n  \
        perfharvest config init my.toml\n  \
        perfharvest config check -c my.toml\n  \
        perfharvest config show --set limiter.burst=1")]
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Serve a simulated Treeherder on loopback, to rehearse a crawl
    Simulate(simulate::SimulateArgs),
    /// Simulate, crawl and reduce, offline, into datasets/demo
    Demo(demo::DemoArgs),
    /// Print a completion script for a shell
    Completions(shell::CompletionsArgs),
    /// Print the manual page, of a command where one is named
    Man(shell::ManArgs),
}

/// The exit codes of the process, for those who write scripts.
const EXIT_CODES: [(u8, &str); 7] = [
    (0, "complete"),
    (1, "unexpected"),
    (2, "usage or configuration"),
    (3, "finished with failed requests"),
    (4, "store or disk"),
    (5, "source unreachable or refusing"),
    (130, "interrupted"),
];

fn help_with_exit_codes(help: &str) -> String {
    let codes: Vec<String> = EXIT_CODES.iter().map(|(code, meaning)| format!("{code} {meaning}")).collect();
    format!("{help}\n\nExit codes: {}.", codes.join(", "))
}

/// Flags of every command that crawls or reduces, around the command's own.
#[derive(Debug, Args)]
struct Common<T: Args> {
    #[command(flatten)]
    own: T,
    #[command(flatten)]
    flags: Flags,
}

#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Configuration (each of these is a key of config.toml)")]
struct Flags {
    /// The configuration file [default: config.toml in this folder, where there is one]
    #[arg(short, long, value_name = "FILE", env = "PERFHARVEST_CONFIG")]
    config: Option<PathBuf>,
    /// The Treeherder to ask
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// The repository to harvest
    #[arg(long, value_name = "NAME")]
    repository: Option<String>,
    #[arg(long, value_name = "FILE", help = "The repository's commits, all_commits.jsonl")]
    commits: Option<PathBuf>,
    /// Folder of the store
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// Folder of the artifacts
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// First commit date, e.g. 2026-07-01 or 2026-07-01T00:00:00Z
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// Last commit date, included
    #[arg(long, value_name = "TIME")]
    end: Option<String>,
    /// Fetch data pushed before this [default: the moment the crawl is created]
    #[arg(long, value_name = "TIME")]
    data_end: Option<String>,
    /// Which definitions the artifacts follow
    #[arg(long, value_name = "WHICH")]
    semantics: Option<Semantics>,
    /// Harvest only that many signatures
    #[arg(long, value_name = "N")]
    sample: Option<u32>,
    /// Sustained rate over all fetchers
    #[arg(long, value_name = "N")]
    requests_per_second: Option<u32>,
    /// Set any key of config.toml; may be given many times
    #[arg(long, value_name = "TABLE.KEY=VALUE")]
    set: Vec<String>,
    /// Say more (-vv: still more)
    #[arg(short, long, action = clap::ArgAction::Count, help_heading = "Talk")]
    verbose: u8,
    /// Say only what went wrong
    #[arg(short, long, help_heading = "Talk")]
    quiet: bool,
    /// How log lines look
    #[arg(long, value_name = "FORMAT", help_heading = "Talk")]
    log_format: Option<LogFormat>,
    /// Show no progress
    #[arg(long, help_heading = "Talk")]
    no_progress: bool,
}

#[derive(Debug, Default, Args)]
struct RunArgs {
    /// The store's crawl has the same server at a new address
    #[arg(long)]
    same_source: bool,
    /// Fetch at most 10 new job details, to see whether everything works
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
struct ReduceArgs {
    /// Artifacts to make, by file name [default: all]
    #[arg(value_name = "ARTIFACT", value_parser = shell::ArtifactNames, hide_possible_values = true)]
    artifacts: Vec<Artifact>,
}

#[derive(Debug, Args)]
struct StatusArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Show it again every second, until interrupted
    #[arg(long)]
    watch: bool,
}

#[derive(Debug, Args)]
struct FailuresArgs {
    /// Print JSON, an object a line
    #[arg(long)]
    json: bool,
}

fn artifact_help() -> String {
    let mut help = "Artifacts:\n".to_owned();
    for artifact in Artifact::ALL {
        help.push_str(&format!("  {artifact}\n"));
    }
    help.push_str("\nExample: perfharvest reduce sig_groups job_durations.csv");
    help
}

fn commits_help() -> String {
    format!(
        "Examples:\n  {}\n\n\
         The commits of the window (--start, --end), oldest first, each once. Run again, it asks only for what is missing; \
         what was fetched is kept in FILE.pages. With inputs.commits_from in config.toml, a run does this itself.\n\n\
         A clone and hgweb give the same file. Treeherder lists the newest 20 commits of a push, without commit dates: each \
         has the time of its push, so submit_time_iso and the window's edges differ, and the rows of older commits of large \
         pushes are missing. No test runs on those, but on the heads, which are all there.",
        commits::WAYS
    )
}

impl Flags {
    /// The flags as values of keys: `--set` first, so that a flag of its own wins.
    fn overrides(&self) -> Result<Overrides, Error> {
        let mut overrides = Overrides::new();
        for text in &self.set {
            let Some((key, value)) = text.split_once('=') else {
                let message = format!("--set {text}: not of the form table.key=value");
                return Err(Error::Usage { message });
            };
            let origin = format!("--set {text}");
            overrides.push(Override { origin, key: key.trim().to_owned(), value: value.trim().to_owned() });
        }
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| quoted(&path.to_string_lossy()));
        let text = |text: &Option<String>| text.as_deref().map(quoted);
        let number = |number: Option<u32>| number.map(|number| number.to_string());
        let level = match (self.quiet, self.verbose) {
            (true, _) => Some("error"),
            (false, 0) => None,
            (false, 1) => Some("info,perfharvest=debug"),
            (false, _) => Some("trace"),
        };
        let semantics = self.semantics.map(|semantics| match semantics {
            Semantics::Corrected => quoted("corrected"),
            Semantics::Reference => quoted("reference"),
        });
        let format = self.log_format.map(|format| match format {
            LogFormat::Text => quoted("text"),
            LogFormat::Json => quoted("json"),
        });
        let silent = (self.no_progress || self.quiet).then(|| "false".to_owned());
        for (flag, key, value) in [
            ("--base-url", "source.base_url", text(&self.base_url)),
            ("--repository", "source.repository", text(&self.repository)),
            ("--commits", "inputs.commits", path(&self.commits)),
            ("--store", "store.path", path(&self.store)),
            ("--out", "artifacts.out", path(&self.out)),
            ("--start", "window.start", text(&self.start)),
            ("--end", "window.end", text(&self.end)),
            ("--data-end", "window.data_end", text(&self.data_end)),
            ("--semantics", "artifacts.semantics", semantics),
            ("--sample", "sample.signatures", number(self.sample)),
            ("--requests-per-second", "limiter.requests_per_second", number(self.requests_per_second)),
            ("--log-format", "log.format", format),
            ("--no-progress", "log.progress", silent),
            ("-v/-q", "log.level", level.map(quoted)),
        ] {
            overrides.extend(value.map(|value| Override { origin: flag.to_owned(), key: key.to_owned(), value }));
        }
        Ok(overrides)
    }

    /// The file that is read: the one named, or `config.toml` of this folder.
    fn file(&self) -> Option<PathBuf> {
        let beside = || Some(PathBuf::from("config.toml")).filter(|path| path.is_file());
        self.config.clone().or_else(beside)
    }

    /// Where the configuration comes from.
    fn layers(&self) -> Result<Layers, Error> {
        let environment = std::env::vars_os()
            .filter_map(|(name, value): (OsString, OsString)| {
                Some((name.into_string().ok()?, value.into_string().ok()?))
            })
            .collect();
        Ok(Layers { file: self.file(), environment, flags: self.overrides()? })
    }

    /// All layers of the configuration.
    fn load(&self) -> Result<Config, Error> {
        Ok(self.layers()?.load()?)
    }

    /// The configuration, with the logs set up as it says.
    fn start(&self) -> Result<Config, Error> {
        let config = self.load()?;
        crate::observe::init_logging(&config.log)?;
        Ok(config)
    }
}

impl Cli {
    /// Does what the command line says; returns the exit code.
    ///
    /// # Errors
    /// [`Error`], which knows its exit code.
    pub async fn run(self) -> Result<u8, Error> {
        match self.command {
            Command::Run(common) => run::run(&common).await,
            Command::Crawl(common) => run::crawl(&common).await,
            Command::Reduce(common) => run::reduce(&common).await,
            Command::Plan(common) => plan::run(&common).await,
            Command::Status(common) => status::run(&common).await,
            Command::Failures(common) => list_failures::run(&common),
            Command::Export(common) => export::run(&common).await,
            Command::Import(common) => import::run(&common).await,
            Command::Verify(common) => verify::run(&common),
            Command::Commits(common) => commits::run(&common).await,
            Command::Relabel(common) => relabel::run(&common),
            Command::Report(common) => report::run(&common).await,
            Command::Config(command) => config::run(&command),
            Command::Simulate(args) => simulate::run(&args).await,
            Command::Demo(args) => demo::run(&args).await,
            Command::Completions(args) => shell::completions(&args),
            Command::Man(args) => shell::man(&args),
        }
    }
}

/// Writes data to stdout. A reader that has gone (`| head`) is no error.
fn print(text: &str) -> Result<(), Error> {
    use std::io::Write as _;
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::Stdout(error)),
        _ => Ok(()),
    }
}

/// Writes talk to stderr, for people; there is nowhere to tell a failure to.
fn say(text: &str) {
    use std::io::Write as _;
    if is_quiet() {
        return; // errors and the exit code say what went wrong
    }
    let _nowhere_to_tell = writeln!(std::io::stderr().lock(), "{text}");
}

/// Writes what also a quiet run must say.
fn say_even_if_quiet(text: &str) {
    use std::io::Write as _;
    let _nowhere_to_tell = writeln!(std::io::stderr().lock(), "{text}");
}

/// True with `-q`. Commands that log nothing set no level at all, and are not quiet.
fn is_quiet() -> bool {
    LevelFilter::current() == LevelFilter::ERROR
}

/// A command of this program as it can be pasted: with the flags of what is not at its default.
fn advice(config: &Config, command: &str) -> String {
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

/// A path as a word of a shell.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '/' | '.' | '-' | '_' | '+' | ',' | ':' | '@' | '%');
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn the_command_line_is_well_formed() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn examples_fit_into_a_terminal_and_help_has_no_stray_backticks() {
        let mut cli = <Cli as clap::CommandFactory>::command();
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

    #[test]
    fn flags_reach_their_keys_and_win_over_set() {
        let cli = Cli::try_parse_from([
            "perfharvest",
            "run",
            "--set",
            "limiter.requests_per_second=3",
            "--requests-per-second",
            "7",
            "--sample",
            "5",
            "--start",
            "2026-07-01",
            "--semantics",
            "reference",
            "--store",
            "1",
            "-q",
        ]);
        let Command::Run(common) = cli.unwrap().command else { panic!() };
        let config = Config::load(None, std::iter::empty(), &common.flags.overrides().unwrap()).unwrap();
        assert_eq!(config.limiter.requests_per_second.get(), 7);
        assert_eq!(config.sample.signatures.map(u32::from), Some(5));
        assert_eq!(config.window.start, Some("2026-07-01".parse().unwrap()));
        assert_eq!(config.artifacts.semantics, Semantics::Reference);
        assert_eq!(config.store.path, PathBuf::from("1"));
        assert_eq!((config.log.level.as_str(), config.log.progress), ("error", false));
    }
}
