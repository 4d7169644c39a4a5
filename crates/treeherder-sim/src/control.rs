//! The control requests of a simulator: `GET` and `POST /__sim/now` show and move its clock.
//!
//! They are not part of Treeherder's API: no fault, latency or script applies to them, and they are not arrivals.

use std::time::Duration;

use crate::alterations::World;
use crate::history::seconds;
use crate::json_text::write_string;
use crate::moment::{self, SECOND};
use crate::reply::Reply;

/// Maximal length of a body, bytes.
pub(crate) const LONGEST_BODY: usize = 256;

const PREFIX: &str = "/__sim/";
const CLOCK: &str = "/__sim/now";

/// A new time of the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    /// Seconds since the epoch.
    To(i64),
    /// Seconds.
    By(i64),
}

/// Whether a path is one of control requests.
pub(crate) fn is_control(path: &str) -> bool {
    path.starts_with(PREFIX)
}

/// Answers a control request.
pub(crate) fn control(world: &World, method: &str, path: &str, body: &[u8]) -> Reply {
    if path != CLOCK {
        return Reply::detail(404, &format!("unknown control request {path}: use GET or POST {CLOCK}"));
    }
    match method {
        "GET" | "HEAD" => show(&[("now", world.now())]),
        "POST" => {
            let text = String::from_utf8_lossy(body);
            let Some(to) = Move::read(text.trim()) else {
                return Reply::detail(
                    400,
                    &format!(
                        "invalid time \"{}\": send a time such as 2026-11-29T00:00:00Z, seconds since the epoch, or a step \
                         such as +7d",
                        text.trim()
                    ),
                );
            };
            let moved = match to {
                Move::To(now) => world.set_now(now).map(|before| (before, now)),
                Move::By(step) if moment::is_shown(world.now().saturating_add(step)) => Ok(world.advance(step)),
                Move::By(_) => return Reply::detail(400, &format!("the step {} is too long", text.trim())),
            };
            match moved {
                Ok((old, new)) => show(&[("old", old), ("new", new)]),
                Err(error) => Reply::detail(409, &error.to_string()),
            }
        }
        _ => Reply::detail(405, &format!("method {method} not allowed: use GET or POST {CLOCK}")),
    }
}

impl Move {
    fn read(text: &str) -> Option<Self> {
        if let Some(step) = text.strip_prefix('+') {
            let step: Duration = humantime::parse_duration(step.trim()).ok()?;
            return Some(Self::By(seconds(step)));
        }
        let to = text.parse().ok().or_else(|| moment::parse(text).map(|micros| micros.div_euclid(SECOND)))?;
        // Years that the API cannot show are typing errors, such as milliseconds.
        moment::is_shown(to).then_some(Self::To(to))
    }
}

/// An object with each time as text and in seconds.
fn show(times: &[(&str, i64)]) -> Reply {
    let mut out = Vec::from(*b"{");
    for (n, (name, time)) in times.iter().enumerate() {
        if n > 0 {
            out.push(b',');
        }
        write_string(&mut out, name);
        out.extend_from_slice(b":\"");
        moment::write_iso(&mut out, time.saturating_mul(SECOND));
        out.extend_from_slice(format!("Z\",\"{name}_secs\":{time}").as_bytes());
    }
    out.push(b'}');
    Reply::json(200, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_text_seconds_or_a_step() {
        for (text, expected) in [
            ("2026-11-29T00:00:00Z", Some(Move::To(1_795_910_400))),
            ("2026-11-29", Some(Move::To(1_795_910_400))),
            ("1795910400", Some(Move::To(1_795_910_400))),
            ("+7d", Some(Move::By(604_800))),
            ("+ 1h 30m", Some(Move::By(5400))),
            ("1795910400000", None),
            ("-7d", None),
            ("+-7d", None),
            ("", None),
            ("tomorrow", None),
        ] {
            assert_eq!(Move::read(text), expected, "{text}");
        }
    }
}
