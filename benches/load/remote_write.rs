//! Remote write 1.0: bodies of 2,000 series with one sample each, 12 labels, 395 bytes a sample.
//!
//! Snappy lets a body be written so that its samples can be changed afterwards: each record is a
//! copy of the one before except for what differs, and the sample is a literal, which is its own
//! bytes. The server decompresses it like any other. Records of another width than the one before
//! are literals.

use super::mix::{mix, pick};
use super::{Batch, Load, Port};

const SERIES_PER_BODY: u64 = 2_000;
/// The time from a sample of a series to its next.
pub(crate) const INTERVAL_MS: u64 = 15_000;
const N_METRICS: u64 = 50;
const HEADERS: &str = "Content-Type: application/x-protobuf\r\nContent-Encoding: snappy\r\n\
                       X-Prometheus-Remote-Write-Version: 0.1.0\r\n";
/// With churn, one body in so many has new series in a round: 40 pods replaced by a rollout.
const CHURN_PERIOD: u64 = 10;

/// The metric that answers are checked by, one of [`N_METRICS`].
pub(crate) const CHECKED_METRIC: &str = "gen3_http_server_request_kind_007_total";
const CHECKED_IDX: u64 = 7;

/// Returns a load of `n_rounds` samples for each of `n_series` series after the one that registers
/// them.
pub(crate) fn load(n_series: u64, n_rounds: u64) -> Load {
    with_churn(n_series, n_rounds, false)
}

/// Returns a load in which a tenth of the series is replaced by new ones each round.
pub(crate) fn churning_load(n_series: u64, n_rounds: u64) -> Load {
    with_churn(n_series, n_rounds, true)
}

/// What the series of a load are called, and their values.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// The labels of a series, sorted by name.
    pub(crate) labels: fn(u64) -> Vec<(&'static str, String)>,
    /// The value of a series in a round.
    pub(crate) value: fn(u64, u64) -> f64,
}

const PLAIN: Shape = Shape { labels: plain_labels, value };

/// Returns a load of series of another shape.
pub(crate) fn shaped_load(shape: Shape, n_series: u64, n_rounds: u64) -> Load {
    load_of(shape, n_series, n_rounds, None)
}

fn with_churn(n_series: u64, n_rounds: u64, churns: bool) -> Load {
    load_of(PLAIN, n_series, n_rounds, churns.then_some(n_series))
}

fn load_of(shape: Shape, n_series: u64, n_rounds: u64, churn: Option<u64>) -> Load {
    let n_bodies = n_series / SERIES_PER_BODY;
    let body = |body| -> Box<dyn Batch> { Box::new(Body::new(shape, body, churn)) };
    let bodies = (0..n_bodies).map(body);
    Load {
        path: "/api/v1/write",
        headers: HEADERS,
        port: Port::Http,
        batches: bodies.collect(),
        n_rounds,
        round_ms: INTERVAL_MS,
        n_warm_up_rounds: 1,
    }
}

fn is_replaced(body: u64, round: u64) -> bool {
    round > 0 && (body + round).is_multiple_of(CHURN_PERIOD)
}

/// Returns the sum of [`CHECKED_METRIC`] over all series of a load without churn, as last sent.
pub(crate) fn checked_sum(n_series: u64, round: u64) -> f64 {
    let checked = (0..n_series).filter(|series| series % N_METRICS == CHECKED_IDX);
    checked.map(|series| value(series, round)).sum()
}

/// A compressed request, and where its samples are.
struct Body {
    shape: Shape,
    bytes: Vec<u8>,
    samples_at: Vec<usize>,
    number: u64,
    first_series: u64,
    /// How many series the load has at a time, when there is churn.
    churn: Option<u64>,
}

impl Body {
    fn new(shape: Shape, number: u64, churn: Option<u64>) -> Self {
        let first_series = number * SERIES_PER_BODY;
        let (bytes, samples_at) = encode(shape, first_series);
        Self { shape, bytes, samples_at, number, first_series, churn }
    }

    /// Gives the body new series: the numbers go up, so none comes back.
    fn replace_series(&mut self, n_series: u64) {
        self.first_series += n_series;
        (self.bytes, self.samples_at) = encode(self.shape, self.first_series);
    }
}

/// Compresses the records of a body, and returns where the samples are.
fn encode(shape: Shape, first_series: u64) -> (Vec<u8>, Vec<usize>) {
    let series = first_series..first_series + SERIES_PER_BODY;
    let records: Vec<Vec<u8>> = series.map(|series| record_of(&(shape.labels)(series))).collect();
    let total: usize = records.iter().map(|record| record.len() + SAMPLE.len()).sum();
    let mut bytes = Vec::new();
    push_varint(&mut bytes, u64::try_from(total).expect("a body is small"));
    let mut samples_at = Vec::new();
    for (idx, record) in records.iter().enumerate() {
        let before = idx.checked_sub(1).map(|before| &records[before]);
        match before.filter(|before| before.len() == record.len()) {
            None => push_literal(&mut bytes, record),
            Some(before) => {
                push_difference(&mut bytes, before, record, record.len() + SAMPLE.len());
            }
        }
        push_literal(&mut bytes, &SAMPLE);
        samples_at.push(bytes.len() - SAMPLE.len());
    }
    (bytes, samples_at)
}

