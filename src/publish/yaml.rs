//! Texts in YAML.

/// A double-quoted scalar: JSON's escapes are YAML's.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
