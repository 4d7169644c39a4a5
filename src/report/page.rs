//! The page: the head with the content security policy, and the sections. It loads nothing from elsewhere.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

use super::facts::Facts;
use super::text::{self, shown};
use super::{alerts, artifacts, coverage, crawl, distributions, groups};

const STYLE: &str = include_str!("assets/report.css");
const SCRIPT: &str = include_str!("assets/report.js");

/// Ids and names of the sections, for the navigation.
const SECTIONS: [(&str, &str); 7] = [
    ("crawl", "Crawl"),
    ("coverage", "Coverage"),
    ("distributions", "Distributions"),
    ("alerts", "Alerts"),
    ("groups", "Largest groups"),
    ("losses", "Failed and deleted"),
    ("artifacts", "Artifacts"),
];

/// The whole document.
pub(super) fn page(facts: &Facts) -> Markup {
    let identity = &facts.identity;
    let repository = shown(&identity.repository);
    let (start, end) = (text::date(identity.window_start), text::date(identity.window_end));
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(policy());
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="referrer" content="no-referrer";
                meta name="generator" content={ "perfharvest " (env!("CARGO_PKG_VERSION")) };
                title { (repository) ", " (start) " to " (end) " – perfharvest report" }
                style { (PreEscaped(STYLE)) }
            }
            body {
                header {
                    p.kicker { "perfharvest report" }
                    h1 { bdi { (repository) } }
                    p.sub { "Performance data of commits from " (start) " to " (end) ", from " bdi { (shown(&identity.base_url)) } }
                    (crawl::completeness(facts))
                    (crawl::figures(facts))
                    nav aria-label="Sections" { ul {
                        @for (id, name) in SECTIONS { li { a href={ "#" (id) } { (name) } } }
                    } }
                }
                main {
                    (crawl::section(facts))
                    (coverage::section(facts))
                    (distributions::section(facts))
                    (alerts::section(facts))
                    (groups::section(facts))
                    (crawl::losses(facts))
                    (artifacts::section(facts))
                }
                footer { p { "Created by perfharvest " (env!("CARGO_PKG_VERSION")) " from the store and the artifacts. The same store and "
                    "artifacts always give the same page." } }
                script { (PreEscaped(SCRIPT)) }
            }
        }
    }
}

/// The content security policy: load nothing, and run only the page's own style and script.
fn policy() -> String {
    let digest = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
    format!(
        "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; base-uri 'none'; form-action 'none'",
        digest(STYLE),
        digest(SCRIPT)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_assets_do_not_end_their_elements_nor_load_anything() {
        for asset in [STYLE, SCRIPT] {
            let lower = asset.to_ascii_lowercase();
            for bad in ["</", "<!--", "\r", "@import", "url(", "http:", "https:", "innerhtml", "eval("] {
                assert!(!lower.contains(bad), "{bad}");
            }
        }
    }
}
