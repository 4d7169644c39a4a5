//! `config check`, `config show` and `config init`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::flags::{Configured, FileFlags, configured};
use super::terminal::{print, say};
use crate::Error;
use crate::dataset::write::{ArtifactError, ArtifactFile, publish};

/// The commented file with every key and its default.
const COMMENTED: &str = include_str!("../../config.toml");

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Check the configuration for errors
    Check(ConfigArgs),
    /// Print the effective configuration: defaults, file, environment and flags combined
    Show(ConfigArgs),
    /// Create a commented configuration file with every key at its default
    Init {
        /// File to create
        #[arg(default_value = "config.toml")]
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(super) struct ConfigArgs {
    #[command(flatten)]
    file: FileFlags,
}

#[cfg(test)]
impl ConfigCommand {
    pub(super) fn configured(&self) -> Option<&dyn Configured> {
        match self {
            Self::Check(args) | Self::Show(args) => Some(args),
            Self::Init { .. } => None,
        }
    }
}

configured!(ConfigArgs:);

pub(super) fn run(command: &ConfigCommand) -> Result<u8, Error> {
    match command {
        ConfigCommand::Check(args) => {
            args.load()?;
            let file = args.file.path().map_or_else(|| "defaults".to_owned(), |file| file.display().to_string());
            say(&format!("{file}: OK"));
        }
        ConfigCommand::Show(args) => {
            let config = args.load()?;
            let text = toml::to_string_pretty(&config)
                .map_err(|error| Error::Usage { message: format!("cannot show the configuration: {error}") })?;
            print(&text)?;
        }
        ConfigCommand::Init { file } => {
            if file.exists() {
                let message =
                    format!("{} already exists; give another file name, or move the file away", file.display());
                return Err(Error::Usage { message });
            }
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(std::path::Path::new("."));
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
