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

/// Says whether a run of a job that began then, ms since 1970 UTC, goes wrong.
pub(super) type GoesWrong<'a> = &'a dyn Fn(&str, i64) -> bool;

/// When all of them were made, s since 1970 UTC.
const CREATED_S: f64 = 1_767_225_600.0;

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

    /// Returns the end of the latest run that Kubernetes calls a success.
    fn last_success_ms(&self, site: &Site, now_ms: i64, goes_wrong: GoesWrong<'_>) -> i64 {
        let mut run = self.run_at(site, now_ms);
        while run.end_ms > now_ms || self.fails(run, goes_wrong) {
            run = self.run_at(site, run.start_ms - 1);
        }
        run.end_ms
    }

    /// Only usersync says with its exit code that it went wrong.
    fn fails(&self, run: Run, goes_wrong: GoesWrong<'_>) -> bool {
        self.name == "usersync" && goes_wrong(self.name, run.start_ms)
    }
}

fn of_site(site: &'static Site) -> impl Iterator<Item = &'static CronJob> {
    CRON_JOBS.iter().filter(|job| site.runs(job.needs))
}

/// Writes what jobs print that began or ended in a stretch of time.
pub(super) fn write(
    site: &'static Site,
    (from_ms, to_ms): (i64, i64),
    goes_wrong: GoesWrong<'_>,
    streams: &mut Streams,
) {
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
        let last = match goes_wrong(job.name, run.start_ms) {
            true => bad_ending(job.name, run),
            false => ending(job.name, run),
        };
        say(run.end_ms, last);
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
        "workspace-launch-test" => launch_test(run, "Running", 200),
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

/// How a run ends that went wrong, which its exit code does not always admit.
fn bad_ending(job: &str, run: Run) -> Vec<String> {
    let at_ns = run.end_ms * 1_000_000;
    let (last, code) = match job {
        "workspace-launch-test" => (launch_test(run, "Failed", 502), 0),
        "etl-cronjob" => ("ERROR when connecting to spark. Please roll spark".to_owned(), 0),
        _ => (cdis(at_ns, "user_syncer", "ERROR", "Could not synchronize successfully"), 1),
    };
    vec![last, format!("Exit code: {code}")]
}

/// The result of a launch on trial, as the job prints it.
fn launch_test(run: Run, result: &str, proxy_status: u16) -> String {
    let at = |at_ms: i64| time(at_ms * 1_000_000, "%Y-%m-%dT%H:%M:%S+00:00");
    let duration_s = (run.end_ms - run.start_ms) / 1_000;
    format!(
        r#"{{"final_result": {{"image": "quay.io/demo/jupyter:1.4", "workspace_id": "5f2", "start_time": "{}", "end_time": "{}", "duration": {duration_s}, "result": "{result}", "reason_for_failure": null, "status_response": {{"status": "{result}"}}, "proxy_status": {proxy_status}}}}}"#,
        at(run.start_ms),
        at(run.end_ms),
    )
}

/// Adds what kube-state-metrics says of the jobs.
pub(super) fn scrape(
    site: &'static Site,
    now_ms: i64,
    goes_wrong: GoesWrong<'_>,
    into: &mut Scrape,
) {
    for job in of_site(site) {
        let cron = [("namespace", site.namespace), ("cronjob", job.name)];
        let suspended = f64::from(u8::from(job.is_suspended));
        into.kube("kube_cronjob_spec_suspend", site, &cron, suspended);
        let info = [("schedule", job.schedule), ("concurrency_policy", "Forbid")];
        into.kube("kube_cronjob_info", site, &[cron.as_slice(), &info].concat(), 1.0);
        into.kube("kube_cronjob_created", site, &cron, CREATED_S);
        if job.is_suspended {
            continue;
        }
        let success_s = seconds(job.last_success_ms(site, now_ms, goes_wrong));
        into.kube("kube_cronjob_status_last_successful_time", site, &cron, success_s);
        let last_ms = job.run_at(site, now_ms).start_ms;
        let next_ms = last_ms + job.every_min * MINUTE_MS;
        into.kube("kube_cronjob_status_last_schedule_time", site, &cron, seconds(last_ms));
        into.kube("kube_cronjob_next_schedule_time", site, &cron, seconds(next_ms));
        // Kubernetes keeps finished runs for a while.
        let latest = job.run_at(site, now_ms);
        scrape_run(site, job, latest, (now_ms, goes_wrong), into);
        let before = job.run_at(site, latest.start_ms - 1);
        scrape_run(site, job, before, (now_ms, goes_wrong), into);
    }
}

fn scrape_run(
    site: &'static Site,
    job: &CronJob,
    run: Run,
    (now_ms, goes_wrong): (i64, GoesWrong<'_>),
    into: &mut Scrape,
) {
    let name = format!("{}-{}", job.name, run.start_ms / MINUTE_MS);
    let labels = [("namespace", site.namespace), ("job_name", name.as_str())];
    let owner =
        [("owner_kind", "CronJob"), ("owner_name", job.name), ("owner_is_controller", "true")];
    into.kube("kube_job_owner", site, &[labels.as_slice(), &owner].concat(), 1.0);
    into.kube("kube_job_status_start_time", site, &labels, seconds(run.start_ms));
    let is_over = run.end_ms <= now_ms;
    let failed = is_over && job.fails(run, goes_wrong);
    let succeeded = is_over && !failed;
    into.kube("kube_job_status_failed", site, &labels, f64::from(u8::from(failed)));
    into.kube("kube_job_status_succeeded", site, &labels, f64::from(u8::from(succeeded)));
    if succeeded {
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
            let age_ms = now_ms - usersync.last_success_ms(&SITES[0], now_ms, &|_, _| false);

            assert!((0..=(30 + 7) * MINUTE_MS).contains(&age_ms), "{age_ms}");
        }
    }

    #[test]
    fn kubernetes_believes_an_exit_code() {
        let (usersync, etl) = (&CRON_JOBS[0], &CRON_JOBS[1]);
        let now_ms = 1_786_500_000_000;
        let began_wrong = |_: &str, start_ms: i64| start_ms > now_ms - 180 * MINUTE_MS;
        let age_min = |job: &CronJob| {
            (now_ms - job.last_success_ms(&SITES[0], now_ms, &began_wrong)) / MINUTE_MS
        };

        assert!((170..220).contains(&age_min(usersync)), "{}", age_min(usersync));
        assert!(age_min(etl) < 60, "Spark was not there, and the Job is green: {}", age_min(etl));
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
                    &|_, _| false,
                    &mut streams,
                );
            }
            streams
        };

        assert_eq!(told(1_000), told(15_000));
        assert!(!told(15_000).is_empty());
    }
}
