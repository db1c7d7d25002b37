//! Remote write 2.0: what is stored, what is refused, and what the sender gets to see.

use axum::body::Body;
use axum::extract::Extension;
use axum::http::{Request, StatusCode, header};
use http_body_util::BodyExt as _;
use prost::Message as _;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};
use tower::ServiceExt as _;

use super::super::proto::{BucketSpan, Histogram};
use super::super::proto2::{self, Exemplar, Metadata, Sample, TimeSeries};
use super::super::{decode_v2, router};
use crate::ingest::tests::fake_store::{NOW_MS, Rig};
use crate::ingest::{IngestError, Sender};
use crate::model::metric::stale_marker;
use crate::model::{Grant, MetricKind, Native, ResetHint};
use crate::storage::Part;

const V2: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";

/// Builds a request: texts become symbols.
struct Builder {
    request: proto2::Request,
}

impl Builder {
    fn new() -> Self {
        let request = proto2::Request { symbols: vec![String::new()], ..Default::default() };
        Self { request }
    }

    fn symbol(&mut self, text: &str) -> u32 {
        let symbols = &mut self.request.symbols;
        let known = symbols.iter().position(|known| known == text);
        let at = known.unwrap_or_else(|| {
            symbols.push(text.to_owned());
            symbols.len() - 1
        });
        u32::try_from(at).unwrap()
    }

    fn refs(&mut self, labels: &[(&str, &str)]) -> Vec<u32> {
        let texts = labels.iter().flat_map(|(name, value)| [*name, *value]);
        texts.map(|text| self.symbol(text)).collect()
    }

    fn series(
        mut self,
        labels: &[(&str, &str)],
        fill: impl FnOnce(&mut Self) -> TimeSeries,
    ) -> Self {
        let labels_refs = self.refs(labels);
        let series = TimeSeries { labels_refs, ..fill(&mut self) };
        self.request.timeseries.push(series);
        self
    }

    fn sample(self, labels: &[(&str, &str)], timestamp: i64, value: f64) -> Self {
        self.series(labels, |_| samples(&[(timestamp, value)]))
    }

    fn body(&self) -> Vec<u8> {
        self.request.encode_to_vec()
    }
}

fn samples(samples: &[(i64, f64)]) -> TimeSeries {
    let sample = |&(timestamp, value)| Sample { value, timestamp, start_timestamp: NOW_MS - 5 };
    TimeSeries {
        samples: samples.iter().map(sample).collect(),
        created_timestamp: NOW_MS - 5,
        ..TimeSeries::default()
    }
}

/// Three observations: one of zero, two in two buckets with a gap between.
fn histogram() -> Histogram {
    Histogram {
        count_int: Some(4),
        sum: 18.4,
        schema: 1,
        zero_threshold: 0.001,
        zero_count_int: Some(1),
        positive_spans: vec![
            BucketSpan { offset: 2, length: 1 },
            BucketSpan { offset: 3, length: 1 },
        ],
        positive_deltas: vec![1, 1],
        reset_hint: 2,
        timestamp: NOW_MS,
        ..Histogram::default()
    }
}

fn custom() -> Histogram {
    Histogram {
        count_int: Some(3),
        sum: 2.0,
        schema: -53,
        positive_spans: vec![BucketSpan { offset: 0, length: 2 }],
        positive_deltas: vec![1, 1],
        custom_values: vec![0.5, 1.0],
        timestamp: NOW_MS,
        ..Histogram::default()
    }
}

fn one_histogram(histogram: Histogram) -> TimeSeries {
    TimeSeries { histograms: vec![histogram], ..TimeSeries::default() }
}

/// Status, text, and the three headers.
async fn send(rig: &Rig, body: &[u8]) -> (u16, String, [Option<u64>; 3]) {
    let encoded = snap::raw::Encoder::new().compress_vec(body).unwrap();
    let request = Request::post("/api/v1/write")
        .header(header::CONTENT_TYPE, V2)
        .header(header::CONTENT_ENCODING, "snappy")
        .header("X-Prometheus-Remote-Write-Version", "2.0.0")
        .body(Body::from(encoded))
        .unwrap();
    let app = router(rig.ingest.clone()).layer(Extension(Grant::open()));
    let response = app.oneshot(request).await.unwrap();
    let written = ["samples", "histograms", "exemplars"].map(|kind| {
        let value = response.headers().get(format!("x-prometheus-remote-write-{kind}-written"))?;
        Some(value.to_str().unwrap().parse().unwrap())
    });
    let status = response.status().as_u16();
    let text = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(text.to_vec()).unwrap(), written)
}

