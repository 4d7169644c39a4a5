//! Checks that the file, the window and the data of a crawl belong together.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use super::extent::MismatchError;
use super::{Commit, Commits, NodeKey, SkipReason};
use crate::config::Semantics;
use crate::model::{PushRevisions, Revision, Timestamp};
use crate::store::CrawlIdentity;

/// Longest time at an end of the window without a commit that needs no warning: a holiday.
const MAX_GAP_SECS: i64 = 7 * 86_400;

/// Minimum number of missing revisions before a file is refused: a file that lists a tenth of the revisions is then refused
/// in one case of eight, but a file of the right repository lists nearly all.
pub(crate) const MIN_MISSING: usize = 20;

impl Commits {
    /// Refuses commits that no data can match; warns if only some cannot be matched. The scripts accept any commits, so
    /// `reference` only warns.
    ///
    /// # Errors
    /// [`MismatchError`].
    pub(crate) fn check(
        &self,
        path: &Path,
        identity: &CrawlIdentity,
        semantics: Semantics,
        now: Timestamp,
    ) -> Result<(), MismatchError> {
        let file = path.display();
        match self.mismatch(identity, now) {
            Some(error) if semantics == Semantics::Corrected => return Err(error),
            Some(error) => tracing::warn!("the file of commits `{file}` {error}"),
            None => self.warn_of_parts(path, identity, now),
        }
        Ok(())
    }

    fn mismatch(&self, identity: &CrawlIdentity, now: Timestamp) -> Option<MismatchError> {
        let report = &self.report;
        let unusable =
            [SkipReason::Malformed, SkipReason::NotObject, SkipReason::Torn].map(|reason| report.skipped.count(reason));
        let (unusable, usable) = (unusable.iter().sum(), report.commits + report.repeated);
        let (start, end) = (identity.window_start, identity.window_end);
        let (first, last) = self.extent.span?;
        if unusable > usable {
            return Some(MismatchError::MostlyUnusable { unusable, usable });
        }
        let Some(example) = self.in_window.first() else {
            return Some(MismatchError::OutsideWindow { start, end, first, last });
        };
        if self.in_window.iter().all(|commit| commit.date > now) {
            return Some(MismatchError::InFuture { now });
        }
        let none_matches = !self.in_window.iter().any(is_revision);
        none_matches.then(|| MismatchError::NoRevision { node: example.node.clone() })
    }

    fn warn_of_parts(&self, path: &Path, identity: &CrawlIdentity, now: Timestamp) {
        let file = path.display();
        let count = |is_of: &dyn Fn(&Commit) -> bool| self.in_window.iter().filter(|commit| is_of(commit)).count();
        let others = count(&|commit| !is_revision(commit));
        if others > 0 {
            tracing::warn!(%file, commits = others, "nodes without 40 hex digits match no revision");
        }
        let future = count(&|commit| commit.date > now);
        if future > 0 {
            tracing::warn!(%file, commits = future, "commits have dates in the future");
        }
        let (start, end) = (identity.window_start, identity.window_end.min(now));
        if let Some((first, last)) = self.extent.span
            && (first > start.plus_secs(MAX_GAP_SECS) || last.plus_secs(MAX_GAP_SECS) < end)
        {
            tracing::warn!(%file, %first, %last, %start, %end, "the commits do not cover the whole window");
        }
    }

    /// Refuses commits of another repository: the file lists no revision of the `pushes` with data. A file with fewer commits
    /// than there are revisions is a selection, and is not refused; nor is any in `reference`.
    ///
    /// # Errors
    /// [`MismatchError::OtherRepository`].
    pub(crate) fn check_share(&self, pushes: &PushRevisions, semantics: Semantics) -> Result<(), MismatchError> {
        let revisions: HashSet<Revision> = pushes.values().copied().collect();
        let is_selection = self.in_window.len() < revisions.len();
        let is_exempt = semantics == Semantics::Reference || is_selection || revisions.len() < MIN_MISSING;
        let (false, Some(example)) = (is_exempt, self.in_window.first()) else { return Ok(()) };
        if revisions.iter().any(|revision| self.lists(*revision)) {
            return Ok(());
        }
        let revision = revisions.iter().min().map_or_else(String::new, ToString::to_string);
        Err(MismatchError::OtherRepository { num: revisions.len(), revision, node: example.node.clone() })
    }

    /// True if the file lists the revision, also in capitals or with blanks around it.
    pub(crate) fn lists(&self, revision: Revision) -> bool {
        self.extent.lists(revision, true)
    }

    /// True if the file lists commits of the day of `at`, in UTC.
    pub(crate) fn covers(&self, at: Timestamp) -> bool {
        self.extent.covers(at)
    }

    /// Counts for the manifest; `pushes` are those with data.
    pub(crate) fn counts(&self, pushes: &PushRevisions, semantics: Semantics) -> BTreeMap<String, u64> {
        let with_data: HashSet<Revision> = pushes.values().copied().collect();
        let folds = semantics == Semantics::Corrected;
        let is_listed = |revision: &&Revision| self.extent.lists(**revision, folds);
        let not_revisions = self.in_window.iter().filter(|commit| !is_revision(commit)).count();
        let counts = [
            ("in_file", self.report.commits),
            ("in_window", self.report.in_window),
            ("lines_skipped", self.report.skipped.total_not_blank()),
            ("not_revisions", not_revisions as u64),
            (REVISIONS_WITH_DATA, with_data.len() as u64),
            (OF_THESE_IN_FILE, with_data.iter().filter(is_listed).count() as u64),
        ];
        counts.into_iter().map(|(name, count)| (name.to_owned(), count)).collect()
    }
}

