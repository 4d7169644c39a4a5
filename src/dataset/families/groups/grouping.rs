//! Groups signatures that were measured by exactly the same jobs.
//!
//! In: signatures, one at a time, with their sorted distinct job ids, of which a 64-bit hash is kept. Out:
//! [`SignatureGroups`]. Signatures with equal hashes are compared id by id before they share a group: with one of
//! the last sets, which are kept because signatures of one group are mostly close together, or else with a look-up by the
//! caller. Promises: memory grows with signatures, not with data, and different sets of jobs never share a group.

use std::cmp::Reverse;
use std::collections::HashMap;

use foldhash::fast::RandomState;
use rayon::iter::{IntoParallelIterator as _, ParallelIterator as _};
use thiserror::Error;
use xxhash_rust::xxh3::Xxh3;

use crate::model::SignatureId;

/// A failure to group signatures.
#[derive(Debug, Error)]
pub enum GroupsError<E: std::error::Error + 'static> {
    /// A signature's job ids could not be looked up again.
    #[error("failed to look up the jobs of signature {signature}")]
    LookUp {
        /// The signature that was looked up.
        signature: SignatureId,
        /// The error of the look-up.
        #[source]
        source: E,
    },
    /// The look-up returned other job ids than the hashed ones.
    #[error("the jobs of signature {signature} changed while groups were made")]
    Changed {
        /// The signature that was looked up.
        signature: SignatureId,
    },
    /// There are more than 2^32 - 1 signatures.
    #[error("more than {} signatures", u32::MAX)]
    TooMany,
}

/// A hash of job ids, equal for all signatures of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    /// The fingerprint of a set of job ids, ascending and distinct.
    #[must_use]
    pub(crate) fn of(job_ids: &[u64]) -> Self {
        let mut hasher = Xxh3::new();
        for id in job_ids {
            hasher.update(&id.to_le_bytes());
        }
        Self(hasher.digest())
    }
}

/// A signature with the fingerprint of its jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fingerprinted {
    fingerprint: Fingerprint,
    /// A signature known to have the same jobs, shared by many; otherwise the signature itself.
    like: SignatureId,
    signature: SignatureId,
}

/// Fingerprints signatures. Keeps the latest sets of jobs for comparison.
#[derive(Clone, Debug, Default)]
pub(crate) struct Fingerprinter {
    sets: HashMap<Fingerprint, (SignatureId, Box<[u64]>), RandomState>,
    num_ids: usize,
}

impl Fingerprinter {
    /// Maximum number of job ids kept: 1 MiB.
    const MAX_IDS: usize = 1 << 17;

    /// The fingerprint of a signature with its job ids, ascending and distinct.
    pub(crate) fn fingerprint(&mut self, signature: SignatureId, job_ids: &[u64]) -> Fingerprinted {
        let fingerprint = Fingerprint::of(job_ids);
        let mut like = signature;
        if let Some((first, set)) = self.sets.get(&fingerprint) {
            if **set == *job_ids {
                like = *first;
            }
        } else if job_ids.len() <= Self::MAX_IDS {
            if self.num_ids + job_ids.len() > Self::MAX_IDS {
                self.sets.clear();
                self.num_ids = 0;
            }
            self.num_ids += job_ids.len();
            self.sets.insert(fingerprint, (signature, job_ids.into()));
        }
        Fingerprinted { fingerprint, like, signature }
    }
}

/// Collects signatures, in any order, each once.
#[derive(Clone, Debug, Default)]
pub(crate) struct GroupBuilder {
    found: Vec<Fingerprinted>,
}

impl GroupBuilder {
    /// With room for `num_signatures`, so that the list is not copied as it grows.
    pub(crate) fn with_capacity(num_signatures: usize) -> Self {
        Self { found: Vec::with_capacity(num_signatures) }
    }

    /// Adds a signature with its job ids, ascending and distinct.
    #[cfg(test)]
    pub(crate) fn push(&mut self, fingerprinter: &mut Fingerprinter, signature: SignatureId, job_ids: &[u64]) {
        if !job_ids.is_empty() {
            self.found.push(fingerprinter.fingerprint(signature, job_ids));
        }
    }

    /// Adds signatures that were fingerprinted elsewhere; each must have jobs.
    pub(crate) fn extend(&mut self, fingerprinted: impl IntoIterator<Item = Fingerprinted>) {
        self.found.extend(fingerprinted);
    }

    /// Makes the groups. `look_up` returns the job ids of a signature as they were added; it is called only for signatures
    /// whose fingerprint equals another one and that were not compared with it.
    ///
    /// # Errors
    /// If a look-up fails, or returns other ids than before.
    pub(crate) fn finish<E: std::error::Error + Send + 'static>(
        self,
        look_up: impl Fn(SignatureId) -> Result<Vec<u64>, E> + Sync,
    ) -> Result<SignatureGroups, GroupsError<E>> {
        let Self { mut found } = self;
        found.sort_unstable();
        let agree = |one: &Fingerprinted, other: &Fingerprinted| one.fingerprint == other.fingerprint;
        // Signatures with equal fingerprints are sorted by the signature that they are known to equal.
        let is_compared = |agreeing: &[Fingerprinted]| agreeing[0].like == agreeing[agreeing.len() - 1].like;
        let to_compare: Vec<_> = found.chunk_by_mut(agree).filter(|agreeing| !is_compared(agreeing)).collect();
        to_compare.into_par_iter().try_for_each(|agreeing| confirm(agreeing, &look_up))?;
        SignatureGroups::of(found).ok_or(GroupsError::TooMany)
    }
}