#[track_caller]
fn check(request: Builder, status: u16, written: [u64; 3], says: &str) -> Rig {
    let rig = Rig::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (got, text, got_written) = runtime.block_on(send(&rig, &request.body()));
    assert_eq!((got, got_written), (status, written.map(Some)), "{text}");
    assert!(text.contains(says), "`{says}` in: {text}");
    assert_eq!(text.is_empty(), status == 204);
    rig
}

const UP: [(&str, &str); 2] = [("__name__", "up"), ("job", "a")];

#[test]
fn samples_of_both_drafts_are_stored_bit_for_bit() {
    let values = [1.0, f64::NAN, stale_marker(), -1.5, f64::INFINITY];
    let points: Vec<(i64, f64)> = values.iter().map(|value| (NOW_MS, *value)).collect();

    let rig = check(Builder::new().series(&UP, |_| samples(&points)), 204, [5, 0, 0], "");

    let got: Vec<u64> = rig.store.samples().iter().map(|(_, _, bits)| *bits).collect();
    assert_eq!(got, values.map(f64::to_bits));
    assert_eq!(rig.store.samples()[0].0, "up{job=\"a\"}");
}

#[test]
fn a_series_is_known_by_its_labels_wherever_their_symbols_stand() {
    let first = Builder::new().sample(&UP, NOW_MS, 1.0);
    let mut other_table = Builder::new();
    for text in ["x", "a", "job"] {
        other_table.symbol(text);
    }
    let second = other_table.sample(&UP, NOW_MS + 1, 2.0);
    let rig = Rig::new();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();

    for request in [first, second] {
        assert_eq!(runtime.block_on(send(&rig, &request.body())).0, 204);
    }

    assert_eq!((rig.store.n_registered(), rig.store.samples().len()), (1, 2));
}

#[test]
fn type_and_unit_are_the_series_and_the_description_is_kept_once() {
    let metadata = |builder: &mut Builder| {
        let (help_ref, unit_ref) = (builder.symbol("how long"), builder.symbol("seconds"));
        Some(Metadata { kind: 3, help_ref, unit_ref })
    };
    let bucket = |le: &'static str| [("__name__", "h_bucket"), ("le", le)];
    let series = |builder: &mut Builder| TimeSeries {
        metadata: metadata(builder),
        ..samples(&[(NOW_MS, 1.0)])
    };
    let request = Builder::new().series(&bucket("1"), series).series(&bucket("2"), series);

    let rig = check(request, 204, [2, 0, 0], "");

    let meta = rig.store.meta("h_bucket{le=\"1\"}").unwrap();
    assert_eq!((meta.kind, &*meta.unit), (MetricKind::Histogram, "seconds"));
    let [Part::Descriptions { described, .. }] = &rig.store.others()[..] else { panic!("one") };
    let [(metric, description)] = &described[..] else { panic!("one: {described:?}") };
    assert_eq!((&**metric, &*description.help), ("h", "how long"));
}

#[test]
fn native_histograms_are_stored_whole() {
    let request = Builder::new()
        .series(&[("__name__", "h")], |_| one_histogram(histogram()))
        .series(&[("__name__", "c")], |_| one_histogram(custom()));

    let rig = check(request, 204, [0, 2, 0], "");

    let [Part::ExpHistograms { points, .. }] = &rig.store.others()[..] else { panic!("one part") };
    let (_, ms, exponential) = &points[0];
    assert_eq!((*ms, exponential.count, exponential.sum), (NOW_MS, 4, Some(18.4)));
    assert_eq!((exponential.scale, exponential.zero_count), (1, 1));
    assert_eq!((exponential.positive_offset, &*exponential.positive_counts), (1, &[1, 2][..]));
    let native = exponential.native.as_deref().unwrap();
    assert_eq!((&*native.positive_indexes, native.reset_hint), (&[1, 5][..], ResetHint::NotReset));
    let custom = &points[1].2;
    let native = custom.native.as_deref().unwrap();
    let bounds = Native { custom_bounds: vec![0.5, 1.0], ..Native::default() };
    assert_eq!((custom.scale, custom.positive_offset, native), (-53, 0, &bounds));
    assert_eq!(rig.store.meta("h").unwrap().kind, MetricKind::ExpHistogram);
}

