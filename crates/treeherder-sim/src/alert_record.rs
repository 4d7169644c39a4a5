//! The record of an alert summary, with the fields that lists filter and sort by.

use serde::Deserialize;

use crate::dataset::AlertHead;
use crate::json_text::compact;
use crate::moment;

/// The record of an alert summary.
#[derive(Clone, Debug)]
pub(crate) struct AlertRecord {
    pub(crate) head: AlertHead,
    /// Seconds.
    pub(crate) push_timestamp: i64,
    pub(crate) text: String,
}

impl AlertRecord {
    /// Reads the JSON of an alert summary. An unknown repository gets the id 0.
    ///
    /// # Errors
    /// The text is not a JSON object, or one of the fields of `Wire` is missing.
    pub(crate) fn read(text: &str, repository_id: impl FnOnce(&str) -> Option<u64>) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Wire {
            id: u64,
            created: String,
            push_timestamp: i64,
            status: u64,
            framework: u64,
            repository: String,
        }
        let wire: Wire = serde_json::from_str(text)?;
        let created = moment::parse(&wire.created).ok_or_else(|| {
            <serde_json::Error as serde::de::Error>::custom(format_args!("\"{}\" is not a time", wire.created))
        })?;
        let head = AlertHead {
            id: wire.id,
            created,
            status: wire.status,
            framework: wire.framework,
            repository_id: repository_id(&wire.repository).unwrap_or(0),
        };
        Ok(Self { head, push_timestamp: wire.push_timestamp, text: compact(text) })
    }
}
