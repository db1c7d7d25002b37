//! Debian's Prometheus scrapes itself and a node exporter, writes both into us, and then both
//! servers answer the same questions alike.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use crate::bad_input::unbalanced;
use crate::support::ask::{array, form, labels};
use crate::support::programs::{Program, free_port};
use crate::support::wait::{now_ms, until};
use crate::support::{Caller, Request, Setup, http};

const WITHIN: Duration = Duration::from_secs(120);
/// How much history the questions are about.
const WINDOW_MS: i64 = 20_000;

/// Compared over the window at a step of a second. Comparisons by value only where Debian's
/// Prometheus 2.42 means the same as Prometheus 3, which we follow.
const QUERIES: &[&str] = &[
    "up",
    "scrape_samples_scraped",
    "node_load1",
    "node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes",
    "rate(node_cpu_seconds_total[10s])",
    "sum by (mode) (rate(node_cpu_seconds_total[10s]))",
    "1 - avg without (cpu) (irate(node_cpu_seconds_total{mode=\"idle\"}[10s]))",
    "topk(3, sum by (mode) (node_cpu_seconds_total))",
    "count by (__name__) ({job=\"node\"})",
    "count(count by (device) (node_network_receive_bytes_total))",
    "increase(prometheus_http_requests_total[15s])",
    "histogram_quantile(0.9, sum by (le) (rate(prometheus_http_request_duration_seconds_bucket[15s])))",
    "max_over_time(scrape_duration_seconds[10s])",
    "avg_over_time(up[10s]) == 1",
    "quantile_over_time(0.5, node_load1[10s])",
    "delta(node_memory_MemFree_bytes[10s])",
    "deriv(node_memory_MemFree_bytes[10s])",
    "changes(process_start_time_seconds[10s])",
    "label_replace(up, \"port\", \"$1\", \"instance\", \".*:(.*)\")",
    "node_filesystem_avail_bytes * on (instance, device, mountpoint) group_left (fstype) node_filesystem_size_bytes",
    "up offset 5s",
    "max_over_time(rate(process_cpu_seconds_total[5s])[10s:2s])",
    "absent(up{job=\"nowhere\"})",
    "count_values(\"up\", up)",
    "up and on (job) (up == 1)",
    "sort_desc(process_resident_memory_bytes)",
    "go_memstats_alloc_bytes > bool 1e6",
    "predict_linear(node_memory_MemFree_bytes[10s], 60)",
    "stddev by (job) (scrape_duration_seconds)",
    "vector(1) + time() * 0",
];

#[test]
fn prometheus_and_we_answer_the_same_questions_alike() {
    let setup = Setup::new("prometheus").config("[tagging]\nenabled = false\n");
    let server = setup.start();
    let ours = server.caller();
    let (node_port, prometheus_port) = (free_port(), free_port());
    let theirs = format!("127.0.0.1:{prometheus_port}");
    let config = configuration(&ours.http, &theirs, node_port);
    std::fs::write(setup.home().join("prometheus.yml"), config).unwrap();
    let mut node =
        Program::start("prometheus-node-exporter", setup.home(), &node_arguments(node_port));
    let mut prometheus = Program::start("prometheus", setup.home(), &prometheus_arguments(&theirs));

    let end_ms = until("20 s of scrapes to arrive here", WITHIN, || {
        node.check()?;
        prometheus.check()?;
        arrived_until(&ours)
    });

    let mut wrong = Vec::new();
    for query in QUERIES {
        let (ours, theirs) = (range(&ours.http, query, end_ms), range(&theirs, query, end_ms));
        if theirs.is_empty() {
            wrong.push(format!("{query}: Prometheus itself finds nothing"));
        }
        wrong
            .extend(differences(&ours, &theirs).into_iter().map(|what| format!("{query}: {what}")));
    }
    assert!(wrong.is_empty(), "{} differences:\n{}", wrong.len(), wrong.join("\n"));
    assert_eq!(unbalanced(&ours), None);
}

fn configuration(ours: &str, theirs: &str, node_port: u16) -> String {
    format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\n\
         scrape_configs:\n\
         - {{ job_name: prometheus, static_configs: [ {{ targets: [ '{theirs}' ] }} ] }}\n\
         - {{ job_name: node, static_configs: [ {{ targets: [ '127.0.0.1:{node_port}' ] }} ] }}\n\
         remote_write:\n\
         - url: http://{ours}/api/v1/write\n\
         \x20 queue_config: {{ batch_send_deadline: 500ms }}\n"
    )
}

