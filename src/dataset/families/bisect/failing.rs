//! The alert summaries whose regressions are studied: `alert_summary_fail_perf_sigs_no_fw_2_6_18.csv`.
//!
//! Value: [`Failing`].

use std::collections::{BTreeMap, BTreeSet};

use crate::config::Config;
use crate::dataset::catalogue::Artifact;
use crate::dataset::error::DatasetError;
use crate::dataset::families::alerts::{AlertSummaryView, FailingRow, for_each_summary};
use crate::dataset::family::{Family, Making};
use crate::dataset::output::RowCounts;
use crate::dataset::promise::Promised;
use crate::dataset::write::csv::Dialect;
use crate::model::{FrameworkId, SignatureId, Timestamp};
use crate::store::CrawlIdentity;

pub(in crate::dataset::families) struct FilteredFailing;

/// The failing signatures after the filter.
#[derive(Debug, Default)]
pub(in crate::dataset::families) struct Failing {
    /// The summaries that pass, in the order of the list.
    pub(super) summaries: Vec<FailingSummary>,
    /// All other summaries.
    pub(super) num_others: u64,
}

/// An alert summary that passes the filter.
#[derive(Debug)]
pub(super) struct FailingSummary {
    pub(super) row: FailingRow,
    pub(super) view: AlertSummaryView,
}

impl Failing {
    /// The failing signatures, ascending.
    pub(super) fn signatures(&self) -> BTreeSet<SignatureId> {
        self.summaries.iter().flat_map(|summary| summary.row.signature_ids.iter().copied()).collect()
    }
}

/// The options of all artifacts that depend on the filter.
pub(super) fn filter_options(config: &Config) -> Vec<(&'static str, String)> {
    let cutoff = config.bisect.created_cutoff.map_or_else(|| "none".to_owned(), |cutoff| cutoff.to_string());
    vec![
        ("excluded_framework_ids", format!("{:?}", config.artifacts.excluded_framework_ids)),
        ("created_cutoff", cutoff),
    ]
}

impl Family for FilteredFailing {
    type Value = Failing;

    fn options(_artifact: Artifact, config: &Config, _identity: &CrawlIdentity) -> Vec<(&'static str, String)> {
        filter_options(config)
    }

    fn start(making: &mut Making<'_, '_>) -> Result<Promised<Failing>, DatasetError> {
        making.spawn(|context| {
            let filter = Filter {
                excluded: context.options().excluded_framework_ids.iter().copied().map(FrameworkId).collect(),
                cutoff: context.config.bisect.created_cutoff,
            };
            let (mut failing, mut counts) = (Failing::default(), RowCounts::new());
            let listing = context.store.alert_listing()?;
            for_each_summary::<DatasetError>(context.store, context.identity, &listing, |_, record| {
                context.means.check_interrupted()?;
                failing.num_others += 1;
                let Ok(view) = AlertSummaryView::read(record) else { return Ok(()) }; // the alert tables count it
                let Some(row) = FailingRow::of(&view) else { return Ok(()) };
                if let Some(reason) = filter.reason(&view) {
                    *counts.entry(reason.to_owned()).or_default() += 1;
                } else {
                    failing.num_others -= 1;
                    failing.summaries.push(FailingSummary { row, view });
                }
                Ok(())
            })?;
            let header = ["alert_summary_id", "revision", "fail_perf_sig_ids", "num_fail_perf_sig_ids"];
            let artifact = Artifact::FilteredFailingSignatures;
            if let Some(mut file) = context.csv_file(artifact, Dialect::CsvModule, &header)? {
                let by_id: BTreeMap<_, _> = failing.summaries.iter().map(|of| (of.row.summary_id, &of.row)).collect();
                for row in by_id.into_values() {
                    file.write_row(row.cells())?;
                }
                context.finish(file.written()?, &counts)?;
            }
            Ok(failing)
        })
    }
}

/// The summaries that are left out.
struct Filter {
    excluded: BTreeSet<FrameworkId>,
    cutoff: Option<Timestamp>,
}

impl Filter {
    /// Why a summary is left out; `None` if it passes. A framework or a time that cannot be read leaves nothing out.
    fn reason(&self, summary: &AlertSummaryView) -> Option<&'static str> {
        let framework = summary.framework.filter(|_| !summary.has_float_framework);
        if framework.is_some_and(|framework| self.excluded.contains(&framework)) {
            return Some("summaries_of_excluded_frameworks");
        }
        let is_early = summary.created_at().zip(self.cutoff).is_some_and(|(created, cutoff)| created < cutoff);
        is_early.then_some("summaries_before_the_cutoff")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::RawJson;

    #[test]
    fn a_summary_is_left_out_by_its_framework_or_a_microsecond_before_the_cutoff() {
        let cutoff = Some("2026-07-25T00:00:00Z".parse().unwrap());
        let filter = Filter { excluded: [2, 6, 18].map(FrameworkId).into(), cutoff };
        let reason = |fields: &str| {
            let raw = RawJson::parse(&format!("{{\"id\":1,{fields}}}")).unwrap();
            filter.reason(&AlertSummaryView::read(&raw).unwrap())
        };
        let (framework, early) = (Some("summaries_of_excluded_frameworks"), Some("summaries_before_the_cutoff"));
        for (fields, expected) in [
            (r#""framework":2,"created":"2026-08-01T00:00:00""#, framework),
            (r#""framework":1,"created":"2026-07-25T00:00:00""#, None),
            (r#""framework":1,"created":"2026-07-24T23:59:59.999999""#, early),
            (r#""framework":1,"created":"2026-07-25T01:00:00+02:00""#, early),
            (r#""framework":6.0,"created":"2026-07-25T00:00:00.000001""#, None),
            (r#""framework":null,"created":null"#, None),
            (r#""created":"soon""#, None),
            (r#""framework":18,"created":"soon""#, framework),
        ] {
            assert_eq!(reason(fields), expected, "{fields}");
        }
        let open = Filter { excluded: BTreeSet::new(), cutoff: None };
        let raw = RawJson::parse(r#"{"id":1,"framework":2,"created":"1999-01-01T00:00:00"}"#).unwrap();
        assert_eq!(open.reason(&AlertSummaryView::read(&raw).unwrap()), None);
    }
}
