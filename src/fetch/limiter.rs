//! The token bucket that every attempt passes, over all fetchers. The only file with governor.
//!
//! Over any T seconds at most `rate x T + burst` tokens are given. Tokens are given in the order in which they were asked
//! for, by one actor: no crowd of fetchers wakes for the same token. Its clock is tokio's, so that rates can be asserted
//! exactly in paused time.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;

use super::error::FetchError;

/// Fetchers that may be queued for a token at once; more wait to enter the queue, in order.
const MAILBOX: usize = 64;

/// Governor's view of tokio's clock.
#[derive(Clone, Debug)]
struct TokioClock {
    start: Instant,
}

impl Clock for TokioClock {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        Nanos::from(self.start.elapsed())
    }
}

/// The bucket's settings.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Setting {
    /// Tokens per second.
    rate: f64,
    burst: NonZeroU32,
    /// No token before this.
    paused_until: Option<Instant>,
}

/// The actor that gives out the tokens.
#[derive(Debug)]
pub(super) struct TokenBucket {
    /// From the fetchers; it closes when the last handle is dropped, and then the actor ends.
    inbox: flume::Receiver<oneshot::Sender<()>>,
    setting: watch::Receiver<Setting>,
    clock: TokioClock,
}

/// The handle that tokens are taken through. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct TokenBucketHandle {
    takers: flume::Sender<oneshot::Sender<()>>,
    setting: std::sync::Arc<watch::Sender<Setting>>,
}

impl TokenBucketHandle {
    /// Waits for a token. Exactly one attempt may follow.
    ///
    /// # Errors
    /// [`FetchError::BucketStopped`].
    ///
    /// # Cancel safety
    /// A dropped future leaves the queue; a token already on its way to it is lost, never given twice.
    pub(super) async fn acquire(&self) -> Result<(), FetchError> {
        let (taker, given) = oneshot::channel();
        self.takers.send_async(taker).await.map_err(|_| FetchError::BucketStopped)?;
        given.await.map_err(|_| FetchError::BucketStopped)
    }

    /// Gives nobody a token before `wait` is over; a longer pause already under way is kept.
    pub(super) fn pause_for(&self, wait: Duration) {
        let until = Instant::now() + wait;
        self.setting.send_if_modified(|setting| {
            let longer = setting.paused_until.is_none_or(|before| before < until);
            if longer {
                setting.paused_until = Some(until);
            }
            longer
        });
    }

    /// Changes the rate (tokens per second) and the burst; the bucket is empty then.
    pub(super) fn set_rate(&self, rate: f64, burst: NonZeroU32) {
        self.setting.send_if_modified(|setting| {
            let changed = setting.rate.to_bits() != rate.to_bits() || setting.burst != burst;
            setting.rate = rate;
            setting.burst = burst;
            changed
        });
    }

    /// Tokens per second, now.
    pub(super) fn rate(&self) -> f64 {
        self.setting.borrow().rate
    }
}

type Limiter = RateLimiter<NotKeyed, InMemoryState, TokioClock, NoOpMiddleware<Nanos>>;

impl TokenBucket {
    /// Makes a full bucket of `burst` tokens, which fills by `rate` tokens per second, and its first handle.
    pub(super) fn new(rate: f64, burst: NonZeroU32) -> (Self, TokenBucketHandle) {
        let (takers, inbox) = flume::bounded(MAILBOX);
        let (sender, setting) = watch::channel(Setting { rate, burst, paused_until: None });
        let handle = TokenBucketHandle { takers, setting: std::sync::Arc::new(sender) };
        (Self { inbox, setting, clock: TokioClock { start: Instant::now() } }, handle)
    }

