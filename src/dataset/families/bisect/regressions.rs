//! The regressions to bisect: `perf_bisect_regressions_eval.jsonl` and `perf_bisect_regressions_final_test.jsonl`.

use std::collections::HashSet;

use crate::config::{Config, Semantics};
use crate::dataset::catalogue::{Artifact, Input};
use crate::dataset::error::{DatasetError, with_causes};
use crate::dataset::families::alerts::AlertView;
use crate::dataset::family::{Context, Family, Making};
use crate::dataset::lines::python_strip;
use crate::dataset::output::{LineFile, RowCounts};
use crate::dataset::promise::Promised;
use crate::dataset::write::json::{AsciiMode, dumps};
use crate::model::{AlertSummaryId, SignatureId};
use crate::store::CrawlIdentity;

use super::data::has_row;
use super::failing::{Failing, FailingSummary, FilteredFailing, filter_options};
use super::info::{SignatureInfo, write_optional_str};
use super::inputs::RegressionInputs;
use super::series::{RowReader, header_of};

/// Fewest commits between the good and the bad revision.
const MIN_CANDIDATES: u32 = 2;

pub(in crate::dataset::families) struct Regressions;

impl Family for Regressions {
    type Value = ();

    fn options(_artifact: Artifact, config: &Config, _identity: &CrawlIdentity) -> Vec<(&'static str, String)> {
        let mut options = filter_options(config);
        options.push(("excluded_alert_summary_ids", format!("{:?}", config.bisect.excluded_alert_summary_ids)));
        options
    }

    fn start(making: &mut Making<'_, '_>) -> Result<Promised<()>, DatasetError> {
        let failing = making.value_of::<FilteredFailing>()?;
        making.spawn(move |context| {
            let failing = failing.wait()?;
            match RegressionInputs::read(context.config) {
                Ok(Some(inputs)) => write(context, failing, &inputs),
                Ok(None) => Err(DatasetError::not_configured(Artifact::RegressionsEval, Input::EvalPredictions)),
                Err(error) => {
                    for artifact in [Artifact::RegressionsEval, Artifact::RegressionsFinalTest] {
                        if context.wants(artifact) {
                            context.refuse(artifact, with_causes(&error));
                        }
                    }
                    Ok(())
                }
            }
        })
    }
}

/// The part of the list of commits that a regression belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Eval,
    FinalTest,
}

/// Why an alert summary gives no regression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Skip {
    Excluded,
    OtherRepository,
    WithoutRevision,
    UnknownRevision,
    BadNotAfterGood,
    OutsideBothParts,
    TooFewCandidates,
    GoodNotBeforeBad,
    CulpritIsGood,
    GoodNotBeforeCulprit,
    CulpritNotBeforeBad,
    WithoutRegressions,
}

impl Skip {
    /// The key in the manifest.
    fn key(self) -> &'static str {
        match self {
            Self::Excluded => "skipped_excluded_alert_summary",
            Self::OtherRepository => "skipped_of_another_repository",
            Self::WithoutRevision => "skipped_without_revision",
            Self::UnknownRevision => "skipped_revision_not_in_commits",
            Self::BadNotAfterGood => "skipped_bad_not_after_good",
            Self::OutsideBothParts => "skipped_outside_both_parts",
            Self::TooFewCandidates => "skipped_too_few_candidates",
            Self::GoodNotBeforeBad => "skipped_good_is_no_ancestor_of_bad",
            Self::CulpritIsGood => "skipped_culprit_is_good",
            Self::GoodNotBeforeCulprit => "skipped_good_is_no_ancestor_of_culprit",
            Self::CulpritNotBeforeBad => "skipped_culprit_is_no_ancestor_of_bad",
            Self::WithoutRegressions => "skipped_without_regressions",
        }
    }
}

/// An alert summary whose regressions can be bisected.
#[derive(Debug, PartialEq, Eq)]
struct Case<'a> {
    part: Part,
    good: &'a str,
    bad: &'a str,
    culprit: &'a str,
    num_candidates: u32,
    /// By the difference of positions, as the reference counts.
    num_by_position: u32,
}

/// The rules that a regression must meet.
struct Rules<'a> {
    inputs: &'a RegressionInputs,
    semantics: Semantics,
    repository: &'a str,
    excluded: HashSet<AlertSummaryId>,
}

impl Rules<'_> {
    fn judge<'s>(&self, summary: &'s FailingSummary) -> Result<Case<'s>, Skip> {
        let Self { inputs: RegressionInputs { graph, eval, final_test, .. }, semantics, .. } = self;
        let view = &summary.view;
        if self.excluded.contains(&view.id) {
            return Err(Skip::Excluded);
        }
        if *semantics == Semantics::Corrected && view.repository != self.repository {
            return Err(Skip::OtherRepository);
        }
        let revisions = [&view.original_prev_push_revision, &view.original_revision, &view.revision];
        let [good, bad, culprit] = revisions.map(|revision| python_strip(revision));
        if [good, bad, culprit].contains(&"") {
            return Err(Skip::WithoutRevision);
        }
        let position = |revision: &str| graph.position(revision).ok_or(Skip::UnknownRevision);
        let (at_good, at_bad, at_culprit) = (position(good)?, position(bad)?, position(culprit)?);
        if at_bad <= at_good {
            return Err(Skip::BadNotAfterGood);
        }
        let part = match [eval, final_test].map(|bounds| bounds.contains(at_good) && bounds.contains(at_bad)) {
            [true, _] => Part::Eval,
            [false, true] => Part::FinalTest,
            [false, false] => return Err(Skip::OutsideBothParts),
        };
        let num_by_position = at_bad - at_good - 1;
        let num_candidates = match semantics {
            Semantics::Reference => num_by_position,
            Semantics::Corrected if !graph.is_ancestor(at_good, at_bad) => return Err(Skip::GoodNotBeforeBad),
            Semantics::Corrected => graph.num_between(at_good, at_bad),
        };
        if num_candidates < MIN_CANDIDATES {
            return Err(Skip::TooFewCandidates);
        }
        match () {
            () if !graph.is_ancestor(at_good, at_bad) => Err(Skip::GoodNotBeforeBad),
            () if at_culprit == at_good => Err(Skip::CulpritIsGood),
            () if !graph.is_ancestor(at_good, at_culprit) => Err(Skip::GoodNotBeforeCulprit),
            () if at_culprit != at_bad && !graph.is_ancestor(at_culprit, at_bad) => Err(Skip::CulpritNotBeforeBad),
            () => Ok(Case { part, good, bad, culprit, num_candidates, num_by_position }),
        }
    }
}