fn prometheus_arguments(address: &str) -> Vec<String> {
    vec![
        "--config.file=prometheus.yml".to_owned(),
        "--storage.tsdb.path=prometheus-data".to_owned(),
        format!("--web.listen-address={address}"),
    ]
}

fn node_arguments(port: u16) -> Vec<String> {
    vec![format!("--web.listen-address=127.0.0.1:{port}")]
}

/// Returns the end of the window once both jobs have filled it with margin on both sides, at a
/// number of ms on which neither a scrape nor a sub-query's step falls: ranges are closed there and
/// open here.
fn arrived_until(ours: &Caller) -> Result<i64, String> {
    let now = now_ms();
    let samples = ours.prometheus(
        "/api/v1/query",
        &[("query", "up[90s]"), ("time", &(now / 1000 + 1).to_string())],
    );
    let mut starts: Vec<i64> = Vec::new();
    let mut ends: Vec<i64> = Vec::new();
    let mut taken = Vec::new();
    for series in array(&samples["result"]) {
        let times: Vec<i64> = array(&series["values"]).iter().map(|v| to_ms(&v[0])).collect();
        starts.extend(times.first());
        ends.extend(times.last());
        taken.extend(times.iter().map(|time| time.rem_euclid(1000)));
    }
    let (Some(&start), Some(&end)) = (starts.iter().max(), ends.iter().min()) else {
        return Err("nothing arrived yet".to_owned());
    };
    if starts.len() < 2 || end - start < WINDOW_MS + 20_000 {
        return Err(format!("{} targets, {} ms", starts.len(), end - start));
    }
    let free = (1..1000).find(|ms| !taken.contains(ms)).expect("two targets fill no second");
    Ok((end - 3_000).div_euclid(1000) * 1000 + free)
}

type Matrix = BTreeMap<BTreeMap<String, String>, Vec<(i64, String)>>;

#[track_caller]
fn range(address: &str, query: &str, end_ms: i64) -> Matrix {
    let seconds = |ms: i64| format!("{}.{:03}", ms / 1000, ms % 1000);
    let (start, end) = (seconds(end_ms - WINDOW_MS), seconds(end_ms));
    let parameters = [("query", query), ("start", &start), ("end", &end), ("step", "1")];
    let request = Request::get(format!("/api/v1/query_range?{}", form(&parameters)));
    let answer = http::send(address, &request).unwrap();
    assert_eq!(answer.status, 200, "{address}: {query}: {}", answer.text());
    let answer = answer.json();
    let series = array(&answer["data"]["result"]).iter().map(|series| {
        let point = |point: &Value| (to_ms(&point[0]), point[1].as_str().unwrap_or("").to_owned());
        (labels(&series["metric"]), array(&series["values"]).iter().map(point).collect())
    });
    series.collect()
}

fn differences(ours: &Matrix, theirs: &Matrix) -> Vec<String> {
    let mut wrong = Vec::new();
    for (series, wanted) in theirs {
        match ours.get(series) {
            None => wrong.push(format!("{series:?} is missing here")),
            Some(got) if !alike(got, wanted) => {
                let first = got.iter().zip(wanted).find(|(a, b)| !alike_point(a, b));
                wrong.push(format!(
                    "{series:?}: {} points of {}, first {first:?}",
                    got.len(),
                    wanted.len()
                ));
            }
            Some(_) => {}
        }
    }
    wrong.extend(
        ours.keys().filter(|s| !theirs.contains_key(*s)).map(|s| format!("{s:?} is only here")),
    );
    wrong.truncate(5);
    wrong
}

fn alike(got: &[(i64, String)], wanted: &[(i64, String)]) -> bool {
    got.len() == wanted.len() && got.iter().zip(wanted).all(|(a, b)| alike_point(a, b))
}

/// The order of additions may differ, and with it the last digits.
fn alike_point(got: &(i64, String), wanted: &(i64, String)) -> bool {
    let number = |text: &str| text.parse::<f64>().ok();
    let values = match (number(&got.1), number(&wanted.1)) {
        (Some(a), Some(b)) => {
            a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= 1e-9 * b.abs()
        }
        _ => got.1 == wanted.1,
    };
    values && got.0 == wanted.0
}

fn to_ms(seconds: &Value) -> i64 {
    #[expect(clippy::cast_possible_truncation, reason = "a time of this century, in ms")]
    seconds.as_f64().map_or(0, |seconds| (seconds * 1000.0).round() as i64)
}
