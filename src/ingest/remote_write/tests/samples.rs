//! What becomes of samples and series: stored, refused with a reason, and the rest still stored.

use prost::Message as _;

use super::super::decode;
use super::super::proto::{
    Exemplar, Histogram, Metadata, TimeSeries, WriteRequest, request, series,
};
use crate::ingest::outcome::Reason;
use crate::ingest::tests::fake_store::{NOW_MS, Rig};
use crate::ingest::{Batch, Lane, Outcome, Sender};
use crate::model::metric::stale_marker;
use crate::model::{Commons, Grant, WriteScope};
use crate::storage::Part;
use crate::tagging::LearnedPair;

async fn push_as(rig: &Rig, grant: &Grant, timeseries: Vec<TimeSeries>) -> Outcome {
    let body = request(timeseries).encode_to_vec();
    let again = || -> Result<Batch, _> { unreachable!("no series is retired") };
    let batch = decode(&rig.ingest, Sender { grant, tenant: None }, &body).unwrap();
    rig.ingest.commit(Lane::REMOTE_WRITE, batch, again).await.unwrap()
}

async fn push(rig: &Rig, timeseries: Vec<TimeSeries>) -> Outcome {
    push_as(rig, &Grant::open(), timeseries).await
}

/// Pushes one series beside a good one: the good one is stored, this one refused for `reason`.
#[track_caller]
fn check_refused(one: TimeSeries, reason: &str, words: &str) {
    let rig = Rig::new();
    let good = series(&[("__name__", "good")], &[(NOW_MS, 1.0)]);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();

    let outcome = runtime.block_on(push(&rig, vec![good, one]));

    let counts: Vec<_> =
        outcome.rejected.counts().iter().map(|(reason, n)| (reason.as_str(), *n)).collect();
    let message = outcome.message("samples").unwrap_or_default();
    assert_eq!(counts, [(reason, 1)], "{message}");
    assert!(message.contains(words), "`{words}` in: {message}");
    assert_eq!(rig.store.samples().len(), 1);
}

fn labelled(labels: &[(&str, &str)]) -> TimeSeries {
    series(labels, &[(NOW_MS, 1.0)])
}

#[test]
fn labels_that_break_the_rules_are_refused() {
    check_refused(labelled(&[("job", "a")]), "no_metric_name", "{job=\"a\"}: no metric name");
    check_refused(labelled(&[]), "no_metric_name", "{}: no metric name");
    check_refused(labelled(&[("__name__", "")]), "no_metric_name", "no metric name");
    check_refused(labelled(&[("__name__", "m"), ("", "a")]), "invalid_labels", "without a name");
    let twice = [("__name__", "m"), ("a", "1"), ("a", "2")];
    check_refused(labelled(&twice), "duplicate_label", "label `a` comes twice");
    let twice_apart = [("a", "1"), ("__name__", "m"), ("a", "1")];
    check_refused(labelled(&twice_apart), "duplicate_label", "label `a` comes twice");
    let unsorted = [("__name__", "m"), ("b", "1"), ("a", "2")];
    check_refused(labelled(&unsorted), "invalid_labels", "label `a` must not stand behind `b`");
    let no_value = [("__name__", "m"), ("a", "")];
    check_refused(labelled(&no_value), "invalid_labels", "label `a` has an empty value");
    let once_empty = [("__name__", "m"), ("a", ""), ("a", "2")];
    check_refused(labelled(&once_empty), "duplicate_label", "label `a` comes twice");
}

#[test]
fn labels_past_a_limit_are_refused_with_its_name() {
    let names: Vec<String> = (0..10_000).map(|idx| format!("label_{idx}")).collect();
    let mut many: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "x")).collect();
    many.push(("__name__", "m"));
    check_refused(labelled(&many), "label_limit", "more than 40 labels (limits.labels_per_series)");
    let long = "x".repeat(1 << 20);
    let value = [("__name__", "m"), ("a", &long)];
    check_refused(
        labelled(&value),
        "label_limit",
        "1048576 bytes, at most 2KiB (limits.label_value)",
    );
    let name = [("__name__", "m"), (&*long, "a")];
    check_refused(
        labelled(&name),
        "label_limit",
        "1048576 bytes, at most 1KiB (limits.label_name)",
    );
}

