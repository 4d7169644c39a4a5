//! Generated data as a [`Dataset`].

use std::fmt::Write as _;

use crate::dataset::{AlertHead, Dataset, Datum, PushHead, Repository, SignatureHead, SummaryFrame, Ties, Window};
use crate::draw::Draw;
use crate::error::SimulatorError;
use crate::history::{AsOf, History, Life, seconds};
use crate::moment::SECOND;

use super::alert::{Alerts, FOREIGN_REPOSITORIES};
use super::config::{GeneratorConfig, domain, hex_text};
use super::job::{Job, JobSetting};
use super::push::Pushes;
use super::schedule::{Run, Schedule};
use super::signature::{Family, Series, Signature, hash_of, id_of, quoted, rank_of};

const REPOSITORY_ID: u64 = 77;
/// One run in so many has two data per signature, as when one job measures two commits.
const ONE_IN_TWICE: u64 = 97;
/// Share of data without replicates.
const WITHOUT_REPLICATES: f64 = 0.25;
const MOST_REPLICATES: u64 = 7;
/// Time between the last update of signatures without data and the start of the data, seconds.
const LONG_AGO: i64 = 400 * 86_400;

/// The generated data set.
#[derive(Debug)]
pub(crate) struct Generator {
    config: GeneratorConfig,
    schedule: Schedule,
    repositories: Vec<Repository>,
    frameworks: String,
}

impl Generator {
    /// # Errors
    /// The numbers of the configuration contradict each other.
    pub(crate) fn new(config: &GeneratorConfig) -> Result<Self, SimulatorError> {
        config.validate()?;
        let mut repositories: Vec<Repository> = FOREIGN_REPOSITORIES
            .into_iter()
            .filter(|(_, name)| *name != config.repository)
            .map(|(id, name)| repository(id, name))
            .collect();
        repositories.push(repository(REPOSITORY_ID, &config.repository));
        let frameworks: Vec<String> =
            config.frameworks.iter().map(|(id, name)| format!("{{\"id\":{id},\"name\":{}}}", quoted(name))).collect();
        Ok(Self {
            config: config.clone(),
            schedule: Schedule::new(config),
            repositories,
            frameworks: format!("[{}]", frameworks.join(",")),
        })
    }

    /// The id of the repository with the data.
    #[expect(clippy::unused_self, reason = "a property of the data set, although it is constant")]
    pub(super) fn repository_id(&self) -> u64 {
        REPOSITORY_ID
    }

    fn signature(&self, rank: usize) -> Signature {
        Signature::new(&self.config, &self.schedule, rank)
    }

