//! Records to chunks.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use super::flag;
use super::format::{DATA_PER_CHUNK, FORMAT_VERSION, MAX_DATA_PER_CHUNK, WITH_REPLICATES};
use super::integers::IntegerEncoder;
use super::names::encode_names;
use super::replicates::{FurtherRows, ROWS_PER_CHUNK, leading_run};
use super::values::ValueEncoder;
use super::varint::put_len;
use crate::model::{DatumRecord, PushId, Revision, Seen, Timestamp};

const MICROS: i64 = 1_000_000;

/// A chunk, and the pushes that it relies on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedChunk {
    /// The chunk, for [`super::Columns::decode`].
    pub bytes: Vec<u8>,
    /// Number of data.
    pub num_data: u32,
    /// Pairs that the push table must hold to decode the chunk: each once, ascending.
    pub pushes: Vec<(PushId, Revision)>,
}

/// Encodes data in their order, in chunks of at most `max_data_per_chunk` and at most 2^20 data; no data give no chunks.
/// `seen` holds the harvests that saw each of them; an answer as it came has `None`.
///
/// `interned` tells whether the push table maps a push to a revision; it may add the pair. It is called once for consecutive
/// data of one pair. If it returns true, the chunk omits the revision and lists the pair in [`EncodedChunk::pushes`]; if not,
/// the chunk holds the revision. The same data and results give the same bytes.
///
/// # Panics
/// When `seen` has another length than `data`.
pub fn encode(
    data: &[DatumRecord],
    seen: Option<&[Seen]>,
    interned: &mut dyn FnMut(PushId, Revision) -> bool,
    max_data_per_chunk: usize,
) -> Vec<EncodedChunk> {
    assert!(seen.is_none_or(|seen| seen.len() == data.len()), "the harvests are not those of the data");
    let mut encoder = ChunkEncoder::default();
    let max_data = max_data_per_chunk.clamp(1, MAX_DATA_PER_CHUNK);
    let mut seen = seen.map(|seen| seen.chunks(max_data));
    data.chunks(max_data)
        .map(|chunk| {
            let mut gathered = Gathered::default();
            for record in chunk {
                gathered.add(record, interned);
            }
            if let Some(seen) = seen.as_mut().and_then(Iterator::next) {
                gathered.add_harvests(seen);
            }
            encoder.encode(gathered)
        })
        .collect()
}

/// Encodes the rows of an answer with replicates in their order, as [`encode`] does with data. Neighbours that differ in their
/// values alone are rows of one datum, which the same harvests saw.
///
/// # Panics
/// When `seen` has another length than `rows`.
pub fn encode_rows(
    mut rows: &[DatumRecord],
    mut seen: Option<&[Seen]>,
    interned: &mut dyn FnMut(PushId, Revision) -> bool,
) -> Vec<EncodedChunk> {
    assert!(seen.is_none_or(|seen| seen.len() == rows.len()), "the harvests are not those of the rows");
    let mut encoder = ChunkEncoder::default();
    let mut chunks = Vec::new();
    while !rows.is_empty() {
        let (mut gathered, mut further, mut num_left) = (Gathered::default(), FurtherRows::default(), ROWS_PER_CHUNK);
        let mut harvests = Vec::new();
        while gathered.flags.len() < DATA_PER_CHUNK && num_left > 0 && !rows.is_empty() {
            let (run, rest) = rows.split_at(leading_run(rows, num_left));
            gathered.add(&run[0], interned);
            further.add(run);
            if let Some((of_run, others)) = seen.map(|seen| seen.split_at(run.len())) {
                harvests.push(of_run[0]);
                seen = Some(others);
            }
            (rows, num_left) = (rest, num_left - run.len());
        }
        gathered.add_harvests(&harvests);
        gathered.further_rows = Some(further);
        chunks.push(encoder.encode(gathered));
    }
    chunks
}

