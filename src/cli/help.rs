//! Long help texts: examples, exit codes, lists.

use super::commits;
use crate::dataset::Artifact;

/// The exit codes of the process, for scripts.
pub(super) const EXIT_CODES: [(u8, &str); 8] = [
    (0, "complete"),
    (1, "unexpected error"),
    (2, "wrong usage, configuration or input files, or a wrong clock"),
    (3, "finished, but some requests failed or some data is missing"),
    (4, "store or disk error"),
    (5, "source unreachable, or it refuses requests"),
    (6, "the dataset is not fresh (status --check)"),
    (130, "interrupted"),
];

pub(super) const PROGRAM: &str = "\
Try it offline:      perfharvest demo
Crawl Treeherder:    perfharvest run --commits all_commits.jsonl --start 2026-07-01
Bring it up to now:  perfharvest refresh
Show the progress:   perfharvest status

To resume an interrupted run, run the same command again.";

const RUN: &str = "\
Examples:
  perfharvest run --commits all_commits.jsonl --start 2026-07-01
  perfharvest run -c my.toml --set limiter.requests_per_second=10
  perfharvest run --commits all_commits.jsonl --json | jq .exit_code
  perfharvest run --commits all_commits.jsonl --sample 50 \\
    --store try.store --out try  # a quick look at the dataset

To resume an interrupted run, run the same command again. If nothing is missing, a run makes no request.";

const REFRESH: &str = "\
Examples:
  perfharvest refresh
  perfharvest refresh --commits all_commits.jsonl --store crawl.store
  perfharvest refresh --full  # a few times a year
  perfharvest plan --refresh  # how many requests a refresh would make

A refresh finishes an interrupted one, then opens the next harvest. It asks for the lists, the data of signatures that have \
new ones, and new jobs, and makes the artifacts. Data that the server has deleted stay. changes/NNNN.jsonl, beside the \
artifacts, lists all that harvest NNNN changed. On an empty store, a refresh is a run.

Run it every week, and at least once a month: the server deletes jobs after about 120 days. The server does not announce \
data that arrive late for old pushes. A refresh looks for them in the last window.overlap (28 days) of each signature; \
with --full, it looks everywhere, and makes as many requests as a new crawl.

The commits must reach as far as the data. If inputs.commits_from is set, a refresh extends the file; otherwise run \
`perfharvest commits` before it.";

const CRAWL: &str = "\
Examples:
  perfharvest crawl --start 2026-07-01 --store crawl.store
  perfharvest crawl --dry-run  # lists the requests, sends none

To resume an interrupted crawl, run the same command again. Without --commits, perfharvest cannot find the busiest \
revision, and does not fetch the job details of its signatures.";

pub(super) const PLAN: &str = "\
Examples:
  perfharvest plan --start 2026-07-01
  perfharvest plan --requests-per-second 10 --json
  perfharvest plan --refresh  # of a store that holds a finished crawl

A plan fetches only the listings needed to estimate, and stores them; the next run does not fetch them again. With \
--refresh, it stores nothing. While a crawl is running, the plan makes no request: it reads the progress that the crawl \
writes beside its store.";

pub(super) const STATUS: &str = "\
Examples:
  perfharvest status --store crawl.store
  perfharvest status --watch
  perfharvest status --check --max-age 8d --job-horizon 20d
  perfharvest status --json | jq .counts.kinds.summaries
  perfharvest status --json | jq -r '.harvests[-1].data_end'

The exit code is 0 if the crawl is complete and no record was set aside, and 3 otherwise. With --watch, --json prints one JSON object per line.

--check makes no request, and works while a crawl runs and before the first one. The exit code is 0 if the dataset is fresh. It \
is 6 if the newest finished harvest is older than --max-age, if the newest run did not come to its end or left failed requests, \
or if the server deletes jobs within --job-horizon that were not asked for.";

pub(super) const FAILURES: &str = "\
Examples:
  perfharvest failures --store crawl.store
  perfharvest failures --json | jq -r 'select(.kind == \"job_details\").job_id'

The next run tries the failed requests again. A record that was set aside cannot be read, and is in no artifact; \
`perfharvest run --retry-set-aside` fetches it again.";

pub(super) const EXPORT: &str = "\
Examples:
  perfharvest export --format archive
  perfharvest export --format archive -o backup.harvest --store crawl.store
  perfharvest export --format parquet --commits all_commits.jsonl

The same store always gives the same bytes. `perfharvest import FILE` restores a store from an archive. A Parquet export \
replaces the files of an earlier export in the same folder. If the crawl is not finished, the Parquet export contains \
the data fetched so far, prints a warning and exits with code 3.";

pub(super) const PUBLISH: &str = "\
Examples:
  perfharvest publish --output upload
  perfharvest publish --output upload --commits all_commits.jsonl
  perfharvest publish -o upload --set publish.license=CC-BY-4.0

The folder contains the tables as Parquet files (data by month), the artifacts (CSV and JSONL compressed), a dataset card \
with the data dictionary, croissant.json, datapackage.json, CITATION.cff, SHA256SUMS and manifest.json. The same store \
always gives the same bytes. After a refresh, the same command replaces only the files that have changed: those of months \
without changes keep their digests. Set the keys of [publish] before you upload the folder.

