//! The `[publish]` table: how a published dataset describes itself.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The `[publish]` table. What is not set is left out of the files, or said in general words.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PublishConfig {
    /// Unset: made from the repository.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<String>,
    /// A paragraph. Unset: made from the repository and the window.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Unset: the files name no license.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<License>,
    /// Unset: the citation names the dataset's authors collectively.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub authors: Vec<Author>,
    /// Such as `10.5281/zenodo.1234567`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doi: Option<Doi>,
    /// Page of the dataset.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<PageUrl>,
}

/// The licenses for data and for what comes with them, by their SPDX names. Another one is given by its address.
const LICENSES: [&str; 17] = [
    "CC0-1.0",
    "CC-BY-4.0",
    "CC-BY-SA-4.0",
    "CC-BY-NC-4.0",
    "CC-BY-NC-SA-4.0",
    "CC-BY-ND-4.0",
    "CC-BY-NC-ND-4.0",
    "ODC-By-1.0",
    "ODbL-1.0",
    "PDDL-1.0",
    "CDLA-Permissive-1.0",
    "CDLA-Permissive-2.0",
    "CDLA-Sharing-1.0",
    "MPL-2.0",
    "MIT",
    "Apache-2.0",
    "BSD-3-Clause",
];

/// The license of a dataset.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum License {
    /// A license with an SPDX name.
    Spdx(String),
    /// The address of another one.
    Other(PageUrl),
}

impl License {
    /// The address of its text.
    #[must_use]
    pub fn url(&self) -> String {
        match self {
            Self::Spdx(name) => format!("https://spdx.org/licenses/{name}.html"),
            Self::Other(url) => url.0.clone(),
        }
    }
}

/// The text does not describe what its key is for.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PublishTextError {
    /// No license.
    #[error("unknown license `{0}`; give the address of its text, or one of {known}", known = LICENSES.join(", "))]
    License(String),
    /// No author.
    #[error(
        "invalid author `{0}`; write \"Family, Given\" for a person and \"Name\" for a group, with an ORCID in angle \
         brackets if there is one: \"Lovelace, Ada <0000-0002-1825-0097>\""
    )]
    Author(String),
    /// No DOI.
    #[error("invalid DOI `{0}`; write it without an address before it, such as 10.5281/zenodo.1234567")]
    Doi(String),
    /// No address.
    #[error("`{0}` is not an http or https address")]
    Url(String),
}

impl TryFrom<String> for License {
    type Error = PublishTextError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if let Some(name) = LICENSES.into_iter().find(|name| name.eq_ignore_ascii_case(&text)) {
            return Ok(Self::Spdx(name.to_owned()));
        }
        PageUrl::try_from(text).map(Self::Other).map_err(|error| match error {
            PublishTextError::Url(text) => PublishTextError::License(text),
            other => other,
        })
    }
}

impl From<License> for String {
    fn from(license: License) -> Self {
        match license {
            License::Spdx(name) => name,
            License::Other(url) => url.0,
        }
    }
}

/// An http or https address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PageUrl(String);

impl TryFrom<String> for PageUrl {
    type Error = PublishTextError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_page = |url: &url::Url| matches!(url.scheme(), "http" | "https") && url.has_host();
        match url::Url::parse(&text).ok().filter(is_page) {
            Some(url) if !text.contains(char::is_whitespace) => Ok(Self(url.into())),
            _ => Err(PublishTextError::Url(text)),
        }
    }
}

impl From<PageUrl> for String {
    fn from(url: PageUrl) -> Self {
        url.0
    }
}

impl fmt::Display for PageUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A DOI, without an address before it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Doi(String);

impl TryFrom<String> for Doi {
    type Error = PublishTextError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b":/_;-.()[]".contains(&byte);
        let (registrant, name) = text.strip_prefix("10.").and_then(|rest| rest.split_once('/')).unwrap_or_default();
        let digits = registrant.split('.').next().unwrap_or_default();
        let parts =
            registrant.split('.').all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
        if parts && (4..=9).contains(&digits.len()) && !name.is_empty() && name.bytes().all(is_of_name) {
            return Ok(Self(text));
        }
        Err(PublishTextError::Doi(text))
    }
}

impl From<Doi> for String {
    fn from(doi: Doi) -> Self {
        doi.0
    }
}

