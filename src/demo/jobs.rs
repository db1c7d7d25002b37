//! The CronJobs of a commons: when they run, what they print, what kube-state-metrics says of them.
//!
//! Runs are a function of time alone, so a demo that starts now has a past.

use std::sync::Arc;

use super::catalogue::Site;
use super::lines::Streams;
use super::pods::job_stream;
use super::scrape::Scrape;
use super::text::{cdis, seconds, time};

const MINUTE_MS: i64 = 60_000;

/// A CronJob.
#[derive(Debug)]
pub(super) struct CronJob {
    pub(super) name: &'static str,
    /// The service without which it does not exist.
    needs: &'static str,
    schedule: &'static str,
    every_min: i64,
    at_min: i64,
    container: &'static str,
    /// Shortest and longest run.
    takes_s: (i64, i64),
    is_suspended: bool,
}

const fn cron_job(
    name: &'static str,
    needs: &'static str,
    schedule: &'static str,
    (every_min, at_min): (i64, i64),
    takes_s: (i64, i64),
) -> CronJob {
    CronJob {
        name,
        needs,
        schedule,
        every_min,
        at_min,
        container: name,
        takes_s,
        is_suspended: false,
    }
}

const CRON_JOBS: [CronJob; 7] = [
    CronJob {
        container: "fence",
        ..cron_job("usersync", "fence", "*/30 * * * *", (30, 0), (60, 400))
    },
    CronJob {
        container: "tube",
        ..cron_job("etl-cronjob", "etl", "*/30 * * * *", (30, 0), (360, 1_500))
    },
    cron_job("fence-visa-update", "fence", "30 * * * *", (60, 30), (20, 120)),
    cron_job("arborist-rm-expired-access", "arborist", "*/5 * * * *", (5, 0), (3, 9)),
    cron_job("workspace-launch-test", "hatchery", "*/20 * * * *", (20, 0), (40, 120)),
    cron_job("google-manage-keys", "fence", "20 * * * *", (60, 20), (10, 60)),
    // Installed by the chart and switched off by this site.
    CronJob {
        is_suspended: true,
        ..cron_job("es-garbage", "guppy", "0 3 * * *", (1_440, 180), (10, 20))
    },
];

/// One run, ms since 1970 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Run {
    start_ms: i64,
    end_ms: i64,
}

impl CronJob {
    /// Returns the latest run that began at `now_ms` or before.
    fn run_at(&self, site: &Site, now_ms: i64) -> Run {
        let (every_ms, at_ms) = (self.every_min * MINUTE_MS, self.at_min * MINUTE_MS);
        let start_ms = (now_ms - at_ms).div_euclid(every_ms) * every_ms + at_ms;
        let key = format!("{}/{}/{start_ms}", site.hostname, self.name);
        let spread_s = self.takes_s.1 - self.takes_s.0;
        let hash = xxhash_rust::xxh3::xxh3_64(key.as_bytes()) >> 1;
        let extra_s = i64::try_from(hash).unwrap_or(0) % spread_s.max(1);
        Run { start_ms, end_ms: start_ms + (self.takes_s.0 + extra_s) * 1_000 }
    }

    /// Returns the end of the latest run that is over.
    fn last_success_ms(&self, site: &Site, now_ms: i64) -> i64 {
        let latest = self.run_at(site, now_ms);
        if latest.end_ms <= now_ms {
            latest.end_ms
        } else {
            self.run_at(site, latest.start_ms - 1).end_ms
        }
    }
}

