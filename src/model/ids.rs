//! The API's identifiers: integers of distinct types.

use std::fmt;

use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A performance signature: one test, on one platform, with one set of options.
    SignatureId
}
id! {
    /// A datum: one measured value of one signature.
    DatumId
}
id! {
    /// A job: one task that ran on one machine.
    JobId
}
id! {
    /// A push: commits that landed together.
    PushId
}
id! {
    /// An alert summary: the alerts that one push raised in one framework.
    AlertSummaryId
}
id! {
    /// A test framework: talos, browsertime, …
    FrameworkId
}

impl FrameworkId {
    /// Of a signature whose record has no readable framework; the server counts from 1.
    pub const NONE: Self = Self(0);
}
