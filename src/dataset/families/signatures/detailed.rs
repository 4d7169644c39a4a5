//! `all_signatures_detailed.jsonl`: the record of each signature, with additional fields from the header of its summary.

use serde_json::value::RawValue;

use super::headers::{Header, SignatureHeader};
use crate::model::{RawEntries, RawJson};

/// The JSON of a line: the record's fields as sent, the optional fields that it omits, the fields that only headers have,
/// and `in_scope`.
pub(super) fn detailed(record: &RawJson, found: &SignatureHeader) -> Result<String, serde_json::Error> {
    let RawEntries(listed) = record.view()?;
    let header: Option<Header<'_>> = found.text.as_ref().and_then(|header| header.view().ok());
    let mut line = String::from("{");
    let mut put = |key: &str, value: &str| -> Result<(), serde_json::Error> {
        if line.len() > 1 {
            line.push(',');
        }
        line.push_str(&serde_json::to_string(key)?);
        line.push(':');
        line.push_str(value);
        Ok(())
    };
    for (key, value) in &listed {
        put(key, value.get())?;
    }
    let is_listed = |key: &str| listed.iter().any(|(listed, _)| listed == key);
    let header = header.unwrap_or_default();
    let omitted = [
        ("has_subtests", header.has_subtests.map(|raw| raw.get().to_owned())),
        ("tags", header.tags().map(|tags| serde_json::to_string(&tags)).transpose()?),
        ("measurement_unit", header.measurement_unit.map(|raw| raw.get().to_owned())),
    ];
    for (key, value) in omitted {
        if let Some(value) = value.filter(|_| !is_listed(key)) {
            put(key, &value)?;
        }
    }
    let as_sent = |raw: Option<&RawValue>| raw.map_or_else(|| "null".to_owned(), |raw| raw.get().to_owned());
    let added = [
        ("option_name", serde_json::to_string(&header.option_name())?),
        ("parent_signature_id", serde_json::to_string(&header.parent_id())?),
        ("alert_threshold", as_sent(header.alert_threshold)),
        ("alert_change_type", as_sent(header.alert_change_type)),
        ("in_scope", found.is_in_scope.to_string()),
    ];
    for (key, value) in added {
        if !is_listed(key) {
            put(key, &value)?;
        }
    }
    line.push('}');
    Ok(line)
}