fn of_site(site: &'static Site) -> impl Iterator<Item = &'static CronJob> {
    CRON_JOBS.iter().filter(|job| site.runs(job.needs))
}

/// Writes what jobs print that began or ended in a stretch of time.
pub(super) fn write(site: &'static Site, (from_ms, to_ms): (i64, i64), streams: &mut Streams) {
    for job in of_site(site).filter(|job| !job.is_suspended) {
        let run = job.run_at(site, to_ms - 1);
        let stream = job_stream(site, job.name, run.start_ms / MINUTE_MS, job.container);
        let mut say = |at_ms: i64, lines: Vec<String>| {
            if (from_ms..to_ms).contains(&at_ms) {
                let entries = streams.entry(Arc::clone(&stream)).or_default();
                entries.extend((0..).map(|i| at_ms * 1_000_000 + i).zip(lines));
            }
        };
        say(run.start_ms, beginning(job.name, run.start_ms));
        say(run.end_ms, ending(job.name, run));
    }
}

fn beginning(job: &str, at_ms: i64) -> Vec<String> {
    let at_ns = at_ms * 1_000_000;
    match job {
        "usersync" => vec![cdis(at_ns, "user_syncer", "INFO", "Start syncing users")],
        "etl-cronjob" => vec![
            format!("{} INFO run_etl: begin", time(at_ns, "%y/%m/%d %H:%M:%S")),
            "Index will be built: subject_idx, file_idx".to_owned(),
        ],
        other => vec![cdis(at_ns, "fence", "INFO", &format!("{other} begins"))],
    }
}

fn ending(job: &str, run: Run) -> Vec<String> {
    let at_ns = run.end_ms * 1_000_000;
    let last = match job {
        "workspace-launch-test" => launch_test(run),
        "usersync" => cdis(
            at_ns,
            "user_syncer",
            "INFO",
            "Finished synchronizing authorization info to arborist",
        ),
        "etl-cronjob" => "Nothing's new".to_owned(),
        other => cdis(at_ns, "fence", "INFO", &format!("{other} is done")),
    };
    vec![last, "Exit code: 0".to_owned()]
}

/// The result of a launch on trial, as the job prints it.
fn launch_test(run: Run) -> String {
    let at = |at_ms: i64| time(at_ms * 1_000_000, "%Y-%m-%dT%H:%M:%S+00:00");
    let duration_s = (run.end_ms - run.start_ms) / 1_000;
    format!(
        r#"{{"final_result": {{"image": "quay.io/demo/jupyter:1.4", "workspace_id": "5f2", "start_time": "{}", "end_time": "{}", "duration": {duration_s}, "result": "Running", "reason_for_failure": null, "status_response": {{"status": "Running"}}, "proxy_status": 200}}}}"#,
        at(run.start_ms),
        at(run.end_ms),
    )
}

/// Adds what kube-state-metrics says of the jobs.
pub(super) fn scrape(site: &'static Site, now_ms: i64, into: &mut Scrape) {
    for job in of_site(site) {
        let cron = [("namespace", site.namespace), ("cronjob", job.name)];
        let suspended = f64::from(u8::from(job.is_suspended));
        into.kube("kube_cronjob_spec_suspend", site, &cron, suspended);
        let info = [("schedule", job.schedule), ("concurrency_policy", "Forbid")];
        into.kube("kube_cronjob_info", site, &[cron.as_slice(), &info].concat(), 1.0);
        if job.is_suspended {
            continue;
        }
        let success_s = seconds(job.last_success_ms(site, now_ms));
        into.kube("kube_cronjob_status_last_successful_time", site, &cron, success_s);
        // Kubernetes keeps finished runs for a while.
        let latest = job.run_at(site, now_ms);
        scrape_run(site, job, latest, now_ms, into);
        scrape_run(site, job, job.run_at(site, latest.start_ms - 1), now_ms, into);
    }
}

fn scrape_run(site: &'static Site, job: &CronJob, run: Run, now_ms: i64, into: &mut Scrape) {
    let name = format!("{}-{}", job.name, run.start_ms / MINUTE_MS);
    let labels = [("namespace", site.namespace), ("job_name", name.as_str())];
    let owner =
        [("owner_kind", "CronJob"), ("owner_name", job.name), ("owner_is_controller", "true")];
    into.kube("kube_job_owner", site, &[labels.as_slice(), &owner].concat(), 1.0);
    into.kube("kube_job_status_start_time", site, &labels, seconds(run.start_ms));
    into.kube("kube_job_status_failed", site, &labels, 0.0);
    let is_over = run.end_ms <= now_ms;
    into.kube("kube_job_status_succeeded", site, &labels, f64::from(u8::from(is_over)));
    if is_over {
        into.kube("kube_job_status_completion_time", site, &labels, seconds(run.end_ms));
    }
}

#[cfg(test)]
mod tests {
    use super::super::catalogue::SITES;
    use super::*;

    #[test]
    fn the_last_success_is_never_older_than_a_period_and_a_run() {
        let usersync = &CRON_JOBS[0];
        for minute in 0..200 {
            let now_ms = 1_786_500_000_000 + minute * MINUTE_MS;
            let age_ms = now_ms - usersync.last_success_ms(&SITES[0], now_ms);

            assert!((0..=(30 + 7) * MINUTE_MS).contains(&age_ms), "{age_ms}");
        }
    }

    #[test]
    fn a_run_is_told_once_however_time_is_cut() {
        let told = |step_ms: i64| {
            let mut streams = Streams::new();
            let from_ms = 1_786_500_000_000;
            for i in 0..(3_600_000 / step_ms) {
                write(
                    &SITES[0],
                    (from_ms + i * step_ms, from_ms + (i + 1) * step_ms),
                    &mut streams,
                );
            }
            streams
        };

        assert_eq!(told(1_000), told(15_000));
        assert!(!told(15_000).is_empty());
    }
}
