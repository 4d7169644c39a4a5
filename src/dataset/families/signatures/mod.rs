//! The signature records: `all_signatures.jsonl`, and the metadata that other families need.
//!
//! Value: [`SignatureTable`].

mod common_features;

use std::collections::HashMap;

use serde::Deserialize;

use crate::dataset::catalogue::Artifact;
use crate::dataset::error::DatasetError;
use crate::dataset::family::{Family, Making};
use crate::dataset::output::RowCounts;
use crate::dataset::promise::Promised;
use crate::dataset::write::json::{AsciiMode, dumps};
use crate::model::{FrameworkId, RawJson, SignatureId};
use crate::store::{Store, StoreError};

pub(crate) use self::common_features::CommonFeatures;
pub(crate) use self::common_features::SignatureFields;
use self::common_features::SignatureFieldsBuilder;

/// The signatures' metadata.
#[derive(Debug)]
pub(crate) struct SignatureTable {
    pub(crate) frameworks: HashMap<SignatureId, FrameworkId>,
    /// The fields for [common features](common_features); `None` unless the job index needs them.
    pub(crate) fields: Option<SignatureFields>,
}

pub(crate) struct SignatureRecords;

impl Family for SignatureRecords {
    type Value = SignatureTable;

    fn start(making: &mut Making<'_, '_>) -> Result<Promised<SignatureTable>, DatasetError> {
        let mut file = making.context.line_file(Artifact::AllSignatures)?;
        making.spawn(move |context| {
            let exclude = context.options().exclude_fields.iter().cloned();
            let mut fields =
                context.wants(Artifact::SignaturesByJobDetailed).then(|| SignatureFieldsBuilder::new(exclude));
            let mut line = Vec::new();
            let frameworks = read_frameworks(context.store, |id, record| {
                context.means.check_interrupted()?;
                if let Some(fields) = &mut fields {
                    fields.add(id, record).map_err(|error| damaged(id, error.to_string()))?;
                }
                if let Some(file) = &mut file {
                    line.clear();
                    dumps(record.as_str(), &mut line, AsciiMode::Escape)
                        .map_err(|error| damaged(id, error.to_string()))?;
                    line.push(b'\n');
                    file.append_line(&line)?;
                }
                Ok(())
            })?;
            if let Some(file) = file {
                context.finish(file.written(), &RowCounts::new())?;
            }
            Ok(SignatureTable { frameworks, fields: fields.map(SignatureFieldsBuilder::finish) })
        })
    }
}

/// The framework of each signature in `store`; passes each record to `take` too, by id.
///
/// # Errors
/// [`DatasetError::Store`] if a record is missing or damaged, and errors of `take`.
pub(crate) fn read_frameworks(
    store: &Store,
    mut take: impl FnMut(SignatureId, &RawJson) -> Result<(), DatasetError>,
) -> Result<HashMap<SignatureId, FrameworkId>, DatasetError> {
    #[derive(Deserialize)]
    struct View {
        framework_id: FrameworkId,
    }
    let mut frameworks = HashMap::new();
    for id in store.signature_ids()? {
        let record = store.signature(id)?.ok_or_else(|| StoreError::MissingValue { key: format!("signature {id}") })?;
        let view: View = record.view().map_err(|error| damaged(id, error.to_string()))?;
        frameworks.insert(id, view.framework_id);
        take(id, &record)?;
    }
    Ok(frameworks)
}

fn damaged(id: SignatureId, reason: String) -> StoreError {
    StoreError::Damaged { tree: "records", key: format!("signature {id}"), reason }
}
