//! Expansions that are made when they are needed: those of a long list would together fill the memory.

use std::collections::VecDeque;
use std::fmt;

use crate::store::Settlement;

/// Requests per expansion, so that one does not fill the writer's memory.
const REQUESTS_PER_EXPANSION: usize = 1000;

type Portions = Box<dyn Iterator<Item = Settlement> + Send>;

/// Expansions, in order; as an iterator it leaves out those that change nothing.
#[derive(Default)]
pub(crate) struct Expansions {
    /// The next one, unless there is none.
    next: Option<Settlement>,
    later: VecDeque<Portions>,
}

impl Expansions {
    pub(super) fn of(one: Settlement) -> Self {
        Self { next: Some(one).filter(|one| !one.is_empty()), later: VecDeque::new() }
    }

    /// The expansions that `expand` makes of `items`, some at a time.
    pub(super) fn in_portions<T: Send + 'static>(
        items: Vec<T>,
        expand: impl Fn(&[T]) -> Settlement + Send + 'static,
    ) -> Self {
        let starts = (0..items.len()).step_by(REQUESTS_PER_EXPANSION);
        let portions = starts.map(move |start| {
            let end = items.len().min(start + REQUESTS_PER_EXPANSION);
            expand(&items[start..end])
        });
        let mut expansions = Self { next: None, later: VecDeque::from([Box::new(portions) as Portions]) };
        expansions.advance();
        expansions
    }

    /// Adds `others` behind these.
    pub(super) fn push(&mut self, others: Self) {
        self.later.extend(others.next.map(|next| Box::new(std::iter::once(next)) as Portions));
        self.later.extend(others.later);
        self.advance();
    }

    /// Puts one back that was taken.
    pub(super) fn put_back(&mut self, taken: Settlement) {
        if let Some(next) = self.next.replace(taken) {
            self.later.push_front(Box::new(std::iter::once(next)));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.next.is_none()
    }

    fn advance(&mut self) {
        while self.next.is_none()
            && let Some(portions) = self.later.front_mut()
        {
            self.next = portions.find(|settlement| !settlement.is_empty());
            if self.next.is_none() {
                self.later.pop_front();
            }
        }
    }
}

impl Iterator for Expansions {
    type Item = Settlement;

    fn next(&mut self) -> Option<Settlement> {
        let next = self.next.take();
        self.advance();
        next
    }
}

impl fmt::Debug for Expansions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expansions").field("next", &self.next).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{JobId, Request};
    use crate::store::Pending;

    fn of_jobs(ids: &[u64]) -> Settlement {
        Settlement::discovery(ids.iter().map(|id| Pending::of(Request::Job { id: JobId(*id) })).collect())
    }

    fn num_jobs(expansion: &Settlement) -> u64 {
        expansion.num_discovered(crate::model::Kind::JobDetails)
    }

    #[test]
    fn expansions_come_in_order_in_portions_and_without_empty_ones() {
        let mut expansions = Expansions::of(Settlement::default());
        assert!(expansions.is_empty());
        expansions.push(Expansions::in_portions((0..2500).collect(), |ids: &[u64]| match ids[0] {
            1000 => Settlement::default(),
            _ => of_jobs(ids),
        }));
        expansions.push(Expansions::in_portions(Vec::new(), of_jobs));
        expansions.push(Expansions::of(of_jobs(&[1, 2])));
        let first = expansions.next().unwrap();
        assert_eq!(num_jobs(&first), 1000);
        expansions.put_back(first);
        assert_eq!(expansions.by_ref().map(|one| num_jobs(&one)).collect::<Vec<_>>(), [1000, 500, 2]);
        assert!(expansions.is_empty());
    }
}
