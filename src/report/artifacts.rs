//! The artifacts, as listed in their manifest.

use maud::{Markup, html};

use super::facts::{Artifacts, Described, Facts, FileState};
use super::tables::{Cell, Table, left_out, numbers, texts};
use super::text::{self, shown};
use crate::observe::human_bytes;

/// Most rows in the table; a manifest of perfharvest has about twenty entries.
const MAX_ARTIFACTS: usize = 100;

/// The section.
pub(super) fn section(facts: &Facts) -> Markup {
    html! {
        section id="artifacts" {
            h2 { "Artifacts" }
            @match &facts.artifacts {
                Artifacts::Missing => p { "The artifacts folder (" code { "--out" } ") contains no artifacts. "
                    code { "perfharvest reduce" } " makes them." },
                Artifacts::Unreadable => p { "The manifest of the artifacts cannot be read. " code { "perfharvest reduce" }
                    " makes them again." },
                Artifacts::OtherCrawl => p { "The artifacts in the folder were made from another crawl. Choose another folder with "
                    code { "--out" } ", or make them from this crawl with " code { "perfharvest reduce" } "." },
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
            FileState::OtherSize => "wrong size",
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
        left_out(rows.len(), described.files.len() as u64, "first", "artifacts", "manifest.json lists all of them");
    let manifest = &described.manifest;
    let damaged = described.files.iter().any(|(.., state)| *state != FileState::Present);
    html! {
        p { "Created at " (text::time(manifest.run.created_at)) " by " (shown(&manifest.tool.name)) " "
            (shown(&manifest.tool.version)) ". " code { "perfharvest verify" } " checks the digests." }
        @if !manifest.complete { p.warning { "The artifacts were made before the crawl was complete, so rows may be missing." } }
        @if !described.current {
            p.warning { "The store has changed since then. " code { "perfharvest reduce" } " updates the artifacts." }
        }
        @if manifest.semantics != Some(facts.overview.semantics) {
            p.warning { "Some artifacts follow other semantics than this page, so numbers may differ." }
        }
        @if damaged { p.warning { "Some files do not match the manifest. " code { "perfharvest verify" } " lists them." } }
        (Table { caption: "Artifacts", columns, rows, left_out }.draw())
    }
}
