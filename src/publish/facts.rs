//! The facts in the documents of a published dataset: its files, its crawl, and the gaps.

use std::collections::BTreeMap;

use super::dictionary::{MeaningChange, meaning_changes};
use crate::config::{Author, PublishConfig};
use crate::dataset::tables::{SCHEMA_VERSION, Table};
use crate::model::Timestamp;
use crate::observe::counted;
use crate::store::{CrawlIdentity, Harvest};

/// A file of the dataset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FileFact {
    /// From the folder of the dataset, with slashes.
    pub(super) path: String,
    pub(super) bytes: u64,
    /// Hex.
    pub(super) sha256: String,
    /// The table that it belongs to; `None` for an artifact.
    pub(super) table: Option<Table>,
    pub(super) rows: Option<u64>,
}

impl FileFact {
    pub(super) fn media_type(&self) -> &'static str {
        match self.path.rsplit_once('.').map_or("", |(_, extension)| extension) {
            "parquet" => "application/x-parquet",
            "gz" => "application/gzip",
            "png" => "image/png",
            "pdf" => "application/pdf",
            "svg" => "image/svg+xml",
            "json" => "application/json",
            _ => "text/plain",
        }
    }
}

/// Everything that the documents say.
pub(super) struct Facts<'a> {
    pub(super) settings: &'a PublishConfig,
    pub(super) crawl: &'a CrawlIdentity,
    /// Those that are shown, the first one first.
    pub(super) harvests: &'a [Harvest],
    /// False if requests failed or are pending, or records cannot be read.
    pub(super) whole: bool,
    pub(super) files: Vec<FileFact>,
    /// Addresses that were replaced, by place; `None` if addresses stay.
    pub(super) redacted: Option<BTreeMap<String, u64>>,
}

impl Facts<'_> {
    pub(super) fn title(&self) -> String {
        let own = || format!("Mozilla performance data: {}", self.crawl.repository);
        self.settings.title.clone().unwrap_or_else(own)
    }

    pub(super) fn description(&self) -> String {
        let own = || {
            format!(
                "Performance measurements, alerts and jobs of Mozilla's repository {}, from Treeherder ({}): data pushed \
                 from {} to {}, and alert summaries of pushes since {}. Harvested with perfharvest.",
                self.crawl.repository,
                self.crawl.base_url,
                day(self.crawl.data_window().start),
                day(self.crawl.data_end),
                day(self.crawl.alerts_since()),
            )
        };
        self.settings.description.clone().unwrap_or_else(own)
    }

    /// A citation needs authors: those of the settings, or a collective one.
    pub(super) fn authors(&self) -> Vec<Author> {
        if self.settings.authors.is_empty() {
            let name = format!("Authors of the dataset “{}”", self.title());
            return vec![Author { name, given: None, orcid: None }];
        }
        self.settings.authors.clone()
    }

    /// A change of the columns is the first number, a harvest the second.
    pub(super) fn version(&self) -> String {
        format!("{SCHEMA_VERSION}.{}.0", self.harvests.last().map_or(0, |harvest| harvest.number))
    }

    /// The day up to which the dataset goes: the same however often it is published.
    pub(super) fn date(&self) -> String {
        day(self.crawl.data_end)
    }

    pub(super) fn doi_url(&self) -> Option<String> {
        self.settings.doi.as_ref().map(|doi| format!("https://doi.org/{doi}"))
    }

    /// The page of the dataset, or that of its source.
    pub(super) fn url(&self) -> String {
        let page = self.settings.url.as_ref().map(ToString::to_string);
        page.or_else(|| self.doi_url()).unwrap_or_else(|| self.crawl.base_url.clone())
    }

    /// A short name for machines.
    pub(super) fn slug(&self) -> String {
        let name = self.crawl.repository.to_ascii_lowercase();
        format!("mozilla-performance-{}", name.replace('_', "-"))
    }

    /// The tables that have files, each with its files.
    pub(super) fn tables(&self) -> Vec<(Table, Vec<&FileFact>)> {
        let of = |table: Table| (table, self.files.iter().filter(move |file| file.table == Some(table)).collect());
        Table::ALL.into_iter().map(of).filter(|(_, files): &(_, Vec<_>)| !files.is_empty()).collect()
    }

    pub(super) fn num_redacted(&self) -> Option<u64> {
        self.redacted.as_ref().map(|places| places.values().sum())
    }

    /// The changes of meaning within the times of the data or of the alerts.
    pub(super) fn meaning_changes(&self) -> Vec<MeaningChange> {
        let since = |change: &MeaningChange| {
            if change.of_alerts { self.crawl.alerts_since() } else { self.crawl.data_window().start }
        };
        let falls_in = |change: &MeaningChange| since(change) <= change.at && change.at < self.crawl.data_end;
        meaning_changes().into_iter().filter(falls_in).collect()
    }

    /// Sentence on personal data.
    pub(super) fn on_personal_data(&self) -> String {
        match self.num_redacted() {
            Some(number) => format!(
                "{} replaced by the word \"redacted\" before publication. User names of sheriffs \
                 (assignee_username, classifier) and of developers (who) remain.",
                counted(number, "e-mail address was", "e-mail addresses were")
            ),
            None => "E-mail addresses and user names of sheriffs and developers were kept \
                     (assignee_username, assignee_email, classifier, classifier_email, notes, who)."
                .to_owned(),
        }
    }
}

/// The date of a time.
pub(super) fn day(at: Timestamp) -> String {
    at.to_naive_string().split('T').next().unwrap_or_default().to_owned()
}
