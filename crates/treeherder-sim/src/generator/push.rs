//! Generated pushes: their times, ids, revisions and commits.

use crate::draw::Draw;
use crate::json_text::{write_int, write_uint};

use super::config::{GeneratorConfig, Hex40, domain, hex_text, hex40};

const FIRST_PUSH_ID: u64 = 1_800_000;

/// The pushes of the repository, numbered from the oldest.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pushes {
    seed: u64,
    pub(super) count: u64,
    start: i64,
    span: i64,
}

impl Pushes {
    pub(super) fn new(config: &GeneratorConfig) -> Self {
        Self { seed: config.seed, count: config.pushes as u64, start: config.start, span: config.end - config.start }
    }

    /// Seconds since the epoch. Strictly ascending, by at least two seconds.
    pub(super) fn time(&self, push: u64) -> i64 {
        let slot = |push: u64| (i128::from(push) * i128::from(self.span) / i128::from(self.count)) as i64;
        let width = slot(push + 1) - slot(push);
        let jitter = Draw::of(self.seed, domain::PUSH, push, 1).below((width * 3 / 4).max(1) as u64) as i64;
        self.start + slot(push) + jitter
    }

    pub(super) fn id(push: u64) -> u64 {
        FIRST_PUSH_ID + push
    }

    /// The number of the push with this id.
    pub(super) fn find(&self, id: u64) -> Option<u64> {
        id.checked_sub(FIRST_PUSH_ID).filter(|push| *push < self.count)
    }

    pub(super) fn revision(&self, push: u64) -> Hex40 {
        self.commit(push, 0)
    }

    /// The revision of a commit of the push; 0 is its head.
    pub(super) fn commit(&self, push: u64, index: u64) -> Hex40 {
        hex40(Draw::of(self.seed, domain::COMMIT, push, index))
    }

    /// The number of commits of the push; mostly one.
    pub(super) fn num_commits(&self, push: u64) -> u64 {
        let mut draw = Draw::of(self.seed, domain::PUSH, push, 2);
        if draw.chance(0.7) { 1 } else { 2 + draw.below(4) }
    }

    /// The number of the push with this head revision. Searches all pushes.
    pub(super) fn find_revision(&self, revision: &str) -> Option<u64> {
        (0..self.count).find(|push| hex_text(&self.revision(*push)) == revision)
    }

    /// The newest push at or before the moment, if any.
    pub(super) fn newest_until(&self, seconds: i64) -> Option<u64> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            if self.time(middle) <= seconds {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low.checked_sub(1)
    }

    pub(super) fn author(&self, push: u64) -> String {
        format!("dev{}@example.org", Draw::of(self.seed, domain::PUSH, push, 3).below(40))
    }

    pub(super) fn write(&self, push: u64, repository: u64, out: &mut Vec<u8>) {
        let id = Self::id(push);
        let author = self.author(push);
        let num_commits = self.num_commits(push);
        out.extend_from_slice(b"{\"id\":");
        write_uint(out, id);
        out.extend_from_slice(b",\"revision\":\"");
        out.extend_from_slice(&self.revision(push));
        out.extend_from_slice(format!("\",\"author\":\"{author}\",\"branch\":null,\"revisions\":[").as_bytes());
        for index in 0..num_commits.min(20) {
            if index > 0 {
                out.push(b',');
            }
            let commit = self.commit(push, index);
            out.extend_from_slice(
                format!(
                    "{{\"result_set_id\":{id},\"repository_id\":{repository},\"revision\":\"{}\",\"author\":\"{author}\",\
                     \"comments\":\"Bug {} - Part {}\"}}",
                    hex_text(&commit),
                    1_700_000 + push % 300_000,
                    num_commits - index,
                )
                .as_bytes(),
            );
        }
        out.extend_from_slice(format!("],\"revision_count\":{num_commits},\"push_timestamp\":").as_bytes());
        write_int(out, self.time(push));
        out.extend_from_slice(format!(",\"repository_id\":{repository}}}").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushes_ascend_and_are_found_by_time_id_and_revision() {
        let config = GeneratorConfig { pushes: 500, ..GeneratorConfig::default() };
        let pushes = Pushes::new(&config);
        for push in 0..499 {
            assert!(pushes.time(push) + 1 < pushes.time(push + 1));
        }
        assert!(pushes.time(0) >= config.start && pushes.time(499) < config.end);
        assert_eq!(pushes.newest_until(pushes.time(250)), Some(250));
        assert_eq!(pushes.newest_until(pushes.time(250) - 1), Some(249));
        assert_eq!(pushes.newest_until(config.start - 1), None);
        assert_eq!(pushes.find(Pushes::id(250)), Some(250));
        assert_eq!(pushes.find(Pushes::id(500)), None);
        assert_eq!(pushes.find_revision(hex_text(&pushes.revision(77))), Some(77));
    }
}
