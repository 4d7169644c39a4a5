//! Generated alert summaries of the three years before the end of the data.

use crate::dataset::AlertHead;
use crate::draw::Draw;
use crate::json_text::{write_float, write_moment, write_option};
use crate::moment::SECOND;
use pytext::stats::round_half_even_2;

use super::config::{GeneratorConfig, Hex40, domain, hex_text, hex40};
use super::job::write_task_id;
use super::push::Pushes;
use super::schedule::Schedule;
use super::signature::{Signature, id_of, quoted, write_strings};
use super::vocabulary::{NOISE_PROFILES, NOTES, PERFORMANCE_TAGS, SHERIFFS};

const FIRST_SUMMARY_ID: u64 = 30_000;
const FIRST_ALERT_ID: u64 = 1_000_000;
/// Ids reserved for the alerts of one summary.
const ALERT_IDS: u64 = 64;
/// Ids of pushes before the data, smaller than those of the pushes with data.
const FIRST_OLD_PUSH_ID: u64 = 1_000_000;
/// Added to the signature ids of other repositories.
const FOREIGN: u64 = 20_000_000_000;
/// Seconds; a little more than three years.
const SPAN: i64 = 1200 * 86_400;

/// Microseconds.
const DAY: i64 = 86_400 * SECOND;

/// Id and name of the other repositories with alerts.
pub(super) const FOREIGN_REPOSITORIES: [(u64, &str); 2] = [(1, "mozilla-central"), (6, "mozilla-beta")];

/// The alert summaries, numbered from the oldest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Alerts<'a> {
    pub(super) config: &'a GeneratorConfig,
    pub(super) schedule: &'a Schedule,
    pub(super) repository: (u64, &'a str),
}

/// The push that caused an alert summary.
struct Blame {
    id: u64,
    /// Seconds.
    time: i64,
    revision: Hex40,
    previous: Hex40,
}