impl Batch for Body {
    fn fill(&mut self, round: u64, time_ms: u64) -> &[u8] {
        if let Some(n_series) = self.churn.filter(|_| is_replaced(self.number, round)) {
            self.replace_series(n_series);
        }
        let mut time = Vec::with_capacity(10);
        push_varint(&mut time, time_ms);
        assert_eq!(time.len(), 6, "a time of this century");
        for (idx, &at) in (0..).zip(&self.samples_at) {
            let value = (self.shape.value)(self.first_series + idx, round);
            self.bytes[at + 3..at + 11].copy_from_slice(&value.to_le_bytes());
            self.bytes[at + 12..at + 18].copy_from_slice(&time);
        }
        &self.bytes
    }

    fn n_items(&self) -> u64 {
        SERIES_PER_BODY
    }
}

/// `samples: { value: fixed64, timestamp: varint of six bytes }`
const SAMPLE: [u8; 18] = [0x12, 16, 0x09, 0, 0, 0, 0, 0, 0, 0, 0, 0x10, 0, 0, 0, 0, 0, 0];

/// 86 of 100 series count whole numbers, the others are gauges of three decimals.
fn value(series: u64, round: u64) -> f64 {
    let nature = mix(series);
    let noise = mix(series ^ round << 40);
    let small = |number: u64| f64::from(u32::try_from(number).expect("the ranges below are small"));
    if nature % 100 < 86 {
        let rate = 1 + nature % 50;
        return small(nature % 1_000_000 + round * rate + noise % rate);
    }
    (small(nature % 100_000) + small(noise % 400)) / 1000.0
}

const SERVICES: &[&str] = &["fence...", "indexd..", "peregrin", "sheepdog", "arborist", "revproxy"];

fn plain_labels(series: u64) -> Vec<(&'static str, String)> {
    let (metric, pod) = (series % N_METRICS, series / N_METRICS);
    let commons = pod % 10;
    let service = pick(SERVICES, pod).replace('.', "-");
    vec![
        ("__name__", format!("gen3_http_server_request_kind_{metric:03}_total")),
        ("app", service.clone()),
        ("cluster", format!("genomeprod-{commons:02}")),
        ("container", service.clone()),
        ("hostname", format!("commons-{commons:02}.data.example")),
        ("instance", format!("10.{:03}.{:03}.{:03}:9102", commons, pod / 250 % 250, pod % 250)),
        ("job", "integrations/autodiscovery_metrics".to_owned()),
        ("method", ["GET---", "POST--"][usize::from(pod % 2 == 0)].replace('-', "_")),
        ("namespace", format!("genomeprod-helm-{commons:02}")),
        ("pod", format!("{service}-deployment-7c9d8f6b5-{pod:07}")),
        ("project", format!("genome-{commons:02}")),
        ("release", "production".to_owned()),
    ]
}

/// Encodes the record of a series up to its sample.
fn record_of(labels: &[(&'static str, String)]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for (name, value) in labels {
        let mut label = Vec::new();
        push_text(&mut label, 0x0a, name);
        push_text(&mut label, 0x12, value);
        encoded.push(0x0a);
        push_varint(&mut encoded, u64::try_from(label.len()).expect("a label is short"));
        encoded.extend(label);
    }
    let length = encoded.len() + SAMPLE.len();
    let mut record = vec![0x0a];
    push_varint(&mut record, u64::try_from(length).expect("a record is short"));
    record.extend(encoded);
    record
}

fn push_text(bytes: &mut Vec<u8>, tag: u8, text: &str) {
    bytes.push(tag);
    push_varint(bytes, u64::try_from(text.len()).expect("a text is short"));
    bytes.extend(text.as_bytes());
}

fn push_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(u8::try_from(number & 0x7f).expect("seven bits") | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).expect("seven bits"));
}

/// Snappy: a literal of up to 60 bytes has its length in the tag.
fn push_literal(bytes: &mut Vec<u8>, literal: &[u8]) {
    for part in literal.chunks(60) {
        bytes.push(u8::try_from(part.len() - 1).expect("at most 60") << 2);
        bytes.extend(part);
    }
}

/// Snappy: what equals the record before is copied from there, the rest is literal.
fn push_difference(bytes: &mut Vec<u8>, before: &[u8], record: &[u8], distance: usize) {
    let is_same = |at: usize| before[at] == record[at];
    let mut at = 0;
    while at < record.len() {
        let start = at;
        let same = is_same(at);
        while at < record.len() && is_same(at) == same && at - start < 60 {
            at += 1;
        }
        if same && at - start >= 4 {
            bytes.push(u8::try_from(at - start - 1).expect("at most 60") << 2 | 2);
            bytes.extend(u16::try_from(distance).expect("a record is short").to_le_bytes());
        } else {
            push_literal(bytes, &record[start..at]);
        }
    }
}

/// Checks the trick once per run: another decoder must read what was meant.
pub(crate) fn self_check() {
    let mut body = Body::new(PLAIN, 3, None);
    let bytes = body.fill(5, 1_790_000_000_000).to_vec();
    let raw = snap::raw::Decoder::new().decompress_vec(&bytes).expect("valid snappy");
    let mut wanted = Vec::new();
    for series in body.first_series..body.first_series + SERIES_PER_BODY {
        wanted.extend(record_of(&plain_labels(series)));
        wanted.extend([0x12, 16, 0x09]);
        wanted.extend(value(series, 5).to_le_bytes());
        wanted.push(0x10);
        push_varint(&mut wanted, 1_790_000_000_000);
    }
    assert!(raw == wanted, "the generator's own compression is wrong");
    let per_sample = |length: usize| length / usize::try_from(SERIES_PER_BODY).expect("small");
    let (wire, plain) = (per_sample(bytes.len()), per_sample(raw.len()));
    eprintln!("==> remote write: {plain} B a sample, {wire} B on the wire");
}
