//! Generated jobs, each computed from its id.

use crate::draw::Draw;
use crate::history::{History, seconds};
use crate::json_text::write_uint;
use crate::moment::{self, SECOND};

use super::config::{domain, hex_text, hex40};
use super::push::Pushes;
use super::schedule::{Run, Schedule};
use super::signature::quoted;
use super::vocabulary::{MACHINES, REASONS};

/// The times and the machine of a job.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) id: u64,
    pub(super) run: Run,
    /// Microseconds; a few jobs have a fraction of a second.
    pub(super) submit_time: i64,
    /// Seconds; 0 while unknown.
    pub(super) start: i64,
    /// Seconds; 0 while unknown.
    pub(super) end: i64,
    pub(super) machine: (usize, u64),
    /// When it is known to have started and ended, if it is unfinished; seconds.
    finish: (i64, i64),
    draw: Draw,
}

/// The properties of the signature group that a job's record contains.
#[derive(Clone, Copy, Debug)]
pub(super) struct JobSetting<'a> {
    pub(super) platform: &'a str,
    pub(super) suite: &'a str,
    pub(super) option: (&'a str, &'a str),
}

impl Job {
    /// The longest time between a push and the submission of its jobs, seconds, and a little more.
    pub(super) fn latest_submission(history: &History) -> i64 {
        (6 * 86_400).max(seconds(history.late_within))
    }

    /// The job of a run, of data that end at this second.
    pub(super) fn new(seed: u64, schedule: &Schedule, run: Run, end: i64, history: &History) -> Self {
        let id = schedule.job_id(&run);
        let mut draw = Draw::of(seed, domain::JOB, id, 0);
        let pushed = schedule.pushes.time(run.push);
        // Retriggers and backfills are late: more than the ten minutes after the push that analyses count as on time.
        let late = if run.repetition == 0 { 0.15 } else { 0.7 };
        let delay = match (draw.chance(late), draw.chance(0.3)) {
            (false, _) => 5 + draw.below(590),
            (true, false) => 601 + draw.below(4 * 3600),
            (true, true) => 4 * 3600 + draw.below(5 * 86_400),
        };
        let usual = (delay as i64).min((end - pushed).max(1));
        let submitted = pushed + history.lateness(id).unwrap_or(usual);
        let fraction = if draw.chance(0.006) { 1 + draw.below(999_999) as i64 } else { 0 };

        let mean = 180 + Draw::of(seed, domain::GROUP, run.group, 2).below(4800);
        let duration = (mean as f64 * (0.8 + 0.4 * draw.unit())) as i64;
        let started = submitted + 10 + draw.below(3000) as i64;
        let (start, end) = match draw.unit() {
            ..0.004 => (0, 0),
            ..0.007 => (started, 0),
            ..0.009 => (0, started + duration),
            ..0.012 => (started, started - 30),
            ..0.016 => (submitted - 5, submitted - 5 + duration),
            _ => (started, started + duration),
        };
        let machine = (draw.below(MACHINES.len() as u64) as usize, 1 + draw.below(40));
        let finish = (started, history.finish(id, submitted).max(started));
        Self { id, run, submit_time: submitted * SECOND + fraction, start, end, machine, finish, draw }
    }

    /// The job at a time, seconds: an unfinished one may have finished since.
    pub(super) fn at(mut self, now: i64) -> Self {
        if self.end == 0 && self.finish.1 <= now {
            (self.start, self.end) = self.finish;
        }
        self
    }

    /// Whether data refer to a job that does not exist, which is rare.
    pub(super) fn is_missing(seed: u64, id: u64) -> bool {
        Draw::of(seed, domain::JOB, id, 1).below(5000) == 0
    }

    pub(super) fn write_machine_name(&self, out: &mut String) {
        use std::fmt::Write as _;
        out.clear();
        let _ = write!(out, "{}-{:03}", MACHINES[self.machine.0], self.machine.1);
    }

