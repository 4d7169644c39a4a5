//! The routes of the API.

use std::fmt;
use std::str::FromStr;

use crate::error::BehaviourError;

/// An endpoint of the API. Arrivals are counted, and faults configured, by endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Endpoint {
    /// `/api/performance/framework/`
    Framework,
    /// `/api/repository/`
    Repository,
    /// `/api/project/<repository>/performance/signatures/`
    Signatures,
    /// `/api/performance/summary/`
    Summary,
    /// `/api/performance/alertsummary/`, with or without an id
    AlertSummary,
    /// `/api/project/<repository>/jobs/`, with or without an id
    Jobs,
    /// `/api/project/<repository>/push/`, with or without an id
    Push,
    /// Reference data (`/api/optioncollectionhash/`, `/api/performance/tag/`, `/api/machineplatforms/`) and any other path.
    Other,
}

impl Endpoint {
    /// All endpoints.
    pub const ALL: [Self; 8] = [
        Self::Framework,
        Self::Repository,
        Self::Signatures,
        Self::Summary,
        Self::AlertSummary,
        Self::Jobs,
        Self::Push,
        Self::Other,
    ];

    /// The name in fault rules, in the arrival log and in counts.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Framework => "framework",
            Self::Repository => "repository",
            Self::Signatures => "signatures",
            Self::Summary => "summary",
            Self::AlertSummary => "alertsummary",
            Self::Jobs => "jobs",
            Self::Push => "push",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Endpoint {
    type Err = BehaviourError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|endpoint| endpoint.name() == text)
            .ok_or_else(|| BehaviourError::Endpoint { text: text.to_owned() })
    }
}

/// A parsed path. Names of repositories are not decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Route<'a> {
    Framework,
    Repository,
    Signatures { repository: &'a str },
    Summary,
    AlertSummary,
    AlertSummaryDetail { id: &'a str },
    OptionCollections,
    PerformanceTags,
    MachinePlatforms,
    Jobs { repository: &'a str },
    JobDetail { repository: &'a str, id: &'a str },
    Push { repository: &'a str },
    PushDetail { repository: &'a str, id: &'a str },
    Unknown,
}

impl<'a> Route<'a> {
    /// Parses a path as strictly as the server does: no redirect to a trailing slash, no merging of `//`.
    pub(crate) fn of(path: &'a str) -> Self {
        match path {
            "/api/performance/framework/" => return Self::Framework,
            "/api/repository/" => return Self::Repository,
            "/api/performance/summary/" => return Self::Summary,
            "/api/performance/alertsummary/" => return Self::AlertSummary,
            "/api/optioncollectionhash/" => return Self::OptionCollections,
            "/api/performance/tag/" => return Self::PerformanceTags,
            "/api/machineplatforms/" => return Self::MachinePlatforms,
            _ => {}
        }
        if let Some(id) = path.strip_prefix("/api/performance/alertsummary/").and_then(detail) {
            return Self::AlertSummaryDetail { id };
        }
        let Some((repository, rest)) = path.strip_prefix("/api/project/").and_then(|rest| rest.split_once('/')) else {
            return Self::Unknown;
        };
        if repository.is_empty() {
            return Self::Unknown;
        }
        match rest {
            "performance/signatures/" => Self::Signatures { repository },
            "jobs/" => Self::Jobs { repository },
            "push/" => Self::Push { repository },
            _ => match (rest.strip_prefix("jobs/").and_then(detail), rest.strip_prefix("push/").and_then(detail)) {
                (Some(id), _) => Self::JobDetail { repository, id },
                (_, Some(id)) => Self::PushDetail { repository, id },
                _ => Self::Unknown,
            },
        }
    }

    pub(crate) fn endpoint(self) -> Endpoint {
        match self {
            Self::Framework => Endpoint::Framework,
            Self::Repository => Endpoint::Repository,
            Self::Signatures { .. } => Endpoint::Signatures,
            Self::Summary => Endpoint::Summary,
            Self::AlertSummary | Self::AlertSummaryDetail { .. } => Endpoint::AlertSummary,
            Self::Jobs { .. } | Self::JobDetail { .. } => Endpoint::Jobs,
            Self::Push { .. } | Self::PushDetail { .. } => Endpoint::Push,
            Self::OptionCollections | Self::PerformanceTags | Self::MachinePlatforms | Self::Unknown => Endpoint::Other,
        }
    }
}

/// The id at the end of a path, without the slash after it.
fn detail(rest: &str) -> Option<&str> {
    rest.strip_suffix('/').filter(|id| !id.is_empty() && !id.contains('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_strict_about_slashes() {
        assert_eq!(Route::of("/api/performance/alertsummary"), Route::Unknown);
        assert_eq!(Route::of("/api//performance/framework/"), Route::Unknown);
        assert_eq!(Route::of("/api/project/autoland/jobs/"), Route::Jobs { repository: "autoland" });
        assert_eq!(Route::of("/api/project/autoland/jobs/7/"), Route::JobDetail { repository: "autoland", id: "7" });
        assert_eq!(Route::of("/api/project/autoland/jobs/7/text_log_errors/"), Route::Unknown);
        assert_eq!(Route::of("/api/project/autoland/push/7/"), Route::PushDetail { repository: "autoland", id: "7" });
        assert_eq!(Route::of("/api/performance/alertsummary/7/"), Route::AlertSummaryDetail { id: "7" });
        assert_eq!(Route::of("/api/performance/alertsummary/7"), Route::Unknown);
    }

    #[test]
    fn every_endpoint_is_read_back_from_its_name() {
        for endpoint in Endpoint::ALL {
            assert_eq!(endpoint.name().parse(), Ok(endpoint));
        }
    }
}
