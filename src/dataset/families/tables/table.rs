//! Defines the tables: names, columns and row order. `datasets/README.md` describes each column.

use std::fmt;

use clap::ValueEnum;

use super::reading::Field;
use super::reading::Reading::{EpochSecs, Flag, FlagOr, Float, Integer, Json, Text, TextUnlessEmpty, Texts, Time};
use crate::config::Scope;
use crate::dataset::write::parquet::{Column, ColumnType, TableSchema};

/// Version of the columns of all tables. Removing a column or changing its meaning raises it.
pub const SCHEMA_VERSION: u32 = 1;

/// A table of the export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Table {
    /// Every measured value
    Data,
    /// Every test
    Signatures,
    /// Every alert summary
    AlertSummaries,
    /// Every alert
    Alerts,
    /// The job details that were fetched
    Jobs,
    /// Commits and pushes
    Revisions,
    /// Signatures that always run together
    SigGroups,
    /// Every replicate of a measured value, if the crawl asked for them
    Replicates,
}

impl Table {
    /// All tables, in the order of the data dictionary.
    pub const ALL: [Self; 8] = [
        Self::Data,
        Self::Signatures,
        Self::AlertSummaries,
        Self::Alerts,
        Self::Jobs,
        Self::Revisions,
        Self::SigGroups,
        Self::Replicates,
    ];

    /// True if a crawl of `scope` fetches rows for it.
    pub(super) fn is_of(self, scope: &Scope) -> bool {
        self != Self::Replicates || scope.replicates
    }

