//! The file for the textfile collector of Prometheus' node exporter: the state of a store, also while nothing runs.
//!
//! The same names hold after each run and when `status` writes, so that no series comes and goes. All are gauges: counters of
//! a process would start anew with each run. The counters of a running crawl are served by `metrics`.

use std::collections::BTreeMap;
use std::fmt;
use std::io::Write as _;
use std::path::Path;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use super::metrics::PREFIX;
use super::{DueJobs, RunPhase, RunState};
use crate::actor::temporary_file;
use crate::model::{Kind, Timestamp};

/// The state of a store.
#[derive(Clone, Debug, Default)]
pub struct StoreState {
    /// The label of all metrics: several repositories have a store each.
    pub repository: String,
    /// When it was read.
    pub now: Timestamp,
    /// Number of the newest finished harvest; 0 before the first.
    pub harvest: u16,
    /// A later harvest has begun and not finished.
    pub is_open: bool,
    /// The end of its data, and when it finished; `None` before the first.
    pub finished: Option<(Timestamp, Timestamp)>,
    /// Requests of each kind: pending, settled, failed.
    pub requests: BTreeMap<Kind, [u64; 3]>,
    /// Records that were set aside.
    pub set_aside: u64,
    /// The last run; `None` before the first.
    pub run: Option<RunState>,
}

