//! How jobs end, from what they print: their exit code does not always tell the truth.
//!
//! usersync and the ETL print `Exit code: N` last, and 0 also when Spark was never reached. A run
//! that printed a marker of failure and then 0 is a false success. A run is a pod: one that was
//! killed before it could print its code must not be held against the next.

use hashbrown::HashMap;

use crate::model::json_read::get;
use crate::model::{MetricKind, Tags};
use crate::tagging::{JobMarker, MarkerOutcome};

use super::book::{Book, Family};

static RUNS: Family = Family { name: "csoc_job_runs_total", kind: MetricKind::Counter, unit: "" };
static LAST_SUCCESS: Family =
    Family { name: "csoc_job_last_success_timestamp_seconds", kind: MetricKind::Gauge, unit: "s" };

/// The most runs of one commons that are known to have printed a marker: those that never end, since
/// they were killed, make room for later ones.
const RUNS_MAX: usize = 256;
/// Where a stream's labels or a resource name the pod.
const POD: [&str; 3] = ["pod", "k8s.pod.name", "pod_name"];
const EXIT_CODE: &str = "Exit code:";

/// Gives 0 for every way in which the runs of a job may end.
pub(super) fn announce(book: &mut Book, tags: &Tags, job: &str) {
    for outcome in ["ok", "failed", "false_success"] {
        book.count(&RUNS, tags, &[("job", job), ("outcome", outcome)], 0.0);
    }
}

/// A line of a run: which job says what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Said<'a> {
    pub(super) job: &'a str,
    /// What is known of the sender, a JSON object.
    pub(super) resource: &'a str,
    pub(super) body: &'a str,
}

impl Said<'_> {
    /// Returns what tells the run apart from others.
    fn run(&self) -> Box<str> {
        let pod = POD.iter().find_map(|name| get(self.resource, name));
        Box::from(format!("{} {}", self.job, pod.unwrap_or("")))
    }
}

/// The runs under way in one commons.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    /// The runs that have printed a marker of failure, with the number of its last one.
    failed: HashMap<Box<str>, u64>,
    n_marks: u64,
}

impl Jobs {
    /// Takes a line of a job's log.
    pub(super) fn observe(
        &mut self,
        book: &mut Book,
        tags: &Tags,
        markers: &[JobMarker],
        timestamp_s: f64,
        said: Said<'_>,
    ) {
        let Said { job, body, .. } = said;
        let is_failure = |marker: &&JobMarker| {
            marker.job == job
                && marker.outcome == MarkerOutcome::Failed
                && body.contains(&*marker.contains)
        };
        if markers.iter().any(|marker| is_failure(&marker)) {
            self.mark(said.run());
        }
        let Some(code) = exit_code(body) else { return };
        let has_failed = self.failed.remove(&said.run()).is_some();
        let outcome = match (code, has_failed) {
            (0, false) => "ok",
            (0, true) => "false_success",
            _ => "failed",
        };
        book.count(&RUNS, tags, &[("job", job), ("outcome", outcome)], 1.0);
        if outcome == "ok" {
            book.raise(&LAST_SUCCESS, tags, &[("job", job)], timestamp_s);
        }
    }

    fn mark(&mut self, run: Box<str>) {
        self.n_marks += 1;
        self.failed.insert(run, self.n_marks);
        if self.failed.len() > RUNS_MAX {
            let oldest = self.failed.values().min().copied();
            self.failed.retain(|_, mark| Some(*mark) != oldest);
        }
    }
}

/// Reads `Exit code: N` at the end of a line.
fn exit_code(body: &str) -> Option<i64> {
    let (_, code) = body.rsplit_once(EXIT_CODE)?;
    code.trim().parse().ok()
}
