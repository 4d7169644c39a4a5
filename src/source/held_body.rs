//! A body that is held in memory as a whole, within the budget of all bodies.
//!
//! The body arrives in blocks, which are joined at its end, so that an endless body takes no more memory than its
//! bytes. Each byte counts as six in the budget, as measured with 25 MB of data: the body, its copy in pieces, the
//! records, and the stored values.

use super::error::SourceError;
use crate::actor::{Budget, Room};

/// The first block, bytes; most bodies are shorter. The length after decompression is not known before the end.
const FIRST_BLOCK_BYTES: usize = 64 << 10;

/// Each further block, bytes.
const BLOCK_BYTES: usize = 1 << 20;

/// Budget for a byte of a body.
const BUDGET_PER_BYTE: u64 = 6;

/// A body, with its part of the budget.
#[derive(Debug)]
pub(super) struct HeldBody {
    blocks: Vec<Vec<u8>>,
    len: usize,
    budget: Budget,
    room: Room,
}

impl HeldBody {
    /// An empty body.
    pub(super) fn new(budget: &Budget) -> Self {
        Self { blocks: Vec::new(), len: 0, budget: budget.clone(), room: Room::default() }
    }

    /// Its length, bytes.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The bytes, and their part of the budget, which their records need next.
    pub(super) fn into_parts(mut self) -> (Vec<u8>, Room) {
        let bytes = if self.blocks.len() > 1 { self.blocks.concat() } else { self.blocks.pop().unwrap_or_default() };
        (bytes, self.room)
    }

    /// Appends `bytes`, when there is room for them.
    ///
    /// # Errors
    /// [`SourceError::TooLarge`] for a body that no room could hold, or for which the system has no memory.
    ///
    /// # Cancel safety
    /// Dropping the future appends nothing.
    pub(super) async fn append(&mut self, bytes: &[u8]) -> Result<(), SourceError> {
        let longest = usize::try_from(self.budget.largest_room() / BUDGET_PER_BYTE).unwrap_or(usize::MAX);
        if bytes.len() > longest - self.len {
            return Err(SourceError::TooLarge { limit: longest as u64 });
        }
        let has_space = |block: &&mut Vec<u8>| block.capacity() - block.len() >= bytes.len();
        if let Some(block) = self.blocks.last_mut().filter(has_space) {
            block.extend_from_slice(bytes);
        } else {
            let usual = if self.blocks.is_empty() { FIRST_BLOCK_BYTES } else { BLOCK_BYTES };
            let capacity = usual.min(longest - self.len).max(bytes.len());
            self.budget.grow(&mut self.room, capacity as u64 * BUDGET_PER_BYTE).await;
            let mut block = Vec::new();
            block.try_reserve_exact(capacity).map_err(|_| SourceError::TooLarge { limit: self.len as u64 })?;
            block.extend_from_slice(bytes);
            self.blocks.push(block);
        }
        self.len += bytes.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOTAL: usize = 1 << 20;

    /// A little less than a body may have.
    const LONG: usize = 20 << 12;

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn bodies_that_have_not_room_at_once_arrive_one_after_the_other() {
        let budget = Budget::new(TOTAL as u64);
        let mut bodies = tokio::task::JoinSet::new();
        for _ in 0..64 {
            let mut body = HeldBody::new(&budget);
            bodies.spawn(async move {
                while body.len() < LONG {
                    body.append(&[b'x'; 1 << 12]).await.unwrap();
                    tokio::task::yield_now().await;
                }
                body.into_parts().0.len()
            });
        }
        while let Some(len) = bodies.join_next().await {
            assert_eq!(len.unwrap(), LONG);
        }
    }

    #[tokio::test]
    async fn a_body_has_a_twelfth_at_most() {
        let mut body = HeldBody::new(&Budget::new(TOTAL as u64));
        body.append(&vec![b'x'; TOTAL / 12]).await.unwrap();
        let error = body.append(b"x").await.unwrap_err();
        assert!(matches!(error, SourceError::TooLarge { limit } if limit == TOTAL as u64 / 12), "{error}");
    }
}
