//! `scope.alert_statuses`: which alert summaries are fetched beside those that the older scripts fetch.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::model::{AlertStatus, did_you_mean};

/// The statuses that are fetched although the older scripts leave them out: some of downstream, reassigned and invalid.
/// All other statuses are always fetched, since the artifacts of the scripts need them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Given", into = "BTreeSet<AlertStatus>")]
pub struct AlertStatuses(BTreeSet<AlertStatus>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Given {
    Word(String),
    Names(Vec<String>),
}

impl TryFrom<Given> for AlertStatuses {
    type Error = String;

    fn try_from(given: Given) -> Result<Self, String> {
        let names = match given {
            Given::Word(word) => match word.as_str() {
                "default" => return Ok(Self::default()),
                "all" => return Ok(Self(AlertStatus::ALL.into_iter().filter(|status| status.is_hidden()).collect())),
                _ => vec![word],
            },
            Given::Names(names) => names,
        };
        let statuses = names.iter().map(|name| named(name)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self(statuses.into_iter().filter(|status| status.is_hidden()).collect()))
    }
}

impl From<AlertStatuses> for BTreeSet<AlertStatus> {
    fn from(statuses: AlertStatuses) -> Self {
        statuses.0
    }
}

fn named(name: &str) -> Result<AlertStatus, String> {
    let found = AlertStatus::ALL.into_iter().find(|status| status.name() == name);
    found.ok_or_else(|| {
        let names: Vec<&str> = AlertStatus::ALL.iter().map(|status| status.name()).collect();
        format!(
            "`{name}` is not the status of an alert summary; give \"default\", \"all\" or a list of {}{}",
            names.join(", "),
            did_you_mean(name, names.iter().copied())
        )
    })
}

impl AlertStatuses {
    /// True if no status is added to those of the older scripts.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.0.is_empty()
    }

    /// True if `other` has no status that `self` lacks.
    #[must_use]
    pub fn includes(&self, other: &Self) -> bool {
        other.0.is_subset(&self.0)
    }

    /// True if an alert summary with this status belongs to the dataset; unknown and missing statuses do.
    #[must_use]
    pub fn has(&self, status: Option<i64>) -> bool {
        let hidden = status.and_then(AlertStatus::of).filter(|status| status.is_hidden());
        hidden.is_none_or(|status| self.0.contains(&status))
    }
}

impl fmt::Display for AlertStatuses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_default() {
            return f.write_str("default");
        }
        let names: Vec<&str> = self.0.iter().map(|status| status.name()).collect();
        write!(f, "default and {}", names.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<AlertStatuses, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn names_add_to_the_default_and_come_back() {
        let all = read("\"all\"").unwrap();
        assert_eq!(all.to_string(), "default and downstream, reassigned, invalid");
        assert_eq!(read(&serde_json::to_string(&all).unwrap()).unwrap(), all);
        let invalid = read("[\"fixed\", \"invalid\"]").unwrap();
        assert_eq!(invalid.to_string(), "default and invalid");
        assert_eq!(read("\"invalid\"").unwrap(), invalid);
        assert!(all.includes(&invalid) && !invalid.includes(&all) && invalid.includes(&AlertStatuses::default()));
        let kept = |statuses: &AlertStatuses| (0..11).filter(|number| statuses.has(Some(*number))).collect::<Vec<_>>();
        assert_eq!(kept(&AlertStatuses::default()), [0, 4, 5, 6, 7, 8, 9, 10]);
        assert_eq!(kept(&invalid), [0, 3, 4, 5, 6, 7, 8, 9, 10]);
        assert!(AlertStatuses::default().has(None) && read("[\"backedout\"]").unwrap().is_default());
    }

    #[test]
    fn an_unknown_status_is_refused_with_the_nearest() {
        let error = read("[\"inavlid\"]").unwrap_err();
        assert!(error.contains("`inavlid`") && error.contains("did you mean `invalid`?"), "{error}");
    }
}
