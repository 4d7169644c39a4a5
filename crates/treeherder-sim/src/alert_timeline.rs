//! Alert summaries as of a time: they are created, edited, reassigned and deleted.
//!
//! The record of the data set is the last version of a summary. An earlier version lacks the fields that later edits set.

use serde_json::value::RawValue;

use crate::dataset::{AlertHead, Dataset};
use crate::history::{AlertChanges, AsOf};
use crate::json_text::{OrderedObject, write_moment};
use crate::moment::SECOND;

const UNTRIAGED: u64 = 0;
const INVESTIGATING: u64 = 5;
/// Of an alert.
const REASSIGNED: &str = "2";

/// The alert summaries of a data set as of a time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AlertTimeline<'a> {
    pub(crate) dataset: &'a dyn Dataset,
    pub(crate) as_of: AsOf<'a>,
}

impl AlertTimeline<'_> {
    /// The head of a summary that is there.
    pub(crate) fn head(&self, rank: usize) -> Option<AlertHead> {
        self.at(rank).map(|(head, _)| head)
    }

    /// The head and the changes of a summary that is there.
    fn at(&self, rank: usize) -> Option<(AlertHead, AlertChanges)> {
        let mut head = self.dataset.alert_head(rank);
        let changes = self.changes(&head);
        if self.created(&head) > self.as_of.now || changes.deleted <= self.as_of.now {
            return None;
        }
        head.status = match changes.num_to_come(self.as_of.now) {
            3 => UNTRIAGED,
            2 if head.status != UNTRIAGED => INVESTIGATING,
            _ => head.status,
        };
        Some((head, changes))
    }

    /// Writes the record of a summary that is there.
    pub(crate) fn write(&self, rank: usize, out: &mut Vec<u8>) {
        let start = out.len();
        self.dataset.write_alert(rank, out);
        let changed = serde_json::from_slice(&out[start..]).ok().and_then(|record| self.changed(rank, &record));
        if let Some(changed) = changed {
            out.truncate(start);
            out.extend_from_slice(changed.as_bytes());
        }
    }

    /// The seconds at which the record of a summary may change, ascending: its creation first.
    pub(crate) fn change_times(&self, rank: usize) -> Vec<i64> {
        let head = self.dataset.alert_head(rank);
        let created = self.created(&head);
        let times_of = |rank: usize| {
            let AlertChanges { edits, reassigned, deleted } = self.changes(&self.dataset.alert_head(rank));
            edits.into_iter().flatten().chain([reassigned, deleted])
        };
        // Alerts move between neighbours.
        let neighbours = rank.saturating_sub(1)..(rank + 2).min(self.dataset.num_alerts());
        let mut times: Vec<i64> = neighbours.flat_map(times_of).filter(|time| *time > created).collect();
        times.push(created);
        times.sort_unstable();
        times.dedup();
        times
    }

    /// The first second at which a summary is there.
    fn created(&self, head: &AlertHead) -> i64 {
        // A record may be a little younger than the time of the recording.
        let micros = head.created.min(self.dataset.now().saturating_mul(SECOND));
        micros.div_euclid(SECOND) + i64::from(micros.rem_euclid(SECOND) > 0)
    }

    fn changes(&self, head: &AlertHead) -> AlertChanges {
        self.as_of.history.alert(head.id, self.created(head))
    }

    /// The record with its changes; `None` if it is as in the data set.
    fn changed(&self, rank: usize, record: &OrderedObject<'_>) -> Option<String> {
        let (head, changes) = self.at(rank)?;
        let mut fields = edited_fields(&changes, self.as_of.now, record);
        let (is_classified, moved_to) = (self.is_classified(&changes), self.moved_to(rank, &head, &changes));
        if !is_classified || moved_to.is_some() {
            let alerts: Vec<&RawValue> = serde_json::from_str(record.text("alerts")?).ok()?;
            let mut texts = Vec::with_capacity(alerts.len());
            for (index, alert) in alerts.into_iter().enumerate() {
                texts.push(changed_alert(alert, is_classified, moved_to.as_deref().filter(|_| index == 0))?);
            }
            fields.push(("alerts", format!("[{}]", texts.join(","))));
        }
        if let Some(alert) = self.received_alert(rank) {
            let before = record.text("related_alerts")?.strip_suffix(']')?;
            let comma = if before == "[" { "" } else { "," };
            fields.push(("related_alerts", format!("{before}{comma}{alert}]")));
        }
        if fields.is_empty() {
            return None;
        }
        fields.push(("status", head.status.to_string()));
        Some(record.with(&fields))
    }

    fn is_classified(&self, changes: &AlertChanges) -> bool {
        changes.num_to_come(self.as_of.now) == 0
    }

    /// The `related_summary_id` of a summary's first alert if that was reassigned: to the summary created before it.
    fn moved_to(&self, rank: usize, head: &AlertHead, changes: &AlertChanges) -> Option<String> {
        let target =
            (rank + 1 < self.dataset.num_alerts() && changes.reassigned <= self.as_of.now).then_some(rank + 1)?;
        let is_of_same_repository = self.dataset.alert_head(target).repository_id == head.repository_id;
        // A deleted summary leaves its alerts without a relation.
        is_of_same_repository.then(|| self.head(target).map_or_else(null, |target| target.id.to_string()))
    }

    /// The alert that was reassigned to a summary from the one created after it.
    fn received_alert(&self, rank: usize) -> Option<String> {
        let source = rank.checked_sub(1)?;
        let (head, changes) = self.at(source)?;
        let moved_to = self.moved_to(source, &head, &changes)?;
        let mut text = Vec::new();
        self.dataset.write_alert(source, &mut text);
        let record: OrderedObject<'_> = serde_json::from_slice(&text).ok()?;
        let alerts: Vec<&RawValue> = serde_json::from_str(record.text("alerts")?).ok()?;
        changed_alert(alerts.first()?, self.is_classified(&changes), Some(&moved_to))
    }
}