impl Alerts<'_> {
    fn draw(&self, number: u64, part: u64) -> Draw {
        Draw::of(self.config.seed, domain::ALERT, number, part)
    }

    /// Microseconds; strictly ascending with the number.
    fn created(&self, number: u64) -> i64 {
        let count = i128::from(self.config.alerts.max(1) as u64);
        let slot = |number: u64| (i128::from(number) * i128::from(SPAN) * i128::from(SECOND) / count) as i64;
        let width = slot(number + 1) - slot(number);
        let mut draw = self.draw(number, 0);
        let mut created = slot(number) + draw.below((width / 2).max(1) as u64) as i64;
        if draw.chance(0.4) && width > 4 * SECOND {
            created = created / SECOND * SECOND + SECOND;
        }
        (self.config.end - SPAN) * SECOND + created
    }

    fn repository(&self, number: u64) -> (u64, &str) {
        let repository = match self.draw(number, 1).unit() {
            ..0.08 => FOREIGN_REPOSITORIES[0],
            ..0.10 => FOREIGN_REPOSITORIES[1],
            _ => self.repository,
        };
        if repository.1 == self.repository.1 { self.repository } else { repository }
    }

    fn status(&self, number: u64) -> u64 {
        const STATUSES: [u64; 20] = [0, 0, 1, 2, 3, 3, 4, 4, 5, 6, 6, 6, 6, 7, 7, 7, 7, 8, 8, 9];
        self.draw(number, 2).pick(&STATUSES)
    }

    fn group(&self, number: u64) -> u64 {
        self.draw(number, 3).below(self.schedule.num_groups())
    }

    /// A push before the summary was created; one of the pushes with data, if they reach back that far.
    fn blame(&self, number: u64) -> Blame {
        let mut draw = self.draw(number, 4);
        let until = self.created(number).div_euclid(SECOND) - 1800 - draw.below(5 * 86_400) as i64;
        let pushes = &self.schedule.pushes;
        match pushes.newest_until(until) {
            Some(push) if self.repository(number) == self.repository => Blame {
                id: Pushes::id(push),
                time: pushes.time(push),
                revision: pushes.revision(push),
                previous: if push > 0 { pushes.revision(push - 1) } else { hex40(draw) },
            },
            _ => Blame {
                id: FIRST_OLD_PUSH_ID + 2 * number,
                time: until,
                revision: hex40(self.draw(number, 5)),
                previous: hex40(self.draw(number, 6)),
            },
        }
    }

    /// Seconds.
    pub(super) fn push_timestamp(&self, number: u64) -> i64 {
        self.blame(number).time
    }

    pub(super) fn head(&self, number: u64) -> AlertHead {
        let group = self.group(number);
        AlertHead {
            id: FIRST_SUMMARY_ID + number,
            created: self.created(number),
            status: self.status(number),
            framework: super::signature::Family::of(self.config, group).framework,
            repository_id: self.repository(number).0,
        }
    }

    pub(super) fn write(&self, number: u64, out: &mut Vec<u8>) {
        let head = self.head(number);
        let blame = self.blame(number);
        let mut draw = self.draw(number, 7);
        let sheriff = draw.pick(&SHERIFFS);
        let is_filed = matches!(head.status, 6..=8) && draw.chance(0.95);
        let revision = hex_text(&blame.revision);

        text(out, &format!("{{\"id\":{},\"push_id\":{},\"prev_push_id\":{}", head.id, blame.id, blame.id - 1));
        let original = if draw.chance(0.8) { format!("\"{revision}\"") } else { "null".to_owned() };
        text(out, &format!(",\"original_revision\":{original},\"created\":"));
        write_moment(out, Some(head.created));
        text(out, ",\"first_triaged\":");
        let triaged = head.created + draw.below(4 * 86_400_000_000) as i64;
        write_moment(out, (head.status != 0).then_some(triaged));
        text(out, ",\"triage_due_date\":");
        write_moment(out, draw.chance(0.95).then_some(head.created + 2 * DAY));
        let repository = self.repository(number);
        text(out, &format!(",\"repository\":{},\"framework\":{},\"alerts\":[", quoted(repository.1), head.framework));
        for index in 0..self.num_alerts(number) {
            if index > 0 {
                out.push(b',');
            }
            self.write_alert(number, index, None, out);
        }
        text(out, "],\"related_alerts\":[");
        if number > 20 && draw.chance(0.2) {
            let other = number - 1 - draw.below(20);
            self.write_alert(other, ALERT_IDS - 1, Some(head.id), out);
        }
        text(out, &format!("],\"status\":{}", head.status));
        write_bug(out, is_filed.then_some(1_700_000 + number * 7 % 350_000), head.created, &mut draw);
        let notes = or_null(draw.pick(&NOTES));
        text(out, &format!(",\"issue_tracker\":{},\"notes\":{notes}", 1 + draw.below(2)));
        text(out, &format!(",\"revision\":\"{revision}\",\"push_timestamp\":{}", blame.time));
        let previous = hex_text(&blame.previous);
        let original = if draw.chance(0.3) { format!("\"{previous}\"") } else { "null".to_owned() };
        text(out, &format!(",\"prev_push_revision\":\"{previous}\",\"original_prev_push_revision\":{original}"));
        text(
            out,
            &format!(
                ",\"assignee_username\":{},\"assignee_email\":{},\"performance_tags\":",
                or_null(sheriff.map(|name| format!("mozilla-ldap/{name}@example.org")).as_deref()),
                or_null(sheriff.map(|name| format!("{name}@example.org")).as_deref()),
            ),
        );
        write_strings(out, draw.pick(&PERFORMANCE_TAGS));
        text(out, ",\"duplicated_summaries\":[");
        if number > 0 && draw.chance(0.05) {
            text(out, &format!("{{\"id\":{},\"status\":{}}}", head.id - 1, self.status(number - 1)));
        }
        text(out, "]}");
    }

    fn num_alerts(&self, number: u64) -> u64 {
        let mut draw = self.draw(number, 8);
        if draw.chance(0.5) { 1 + draw.below(3) } else { 1 + draw.below(16) }
    }

    fn write_alert(&self, number: u64, index: u64, related: Option<u64>, out: &mut Vec<u8>) {
        let mut draw = self.draw(number, 100 + index);
        let group = self.group(number);
        let rank = self.schedule.first_signature(group) + (index % self.schedule.group_size(group) as u64) as usize;
        let signature = Signature::new(self.config, self.schedule, rank);
        let is_foreign = self.repository(number) != self.repository;
        let series_id = id_of(rank) + if is_foreign { FOREIGN } else { 0 };
        let status = if related.is_some() { 1 + draw.below(2) } else { draw.pick(&[0, 3, 4, 4, 4]) };
        let before = 10_f64.powf(draw.unit() * 5.0 - 1.0);
        let change = 0.02 + draw.unit() * 0.3;
        let is_regression = draw.chance(0.8);
        let after = if is_regression { before * (1.0 + change) } else { before / (1.0 + change) };

        let number_of = |out: &mut Vec<u8>, key: &str, value: f64| {
            text(out, key);
            write_float(out, round_half_even_2(value));
        };
        text(
            out,
            &format!(
                "{{\"id\":{},\"status\":{status},\"series_signature\":",
                FIRST_ALERT_ID + number * ALERT_IDS + index
            ),
        );
        signature.write_series(series_id, out);
        for key in [",\"taskcluster_metadata\":", ",\"prev_taskcluster_metadata\":"] {
            text(out, key);
            if draw.chance(0.7) {
                text(out, "{\"task_id\":\"");
                write_task_id(out, &mut draw);
                text(out, "\",\"retry_id\":0}");
            } else {
                text(out, "{}");
            }
        }
        text(out, &format!(",\"profile_url\":null,\"prev_profile_url\":null,\"is_regression\":{is_regression}"));
        number_of(out, ",\"prev_value\":", before);
        number_of(out, ",\"new_value\":", after);
        if draw.chance(0.1) {
            text(out, ",\"t_value\":null");
        } else {
            number_of(out, ",\"t_value\":", 7.0 + draw.unit() * 90.0);
        }
        number_of(out, ",\"amount_abs\":", (after - before).abs());
        number_of(out, ",\"amount_pct\":", (after - before).abs() / before * 100.0);
        let related = related.map_or_else(|| "null".to_owned(), |id| id.to_string());
        let manually = draw.chance(0.1);
        let sheriff = draw.pick(&SHERIFFS).unwrap_or("perf-sheriff-bot");
        let backfill = if draw.chance(0.2) {
            "{\"context\":\"[{\\\"job_id\\\": 1, \\\"value\\\": 1.5}]\",\"status\":3,\"total_actions_triggered\":2,\
             \"total_backfills_failed\":0,\"total_backfills_successful\":0,\"total_backfills_in_progress\":0}"
        } else {
            "null"
        };
        text(
            out,
            &format!(
                ",\"summary_id\":{},\"related_summary_id\":{related},\"manually_created\":{manually},\
                 \"classifier\":\"{sheriff}\",\"starred\":{},\"classifier_email\":\"{sheriff}@example.org\",\
                 \"backfill_record\":{backfill},\"side_by_side_available\":false,\"noise_profile\":\"{}\"}}",
                FIRST_SUMMARY_ID + number,
                draw.chance(0.05),
                draw.pick(&NOISE_PROFILES),
            ),
        );
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(text.as_bytes());
}

fn or_null(text: Option<&str>) -> String {
    text.map_or_else(|| "null".to_owned(), quoted)
}

/// Writes the members of the bug: its number, status, due date and last update.
fn write_bug(out: &mut Vec<u8>, number: Option<u64>, created: i64, draw: &mut Draw) {
    text(out, ",\"bug_number\":");
    write_option(out, number);
    text(out, ",\"bug_status\":");
    text(out, if number.is_some() { draw.pick(&["0", "1", "4", "5", "null"]) } else { "null" });
    text(out, ",\"bug_due_date\":");
    write_moment(out, draw.chance(0.9).then_some(created + 6 * DAY));
    text(out, ",\"bug_updated\":");
    let updated = created + DAY + draw.below(86_400_000_000) as i64;
    write_moment(out, number.map(|_| updated));
}
