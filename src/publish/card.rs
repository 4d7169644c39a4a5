//! `README.md`: the dataset card. Front matter for Hugging Face, the facts of this dataset, and the data dictionary.

use std::fmt::Write as _;

use super::dictionary::sections;
use super::facts::{Facts, day};
use super::yaml::quoted;
use crate::config::License;
use crate::dataset::tables::Table;
use crate::observe::{counted, human_bytes};

/// The classes of sizes that Hugging Face knows, with the numbers of rows below which they end.
const SIZES: [(u64, &str); 9] = [
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
    (10_000_000, "1M<n<10M"),
    (100_000_000, "10M<n<100M"),
    (1_000_000_000, "100M<n<1B"),
    (10_000_000_000, "1B<n<10B"),
    (u64::MAX, "10B<n<100B"),
];

pub(super) fn document(facts: &Facts<'_>) -> String {
    let mut text = front_matter(facts);
    text.push_str(&format!("\n# {}\n\n{}\n", facts.title(), facts.description()));
    if !facts.whole {
        text.push_str(
            "\n> **This dataset is incomplete.** Some requests failed or were not made, or records cannot be read, so rows \
             are missing; `run.requests` in `manifest.json` counts them.\n",
        );
    }
    text.push_str(&about(facts));
    text.push_str(&files(facts));
    text.push_str(&changes(facts));
    text.push_str(&format!("\n## Personal data\n\n{}\n", facts.on_personal_data()));
    if let Some(places) = &facts.redacted {
        for (place, number) in places.iter().filter(|(_, number)| **number > 0) {
            text.push_str(&format!("\n* {place}: {}", counted(*number, "address", "addresses")));
        }
        text.push('\n');
    }
    text.push_str(&citation(facts));
    text.push_str(&sections());
    text
}

fn front_matter(facts: &Facts<'_>) -> String {
    let mut text = format!("---\npretty_name: {}\n", quoted(&facts.title()));
    match &facts.settings.license {
        Some(License::Spdx(name)) => text.push_str(&format!("license: {}\n", name.to_ascii_lowercase())),
        Some(License::Other(url)) => {
            let link = quoted(&url.to_string());
            text.push_str(&format!("license: other\nlicense_name: {link}\nlicense_link: {link}\n"));
        }
        None => text.push_str("license: unknown\n"),
    }
    text.push_str(
        "language:\n- en\ntags:\n- performance\n- regression\n- mozilla\n- firefox\n- treeherder\n- time-series\n",
    );
    let rows: u64 = facts.files.iter().filter(|file| file.table.is_some()).filter_map(|file| file.rows).sum();
    let size = SIZES.iter().find(|(below, _)| rows < *below).map_or("", |(_, name)| name);
    text.push_str(&format!("size_categories:\n- {size}\nconfigs:\n"));
    for (table, files) in facts.tables() {
        let is_partitioned = files.iter().any(|file| file.path.contains("/month="));
        let glob = if is_partitioned { "month=*/*.parquet" } else { "*.parquet" };
        text.push_str(&format!("- config_name: {table}\n  data_files: {table}/{glob}\n"));
        if table == Table::Data {
            text.push_str("  default: true\n");
        }
    }
    text.push_str("---\n");
    text
}

fn about(facts: &Facts<'_>) -> String {
    let crawl = facts.crawl;
    let mut text = String::from("\n## About this dataset\n\n| | |\n|---|---|\n");
    let mut row = |name: &str, value: String| text.push_str(&format!("| {name} | {value} |\n"));
    row("repository", crawl.repository.clone());
    row("source", crawl.base_url.clone());
    row("version", facts.version());
    row("data", format!("pushed from {} to {}", day(crawl.data_window().start), day(crawl.data_end)));
    row("revisions", format!("commits from {} to {}", day(crawl.window_start), day(crawl.window_end)));
    row("alert summaries", format!("of pushes from {} to {}", day(crawl.alerts_since()), day(crawl.data_end)));
    if !crawl.scope.is_all() {
        row("scope", crawl.scope.to_string());
    }
    if let Some(number) = crawl.sample_signatures {
        row("sample", format!("{number} signatures by seed {}", crawl.sample_seed));
    }
    let harvests: Vec<_> = facts.harvests.iter().map(|harvest| day(harvest.data_end)).collect();
    row("harvests", harvests.join(", "));
    text
}

fn files(facts: &Facts<'_>) -> String {
    let mut text = String::from(
        "\n## Files\n\nThe tables are Parquet files. `data` has a folder for each month of the push, from which readers take \
         a column `month`. `artifacts/` holds the files that the dictionary below describes as CSV, JSON and JSONL; CSV and \
         JSONL are compressed with gzip. `manifest.json` has rows, sizes and digests of all files, `croissant.json` and \
         `datapackage.json` describe the tables for programs, and `sha256sum -c SHA256SUMS` checks a copy.\n\n\
         | table | rows | files | size |\n|---|--:|--:|--:|\n",
    );
    for (table, files) in facts.tables() {
        let rows: u64 = files.iter().filter_map(|file| file.rows).sum();
        let bytes = files.iter().map(|file| file.bytes).sum();
        let _ = writeln!(text, "| `{table}` | {rows} | {} | {} |", files.len(), human_bytes(bytes));
    }
    text.push_str(
        "\n```python\nimport duckdb, pandas as pd\n\nduckdb.sql(\"SELECT month, count(*) FROM \
         read_parquet('data/*/*.parquet', hive_partitioning = true) GROUP BY month\")\n\
         pd.read_parquet(\"data\", filters=[(\"month\", \"=\", \"2026-07\")])\n\
         pd.read_json(\"artifacts/sig_groups.jsonl.gz\", lines=True)\n```\n",
    );
    text
}

fn changes(facts: &Facts<'_>) -> String {
    let changes = facts.meaning_changes();
    if changes.is_empty() {
        return String::new();
    }
    let mut text = String::from(
        "\n## Changes at the server\n\nTreeherder changed the meaning of its data on these days within the times of this \
         dataset. The date is that of the change of its source; the site followed within days.\n\n\
         | date | of | change | consequence |\n|---|---|---|---|\n",
    );
    for change in changes {
        let of = if change.of_alerts { "alerts" } else { "data" };
        text.push_str(&format!("| {} | {of} | {} | {} |\n", change.date, change.change, change.consequence));
    }
    text
}

fn citation(facts: &Facts<'_>) -> String {
    let authors: Vec<_> = facts.authors().iter().map(crate::config::Author::full_name).collect();
    let year = facts.date().split('-').next().unwrap_or_default().to_owned();
    format!(
        "\n## Citation\n\n{}. *{}*, version {} ({year}). {}\n\n`CITATION.cff` has the same for programs.\n",
        authors.join(", "),
        facts.title(),
        facts.version(),
        facts.url()
    )
}