    fn alerts(&self) -> Alerts<'_> {
        Alerts { config: &self.config, schedule: &self.schedule, repository: (REPOSITORY_ID, &self.config.repository) }
    }

    fn job(&self, run: Run, history: &History) -> Job {
        Job::new(self.config.seed, &self.schedule, run, self.config.end, history)
    }

    /// When a job and its data appear, and the job is deleted.
    fn life(&self, job: &Job, history: &History) -> Life {
        let submitted = job.submit_time.div_euclid(SECOND);
        let is_too_early = (job.run.push as f64) < history.first_run(job.run.group) * self.schedule.pushes.count as f64;
        let pushed = self.schedule.pushes.time(job.run.push);
        let appears = if is_too_early { i64::MAX } else { history.arrival(pushed, submitted) };
        Life { appears, expires: history.expiry(submitted) }
    }

    /// The newest `push_timestamp` of the data of a group that have appeared, seconds.
    fn newest_visible(&self, group: u64, as_of: &AsOf<'_>) -> Option<i64> {
        let mut newest: Option<i64> = None;
        for run in self.schedule.runs_back(group, self.schedule.pushes.newest_until(as_of.now)?) {
            let time = self.schedule.pushes.time(run.push);
            if newest.is_some_and(|newest| newest > time) {
                break;
            }
            if as_of.has_appeared(&self.life(&self.job(run, as_of.history), as_of.history)) {
                let is_twice = time < as_of.now && self.comes_twice(&run);
                newest = newest.max(Some(time + i64::from(is_twice)));
            }
        }
        newest
    }

    fn comes_twice(&self, run: &Run) -> bool {
        Draw::of(self.config.seed, domain::RUN, run.group, run.number ^ (1 << 40)).below(ONE_IN_TWICE) == 0
    }

    /// Visits the data of `runs`, which are on one push, in the order of the API.
    fn visit_push(
        &self,
        view: &SignatureView,
        runs: &[Run],
        (window, as_of): (&Window<'_>, &AsOf<'_>),
        machine: &mut String,
        visit: &mut dyn FnMut(&Datum<'_>),
    ) {
        let Some(push) = runs.first().map(|run| run.push) else { return };
        let revision = self.schedule.pushes.revision(push);
        let revision = hex_text(&revision);
        let pushed = self.schedule.pushes.time(push);
        let jobs: Vec<(Job, Life)> = runs
            .iter()
            .map(|run| self.job(*run, as_of.history))
            .map(|job| (self.life(&job, as_of.history), job))
            .filter(|(life, _)| as_of.has_appeared(life))
            .map(|(life, job)| (job, life))
            .collect();
        let mut show = |(job, life): &(Job, Life), is_second: bool, is_expired: bool| {
            job.write_machine_name(machine);
            let datum = Datum {
                id: view.datum_id(&job.run, is_second),
                job_id: Some(job.id),
                value: view.series.value(push, job.id + u64::from(is_second)),
                push_timestamp: (pushed + i64::from(is_second)) * SECOND,
                push_id: Pushes::id(push),
                revision,
                submit_time: Some(job.submit_time),
                machine_name: Some(machine),
                life: Life { appears: life.appears.max(pushed + i64::from(is_second)), ..*life },
                text: None,
            };
            let datum = if is_expired { datum.without_job() } else { datum };
            if window.contains(&datum) {
                visit(&datum);
            }
        };
        for is_second in [false, true] {
            let is_there = |job: &Job| !is_second || (pushed < as_of.now && self.comes_twice(&job.run));
            let of_pass = jobs.iter().filter(|(job, _)| is_there(job));
            let (mut expired, present): (Vec<_>, Vec<_>) = of_pass.partition(|(_, life)| as_of.is_expired(life));
            for job in present {
                show(job, is_second, false);
            }
            // Without a job, their order depends on the query plan.
            let is_reversed = expired.len() > 1
                && match window.ties {
                    Ties::ById => false,
                    Ties::OnePlan => Draw::of(self.config.seed, domain::TIE, view.rank, push).chance(0.2),
                    Ties::OtherPlan => Draw::of(self.config.seed, domain::TIE, push, view.rank).chance(0.2),
                };
            if is_reversed {
                expired.reverse();
            }
            for job in expired {
                show(job, is_second, true);
            }
        }
    }
}

/// The properties of a signature that its data depend on.
struct SignatureView {
    rank: u64,
    num_signatures: u64,
    series: Series,
}

impl SignatureView {
    /// Ascending with time within a signature.
    fn datum_id(&self, run: &Run, is_second: bool) -> u64 {
        2_150_000_000 + (run.number * self.num_signatures + self.rank) * 2 + u64::from(is_second)
    }
}

fn repository(id: u64, name: &str) -> Repository {
    let name_text = quoted(name);
    let text = format!(
        "{{\"id\":{id},\"repository_group\":{{\"name\":\"development\",\"description\":\"\"}},\"name\":{name_text},\
         \"dvcs_type\":\"hg\",\"url\":\"https://hg.example.org/{}\",\"branch\":null,\"codebase\":\"gecko\",\
         \"description\":\"\",\"active_status\":\"active\",\"life_cycle_order\":null,\
         \"performance_alerts_enabled\":true,\"expire_performance_data\":true,\"is_try_repo\":false,\
         \"tc_root_url\":\"https://firefox-ci-tc.example.org\"}}",
        name_text.trim_matches('"'),
    );
    Repository { id, name: name.to_owned(), text }
}

