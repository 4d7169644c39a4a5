//! A JSON value as the server's text.

use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// One JSON value, verbatim: unknown fields, key order and the text of every number survive.
///
/// It is always valid JSON, since the constructors check it.
#[derive(Clone, PartialEq, Eq)]
pub struct RawJson(Box<str>);

impl RawJson {
    /// Checks that `text` is one JSON value, and copies it.
    ///
    /// # Errors
    /// `serde_json`'s, when `text` is not exactly one JSON value.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let raw: &RawValue = serde_json::from_str(text)?;
        Ok(Self(raw.get().into()))
    }

    /// Of a text that is known to be one JSON value.
    pub(super) fn checked(text: &str) -> Self {
        Self(text.into())
    }

    /// The unchanged text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads the fields of `T` from the text, and ignores others.
    ///
    /// # Errors
    /// `serde_json`'s, when the text does not match `T`.
    pub fn view<'a, T: Deserialize<'a>>(&'a self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.0)
    }
}

impl fmt::Debug for RawJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<&RawValue> for RawJson {
    fn from(raw: &RawValue) -> Self {
        Self(raw.get().into())
    }
}

impl<'de> Deserialize<'de> for RawJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw: Box<RawValue> = Deserialize::deserialize(deserializer)?;
        Ok(Self(Box::<str>::from(raw)))
    }
}

impl Serialize for RawJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// The text in a field of a record. A field that is absent or has another type gives `None`.
pub(crate) fn text_of(field: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(field?.get()).ok()
}

/// The entries of an object in their order, with values as text.
#[derive(Clone, Debug)]
pub struct RawEntries<'a>(pub Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for RawEntries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;
        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = RawEntries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(RawEntries(entries))
            }
        }
        deserializer.deserialize_map(EntriesVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_text_key_order_and_unknown_fields_survive() {
        let text = r#"{"z":1e+16,"a":4.36e-05,"new":[3.0,-0.0],"u":"\u2028é"}"#;
        assert_eq!(RawJson::parse(text).unwrap().as_str(), text);
        let through: RawJson = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&through).unwrap(), text);
    }

    #[test]
    fn two_values_or_half_a_value_are_refused() {
        assert!(RawJson::parse("1 2").is_err());
        assert!(RawJson::parse("{\"a\":").is_err());
    }
}
