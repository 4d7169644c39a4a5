//! The controller against simulated servers, in virtual time.

#![expect(clippy::cast_precision_loss, reason = "small counts")]

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};

use super::*;
use crate::fetch::limiter::TokenBucket;

/// A server that serves `capacity` requests a second, with a second's worth of reserve, and answers 429 above it.
struct Server {
    capacity: f64,
    tokens: f64,
    filled_at: Instant,
}

impl Server {
    fn admits(&mut self) -> bool {
        let now = Instant::now();
        let filled = self.tokens + (now - self.filled_at).as_secs_f64() * self.capacity;
        self.tokens = filled.min(self.capacity.max(1.0));
        self.filled_at = now;
        let admitted = self.tokens >= 1.0;
        if admitted {
            self.tokens -= 1.0;
        }
        admitted
    }
}

#[derive(Default)]
struct Log {
    /// Instant and whether it was served, of each request.
    results: Vec<(f64, bool)>,
    changes: Vec<(f64, RateChange)>,
}

/// A crawl at `configured` against a server of `capacity`, for `secs` of virtual time.
/// With `retry_after`, its 429 make everyone wait.
async fn crawl(configured: f64, capacity: f64, secs: u64, retry_after: Option<Duration>) -> Log {
    let (bucket, tokens) = TokenBucket::new(configured, NonZeroU32::new(2).unwrap());
    tokio::spawn(bucket.run());
    let controller = Arc::new(Mutex::new(RateController::new(configured, 1.0)));
    let now = Instant::now();
    let server = Arc::new(Mutex::new(Server { capacity, tokens: capacity.max(1.0), filled_at: now }));
    let log = Arc::new(Mutex::new(Log::default()));
    let end = now + Duration::from_secs(secs);
    let fetchers: Vec<_> = (0..64_u64)
        .map(|number| {
            let (tokens, controller) = (tokens.clone(), Arc::clone(&controller));
            let (server, log) = (Arc::clone(&server), Arc::clone(&log));
            tokio::spawn(async move {
                let latency = Duration::from_millis(40 + number);
                while Instant::now() < end {
                    tokens.acquire().await.unwrap();
                    tokio::time::sleep(latency / 2).await;
                    let admitted = server.lock().unwrap().admits();
                    tokio::time::sleep(latency / 2).await;
                    let mut controller = controller.lock().unwrap();
                    let change = if admitted {
                        controller.served()
                    } else if let Some(wait) = retry_after {
                        tokens.pause_for(wait);
                        controller.strained(Strain::AskedToWait(wait))
                    } else {
                        controller.strained(Strain::TooManyRequests)
                    };
                    let mut log = log.lock().unwrap();
                    log.results.push((now.elapsed().as_secs_f64(), admitted));
                    if let Some(change) = change {
                        tokens.set_rate(change.to, NonZeroU32::new(2).unwrap());
                        log.changes.push((now.elapsed().as_secs_f64(), change));
                    }
                }
            })
        })
        .collect();
    for fetcher in fetchers {
        fetcher.await.unwrap();
    }
    std::mem::take(&mut log.lock().unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_crawl_at_four_times_the_capacity_settles_within_ten_percent_of_it_and_is_seldom_refused() {
    let waits = [None, Some(Duration::from_secs(1)), Some(Duration::from_secs(5))];
    for (capacity, retry_after) in [2.0, 10.0, 100.0].into_iter().flat_map(|of| waits.map(|wait| (of, wait))) {
        let secs = 600;
        let log = crawl(4.0 * capacity, capacity, secs, retry_after).await;
        let refused = log.results.iter().filter(|(_, served)| !served).count();
        let share = refused as f64 / log.results.len() as f64;
        assert!(share < 0.05, "{:.1} % refused at {capacity}/s", share * 100.0);
        let late: Vec<_> = log.results.iter().filter(|(at, _)| *at >= 60.0).collect();
        let share = late.iter().filter(|(_, served)| !served).count() as f64 / late.len() as f64;
        assert!(share < 0.05, "{:.1} % refused at {capacity}/s once settled", share * 100.0);
        for start in (60..secs - 30).step_by(30) {
            let within = |at: f64| at >= start as f64 && at < (start + 30) as f64;
            let served = log.results.iter().filter(|(at, served)| *served && within(*at)).count() as f64 / 30.0;
            let off = (served / capacity - 1.0).abs();
            // One wait may lie in any such window.
            let waited = retry_after.map_or(0.0, |wait| wait.as_secs_f64() / 30.0);
            assert!(off <= 0.1 + waited, "{served:.2}/s served from {start} s on, of {capacity}/s, {retry_after:?}");
        }
        let settled = log.changes.iter().filter(|(at, _)| *at > 60.0);
        for (at, change) in settled {
            let off = (change.to / capacity - 1.0).abs();
            assert!(
                off <= 0.1,
                "rate {:.2} at {at:.0} s, of {capacity}/s, {retry_after:?}: {}",
                change.to,
                change.reason
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_below_the_capacity_is_never_changed() {
    let log = crawl(20.0, 40.0, 120, None).await;
    assert!(log.changes.is_empty());
    assert!(log.results.len() as f64 >= 0.98 * 20.0 * 120.0, "{}", log.results.len());
}

#[tokio::test(start_paused = true)]
async fn refusals_that_come_while_everyone_waits_lower_the_rate_once_and_no_wait_is_too_long() {
    let mut controller = RateController::new(20.0, 1.0);
    let wait = Strain::AskedToWait(Duration::from_secs(5));
    assert!((controller.strained(wait).unwrap().to - 10.0).abs() < 1e-9);
    for _ in 0..4 {
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(controller.strained(wait), None, "it was sent before the wait");
    }
    tokio::time::advance(Duration::from_secs(2)).await;
    let endless = Strain::AskedToWait(Duration::from_secs(u64::MAX));
    assert!(controller.strained(endless).is_some());
}

#[tokio::test(start_paused = true)]
async fn three_signs_within_ten_seconds_halve_the_rate_and_say_why() {
    for (strain, reason) in [(Strain::Unavailable, "3 x 503 in 10 s"), (Strain::Timeout, "3 x timeout in 10 s")] {
        let mut controller = RateController::new(20.0, 1.0);
        assert_eq!(controller.strained(strain), None);
        tokio::time::advance(Duration::from_millis(4800)).await;
        assert_eq!(controller.strained(strain), None);
        tokio::time::advance(Duration::from_millis(4800)).await;
        let change = controller.strained(strain).unwrap();
        assert_eq!((change.from, change.to, change.reason.as_str()), (20.0, 10.0, reason));
    }
}

#[tokio::test(start_paused = true)]
async fn signs_far_apart_change_nothing() {
    let mut controller = RateController::new(20.0, 1.0);
    for _ in 0..20 {
        assert_eq!(controller.strained(Strain::Unavailable), None);
        tokio::time::advance(Duration::from_secs(6)).await;
    }
    assert!(controller.rate() >= 20.0);
}

#[tokio::test(start_paused = true)]
async fn after_a_bad_minute_the_rate_is_back_at_ninety_percent_within_another() {
    for (configured, answered) in [(5.0, 0), (20.0, 0), (100.0, 0), (100.0, 2)] {
        for strain in [Strain::Unavailable, Strain::Timeout] {
            let mut controller = RateController::new(configured, 1.0);
            let start = Instant::now();
            let mut number = 0;
            while start.elapsed() < Duration::from_mins(2) {
                tokio::time::advance(Duration::from_secs_f64(1.0 / controller.rate())).await;
                number += 1;
                let is_bad = start.elapsed() < Duration::from_mins(1);
                if is_bad && (answered == 0 || number % answered != 0) {
                    controller.strained(strain);
                } else {
                    controller.served();
                }
                assert!(controller.rate() <= configured);
            }
            assert!(controller.rate() >= 0.9 * configured, "{:.1} of {configured}, {strain}", controller.rate());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_capacity_that_comes_back_is_found_again() {
    let mut controller = RateController::new(20.0, 1.0);
    controller.strained(Strain::TooManyRequests);
    tokio::time::advance(PACE).await;
    controller.strained(Strain::TooManyRequests);
    let start = Instant::now();
    while controller.rate() < 20.0 && start.elapsed() < Duration::from_mins(10) {
        tokio::time::advance(Duration::from_millis(100)).await;
        controller.served();
    }
    assert!(controller.rate() >= 20.0, "{:.1}", controller.rate());
}

#[tokio::test(start_paused = true)]
async fn calm_raises_the_rate_step_by_step_back_to_the_configured_one() {
    let mut controller = RateController::new(20.0, 1.0);
    for _ in 0..3 {
        controller.strained(Strain::Unavailable);
    }
    assert!((controller.rate() - 10.0).abs() < 1e-9);
    let mut steps = Vec::new();
    for _ in 0..6000 {
        tokio::time::advance(Duration::from_millis(100)).await;
        steps.extend(controller.served());
    }
    assert!(controller.rate() >= 20.0);
    assert!(steps.iter().all(|step| step.to > step.from && step.to - step.from <= 1.0 + 1e-9));
    assert_eq!(steps.iter().filter(|step| step.restored).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_rate_never_goes_below_the_least_nor_above_the_configured_one() {
    let mut controller = RateController::new(8.0, 3.0);
    for _ in 0..100 {
        tokio::time::advance(Duration::from_millis(600)).await;
        controller.strained(Strain::Timeout);
    }
    assert!((controller.rate() - 3.0).abs() < 1e-9);
    for _ in 0..10_000 {
        tokio::time::advance(Duration::from_millis(100)).await;
        controller.served();
        assert!(controller.rate() <= 8.0);
    }
    assert!(controller.rate() >= 8.0);
}

#[tokio::test(start_paused = true)]
async fn a_new_configuration_moves_a_free_rate_and_only_bounds_one_that_is_held_down() {
    let mut controller = RateController::new(20.0, 1.0);
    controller.configure(40.0, 1.0);
    assert!((controller.rate() - 40.0).abs() < 1e-9);
    for _ in 0..3 {
        controller.strained(Strain::Unavailable);
    }
    controller.configure(60.0, 1.0);
    assert!((controller.rate() - 20.0).abs() < 1e-9);
    controller.configure(5.0, 1.0);
    assert!((controller.rate() - 5.0).abs() < 1e-9);
}