type Rows = Vec<(Vec<(&'static str, String)>, f64)>;

impl StoreState {
    /// Replaces the file at `path` with this state.
    ///
    /// # Errors
    /// Those of the file system; the file is then as it was.
    pub fn write(self, path: &Path) -> std::io::Result<()> {
        let text = self.text().map_err(std::io::Error::other)?;
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // The collector reads only names that end in `.prom`, so it never sees half a file.
        let mut file = temporary_file(".perfharvest", "").tempfile_in(folder)?;
        file.write_all(text.as_bytes())?;
        file.persist(path).map(drop).map_err(|error| error.error)
    }

    fn text(self) -> Result<String, fmt::Error> {
        let repository = ("repository".into(), self.repository.clone().into());
        let mut registry = Registry::with_prefix_and_labels(PREFIX, std::iter::once(repository));
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry)?;
        // Lines that only OpenMetrics has.
        Ok(text
            .lines()
            .filter(|line| !line.starts_with("# UNIT") && *line != "# EOF")
            .map(|line| format!("{line}\n"))
            .collect())
    }

    #[expect(clippy::cast_precision_loss, reason = "counts, and seconds below 2^53")]
    fn gauges(&self) -> Vec<(&'static str, &'static str, Option<Unit>, Rows)> {
        let one = |value: f64| vec![(Vec::new(), value)];
        let flag = |is: bool| one(if is { 1.0 } else { 0.0 });
        let secs = |at: Timestamp| one(at.as_secs() as f64);
        let mut gauges = vec![
            ("harvest", "Number of the newest finished harvest, 0 before the first", None, one(self.harvest.into())),
            ("harvest_open", "Whether a later harvest has begun and not finished", None, flag(self.is_open)),
            ("set_aside", "Records that were set aside", None, one(self.set_aside as f64)),
        ];
        if let Some((data_end, finished_at)) = self.finished {
            let age = self.now.as_secs() - data_end.as_secs();
            let seconds = || Some(Unit::Seconds);
            gauges.push((
                "data_end_timestamp",
                "End of the data of the newest finished harvest",
                seconds(),
                secs(data_end),
            ));
            gauges.push(("data_age", "Time since then, when this file was written", seconds(), one(age as f64)));
            gauges.push(("last_success_timestamp", "When that harvest finished", seconds(), secs(finished_at)));
        }
        for (place, (name, help)) in [
            ("pending", "Requests still to be asked"),
            ("settled", "Requests settled, in all runs"),
            ("failed", "Requests that failed"),
        ]
        .into_iter()
        .enumerate()
        {
            let of =
                |(kind, counts): (&Kind, &[u64; 3])| (vec![("kind", kind.name().to_owned())], counts[place] as f64);
            gauges.push((name, help, None, self.requests.iter().map(of).collect()));
        }
        if let Some(run) = &self.run {
            let due = DueJobs::count(&run.pending_jobs_by_day, self.now);
            let within = |days: &str, jobs: u64| (vec![("within", days.to_owned())], jobs as f64);
            let due = vec![
                within("1d", due.within_1_day),
                within("7d", due.within_7_days),
                within("30d", due.within_30_days),
            ];
            let is_finished = run.phase == RunPhase::Finished;
            gauges.push((
                "last_run_timestamp",
                "When the last run wrote its state",
                Some(Unit::Seconds),
                secs(run.updated_at),
            ));
            gauges.push(("last_run_finished", "Whether the last run came to its end", None, flag(is_finished)));
            gauges.push(("jobs_due", "Sampled jobs still to fetch that the server deletes soon", None, due));
            gauges.push(("store", "Size of the store on the disk", Some(Unit::Bytes), one(run.disk_bytes as f64)));
        }
        gauges
    }
}

impl Collector for StoreState {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        for (name, help, unit, rows) in self.gauges() {
            let mut family = encoder.encode_descriptor(name, help, unit.as_ref(), MetricType::Gauge)?;
            if let [(labels, value)] = rows.as_slice()
                && labels.is_empty()
            {
                ConstGauge::new(*value).encode(family)?;
                continue;
            }
            for (labels, value) in rows {
                ConstGauge::new(value).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn state() -> StoreState {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        StoreState {
            repository: "autoland".to_owned(),
            now: at("2026-08-10T00:00:00Z"),
            harvest: 2,
            is_open: true,
            finished: Some((at("2026-08-02T00:00:00Z"), at("2026-08-02T06:00:31Z"))),
            requests: Kind::ALL.map(|kind| (kind, [1, 2, 3])).into(),
            set_aside: 4,
            run: None,
        }
    }

    /// Checks the text exposition format 0.0.4, as `promtool check metrics` does; returns the names.
    fn checked(text: &str) -> BTreeSet<String> {
        let is_name = |name: &str| {
            name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') && name.starts_with("perfharvest_")
        };
        let (mut names, mut series) = (BTreeSet::new(), BTreeSet::new());
        let mut lines = text.lines().peekable();
        assert!(text.ends_with('\n'));
        while let Some(line) = lines.next() {
            let name = line.strip_prefix("# HELP ").and_then(|rest| rest.split(' ').next()).unwrap();
            assert!(is_name(name) && names.insert(name.to_owned()), "{line}");
            assert_eq!(lines.next(), Some(format!("# TYPE {name} gauge").as_str()));
            while let Some(sample) = lines.next_if(|line| !line.starts_with('#')) {
                let (key, value) = sample.rsplit_once(' ').unwrap();
                let (own, labels) = key.split_once('{').unwrap_or((key, "}"));
                assert_eq!(own, name, "{sample}");
                assert!(series.insert(key.to_owned()) && value.parse::<f64>().is_ok(), "{sample}");
                let labels = labels.strip_suffix('}').unwrap();
                let is_pair = |pair: &str| pair.split_once("=\"").is_some_and(|(_, value)| value.ends_with('"'));
                assert!(labels.is_empty() || labels.split(',').all(is_pair), "{sample}");
            }
        }
        names
    }

    #[test]
    fn the_text_is_that_of_the_node_exporter_and_tells_the_age_of_the_data() {
        let text = state().text().unwrap();
        let names = checked(&text);
        assert!(names.len() >= 8, "{names:?}");
        for line in [
            "perfharvest_harvest{repository=\"autoland\"} 2.0",
            "perfharvest_harvest_open{repository=\"autoland\"} 1.0",
            "perfharvest_data_end_timestamp_seconds{repository=\"autoland\"} 1785628800.0",
            "perfharvest_data_age_seconds{repository=\"autoland\"} 691200.0",
            "perfharvest_last_success_timestamp_seconds{repository=\"autoland\"} 1785650431.0",
            "perfharvest_pending{repository=\"autoland\",kind=\"summaries\"} 1.0",
            "perfharvest_failed{repository=\"autoland\",kind=\"job_details\"} 3.0",
            "perfharvest_set_aside{repository=\"autoland\"} 4.0",
        ] {
            assert!(text.lines().any(|own| own == line), "{line} is missing in\n{text}");
        }
        checked(&StoreState::default().text().unwrap());
    }

    #[test]
    fn the_file_is_replaced_as_a_whole_and_others_may_read_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("perfharvest.prom");
        state().write(&path).unwrap();
        StoreState { harvest: 3, ..state() }.write(&path).unwrap();
        assert!(std::fs::read_to_string(&path).unwrap().contains("perfharvest_harvest{repository=\"autoland\"} 3.0"));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        #[cfg(unix)]
        {
            let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&path).unwrap());
            assert_ne!(mode & 0o040, 0, "the group may read it, where the umask allows it");
        }
        state().write(&folder.path().join("missing/perfharvest.prom")).unwrap_err();
    }
}