#[test]
fn samples_say_since_when_they_count_in_both_drafts() {
    let sample = |at: i64, start_timestamp| Sample { value: 1.0, timestamp: at, start_timestamp };
    let series = |samples: Vec<Sample>, created_timestamp| TimeSeries {
        samples,
        created_timestamp,
        ..TimeSeries::default()
    };
    let request = Builder::new()
        .series(&[("__name__", "none")], |_| series(vec![sample(NOW_MS, 0)], 0))
        .series(&[("__name__", "own")], |_| {
            series(vec![sample(NOW_MS - 2, 3), sample(NOW_MS - 1, 0), sample(NOW_MS, 4)], 0)
        })
        .series(&[("__name__", "series")], |_| {
            series(vec![sample(NOW_MS - 1, 0), sample(NOW_MS, 9)], 7)
        })
        .series(&[("__name__", "none")], |_| series(vec![sample(NOW_MS - 1, 0)], 0));

    let rig = check(request, 204, [7, 0, 0], "");

    let starts_ms: Vec<i64> = rig.store.starts_ns().iter().map(|ns| ns / 1_000_000).collect();
    assert_eq!(starts_ms, [0, 3, 0, 4, 7, 9, 0]);
}

#[test]
fn samples_without_a_start_have_no_column_of_starts() {
    let rig = Rig::new();
    let grant = Grant::open();
    let bare = |value| TimeSeries {
        samples: vec![Sample { value, timestamp: NOW_MS, start_timestamp: 0 }],
        ..TimeSeries::default()
    };
    let request = Builder::new()
        .series(&[("__name__", "a")], |_| bare(1.0))
        .series(&[("__name__", "b")], |_| bare(2.0));

    let sender = Sender { grant: &grant, tenant: None };
    let batch = decode_v2(&rig.ingest, sender, &request.body()).unwrap();

    let [Part::Samples { starts_ns, .. }] = &batch.parts[..] else { panic!("one part") };
    assert_eq!(starts_ns.capacity(), 0);
}

#[test]
fn native_histograms_say_since_when_they_count() {
    let with_own = Histogram { start_timestamp: 3, ..histogram() };
    let of_series = TimeSeries { created_timestamp: 7, ..one_histogram(histogram()) };
    let request = Builder::new()
        .series(&[("__name__", "own")], |_| one_histogram(with_own))
        .series(&[("__name__", "series")], |_| of_series)
        .series(&[("__name__", "none")], |_| one_histogram(histogram()));

    let rig = check(request, 204, [0, 3, 0], "");

    let [Part::ExpHistograms { points, .. }] = &rig.store.others()[..] else { panic!("one part") };
    let starts_ms: Vec<i64> = points.iter().map(|(.., h)| h.start_ns / 1_000_000).collect();
    assert_eq!(starts_ms, [3, 7, 0]);
}

#[test]
fn native_histograms_past_a_limit_of_series_go_on_as_count_and_sum() {
    let rig = Rig::new();
    rig.store.limit_series(1);
    let grant = Grant::open();
    let at = |route: &'static str, n: u64, time_ms: i64| {
        let grown = Histogram {
            count_int: Some(n + 4),
            zero_count_int: Some(n + 1),
            sum: 18.5 + f64::from(u32::try_from(n).unwrap()),
            timestamp: time_ms,
            ..histogram()
        };
        ([("__name__", "h"), ("commons", "heart"), ("route", route)], grown)
    };
    for (n, time_ms) in [(0, NOW_MS), (3, NOW_MS + 1)] {
        let mut request = Builder::new();
        for route in ["/a", "/b", "/c"] {
            let (labels, grown) = at(route, n, time_ms);
            request = request.series(&labels, |_| one_histogram(grown));
        }
        let sender = Sender { grant: &grant, tenant: None };
        decode_v2(&rig.ingest, sender, &request.body()).unwrap();
    }

    let derived = rig.ingest.derive.collect();
    let values: Vec<(&str, f64)> = derived
        .iter()
        .filter(|sample| sample.labels.get("__overflow__").is_some())
        .map(|sample| (sample.labels.metric(), sample.value))
        .collect();
    assert_eq!(values.len(), 2, "{values:?}");
    // Two series, each by three.
    assert!(values.contains(&("h_count", 6.0)) && values.contains(&("h_sum", 6.0)), "{values:?}");
}

