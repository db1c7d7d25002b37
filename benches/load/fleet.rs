//! What dashboards ask about: requests, their durations as histograms, and gauges, of many pods in
//! several commons. A pod has a hundred series: 20 counters of requests, four histograms of eleven
//! buckets with their sums and counts, and 28 gauges.

use super::Load;
use super::mix::{mix, pick};
use super::remote_write::{Shape, shaped_load};

/// Series of one pod.
pub(crate) const PER_POD: u64 = 100;
const N_COUNTERS: u64 = 20;
const N_HISTOGRAMS: u64 = 4;
const N_GAUGES: u64 = 28;
/// The upper bounds of the buckets, and which part of all requests is below each, in thousandths.
const BUCKETS: [(&str, u64); 11] = [
    ("0.005", 90),
    ("0.01", 210),
    ("0.025", 400),
    ("0.05", 560),
    ("0.1", 700),
    ("0.25", 830),
    ("0.5", 910),
    ("1", 960),
    ("2.5", 985),
    ("5", 996),
    ("+Inf", 1000),
];
/// A histogram's buckets, its sum and its count.
const PER_HISTOGRAM: u64 = 13;
const STATUSES: [&str; 4] = ["200", "302", "404", "500"];
const SERVICES: [&str; 6] = ["fence", "indexd", "peregrine", "sheepdog", "arborist", "revproxy"];

/// Returns a load of `n_rounds` samples for each series after the one that registers them; the pods
/// are spread over `n_commons`, one of 1, 10 and 100.
pub(crate) fn load(n_series: u64, n_rounds: u64, n_commons: u64) -> Load {
    let labels: fn(u64) -> Labels = match n_commons {
        1 => labels::<1>,
        100 => labels::<100>,
        _ => labels::<10>,
    };
    shaped_load(Shape { labels, value }, n_series, n_rounds)
}

/// Returns the name of a commons.
pub(crate) fn commons(number: u64) -> String {
    format!("commons-{number:02}.data.example")
}

/// Returns what picks a few of the request counters, another few for each number.
pub(crate) fn selective(number: u64, n_commons: u64) -> String {
    let (commons_idx, rest) = (number % n_commons, number / n_commons);
    let (service, rest) = (pick(&SERVICES, rest), rest / SERVICES.len() as u64);
    let (handler, status) = (rest % 5, pick(&STATUSES, rest / 5));
    format!(
        "http_requests_total{{commons=\"{}\",service=\"{service}\",handler=\"h{handler}\",\
         status=\"{status}\"}}",
        commons(commons_idx)
    )
}

type Labels = Vec<(&'static str, String)>;

/// What a series of a pod is.
enum Part {
    Counter(u64),
    /// A histogram, and which of its buckets; its sum and count are beyond.
    Histogram(u64, u64),
    Gauge(u64),
}

fn part(series: u64) -> Part {
    let place = series % PER_POD;
    let in_histograms = N_HISTOGRAMS * PER_HISTOGRAM;
    assert_eq!(N_COUNTERS + in_histograms + N_GAUGES, PER_POD, "a pod has so many series");
    match place.checked_sub(N_COUNTERS) {
        None => Part::Counter(place),
        Some(place) if place < in_histograms => {
            Part::Histogram(place / PER_HISTOGRAM, place % PER_HISTOGRAM)
        }
        Some(place) => Part::Gauge(place - in_histograms),
    }
}

fn labels<const N_COMMONS: u64>(series: u64) -> Labels {
    let pod = series / PER_POD;
    let (commons_idx, service) = (pod % N_COMMONS, pick(&SERVICES, pod / N_COMMONS));
    let (mut handler, mut le, mut status) = (None, None, None);
    let name = match part(series) {
        Part::Counter(place) => {
            handler = Some(place / 4);
            status = Some(pick(&STATUSES, place));
            "http_requests_total".to_owned()
        }
        Part::Histogram(of, place) => {
            handler = Some(of);
            le = usize::try_from(place).ok().and_then(|place| BUCKETS.get(place)).map(|b| b.0);
            let end = match place {
                11 => "sum",
                12 => "count",
                _ => "bucket",
            };
            format!("http_request_duration_seconds_{end}")
        }
        Part::Gauge(place) => format!("process_gauge_{place:02}"),
    };
    let mut all = vec![
        ("__name__", name),
        ("cluster", format!("genomeprod-{commons_idx:02}")),
        ("commons", commons(commons_idx)),
    ];
    all.extend(handler.map(|handler| ("handler", format!("h{handler}"))));
    all.push(("hostname", commons(commons_idx)));
    let address = (commons_idx, pod / 250 % 250, pod % 250);
    all.push(("instance", format!("10.{}.{}.{}:9102", address.0, address.1, address.2)));
    all.push(("job", "integrations/autodiscovery_metrics".to_owned()));
    all.extend(le.map(|le| ("le", le.to_owned())));
    all.push(("namespace", format!("genomeprod-helm-{commons_idx:02}")));
    all.push(("pod", format!("{service}-deployment-7c9d8f6b5-{pod:07}")));
    all.push(("service", service.to_owned()));
    all.extend(status.map(|status| ("status", status.to_owned())));
    all
}

fn value(series: u64, round: u64) -> f64 {
    match part(series) {
        Part::Counter(_) => whole(count(series, round)),
        Part::Histogram(of, place) => {
            // All parts of a histogram count the same requests.
            let n = count(series / PER_POD * PER_POD + N_COUNTERS + of, round);
            match place {
                11 => whole(n) / 8.0,
                12 => whole(n),
                _ => {
                    let bucket = usize::try_from(place).expect("small");
                    whole(n * BUCKETS[bucket].1 / 1000)
                }
            }
        }
        Part::Gauge(_) => {
            let noise = mix(series ^ round << 40) % 4_000;
            whole(mix(series) % 100_000 + noise) / 1000.0
        }
    }
}

/// Returns how many requests there were until a round: that never shrinks.
fn count(series: u64, round: u64) -> u64 {
    let nature = mix(series);
    let rate = 1 + nature % 500;
    nature % 1_000_000 + round * rate + mix(series ^ round << 40) % rate
}

fn whole(number: u64) -> f64 {
    f64::from(u32::try_from(number).expect("the ranges above are small"))
}
