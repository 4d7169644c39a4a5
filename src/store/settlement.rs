//! From a reply to a settlement: the records to store, the requests found in them, and the outcome.
//!
//! This runs in the fetchers, many at a time, so that the single writer only has to write.

use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::columns::{DATA_PER_CHUNK, EncodedChunk, encode};
use super::key;
use super::listed_part::ListedPart;
use super::merge::Series;
use super::value::{FramedRecord, Provenance, Settled, StoredPage, seal_json};
use super::{Outcome, Pending, Store, StoreError, frame};
use crate::actor::Room;
use crate::model::{
    AlertSummary, AlertSummaryId, DatumRecord, FIRST_HARVEST, Job, JobId, Kind, OddRecord, PushId, RawJson, Request,
    Revision, Seen, Signature, SignatureId, Sorted, Summary, Timestamp, Window, sampled_jobs,
};

/// An answer, ready for writing.
#[derive(Debug, Default)]
pub struct Settlement {
    pub(super) settled: Vec<(Request, Settled)>,
    pub(super) records: Vec<FramedRecord>,
    /// More records: those of a list of signatures.
    pub(super) listed: Vec<ListedPart>,
    pub(super) signature_ids: Vec<SignatureId>,
    /// Pushes that the columns refer to for their revisions.
    pub(super) pushes: Vec<(PushId, Revision)>,
    pub(super) discovered: Vec<Pending>,
    /// Records that were corrected or set aside, with the request that they answer.
    pub(super) odd: Vec<(Request, OddRecord)>,
    pub(super) provenance: Provenance,
    /// The answer's part of the memory of all answers in flight.
    pub(super) room: Room,
}

/// The job of each datum, with its age.
fn aged_jobs(data: &[DatumRecord]) -> Vec<Option<(JobId, Timestamp)>> {
    let aged = |record: &DatumRecord| {
        let submitted = record.submit_time().unwrap_or_else(|| record.push_timestamp());
        record.job_id().map(|id| (id, submitted))
    };
    data.iter().map(aged).collect()
}

/// Hash of a request's key and of the content that settles it.
struct Digest(Xxh3);

impl Digest {
    fn of(request: &Request) -> Self {
        let mut hash = Xxh3::new();
        hash.update(&request.key());
        Self(hash)
    }

    fn add(&mut self, content: &[u8]) {
        self.0.update(&(content.len() as u64).to_le_bytes());
        self.0.update(content);
    }

    fn finish(&self) -> u128 {
        self.0.digest128()
    }
}

impl Settlement {
    /// A settlement without records: empty, gone or skipped.
    #[must_use]
    pub fn without_records(request: Request, outcome: Outcome) -> Self {
        let mut digest = Digest::of(&request);
        digest.add(&[outcome.to_byte()]);
        let digest = match request {
            Request::Summary { .. } => 0, // see `of_summary`
            _ => digest.finish(),
        };
        Self { settled: vec![(request, settled_as(request, outcome, 0, digest))], ..Self::default() }
    }

    /// Requests for the frontier, without an answer.
    #[must_use]
    pub fn discovery(discovered: Vec<Pending>) -> Self {
        Self { discovered, ..Self::default() }
    }

    /// Adds the answer's origin.
    #[must_use]
    pub fn with_provenance(mut self, provenance: Provenance) -> Self {
        self.provenance = provenance;
        self
    }

    /// Keeps `room` until the answer is stored.
    #[must_use]
    pub(crate) fn with_room(mut self, room: Room) -> Self {
        self.room = room;
        self
    }

    /// Adds requests that follow from the answer.
    #[must_use]
    pub fn with_discovered(mut self, discovered: impl IntoIterator<Item = Pending>) -> Self {
        self.discovered.extend(discovered);
        self
    }

