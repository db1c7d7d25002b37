//! `/federate`: the newest sample of each selected series, for a Prometheus that scrapes us.
//!
//! Text, or protobuf for who accepts that first: text has no native histograms. Names are those that the
//! scraper can read. What an answer lacks is said in its head.

mod accept;
mod escaping;
mod messages;
mod protobuf;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};

use super::super::Api;
use super::super::ask::Listed;
use super::super::error::{ApiError, partial};
use super::super::number::push_sample_value;
use super::super::params::Params;
use crate::base::Kind;
use crate::base::go_text::quoted;
use crate::model::labels::METRIC_NAME;
use crate::model::metric::is_stale;
use crate::model::names::{is_label_name, is_metric_name};
use crate::model::{Description, Grant, Labels, MetricKind, NativeHistogram, SeriesData};
use crate::query::SampleQuery;
use accept::Form;
use escaping::Escaping;

/// How old a sample may be, as the lookback of a query.
const LOOKBACK_MS: i64 = 300_000;
/// What a sample takes in the answer: of some twenty that are looked at the newest is told.
const SAMPLE_BYTES: usize = 4;
/// The label that tells a scraper's targets apart.
const INSTANCE: &str = "instance";

/// The newest sample of a series.
#[derive(Debug)]
enum Sample {
    Number(f64),
    Histogram(Box<NativeHistogram>),
}

/// The newest samples with their times, ms since 1970 UTC.
type Newest = BTreeMap<Labels, (i64, Sample)>;
/// Those of one metric.
type OfMetric<'n> = Vec<(&'n Labels, &'n (i64, Sample))>;

pub(super) async fn federate(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    headers: HeaderMap,
    params: Params,
) -> Result<Response, ApiError> {
    let selectors: Vec<String> = params.all("match").into_iter().map(str::to_owned).collect();
    let now_ms = api.clock.now_ms();
    let selectors = api.ask.matchers(&grant, selectors).await?;
    let queries = selectors.into_iter().map(|matchers| SampleQuery {
        matchers,
        start_ms: now_ms - LOOKBACK_MS + 1,
        end_ms: now_ms,
    });
    let Listed { list, warnings } =
        api.ask.samples(&grant, queries.collect(), SAMPLE_BYTES).await?;
    let metas = api.ask.metadata(&grant).await?;
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok());
    let form = Form::of(accept.unwrap_or_default());
    // A hundred thousand series are no work for a thread that answers others meanwhile.
    let written = tokio::task::spawn_blocking(move || written(list, metas, form)).await;
    let body =
        written.map_err(|_| ApiError::new(Kind::Internal, "writing the samples panicked"))?;
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, form.content_type());
    Ok(partial(response, &warnings))
}

fn written(found: Vec<Vec<SeriesData>>, metas: Vec<(String, Description)>, form: Form) -> Body {
    let newest: Newest = found.into_iter().flatten().filter_map(newest_of).collect();
    let metas: HashMap<String, Description> = metas.into_iter().collect();
    let kind = |metric: &str| metas.get(metric).map_or(MetricKind::Unknown, |meta| meta.kind);
    match form.is_protobuf {
        true => Body::from(protobuf::families_of(&newest, kind, form.escaping)),
        false => Body::from(text_of(&newest, kind, form.escaping)),
    }
}

/// Returns the newest sample of a series, if that does not end it.
fn newest_of(series: SeriesData) -> Option<(Labels, (i64, Sample))> {
    let number = series.timestamps_ms.last().zip(series.values.last());
    let mut histograms = series.stored.iter().rev();
    let histogram = histograms.find_map(|(ms, stored)| Some((*ms, NativeHistogram::of(stored)?)));
    let newest = match (number, histogram) {
        (Some((ms, _)), Some((newer_ms, one))) if *ms < newer_ms => {
            (newer_ms, Sample::Histogram(Box::new(one)))
        }
        (Some((_, value)), _) if is_stale(*value) => return None,
        (Some((ms, value)), _) => (*ms, Sample::Number(*value)),
        (None, histogram) => {
            let (ms, one) = histogram?;
            (ms, Sample::Histogram(Box::new(one)))
        }
    };
    Some((series.labels, newest))
}

/// Returns the samples of each metric; those without a name are nobody's.
fn by_metric(newest: &Newest) -> BTreeMap<&str, OfMetric<'_>> {
    let mut by_metric: BTreeMap<&str, Vec<_>> = BTreeMap::new();
    for (labels, sample) in newest.iter().filter(|(labels, _)| !labels.metric().is_empty()) {
        by_metric.entry(labels.metric()).or_default().push((labels, sample));
    }
    by_metric
}

/// Returns the labels of a series beside its name. Without an `instance` they say so, or the scraper would
/// take the server for it.
fn pairs_of(labels: &Labels, escaping: Escaping) -> impl Iterator<Item = (Cow<'_, str>, &str)> {
    let without = labels.get(INSTANCE).is_none().then_some((INSTANCE, ""));
    let pairs = labels.iter().filter(|(name, _)| *name != METRIC_NAME).chain(without);
    pairs.map(move |(name, value)| (escaping.name(name), value))
}

fn text_of(newest: &Newest, kind: impl Fn(&str) -> MetricKind, escaping: Escaping) -> String {
    let mut out = String::new();
    for (metric, samples) in by_metric(newest) {
        let numbers = samples.into_iter().filter_map(|(labels, (ms, sample))| match sample {
            Sample::Number(value) => Some((labels, *ms, *value)),
            Sample::Histogram(_) => None,
        });
        let numbers: Vec<_> = numbers.collect();
        if numbers.is_empty() {
            continue;
        }
        let name = escaping.name(metric);
        // A name that is no plain one stands among the labels.
        let (before, within) = match is_metric_name(&name) {
            true => (&*name, None),
            false => ("", Some(quoted(&name))),
        };
        let shown = within.as_deref().unwrap_or(before);
        out.push_str(&format!("# TYPE {shown} {}\n", kind_of(kind(metric))));
        for (labels, time_ms, value) in numbers {
            let pairs = pairs_of(labels, escaping);
            let pairs = pairs.map(|(name, value)| format!("{}={}", name_of(&name), quoted(value)));
            let pairs: Vec<String> = within.iter().cloned().chain(pairs).collect();
            out.push_str(&format!("{before}{{{}}} ", pairs.join(",")));
            push_sample_value(&mut out, value);
            out.push_str(&format!(" {time_ms}\n"));
        }
    }
    out
}

/// Returns the type of numbers; a part of a histogram or summary is a counter or gauge of its own here.
fn kind_of(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge | MetricKind::UpDownCounter => "gauge",
        _ => "untyped",
    }
}

fn name_of(name: &str) -> String {
    if is_label_name(name) { name.to_owned() } else { quoted(name) }
}