    /// The name, from which the file and the SQL views take theirs.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::Signatures => "signatures",
            Self::AlertSummaries => "alert_summaries",
            Self::Alerts => "alerts",
            Self::Jobs => "jobs",
            Self::Revisions => "revisions",
            Self::SigGroups => "sig_groups",
            Self::Replicates => "replicates",
        }
    }

    /// The columns and the row order.
    #[must_use]
    pub fn schema(self) -> TableSchema {
        let (columns, sorted_by): (Vec<Column>, &'static [&'static str]) = match self {
            Self::Data => (DATA.to_vec(), &["signature_id", "push_timestamp", "push_id", "job_id", "id"]),
            Self::Signatures => {
                let own =
                    [nullable("option_name", ColumnType::Text), required("in_scope", ColumnType::Flag), LAST_SEEN];
                let columns = SIGNATURES.iter().chain(HEADERS).map(Field::column).chain(own).collect();
                (columns, &["id"])
            }
            Self::AlertSummaries => {
                let own = [nullable("status_name", ColumnType::Text), LAST_SEEN];
                (ALERT_SUMMARIES.iter().map(Field::column).chain(own).collect(), &["id"])
            }
            Self::Alerts => {
                let own = [required("alert_summary_id", ColumnType::Integer), required("related", ColumnType::Flag)];
                let columns = own.into_iter().chain(ALERTS.iter().map(Field::column)).collect();
                (columns, &["alert_summary_id", "related", "id"])
            }
            Self::Jobs => (JOBS.iter().map(Field::column).chain([FIRST_SEEN, LAST_SEEN]).collect(), &["id"]),
            Self::Revisions => (REVISIONS.to_vec(), &["commit_date", "revision"]),
            Self::SigGroups => (SIG_GROUPS.to_vec(), &["sig_group_id", "signature_id"]),
            // Then in the order of `data`, of which they are a part.
            Self::Replicates => (REPLICATES.to_vec(), &["signature_id"]),
        };
        TableSchema { name: self.name(), columns, sorted_by }
    }

    /// As [`Table::schema`], for a published dataset: `last_seen` is null while the server lists the record, because every
    /// harvest would change its number in every row otherwise. A job's number is final.
    #[must_use]
    pub fn published_schema(self) -> TableSchema {
        let mut schema = self.schema();
        let moving = schema.columns.iter_mut().filter(|column| column.name == LAST_SEEN.name && self != Self::Jobs);
        moving.for_each(|column| column.nullable = true);
        schema
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

const fn required(name: &'static str, holds: ColumnType) -> Column {
    Column { name, holds, nullable: false }
}

const fn nullable(name: &'static str, holds: ColumnType) -> Column {
    Column { name, holds, nullable: true }
}

/// Numbers of harvests.
const FIRST_SEEN: Column = required("first_seen", ColumnType::Integer);
const LAST_SEEN: Column = required("last_seen", ColumnType::Integer);

const DATA: &[Column] = &[
    required("signature_id", ColumnType::Integer),
    required("id", ColumnType::Integer),
    nullable("job_id", ColumnType::Integer),
    nullable("push_id", ColumnType::Integer),
    required("push_timestamp", ColumnType::Time),
    nullable("revision", ColumnType::Text),
    nullable("submit_time", ColumnType::Time),
    nullable("value", ColumnType::Float),
    nullable("machine_name", ColumnType::Text),
    FIRST_SEEN,
    LAST_SEEN,
];

const REVISIONS: &[Column] = &[
    required("revision", ColumnType::Text),
    nullable("commit_date", ColumnType::Time),
    nullable("push_id", ColumnType::Integer),
    nullable("push_timestamp", ColumnType::Time),
];

const SIG_GROUPS: &[Column] =
    &[required("sig_group_id", ColumnType::Integer), required("signature_id", ColumnType::Integer)];

const REPLICATES: &[Column] = &[
    required("signature_id", ColumnType::Integer),
    required("datum_id", ColumnType::Integer),
    required("ordinal", ColumnType::Integer),
    nullable("value", ColumnType::Float),
];

pub(super) const SIGNATURES: &[Field] = &[
    Field::required("id", Integer),
    Field::nullable("signature_hash", Text),
    Field::required("framework_id", Integer),
    Field::nullable("option_collection_hash", Text),
    Field::nullable("machine_platform", Text),
    Field::nullable("suite", Text),
    Field::nullable("test", TextUnlessEmpty),
    Field::nullable("application", TextUnlessEmpty),
    Field::nullable("measurement_unit", TextUnlessEmpty),
    Field::required("lower_is_better", FlagOr(true)),
    Field::required("has_subtests", FlagOr(false)),
    Field::nullable("should_alert", Flag),
    Field::nullable("parent_signature", TextUnlessEmpty),
    Field::required("tags", Texts),
    Field::required("extra_options", Texts),
];

/// From the header of a signature's data, after [`SIGNATURES`]; then `option_name` and `in_scope`.
pub(super) const HEADERS: &[Field] = &[
    Field::nullable("parent_signature_id", Integer).at("parent_signature"),
    Field::nullable("alert_threshold", Float),
    Field::nullable("alert_change_type", Integer),
];

pub(super) const ALERT_SUMMARIES: &[Field] = &[
    Field::required("id", Integer),
    Field::nullable("push_id", Integer),
    Field::nullable("prev_push_id", Integer),
    Field::nullable("revision", TextUnlessEmpty),
    Field::nullable("original_revision", TextUnlessEmpty),
    Field::nullable("prev_push_revision", TextUnlessEmpty),
    Field::nullable("original_prev_push_revision", TextUnlessEmpty),
    Field::nullable("push_timestamp", EpochSecs),
    Field::required("created", Time),
    Field::nullable("first_triaged", Time),
    Field::nullable("triage_due_date", Time),
    Field::nullable("repository", Text),
    Field::nullable("framework", Integer),
    Field::nullable("status", Integer),
    Field::nullable("bug_number", Integer),
    Field::nullable("bug_status", Integer),
    Field::nullable("bug_due_date", Time),
    Field::nullable("bug_updated", Time),
    Field::nullable("issue_tracker", Integer),
    Field::nullable("notes", Text),
    Field::nullable("assignee_username", Text),
    Field::nullable("assignee_email", Text),
    Field::required("performance_tags", Texts),
    Field::nullable("duplicated_summaries", Json),
];

/// After `alert_summary_id` and `related`.
pub(super) const ALERTS: &[Field] = &[
    Field::required("id", Integer),
    Field::nullable("status", Integer),
    Field::nullable("summary_id", Integer),
    Field::nullable("related_summary_id", Integer),
    Field::nullable("signature_id", Integer).at("series_signature.id"),
    Field::nullable("framework_id", Integer).at("series_signature.framework_id"),
    Field::nullable("signature_hash", Text).at("series_signature.signature_hash"),
    Field::nullable("option_collection_hash", Text).at("series_signature.option_collection_hash"),
    Field::nullable("machine_platform", Text).at("series_signature.machine_platform"),
    Field::nullable("suite", Text).at("series_signature.suite"),
    Field::nullable("test", TextUnlessEmpty).at("series_signature.test"),
    Field::nullable("suite_public_name", TextUnlessEmpty).at("series_signature.suite_public_name"),
    Field::nullable("test_public_name", TextUnlessEmpty).at("series_signature.test_public_name"),
    Field::nullable("measurement_unit", TextUnlessEmpty).at("series_signature.measurement_unit"),
    Field::required("lower_is_better", FlagOr(true)).at("series_signature.lower_is_better"),
    Field::required("has_subtests", FlagOr(false)).at("series_signature.has_subtests"),
    Field::required("tags", Texts).at("series_signature.tags"),
    Field::required("extra_options", Texts).at("series_signature.extra_options"),
    Field::required("is_regression", FlagOr(false)),
    Field::nullable("prev_value", Float),
    Field::nullable("new_value", Float),
    Field::nullable("amount_abs", Float),
    Field::nullable("amount_pct", Float),
    Field::nullable("t_value", Float),
    Field::required("manually_created", FlagOr(false)),
    Field::required("starred", FlagOr(false)),
    Field::nullable("classifier", Text),
    Field::nullable("classifier_email", Text),
    Field::nullable("backfill_record", Json),
    Field::nullable("task_id", Text).at("taskcluster_metadata.task_id"),
    Field::nullable("retry_id", Integer).at("taskcluster_metadata.retry_id"),
    Field::nullable("prev_task_id", Text).at("prev_taskcluster_metadata.task_id"),
    Field::nullable("prev_retry_id", Integer).at("prev_taskcluster_metadata.retry_id"),
    Field::nullable("profile_url", Text),
    Field::nullable("prev_profile_url", Text),
    Field::required("side_by_side_available", FlagOr(false)),
    Field::nullable("noise_profile", Text),
];

pub(super) const JOBS: &[Field] = &[
    Field::required("id", Integer),
    Field::nullable("job_guid", Text),
    Field::nullable("push_id", Integer),
    Field::nullable("submit_timestamp", EpochSecs),
    Field::nullable("start_timestamp", EpochSecs),
    Field::nullable("end_timestamp", EpochSecs),
    Field::nullable("last_modified", Time),
    Field::nullable("state", Text),
    Field::nullable("result", Text),
    Field::nullable("reason", Text),
    Field::nullable("failure_classification_id", Integer),
    Field::nullable("tier", Integer),
    Field::nullable("job_type_id", Integer),
    Field::nullable("job_type_name", Text),
    Field::nullable("job_type_symbol", Text),
    Field::nullable("job_type_description", Text),
    Field::nullable("job_group_id", Integer),
    Field::nullable("job_group_name", Text),
    Field::nullable("job_group_symbol", Text),
    Field::nullable("job_group_description", Text),
    Field::nullable("build_architecture", Text),
    Field::nullable("build_os", Text),
    Field::nullable("build_platform", Text),
    Field::nullable("build_platform_id", Integer),
    Field::nullable("build_system_type", Text),
    Field::nullable("machine_name", Text),
    Field::nullable("machine_platform_architecture", Text),
    Field::nullable("machine_platform_os", Text),
    Field::nullable("platform", Text),
    Field::nullable("platform_option", Text),
    Field::nullable("option_collection_hash", Text),
    Field::nullable("ref_data_name", Text),
    Field::nullable("signature", Text),
    Field::nullable("who", Text),
    Field::nullable("task_id", Text),
    Field::nullable("retry_id", Integer),
    Field::nullable("result_set_id", Integer),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Columns and types listed under the table's heading.
    fn documented(table: Table) -> Vec<(String, String)> {
        let text = include_str!("../../../../datasets/README.md");
        let heading = format!("### `{}`", table.schema().file_name());
        let section = text.split_once(&heading).unwrap_or_else(|| panic!("no section {heading}")).1;
        let section = section.split("\n##").next().unwrap();
        let mut columns = Vec::new();
        for row in section.lines().filter(|line| line.starts_with("| `")) {
            let mut cells = row.split('|').skip(1);
            let (names, holds) = (cells.next().unwrap(), cells.next().unwrap().trim());
            columns.extend(names.split('`').skip(1).step_by(2).map(|name| (name.to_owned(), holds.to_owned())));
        }
        columns
    }

    #[test]
    fn the_data_dictionary_has_every_column_with_its_type_in_this_order() {
        for table in Table::ALL {
            let expected: Vec<(String, String)> = table
                .schema()
                .columns
                .iter()
                .map(|column| {
                    let holds = match column.holds {
                        ColumnType::Integer => "int",
                        ColumnType::Float => "double",
                        ColumnType::Flag => "bool",
                        ColumnType::Text => "text",
                        ColumnType::Time => "time",
                        ColumnType::Texts => "list of text",
                    };
                    (column.name.to_owned(), format!("{holds}{}", if column.nullable { ", null" } else { "" }))
                })
                .collect();
            assert_eq!(documented(table), expected, "{table}");
        }
        let text = include_str!("../../../../datasets/README.md");
        assert!(text.contains(&format!("`schema_version` {SCHEMA_VERSION}")));
    }

    #[test]
    fn columns_are_named_once_and_tables_are_sorted_by_columns_they_have() {
        for table in Table::ALL {
            let schema = table.schema();
            let names: BTreeSet<&str> = schema.columns.iter().map(|column| column.name).collect();
            assert_eq!(names.len(), schema.columns.len(), "{table}");
            assert!(!schema.sorted_by.is_empty());
            assert!(schema.sorted_by.iter().all(|name| names.contains(name)), "{table}");
        }
    }
}
