//! The stored rows and headers of signatures.

use std::collections::HashSet;

use crate::dataset::pass::signatures::{Part, Signatures};
use crate::model::{DatumRecord, RawJson, SignatureId};
use crate::store::{SeriesReader, Store, StoreError, StoredPart};

/// The answers of a signature in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// All answers.
    Complete,
    /// The repository does not list the signature: it is of another one.
    Unlisted,
    /// An answer is missing.
    Pending,
    /// The scope of the crawl leaves the signature out.
    NotAsked,
}

impl State {
    /// The key in the manifest; `None` for the usual state.
    pub(super) fn counted_as(self) -> Option<&'static str> {
        match self {
            Self::Complete => None,
            Self::Unlisted => Some("signatures_of_another_repository"),
            Self::Pending => Some("signatures_pending"),
            Self::NotAsked => Some("signatures_not_asked"),
        }
    }
}

/// Reads the rows of one kind of answer, a signature at a time.
pub(super) struct RowReader<'a> {
    complete: Signatures,
    series: SeriesReader<'a>,
    listed: HashSet<SignatureId>,
    unsettled: HashSet<SignatureId>,
    replicates: bool,
}

impl<'a> RowReader<'a> {
    /// A reader of the answers with or without replicates.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub(super) fn new(store: &'a Store, replicates: bool) -> Result<Self, StoreError> {
        let unsettled = store.unsettled_summaries(replicates).map(|of| of.map(|(signature, _)| signature));
        Ok(Self {
            complete: Signatures::complete_rows(store, replicates)?,
            series: SeriesReader::new(store)?,
            listed: store.signature_ids()?.into_iter().collect(),
            unsettled: unsettled.collect::<Result<_, _>>()?,
            replicates,
        })
    }

    pub(super) fn state(&self, signature: SignatureId) -> State {
        match () {
            () if !self.complete.parts_of(signature).is_empty() => State::Complete,
            () if self.unsettled.contains(&signature) => State::Pending,
            () if self.listed.contains(&signature) => State::NotAsked,
            () => State::Unlisted,
        }
    }

    /// The rows of the server's answers, joined, in the order of the server; none of a signature that is not complete.
    ///
    /// # Errors
    /// [`StoreError`] if an answer is missing or damaged.
    pub(super) fn rows(&mut self, signature: SignatureId) -> Result<Vec<DatumRecord>, StoreError> {
        let parts: Vec<StoredPart> = self.complete.parts_of(signature).iter().map(Part::stored).collect();
        let series = if self.replicates { self.series.read_rows(&parts) } else { self.series.read(&parts) };
        Ok(series?.data)
    }
}

/// The newest header of a signature that came with an answer, as sent.
///
/// # Errors
/// [`StoreError`] if it cannot be read.
pub(super) fn header_of(store: &Store, signature: SignatureId) -> Result<Option<RawJson>, StoreError> {
    store.newest_header(&store.summaries_of(signature).collect::<Result<Vec<_>, _>>()?)
}
