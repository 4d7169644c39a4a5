//! The signature records: `all_signatures.jsonl`, `all_signatures_detailed.jsonl`, and the metadata that other families need.
//!
//! Value: [`SignatureTable`].

mod common_features;
mod detailed;
mod frameworks;
mod headers;

use std::sync::{Mutex, PoisonError};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::config::Semantics;
use crate::dataset::catalogue::Artifact;
use crate::dataset::error::DatasetError;
use crate::dataset::family::{Family, Making};
use crate::dataset::output::{LineFile, RowCounts};
use crate::dataset::promise::Promised;
use crate::dataset::write::json::{AsciiMode, dumps};
use crate::model::{FrameworkId, RawJson, SignatureId, exact_id};
use crate::store::{Store, StoreError};

pub(crate) use self::common_features::CommonFeatures;
pub(crate) use self::common_features::SignatureFields;
use self::common_features::{Equality, SignatureFieldsBuilder};
use self::detailed::detailed;
pub(crate) use self::frameworks::SignatureFrameworks;
pub(crate) use self::headers::{Header, SignatureHeader, SignatureHeaders};

/// The signatures' metadata.
#[derive(Debug)]
pub(crate) struct SignatureTable {
    pub(crate) frameworks: SignatureFrameworks,
    /// The fields for [common features](common_features), for the job index, which frees them when it is written; `None` unless
    /// it needs them.
    fields: Mutex<Option<SignatureFields>>,
}

impl SignatureTable {
    /// Takes the fields; the second time there are none.
    pub(crate) fn take_fields(&self) -> Option<SignatureFields> {
        self.fields.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

pub(crate) struct SignatureRecords;

impl Family for SignatureRecords {
    type Value = SignatureTable;

    fn start(making: &mut Making<'_, '_>) -> Result<Promised<SignatureTable>, DatasetError> {
        let mut file = making.context.line_file(Artifact::AllSignatures)?;
        let mut detailed_file = making.context.line_file(Artifact::AllSignaturesDetailed)?;
        making.spawn(move |context| {
            let exclude = context.options().exclude_fields.iter().cloned();
            let equality = match context.options().semantics {
                Semantics::Reference => Equality::Python,
                Semantics::Corrected => Equality::Json,
            };
            let mut fields = context
                .wants(Artifact::SignaturesByJobDetailed)
                .then(|| SignatureFieldsBuilder::new(exclude, equality));
            let mut headers = detailed_file.is_some().then(|| SignatureHeaders::start(context.store)).transpose()?;
            let mut line = Vec::new();
            let mut append = |file: &mut LineFile, id: SignatureId, text: &str| {
                line.clear();
                dumps(text, &mut line, AsciiMode::Escape).map_err(|error| damaged(id, error.to_string()))?;
                line.push(b'\n');
                file.append_line(&line)
            };
            let frameworks = read_frameworks(context.store, |id, record, is_own| {
                context.means.check_interrupted()?;
                if let Some(fields) = fields.as_mut().filter(|_| is_own) {
                    fields.add(id, record).map_err(|error| damaged(id, error.to_string()))?;
                }
                if let Some(file) = &mut file {
                    append(file, id, record.as_str())?;
                }
                if let (Some(file), Some(headers)) = (&mut detailed_file, &mut headers) {
                    let text = detailed(record, &headers.next(id)?);
                    append(file, id, &text.map_err(|error| damaged(id, error.to_string()))?)?;
                }
                Ok(())
            })?;
            for file in [file, detailed_file].into_iter().flatten() {
                context.finish(file.written(), &RowCounts::new())?;
            }
            Ok(SignatureTable { frameworks, fields: Mutex::new(fields.map(SignatureFieldsBuilder::finish)) })
        })
    }
}

/// The framework of each signature in `store` with metadata, that is, whose record has its id; [`FrameworkId::NONE`] if the
/// record has no readable framework. Passes each record to `take` too, by id, and whether it has this id.
///
/// # Errors
/// [`DatasetError::Store`] if a record is missing or damaged, and errors of `take`.
pub(crate) fn read_frameworks(
    store: &Store,
    mut take: impl FnMut(SignatureId, &RawJson, bool) -> Result<(), DatasetError>,
) -> Result<SignatureFrameworks, DatasetError> {
    #[derive(Deserialize)]
    struct View<'a> {
        #[serde(borrow)]
        id: Option<&'a RawValue>,
        #[serde(borrow)]
        framework_id: Option<&'a RawValue>,
    }
    let ids = store.signature_ids()?;
    let mut frameworks = Vec::with_capacity(ids.len());
    for id in ids {
        let record = store.signature(id)?.ok_or_else(|| StoreError::MissingValue { key: format!("signature {id}") })?;
        let view: View<'_> = record.view().map_err(|error| damaged(id, error.to_string()))?;
        // A text is not an id or a framework, as in the scripts.
        let integer =
            |raw: Option<&RawValue>| raw.map(RawValue::get).filter(|raw| !raw.starts_with('"')).and_then(exact_id);
        let is_own = integer(view.id) == Some(id.0);
        if is_own {
            frameworks.push((id, integer(view.framework_id).map_or(FrameworkId::NONE, FrameworkId)));
        }
        take(id, &record, is_own)?;
    }
    Ok(SignatureFrameworks::of_sorted(frameworks))
}

fn damaged(id: SignatureId, reason: String) -> StoreError {
    StoreError::Damaged { tree: "records", key: format!("signature {id}"), reason }
}
