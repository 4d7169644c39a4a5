//! The values of `[scope]`: names of frameworks, patterns, and lists of ids.

use serde::{Deserialize, Serialize};

/// A framework's name, or its id as text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "IdOrName")]
pub struct FrameworkName(String);

#[derive(Deserialize)]
#[serde(untagged)]
enum IdOrName {
    Id(u64),
    Name(String),
}

impl From<IdOrName> for FrameworkName {
    fn from(given: IdOrName) -> Self {
        match given {
            IdOrName::Id(id) => Self(id.to_string()),
            IdOrName::Name(name) => Self(name),
        }
    }
}

impl FrameworkName {
    /// The id, if it is one.
    #[must_use]
    pub fn id(&self) -> Option<u64> {
        self.0.parse().ok()
    }
}

impl AsRef<str> for FrameworkName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

/// A pattern with `*`, `?` and `[…]`, which must match the whole text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Glob(glob::Pattern);

impl TryFrom<String> for Glob {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let pattern = glob::Pattern::new(&text);
        pattern.map(Self).map_err(|error| format!("`{text}` is not a valid pattern: {}", error.msg))
    }
}

impl From<Glob> for String {
    fn from(glob: Glob) -> Self {
        glob.0.as_str().to_owned()
    }
}

impl AsRef<str> for Glob {
    fn as_ref(&self) -> &str {
        self.0.as_str()
    }
}

impl Glob {
    /// True if the whole of `text` matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        self.0.matches(text)
    }
}

/// Ids of signatures, ascending, each once. As text: ids and runs of ids, such as `5,7-9`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SignatureIds(Vec<u64>);

impl SignatureIds {
    /// The ids.
    #[must_use]
    pub fn as_slice(&self) -> &[u64] {
        &self.0
    }

    /// True for an id of the list.
    #[must_use]
    pub fn contains(&self, id: u64) -> bool {
        self.0.binary_search(&id).is_ok()
    }
}

impl FromIterator<u64> for SignatureIds {
    fn from_iter<T: IntoIterator<Item = u64>>(ids: T) -> Self {
        let mut ids: Vec<u64> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        Self(ids)
    }
}

impl From<SignatureIds> for String {
    fn from(ids: SignatureIds) -> Self {
        let runs = ids.0.chunk_by(|one, next| one.checked_add(1) == Some(*next));
        let texts: Vec<String> = runs
            .map(|run| match run {
                [first, .., last] => format!("{first}-{last}"),
                run => run.iter().map(u64::to_string).collect(),
            })
            .collect();
        texts.join(",")
    }
}

impl TryFrom<String> for SignatureIds {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let invalid = |part: &str| format!("`{part}` is not an id or a run of ids");
        let mut ids = Vec::new();
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let read = |text: &str| text.parse::<u64>().map_err(|_| invalid(part));
            ids.extend(read(first)?..=read(last)?);
        }
        Ok(ids.into_iter().collect())
    }
}
