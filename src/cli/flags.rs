//! The flags that set keys of the configuration, grouped by topic.
//!
//! A command flattens the groups that it reads into its arguments, and no others; [`Configured`] turns them into the
//! configuration, over the file and the environment. The structs have no doc comments, because clap would show them as
//! the description of the command. Help that is not Markdown (an address, an underscore) is an attribute, not a doc
//! comment.

use std::path::PathBuf;

use clap::Args;

use crate::Error;
use crate::config::{Config, Layers, LogFormat, Override, Overrides, Rate, Semantics};
use crate::model::{GivenTime, ParseGivenTimeError, Timestamp};
use crate::pipeline;

const CONFIGURATION: &str = "Configuration (each of these options is also a key of config.toml)";
const OUTPUT: &str = "Output";

/// The value of a flag that takes a time and sets no key.
pub(super) fn given_time(text: &str) -> Result<Timestamp, ParseGivenTimeError> {
    GivenTime::parse(text, Timestamp::now()).map(|given| given.at)
}

/// A flag, the key it sets, and the value as TOML, if the flag was given.
pub(super) type Setting = (&'static str, &'static str, Option<String>);

/// Flags that set keys of the configuration.
pub(super) trait FlagGroup {
    fn settings(&self) -> Vec<Setting>;
}

/// The arguments of a command that reads the configuration.
pub(super) trait Configured {
    fn file(&self) -> &FileFlags;

    fn file_mut(&mut self) -> &mut FileFlags;

    /// All other groups that the command takes.
    fn groups(&self) -> Vec<&dyn FlagGroup>;

    /// File, environment and flags.
    fn layers(&self) -> Result<Layers, Error> {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let mut flags = self.file().overrides()?; // first, so that a flag of its own wins over --set
        for (flag, key, value) in self.groups().into_iter().flat_map(FlagGroup::settings) {
            flags.extend(value.map(|value| Override { origin: flag.to_owned(), key: key.to_owned(), value }));
        }
        flags.extend(self.file().repository.as_deref().map(|name| Override {
            origin: "source.repositories".to_owned(),
            key: "source.repository".to_owned(),
            value: toml_text(name),
        }));
        Ok(Layers { file: self.file().path(), environment, flags })
    }

    fn load(&self) -> Result<Config, Error> {
        Ok(self.layers()?.load()?)
    }

    /// Loads the configuration, which must be of one repository, and sets up the logs accordingly.
    fn start(&self) -> Result<Config, Error> {
        self.start_with(false)
    }

    /// As [`Configured::start`], for the next harvest of a store, which may have another end.
    fn start_next(&self) -> Result<Config, Error> {
        self.start_with(true)
    }

    fn start_with(&self, keeps_data_end: bool) -> Result<Config, Error> {
        let (mut config, written) = self.layers()?.load_written()?;
        if let [first, ..] = config.repositories() {
            let message = format!(
                "source.repositories: this command works on one repository at a time; choose it, for example with \
                 --set source.repository={first}"
            );
            return Err(Error::Usage { message });
        }
        if pipeline::has_begun(&config.store.path) {
            written.leave_open_relative_times(&mut config.window, keeps_data_end);
        }
        super::advice::remember(&config);
        crate::observe::init_logging(&config.log)?;
        if let Some(name) = &self.file().repository {
            super::terminal::say(&format!("{name}:"));
        }
        Ok(config)
    }
}

/// Implements [`Configured`] for arguments by the names of their groups' fields, beside `file`.
macro_rules! configured {
    ($args:ty: $($group:ident),*) => {
        impl $crate::cli::flags::Configured for $args {
            fn file(&self) -> &$crate::cli::flags::FileFlags {
                &self.file
            }

            fn file_mut(&mut self) -> &mut $crate::cli::flags::FileFlags {
                &mut self.file
            }

            fn groups(&self) -> Vec<&dyn $crate::cli::flags::FlagGroup> {
                vec![$(&self.$group),*]
            }
        }
    };
}
pub(super) use configured;

fn toml_text(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}

fn text(text: Option<&String>) -> Option<String> {
    text.map(|text| toml_text(text))
}

fn path(path: Option<&PathBuf>) -> Option<String> {
    path.map(|path| toml_text(&path.to_string_lossy()))
}

fn number(number: Option<u32>) -> Option<String> {
    number.map(|number| number.to_string())
}

#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = CONFIGURATION)]
pub(super) struct FileFlags {
    /// Read this configuration file [default: ./config.toml, if it exists]
    #[arg(short, long, value_name = "FILE", env = "PERFHARVEST_CONFIG")]
    config: Option<PathBuf>,
    /// Set any key of config.toml; can be given several times
    #[arg(long, value_name = "TABLE.KEY=VALUE")]
    set: Vec<String>,
    /// One of `source.repositories`.
    #[arg(skip)]
    repository: Option<String>,
}

impl FileFlags {
    fn overrides(&self) -> Result<Overrides, Error> {
        let read = |text: &String| {
            let Some((key, value)) = text.split_once('=') else {
                let message =
                    format!("--set {text}: expected TABLE.KEY=VALUE, for example --set limiter.requests_per_second=10");
                return Err(Error::Usage { message });
            };
            let origin = format!("--set {text}");
            Ok(Override { origin, key: key.trim().to_owned(), value: value.trim().to_owned() })
        };
        self.set.iter().map(read).collect()
    }

    /// Selects one of `source.repositories`.
    pub(super) fn select(&mut self, repository: &str) {
        self.repository = Some(repository.to_owned());
    }

