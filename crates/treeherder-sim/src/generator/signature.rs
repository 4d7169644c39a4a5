//! Generated signatures: their records, the frames of their summaries, and the values of their data.

use std::borrow::Cow;

use crate::dataset::SummaryFrame;
use crate::draw::Draw;
use crate::json_text::{write_string, write_uint};

use super::config::{GeneratorConfig, Hex40, domain, hex_text, hex40};
use super::schedule::Schedule;
use super::vocabulary::{APPLICATIONS, EXTRA_OPTIONS, OPTIONS, PLATFORMS, SUITES, TAGS, TESTS, UNITS};

const FIRST_ID: u64 = 5_400_001;

/// The id of a signature. One id in ten is left to other repositories.
pub(super) fn id_of(rank: usize) -> u64 {
    FIRST_ID + rank as u64 + rank as u64 / 9
}

/// The rank of the signature with this id.
pub(super) fn rank_of(id: u64) -> Option<usize> {
    let offset = id.checked_sub(FIRST_ID)?;
    (offset % 10 != 9).then(|| (offset - offset / 10) as usize)
}

pub(super) fn hash_of(seed: u64, rank: usize) -> Hex40 {
    hex40(Draw::of(seed, domain::SIGNATURE, rank as u64, 0))
}

/// The properties that the signatures of a group share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Family {
    pub(super) framework: u64,
    pub(super) platform: &'static str,
    pub(super) suite: &'static str,
    /// Hash and name.
    pub(super) option: (&'static str, &'static str),
    extra_options: &'static [&'static str],
    application: &'static str,
}

impl Family {
    pub(super) fn of(config: &GeneratorConfig, group: u64) -> Self {
        let mut draw = Draw::of(config.seed, domain::GROUP, group, 3);
        let framework = draw.below(config.frameworks.len() as u64) as usize;
        Self {
            framework: u64::from(config.frameworks[framework].0),
            platform: draw.pick(&PLATFORMS),
            suite: draw.pick(&SUITES),
            option: draw.pick(&OPTIONS),
            extra_options: draw.pick(&EXTRA_OPTIONS),
            application: draw.pick(&APPLICATIONS),
        }
    }
}

/// A signature.
#[derive(Clone, Debug)]
pub(super) struct Signature {
    pub(super) rank: usize,
    pub(super) group: u64,
    pub(super) family: Family,
    pub(super) hash: Hex40,
    /// Rank of the parent.
    pub(super) parent: Option<usize>,
    test: Cow<'static, str>,
    has_subtests: bool,
    should_alert: Option<bool>,
    lower_is_better: bool,
    tags: &'static [&'static str],
    unit: Option<&'static str>,
    seed: u64,
}

impl Signature {
    pub(super) fn new(config: &GeneratorConfig, schedule: &Schedule, rank: usize) -> Self {
        let seed = config.seed;
        let (group, position) = schedule.group_of(rank);
        let size = schedule.group_size(group);
        let mut draw = Draw::of(seed, domain::SIGNATURE, rank as u64, 1);
        let first_test = Draw::of(seed, domain::GROUP, group, 4).below(TESTS.len() as u64) as usize;
        let number = first_test + position;
        let test = match (position, number / TESTS.len()) {
            (0, _) if size > 1 || draw.chance(0.5) => Cow::Borrowed(""),
            (_, 0) => Cow::Borrowed(TESTS[number]),
            (_, round) => Cow::Owned(format!("{}-{round}", TESTS[number % TESTS.len()])),
        };
        Self {
            rank,
            group,
            family: Family::of(config, group),
            hash: hash_of(seed, rank),
            parent: (position > 0).then(|| schedule.first_signature(group)),
            test,
            has_subtests: position == 0 && size > 1,
            should_alert: draw.pick(&[Some(false), None, Some(true)]),
            lower_is_better: draw.chance(0.8),
            tags: draw.pick(&TAGS),
            unit: draw.pick(&UNITS),
            seed,
        }
    }