/// The columns of one chunk, before they are packed.
#[derive(Default)]
struct Gathered<'a> {
    flags: Vec<u8>,
    job_ids: Vec<u64>,
    ids: Vec<u64>,
    values: Vec<f64>,
    push_timestamps: Times,
    push_ids: Vec<u64>,
    inline_revisions: Vec<Revision>,
    submit_times: Times,
    machine_names: Vec<&'a str>,
    texts: Vec<&'a str>,
    first_harvests: Vec<u64>,
    /// From the first harvest to the last.
    harvest_spans: Vec<u64>,
    /// Of an answer with replicates.
    further_rows: Option<FurtherRows>,
    pushes: Vec<(PushId, Revision)>,
}

/// Times or spans; the part of a second is apart, since it is nearly always 0.
#[derive(Default)]
struct Times {
    secs: Vec<u64>,
    micros: Vec<u64>,
}

impl Times {
    fn add(&mut self, micros: i64) {
        self.secs.push(micros.div_euclid(MICROS).cast_unsigned());
        self.micros.push(micros.rem_euclid(MICROS).cast_unsigned());
    }
}

impl<'a> Gathered<'a> {
    fn add(&mut self, record: &'a DatumRecord, interned: &mut dyn FnMut(PushId, Revision) -> bool) {
        let mut flags = 0;
        let landed = record.push_timestamp();
        self.ids.push(record.id().unwrap_or_default().0);
        self.push_ids.push(record.push_id().0);
        self.push_timestamps.add(landed.as_micros());
        if let Some(job_id) = record.job_id() {
            flags |= flag::JOB;
            self.job_ids.push(job_id.0);
        }
        if let Some(submitted) = record.submit_time() {
            flags |= flag::SUBMIT_TIME;
            self.submit_times.add(span_micros(landed, submitted));
        }
        flags |= match record.revision() {
            None => flag::NO_REVISION,
            Some(revision) => self.add_revision((record.push_id(), revision), interned),
        };
        match record {
            DatumRecord::Regular(datum) => {
                self.values.push(datum.value);
                if let Some(name) = &datum.machine_name {
                    flags |= flag::MACHINE;
                    self.machine_names.push(name);
                }
            }
            DatumRecord::Irregular(datum) => {
                flags |= flag::IRREGULAR;
                self.texts.push(datum.raw.as_str());
            }
        }
        self.flags.push(flags);
    }

    /// Adds the harvests of all data, whose flags are known already.
    fn add_harvests(&mut self, seen: &[Seen]) {
        for (seen, flags) in seen.iter().zip(&mut self.flags) {
            self.first_harvests.push(seen.first.into());
            self.harvest_spans.push(u64::from(seen.last).wrapping_sub(seen.first.into()));
            for (mark, flag) in [(seen.job_expired, flag::JOB_EXPIRED), (seen.unlisted, flag::UNLISTED)] {
                *flags |= if mark { flag } else { 0 };
            }
        }
    }

    fn add_revision(&mut self, pair: (PushId, Revision), interned: &mut dyn FnMut(PushId, Revision) -> bool) -> u8 {
        if self.pushes.last() == Some(&pair) {
            return 0; // as for most data, which are sorted by push
        }
        if interned(pair.0, pair.1) {
            self.pushes.push(pair);
            return 0;
        }
        self.inline_revisions.push(pair.1);
        flag::INLINE_REVISION
    }
}

/// From the push to the submission; the decoder adds it with the same wrapping.
const fn span_micros(landed: Timestamp, submitted: Timestamp) -> i64 {
    submitted.as_micros().wrapping_sub(landed.as_micros())
}

#[derive(Default)]
struct ChunkEncoder {
    integers: IntegerEncoder,
    values: ValueEncoder,
    section: Vec<u8>,
}

