//! The entries of `set_aside`: the records of an answer that were not stored as they came, in the transactions that settle it.

use std::collections::BTreeMap;

use super::{SET_ASIDE, Staging};
use crate::model::{OddRecord, Request, Timestamp};
use crate::store::value::{SetAside, open_json, seal_json};
use crate::store::{StoreError, key};

impl Staging<'_> {
    /// Stages the records of an answer that were not stored as they came. Those of an earlier answer, or of one that was
    /// stored in part, go.
    pub(super) fn put_odd<'o>(
        &mut self,
        request: &Request,
        odd: impl Iterator<Item = &'o OddRecord>,
        fetched_at: Timestamp,
    ) -> Result<(), StoreError> {
        self.remove_odd(request)?;
        for OddRecord { record, reason, text, taken } in odd {
            let key = key::odd(request, *record);
            let value = SetAside { reason: reason.clone(), text: text.clone(), corrected: *taken, fetched_at };
            self.put(SET_ASIDE, key.clone(), seal_json(&value)?);
            let kind = self.counts.of_mut(request.kind());
            if let Some(Some(replaced)) = self.odd.insert(key, Some(*taken)) {
                *kind.of_odd(replaced) -= 1;
            }
            *kind.of_odd(*taken) += 1;
            self.transact_if_full()?;
        }
        Ok(())
    }

    pub(super) fn remove_odd(&mut self, request: &Request) -> Result<(), StoreError> {
        let kind = self.counts.of(request.kind());
        if kind.set_aside + kind.corrected == 0 {
            return Ok(()); // nearly always, so that a usual answer costs no search
        }
        let prefix = request.key();
        let is_of_request = |key: &[u8]| key.starts_with(&prefix) && key.len() == prefix.len() + 8;
        let mut found = BTreeMap::new();
        for entry in self.store.set_aside.scan_prefix(&prefix) {
            let (key, framed) = entry.map_err(|source| StoreError::database("read the records set aside", source))?;
            if is_of_request(&key) {
                let odd: SetAside = open_json("set_aside", &key, &framed)?;
                found.insert(key.to_vec(), Some(odd.corrected));
            }
        }
        let staged = self.odd.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix));
        found.extend(staged.filter(|(key, _)| is_of_request(key)).map(|(key, odd)| (key.clone(), *odd)));
        for (key, corrected) in found {
            if let Some(corrected) = corrected {
                *self.counts.of_mut(request.kind()).of_odd(corrected) -= 1;
                self.remove(SET_ASIDE, key.clone());
                self.odd.insert(key, None);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::StoreConfig;
    use crate::model::{Job, JobId, Sorted};
    use crate::store::{Change, Outcome, Pending, Settlement, Store};

    const REQUEST: Request = Request::Job { id: JobId(7) };

    fn odd(store: &Store) -> Vec<(u64, bool)> {
        store.set_aside().map(|odd| odd.unwrap()).map(|(_, record, odd)| (record, odd.corrected)).collect()
    }

    fn settle(store: &Store, jobs: &Sorted<Job>) {
        let settlement = Box::new(Settlement::of_jobs(&[REQUEST], jobs));
        store.commit(Change::Expand { settlement }).unwrap();
    }

    fn with_a_job_set_aside() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let config = StoreConfig { path: folder.path().to_owned(), ..StoreConfig::default() };
        let store = Store::open(&config).unwrap();
        let mut jobs = Sorted::default();
        jobs.add_job(br#"{"id":7,"x":1e400}"#).unwrap();
        settle(&store, &jobs);
        (folder, store)
    }

    #[test]
    fn records_set_aside_are_counted_until_they_are_asked_again() {
        let (_folder, store) = with_a_job_set_aside();
        settle(&store, &Sorted::default()); // it is settled already
        let counts = store.counts().unwrap();
        assert_eq!((counts.set_aside(), counts.corrected(), counts.is_whole()), (1, 0, false));
        assert_eq!(odd(&store), [(7, false)]);
        assert_eq!(store.settled(&REQUEST).unwrap().unwrap().outcome, Outcome::Empty, "it is not gone");
        store.find_damage(|damage| panic!("{damage}")).unwrap();

        store.commit(Change::AskAgain { requests: vec![Pending::of(REQUEST)] }).unwrap();
        assert_eq!((odd(&store).len(), store.counts().unwrap().set_aside()), (0, 0));
        let mut jobs = Sorted::default();
        jobs.add_job(br#"{"id":7,"x":NaN}"#).unwrap();
        settle(&store, &jobs);
        assert_eq!((odd(&store), store.counts().unwrap().corrected()), (vec![(7, true)], 1));
        assert_eq!(store.job(JobId(7)).unwrap().unwrap().as_str(), r#"{"id":7,"x":null}"#);
        store.find_damage(|damage| panic!("{damage}")).unwrap();
    }

    #[test]
    fn a_damaged_entry_is_found_and_repaired() {
        let (_folder, store) = with_a_job_set_aside();
        store.set_aside.insert(key::odd(&REQUEST, 7), "odd").unwrap();
        let mut damages = 0;
        store.find_damage(|_| damages += 1).unwrap();
        assert!(damages > 0);
        store.repair().unwrap();
        store.find_damage(|damage| panic!("{damage}")).unwrap();
    }
}
