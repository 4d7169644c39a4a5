//! `run --dry-run` and `crawl --dry-run`: print the work of a run, without a request and without a file.

use crate::config::Config;
use crate::model::Kind;
use crate::observe::counted;
use crate::pipeline::DryRun;

/// The work of a run, in less than a screen.
pub(super) fn lines(config: &Config, dry: &DryRun, makes_artifacts: bool) -> String {
    let DryRun { identity, counts, first, num_commits } = dry;
    let mut text = format!(
        "dry run: nothing is requested, and nothing is written\n\
         crawl: {} of {}, commits from {} to {}, data until {}\nstore: {}",
        identity.repository,
        identity.base_url,
        identity.window_start,
        identity.window_end,
        identity.data_end,
        config.store.path.display()
    );
    text.push_str(if counts.is_some() { "\n" } else { " (does not exist yet)\n" });
    match num_commits {
        Some(commits) => text.push_str(&format!("commits: {} in the window\n", counted(*commits, "commit", "commits"))),
        None => match &config.inputs.commits_from {
            Some(from) => text.push_str(&format!("commits: the run reads them from {from}\n")),
            None => text.push_str("commits: none\n"),
        },
    }
    if !first.is_empty() {
        text.push_str("first requests:\n");
        for address in first {
            text.push_str(&format!("  GET {address}\n"));
        }
        text.push_str(
            "then: all pages of the alert summaries, the data of each signature with data in the window, and the details of \
             the jobs to sample; `perfharvest plan` fetches the lists and estimates their number\n",
        );
    } else if let Some(counts) = counts {
        if counts.is_complete() {
            text.push_str(
                "requests: none, unless other commits add jobs of the busiest revision; the crawl is complete\n",
            );
        } else {
            text.push_str("requests, besides those that follow from their answers:\n");
        }
        for kind in Kind::ALL {
            let of = counts.of(kind);
            if of.pending + of.failed > 0 {
                let name = kind.name().replace('_', " ");
                text.push_str(&format!("  {name}: {} pending, {} failed before\n", of.pending, of.failed));
            }
        }
    }
    if makes_artifacts {
        text.push_str(&format!("artifacts: {}\n", config.artifacts.out.display()));
    }
    text
}
