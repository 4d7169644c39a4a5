//! The source of `all_commits.jsonl`: `clone:DIR`, `hgweb:URL` or `pushes`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// A source of the repository's commits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum CommitsFrom {
    /// A folder with a Mercurial or git clone.
    Clone(PathBuf),
    /// Address of a repository on an hgweb server, without a trailing slash.
    Hgweb(String),
    /// The push list of the Treeherder that is crawled.
    Pushes,
}

/// The text is not a source of commits.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "`{text}` {why}; give clone:DIR (a Mercurial or git clone), hgweb:URL (such as \
     hgweb:https://hg.mozilla.org/integration/autoland) or pushes (Treeherder's push list)"
)]
pub struct ParseCommitsFromError {
    text: String,
    why: &'static str,
}

impl FromStr for CommitsFrom {
    type Err = ParseCommitsFromError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let hides = text.contains('@') && text.starts_with("hgweb:");
        let shown = if hides { "hgweb:…" } else { text };
        let wrong = |why| ParseCommitsFromError { text: shown.to_owned(), why };
        match text.split_once(':') {
            None if text == "pushes" => Ok(Self::Pushes),
            Some(("clone", "")) => Err(wrong("lacks a folder")),
            Some(("clone", folder)) => Ok(Self::Clone(folder.into())),
            Some(("hgweb", address)) => {
                let url = url::Url::parse(address).map_err(|_| wrong("has an invalid address"))?;
                if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
                    return Err(wrong("needs an http or https address"));
                }
                if url.query().is_some() || url.fragment().is_some() {
                    return Err(wrong("has more than the address of a repository"));
                }
                if !url.username().is_empty() || url.password().is_some() {
                    return Err(wrong("has a user name or password, which would be stored in files"));
                }
                Ok(Self::Hgweb(url.as_str().trim_end_matches('/').to_owned()))
            }
            _ => Err(wrong("is not a source of commits")),
        }
    }
}

impl fmt::Display for CommitsFrom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clone(folder) => write!(f, "clone:{}", folder.display()),
            Self::Hgweb(url) => write!(f, "hgweb:{url}"),
            Self::Pushes => f.write_str("pushes"),
        }
    }
}

impl TryFrom<String> for CommitsFrom {
    type Error = ParseCommitsFromError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<CommitsFrom> for String {
    fn from(from: CommitsFrom) -> Self {
        from.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_sources_are_read_and_shown() {
        for text in ["clone:-odd dir:x", "hgweb:https://hg.mozilla.org/integration/autoland", "pushes"] {
            assert_eq!(text.parse::<CommitsFrom>().unwrap().to_string(), text);
        }
        let slashed: CommitsFrom = "hgweb:http://127.0.0.1:8000/".parse().unwrap();
        assert_eq!(slashed, CommitsFrom::Hgweb("http://127.0.0.1:8000".to_owned()));
    }

    #[test]
    fn anything_else_is_refused_with_the_three_forms() {
        for text in ["", "hg", "clone:", "hgweb:", "hgweb:hg.mozilla.org", "hgweb:file:///x", "hgweb:http://h/?a=b"] {
            let said = text.parse::<CommitsFrom>().unwrap_err().to_string();
            assert!(said.contains("clone:DIR") && said.contains("hgweb:URL") && said.contains("pushes"), "{said}");
        }
        let said = "hgweb:http://me:secret@h/".parse::<CommitsFrom>().unwrap_err().to_string();
        assert!(!said.contains("secret"), "{said}");
    }
}