#[test]
fn bytes_that_are_not_utf_8_are_refused() {
    let rig = Rig::new();
    let mut body = request(vec![labelled(&[("__name__", "m"), ("a", "zzzz")])]).encode_to_vec();
    let at = body.windows(4).position(|window| window == b"zzzz").unwrap();
    body[at] = 0xff;

    let grant = Grant::open();
    let batch = decode(&rig.ingest, Sender { grant: &grant, tenant: None }, &body).unwrap();

    assert_eq!((batch.n_received, batch.rejected.total()), (1, 1));
    assert!(batch.rejected.message(1, "samples").unwrap().contains("`a` is not UTF-8"));
}

#[test]
fn forty_labels_and_names_of_any_script_are_taken() {
    let rig = Rig::new();
    let names: Vec<String> = (0..39).map(|idx| format!("étiquette {idx}.x")).collect();
    let mut labels: Vec<(&str, &str)> = names.iter().map(|name| (&**name, "x")).collect();
    labels.push(("__name__", "метрика.one\n"));
    labels.sort_unstable();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();

    let outcome = runtime.block_on(push(&rig, vec![labelled(&labels)]));

    assert_eq!((outcome.n_stored, outcome.rejected.total()), (1, 0));
}

#[test]
fn times_out_of_bounds_are_refused() {
    let at = |time_ms| series(&[("__name__", "m"), ("job", "a")], &[(time_ms, 1.0)]);
    let ahead = "m{job=\"a\"}: timestamp 1800000600001 ms is further ahead";
    check_refused(at(NOW_MS + 600_001), "future", ahead);
    check_refused(at(NOW_MS - 90 * 86_400_000 - 1), "too_old", "is older than the retention");
    check_refused(at(i64::MAX), "future", "limits.future");
    check_refused(at(i64::MIN), "too_old", "storage.retention");
    check_refused(at(0), "too_old", "storage.retention");
}

#[tokio::test]
async fn times_at_the_bounds_are_stored() {
    let rig = Rig::new();
    let times = [(NOW_MS + 600_000, 1.0), (NOW_MS - 90 * 86_400_000, 2.0)];

    let outcome = push(&rig, vec![series(&[("__name__", "m")], &times)]).await;

    assert_eq!((outcome.n_stored, outcome.rejected.total()), (2, 0));
}

#[tokio::test]
async fn without_retention_samples_of_1970_are_stored() {
    let mut rig = Rig::new();
    rig.ingest.retention_ms = None;

    // The last two do not fit in ns, which is how a day's file and the SQL tables tell time.
    let times = [(0, 1.0), (-1, 2.0), (-9_000_000_000_000, 3.0), (i64::MIN, 4.0), (i64::MAX, 5.0)];
    let outcome = push(&rig, vec![series(&[("__name__", "m")], &times)]).await;

    assert_eq!((outcome.n_stored, outcome.rejected.total()), (3, 2));
}

#[test]
fn broken_native_histograms_are_refused_in_words() {
    let mut one = series(&[("__name__", "h")], &[]);
    let broken = Histogram { timestamp: NOW_MS, count_int: Some(1), ..Histogram::default() };
    one.histograms = vec![broken];

    check_refused(one, "native_histogram", "h{}: invalid native histogram: the count is 1");
}

#[tokio::test]
async fn exemplars_and_histograms_are_stored_beside_samples() {
    let rig = Rig::new();
    let mut one = labelled(&[("__name__", "m")]);
    let labels = labelled(&[("trace_id", "abc")]).labels;
    one.exemplars = vec![Exemplar { labels, value: 0.5, timestamp: NOW_MS }];
    one.histograms = vec![Histogram { timestamp: NOW_MS + 1, ..Histogram::default() }];

    let outcome = push(&rig, vec![one]).await;

    assert_eq!((outcome.n_stored, outcome.rejected.total()), (3, 0));
    let others = rig.store.others();
    assert!(matches!(others[..], [Part::Exemplars { .. }, Part::ExpHistograms { .. }]));
}