If the crawl is not finished, the card says so, and the exit code is 3.";

pub(super) const IMPORT: &str = "\
Examples:
  perfharvest import perfharvest-autoland-2026-11-22.harvest --store new.store
  perfharvest import old-scripts/ --start 2026-07-01

If the store holds a finished crawl of the same server and repository, the import is merged with it. \
From a folder, perfharvest imports perf_jobs_by_signature.jsonl, all_signatures.jsonl and max_revision_jobs.jsonl. The \
next run does not fetch again what was imported whole. It does fetch everything that is missing, and the data of empty \
lists, which may be errors that the scripts hid. The data end where manifest.json says, if it is of a complete dataset \
and of these data, and with their newest push otherwise; `perfharvest refresh` fetches what came later. \
alert_summaries.csv is not imported: alerts do not expire, and the next \
run fetches them.";

pub(super) const VERIFY: &str = "\
Examples:
  perfharvest verify --store crawl.store
  perfharvest verify --repair

The exit code is 4 if something is damaged or missing. A repair makes no request: the next `perfharvest run` fetches \
damaged answers again. A repair removes damaged artifacts, and the next `perfharvest reduce` makes them again.";

pub(super) const COMPACT: &str = "\
Examples:
  perfharvest compact --store crawl.store
  perfharvest compact --json

The store keeps the same content. A compaction needs free space for a second copy of it, and a store that no other process \
has open. It can be interrupted at any time.";

pub(super) const RELABEL: &str = "\
Example:
  perfharvest relabel --input perf_llm_struc.jsonl --output relabelled.jsonl";

pub(super) const REPORT: &str = "\
Example:
  perfharvest report --commits all_commits.jsonl --output report.html

The report is a single HTML file that needs no network. It shows coverage, distributions, alerts, signature groups, \
failures, and the sizes and digests of the artifacts in --out. A report of an incomplete crawl says so, and the exit \
code is 3.";

pub(super) const CONFIG: &str = "\
Examples:
  perfharvest config init my.toml
  perfharvest config check -c my.toml
  perfharvest config show --set limiter.burst=1";

pub(super) const SIMULATE: &str = "\
Examples:
  perfharvest simulate  # serves the built-in corpus
  perfharvest simulate --signatures 1000 --latency lognormal:80ms,0.5
  perfharvest simulate --fault 502@summary=0.05 --fault cut=0.01
  perfharvest simulate --signatures 20000 --dump data  # writes files instead
  perfharvest simulate --signatures 200 --weeks 52 --now 2026-01-04

The clock of the data stands still until a control request moves it on; records of a later time are not there yet:
  curl -d +7d URL/__sim/now  # or a time, such as 2026-01-11T00:00:00Z
  curl URL/__sim/now         # shows it

The server prints its URL to stdout. Press Ctrl-C to stop it; it then prints the number of requests that it answered.";

pub(super) const DEMO: &str = "\
Examples:
  perfharvest demo
  perfharvest demo --out my-demo";

pub(super) const COMPLETIONS: &str = "\
Examples:
  source <(perfharvest completions bash)  # in ~/.bashrc
  perfharvest completions zsh > ~/.zfunc/_perfharvest
  perfharvest completions fish > ~/.config/fish/completions/perfharvest.fish";

pub(super) const MAN: &str = "\
Examples:
  perfharvest man > ~/.local/share/man/man1/perfharvest.1
  perfharvest man run > ~/.local/share/man/man1/perfharvest-run.1
  perfharvest man config check | man -l -";

pub(super) fn run() -> String {
    with_exit_codes(RUN)
}

pub(super) fn refresh() -> String {
    with_exit_codes(REFRESH)
}

pub(super) fn crawl() -> String {
    with_exit_codes(CRAWL)
}

fn with_exit_codes(help: &str) -> String {
    let codes: Vec<String> = EXIT_CODES.iter().map(|(code, meaning)| format!("  {code:>3}  {meaning}")).collect();
    format!("{help}\n\nExit codes:\n{}", codes.join("\n"))
}

pub(super) fn reduce() -> String {
    let names: Vec<String> = Artifact::ALL.iter().map(|artifact| format!("  {artifact}\n")).collect();
    format!(
        "Examples:\n  perfharvest reduce --commits all_commits.jsonl\n  perfharvest reduce sig_groups job_durations.csv\n\n\
         Artifacts (the extension can be left out):\n{}",
        names.concat()
    )
}

pub(super) fn commits() -> String {
    format!(
        "Examples:\n  {}\n\n\
         The file contains each commit from --start to --end once, oldest first. Answers of a server are kept in \
         FILE.pages; run the same command again to fetch only what is missing. If inputs.commits_from is set in \
         config.toml, `perfharvest run` makes the file itself, and each `perfharvest refresh` extends it.\n\n\
         A clone and hgweb give the same file. Treeherder's push list contains at most the newest 20 commits of a push, \
         and no commit dates: each commit gets the time of its push. The dates in the dataset and the edges of the window \
         then differ, and older commits of large pushes are missing. Tests run only on the newest commit of a push (the \
         head), and the file contains all heads.",
        commits::WAYS
    )
}