#[test]
fn gauge_histograms_past_a_limit_of_series_go_on_as_last_said() {
    let rig = Rig::new();
    rig.store.limit_series(0);
    let grant = Grant::open();
    for (zero_count, timestamp) in [(3, NOW_MS), (9, NOW_MS + 1)] {
        let (count_int, zero_count_int) = (Some(zero_count + 3), Some(zero_count));
        let gauge =
            Histogram { count_int, zero_count_int, timestamp, reset_hint: 3, ..histogram() };
        let labels = [("__name__", "h"), ("commons", "heart")];
        let request = Builder::new().series(&labels, |_| one_histogram(gauge));
        let sender = Sender { grant: &grant, tenant: None };
        decode_v2(&rig.ingest, sender, &request.body()).unwrap();
    }

    let derived = rig.ingest.derive.collect();
    let count = derived.iter().find(|sample| sample.labels.metric() == "h_count");
    assert_eq!(count.map(|sample| sample.value), Some(12.0), "{derived:?}");
}

#[test]
fn a_histogram_with_a_stale_sum_ends_its_series() {
    let end = Histogram { sum: stale_marker(), timestamp: NOW_MS, ..Histogram::default() };
    let request = Builder::new().series(&[("__name__", "h")], |_| one_histogram(end));

    let rig = check(request, 204, [0, 1, 0], "");

    assert_eq!(rig.store.samples()[0].2, stale_marker().to_bits());
}

#[track_caller]
fn check_broken(change: impl Fn(&mut Histogram), from: Histogram, says: &str) {
    let mut broken = from;
    change(&mut broken);
    let request = Builder::new()
        .sample(&UP, NOW_MS, 1.0)
        .series(&[("__name__", "h")], |_| one_histogram(broken));
    check(request, 400, [1, 0, 0], says);
}

#[test]
fn histograms_whose_parts_do_not_fit_are_refused() {
    let check = |says: &str, change: fn(&mut Histogram)| check_broken(change, histogram(), says);
    check("the count is 5, the buckets have 4", |h| h.count_int = Some(5));
    check("; the first: h{}: ", |h| h.count_int = Some(5));
    check("spans of 1 buckets with 2 counts", |h| h.positive_spans.truncate(1));
    check("a negative offset", |h| h.positive_spans[1].offset = -1);
    check("a negative count", |h| h.positive_deltas = vec![1, -2]);
    check("schema -5", |h| h.schema = -5);
    check("schema 53", |h| h.schema = 53);
    check("custom bounds", |h| h.custom_values = vec![1.0]);
    check("32 bits", |h| h.positive_spans[1].offset = i32::MAX);
    check("32 bits", |h| h.positive_spans[0].offset = i32::MIN);
    check("a zero threshold of -1", |h| h.zero_threshold = -1.0);
    check("spans of 4294967296 buckets", |h| h.positive_spans[1].length = u32::MAX);
    check("is further ahead", |h| h.timestamp = NOW_MS + 86_400_000);
    check("limits.buckets_per_point", |h| {
        h.positive_spans = vec![BucketSpan { offset: 0, length: 3_000 }];
        h.positive_deltas = vec![0; 3_000];
    });
    let check = |says: &str, change: fn(&mut Histogram)| check_broken(change, custom(), says);
    check("strictly ascending", |h| h.custom_values = vec![1.0, 1.0]);
    check("finite", |h| h.custom_values = vec![1.0, f64::INFINITY]);
    check("without bounds", |h| h.custom_values.clear());
    check("zero bucket", |h| h.zero_threshold = 1.0);
    check("negative", |h| h.negative_spans = vec![BucketSpan::default()]);
}

