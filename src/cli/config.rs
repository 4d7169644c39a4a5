//! `config check|show|init`.

use std::path::PathBuf;

use clap::Subcommand;

use super::{Flags, print, say};
use crate::Error;
use crate::dataset::write::{ArtifactError, ArtifactFile, publish};

/// The commented file with every key and its default.
const COMMENTED: &str = include_str!("../../config.toml");

#[derive(Debug, Subcommand)]
pub(super) enum ConfigCommand {
    /// Read the configuration through and say whether it is right
    Check(Flags),
    /// Print the configuration as it is after file, environment and flags
    Show(Flags),
    /// Write a commented config.toml with every key
    Init {
        /// Where
        #[arg(default_value = "config.toml")]
        file: PathBuf,
    },
}

pub(super) fn run(command: &ConfigCommand) -> Result<u8, Error> {
    match command {
        ConfigCommand::Check(flags) => {
            flags.load()?;
            let file = flags.file().map_or_else(|| "the defaults".to_owned(), |file| file.display().to_string());
            say(&format!("{file}: right"));
        }
        ConfigCommand::Show(flags) => {
            let config = flags.load()?;
            let text = toml::to_string_pretty(&config)
                .map_err(|error| Error::Usage { message: format!("the configuration cannot be shown: {error}") })?;
            print(&text)?;
        }
        ConfigCommand::Init { file } => {
            if file.exists() {
                let message = format!("{} is there already; name another file, or move it away", file.display());
                return Err(Error::Usage { message });
            }
            let folder = file.parent().filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(std::path::Path::new("."));
            let Some(name) = file.file_name().and_then(|name| name.to_str()) else {
                return Err(Error::Usage { message: format!("{} is no name of a file", file.display()) });
            };
            let mut output = ArtifactFile::create(folder, name)?;
            std::io::Write::write_all(&mut output, COMMENTED.as_bytes())
                .map_err(|source| ArtifactError::Write { path: file.clone(), source })?;
            publish(folder, vec![output.finish()?])?;
            say(&format!("wrote {}; every key in it is at its default", file.display()));
        }
    }
    Ok(0)
}