    /// Writes the record of the signature list, which omits false and empty members.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        let Family { framework, platform, suite, option, extra_options, application, .. } = self.family;
        out.extend_from_slice(b"{\"id\":");
        write_uint(out, id_of(self.rank));
        out.extend_from_slice(b",\"signature_hash\":\"");
        out.extend_from_slice(&self.hash);
        out.extend_from_slice(b"\",\"framework_id\":");
        write_uint(out, framework);
        out.extend_from_slice(b",\"option_collection_hash\":\"");
        out.extend_from_slice(option.0.as_bytes());
        out.extend_from_slice(b"\",\"machine_platform\":");
        write_string(out, platform);
        out.extend_from_slice(b",\"suite\":");
        write_string(out, suite);
        out.extend_from_slice(b",\"should_alert\":");
        out.extend_from_slice(bool_or_null(self.should_alert).as_bytes());
        if !self.lower_is_better {
            out.extend_from_slice(b",\"lower_is_better\":false");
        }
        write_unless_empty(out, "test", &self.test);
        write_unless_empty(out, "application", application);
        if self.has_subtests {
            out.extend_from_slice(b",\"has_subtests\":true");
        }
        if !self.tags.is_empty() {
            out.extend_from_slice(b",\"tags\":");
            write_strings(out, self.tags);
        }
        if let Some(parent) = self.parent {
            out.extend_from_slice(b",\"parent_signature\":\"");
            out.extend_from_slice(&hash_of(self.seed, parent));
            out.push(b'"');
        }
        if !extra_options.is_empty() {
            out.extend_from_slice(b",\"extra_options\":");
            write_strings(out, extra_options);
        }
        write_unless_empty(out, "measurement_unit", self.unit.unwrap_or(""));
        out.push(b'}');
    }

    /// The parts of the summary object around its lists.
    pub(super) fn frame(&self, repository: (u64, &str)) -> SummaryFrame<'static> {
        let Family { framework, platform, suite, option, extra_options, application, .. } = self.family;
        let mut draw = Draw::of(self.seed, domain::SIGNATURE, self.rank as u64, 3);
        let test = if self.test.is_empty() { String::new() } else { format!(" {}", self.test) };
        let name = format!("{suite}{test} {} {}", option.1, extra_options.join(" "));
        let parent = self.parent.map_or_else(|| "null".to_owned(), |parent| id_of(parent).to_string());
        let unit = self.unit.map_or_else(|| "null".to_owned(), quoted);
        SummaryFrame {
            head: format!(
                "\"signature_id\":{},\"framework_id\":{framework},\"signature_hash\":\"{}\",\"platform\":{},\"test\":{},\
                 \"suite\":{},\"lower_is_better\":{},\"has_subtests\":{},\"tags\":{},",
                id_of(self.rank),
                hex_text(&self.hash),
                quoted(platform),
                quoted(&self.test),
                quoted(suite),
                self.lower_is_better,
                self.has_subtests,
                quoted(&self.tags.join(" ")),
            )
            .into(),
            naming: format!("\"name\":{},\"parent_signature\":{parent},", quoted(&name)).into(),
            place: format!("\"repository_name\":{},\"repository_id\":{},", quoted(repository.1), repository.0)
                .into(),
            tail: format!(
                "\"measurement_unit\":{unit},\"application\":{},\"should_alert\":{},\"alert_change_type\":{},\
                 \"alert_threshold\":{},",
                quoted(application),
                bool_or_null(self.should_alert),
                draw.pick(&["null", "0", "1"]),
                draw.pick(&["null", "2.0", "1e-05", "0.25", "10.0"]),
            )
            .into(),
        }
    }

    /// Writes the `series_signature` of an alert; `id` may belong to another repository.
    pub(super) fn write_series(&self, id: u64, out: &mut Vec<u8>) {
        let Family { framework, platform, suite, option, extra_options, .. } = self.family;
        let list = |words: &[&str]| {
            let mut out = Vec::new();
            // The server splits the text at blanks: an empty text is one empty word.
            write_strings(&mut out, if words.is_empty() { &[""] } else { words });
            String::from_utf8_lossy(&out).into_owned()
        };
        out.extend_from_slice(
            format!(
                "{{\"id\":{id},\"framework_id\":{framework},\"signature_hash\":\"{}\",\"machine_platform\":{},\"suite\":{},\
                 \"test\":{},\"lower_is_better\":{},\"has_subtests\":{},\"option_collection_hash\":\"{}\",\"tags\":{},\
                 \"extra_options\":{},\"measurement_unit\":{},\"suite_public_name\":null,\"test_public_name\":null}}",
                hex_text(&self.hash),
                quoted(platform),
                quoted(suite),
                quoted(&self.test),
                self.lower_is_better,
                self.has_subtests,
                option.0,
                list(self.tags),
                list(extra_options),
                self.unit.map_or_else(|| "null".to_owned(), quoted),
            )
            .as_bytes(),
        );
    }

    /// The model of its values.
    pub(super) fn series(&self, num_pushes: u64) -> Series {
        let mut draw = Draw::of(self.seed, domain::SIGNATURE, self.rank as u64, 2);
        let kind = match draw.unit() {
            ..0.08 => Kind::Integral,
            ..0.09 => Kind::Zero,
            _ => Kind::Real,
        };
        let level = match draw.unit() {
            ..0.02 => 1e-5 * (0.5 + draw.unit()),
            ..0.03 => 1e16 * (1.0 + 50.0 * draw.unit()),
            _ => 10_f64.powf(draw.unit() * 6.0 - 1.0),
        };
        let mut step = || (draw.below(num_pushes + 1), 1.0 + 0.2 * (draw.unit() - 0.5));
        Series { seed: self.seed, rank: self.rank as u64, kind, level, noise: 0.03, steps: [step(), step()] }
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Real,
    Integral,
    Zero,
}