/// True if the node has 40 hex digits, also in capitals or with blanks around them.
fn is_revision(commit: &Commit) -> bool {
    matches!(NodeKey::of_text(&commit.node).folded(), NodeKey::Hash(_))
}

/// Key in [`Commits::counts`]: distinct revisions of the pushes that data refer to.
const REVISIONS_WITH_DATA: &str = "revisions_with_data";
/// Key in [`Commits::counts`]: those of them that the file lists.
const OF_THESE_IN_FILE: &str = "revisions_with_data_in_file";

/// The number of revisions with data in the file of commits, and of all, from [`Commits::counts`].
pub(crate) fn share_of(counts: &BTreeMap<String, u64>) -> Option<(u64, u64)> {
    Some((*counts.get(OF_THESE_IN_FILE)?, *counts.get(REVISIONS_WITH_DATA)?))
}

/// Warns if none or few of the revisions with data are in the file.
pub(crate) fn warn_of_share(path: Option<PathBuf>, counts: &BTreeMap<String, u64>) {
    let Some((listed, with_data)) = share_of(counts) else { return };
    if listed * 2 < with_data || (listed == 0 && with_data > 0) {
        let file = path.unwrap_or_default();
        let what = if listed == 0 { "no revision" } else { "fewer than half of the revisions" };
        tracing::warn!(
            file = %file.display(), revisions_with_data = with_data, in_file = listed,
            "{what} with data is in the file of commits; is it of the same repository?"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use crate::model::PushId;

    const HASH: &str = "0123456789abcdef0123456789abcdef01234567";
    const START: Timestamp = Timestamp::from_secs(1_782_864_000);
    const END: Timestamp = Timestamp::from_secs(1_793_836_800);

    fn checked(lines: &[(&str, i64)], semantics: Semantics, now: Timestamp) -> Result<Commits, MismatchError> {
        let line = |(node, secs): &(&str, i64)| format!("{{\"node\":\"{node}\",\"date\":[{secs},0]}}\n");
        let text: String = lines.iter().map(line).collect();
        let path = Path::new("commits.jsonl");
        let commits = Commits::read_from(text.as_bytes(), path, START, END).unwrap();
        let identity =
            CrawlIdentity { window_start: START, window_end: END, ..CrawlIdentity::create(&Config::default(), END) };
        commits.check(path, &identity, semantics, now).map(|()| commits)
    }

    fn check(lines: &[(&str, i64)]) -> Result<Commits, MismatchError> {
        checked(lines, Semantics::Corrected, END)
    }

    #[test]
    fn revisions_in_capitals_are_listed_in_corrected_only() {
        let (upper, padded) = (HASH.to_uppercase(), format!(" {HASH}\\n"));
        let pushes: PushRevisions =
            [(PushId(1), HASH.parse().unwrap()), (PushId(2), Revision([7; 20]))].into_iter().collect();
        for node in [&upper, &padded] {
            let commits = check(&[(node, START.as_secs())]).unwrap();
            assert_eq!(share_of(&commits.counts(&pushes, Semantics::Corrected)), Some((1, 2)));
            assert_eq!(share_of(&commits.counts(&pushes, Semantics::Reference)), Some((0, 2)));
        }
    }

    #[test]
    fn commits_that_no_data_can_match_are_refused() {
        let refused = |lines: &[(&str, i64)]| check(lines).unwrap_err().to_string();
        let (before, within) = (5, START.as_secs());
        assert!(check(&[(HASH, within), ("short", within), (&"a".repeat(40), before)]).is_ok());
        let text = refused(&[(HASH, before)]);
        assert!(text.contains("2026-07-01") && text.contains("1970-01-01"), "{text}");
        for node in [&HASH[..12], "7f7b", &"0".repeat(64)] {
            let text = refused(&[(node, within)]);
            assert!(text.contains(node) && text.contains("40 hex digits"), "{text}");
        }
        let early = checked(&[(HASH, within + 10)], Semantics::Corrected, START);
        assert!(matches!(early, Err(MismatchError::InFuture { .. })));
    }

    #[test]
    fn reference_only_warns() {
        for lines in [[(HASH, 5)], [("7f7b", START.as_secs())]] {
            assert!(check(&lines).is_err());
            checked(&lines, Semantics::Reference, END).unwrap();
        }
    }

    #[test]
    fn a_file_of_mostly_other_lines_is_refused() {
        let text = format!("{{\"a\": [\n7\n{{\"node\":\"{HASH}\",\"date\":[{},0]}}\n]}}", START.as_secs());
        let commits = Commits::read_from(text.as_bytes(), Path::new("c"), START, END).unwrap();
        let identity = CrawlIdentity::create(&Config::default(), END);
        let checked = commits.check(Path::new("c"), &identity, Semantics::Corrected, END);
        assert!(matches!(checked, Err(MismatchError::MostlyUnusable { unusable: 3, usable: 1 })), "{checked:?}");
    }
}
