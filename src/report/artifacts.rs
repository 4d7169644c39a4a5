//! The artifacts, as their manifest has them.

use maud::{Markup, html};

use super::facts::{Artifacts, Described, Facts, FileState};
use super::tables::{Cell, Table, left_out, numbers, texts};
use super::text::{self, shown};
use crate::observe::human_bytes;

/// Rows at the most; a manifest of this program has some twenty.
const MAX_ARTIFACTS: usize = 100;

/// The section.
pub(super) fn section(facts: &Facts) -> Markup {
    html! {
        section id="artifacts" {
            h2 { "Artifacts" }
            @match &facts.artifacts {
                Artifacts::Missing => p { "There are none in the folder of the artifacts (" code { "--out" } "). "
                    code { "perfharvest reduce" } " makes them." },
                Artifacts::Unreadable => p { "Their manifest cannot be read. " code { "perfharvest reduce" }
                    " makes them anew." },
                Artifacts::OtherCrawl => p { "Those in the folder of the artifacts were made from another crawl. Name another "
                    "folder with " code { "--out" } ", or make them from this one: " code { "perfharvest reduce" } "." },
                Artifacts::Described(described) => (table(facts, described)),
            }
        }
    }
}

fn table(facts: &Facts, described: &Described) -> Markup {
    let columns = vec![texts("file"), numbers("rows"), numbers("size"), texts("SHA-256"), texts("on disk")];
    #[expect(clippy::cast_precision_loss, reason = "a sort key")]
    let rows = described.files.iter().take(MAX_ARTIFACTS).map(|(name, entry, state)| {
        let state = match state {
            FileState::Present => "present",
            FileState::Missing => "missing",
            FileState::OtherSize => "another size",
        };
        vec![
            Cell::Code(shown(name)),
            entry.rows.map_or(Cell::Missing, Cell::count),
            Cell::Number(entry.bytes as f64, human_bytes(entry.bytes)),
            Cell::Code(shown(&entry.sha256)),
            Cell::Text(state.to_owned()),
        ]
    });
    let rows: Vec<Vec<Cell>> = rows.collect();
    let left_out =
        left_out(rows.len(), described.files.len() as u64, "first", "artifacts", "manifest.json has them all");
    let manifest = &described.manifest;
    let damaged = described.files.iter().any(|(.., state)| *state != FileState::Present);
    html! {
        p { "Made at " (text::time(manifest.run.created_at)) " by " (shown(&manifest.tool.name)) " "
            (shown(&manifest.tool.version)) ". " code { "perfharvest verify" } " compares the digests." }
        @if !manifest.complete { p.warning { "The crawl was not complete when they were made: rows may be missing." } }
        @if !described.current {
            p.warning { "The store has changed since: " code { "perfharvest reduce" } " brings them up to date." }
        }
        @if manifest.semantics != Some(facts.overview.semantics) {
            p.warning { "Not all of them follow the semantics of this page: numbers differ." }
        }
        @if damaged { p.warning { "Some files are not what the manifest says: " code { "perfharvest verify" } " tells which." } }
        (Table { caption: "Artifacts", columns, rows, left_out }.draw())
    }
}
