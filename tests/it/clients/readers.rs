//! Debian's Prometheus reads from us: raw samples by remote read, the newest by federation.

use crate::support::ask::{array, form};
use crate::support::programs::{Program, free_port};
use crate::support::wait::{now_ms, until};
use crate::support::{Request, Setup, http, remote_write};

const WITHIN: std::time::Duration = std::time::Duration::from_secs(60);

#[test]
fn prometheus_reads_our_samples_and_scrapes_the_newest() {
    let setup = Setup::new("readers").config("[tagging]\nenabled = false\n");
    let server = setup.start();
    let ours = server.caller();
    let end_ms = now_ms().div_euclid(1000) * 1000;
    let samples: Vec<(i64, f64)> = (0..500_u32)
        .map(|n| (end_ms - 500_000 + i64::from(n) * 1000, f64::from(n) / 4.0))
        .collect();
    let series = ["red", "a\"b\\\\c"]
        .map(|team| remote_write::series(&[("__name__", "told_total"), ("team", team)], &samples));
    let answer = ours.send(remote_write::write(series.to_vec()));
    assert!(answer.status < 300, "{}", answer.text());
    let address = format!("127.0.0.1:{}", free_port());
    std::fs::write(setup.home().join("prometheus.yml"), configuration(&ours.http)).unwrap();

    let mut prometheus = Program::start("prometheus", setup.home(), &arguments(&address));

    let time = (end_ms / 1000).to_string();
    // Without the store of its own: what was scraped has another label. No sample is on the edge of
    // the window, which is closed in Prometheus 2.42.
    let query = "sum by (team) (sum_over_time(told_total{job=\"\"}[399s500ms]))";
    let read = until("remote read", WITHIN, || {
        prometheus.check()?;
        instant(&address, query, &time)
    });
    assert_eq!(read, instant(&ours.http, query, &time).unwrap());
    assert_eq!(read.len(), 2, "{read:?}");
    let scraped = until("a scrape of what is federated", WITHIN, || {
        prometheus.check()?;
        let now = (now_ms() / 1000 + 1).to_string();
        match instant(&address, "told_total{job=\"federate\"}", &now) {
            Ok(found) if found.is_empty() => Err("nothing yet".to_owned()),
            other => other,
        }
    });
    assert_eq!(scraped.len(), 2, "{scraped:?}");
    assert!(scraped.iter().all(|line| line.ends_with(" 124.75")), "{scraped:?}");
}

fn configuration(ours: &str) -> String {
    format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\n\
         remote_read: [ {{ url: 'http://{ours}/api/v1/read', read_recent: true }} ]\n\
         scrape_configs:\n\
         - job_name: federate\n\
         \x20 metrics_path: /federate\n\
         \x20 params: {{ 'match[]': [ 'told_total' ] }}\n\
         \x20 static_configs: [ {{ targets: [ '{ours}' ] }} ]\n"
    )
}

fn arguments(address: &str) -> Vec<String> {
    vec![
        "--config.file=prometheus.yml".to_owned(),
        "--storage.tsdb.path=prometheus-data".to_owned(),
        format!("--web.listen-address={address}"),
    ]
}

/// Returns a line a series: its labels and its value.
fn instant(address: &str, query: &str, time: &str) -> Result<Vec<String>, String> {
    let path = format!("/api/v1/query?{}", form(&[("query", query), ("time", time)]));
    let answer = http::send(address, &Request::get(path));
    let answer = answer.map_err(|error| error.to_string())?;
    if answer.status != 200 {
        return Err(answer.text());
    }
    let answer = answer.json();
    let lines = array(&answer["data"]["result"]).iter().map(|series| {
        let value = series["value"][1].as_str().unwrap_or("");
        format!("{} {value}", series["metric"])
    });
    let mut lines: Vec<String> = lines.collect();
    lines.sort();
    Ok(lines)
}
