//! Signature groups: signatures that were measured by exactly the same jobs.
//!
//! Signatures come in one at a time with their sorted distinct job ids; only a 128-bit hash and the number of the ids
//! are kept. Signatures that agree in both are compared id by id before they share a group, through a look-up that the
//! caller supplies. The promise: memory grows with the signatures, not with their data, and no two different sets of
//! jobs are ever one group.

use std::cmp::Reverse;
use std::collections::HashMap;

use foldhash::fast::RandomState;
use rayon::iter::ParallelIterator as _;
use rayon::slice::ParallelSlice as _;
use thiserror::Error;
use xxhash_rust::xxh3::Xxh3;

use crate::model::SignatureId;

/// Groups could not be made.
#[derive(Debug, Error)]
pub enum GroupsError<E: std::error::Error + 'static> {
    /// A signature's job ids could not be looked up again.
    #[error("failed to look up the jobs of signature {signature}")]
    LookUp {
        /// The signature.
        signature: SignatureId,
        /// Why.
        #[source]
        source: E,
    },
    /// The look-up gave other job ids than those that were hashed.
    #[error("the jobs of signature {signature} changed while groups were made")]
    Changed {
        /// The signature.
        signature: SignatureId,
    },
    /// There are more signatures than can be numbered.
    #[error("more than {} signatures", u32::MAX)]
    TooMany,
}

/// What two signatures of one group have in common, in 24 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fingerprint {
    hash: [u64; 2],
    num_jobs: u32,
}

impl Fingerprint {
    /// The fingerprint of a set of job ids, ascending and distinct.
    #[must_use]
    pub fn of(job_ids: &[u64]) -> Self {
        let mut hasher = Xxh3::new();
        for id in job_ids {
            hasher.update(&id.to_le_bytes());
        }
        let hash = hasher.digest128();
        #[expect(clippy::cast_possible_truncation, reason = "both halves of the hash")]
        let hash = [(hash >> 64) as u64, hash as u64];
        Self { hash, num_jobs: u32::try_from(job_ids.len()).unwrap_or(u32::MAX) }
    }
}

/// Collects signatures, in any order, each once.
#[derive(Clone, Debug, Default)]
pub struct GroupBuilder {
    fingerprints: Vec<(Fingerprint, SignatureId)>,
}

/// A signature, behind the smallest one of its group.
type Member = (SignatureId, SignatureId);

impl GroupBuilder {
    /// Takes in a signature with its job ids, ascending and distinct. A signature without jobs is in no group.
    pub fn push(&mut self, signature: SignatureId, job_ids: &[u64]) {
        debug_assert!(job_ids.is_sorted_by(|a, b| a < b), "job ids must be ascending and distinct");
        if !job_ids.is_empty() {
            self.insert(signature, Fingerprint::of(job_ids));
        }
    }

    /// Takes in a signature whose jobs have been fingerprinted elsewhere; there must be some.
    pub fn insert(&mut self, signature: SignatureId, fingerprint: Fingerprint) {
        self.fingerprints.push((fingerprint, signature));
    }

    /// Makes the groups. `look_up` gives the job ids of a signature once more, as they were pushed; it is asked only
    /// for signatures that agree with another one.
    ///
    /// # Errors
    /// When a look-up fails, or gives other ids than before.
    pub fn finish<E: std::error::Error + Send + 'static>(
        self,
        look_up: impl Fn(SignatureId) -> Result<Vec<u64>, E> + Sync,
    ) -> Result<SignatureGroups, GroupsError<E>> {
        let mut fingerprints = self.fingerprints;
        fingerprints.sort_unstable();
        let agree = |one: &(Fingerprint, _), other: &(Fingerprint, _)| one.0 == other.0;
        let alone = fingerprints.chunk_by(agree).filter(|agreeing| agreeing.len() == 1);
        let mut members: Vec<Member> = alone.map(|agreeing| (agreeing[0].1, agreeing[0].1)).collect();
        let confirmed: Result<Vec<Vec<Member>>, _> = fingerprints
            .par_chunk_by(agree)
            .filter(|agreeing| agreeing.len() > 1)
            .map(|agreeing| confirm(agreeing, &look_up))
            .collect();
        drop(fingerprints);
        members.extend(confirmed?.into_iter().flatten());
        SignatureGroups::from_members(members).ok_or(GroupsError::TooMany)
    }
}