    /// The file that is read: the one given, or `config.toml` in the current folder.
    pub(super) fn path(&self) -> Option<PathBuf> {
        let beside = || Some(PathBuf::from("config.toml")).filter(|path| path.is_file());
        self.config.clone().or_else(beside)
    }
}

#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = CONFIGURATION)]
pub(super) struct SourceFlags {
    #[arg(
        long,
        value_name = "URL",
        help = "Address of the Treeherder server [default: https://treeherder.mozilla.org]"
    )]
    base_url: Option<String>,
    /// Repository to harvest [default: autoland]
    #[arg(long, value_name = "NAME")]
    repository: Option<String>,
}

impl FlagGroup for SourceFlags {
    fn settings(&self) -> Vec<Setting> {
        vec![
            ("--base-url", "source.base_url", text(self.base_url.as_ref())),
            ("--repository", "source.repository", text(self.repository.as_ref())),
        ]
    }
}

#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = CONFIGURATION)]
pub(super) struct WindowFlags {
    /// First commit date (UTC), such as 2026-07-01 or 2026-07-01T00:00:00Z
    /// [default: that of the store, or of a new one 120 days before --data-end]
    #[arg(long, value_name = "TIME")]
    start: Option<String>,
    /// Last commit date (UTC), included [default: --data-end]
    #[arg(long, value_name = "TIME")]
    end: Option<String>,
    /// Use data pushed before this time (UTC) [default: the time at which the crawl is created]
    #[arg(long, value_name = "TIME")]
    data_end: Option<String>,
}

impl FlagGroup for WindowFlags {
    fn settings(&self) -> Vec<Setting> {
        vec![
            ("--start", "window.start", text(self.start.as_ref())),
            ("--end", "window.end", text(self.end.as_ref())),
            ("--data-end", "window.data_end", text(self.data_end.as_ref())),
        ]
    }
}

#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = CONFIGURATION)]
pub(super) struct SampleFlags {
    /// Harvest only a random sample of N signatures [default: all signatures]
    #[arg(long, value_name = "N")]
    sample: Option<u32>,
}

impl FlagGroup for SampleFlags {
    fn settings(&self) -> Vec<Setting> {
        vec![("--sample", "sample.signatures", number(self.sample))]
    }
}

#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = CONFIGURATION)]
pub(super) struct RateFlags {
    /// Highest sustained request rate, in requests per second over all fetchers [default: 5]
    #[arg(long, value_name = "N")]
    requests_per_second: Option<Rate>,
}

impl FlagGroup for RateFlags {
    fn settings(&self) -> Vec<Setting> {
        vec![(
            "--requests-per-second",
            "limiter.requests_per_second",
            self.requests_per_second.map(|rate| rate.to_string()),
        )]
    }
}

#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = CONFIGURATION)]
pub(super) struct InputFlags {
    #[arg(long, value_name = "FILE", help = "Commits of the repository, all_commits.jsonl [default: none]")]
    commits: Option<PathBuf>,
}

impl FlagGroup for InputFlags {
    fn settings(&self) -> Vec<Setting> {
        vec![("--commits", "inputs.commits", path(self.commits.as_ref()))]
    }
}

#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = CONFIGURATION)]
pub(super) struct StoreFlags {
    /// Folder of the store [default: perfharvest.store]
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
}

impl FlagGroup for StoreFlags {
    fn settings(&self) -> Vec<Setting> {
        vec![("--store", "store.path", path(self.store.as_ref()))]
    }
}

#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = CONFIGURATION)]
pub(super) struct OutFlags {
    #[arg(long, value_name = "DIR", help = "Folder of the artifacts [default: datasets/mozilla_perf]")]
    out: Option<PathBuf>,
}

impl FlagGroup for OutFlags {
    fn settings(&self) -> Vec<Setting> {
        vec![("--out", "artifacts.out", path(self.out.as_ref()))]
    }
}

#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = CONFIGURATION)]
pub(super) struct SemanticsFlags {
    /// Definitions that the artifacts follow [default: corrected]
    #[arg(long, value_name = "SEMANTICS")]
    semantics: Option<Semantics>,
}

impl FlagGroup for SemanticsFlags {
    fn settings(&self) -> Vec<Setting> {
        let semantics = self.semantics.map(|semantics| toml_text(semantics.name()));
        vec![("--semantics", "artifacts.semantics", semantics)]
    }
}

#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = OUTPUT)]
pub(super) struct LogFlags {
    /// Log more details; -vv logs everything except details of sled
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Log errors only, and show neither progress nor summaries
    #[arg(short, long)]
    quiet: bool,
    /// Format of log lines [default: text]
    #[arg(long, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

impl FlagGroup for LogFlags {
    fn settings(&self) -> Vec<Setting> {
        let level = match (self.quiet, self.verbose) {
            (true, _) => Some("error"),
            (false, 0) => None,
            (false, 1) => Some("info,perfharvest=debug"),
            (false, _) => Some("trace,sled=warn"),
        };
        let format = self.log_format.map(|format| match format {
            LogFormat::Text => toml_text("text"),
            LogFormat::Json => toml_text("json"),
        });
        vec![
            ("-v/-q", "log.level", level.map(toml_text)),
            ("--quiet", "log.progress", self.quiet.then(|| "false".to_owned())),
            ("--log-format", "log.format", format),
        ]
    }
}

#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = OUTPUT)]
pub(super) struct ProgressFlags {
    /// Do not show progress
    #[arg(long)]
    no_progress: bool,
}

impl FlagGroup for ProgressFlags {
    fn settings(&self) -> Vec<Setting> {
        vec![("--no-progress", "log.progress", self.no_progress.then(|| "false".to_owned()))]
    }
}
