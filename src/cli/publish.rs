//! `publish`: makes one folder to upload.

use std::path::PathBuf;

use clap::Args;

use super::advice::advice;
use super::export::{Gaps, warnings};
use super::flags::{Configured, FileFlags, InputFlags, LogFlags, StoreFlags, configured};
use super::reading::open_to_show;
use super::run::say_refused;
use super::terminal::say;
use crate::actor::{Shutdown, blocking};
use crate::config::Config;
use crate::dataset::tables::Table;
use crate::observe::{counted, human_bytes};
use crate::publish::{PublishSummary, publish};
use crate::{EXIT_INCOMPLETE, Error};

#[derive(Debug, Args)]
pub(super) struct PublishArgs {
    /// Folder to write
    #[arg(short = 'o', long, value_name = "DIR")]
    output: PathBuf,
    /// Keep e-mail addresses; otherwise each is replaced by the word "redacted"
    #[arg(long)]
    keep_emails: bool,
    #[command(flatten)]
    file: FileFlags,
    #[command(flatten)]
    inputs: InputFlags,
    #[command(flatten)]
    store: StoreFlags,
    #[command(flatten)]
    log: LogFlags,
}

configured!(PublishArgs: inputs, store, log);

pub(super) async fn run(args: &PublishArgs) -> Result<u8, Error> {
    let config = args.start()?;
    if args.output.exists() && !args.output.is_dir() {
        let message = format!("{} is not a folder; give a folder with --output", args.output.display());
        return Err(Error::Usage { message });
    }
    let (output, keep_emails) = (args.output.clone(), args.keep_emails);
    let shutdown = Shutdown::new();
    let _signals = super::signals::end_on_signals(shutdown.clone(), config.shutdown.grace);
    let published = blocking(move || {
        let store = open_to_show(&config.store)?;
        let summary = publish(&store, &config, &output, keep_emails, &shutdown)?;
        Ok::<_, Error>((lines(&config, &output, &summary), summary))
    });
    let (said, summary) = published.await.map_err(|error| Error::of_thread("the publication", error))??;
    say(&said);
    let refused = say_refused(&summary.refused);
    Ok(if summary.whole && !refused { 0 } else { EXIT_INCOMPLETE })
}

fn lines(config: &Config, output: &std::path::Path, summary: &PublishSummary) -> String {
    let mut text = format!("{}:", output.display());
    for (table, total) in &summary.tables {
        text.push_str(&format!(
            "\n  {:18} {:>12} rows {:>12} in {}",
            table.name(),
            total.rows,
            human_bytes(total.bytes),
            counted(total.files as u64, "file", "files")
        ));
    }
    text.push_str(&format!(
        "\n{}, {}; {} written, {} unchanged",
        counted(summary.num_files as u64, "file", "files"),
        human_bytes(summary.num_bytes),
        summary.num_written,
        summary.num_files - summary.num_written.min(summary.num_files)
    ));
    for path in &summary.removed {
        text.push_str(&format!("\nremoved {path}, which no longer belongs to the dataset"));
    }
    text.push_str(&match &summary.redacted {
        Some(places) => {
            let number = places.values().sum();
            format!("\n{} replaced; --keep-emails keeps them", counted(number, "e-mail address", "e-mail addresses"))
        }
        None => "\ne-mail addresses were kept".to_owned(),
    });
    let gaps =
        Gaps { counts: &summary.counts, unreadable: &summary.unreadable, data_with_nulls: summary.data_with_nulls };
    text.push_str(&warnings(config, &gaps, &Table::ALL.into(), "publish"));
    let publish = &config.publish;
    for (is_missing, key, effect) in [
        (publish.authors.is_empty(), "authors", "CITATION.cff names its authors collectively"),
        (publish.license.is_none(), "license", "the card says that it is unknown"),
    ] {
        if is_missing {
            text.push_str(&format!(
                "\nnote: publish.{key} is not set, so {effect}; set it before you upload the folder"
            ));
        }
    }
    if !summary.whole {
        let status = advice(config, "perfharvest status");
        text.push_str(&format!("\nthe card says that the dataset is incomplete; `{status}` shows what is missing"));
    }
    text
}