impl Dataset for Generator {
    fn start(&self) -> i64 {
        self.config.start
    }

    fn now(&self) -> i64 {
        self.config.end
    }

    fn frameworks(&self) -> &str {
        &self.frameworks
    }

    fn repositories(&self) -> &[Repository] {
        &self.repositories
    }

    fn num_signatures(&self, repository: u64) -> usize {
        if repository == REPOSITORY_ID { self.schedule.num_signatures() } else { 0 }
    }

    fn find_signature(&self, repository: u64, id: u64) -> Option<usize> {
        rank_of(id).filter(|rank| *rank < self.num_signatures(repository))
    }

    fn signature_head(&self, _repository: u64, rank: usize, as_of: &AsOf<'_>) -> Option<SignatureHead<'_>> {
        let hex = |rank: usize| hex_text(&hash_of(self.config.seed, rank)).to_owned();
        let (group, position) = self.schedule.group_of(rank);
        let parent = (position > 0).then(|| self.schedule.first_signature(group));
        let family = Family::of(&self.config, group);
        let last_updated = if self.schedule.num_runs(group) == 0 {
            self.config.start - LONG_AGO
        } else {
            self.newest_visible(group, as_of)?
        };
        Some(SignatureHead {
            id: id_of(rank),
            hash: hex(rank).into(),
            framework_id: family.framework,
            platform: family.platform.into(),
            parent_id: parent.map(id_of),
            parent_hash: parent.map(|parent| hex(parent).into()),
            last_updated: last_updated * SECOND,
        })
    }

    fn write_signature(&self, _repository: u64, rank: usize, out: &mut Vec<u8>) {
        self.signature(rank).write(out);
    }

    fn summary_frame(&self, repository: u64, rank: usize) -> SummaryFrame<'_> {
        self.signature(rank).frame((repository, &self.config.repository))
    }

