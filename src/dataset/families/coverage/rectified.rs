//! Counts the revision table in groups instead of signatures.
//!
//! In: the sorted signature ids of a revision. Out: the ids of their groups in order of first appearance. Groups with only
//! signatures of excluded frameworks are left out; a signature with an unknown framework does not count as excluded. A
//! signature without a group is skipped and counted, or an error in strict mode.

use std::collections::BTreeSet;

use thiserror::Error;

use crate::dataset::families::groups::SignatureGroups;
use crate::dataset::families::signatures::SignatureFrameworks;
use crate::model::{FrameworkId, SignatureId};

/// A signature of a revision that is in no group.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("signature {signature} of revision {revision} is in no group: it has data there, but no job that still exists")]
pub struct UngroupedError {
    /// The signature with data of the revision.
    pub signature: SignatureId,
    /// The hash of the commit.
    pub revision: String,
}

/// The treatment of a signature without a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum OnUngrouped {
    /// Leaves the signature out, and counts it.
    #[default]
    Skip,
    /// Returns [`UngroupedError`].
    Fail,
}

/// Rectifies the rows of the revision table, one at a time.
#[derive(Debug)]
pub(crate) struct Rectifier<'a> {
    groups: &'a SignatureGroups,
    excluded: Vec<bool>,
    on_ungrouped: OnUngrouped,
    /// The last row in which each group appeared; 0 for none.
    appeared_in: Vec<u64>,
    row: u64,
    skipped: u64,
    skipped_signatures: BTreeSet<SignatureId>,
}

impl<'a> Rectifier<'a> {
    /// `frameworks`: the framework of each signature with metadata; `excluded`: the frameworks to leave out.
    #[must_use]
    pub(crate) fn new(
        groups: &'a SignatureGroups,
        frameworks: &SignatureFrameworks,
        excluded: &BTreeSet<FrameworkId>,
        on_ungrouped: OnUngrouped,
    ) -> Self {
        let is_excluded = |id: &SignatureId| frameworks.of(*id).is_some_and(|framework| excluded.contains(&framework));
        let excluded: Vec<bool> = groups.iter().map(|(_, members)| members.iter().all(is_excluded)).collect();
        Self {
            groups,
            appeared_in: vec![0; excluded.len()],
            excluded,
            on_ungrouped,
            row: 0,
            skipped: 0,
            skipped_signatures: BTreeSet::new(),
        }
    }

    /// The groups of a revision's signatures, which must be ascending; the number of groups is the row's `total_jobs`.
    ///
    /// # Errors
    /// In strict mode, if a signature is in no group.
    pub(crate) fn rectify(&mut self, revision: &str, signatures: &[SignatureId]) -> Result<Vec<u32>, UngroupedError> {
        self.row += 1;
        let mut groups = Vec::new();
        for &signature in signatures {
            let Some(group) = self.groups.group_of(signature) else {
                if self.on_ungrouped == OnUngrouped::Fail {
                    return Err(UngroupedError { signature, revision: revision.to_owned() });
                }
                self.skipped += 1;
                self.skipped_signatures.insert(signature);
                continue;
            };
            let place = group as usize;
            if !self.excluded[place] && self.appeared_in[place] != self.row {
                self.appeared_in[place] = self.row;
                groups.push(group);
            }
        }
        Ok(groups)
    }

    /// Number of groups left out because of their framework.
    #[must_use]
    pub(crate) fn num_excluded_groups(&self) -> usize {
        self.excluded.iter().filter(|excluded| **excluded).count()
    }

    /// Number of skipped signatures without a group, summed over all rows.
    #[must_use]
    pub(crate) fn num_skipped(&self) -> u64 {
        self.skipped
    }

