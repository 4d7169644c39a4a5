//! `config check`, `config show` and `config init`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::flags::{Configured, FileFlags, configured};
use super::terminal::{print, say};
use crate::Error;
use crate::actor::Shutdown;
use crate::config::Config;
use crate::dataset::write::{ArtifactError, ArtifactFile, folder_of, publish};
use crate::observe::counted;
use crate::pipeline;

/// The commented file with every key and its default.
const COMMENTED: &str = include_str!("../../config.toml");

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Check the configuration for errors
    Check(CheckArgs),
    /// Print the effective configuration: defaults, file, environment and flags combined
    Show(ConfigArgs),
    /// Create a commented configuration file with every key at its default
    Init {
        /// File to create; - for standard output
        #[arg(default_value = "config.toml")]
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    #[command(flatten)]
    file: FileFlags,
}

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// Also check that the server is Treeherder, that it has the repository, and that the clocks agree
    #[arg(long)]
    online: bool,
    #[command(flatten)]
    file: FileFlags,
}

#[cfg(test)]
impl ConfigCommand {
    pub(super) fn configured(&self) -> Option<&dyn Configured> {
        match self {
            Self::Check(args) => Some(args),
            Self::Show(args) => Some(args),
            Self::Init { .. } => None,
        }
    }
}

configured!(ConfigArgs:);
configured!(CheckArgs:);

pub(super) async fn run(command: &ConfigCommand) -> Result<u8, Error> {
    match command {
        ConfigCommand::Check(args) => {
            let config = args.load()?;
            let file = args.file.path().map_or_else(|| "defaults".to_owned(), |file| file.display().to_string());
            say(&format!("{file}: OK"));
            if args.online {
                check_server(&config).await?;
            }
        }
        ConfigCommand::Show(args) => {
            let (config, written) = args.layers()?.load_written()?;
            let text = written
                .shown(&config)
                .and_then(|shown| toml::to_string_pretty(&shown))
                .map_err(|error| Error::Usage { message: format!("cannot show the configuration: {error}") })?;
            print(&text)?;
        }
        ConfigCommand::Init { file } => {
            if file.as_os_str() == "-" {
                print(COMMENTED)?;
                return Ok(0);
            }
            if file.exists() {
                let message =
                    format!("{} already exists; give another file name, or move the file away", file.display());
                return Err(Error::Usage { message });
            }
            let folder = folder_of(file);
            let Some(name) = file.file_name().and_then(|name| name.to_str()) else {
                return Err(Error::Usage {
                    message: format!("{} is not a file name; try config.toml", file.display()),
                });
            };
            let mut output = ArtifactFile::create(folder, name)?;
            std::io::Write::write_all(&mut output, COMMENTED.as_bytes())
                .map_err(|source| ArtifactError::Write { path: file.clone(), source })?;
            publish(folder, vec![output.finish()?])?;
            say(&format!("created {}; it contains every key at its default", file.display()));
        }
    }
    Ok(0)
}

async fn check_server(config: &Config) -> Result<(), Error> {
    let checked = pipeline::check_online(config, &Shutdown::new()).await?;
    let clocks = checked.clock_ahead_secs.map_or_else(
        || "the server does not send its time".to_owned(),
        |secs| format!("the clocks differ by {}", counted(secs.unsigned_abs(), "second", "seconds")),
    );
    let source = &config.source;
    say(&format!("{}: OK; it has the repository {}; {clocks}", source.base_url, source.repository));
    Ok(())
}
