//! A signature's properties in the header of its data.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::dataset::write::json::{AsciiMode, write_str};
use crate::model::{RawJson, text_of};

/// The threshold of a signature without its own: the server's default, as the scripts write it.
const DEFAULT_THRESHOLD: &str = "2";

/// The properties in the header of a signature's data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SignatureInfo {
    lower_is_better: Option<bool>,
    /// A JSON number.
    pub(super) threshold: String,
    pub(super) platform: Option<String>,
}

impl SignatureInfo {
    /// Those of `header`; the defaults without one, and for a field of another type.
    pub(super) fn of(header: Option<&RawJson>) -> Self {
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct View<'a> {
            #[serde(borrow)]
            lower_is_better: Option<&'a RawValue>,
            #[serde(borrow)]
            alert_threshold: Option<&'a RawValue>,
            #[serde(borrow)]
            platform: Option<&'a RawValue>,
        }
        let view: View<'_> = header.and_then(|header| header.view().ok()).unwrap_or_default();
        let is_number = |text: &&str| text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
        let threshold = view.alert_threshold.map(RawValue::get).filter(is_number).unwrap_or(DEFAULT_THRESHOLD);
        Self {
            lower_is_better: view.lower_is_better.and_then(|raw| serde_json::from_str(raw.get()).ok()),
            threshold: threshold.to_owned(),
            platform: text_of(view.platform),
        }
    }

    /// Appends the last three members of the row of a signature.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let lower_is_better = self.lower_is_better.map_or_else(|| "null".to_owned(), |flag| flag.to_string());
        let threshold = &self.threshold;
        let text = format!("\"lower_is_better\": {lower_is_better}, \"alert_threshold\": {threshold}, \"platform\": ");
        out.extend_from_slice(text.as_bytes());
        write_optional_str(self.platform.as_deref(), out);
    }
}

/// Appends a string or `null`.
pub(super) fn write_optional_str(text: Option<&str>, out: &mut Vec<u8>) {
    match text {
        Some(text) => write_str(text, out, AsciiMode::Escape),
        None => out.extend_from_slice(b"null"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(text: &str) -> SignatureInfo {
        SignatureInfo::of(Some(&RawJson::parse(text).unwrap()))
    }

    fn written(info: &SignatureInfo) -> String {
        let mut out = Vec::new();
        info.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_missing_threshold_is_the_integer_2_and_a_set_one_keeps_its_text() {
        let defaults = "\"lower_is_better\": null, \"alert_threshold\": 2, \"platform\": null";
        assert_eq!(written(&SignatureInfo::of(None)), defaults);
        assert_eq!(written(&header("{\"alert_threshold\":null,\"platform\":7,\"lower_is_better\":\"x\"}")), defaults);
        assert_eq!(
            written(&header("{\"lower_is_better\":false,\"alert_threshold\":2.0,\"platform\":\"a\u{e9}\"}")),
            "\"lower_is_better\": false, \"alert_threshold\": 2.0, \"platform\": \"a\\u00e9\""
        );
    }
}