/// Splits signatures with equal fingerprints by their sets of job ids: one set, unless hashes collide. Notes which of them are
/// alike.
fn confirm<E: std::error::Error + 'static>(
    agreeing: &mut [Fingerprinted],
    look_up: &impl Fn(SignatureId) -> Result<Vec<u64>, E>,
) -> Result<(), GroupsError<E>> {
    let mut sets: Vec<(Vec<u64>, SignatureId)> = Vec::with_capacity(1);
    for alike in agreeing.chunk_by_mut(|one, other| one.like == other.like) {
        let Fingerprinted { fingerprint, like: signature, .. } = alike[0];
        let job_ids = look_up(signature).map_err(|source| GroupsError::LookUp { signature, source })?;
        if Fingerprint::of(&job_ids) != fingerprint {
            return Err(GroupsError::Changed { signature });
        }
        let known = sets.iter().find(|(set, _)| *set == job_ids).map(|(_, first)| *first);
        let first = known.unwrap_or_else(|| {
            sets.push((job_ids, signature));
            signature
        });
        for found in alike {
            found.like = first;
        }
    }
    Ok(())
}

/// The groups: the largest first, groups of equal size by their smallest signature. The index of a group is its id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignatureGroups {
    /// The members of the first group, then those of the second, ...
    members: Vec<SignatureId>,
    /// Index of the end of each group's members.
    ends: Vec<u32>,
    group_of: HashMap<SignatureId, u32, RandomState>,
}

impl SignatureGroups {
    /// Numbers the groups of signatures that are alike. `None` if there are more than 2^32 - 1 signatures.
    fn of(mut found: Vec<Fingerprinted>) -> Option<Self> {
        u32::try_from(found.len()).ok()?;
        found.sort_unstable_by_key(|found| (found.like, found.signature));
        let mut groups: Vec<&[Fingerprinted]> = found.chunk_by(|one, other| one.like == other.like).collect();
        groups.sort_unstable_by_key(|group| (Reverse(group.len()), group[0].signature));
        let mut made = Self {
            members: Vec::with_capacity(found.len()),
            ends: Vec::with_capacity(groups.len()),
            group_of: HashMap::with_capacity_and_hasher(found.len(), RandomState::default()),
        };
        for (id, group) in (0..).zip(groups) {
            made.members.extend(group.iter().map(|found| found.signature));
            made.ends.push(u32::try_from(made.members.len()).ok()?);
            made.group_of.extend(group.iter().map(|found| (found.signature, id)));
        }
        Some(made)
    }

    /// The group of a signature; `None` if it has no jobs.
    #[must_use]
    pub fn group_of(&self, signature: SignatureId) -> Option<u32> {
        self.group_of.get(&signature).copied()
    }