#[tokio::test]
async fn broken_exemplars_and_those_past_the_limit_are_counted_and_not_told() {
    let rig = Rig::with(|limits| limits.exemplars_per_minute_per_series = 1);
    let mut one = labelled(&[("__name__", "m")]);
    let good = Exemplar { timestamp: NOW_MS, ..Exemplar::default() };
    let no_name = labelled(&[("", "abc")]).labels;
    let broken = Exemplar { labels: no_name, ..good.clone() };
    one.exemplars = vec![good.clone(), good, broken];

    let outcome = push(&rig, vec![one]).await;

    assert_eq!((outcome.n_stored, outcome.rejected.total()), (2, 2));
    assert_eq!(outcome.message("samples"), None, "a sender can do nothing about it");
}

#[tokio::test]
async fn exemplars_of_long_ago_or_without_a_time_fail_no_request() {
    let rig = Rig::new();
    let mut one = labelled(&[("__name__", "m")]);
    let at = |timestamp| Exemplar { timestamp, ..Exemplar::default() };
    one.exemplars = [0, NOW_MS - 200 * 86_400_000, NOW_MS + 86_400_000, NOW_MS].map(at).to_vec();

    let outcome = push(&rig, vec![one]).await;

    assert_eq!((outcome.n_stored, outcome.rejected.counts()), (2, &[(Reason::Exemplar, 3)][..]));
    assert_eq!(outcome.message("samples"), None);
}

#[tokio::test]
async fn what_is_said_of_families_is_kept_where_they_have_series() {
    let rig = Rig::new();
    let up = |commons| labelled(&[("__name__", "a_total"), ("commons", commons)]);
    push(&rig, vec![up("heart"), up("brain")]).await;
    let metadata = Metadata {
        kind: 1,
        metric_family_name: "a".to_owned(),
        help: "how many".to_owned(),
        unit: String::new(),
    };
    let body = WriteRequest { timeseries: vec![], metadata: vec![metadata] }.encode_to_vec();
    let decode = |grant: &Grant| {
        let batch = decode(&rig.ingest, Sender { grant, tenant: None }, &body).unwrap();
        let commons = batch.parts.iter().map(|part| match part {
            Part::Descriptions { commons, described } => {
                assert_eq!((&*described[0].0, &*described[0].1.help), ("a", "how many"));
                commons.to_string()
            }
            other => panic!("{other:?}"),
        });
        commons.collect::<Vec<_>>()
    };

    assert_eq!(decode(&Grant::open()), ["brain", "heart"]);
    let only = |name| WriteScope::Commons(Commons::new(name).unwrap());
    assert_eq!(decode(&Grant { write: only("lung"), ..Grant::open() }), ["lung"]);
}

#[tokio::test]
async fn values_are_kept_bit_for_bit() {
    let rig = Rig::new();
    let values = [
        stale_marker(),
        f64::NAN,
        f64::from_bits(0x7ff8_0000_0000_beef),
        f64::from_bits(0xfff0_0000_0000_0001),
        f64::INFINITY,
        f64::NEG_INFINITY,
        0.0,
        f64::MIN_POSITIVE / 2.0,
    ];
    let samples: Vec<(i64, f64)> = values.iter().map(|&value| (NOW_MS, value)).collect();

    push(&rig, vec![series(&[("__name__", "m")], &samples)]).await;

    let got: Vec<u64> = rig.store.samples().iter().map(|(_, _, bits)| *bits).collect();
    assert_eq!(got, values.map(f64::to_bits));
}

#[tokio::test]
async fn a_series_is_registered_once_and_found_by_its_hash() {
    let rig = Rig::new();
    let up = |time_ms| series(&[("__name__", "up"), ("job", "a")], &[(time_ms, 1.0)]);

    push(&rig, vec![up(NOW_MS)]).await;
    push(&rig, vec![up(NOW_MS + 1), up(NOW_MS + 2)]).await;

    assert_eq!((rig.store.n_registered(), rig.store.samples().len()), (1, 3));
}

#[tokio::test]
async fn samples_go_to_the_commons_of_the_credential() {
    let rig = Rig::new();
    let heart = WriteScope::Commons(Commons::new("heart").unwrap());
    let grant = Grant { write: heart, ..Grant::open() };

    let claims_brain = labelled(&[("__name__", "up"), ("commons", "brain")]);
    push_as(&rig, &grant, vec![claims_brain.clone()]).await;
    push(&rig, vec![claims_brain]).await;

    let samples = rig.store.samples();
    assert_eq!(samples[0].0, "up{commons=\"heart\"}");
    assert_eq!(samples[1].0, "up{commons=\"brain\"}", "the cached key of one serves no other");
}

