//! The headers of summaries: the fields of a signature that the server sends with its data. Its lists lack some of them.

use std::collections::BTreeSet;
use std::iter::Peekable;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::model::{RawJson, SignatureId, exact_integer, text_of};
use crate::store::{Outcome, SettledSummary, Store, StoreError};

/// The header of a signature, from its newest answer with data, and its place in the scope.
#[derive(Default)]
pub(crate) struct SignatureHeader {
    /// True for a signature of the crawl's scope: its data were asked for.
    pub(crate) is_in_scope: bool,
    /// The newest header, as sent; `None` without data: such a signature is usually not asked for, so its header would depend
    /// on the course of the crawl.
    pub(crate) text: Option<RawJson>,
}

/// The headers of all signatures, read beside the signatures' records, so that memory does not grow with their number.
pub(crate) struct SignatureHeaders<'a> {
    store: &'a Store,
    /// Signatures with a pending or failed request.
    unsettled: BTreeSet<SignatureId>,
    /// By signature, then harvest, then window.
    settled: Peekable<Box<dyn Iterator<Item = Result<SettledSummary, StoreError>> + 'a>>,
}

impl<'a> SignatureHeaders<'a> {
    /// Before the first signature.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot be read.
    pub(crate) fn start(store: &'a Store) -> Result<Self, StoreError> {
        let unsettled = store.unsettled_summaries(false).map(|summary| summary.map(|(signature, _)| signature));
        let unsettled = unsettled.collect::<Result<_, _>>()?;
        let settled: Box<dyn Iterator<Item = _>> = Box::new(store.settled_summaries());
        Ok(Self { store, unsettled, settled: settled.peekable() })
    }

    /// The header of `signature`, which must be greater than the one before.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub(crate) fn next(&mut self, signature: SignatureId) -> Result<SignatureHeader, StoreError> {
        let mut is_in_scope = self.unsettled.contains(&signature);
        let mut newest = None;
        let is_due = |summary: &Result<SettledSummary, StoreError>| {
            summary.as_ref().map_or(true, |summary| summary.signature <= signature)
        };
        while let Some(summary) = self.settled.next_if(is_due) {
            let summary = summary?;
            if summary.signature == signature {
                is_in_scope = true;
                newest = Some(summary).filter(|summary| summary.settled.outcome == Outcome::Data).or(newest);
            }
        }
        let text = newest.map(|summary| self.store.summary_header(&summary.request())).transpose()?.flatten();
        Ok(SignatureHeader { is_in_scope, text })
    }
}

/// The fields of a header that the lists lack or may omit; a field of another type counts as absent.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Header<'a> {
    #[serde(borrow)]
    name: Option<&'a RawValue>,
    #[serde(borrow)]
    suite: Option<&'a RawValue>,
    #[serde(borrow)]
    test: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) has_subtests: Option<&'a RawValue>,
    #[serde(borrow)]
    tags: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) measurement_unit: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) parent_signature: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) alert_threshold: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) alert_change_type: Option<&'a RawValue>,
}

impl Header<'_> {
    /// The build's options, such as `opt`: the word after suite and test in the name. `None` if the name has another form.
    pub(crate) fn option_name(&self) -> Option<String> {
        let test = text_of(self.test).unwrap_or_default();
        let (name, suite) = (text_of(self.name)?, text_of(self.suite)?);
        let mut rest = name.strip_prefix(&suite)?.strip_prefix(' ')?;
        if !test.is_empty() && test != suite {
            rest = rest.strip_prefix(&test)?.strip_prefix(' ')?;
        }
        let option = rest.split(' ').next()?;
        (!option.is_empty()).then(|| option.to_owned())
    }

    /// The tags, which a header has as one text.
    pub(crate) fn tags(&self) -> Option<Vec<String>> {
        Some(text_of(self.tags)?.split_whitespace().map(str::to_owned).collect())
    }

    /// The id of the parent.
    pub(crate) fn parent_id(&self) -> Option<i64> {
        exact_integer(self.parent_signature?.get())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_the_word_after_suite_and_test() {
        let option = |suite: &str, test: &str, name: &str| {
            let text = format!(r#"{{"suite":"{suite}","test":{test},"name":"{name}","data":[7]}}"#);
            serde_json::from_str::<Header<'_>>(&text).unwrap().option_name()
        };
        assert_eq!(option("damp", "\"\"", "damp opt e10s stylo").as_deref(), Some("opt"));
        assert_eq!(option("tp5o", "\"tp5o\"", "tp5o debug ").as_deref(), Some("debug"));
        assert_eq!(option("a b", "\"c d\"", "a b c d shippable").as_deref(), Some("shippable"));
        assert_eq!(option("a", "null", "a pgo").as_deref(), Some("pgo"));
        assert_eq!(option("a", "\"b\"", "a opt"), None);
        assert_eq!(option("a", "\"\"", "a "), None);
    }

    #[test]
    fn a_field_of_another_type_counts_as_absent() {
        let text = r#"{"signature_id":5,"tags":["a"],"parent_signature":"hash","name":7}"#;
        let header: Header<'_> = serde_json::from_str(text).unwrap();
        assert_eq!((header.tags(), header.parent_id(), header.option_name()), (None, None, None));
        let header: Header<'_> = serde_json::from_str(r#"{"tags":"a  b","parent_signature":12.0}"#).unwrap();
        assert_eq!((header.tags().unwrap(), header.parent_id()), (vec!["a".to_owned(), "b".to_owned()], Some(12)));
    }
}