/// The values of a signature: a level, two steps and noise.
#[derive(Clone, Copy, Debug)]
pub(super) struct Series {
    seed: u64,
    rank: u64,
    kind: Kind,
    level: f64,
    noise: f64,
    /// The first push of each step, and its factor.
    steps: [(u64, f64); 2],
}

impl Series {
    pub(super) fn value(&self, push: u64, job_id: u64) -> f64 {
        let mut draw = Draw::of(self.seed, domain::VALUE, self.rank, job_id);
        // A sum of three uniform numbers: cheap, and close to a normal distribution.
        let noise = (draw.unit() + draw.unit() + draw.unit() - 1.5) * 2.0 * self.noise;
        let shift: f64 = self.steps.iter().filter(|(from, _)| push >= *from).map(|(_, factor)| factor).product();
        let value = self.level * shift * (1.0 + noise);
        match self.kind {
            Kind::Real => value,
            Kind::Integral => value.round(),
            Kind::Zero if draw.chance(0.1) => -0.0,
            Kind::Zero => 0.0,
        }
    }
}

fn bool_or_null(flag: Option<bool>) -> &'static str {
    match flag {
        None => "null",
        Some(true) => "true",
        Some(false) => "false",
    }
}

pub(super) fn quoted(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len() + 2);
    write_string(&mut out, text);
    String::from_utf8_lossy(&out).into_owned()
}

fn write_unless_empty(out: &mut Vec<u8>, key: &str, text: &str) {
    if !text.is_empty() {
        out.push(b',');
        write_string(out, key);
        out.push(b':');
        write_string(out, text);
    }
}

pub(super) fn write_strings(out: &mut Vec<u8>, words: &[&str]) {
    out.push(b'[');
    for (n, word) in words.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_string(out, word);
    }
    out.push(b']');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_found_by_its_id() {
        for rank in [0, 8, 9, 10, 17, 18, 99_999] {
            assert_eq!(rank_of(id_of(rank)), Some(rank));
        }
        assert_eq!(rank_of(FIRST_ID + 9), None);
        assert_eq!(rank_of(7), None);
    }
}