    /// Joins two settlements of the same answer.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.settled.extend(other.settled);
        self.records.extend(other.records);
        self.listed.extend(other.listed);
        self.signature_ids.extend(other.signature_ids);
        self.pushes.extend(other.pushes);
        self.discovered.extend(other.discovered);
        self.odd.extend(other.odd);
        self
    }

    /// True when storing it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.settled.is_empty() && self.discovered.is_empty() && self.records.is_empty() && self.listed.is_empty()
    }

    /// The requests that this settles.
    pub fn requests(&self) -> impl Iterator<Item = Request> {
        self.settled.iter().map(|(request, _)| *request)
    }

    /// Number of requests of a kind that this adds to the frontier.
    #[must_use]
    pub fn num_discovered(&self, kind: Kind) -> u64 {
        self.discovered.iter().filter(|pending| pending.request.kind() == kind).count() as u64
    }

    fn settle(&mut self, request: Request, outcome: Outcome, num_records: usize, digest: &Digest) {
        self.settled.push((request, settled_as(request, outcome, num_records, digest.finish())));
    }

    /// A page of alert summaries.
    ///
    /// # Errors
    /// [`StoreError::Encode`].
    pub fn of_alert_page(request: Request, count: u64, records: Sorted<AlertSummary>) -> Result<Self, StoreError> {
        let Sorted { taken: summaries, odd } = records;
        let mut settlement = Self::default();
        let mut digest = Digest::of(&request);
        let set_aside = odd.iter().filter(|odd| !odd.taken).map(|odd| AlertSummaryId(odd.record));
        let page = StoredPage {
            count,
            ids: summaries.iter().map(|summary| summary.id).collect(),
            set_aside: set_aside.collect(),
        };
        if !matches!(request, Request::AlertPage { page: 0, .. }) {
            // Those of the second look at page 1 are counted there.
            settlement.odd = odd.into_iter().map(|odd| (request, odd)).collect();
        }
        for summary in &summaries {
            digest.add(summary.raw.as_str().as_bytes());
            settlement.put_text(&key::alert(summary.id), &summary.raw);
        }
        settlement.records.push((key::page(&request), seal_json(&page)?));
        let outcome = if summaries.is_empty() { Outcome::Empty } else { Outcome::Data };
        settlement.settle(request, outcome, summaries.len(), &digest);
        Ok(settlement)
    }

    /// The second look at the last row of a page of alert summaries: `ids` holds it if it is still there,
    /// `set_aside` if its record is set aside. The record is not stored again: parts of it depend on the page that it comes with.
    ///
    /// # Errors
    /// As [`Settlement::of_alert_page`].
    pub fn of_last_row(
        request: Request,
        count: u64,
        ids: Vec<AlertSummaryId>,
        set_aside: Vec<AlertSummaryId>,
    ) -> Result<Self, StoreError> {
        let mut settlement = Self::default();
        let mut digest = Digest::of(&request);
        for id in &ids {
            digest.add(&id.0.to_be_bytes());
        }
        let num = ids.len();
        settlement.records.push((key::page(&request), seal_json(&StoredPage { count, ids, set_aside })?));
        let outcome = if num == 0 { Outcome::Empty } else { Outcome::Data };
        settlement.settle(request, outcome, num, &digest);
        Ok(settlement)
    }

    /// A list of ids: updated signatures, or frameworks. They only decide which requests follow, so the digest of the data
    /// does not include them.
    #[must_use]
    pub fn of_ids(request: Request, mut ids: Vec<u64>) -> Self {
        let mut settlement = Self::default();
        ids.sort_unstable();
        ids.dedup();
        settlement.put_ids(&request, &ids);
        let outcome = if ids.is_empty() { Outcome::Empty } else { Outcome::Data };
        settlement.settled.push((request, settled_as(request, outcome, ids.len(), 0)));
        settlement
    }

    /// The list of frameworks: their ids, and the list as sent, for their names.
    #[must_use]
    pub fn of_frameworks(request: Request, ids: Vec<u64>, list: &RawJson) -> Self {
        let mut settlement = Self::of_ids(request, ids);
        settlement.put_text(&key::header(&request), list);
        settlement
    }

    /// The data of a signature in one window, or their replicates. If it `draws_sample`, the sampled jobs are added to the
    /// frontier: of all data of a signature.
    ///
    /// The digest is a sum over the data, so that it does not depend on how the window was cut into parts.
    #[must_use]
    pub fn of_summary(store: &Store, request: Request, draws_sample: bool, summary: &Summary) -> Self {
        let Some(header) = &summary.header else {
            return Self::without_records(request, Outcome::Gone);
        };
        let mut settlement = Self::default();
        settlement.put_text(&key::header(&request), header);
        if matches!(request, Request::Summary { replicates: true, .. }) {
            settlement.put_rows(store, request, summary.signature_id, &summary.data, None);
        } else {
            settlement.put_data(store, request, summary.signature_id, &summary.data, None);
        }
        settlement.odd = summary.odd.iter().map(|odd| (request, odd.clone())).collect();
        if draws_sample {
            settlement.discover_sample(&summary.data);
        }
        settlement
    }

    /// The data of a signature in the whole window, from a file that holds only the data. They must be in the order of
    /// [`crate::model::api_order`], each once.
    #[must_use]
    pub fn of_imported_data(store: &Store, signature: SignatureId, window: Window, data: &Sorted<DatumRecord>) -> Self {
        let Sorted { taken: data, odd } = data;
        let request = Request::Summary { signature, harvest: FIRST_HARVEST, window, replicates: false };
        let mut settlement = Self::default();
        settlement.put_blob(&key::header(&request), format!("{{\"signature_id\":{signature}}}").as_bytes());
        settlement.put_data(store, request, signature, data, None);
        settlement.odd = odd.iter().map(|odd| (request, odd.clone())).collect();
        settlement.discover_sample(data);
        settlement
    }

    /// Records of signatures that may not be the whole list, so no request is settled.
    #[must_use]
    pub fn of_imported_signatures(signatures: Vec<Signature>) -> Self {
        let mut settlement = Self::default();
        for signature in &signatures {
            settlement.put_text(&key::signature(signature.id), &signature.raw);
        }
        settlement.signature_ids = signatures.into_iter().map(|signature| signature.id).collect();
        settlement
    }

    /// The data of a signature from several harvests, with the header of the newest answer.
    pub(super) fn of_series(store: &Store, request: Request, header: &RawJson, series: &Series) -> Self {
        let mut settlement = Self::default();
        settlement.put_text(&key::header(&request), header);
        if let Request::Summary { signature, .. } = request {
            settlement.put_data(store, request, signature, &series.data, Some(&series.seen));
        }
        settlement
    }

    fn put_data(
        &mut self,
        store: &Store,
        request: Request,
        signature: SignatureId,
        data: &[DatumRecord],
        seen: Option<&[Seen]>,
    ) {
        let chunks = encode(data, seen, &mut store.interner(), DATA_PER_CHUNK);
        let mut bytes = Vec::new();
        let digest =
            data.iter().fold(0_u128, |sum, record| sum.wrapping_add(datum_digest(signature, record, &mut bytes)));
        self.put_chunks(request, &chunks, data, digest);
    }

    /// Settles a summary by the chunks of its `data`.
    pub(super) fn put_chunks(&mut self, request: Request, chunks: &[EncodedChunk], data: &[DatumRecord], digest: u128) {
        for (number, chunk) in chunks.iter().enumerate() {
            self.records.push((key::chunk(&request, number), frame::seal_columns(&chunk.bytes)));
            self.pushes.extend_from_slice(&chunk.pushes);
        }
        let outcome = if data.is_empty() { Outcome::Empty } else { Outcome::Data };
        let settled = Settled {
            num_chunks: u16::try_from(chunks.len()).unwrap_or(u16::MAX),
            newest_push: data.last().map(DatumRecord::push_timestamp),
            ..settled_as(request, outcome, data.len(), digest)
        };
        self.settled.push((request, settled));
    }

    pub(super) fn discover_sample(&mut self, data: &[DatumRecord]) {
        self.discovered = sampled_jobs(&aged_jobs(data)).map(job_pending).collect();
    }

    pub(super) fn discover_all_jobs(&mut self, data: &[DatumRecord]) {
        self.discovered = aged_jobs(data).into_iter().flatten().map(job_pending).collect();
    }

    /// Job details: jobs in `jobs` are settled with data, those that were set aside as empty, the others in `asked` as gone.
    #[must_use]
    pub fn of_jobs(asked: &[Request], jobs: &Sorted<Job>) -> Self {
        let Sorted { taken: jobs, odd } = jobs;
        let mut settlement = Self::default();
        for request in asked {
            let Request::Job { id } = *request else { continue };
            if let Ok(at) = jobs.binary_search_by_key(&id, |job| job.id) {
                settlement.put_text(&key::job(id), &jobs[at].raw);
                let may_change = !is_completed(&jobs[at].raw);
                let settled = settled_as(*request, Outcome::Data, 1, job_digest(request, &jobs[at].raw));
                settlement.settled.push((*request, Settled { may_change, ..settled }));
            } else {
                let is_set_aside = odd.iter().any(|odd| odd.record == id.0);
                let outcome = if is_set_aside { Outcome::Empty } else { Outcome::Gone };
                settlement = settlement.and(Self::without_records(*request, outcome));
            }
        }
        let of = |odd: &OddRecord| (Request::Job { id: JobId(odd.record) }, odd.clone());
        settlement.odd.extend(odd.iter().map(of));
        settlement
    }

    pub(super) fn put_ids(&mut self, request: &Request, ids: &[u64]) {
        let raw: Vec<u8> = ids.iter().flat_map(|id| id.to_be_bytes()).collect();
        self.put_blob(&key::id_list(request), &raw);
    }

    pub(super) fn put_text(&mut self, key: &[u8], raw: &RawJson) {
        self.put_blob(key, raw.as_str().as_bytes());
    }

    fn put_blob(&mut self, key: &[u8], raw: &[u8]) {
        for (piece_key, piece) in key::pieces(key, raw) {
            self.records.push((piece_key, frame::seal(&piece)));
        }
    }
}

