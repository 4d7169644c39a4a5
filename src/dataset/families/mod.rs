//! The families: each makes the artifacts of one computation.

mod alert_versions;
pub(crate) mod alerts;
pub(crate) mod bisect;
pub(crate) mod busiest;
pub(crate) mod coverage;
pub(crate) mod durations;
pub(crate) mod groups;
mod job_index;
mod jobs_by_signature;
mod machines;
pub(crate) mod relabel;
pub(crate) mod replicates;
mod signatures;
pub mod tables;

use super::catalogue::{Artifact, with_catalogue};
use super::error::DatasetError;
use super::family::{Family, Making};
use crate::config::Config;
use crate::store::CrawlIdentity;

macro_rules! dispatch_artifacts {
    ($($module:ident::$family:ident {
        $($(#[$doc:meta])* $variant:ident = $file:literal, version $version:literal, from [$($input:ident),*];)*
    })*) => {
        /// Starts the family of `artifact`, at most once.
        pub(super) fn start(artifact: Artifact, making: &mut Making<'_, '_>) -> Result<(), DatasetError> {
            match artifact {
                $($(Artifact::$variant)|* => making.value_of::<$module::$family>().map(drop),)*
            }
        }

        /// See [`Family::options`].
        pub(super) fn options(
            artifact: Artifact,
            config: &Config,
            identity: &CrawlIdentity,
        ) -> Vec<(&'static str, String)> {
            match artifact {
                $($(Artifact::$variant)|* => $module::$family::options(artifact, config, identity),)*
            }
        }
    };
}
with_catalogue!(dispatch_artifacts);