    /// Gives tokens until all handles are gone.
    pub(super) async fn run(mut self) {
        let mut set_to = *self.setting.borrow_and_update();
        let mut limiter = self.limiter(&set_to);
        while let Ok(taker) = self.inbox.recv_async().await {
            loop {
                if taker.is_closed() {
                    break; // its fetcher has gone, perhaps while it waited
                }
                let setting = *self.setting.borrow_and_update();
                if setting.rate.to_bits() != set_to.rate.to_bits() || setting.burst != set_to.burst {
                    limiter = self.limiter(&setting);
                    // Spend the tokens of the new bucket; else every change would give a burst of its own.
                    let _spent = limiter.check_n(setting.burst);
                }
                set_to = setting;
                let now = Instant::now();
                let wait = match setting.paused_until {
                    Some(until) if until > now => until - now,
                    _ => match limiter.check() {
                        Ok(()) => break,
                        Err(not_until) => not_until.wait_time_from(self.clock.now()),
                    },
                };
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    changed = self.setting.changed() => if changed.is_err() {
                        return; // all handles are gone, so nobody waits
                    }
                }
            }
            let _gone = taker.send(());
        }
    }

    fn limiter(&self, setting: &Setting) -> Limiter {
        let period = Duration::from_secs_f64(1.0 / setting.rate.max(f64::MIN_POSITIVE)).max(Duration::from_nanos(1));
        let quota = Quota::with_period(period).unwrap_or_else(|| Quota::per_second(NonZeroU32::MIN));
        RateLimiter::direct_with_clock(quota.allow_burst(setting.burst), self.clock.clone())
    }
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "small counts")]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    fn burst(n: u32) -> NonZeroU32 {
        NonZeroU32::new(n).unwrap()
    }

    /// `fetchers` that take tokens as fast as they get them, for `secs`: the instants of all tokens.
    async fn take(handle: &TokenBucketHandle, fetchers: usize, secs: u64) -> Vec<f64> {
        let start = Instant::now();
        let taken = Arc::new(Mutex::new(Vec::new()));
        let end = start + Duration::from_secs(secs);
        let tasks: Vec<_> = (0..fetchers)
            .map(|_| {
                let (handle, taken) = (handle.clone(), Arc::clone(&taken));
                tokio::spawn(async move {
                    while tokio::time::timeout_at(end, handle.acquire()).await.is_ok() {
                        taken.lock().unwrap().push(start.elapsed().as_secs_f64());
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        let mut taken = taken.lock().unwrap().clone();
        taken.sort_by(f64::total_cmp);
        taken
    }

    fn assert_never_above(instants: &[f64], rate: f64, burst: f64) {
        for (first, start) in instants.iter().enumerate() {
            for (last, end) in instants.iter().enumerate().skip(first) {
                let allowed = rate * (end - start) + burst;
                assert!((last - first + 1) as f64 <= allowed + 1e-6, "tokens {first} to {last} within {}", end - start);
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_fetchers_never_exceed_the_bucket_and_use_all_of_it() {
        for (rate, size) in [(0.5, 1), (5.0, 1), (5.0, 2), (50.0, 2), (500.0, 2), (500.0, 8)] {
            let (bucket, handle) = TokenBucket::new(rate, burst(size));
            let actor = tokio::spawn(bucket.run());
            let instants = take(&handle, 40, 8).await;
            assert_never_above(&instants, rate, f64::from(size));
            assert!(instants.len() as f64 >= 0.98 * rate * 8.0, "{} tokens at {rate}/s", instants.len());
            drop(handle);
            actor.await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_holds_everyone_and_a_shorter_one_does_not_end_it() {
        let (bucket, handle) = TokenBucket::new(100.0, burst(1));
        tokio::spawn(bucket.run());
        handle.acquire().await.unwrap();
        handle.pause_for(Duration::from_secs(30));
        handle.pause_for(Duration::from_secs(3));
        let instants = take(&handle, 4, 31).await;
        assert!(instants[0] >= 30.0, "{}", instants[0]);
        assert!(instants.len() > 90);
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_of_rate_acts_at_once_and_gives_no_burst_of_its_own() {
        let (bucket, handle) = TokenBucket::new(10.0, burst(4));
        tokio::spawn(bucket.run());
        assert!((101..=104).contains(&take(&handle, 8, 10).await.len()));
        handle.set_rate(2.0, burst(4));
        let instants = take(&handle, 8, 10).await;
        assert!((18..=20).contains(&instants.len()), "{}", instants.len()); // a timer is a millisecond late
        assert_never_above(&instants, 2.0, 1.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fetcher_that_gives_up_waiting_costs_nobody_a_token() {
        let (bucket, handle) = TokenBucket::new(1.0, burst(1));
        tokio::spawn(bucket.run());
        handle.acquire().await.unwrap();
        let impatient = handle.clone();
        assert!(tokio::time::timeout(Duration::from_millis(100), impatient.acquire()).await.is_err());
        let start = Instant::now();
        handle.acquire().await.unwrap();
        handle.acquire().await.unwrap();
        assert!(start.elapsed() < Duration::from_secs(3));
    }
}
