//! `export`: the store as one file.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::{Common, say};
use crate::Error;
use crate::actor::Shutdown;
use crate::artifact::{ArtifactFile, publish};
use crate::config::Config;
use crate::observe::human_bytes;
use crate::store::archive::{self, ArchiveError};
use crate::store::{CrawlIdentity, Store};

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// The whole store in one compressed, checksummed file: a backup, which `import` takes in
    Archive,
}

#[derive(Debug, Args)]
pub(super) struct ExportArgs {
    /// What to write
    #[arg(long, value_enum, value_name = "FORMAT")]
    format: Format,
    /// The file to write [default: perfharvest-REPOSITORY-DATE.phar, DATE being the end of the data]
    #[arg(short = 'o', long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) async fn run(common: &Common<ExportArgs>) -> Result<u8, Error> {
    let config = common.flags.start()?;
    let Format::Archive = common.own.format;
    let output = common.own.output.clone();
    let shutdown = Shutdown::new();
    let _signals = crate::actor::end_on_signals(shutdown.clone(), config.shutdown.grace);
    let exported = tokio::task::spawn_blocking(move || export(&config, output, &shutdown)).await;
    say(&exported.map_err(|_| Error::Broken { part: "the export" })??);
    Ok(0)
}

fn export(config: &Config, output: Option<PathBuf>, shutdown: &Shutdown) -> Result<String, Error> {
    let store = Store::open_existing(&config.store)?;
    let path = match output {
        Some(path) => path,
        None => PathBuf::from(default_name(store.identity()?.as_ref())),
    };
    let name = path.file_name().and_then(|name| name.to_str());
    let Some(name) = name.filter(|_| !path.exists()) else {
        let message = format!("{} exists; nothing is overwritten: name another file with --output", path.display());
        return Err(Error::Usage { message });
    };
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = ArtifactFile::create(folder, name)?;
    let summary = match archive::write(&store, &mut file, shutdown) {
        Ok(summary) => summary,
        Err(ArchiveError::Write { source }) => return Err(file.explain(source).into()),
        Err(error) => return Err(error.into()),
    };
    publish(folder, vec![file.finish()?])?;
    Ok(format!(
        "{}: {} in {} entries, {} in the file\n`perfharvest import {}` makes a store of it again",
        path.display(),
        human_bytes(summary.raw_bytes),
        summary.num_entries,
        human_bytes(summary.file_bytes),
        path.display(),
    ))
}

fn default_name(identity: Option<&CrawlIdentity>) -> String {
    let Some(identity) = identity else { return "perfharvest-empty.phar".to_owned() };
    let repository: String =
        identity.repository.chars().map(|c| if c.is_alphanumeric() || c == '-' { c } else { '_' }).collect();
    let end = identity.data_end.to_naive_string();
    format!("perfharvest-{repository}-{}.phar", end.split('T').next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_named_after_the_repository_and_the_end_of_its_data() {
        let mut identity = CrawlIdentity::create(&Config::default(), "2026-11-22T08:03:00".parse().unwrap());
        assert_eq!(default_name(Some(&identity)), "perfharvest-autoland-2026-11-22.phar");
        identity.repository = "../x".to_owned();
        assert_eq!(default_name(Some(&identity)), "perfharvest-___x-2026-11-22.phar");
    }
}