#[test]
fn exemplars_are_stored_with_their_series() {
    let exemplar = |builder: &mut Builder, labels: &[(&str, &str)]| Exemplar {
        labels_refs: builder.refs(labels),
        value: 0.25,
        timestamp: NOW_MS,
    };
    let request = Builder::new().series(&UP, |builder| TimeSeries {
        exemplars: vec![
            exemplar(builder, &[("trace_id", "abc"), ("user_id", "ada")]),
            exemplar(builder, &[]),
        ],
        ..samples(&[(NOW_MS, 1.0)])
    });

    let rig = check(request, 204, [1, 0, 2], "");

    let [Part::Exemplars { batch, .. }] = &rig.store.others()[..] else { panic!("one part") };
    let text = arrow::util::pretty::pretty_format_batches(std::slice::from_ref(batch)).unwrap();
    let text = text.to_string();
    assert!(text.contains("abc") && text.contains(r#"{"job":"a"}"#), "{text}");
    assert!(!text.contains("ada"), "persons are not kept: {text}");
}

#[test]
fn what_is_broken_is_a_400_and_the_rest_is_written() {
    let good = || Builder::new().sample(&UP, NOW_MS, 1.0);
    let with = |refs: Vec<u32>| {
        let mut builder = good();
        let series = TimeSeries { labels_refs: refs, ..samples(&[(NOW_MS, 1.0)]) };
        builder.request.timeseries.push(series);
        builder
    };
    check(with(vec![1, 2, 3]), 400, [1, 0, 0], "an odd number of label references");
    check(with(vec![1, 99]), 400, [1, 0, 0], "symbol 99 of 5");
    check(with(vec![1, u32::MAX]), 400, [1, 0, 0], "symbol 4294967295 of 5");
    check(with(vec![3, 4]), 400, [1, 0, 0], "no metric name");
    check(with(Vec::new()), 400, [1, 0, 0], "no metric name");
    check(with(vec![1, 2, 1, 2]), 400, [1, 0, 0], "label `__name__` comes twice");
    check(with(vec![3, 4, 1, 2]), 400, [1, 0, 0], "labels are sorted");
    check(with(vec![1, 0]), 400, [1, 0, 0], "no metric name");
    check(with(vec![1, 2, 3, 0]), 400, [1, 0, 0], "empty value");
    let ahead = || good().sample(&[("__name__", "m"), ("job", "b")], NOW_MS + 86_400_000, 1.0);
    check(ahead(), 400, [1, 0, 0], "limits.future");
    check(ahead(), 400, [1, 0, 0], "; the first: m{job=\"b\"}: timestamp ");
    let exemplar = |labels: &'static [(&str, &str)]| {
        good().series(&[("__name__", "b")], |builder| TimeSeries {
            exemplars: vec![Exemplar {
                labels_refs: builder.refs(labels),
                value: 1.0,
                timestamp: NOW_MS,
            }],
            ..TimeSeries::default()
        })
    };
    check(exemplar(&[("a", "1"), ("a", "2")]), 400, [1, 0, 0], "an exemplar: label `a`");
    check(exemplar(&[("", "1")]), 400, [1, 0, 0], "without a name");
}

#[test]
fn a_request_that_cannot_be_read_writes_nothing_and_says_so() {
    let mut no_empty_symbol = Builder::new().sample(&UP, NOW_MS, 1.0);
    no_empty_symbol.request.symbols[0] = "x".to_owned();
    check(no_empty_symbol, 400, [0, 0, 0], "the first symbol is not the empty text");
    let rig = Rig::with(|limits| limits.symbols_per_request = 3);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let body = Builder::new().sample(&UP, NOW_MS, 1.0).body();
    let (status, text, written) = runtime.block_on(send(&rig, &body));
    assert_eq!((status, written), (413, [Some(0); 3]), "{text}");
    assert!(text.contains("limits.symbols_per_request"), "{text}");
    let (status, _, written) = runtime.block_on(send(&Rig::new(), b"\xff\xff"));
    assert_eq!((status, written), (400, [Some(0); 3]));
}

#[test]
fn nothing_is_stored_of_an_empty_request() {
    check(Builder::new(), 204, [0, 0, 0], "");
    let nothing = Builder { request: proto2::Request::default() };
    check(nothing, 204, [0, 0, 0], "");
}

#[tokio::test]
async fn a_passing_fault_is_no_4xx_and_writes_nothing() {
    let rig = Rig::new();
    rig.store.refuse_next(crate::storage::AppendError::DiskFull);

    let (status, _, written) = send(&rig, &Builder::new().sample(&UP, NOW_MS, 1.0).body()).await;

    assert_eq!((status, written), (503, [Some(0); 3]));
}

#[tokio::test]
async fn another_content_type_is_415_without_headers_of_2() {
    let app = router(Rig::new().ingest.clone()).layer(Extension(Grant::open()));
    let request = Request::post("/api/v1/write")
        .header(header::CONTENT_TYPE, "application/x-protobuf;proto=io.prometheus.write.v3.Request")
        .body(Body::empty())
        .unwrap();

    let response = app.oneshot(request).await.unwrap();

    assert_eq!(response.status(), StatusCode::UNSUPPORTED_MEDIA_TYPE);
    assert!(!response.headers().contains_key("x-prometheus-remote-write-samples-written"));
}

fn random_request(rng: &mut SmallRng) -> proto2::Request {
    let symbols = ["", "__name__", "a", "job", "b", "é", "trace_id"].map(str::to_owned).to_vec();
    let refs = |rng: &mut SmallRng| {
        (0..rng.random_range(0..7)).map(|_| rng.random_range(0..9)).collect::<Vec<u32>>()
    };
    let times = |rng: &mut SmallRng| NOW_MS + rng.random_range(-1_000_000..1_000_000);
    let series = |rng: &mut SmallRng| TimeSeries {
        labels_refs: if rng.random() { vec![1, 2, 3, rng.random_range(4..6)] } else { refs(rng) },
        samples: (0..rng.random_range(0..3))
            .map(|_| Sample { value: rng.random(), timestamp: times(rng), start_timestamp: 1 })
            .collect(),
        histograms: (0..rng.random_range(0..2))
            .map(|_| Histogram { count_int: Some(rng.random_range(4..6)), ..histogram() })
            .collect(),
        exemplars: (0..rng.random_range(0..2))
            .map(|_| Exemplar { labels_refs: refs(rng), value: 1.0, timestamp: times(rng) })
            .collect(),
        metadata: rng.random::<bool>().then(|| Metadata {
            kind: rng.random_range(0..9),
            help_ref: rng.random_range(0..9),
            unit_ref: 0,
        }),
        created_timestamp: 1,
    };
    let timeseries = (0..rng.random_range(0..5)).map(|_| series(rng)).collect();
    proto2::Request { symbols, timeseries }
}

#[test]
fn items_are_neither_lost_nor_invented_and_known_series_take_the_same() {
    for seed in 0..1_000 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let request = random_request(&mut rng);
        let (rig, grant) = (Rig::new(), Grant::open());
        let sender = Sender { grant: &grant, tenant: None };

        let decode = || decode_v2(&rig.ingest, sender, &request.encode_to_vec()).unwrap();
        let (first, second) = (decode(), decode());

        let of = |s: &TimeSeries| s.samples.len() + s.histograms.len() + s.exemplars.len();
        let n_items: usize = request.timeseries.iter().map(of).sum();
        assert_eq!(first.n_received, n_items as u64, "seed {seed}");
        let n_stored: usize = first.parts.iter().map(n_items_of).sum();
        assert_eq!(n_stored as u64 + first.rejected.total(), first.n_received, "seed {seed}");
        assert_eq!(format!("{:?}", first.parts), format!("{:?}", second.parts), "seed {seed}");
        assert_eq!(first.rejected, second.rejected, "seed {seed}");
    }
}

