//! A budget of memory that many tasks share, in which no two can block each other.
//!
//! Half of it is a pool, from which every room takes as it grows. The other half is a lane for one room at a time: a
//! room that finds the pool empty waits for either. The room in the lane returns its part of the pool and never waits
//! again, so its owner finishes, and the next room enters. Owners therefore never block each other, and memory is
//! bounded for any number of them. An owner must not wait for another room while it has one.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes per permit, since one acquisition is limited to 2^32 permits.
const UNIT_BYTES: u64 = 1 << 10;

/// The memory. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    pool: Arc<Semaphore>,
    lane: Arc<Semaphore>,
    half_bytes: u64,
}

/// A part of the budget, returned when dropped. The default holds nothing.
#[derive(Debug, Default)]
pub(crate) struct Room {
    pool: Option<OwnedSemaphorePermit>,
    lane: Option<OwnedSemaphorePermit>,
}

impl Budget {
    pub(crate) fn new(total_bytes: u64) -> Self {
        let permits = usize::try_from(total_bytes / 2 / UNIT_BYTES).unwrap_or(usize::MAX);
        Self {
            pool: Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS))),
            lane: Arc::new(Semaphore::new(1)),
            half_bytes: total_bytes / 2,
        }
    }

    /// The largest room, bytes. The caller must not grow a room beyond it, because a room in the lane never waits.
    pub(crate) fn largest_room(&self) -> u64 {
        self.half_bytes
    }

    /// Waits until `room` can have `bytes` more.
    ///
    /// # Cancel safety
    /// Dropping the future takes nothing.
    pub(crate) async fn grow(&self, room: &mut Room, bytes: u64) {
        if room.lane.is_some() {
            return;
        }
        let units = u32::try_from(bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        let mut permits = Arc::clone(&self.pool).try_acquire_many_owned(units).ok();
        if permits.is_none() {
            // Neither semaphore is ever closed.
            tokio::select! {
                biased;
                lane = Arc::clone(&self.lane).acquire_owned() => {
                    *room = Room { pool: None, lane: lane.ok() };
                    return;
                }
                more = Arc::clone(&self.pool).acquire_many_owned(units) => permits = more.ok(),
            }
        }
        match (&mut room.pool, permits) {
            (Some(pool), Some(more)) => pool.merge(more),
            (pool, more) => *pool = more,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Future, ready};

    use super::*;

    const TOTAL: u64 = 1 << 20;

    /// True when the future ends without waiting.
    async fn is_ready(future: impl Future) -> bool {
        tokio::select! {
            biased;
            _ = future => true,
            () = ready(()) => false,
        }
    }

    fn assert_is_whole(budget: &Budget) {
        assert_eq!(budget.pool.available_permits() as u64, TOTAL / 2 / UNIT_BYTES);
        assert_eq!(budget.lane.available_permits(), 1);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn owners_that_need_more_than_there_is_wait_for_each_other_and_all_end() {
        let budget = Budget::new(TOTAL);
        let mut owners = tokio::task::JoinSet::new();
        for number in 0..64 {
            let budget = budget.clone();
            owners.spawn(async move {
                let mut room = Room::default();
                for _ in 0..64 {
                    budget.grow(&mut room, TOTAL / 2 / 64 - number).await;
                    tokio::task::yield_now().await;
                }
            });
        }
        while let Some(ended) = owners.join_next().await {
            ended.unwrap();
        }
        assert_is_whole(&budget);
    }

    #[tokio::test]
    async fn rooms_fill_the_pool_then_one_has_the_lane_and_the_others_wait() {
        let budget = Budget::new(TOTAL);
        let mut rooms: [Room; 4] = Default::default();
        for room in &mut rooms[..2] {
            budget.grow(room, TOTAL / 4).await;
        }
        let [first, second, third, fourth] = &mut rooms;
        budget.grow(third, 1).await;
        assert!(third.lane.is_some());
        budget.grow(third, 9 * TOTAL).await; // waits for nothing
        assert!(!is_ready(budget.grow(first, 1)).await);
        assert!(!is_ready(budget.grow(fourth, 1)).await);
        *third = Room::default();
        budget.grow(first, 1).await;
        assert!(first.lane.is_some() && first.pool.is_none(), "its part of the pool is free for others");
        budget.grow(fourth, TOTAL / 4).await;
        assert!(fourth.lane.is_none() && second.lane.is_none());
        drop(rooms);
        assert_is_whole(&budget);
    }

    #[tokio::test]
    async fn an_owner_that_gives_up_while_it_waits_takes_nothing() {
        let budget = Budget::new(TOTAL);
        let (mut pool, mut lane, mut waiting) = (Room::default(), Room::default(), Room::default());
        budget.grow(&mut pool, TOTAL / 2).await;
        budget.grow(&mut lane, 1).await;
        assert!(!is_ready(budget.grow(&mut waiting, TOTAL / 2)).await);
        drop(pool);
        assert!(is_ready(budget.grow(&mut waiting, TOTAL / 2)).await);
        drop((lane, waiting));
        assert_is_whole(&budget);
    }

    #[tokio::test]
    async fn a_room_larger_than_the_pool_has_the_lane() {
        let budget = Budget::new(TOTAL);
        let mut room = Room::default();
        budget.grow(&mut room, budget.largest_room() + 1).await;
        assert!(room.lane.is_some());
    }
}