/// The failing alerts of a summary: the first of each signature.
fn failing_alerts(alerts: &[AlertView]) -> Vec<(SignatureId, &AlertView)> {
    let mut seen = HashSet::new();
    let regressions = alerts.iter().filter(|alert| alert.is_regression);
    let identified = regressions.filter_map(|alert| Some((alert.signature_id?, alert)));
    identified.filter(|(signature, _)| seen.insert(*signature)).collect()
}

fn write(context: &Context<'_>, failing: &Failing, inputs: &RegressionInputs) -> Result<(), DatasetError> {
    let excluded = context.config.bisect.excluded_alert_summary_ids.iter().copied().map(AlertSummaryId).collect();
    let semantics = context.options().semantics;
    let rules = Rules { inputs, semantics, repository: &context.identity.repository, excluded };
    let reader = RowReader::new(context.store, false)?;
    let mut files = [Artifact::RegressionsEval, Artifact::RegressionsFinalTest]
        .map(|artifact| context.line_file(artifact))
        .into_iter()
        .collect::<Result<Vec<Option<LineFile>>, _>>()?;
    let mut counts = RowCounts::from([
        ("skipped_by_the_filter".to_owned(), failing.num_others),
        ("samples_without_commit".to_owned(), inputs.num_odd_samples),
        ("samples_of_unknown_commits".to_owned(), inputs.eval.num_unknown + inputs.final_test.num_unknown),
        ("commits_with_unknown_parents".to_owned(), inputs.graph.num_unknown_parents),
    ]);
    let mut count = |key: &str, num: u64| *counts.entry(key.to_owned()).or_default() += num;
    let mut cases: Vec<(Case<'_>, &FailingSummary)> = Vec::new();
    for summary in &failing.summaries {
        context.means.check_interrupted()?;
        match rules.judge(summary) {
            Ok(_) if failing_alerts(&summary.view.alerts).is_empty() => count(Skip::WithoutRegressions.key(), 1),
            Ok(case) => cases.push((case, summary)),
            Err(skip) => count(skip.key(), 1),
        }
    }
    let (mut number, mut line) = (0, Vec::new());
    for (part, file) in [Part::Eval, Part::FinalTest].into_iter().zip(&mut files) {
        for (case, summary) in cases.iter().filter(|(case, _)| case.part == part) {
            for (signature, alert) in failing_alerts(&summary.view.alerts) {
                let header = has_row(reader.state(signature), semantics).then(|| header_of(context.store, signature));
                let info = header.transpose()?.map(|header| SignatureInfo::of(header.as_ref()));
                number += 1;
                count("candidates_counted_otherwise", u64::from(case.num_candidates != case.num_by_position));
                line.clear();
                write_case(number, case, summary.view.id, &mut line);
                write_failing(signature, alert, info.as_ref(), &mut line);
                line.extend_from_slice(b"}}\n");
                if let Some(file) = file {
                    file.append_line(&line)?;
                }
            }
        }
    }
    for file in files.into_iter().flatten() {
        context.finish(file.written(), &counts)?;
    }
    Ok(())
}

/// Appends the members of the row up to the failing signature.
fn write_case(number: u64, case: &Case<'_>, summary: AlertSummaryId, out: &mut Vec<u8>) {
    let Case { good, bad, culprit, num_candidates, .. } = case;
    let [good, bad, culprit] = [good, bad, culprit].map(|revision| {
        let mut text = Vec::new();
        write_optional_str(Some(revision), &mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    let text = format!(
        "{{\"regression_id\": {number}, \"alert_summary_id\": {summary}, \"good_revision\": {good}, \"bad_revision\": {bad}, \
         \"num_candidate_revisions\": {num_candidates}, \"culprit_revision\": {culprit}, \"failing_sig\": "
    );
    out.extend_from_slice(text.as_bytes());
}

/// Appends the failing signature, without its closing bracket.
fn write_failing(signature: SignatureId, alert: &AlertView, info: Option<&SignatureInfo>, out: &mut Vec<u8>) {
    let json = |raw: Option<&str>, out: &mut Vec<u8>| {
        if raw.is_none_or(|raw| dumps(raw, out, AsciiMode::Escape).is_err()) {
            out.extend_from_slice(b"null");
        }
    };
    out.extend_from_slice(format!("{{\"signature_id\": {signature}, \"Good_value\": ").as_bytes());
    json(alert.prev_value.as_deref(), out);
    out.extend_from_slice(b", \"bad_value\": ");
    json(alert.new_value.as_deref(), out);
    out.extend_from_slice(b", \"alert_threshold\": ");
    json(info.map(|info| info.threshold.as_str()).or(alert.alert_threshold.as_deref()), out);
    out.extend_from_slice(b", \"platform\": ");
    write_optional_str(info.and_then(|info| info.platform.as_deref()).or(alert.platform.as_deref()), out);
}

#[cfg(test)]
mod tests;