fn n_items_of(part: &Part) -> usize {
    match part {
        Part::Samples { values, .. } => values.len(),
        Part::ExpHistograms { points, .. } => points.len(),
        Part::Exemplars { batch, .. } => batch.num_rows(),
        _ => 0,
    }
}

#[test]
fn flipped_bytes_never_panic_and_what_prost_takes_is_taken() {
    for seed in 0..300 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let body = random_request(&mut rng).encode_to_vec();
        let (rig, grant) = (Rig::new(), Grant::open());
        for _ in 0..20 {
            let mut flipped = body.clone();
            let at = rng.random_range(0..flipped.len());
            flipped[at] ^= 1 << rng.random_range(0..8);
            let sender = Sender { grant: &grant, tenant: None };
            match (decode_v2(&rig.ingest, sender, &flipped), proto2::Request::decode(&flipped[..]))
            {
                (Err(IngestError::Wire(error)), Ok(_)) => {
                    assert_eq!(error.fault, crate::ingest::wire::WireFault::WireType, "{seed}");
                }
                (Err(IngestError::Invalid(what)), Ok(request)) => {
                    assert!(!request.symbols[0].is_empty(), "seed {seed}: {what}");
                }
                (Err(error), Ok(_)) => panic!("seed {seed}: {error}"),
                (_, _) => {}
            }
        }
    }
}

#[test]
fn a_table_of_symbols_costs_no_more_than_the_limit_lets_it() {
    let (rig, grant) = (Rig::new(), Grant::open());
    let sender = Sender { grant: &grant, tenant: None };

    let empty_symbols = [0x22, 0x00].repeat(8 << 20);
    let error = decode_v2(&rig.ingest, sender, &empty_symbols).unwrap_err();
    assert_eq!(error.reason(), "symbols_per_request");

    let empty_series = [0x2a, 0x00].repeat(1 << 20);
    let error = decode_v2(&rig.ingest, sender, &empty_series).unwrap_err();
    assert_eq!(error.reason(), "records_per_request");
}
