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
            alert_threshold: Option<&'a RawValue>,
            #[serde(borrow)]
            platform: Option<&'a RawValue>,
        }
        let view: View<'_> = header.and_then(|header| header.view().ok()).unwrap_or_default();
        let is_number = |text: &&str| text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
        let threshold = view.alert_threshold.map(RawValue::get).filter(is_number).unwrap_or(DEFAULT_THRESHOLD);
        Self { threshold: threshold.to_owned(), platform: text_of(view.platform) }
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

    #[test]
    fn a_missing_threshold_is_the_integer_2_and_a_set_one_keeps_its_text() {
        let of = |text: &str| {
            let info = SignatureInfo::of(Some(&RawJson::parse(text).unwrap()));
            (info.threshold, info.platform)
        };
        assert_eq!(of("{\"alert_threshold\":null,\"platform\":7}"), ("2".to_owned(), None));
        assert_eq!(of("{\"alert_threshold\":2.0,\"platform\":\"a\"}"), ("2.0".to_owned(), Some("a".to_owned())));
        assert_eq!(SignatureInfo::of(None).threshold, "2");
    }
}
