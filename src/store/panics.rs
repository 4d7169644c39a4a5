//! Panics of sled, which become errors.

use std::panic::AssertUnwindSafe;

/// Runs a function that may panic on damage. The panic becomes a value; its message is not printed, since the caller's error
/// replaces it. Panics of other threads are printed.
pub(super) fn catch_silently<T>(run: impl FnOnce() -> T) -> std::thread::Result<T> {
    thread_local! {
        static SILENT: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    }
    static INSTALLED: std::sync::Once = std::sync::Once::new();
    INSTALLED.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !SILENT.get() {
                before(panic);
            }
        }));
    });
    let was_silent = SILENT.replace(true);
    let caught = std::panic::catch_unwind(AssertUnwindSafe(run));
    SILENT.set(was_silent);
    caught
}
