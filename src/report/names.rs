//! Names for the numbers that the server uses, as of 2026. Unknown numbers are shown as numbers.

use crate::model::FrameworkId;

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
    let name = match number {
        0 => "untriaged",
        1 => "downstream",
        2 => "reassigned",
        3 => "invalid",
        4 => "improvement",
        5 => "investigating",
        6 => "won't fix",
        7 => "fixed",
        8 => "backed out",
        9 => "infrastructure",
        _ => return format!("status {number}"),
    };
    name.to_owned()
}