/// The settlement of `request`, without chunks.
pub(super) fn settled_as(request: Request, outcome: Outcome, num_records: usize, digest: u128) -> Settled {
    let harvest = match request {
        Request::Summary { harvest, .. } => harvest,
        _ => FIRST_HARVEST, // see `Staging::settle`
    };
    let num_records = u32::try_from(num_records).unwrap_or(u32::MAX);
    Settled { outcome, num_records, num_chunks: 0, digest, harvest, may_change: false, newest_push: None }
}

/// Hash of a datum and its signature: of all fields of a regular datum, of the text of an irregular one.
pub(super) fn datum_digest(signature: SignatureId, record: &DatumRecord, bytes: &mut Vec<u8>) -> u128 {
    bytes.clear();
    put_datum(signature, record, bytes);
    xxh3_128(bytes)
}

/// Appends what the digest of a datum is made of.
pub(super) fn put_datum(signature: SignatureId, record: &DatumRecord, bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&signature.0.to_be_bytes());
    match record {
        DatumRecord::Regular(datum) => {
            let present = |present: bool, bit: u8| u8::from(present) << bit;
            bytes.push(
                present(datum.job_id.is_some(), 1)
                    | present(datum.submit_time.is_some(), 2)
                    | present(datum.machine_name.is_some(), 3),
            );
            for word in [
                datum.job_id.unwrap_or_default().0,
                datum.id.0,
                datum.value.to_bits(),
                datum.push_timestamp.as_micros().cast_unsigned(),
                datum.push_id.0,
                datum.submit_time.unwrap_or_default().as_micros().cast_unsigned(),
            ] {
                bytes.extend_from_slice(&word.to_be_bytes());
            }
            bytes.extend_from_slice(&datum.revision.0);
            bytes.extend_from_slice(datum.machine_name.as_deref().unwrap_or_default().as_bytes());
        }
        DatumRecord::Irregular(datum) => {
            bytes.push(1);
            bytes.extend_from_slice(datum.raw.as_str().as_bytes());
        }
    }
}

/// The digest of the settled request for a job with this record.
pub(super) fn job_digest(request: &Request, record: &RawJson) -> u128 {
    let mut digest = Digest::of(request);
    digest.add(record.as_str().as_bytes());
    digest.finish()
}

/// False for a job that the server still waits for: its record will change. A record without a readable state counts as
/// completed.
fn is_completed(record: &RawJson) -> bool {
    #[derive(serde::Deserialize)]
    struct View<'a> {
        #[serde(borrow)]
        state: std::borrow::Cow<'a, str>,
    }
    record.view::<View<'_>>().map_or(true, |view| view.state == "completed")
}

/// The pending request for a job that was found in data.
#[must_use]
pub fn job_pending((id, submitted): (JobId, Timestamp)) -> Pending {
    Pending { request: Request::Job { id }, submitted }
}