impl ChunkEncoder {
    fn encode(&mut self, gathered: Gathered<'_>) -> EncodedChunk {
        let num_data = gathered.flags.len();
        let version = if gathered.further_rows.is_some() { WITH_REPLICATES } else { FORMAT_VERSION };
        let mut out = vec![version];
        put_len(num_data, &mut out);
        let Self { integers, values, section } = self;
        let mut in_section = |write: &mut dyn FnMut(&mut Vec<u8>, &mut IntegerEncoder)| {
            section.clear();
            write(section, integers);
            put_len(section.len(), &mut out);
            out.extend_from_slice(section);
        };
        in_section(&mut |out, integers| {
            let (dictionary, indexes) = distinct_flags(&gathered.flags);
            put_len(dictionary.len(), out);
            out.extend_from_slice(&dictionary);
            integers.encode(&indexes, out);
        });
        in_section(&mut |out, integers| integers.encode(&gathered.job_ids, out));
        in_section(&mut |out, integers| integers.encode(&gathered.ids, out));
        in_section(&mut |out, integers| values.encode(&gathered.values, integers, out));
        in_section(&mut |out, integers| {
            integers.encode(&gathered.push_timestamps.secs, out);
            integers.encode(&gathered.push_timestamps.micros, out);
        });
        in_section(&mut |out, integers| integers.encode(&gathered.push_ids, out));
        in_section(&mut |out, integers| {
            if !gathered.inline_revisions.is_empty() {
                let (dictionary, indexes) = distinct(&gathered.inline_revisions);
                put_len(dictionary.len(), out);
                for revision in &dictionary {
                    out.extend_from_slice(&revision.0);
                }
                integers.encode(&indexes, out);
            }
        });
        in_section(&mut |out, integers| {
            integers.encode(&gathered.submit_times.secs, out);
            integers.encode(&gathered.submit_times.micros, out);
        });
        in_section(&mut |out, integers| encode_names(&gathered.machine_names, integers, out));
        in_section(&mut |out, integers| {
            let lens: Vec<u64> = gathered.texts.iter().map(|text| text.len() as u64).collect();
            integers.encode(&lens, out);
            gathered.texts.iter().for_each(|text| out.extend_from_slice(text.as_bytes()));
        });
        in_section(&mut |out, integers| {
            integers.encode(&gathered.first_harvests, out);
            integers.encode(&gathered.harvest_spans, out);
        });
        let mut least_bytes = num_data;
        if let Some(further) = &gathered.further_rows {
            section.clear();
            further.encode(integers, values, section);
            put_len(section.len(), &mut out);
            out.extend_from_slice(section);
            least_bytes = num_data + further.len();
        }
        if out.len() < least_bytes {
            out.resize(least_bytes, 0);
        }
        let mut pushes = gathered.pushes;
        pushes.sort_unstable();
        pushes.dedup();
        EncodedChunk { bytes: out, num_data: u32::try_from(num_data).unwrap_or(u32::MAX), pushes }
    }
}

/// The distinct flag bytes in the order of their first use, and the index of each datum's.
fn distinct_flags(flags: &[u8]) -> (Vec<u8>, Vec<u64>) {
    let mut dictionary = Vec::new();
    let mut indexes = [None; 256];
    let column = flags.iter().map(|&flags| {
        *indexes[usize::from(flags)].get_or_insert_with(|| {
            dictionary.push(flags);
            dictionary.len() as u64 - 1
        })
    });
    let column = column.collect();
    (dictionary, column)
}

/// The distinct entries in the order of their first use, and the index of each entry.
fn distinct<T: Copy + Eq + std::hash::Hash>(entries: &[T]) -> (Vec<T>, Vec<u64>) {
    let mut dictionary = Vec::new();
    let mut indexes: HashMap<T, u64, RandomState> = HashMap::default();
    let column = entries
        .iter()
        .map(|&entry| {
            *indexes.entry(entry).or_insert_with(|| {
                dictionary.push(entry);
                dictionary.len() as u64 - 1
            })
        })
        .collect();
    (dictionary, column)
}
