//! The full record of a simulator: everything that was there at some time until now, including what was gone before this
//! simulator started.

use std::sync::Arc;

use crate::alert_timeline::AlertTimeline;
use crate::dataset::Window;
use crate::handle::SimulatorHandle;
use crate::history::AsOf;
use crate::server::Server;

/// Everything that was there at some time until now, including what was gone before this simulator started. Compare it with
/// the times at which a client looked.
///
/// The fields of a datum are those with which it appeared. All times are seconds since the epoch unless a field says
/// otherwise.
///
/// Neither [`delete_job`](SimulatorHandle::delete_job) nor [`after`](SimulatorHandle::after) changes it.
#[derive(Clone, Debug)]
pub struct FullRecord {
    server: Arc<Server>,
    now: i64,
}

/// A signature that was there at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenSignature {
    /// The id of its repository.
    pub repository: u64,
    /// Its id.
    pub id: u64,
    /// When its first datum appeared; `None` if it has no data: it is there from the start, or in a recording, from its
    /// `last_updated` on.
    pub appeared: Option<i64>,
    /// The first second at which it is gone, even if that is in the future.
    pub gone: Option<i64>,
    /// Its record in the list of signatures, as JSON.
    pub record: String,
}

/// A datum that was there at some time.
#[derive(Clone, Debug, PartialEq)]
pub struct SeenDatum {
    /// Its id.
    pub id: u64,
    /// Its value.
    pub value: f64,
    /// Its replicates, in the order in which they are served.
    pub replicates: Vec<f64>,
    /// Its push.
    pub push_id: u64,
    /// The head revision of the push.
    pub revision: String,
    /// Microseconds.
    pub push_timestamp: i64,
    /// Its job; `None` if the data set has none.
    pub job_id: Option<u64>,
    /// Of the job, microseconds; known if the job is.
    pub submit_time: Option<i64>,
    /// Of the job; known if the job is.
    pub machine_name: Option<String>,
    /// When it appeared.
    pub appeared: i64,
    /// The first second at which its job fields are null, even if that is in the future.
    pub job_expires: Option<i64>,
}

/// A version of an alert summary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlertVersion {
    /// The id of the summary.
    pub id: u64,
    /// The first second of this version.
    pub since: i64,
    /// Its record, as JSON; `None` once it is deleted.
    pub record: Option<String>,
}

impl SimulatorHandle {
    /// The full record until now, for tests that a client lost nothing.
    #[must_use]
    pub fn full_record(&self) -> FullRecord {
        FullRecord { server: self.server(), now: self.now() }
    }
}

impl FullRecord {
    /// The end of the record.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.now
    }

    /// Nothing that was there once is gone.
    fn as_of(&self) -> AsOf<'_> {
        AsOf { now: self.now, history: &self.server.world.history, keeps_jobs: true }
    }

    fn repositories(&self) -> impl Iterator<Item = u64> + '_ {
        self.server.world.dataset.repositories().iter().map(|repository| repository.id)
    }

    /// Visits the signatures, repository by repository, in no order.
    pub fn for_each_signature(&self, mut visit: impl FnMut(&SeenSignature)) {
        let (world, as_of) = (&self.server.world, self.as_of());
        for repository in self.repositories() {
            for rank in 0..world.dataset.num_signatures(repository) {
                let Some(head) = world.dataset.signature_head(repository, rank, &as_of) else { continue };
                let mut appeared = None;
                world.dataset.visit_data(repository, rank, &Window::ALL, &as_of, &mut |datum| {
                    appeared = Some(appeared.map_or(datum.life.appears, |before: i64| before.min(datum.life.appears)));
                });
                let gone = world.vanishing(head.id, head.parent_id);
                if gone <= appeared.unwrap_or(i64::MIN) {
                    continue;
                }
                let mut record = Vec::new();
                world.dataset.write_signature(repository, rank, &mut record);
                visit(&SeenSignature {
                    repository,
                    id: head.id,
                    appeared,
                    gone: (gone < i64::MAX).then_some(gone),
                    record: text(&record),
                });
            }
        }
    }

    /// Visits the data of a signature, in the order of the API.
    pub fn for_each_datum(&self, repository: u64, signature: u64, mut visit: impl FnMut(&SeenDatum)) {
        let (world, as_of) = (&self.server.world, self.as_of());
        let Some(rank) = world.dataset.find_signature(repository, signature) else { return };
        let Some(head) = world.dataset.signature_head(repository, rank, &as_of) else { return };
        let gone = world.vanishing(head.id, head.parent_id);
        world.dataset.visit_data(repository, rank, &Window::ALL, &as_of, &mut |datum| {
            if datum.life.appears < gone {
                visit(&SeenDatum {
                    id: datum.id,
                    value: datum.value,
                    replicates: world.dataset.replicates(datum),
                    push_id: datum.push_id,
                    revision: datum.revision.to_owned(),
                    push_timestamp: datum.push_timestamp,
                    job_id: datum.job_id,
                    submit_time: datum.submit_time,
                    machine_name: datum.machine_name.map(str::to_owned),
                    appeared: datum.life.appears,
                    job_expires: (datum.life.expires < i64::MAX).then_some(datum.life.expires),
                });
            }
        });
    }

    /// Visits the versions of all alert summaries, newest summary first, each from its first version on.
    pub fn for_each_alert_version(&self, mut visit: impl FnMut(&AlertVersion)) {
        let (dataset, as_of) = (&*self.server.world.dataset, self.as_of());
        for rank in 0..dataset.num_alerts() {
            let id = dataset.alert_head(rank).id;
            let mut before = None;
            for since in (AlertTimeline { dataset, as_of }).change_times(rank) {
                if since > self.now {
                    break;
                }
                let timeline = AlertTimeline { dataset, as_of: AsOf { now: since, ..as_of } };
                let record = timeline.head(rank).map(|_| {
                    let mut record = Vec::new();
                    timeline.write(rank, &mut record);
                    text(&record)
                });
                if before.as_ref() != Some(&record) {
                    visit(&AlertVersion { id, since, record: record.clone() });
                }
                before = Some(record);
            }
        }
    }
}

fn text(json: &[u8]) -> String {
    String::from_utf8_lossy(json).into_owned()
}
