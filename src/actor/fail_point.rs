//! Places at which the crash tests abort the process, like a kill or a power failure, or let a thread or task panic.
//!
//! `PERFHARVEST_FAIL_POINT=log.before_sync:3` aborts the process when it passes this place for the third time, and
//! `log.before_sync:3:panic` panics. Only builds with debug assertions have fail points.

/// Aborts the process or panics if the environment names this place, `name`.
#[cfg(debug_assertions)]
pub(crate) fn fail_point(name: &str) {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static ASKED: OnceLock<Option<(String, u64, bool)>> = OnceLock::new();
    static PASSED: AtomicU64 = AtomicU64::new(0);

    let asked = ASKED.get_or_init(|| {
        let text = std::env::var("PERFHARVEST_FAIL_POINT").ok()?;
        let (name, passage) = text.split_once(':')?;
        let (passage, panics) = passage.strip_suffix(":panic").map_or((passage, false), |passage| (passage, true));
        Some((name.to_owned(), passage.parse().ok()?, panics))
    });
    if let Some((asked, passage, panics)) = asked
        && asked == name
        && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == *passage
    {
        assert!(!panics, "the fail point {name}");
        std::process::abort();
    }
}

/// Does nothing without debug assertions.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub(crate) fn fail_point(_name: &str) {}