    /// The id and the signatures, ascending, of each group.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &[SignatureId])> {
        let mut start = 0;
        (0..).zip(self.ends.iter().map(move |end| {
            let members = &self.members[start..*end as usize];
            start = *end as usize;
            members
        }))
    }

    /// Number of groups.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True if no signature has jobs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet, HashSet};
    use std::convert::Infallible;

    use proptest::prelude::*;

    use super::*;
    use crate::dataset::corpus;

    fn groups_of(data: &BTreeMap<SignatureId, Vec<u64>>) -> SignatureGroups {
        let (mut builder, mut fingerprinter) = (GroupBuilder::default(), Fingerprinter::default());
        for (signature, job_ids) in data {
            builder.push(&mut fingerprinter, *signature, job_ids);
        }
        builder.finish(|signature| Ok::<_, Infallible>(data[&signature].clone())).unwrap()
    }

    #[test]
    fn groups_are_those_of_the_reference() {
        let mut data = BTreeMap::new();
        for line in corpus::jsonl("golden/perf_jobs_by_signature.jsonl") {
            let jobs = line["jobs"].as_array().unwrap().iter().filter_map(|datum| datum["job_id"].as_u64());
            let jobs: BTreeSet<u64> = jobs.collect();
            data.insert(SignatureId(line["signature_id"].as_u64().unwrap()), Vec::from_iter(jobs));
        }
        let groups = groups_of(&data);
        let golden = corpus::jsonl("golden/sig_groups.jsonl");
        assert_eq!(groups.len(), golden.len());
        for ((id, signatures), line) in groups.iter().zip(&golden) {
            assert_eq!(u64::from(id), line["Sig_group_id"].as_u64().unwrap());
            assert_eq!(signatures.iter().map(|id| id.0).collect::<Vec<_>>(), corpus::ids(&line["signatures"]));
            assert!(signatures.iter().all(|&signature| groups.group_of(signature) == Some(id)));
        }
        let ungrouped = data.keys().filter(|id| groups.group_of(**id).is_none()).count();
        assert_eq!(ungrouped, data.values().filter(|jobs| jobs.is_empty()).count());
    }

    /// Groups of signatures that were fingerprinted far apart.
    fn apart(data: &[(u64, [u64; 2])]) -> GroupBuilder {
        let mut builder = GroupBuilder::default();
        builder.extend(data.iter().map(|(id, jobs)| Fingerprinter::default().fingerprint(SignatureId(*id), jobs)));
        builder
    }

    #[test]
    fn only_signatures_that_agree_and_were_not_compared_are_looked_up_and_changed_jobs_are_noticed() {
        let data = [(1, [5, 6]), (2, [5, 7]), (3, [5, 6])];
        let (mut near, mut fingerprinter) = (GroupBuilder::default(), Fingerprinter::default());
        for (id, jobs) in &data {
            near.push(&mut fingerprinter, SignatureId(*id), jobs);
        }
        let compared = near.finish(|_| Err(std::io::Error::other("nothing is looked up"))).unwrap();

        let builder = apart(&data);
        let asked = std::sync::Mutex::new(Vec::new());
        let groups = builder
            .clone()
            .finish(|signature| {
                asked.lock().unwrap().push(signature.0);
                Ok::<_, Infallible>(vec![5, 6])
            })
            .unwrap();
        let mut asked = asked.into_inner().unwrap();
        asked.sort_unstable();
        assert_eq!(asked, [1, 3]);
        assert_eq!((groups.len(), groups.group_of(SignatureId(2))), (2, Some(1)));
        assert_eq!(groups, compared);
        let changed = builder.clone().finish(|_| Ok::<_, Infallible>(vec![5, 8]));
        assert!(matches!(changed, Err(GroupsError::Changed { signature: SignatureId(1) })));
        let failed = builder.finish(|_| Err(std::io::Error::other("gone")));
        assert!(matches!(failed, Err(GroupsError::LookUp { signature: SignatureId(1), .. })));
    }

    #[test]
    fn a_set_of_the_same_hash_is_not_taken_for_another() {
        let mut fingerprinter = Fingerprinter::default();
        fingerprinter.sets.insert(Fingerprint::of(&[5, 6]), (SignatureId(2), Box::new([5, 7]))); // as if they had one
        assert_eq!(fingerprinter.fingerprint(SignatureId(1), &[5, 6]).like, SignatureId(1));
    }

    #[test]
    fn few_sets_are_remembered() {
        let mut fingerprinter = Fingerprinter::default();
        let set = |start: u64| (start..start + 1000).collect::<Vec<_>>();
        for id in 0..1000 {
            fingerprinter.fingerprint(SignatureId(id), &set(id));
            assert!(fingerprinter.num_ids <= Fingerprinter::MAX_IDS);
        }
        let huge: Vec<u64> = (0..=Fingerprinter::MAX_IDS as u64).collect();
        assert_eq!(fingerprinter.fingerprint(SignatureId(1), &huge), fingerprinter.fingerprint(SignatureId(1), &huge));
        assert_eq!(fingerprinter.fingerprint(SignatureId(7), &set(999)).like, SignatureId(999));
    }

    proptest! {
        #[test]
        fn one_group_if_and_only_if_one_set_of_jobs(
            sets in prop::collection::vec(prop::collection::btree_set(0_u64..4, 0..4), 0..40),
            forget_every in 1_usize..10,
        ) {
            let data: BTreeMap<SignatureId, Vec<u64>> =
                (0..).map(SignatureId).zip(sets.into_iter().map(Vec::from_iter)).collect();
            let groups = groups_of(&data);
            let (mut builder, mut fingerprinter) = (GroupBuilder::default(), Fingerprinter::default());
            for (place, (signature, jobs)) in data.iter().enumerate() {
                if place % forget_every == 0 {
                    fingerprinter = Fingerprinter::default();
                }
                builder.push(&mut fingerprinter, *signature, jobs);
            }
            prop_assert_eq!(&builder.finish(|signature| Ok::<_, Infallible>(data[&signature].clone())).unwrap(), &groups);
            for (a, jobs_a) in &data {
                prop_assert_eq!(groups.group_of(*a).is_some(), !jobs_a.is_empty());
                for (b, jobs_b) in data.iter().filter(|(_, jobs)| !jobs.is_empty()) {
                    prop_assert_eq!(groups.group_of(*a) == groups.group_of(*b), jobs_a == jobs_b);
                }
            }
            let distinct: HashSet<&Vec<u64>> = data.values().filter(|jobs| !jobs.is_empty()).collect();
            prop_assert_eq!(distinct.len(), groups.len());
            let members: Vec<&[SignatureId]> = groups.iter().map(|(_, members)| members).collect();
            let key = |members: &&[SignatureId]| (std::cmp::Reverse(members.len()), members[0]);
            prop_assert!(members.is_sorted_by_key(key));
        }
    }
}