/// An alert as it is before or after its classification; reassigned, if it has moved.
fn changed_alert(alert: &RawValue, is_classified: bool, moved_to: Option<&str>) -> Option<String> {
    let mut fields = Vec::new();
    if let Some(related) = moved_to {
        fields.extend([("status", REASSIGNED.to_owned()), ("related_summary_id", related.to_owned())]);
    }
    // Of two fields with one name, the first counts.
    if !is_classified {
        fields.extend([("status", UNTRIAGED.to_string()), ("classifier", null()), ("classifier_email", null())]);
    }
    Some(serde_json::from_str::<OrderedObject<'_>>(alert.get()).ok()?.with(&fields))
}

/// The fields that edits set, as they are at a time: null before their edit, and with the time of the edit after it.
fn edited_fields(changes: &AlertChanges, now: i64, record: &OrderedObject<'_>) -> Vec<(&'static str, String)> {
    let Some(times) = changes.edits else { return Vec::new() };
    let time_of = |edit: usize, field: &'static str| {
        let is_set = times[edit] <= now && record.text(field).is_some_and(|text| text != "null");
        let mut text = Vec::new();
        write_moment(&mut text, is_set.then_some(times[edit].saturating_mul(SECOND)));
        (field, String::from_utf8_lossy(&text).into_owned())
    };
    let mut fields = vec![time_of(0, "first_triaged"), time_of(1, "bug_updated")];
    for (edit, name, unset) in [
        (0, "assignee_username", "null"),
        (0, "assignee_email", "null"),
        (1, "bug_number", "null"),
        (1, "bug_status", "null"),
        (2, "notes", "null"),
        (2, "performance_tags", "[]"),
    ] {
        if times[edit] > now {
            fields.push((name, unset.to_owned()));
        }
    }
    fields
}

fn null() -> String {
    "null".to_owned()
}
