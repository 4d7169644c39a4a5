//! The statuses of alert summaries, as sheriffs set them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The status of an alert summary; the server sends its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AlertStatus {
    /// 0: nobody has looked at it.
    Untriaged,
    /// 1: the change came in with a merge, and is another summary's.
    Downstream,
    /// 2: another summary has its alerts.
    Reassigned,
    /// 3: a false alert.
    Invalid,
    /// 4
    Improvement,
    /// 5: of earlier years.
    Investigating,
    /// 6
    WontFix,
    /// 7
    Fixed,
    /// 8
    BackedOut,
    /// 9: a change of the machines.
    Infra,
}

impl AlertStatus {
    /// All statuses, by number.
    pub const ALL: [Self; 10] = [
        Self::Untriaged,
        Self::Downstream,
        Self::Reassigned,
        Self::Invalid,
        Self::Improvement,
        Self::Investigating,
        Self::WontFix,
        Self::Fixed,
        Self::BackedOut,
        Self::Infra,
    ];

    /// The status with a number; `None` for a number that the server of 2026 does not have.
    #[must_use]
    pub fn of(number: i64) -> Option<Self> {
        Self::ALL.get(usize::try_from(number).ok()?).copied()
    }

    /// The name in the configuration and in the dataset.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Untriaged => "untriaged",
            Self::Downstream => "downstream",
            Self::Reassigned => "reassigned",
            Self::Invalid => "invalid",
            Self::Improvement => "improvement",
            Self::Investigating => "investigating",
            Self::WontFix => "wontfix",
            Self::Fixed => "fixed",
            Self::BackedOut => "backedout",
            Self::Infra => "infra",
        }
    }

    /// True for those that the server leaves out with `hide_related_and_invalid`, as the older scripts ask.
    #[must_use]
    pub fn is_hidden(self) -> bool {
        matches!(self, Self::Downstream | Self::Reassigned | Self::Invalid)
    }
}

impl fmt::Display for AlertStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_has_its_number_and_its_name_in_files() {
        for (number, status) in (0..).zip(AlertStatus::ALL) {
            assert_eq!((AlertStatus::of(number), status as i64), (Some(status), number));
            assert_eq!(serde_json::to_string(&status).unwrap(), format!("\"{status}\""));
        }
        assert_eq!((AlertStatus::of(-1), AlertStatus::of(10)), (None, None));
    }
}