    fn visit_data(
        &self,
        _repository: u64,
        rank: usize,
        window: &Window<'_>,
        as_of: &AsOf<'_>,
        visit: &mut dyn FnMut(&Datum<'_>),
    ) {
        let pushes = &self.schedule.pushes;
        // The last push before the window may have data a second later, inside the window.
        let first = pushes.newest_until(window.after.div_euclid(SECOND)).unwrap_or(0);
        let (first, only) = match window.revision.map(|revision| pushes.find_revision(revision)) {
            None => (first, None),
            Some(None) => return,
            Some(Some(push)) => (push, Some(push)),
        };
        let signature = self.signature(rank);
        let view = SignatureView {
            rank: rank as u64,
            num_signatures: self.schedule.num_signatures() as u64,
            series: signature.series(pushes.count),
        };
        let mut machine = String::new();
        let mut runs: Vec<Run> = Vec::new();
        for run in self.schedule.runs_from(signature.group, first) {
            if runs.last().is_some_and(|before| before.push != run.push) {
                self.visit_push(&view, &runs, (window, as_of), &mut machine, visit);
                runs.clear();
                let time = pushes.time(run.push);
                if only.is_some() || time > as_of.now || time.saturating_mul(SECOND) >= window.before {
                    return;
                }
            }
            if only.is_some_and(|only| only != run.push) {
                return;
            }
            runs.push(run);
        }
        self.visit_push(&view, &runs, (window, as_of), &mut machine, visit);
    }

    fn replicates(&self, datum: &Datum<'_>) -> Vec<f64> {
        let mut draw = Draw::of(self.config.seed, domain::REPLICATES, datum.id, 0);
        // Those of suites are ingested only since May 2026, and an error of ingestion loses them.
        if draw.chance(WITHOUT_REPLICATES) {
            return Vec::new();
        }
        let num = 1 + draw.below(MOST_REPLICATES);
        let has_zeros = draw.chance(0.02);
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let value = |draw: &mut Draw| {
            if has_zeros {
                [0.0, -0.0][usize::from(draw.chance(0.5))]
            } else {
                // Few different ones, so that equal ones occur.
                (datum.value * (98 + draw.below(5)) as f64).round() / 100.0
            }
        };
        (0..num).map(|_| value(&mut draw)).collect()
    }

    fn write_job(&self, repository: u64, id: u64, as_of: &AsOf<'_>, out: &mut Vec<u8>) -> bool {
        let is_listed = repository == REPOSITORY_ID && !Job::is_missing(self.config.seed, id);
        let job = self.schedule.find_run(id).filter(|_| is_listed).map(|run| self.job(run, as_of.history));
        let Some(job) = job.filter(|job| as_of.has_job(&self.life(job, as_of.history))) else { return false };
        let Family { platform, suite, option, .. } = Family::of(&self.config, job.run.group);
        job.at(as_of.now).write(&JobSetting { platform, suite, option }, out);
        true
    }

    fn job_ids(
        &self,
        repository: u64,
        pushes: Option<&[u64]>,
        as_of: &AsOf<'_>,
        (offset, limit): (usize, usize),
    ) -> Vec<u64> {
        if repository != REPOSITORY_ID {
            return Vec::new();
        }
        let exists = |run: &Run| {
            let id = self.schedule.job_id(run);
            !Job::is_missing(self.config.seed, id)
                && as_of.has_job(&self.life(&self.job(*run, as_of.history), as_of.history))
        };
        let numbers: Vec<u64> = if let Some(ids) = pushes {
            let mut numbers: Vec<u64> = ids.iter().filter_map(|id| self.schedule.pushes.find(*id)).collect();
            numbers.sort_unstable();
            numbers.dedup();
            numbers
        } else {
            let AsOf { now, history, keeps_jobs } = *as_of;
            let age = history.job_expiry.filter(|_| !keeps_jobs);
            let expiry = age.map(|age| now - seconds(age) - Job::latest_submission(history));
            let first = expiry.and_then(|expiry| self.schedule.pushes.newest_until(expiry)).unwrap_or(0);
            let end = self.schedule.pushes.newest_until(now).map_or(0, |newest| newest + 1);
            (first..end).collect()
        };
        let runs = numbers.into_iter().flat_map(|push| self.schedule.runs_on(push));
        runs.filter(exists).map(|run| self.schedule.job_id(&run)).skip(offset).take(limit).collect()
    }

    fn num_pushes(&self, repository: u64) -> usize {
        if repository == REPOSITORY_ID { self.config.pushes } else { 0 }
    }

    fn push_head(&self, _repository: u64, rank: usize) -> PushHead<'_> {
        let push = (self.config.pushes - 1 - rank) as u64;
        let mut revision = String::with_capacity(40);
        let _ = write!(revision, "{}", hex_text(&self.schedule.pushes.revision(push)));
        PushHead { id: Pushes::id(push), push_timestamp: self.schedule.pushes.time(push), revision: revision.into() }
    }

    fn write_push(&self, repository: u64, rank: usize, out: &mut Vec<u8>) {
        self.schedule.pushes.write((self.config.pushes - 1 - rank) as u64, repository, out);
    }

    fn num_alerts(&self) -> usize {
        if self.schedule.num_signatures() == 0 { 0 } else { self.config.alerts }
    }

    fn alert_head(&self, rank: usize) -> AlertHead {
        self.alerts().head((self.config.alerts - 1 - rank) as u64)
    }

    fn alert_push_timestamp(&self, rank: usize) -> i64 {
        self.alerts().push_timestamp((self.config.alerts - 1 - rank) as u64)
    }

    fn write_alert(&self, rank: usize, out: &mut Vec<u8>) {
        self.alerts().write((self.config.alerts - 1 - rank) as u64, out);
    }
}
