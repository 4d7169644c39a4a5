//! The framework of each signature.

use crate::model::{FrameworkId, SignatureId};

/// The frameworks of signatures with metadata, ascending by signature: in a list, because there may be 10^6.
#[derive(Debug, Default)]
pub(crate) struct SignatureFrameworks(Vec<(SignatureId, FrameworkId)>);

impl SignatureFrameworks {
    /// `frameworks`: ascending by signature, each once.
    pub(super) fn of_sorted(frameworks: Vec<(SignatureId, FrameworkId)>) -> Self {
        Self(frameworks)
    }

    /// The framework of a signature; `None` without metadata.
    pub(crate) fn of(&self, signature: SignatureId) -> Option<FrameworkId> {
        let at = self.0.binary_search_by_key(&signature, |(listed, _)| *listed).ok()?;
        Some(self.0[at].1)
    }

    /// That of each signature.
    pub(crate) fn iter(&self) -> impl Iterator<Item = FrameworkId> {
        self.0.iter().map(|(_, framework)| *framework)
    }

    /// Number of signatures.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
impl FromIterator<(SignatureId, FrameworkId)> for SignatureFrameworks {
    fn from_iter<I: IntoIterator<Item = (SignatureId, FrameworkId)>>(frameworks: I) -> Self {
        let sorted: std::collections::BTreeMap<_, _> = frameworks.into_iter().collect();
        Self(sorted.into_iter().collect())
    }
}