/// Splits signatures of one fingerprint, ascending, into those with equal sets of job ids: one set, unless two sets have
/// one hash.
fn confirm<E: std::error::Error + 'static>(
    agreeing: &[(Fingerprint, SignatureId)],
    look_up: &impl Fn(SignatureId) -> Result<Vec<u64>, E>,
) -> Result<Vec<Member>, GroupsError<E>> {
    let mut sets: Vec<(Vec<u64>, SignatureId)> = Vec::with_capacity(1);
    let mut members = Vec::with_capacity(agreeing.len());
    for &(fingerprint, signature) in agreeing {
        let job_ids = look_up(signature).map_err(|source| GroupsError::LookUp { signature, source })?;
        if Fingerprint::of(&job_ids) != fingerprint {
            return Err(GroupsError::Changed { signature });
        }
        if let Some((_, first)) = sets.iter().find(|(set, _)| *set == job_ids) {
            members.push((*first, signature));
        } else {
            sets.push((job_ids, signature));
            members.push((signature, signature));
        }
    }
    Ok(members)
}

/// The groups: the largest first, those of one size by their smallest signature. A group's id is its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignatureGroups {
    /// Those of the first group, then those of the second, ...
    members: Vec<SignatureId>,
    /// Where the members of each group end.
    ends: Vec<u32>,
    group_of: HashMap<SignatureId, u32, RandomState>,
}

impl SignatureGroups {
    /// Numbers the groups. `None` when there are more signatures than a `u32` counts.
    fn from_members(mut by_first: Vec<Member>) -> Option<Self> {
        u32::try_from(by_first.len()).ok()?;
        by_first.sort_unstable();
        let mut groups: Vec<&[Member]> = by_first.chunk_by(|one, other| one.0 == other.0).collect();
        groups.sort_by_key(|group| Reverse(group.len())); // stable: those of one size stay in order
        let mut made = Self {
            members: Vec::with_capacity(by_first.len()),
            ends: Vec::with_capacity(groups.len()),
            group_of: HashMap::with_capacity_and_hasher(by_first.len(), RandomState::default()),
        };
        for (id, group) in (0..).zip(groups) {
            made.members.extend(group.iter().map(|(_, signature)| *signature));
            made.ends.push(u32::try_from(made.members.len()).ok()?);
            made.group_of.extend(group.iter().map(|(_, signature)| (*signature, id)));
        }
        Some(made)
    }

    /// The group of a signature; `None` when it has no jobs.
    #[must_use]
    pub fn group_of(&self, signature: SignatureId) -> Option<u32> {
        self.group_of.get(&signature).copied()
    }

    /// Each group's id and its signatures, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &[SignatureId])> {
        let mut start = 0;
        (0..).zip(self.ends.iter().map(move |end| {
            let members = &self.members[start..*end as usize];
            start = *end as usize;
            members
        }))
    }

    /// How many groups there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// True when no signature has jobs.
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
    use crate::reduce::corpus;

    fn groups_of(data: &BTreeMap<SignatureId, Vec<u64>>) -> SignatureGroups {
        let mut builder = GroupBuilder::default();
        for (signature, job_ids) in data {
            builder.push(*signature, job_ids);
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

    #[test]
    fn only_signatures_that_agree_are_looked_up_and_changed_jobs_are_noticed() {
        let mut builder = GroupBuilder::default();
        for (signature, jobs) in [(1, [5, 6]), (2, [5, 7]), (3, [5, 6])] {
            builder.push(SignatureId(signature), &jobs);
        }
        builder.push(SignatureId(4), &[]);
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
        assert_eq!(
            (groups.len(), groups.group_of(SignatureId(2)), groups.group_of(SignatureId(4))),
            (2, Some(1), None)
        );
        let changed = builder.clone().finish(|_| Ok::<_, Infallible>(vec![5, 8]));
        assert!(matches!(changed, Err(GroupsError::Changed { signature: SignatureId(1) })));
        let failed = builder.finish(|_| Err(std::io::Error::other("gone")));
        assert!(matches!(failed, Err(GroupsError::LookUp { signature: SignatureId(1), .. })));
    }

    proptest! {
        #[test]
        fn one_group_if_and_only_if_one_set_of_jobs(
            sets in prop::collection::vec(prop::collection::btree_set(0_u64..4, 0..4), 0..40)
        ) {
            let data: BTreeMap<SignatureId, Vec<u64>> =
                (0..).map(SignatureId).zip(sets.into_iter().map(Vec::from_iter)).collect();
            let groups = groups_of(&data);
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