impl fmt::Display for Doi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An author of a dataset: a person with family and given name, or a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Author {
    /// The name of a group, or the family name of a person.
    pub name: String,
    /// The given names; `None` for a group.
    pub given: Option<String>,
    /// Sixteen digits, the last of which may be `X`, in groups of four.
    pub orcid: Option<String>,
}

impl Author {
    /// The name as one reads it.
    #[must_use]
    pub fn full_name(&self) -> String {
        self.given.as_ref().map_or_else(|| self.name.clone(), |given| format!("{given} {}", self.name))
    }

    /// The address of the ORCID.
    #[must_use]
    pub fn orcid_url(&self) -> Option<String> {
        self.orcid.as_ref().map(|orcid| format!("https://orcid.org/{orcid}"))
    }
}

impl FromStr for Author {
    type Err = PublishTextError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || PublishTextError::Author(text.to_owned());
        let (names, orcid) = match text.trim().strip_suffix('>') {
            Some(text) => text.split_once('<').map(|(names, orcid)| (names, Some(orcid))).ok_or_else(wrong)?,
            None => (text, None),
        };
        let orcid = orcid.map(|orcid| orcid.trim().trim_start_matches("https://orcid.org/").to_owned());
        if orcid.as_deref().is_some_and(|orcid| !is_orcid(orcid)) || names.contains(['<', '>', '"', '\n']) {
            return Err(wrong());
        }
        let (name, given) = match names.split_once(',') {
            Some((name, given)) => (name.trim(), Some(given.trim())),
            None => (names.trim(), None),
        };
        if name.is_empty() || given.is_some_and(|given| given.is_empty() || given.contains(',')) {
            return Err(wrong());
        }
        Ok(Self { name: name.to_owned(), given: given.map(str::to_owned), orcid })
    }
}

fn is_orcid(text: &str) -> bool {
    let groups: Vec<&str> = text.split('-').collect();
    let digits = text.replace('-', "");
    let (first, last) = digits.split_at(digits.len().saturating_sub(1));
    groups.len() == 4
        && groups.iter().all(|group| group.len() == 4)
        && first.bytes().all(|byte| byte.is_ascii_digit())
        && last.bytes().all(|byte| byte.is_ascii_digit() || byte == b'X')
}

impl TryFrom<String> for Author {
    type Error = PublishTextError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Author> for String {
    fn from(author: Author) -> Self {
        let orcid = author.orcid.map(|orcid| format!(" <{orcid}>")).unwrap_or_default();
        author.given.map_or(author.name.clone(), |given| format!("{}, {given}", author.name)) + &orcid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authors_are_persons_or_groups_with_or_without_an_orcid() {
        let ada: Author = "Lovelace, Ada <0000-0002-1825-0097>".parse().unwrap();
        assert_eq!(ada.full_name(), "Ada Lovelace");
        assert_eq!(ada.orcid_url().as_deref(), Some("https://orcid.org/0000-0002-1825-0097"));
        assert_eq!(String::from(ada), "Lovelace, Ada <0000-0002-1825-0097>");
        let group: Author = "The Perf Group".parse().unwrap();
        assert_eq!((group.full_name().as_str(), &group.given), ("The Perf Group", &None));
        for text in ["", "Lovelace,", ", Ada", "A, B, C", "Ada <1234>", "Ada 0000-0002-1825-0097>"] {
            assert!(text.parse::<Author>().is_err(), "{text}");
        }
    }

    #[test]
    fn licenses_dois_and_addresses_are_checked_when_they_are_read() {
        let license = |text: &str| License::try_from(text.to_owned());
        assert_eq!(license("cc-by-4.0"), Ok(License::Spdx("CC-BY-4.0".to_owned())));
        assert_eq!(license("https://example.org/terms").unwrap().url(), "https://example.org/terms");
        assert!(license("CC-BY-5.0").unwrap_err().to_string().contains("CC-BY-4.0"));
        let doi = |text: &str| Doi::try_from(text.to_owned());
        assert!(doi("10.5281/zenodo.1234567").is_ok());
        for text in ["https://doi.org/10.5281/zenodo.1", "10.5281", "10.52/x", "10.5281/a b", "10./x"] {
            assert!(doi(text).is_err(), "{text}");
        }
        assert!(PageUrl::try_from("ftp://example.org".to_owned()).is_err());
    }
}