    /// The skipped signatures.
    #[must_use]
    pub(crate) fn skipped_signatures(&self) -> &BTreeSet<SignatureId> {
        &self.skipped_signatures
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::convert::Infallible;

    use super::*;
    use crate::dataset::corpus;
    use crate::dataset::families::groups::{Fingerprinter, GroupBuilder};

    #[test]
    fn rows_are_those_of_the_reference() {
        // One artificial job per group reproduces the groups of the reference.
        let (mut builder, mut fingerprinter) = (GroupBuilder::default(), Fingerprinter::default());
        let mut job_of = BTreeMap::new();
        for line in corpus::jsonl("golden/sig_groups.jsonl") {
            let group = line["Sig_group_id"].as_u64().unwrap();
            for signature in corpus::ids(&line["signatures"]) {
                builder.push(&mut fingerprinter, SignatureId(signature), &[group]);
                job_of.insert(SignatureId(signature), vec![group]);
            }
        }
        let groups = builder.finish(|signature| Ok::<_, Infallible>(job_of[&signature].clone())).unwrap();
        let frameworks = corpus::jsonl("golden/all_signatures.jsonl")
            .iter()
            .map(|record| {
                let id = |key: &str| record[key].as_u64().unwrap();
                (SignatureId(id("id")), FrameworkId(id("framework_id")))
            })
            .collect();
        let excluded = [2, 6, 18].map(FrameworkId).into();
        let mut rectifier = Rectifier::new(&groups, &frameworks, &excluded, OnUngrouped::Skip);
        let mut strict = Rectifier::new(&groups, &frameworks, &excluded, OnUngrouped::Fail);
        let details = corpus::jsonl("golden/perf_jobs_per_revision_details.jsonl");
        let golden = corpus::jsonl("golden/perf_jobs_per_revision_details_rectified.jsonl");
        assert_eq!(details.len(), golden.len());
        for (row, expected) in details.iter().zip(&golden) {
            let revision = row["revision"].as_str().unwrap();
            let signatures: Vec<SignatureId> =
                corpus::ids(&row["signature_ids"]).into_iter().map(SignatureId).collect();
            let skipped = rectifier.num_skipped();
            let ids = rectifier.rectify(revision, &signatures).unwrap();
            assert_eq!(expected["revision"], revision);
            assert_eq!(
                ids.iter().copied().map(u64::from).collect::<Vec<_>>(),
                corpus::ids(&expected["signature_group_ids"])
            );
            assert_eq!(expected["total_jobs"], ids.len());
            let refused = strict.rectify(revision, &signatures);
            assert_eq!(refused.is_err(), rectifier.num_skipped() > skipped);
        }
        assert!(rectifier.num_excluded_groups() > 0);
        assert!(rectifier.skipped_signatures().iter().all(|id| groups.group_of(*id).is_none()));
    }

    #[test]
    fn a_group_is_left_out_only_if_all_its_signatures_are_excluded() {
        let (mut builder, mut fingerprinter) = (GroupBuilder::default(), Fingerprinter::default());
        let jobs = |signature: SignatureId| vec![signature.0 / 10];
        for id in [10, 11, 20, 21, 30, 31] {
            builder.push(&mut fingerprinter, SignatureId(id), &jobs(SignatureId(id)));
        }
        let groups = builder.finish(|signature| Ok::<_, Infallible>(jobs(signature))).unwrap();
        let frameworks = [(10, 2), (11, 2), (20, 2), (21, 1), (30, 2)].map(|(id, f)| (SignatureId(id), FrameworkId(f)));
        let (frameworks, excluded) = (frameworks.into_iter().collect(), [FrameworkId(2)].into());
        let mut rectifier = Rectifier::new(&groups, &frameworks, &excluded, OnUngrouped::Skip);
        let row = [10, 11, 20, 30, 21, 99].map(SignatureId);
        assert_eq!(rectifier.rectify("r", &row).unwrap(), [1, 2]);
        assert_eq!(rectifier.rectify("r", &row).unwrap(), [1, 2]);
        assert_eq!((rectifier.num_skipped(), rectifier.skipped_signatures().len()), (2, 1));
        let mut strict = Rectifier::new(&groups, &frameworks, &excluded, OnUngrouped::Fail);
        let error = strict.rectify("abc", &row).unwrap_err();
        assert_eq!(error, UngroupedError { signature: SignatureId(99), revision: "abc".to_owned() });
        assert!(error.to_string().contains("99") && error.to_string().contains("abc"));
    }
}
