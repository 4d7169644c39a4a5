//! The visible side of a run, from its first request to its last artifact.

use std::sync::Arc;

use crate::config::Config;
use crate::model::Kind;
use crate::observe::{Counters, Progress, RunFile};
use crate::store::Store;

/// Progress bars or lines, and the file that `status` reads.
pub(super) struct Display {
    run_file: RunFile,
    _progress: Option<Progress>,
}

impl Display {
    pub(super) fn start(store: &Store, config: &Config, counters: &Arc<Counters>) -> Self {
        let has_replicates = store.identity().ok().flatten().is_some_and(|identity| identity.scope.replicates);
        let kinds: &'static [Kind] = if has_replicates { &Kind::ALL } else { Kind::WITHOUT_REPLICATES };
        Self {
            run_file: RunFile::start(Arc::clone(counters), store.path()),
            _progress: Progress::start(Arc::clone(counters), config.log.progress, kinds),
        }
    }

    /// `interrupted` when work is left.
    pub(super) fn finish(self, interrupted: bool) {
        self.run_file.finish(interrupted);
    }
}