    pub(super) fn write(&self, setting: &JobSetting<'_>, out: &mut Vec<u8>) {
        let mut draw = self.draw;
        let JobSetting { platform, suite, option } = *setting;
        let (os, architecture) = os_and_architecture(platform);
        // Drawn in every state: the numbers after it stay the same when the job finishes.
        let is_failed = draw.chance(0.03);
        let (state, result) = match (self.start, self.end) {
            (0, 0) => ("pending", "unknown"),
            (_, 0) => ("running", "unknown"),
            _ if is_failed => ("completed", "testfailed"),
            _ => ("completed", "success"),
        };
        let group = self.run.group;
        let last_modified = self.submit_time.max(self.end * SECOND) / SECOND * SECOND + (self.id % 1_000_000) as i64;
        let push = Pushes::id(self.run.push);
        let guid = draw.bits();
        let signature = hex40(Draw::of(group, domain::JOB, 0, 2));
        let type_name = quoted(&format!("test-{platform}/{}-{suite}-{}", option.1, self.chunk()));

        let text = |out: &mut Vec<u8>, text: &str| out.extend_from_slice(text.as_bytes());
        text(
            out,
            &format!(
                "{{\"build_architecture\":\"{architecture}\",\"build_os\":\"{os}\",\"build_platform\":\"{platform}\",\
                 \"build_platform_id\":{},\"build_system_type\":\"taskcluster\",\"end_timestamp\":{}",
                1 + platform.len() % 12,
                self.end,
            ),
        );
        self.write_type(suite, guid, &type_name, out);
        text(out, ",\"last_modified\":\"");
        moment::write_iso(out, last_modified);
        let mut machine = String::new();
        self.write_machine_name(&mut machine);
        text(
            out,
            &format!(
                "\",\"machine_name\":\"{machine}\",\"machine_platform_architecture\":\"{architecture}\",\
                 \"machine_platform_os\":\"{os}\",\"option_collection_hash\":\"{}\",\"platform\":\"{platform}\",\
                 \"push_id\":{push},\"reason\":\"{}\",\"ref_data_name\":{type_name},\"result\":\"{result}\",\
                 \"result_set_id\":{push},\"signature\":\"{}\",\"start_timestamp\":{},\"state\":\"{state}\",\
                 \"submit_timestamp\":{},\"tier\":{},\"who\":\"dev@example.org\",\"task_id\":\"",
                option.0,
                draw.pick(&REASONS),
                hex_text(&signature),
                self.start,
                self.submit_time.div_euclid(SECOND),
                1 + group % 3,
            ),
        );
        write_task_id(out, &mut draw);
        text(out, "\",\"retry_id\":");
        write_uint(out, u64::from(draw.chance(0.05)));
        text(out, &format!(",\"platform_option\":\"{}\"}}", option.1));
    }

    /// Writes the members from `failure_classification_id` to `job_type_symbol`; `type_name` is JSON.
    fn write_type(&self, suite: &str, guid: u64, type_name: &str, out: &mut Vec<u8>) {
        let (id, group) = (self.id, self.run.group);
        let (group_name, group_symbol) = match group % 3 {
            0 => ("?", "?"),
            1 => ("Browsertime performance tests on Firefox", "Btime"),
            _ => ("Talos performance tests", "T"),
        };
        let short: String = suite.chars().take(6).collect();
        out.extend_from_slice(
            format!(
                ",\"failure_classification_id\":1,\"id\":{id},\"job_group_description\":\"\",\"job_group_id\":{},\
                 \"job_group_name\":\"{group_name}\",\"job_group_symbol\":\"{group_symbol}\",\"job_guid\":\"{:08x}-{:04x}-\
                 {:04x}-{:04x}-{:012x}/0\",\"job_type_description\":\"fill me\",\"job_type_id\":{},\
                 \"job_type_name\":{type_name},\"job_type_symbol\":{}",
                2 + group % 3,
                guid >> 32,
                (guid >> 16) & 0xffff,
                guid & 0xffff,
                id & 0xffff,
                id,
                1 + group,
                quoted(&format!("{short}{}", self.chunk())),
            )
            .as_bytes(),
        );
    }

    fn chunk(&self) -> u64 {
        1 + self.run.group % 20
    }
}

fn os_and_architecture(platform: &str) -> (&'static str, &'static str) {
    match platform.as_bytes().first() {
        Some(b'l') => ("linux", "x86_64"),
        Some(b'm') => ("mac", if platform.contains("aarch64") { "aarch64" } else { "x86_64" }),
        Some(b'a') => ("android", "aarch64"),
        _ => ("win", "x86_64"),
    }
}

/// Writes 22 characters in the form of a Taskcluster id.
pub(super) fn write_task_id(out: &mut Vec<u8>, draw: &mut Draw) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    for _ in 0..2 {
        let mut bits = draw.bits();
        for _ in 0..11 {
            out.push(DIGITS[(bits & 63) as usize]);
            bits >>= 5;
        }
    }
}
