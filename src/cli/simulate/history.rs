//! The flags of `simulate` that say how the data change as the server's clock advances.

use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use treeherder_sim::History;

/// A named set of the flags below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Preset {
    /// Jobs expire after 120 days; nothing else is removed or changed
    Plain,
    /// Records only appear
    Grows,
    /// Data are late; jobs expire; signatures come and go; alert summaries are edited, reassigned and deleted
    Forgets,
}

/// An age, or "never".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Expiry(Option<Duration>);

impl FromStr for Expiry {
    type Err = humantime::DurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "never" { Ok(Self(None)) } else { humantime::parse_duration(text).map(|age| Self(Some(age))) }
    }
}

#[derive(Debug, Args)]
#[command(next_help_heading = "History, as the clock advances")]
pub(super) struct HistoryArgs {
    /// How the data change as the clock advances; the flags below change single numbers of it
    #[arg(long, value_enum, default_value_t = Preset::Plain)]
    history: Preset,
    /// Time between a push and its data, such as 1h [default: 0s; with forgets: 1h]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    arrival_delay: Option<Duration>,
    /// Share of the jobs whose data are late, from 0 to 1 [default: 0; with forgets: 0.05]
    #[arg(long, value_name = "SHARE")]
    late_share: Option<f64>,
    /// Longest time between a push and its late jobs [default: 20d]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    late_within: Option<Duration>,
    /// Age at which jobs are deleted, or "never" [default: 120d; with grows: never]
    #[arg(long, value_name = "DURATION")]
    job_expiry: Option<Expiry>,
    /// Time within which unfinished jobs finish [default: they stay unfinished; with forgets: 2d]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    jobs_finish_within: Option<Duration>,
    /// Share of the generated signature groups that first run later than the others [default: 0; with forgets: 0.1]
    #[arg(long, value_name = "SHARE")]
    new_signature_share: Option<f64>,
    /// Share of the signatures that are deleted [default: 0; with forgets: 0.05]
    #[arg(long, value_name = "SHARE")]
    vanishing_signature_share: Option<f64>,
    /// Share of the alert summaries that appear untriaged and are edited three times [default: 0; with forgets: 0.7]
    #[arg(long, value_name = "SHARE")]
    edited_alert_share: Option<f64>,
    /// Share of the alert summaries whose first alert is reassigned [default: 0; with forgets: 0.1]
    #[arg(long, value_name = "SHARE")]
    reassigned_alert_share: Option<f64>,
    /// Share of the alert summaries that are deleted [default: 0; with forgets: 0.05]
    #[arg(long, value_name = "SHARE")]
    deleted_alert_share: Option<f64>,
    /// Time within which alert summaries change, from their creation on [default: 60d]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    alert_changes_within: Option<Duration>,
}

impl HistoryArgs {
    pub(super) fn history(&self, seed: u64) -> History {
        let preset = match self.history {
            Preset::Plain => History::default(),
            Preset::Grows => History::growing(),
            Preset::Forgets => History::forgetting(),
        };
        History {
            seed,
            arrival_delay: self.arrival_delay.unwrap_or(preset.arrival_delay),
            late_share: self.late_share.unwrap_or(preset.late_share),
            late_within: self.late_within.unwrap_or(preset.late_within),
            job_expiry: self.job_expiry.map_or(preset.job_expiry, |expiry| expiry.0),
            jobs_finish_within: self.jobs_finish_within.or(preset.jobs_finish_within),
            new_signature_share: self.new_signature_share.unwrap_or(preset.new_signature_share),
            vanishing_signature_share: self.vanishing_signature_share.unwrap_or(preset.vanishing_signature_share),
            edited_alert_share: self.edited_alert_share.unwrap_or(preset.edited_alert_share),
            reassigned_alert_share: self.reassigned_alert_share.unwrap_or(preset.reassigned_alert_share),
            deleted_alert_share: self.deleted_alert_share.unwrap_or(preset.deleted_alert_share),
            alert_changes_within: self.alert_changes_within.unwrap_or(preset.alert_changes_within),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        history: HistoryArgs,
    }

    fn history(flags: &str) -> History {
        Flags::try_parse_from(std::iter::once("x").chain(flags.split_whitespace())).unwrap().history.history(7)
    }

    #[test]
    fn every_flag_changes_its_number() {
        let plain = History { seed: 7, ..History::default() };
        let hour = Duration::from_hours(1);
        assert_eq!(history(""), plain);
        assert_eq!(history("--history grows"), History { seed: 7, ..History::growing() });
        assert_eq!(history("--history forgets"), History { seed: 7, ..History::forgetting() });
        for (flag, expected) in [
            ("--arrival-delay 1h", History { arrival_delay: hour, ..plain.clone() }),
            ("--late-share 0.5", History { late_share: 0.5, ..plain.clone() }),
            ("--late-within 1h", History { late_within: hour, ..plain.clone() }),
            ("--job-expiry 1h", History { job_expiry: Some(hour), ..plain.clone() }),
            ("--job-expiry never", History { job_expiry: None, ..plain.clone() }),
            ("--jobs-finish-within 1h", History { jobs_finish_within: Some(hour), ..plain.clone() }),
            ("--new-signature-share 0.5", History { new_signature_share: 0.5, ..plain.clone() }),
            ("--vanishing-signature-share 0.5", History { vanishing_signature_share: 0.5, ..plain.clone() }),
            ("--edited-alert-share 0.5", History { edited_alert_share: 0.5, ..plain.clone() }),
            ("--reassigned-alert-share 0.5", History { reassigned_alert_share: 0.5, ..plain.clone() }),
            ("--deleted-alert-share 0.5", History { deleted_alert_share: 0.5, ..plain.clone() }),
            ("--alert-changes-within 1h", History { alert_changes_within: hour, ..plain.clone() }),
        ] {
            assert_eq!(history(flag), expected, "{flag}");
        }
    }
}
