//! Names for the numbers that the server uses, as of 2026. Unknown numbers are shown as numbers.

use crate::model::{AlertStatus, FrameworkId};

/// `browsertime (13)`
pub(super) fn framework(id: Option<FrameworkId>) -> String {
    let Some(FrameworkId(number)) = id else { return "unknown".to_owned() };
    let name = match number {
        1 => "talos",
        2 => "build_metrics",
        4 => "awsy",
        6 => "platform_microbench",
        10 => "raptor",
        11 => "js-bench",
        12 => "devtools",
        13 => "browsertime",
        15 => "mozperftest",
        16 => "fxrecord",
        17 => "telemetry",
        18 => "mozharness",
        _ => return format!("framework {number}"),
    };
    format!("{name} ({number})")
}

/// The status of an alert summary: `fixed`.
pub(super) fn alert_status(status: Option<i64>) -> String {
    let Some(number) = status else { return "unknown".to_owned() };
    match AlertStatus::of(number) {
        None => format!("status {number}"),
        Some(AlertStatus::WontFix) => "won't fix".to_owned(),
        Some(AlertStatus::BackedOut) => "backed out".to_owned(),
        Some(AlertStatus::Infra) => "infrastructure".to_owned(),
        Some(status) => status.name().to_owned(),
    }
}
