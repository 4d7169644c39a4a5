//! Decides the fate of a request: its latency, its fault, and whether the server still has the capacity to answer it.
//!
//! Latencies and faults come from numbers that depend on the seed and the request ([`Draw`]). Two decisions need state,
//! which is kept here: the number of attempts of a request, and the capacity left.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::behaviour::Behaviour;
use crate::draw::Draw;
use crate::endpoint::Endpoint;
use crate::fault::FaultKind;

const FAULT: u64 = 101;
const LATENCY: u64 = 102;

/// Decides the latency and the fault of each request. Shared by all connections.
#[derive(Debug)]
pub(crate) struct Fates {
    behaviour: Behaviour,
    /// Attempts by the hash of the request; counted only if faults are configured.
    attempts: Mutex<HashMap<u64, u64>>,
    bucket: Mutex<Bucket>,
}

#[derive(Debug)]
struct Bucket {
    tokens: f64,
    filled_at: Instant,
}

impl Fates {
    pub(crate) fn new(behaviour: Behaviour) -> Self {
        let tokens = behaviour.capacity.map_or(0.0, burst);
        Self {
            behaviour,
            attempts: Mutex::new(HashMap::new()),
            bucket: Mutex::new(Bucket { tokens, filled_at: Instant::now() }),
        }
    }

    pub(crate) fn behaviour(&self) -> &Behaviour {
        &self.behaviour
    }

    /// Whether the server has capacity for one more request now.
    pub(crate) fn admit(&self) -> bool {
        let Some(capacity) = self.behaviour.capacity else { return true };
        let mut bucket = self.bucket.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let elapsed = now.duration_since(bucket.filled_at).as_secs_f64();
        bucket.tokens = (bucket.tokens + elapsed * capacity).min(burst(capacity));
        bucket.filled_at = now;
        let admitted = bucket.tokens >= 1.0;
        if admitted {
            bucket.tokens -= 1.0;
        }
        admitted
    }

    /// The fault, if any, of this attempt of the request.
    pub(crate) fn fault(&self, endpoint: Endpoint, path_and_query: &str) -> Option<FaultKind> {
        if self.behaviour.faults.is_empty() {
            return None;
        }
        let request = hash_text(path_and_query);
        let attempt = {
            let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
            let count = attempts.entry(request).or_insert(0);
            *count += 1;
            *count
        };
        let mut draw = Draw::of(self.behaviour.seed, FAULT, request, attempt);
        self.behaviour
            .faults
            .iter()
            .filter(|rule| rule.endpoint.is_none_or(|aimed| aimed == endpoint))
            .find(|rule| draw.chance(rule.rate))
            .map(|rule| rule.kind)
    }

    /// The latency of the `number`-th arrival.
    pub(crate) fn latency(&self, number: u64) -> std::time::Duration {
        self.behaviour.latency.sample(&mut Draw::of(self.behaviour.seed, LATENCY, number, 0))
    }
}

fn burst(capacity: f64) -> f64 {
    capacity.max(1.0)
}

fn hash_text(text: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn fates(behaviour: Behaviour) -> Fates {
        Fates::new(behaviour)
    }

    #[test]
    fn the_fate_of_an_attempt_does_not_depend_on_other_requests() {
        let behaviour = Behaviour { faults: vec!["502=0.3".parse().unwrap()], ..Behaviour::default() };
        let (one, other) = (fates(behaviour.clone()), fates(behaviour));
        let names: Vec<String> = (0..200).map(|n| format!("/x?id={n}")).collect();
        let forward: Vec<_> = names.iter().map(|name| one.fault(Endpoint::Jobs, name)).collect();
        let mut backward: Vec<_> = names.iter().rev().map(|name| other.fault(Endpoint::Jobs, name)).collect();
        backward.reverse();
        assert_eq!(forward, backward);
        let struck = forward.iter().flatten().count();
        assert!((30..90).contains(&struck), "{struck}");
    }

    #[test]
    fn a_rule_for_one_endpoint_spares_the_others() {
        let fates = fates(Behaviour { faults: vec!["cut@summary=1".parse().unwrap()], ..Behaviour::default() });
        assert_eq!(fates.fault(Endpoint::Jobs, "/a"), None);
        assert_eq!(fates.fault(Endpoint::Summary, "/a"), Some(FaultKind::Cut));
    }

    #[tokio::test(start_paused = true)]
    async fn capacity_admits_a_second_of_burst_and_then_the_rate() {
        let fates = fates(Behaviour { capacity: Some(10.0), ..Behaviour::default() });
        assert_eq!((0..30).filter(|_| fates.admit()).count(), 10);
        tokio::time::advance(Duration::from_millis(510)).await;
        assert_eq!((0..30).filter(|_| fates.admit()).count(), 5);
    }
}