#[tokio::test]
async fn a_claim_outside_the_credential_is_not_believed() {
    let rig = Rig::new();
    let write = WriteScope::Cluster {
        cluster: "c".into(),
        commons: [Commons::new("heart").unwrap()].into(),
    };
    let grant = Grant { name: "agent-c".into(), write, ..Grant::open() };

    push_as(&rig, &grant, vec![labelled(&[("__name__", "up"), ("commons", "brain")])]).await;

    assert_eq!(rig.store.samples()[0].0, "up{cluster=\"c\", commons=\"heart\"}");
}

#[tokio::test]
async fn what_could_not_be_placed_is_placed_once_tagging_has_learned() {
    let rig = Rig::new();
    let labels = [("__name__", "up"), ("cluster", "c"), ("namespace", "heart-ns")];
    push(&rig, vec![labelled(&labels)]).await;
    push(&rig, vec![labelled(&labels)]).await;
    assert_eq!(rig.store.n_registered(), 1, "known, though it is unassigned");

    rig.ingest.tagger.teach(&[LearnedPair {
        cluster: "c".into(),
        namespace: "heart-ns".into(),
        commons: Some(Commons::new("heart").unwrap()),
    }]);
    push(&rig, vec![labelled(&labels)]).await;
    push(&rig, vec![labelled(&labels)]).await;

    let commons: Vec<bool> = rig
        .store
        .samples()
        .iter()
        .map(|(series, ..)| series.contains("commons=\"heart\""))
        .collect();
    assert_eq!(commons, [false, false, true, true]);
    assert_eq!(rig.store.n_registered(), 2);
}

#[tokio::test]
async fn series_past_a_limit_are_told_and_added_up_in_one_of_their_metric() {
    let rig = Rig::new();
    rig.store.limit_series(1);
    let requests = |route, time_ms, value| {
        let labels = [("__name__", "requests_total"), ("commons", "heart"), ("route", route)];
        series(&labels, &[(time_ms, value)])
    };
    let all = |time_ms, values: [f64; 3]| {
        let routes = ["/a", "/b", "/c"].into_iter().zip(values);
        routes.map(|(route, value)| requests(route, time_ms, value)).collect::<Vec<_>>()
    };

    let first = push(&rig, all(NOW_MS, [1.0, 5.0, 7.0])).await;
    push(&rig, all(NOW_MS + 1, [2.0, 6.0, 9.0])).await;

    assert_eq!((first.n_stored, first.rejected.told()), (1, 2));
    assert_eq!(rig.store.samples().len(), 2, "the known one goes on");
    let derived = rig.ingest.derive.collect();
    let total: Vec<_> = derived
        .iter()
        .filter(|sample| sample.labels.metric() == "requests_total")
        .map(|sample| (sample.labels.to_string(), sample.value))
        .collect();
    let name = r#"requests_total{__overflow__="true", commons="heart"}"#;
    assert_eq!(total, [(name.to_owned(), 3.0)]);
}

#[tokio::test]
async fn a_series_that_lost_a_telling_label_is_added_up() {
    let rig = Rig::new();
    let logins = |user: &str, time_ms, value| {
        let labels = [("__name__", "gen3_fence_login_total"), ("idp", "google"), ("user_id", user)];
        series(&labels, &[(time_ms, value)])
    };
    let both = |time_ms, a, b| vec![logins("ada", time_ms, a), logins("bob", time_ms, b)];

    let first = push(&rig, both(NOW_MS, 5.0, 7.0)).await;
    let second = push(&rig, both(NOW_MS + 1, 6.0, 9.0)).await;

    let derived = rig.ingest.derive.collect();
    let total = derived.iter().find(|sample| sample.labels.metric() == "gen3_fence_login_total");
    assert_eq!(total.map(|sample| sample.value), Some(3.0), "{derived:?}");
    for outcome in [first, second] {
        assert_eq!((outcome.n_stored, outcome.rejected.total()), (0, 2));
        assert_eq!(outcome.message("samples"), None, "no fault of the sender");
    }
    assert_eq!((rig.store.n_registered(), rig.store.samples().len()), (0, 0));
}
