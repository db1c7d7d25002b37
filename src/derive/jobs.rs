//! How jobs end, from what they print: their exit code does not always tell the truth.
//!
//! usersync and the ETL print `Exit code: N` last, and 0 also when Spark was never reached. A run
//! that printed a marker of failure and then 0 is a false success.

use hashbrown::HashMap;

use crate::model::{MetricKind, Tags};
use crate::tagging::{JobMarker, MarkerOutcome};

use super::book::{Book, Family};

static RUNS: Family = Family { name: "csoc_job_runs_total", kind: MetricKind::Counter, unit: "" };
static LAST_SUCCESS: Family =
    Family { name: "csoc_job_last_success_timestamp_seconds", kind: MetricKind::Gauge, unit: "s" };

/// The most jobs of one commons whose run is followed.
const JOBS_MAX: usize = 256;
const EXIT_CODE: &str = "Exit code:";

/// Gives 0 for every way in which the runs of a job may end.
pub(super) fn announce(book: &mut Book, tags: &Tags, job: &str) {
    for outcome in ["ok", "failed", "false_success"] {
        book.count(&RUNS, tags, &[("job", job), ("outcome", outcome)], 0.0);
    }
}

/// The runs under way in one commons.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    /// By job: whether its run has printed a marker of failure.
    has_failed: HashMap<Box<str>, bool>,
}

impl Jobs {
    /// Takes a line of a job's log.
    pub(super) fn observe(
        &mut self,
        book: &mut Book,
        tags: &Tags,
        markers: &[JobMarker],
        job: &str,
        timestamp_s: f64,
        body: &str,
    ) {
        let is_failure = |marker: &&JobMarker| {
            marker.job == job
                && marker.outcome == MarkerOutcome::Failed
                && body.contains(&*marker.contains)
        };
        if markers.iter().any(|marker| is_failure(&marker)) {
            self.mark(job);
        }
        let Some(code) = exit_code(body) else { return };
        let has_failed = self.has_failed.remove(job).unwrap_or(false);
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

    fn mark(&mut self, job: &str) {
        if self.has_failed.len() < JOBS_MAX || self.has_failed.contains_key(job) {
            self.has_failed.insert(Box::from(job), true);
        }
    }
}

/// Reads `Exit code: N` at the end of a line.
fn exit_code(body: &str) -> Option<i64> {
    let (_, code) = body.rsplit_once(EXIT_CODE)?;
    code.trim().parse().ok()
}
