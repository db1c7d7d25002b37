//! Where the series are: `status/tsdb`, and `cardinality/*` in the shape of Mimir's API, with how it
//! was a day ago beside it. A series counts as active when it has a sample in the last hour.

use std::collections::{BTreeMap, BTreeSet};

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde_json::{Value, json};

use super::super::Api;
use super::super::ask::Selection;
use super::super::error::ApiError;
use super::super::json::{answer_value, success_value};
use super::super::params::Params;
use crate::model::{Grant, Labels};

/// How far back a series counts as active.
const ACTIVE_MS: i64 = 3_600_000;
const DAY_MS: i64 = 86_400_000;
/// How many rows `status/tsdb` has.
const TOP_MAX: usize = 10;
/// How many rows the others have, and the most they can be asked for.
const ROWS: usize = 20;
const ROWS_MAX: usize = 500;

async fn active(
    api: &Api,
    grant: &Grant,
    selectors: Vec<String>,
    end_ms: i64,
) -> Result<Vec<Labels>, ApiError> {
    let wanted = Selection { selectors, start_ms: end_ms - ACTIVE_MS, end_ms };
    Ok(api.ask.series(grant, &wanted).await?.list)
}

/// The series of now and of a day ago.
struct Days {
    now: Vec<Labels>,
    before: Vec<Labels>,
}

async fn days(api: &Api, grant: &Grant, params: &Params) -> Result<Days, ApiError> {
    let selectors: Vec<String> = params.get("selector").into_iter().map(str::to_owned).collect();
    let now_ms = api.clock.now_ms();
    let now = active(api, grant, selectors.clone(), now_ms).await?;
    let before = active(api, grant, selectors, now_ms - DAY_MS).await?;
    Ok(Days { now, before })
}

fn rows_of(params: &Params) -> Result<usize, ApiError> {
    let rows = params.limit("limit")?.unwrap_or(ROWS);
    if rows > ROWS_MAX {
        return Err(ApiError::parameter("limit", format!("it must be at most {ROWS_MAX}")));
    }
    Ok(rows)
}

/// Returns what is counted now and a day ago, the most of now first.
fn ranked_days<K: Ord + Clone>(
    now: &BTreeMap<K, usize>,
    before: &BTreeMap<K, usize>,
) -> Vec<(K, usize, usize)> {
    let names: BTreeSet<&K> = now.keys().chain(before.keys()).collect();
    let count = |of: &BTreeMap<K, usize>, name: &K| of.get(name).copied().unwrap_or(0);
    let counts =
        names.into_iter().map(|name| (name.clone(), count(now, name), count(before, name)));
    let mut counts: Vec<_> = counts.collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts
}

fn values_by_name(series: &[Labels]) -> BTreeMap<&str, BTreeSet<&str>> {
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, value) in series.iter().flat_map(Labels::iter) {
        values.entry(name).or_default().insert(value);
    }
    values
}

/// `cardinality/label_names`: how many values each label has.
pub(super) async fn label_names(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    params: Params,
) -> Result<Response, ApiError> {
    let n_rows = rows_of(&params)?;
    let days = days(&api, &grant, &params).await?;
    let sizes = |series| -> BTreeMap<&str, usize> {
        values_by_name(series).into_iter().map(|(name, set)| (name, set.len())).collect()
    };
    let (now, before) = (sizes(&days.now), sizes(&days.before));
    let rows = ranked_days(&now, &before).into_iter().take(n_rows);
    let rows = rows.map(|(name, now, before)| {
        json!({
            "label_name": name,
            "label_values_count": now,
            "label_values_count_day_ago": before,
        })
    });
    Ok(answer_value(&json!({
        "label_values_count_total": now.values().sum::<usize>(),
        "label_values_count_total_day_ago": before.values().sum::<usize>(),
        "label_names_count": now.len(),
        "cardinality": rows.collect::<Vec<_>>(),
    })))
}

/// `cardinality/label_values`: how many series each value of the named labels has; `__name__`,
/// `commons` and `service` are labels like any other.
pub(super) async fn label_values(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    params: Params,
) -> Result<Response, ApiError> {
    let n_rows = rows_of(&params)?;
    let names = params.all("label_names");
    if names.is_empty() {
        return Err(ApiError::parameter("label_names[]", "at least one must be given"));
    }
    let days = days(&api, &grant, &params).await?;
    let labels = names.into_iter().map(|name| of_label(name, &days, n_rows));
    Ok(answer_value(&json!({
        "series_count_total": days.now.len(),
        "series_count_total_day_ago": days.before.len(),
        "labels": labels.collect::<Vec<_>>(),
    })))
}

fn of_label(name: &str, days: &Days, n_rows: usize) -> Value {
    let (now, before) = (by_value(name, &days.now), by_value(name, &days.before));
    let rows = ranked_days(&now, &before).into_iter().take(n_rows);
    let rows = rows.map(|(value, now, before)| {
        json!({ "label_value": value, "series_count": now, "series_count_day_ago": before })
    });
    json!({
        "label_name": name,
        "label_values_count": now.len(),
        "series_count": now.values().sum::<usize>(),
        "series_count_day_ago": before.values().sum::<usize>(),
        "cardinality": rows.collect::<Vec<_>>(),
    })
}

fn by_value<'s>(name: &str, series: &'s [Labels]) -> BTreeMap<&'s str, usize> {
    let mut counts = BTreeMap::new();
    for value in series.iter().filter_map(|labels| labels.get(name)) {
        *counts.entry(value).or_default() += 1;
    }
    counts
}

/// `cardinality/active_series`: the series of a selector.
pub(super) async fn active_series(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    params: Params,
) -> Result<Response, ApiError> {
    let selector = params.required("selector")?.to_owned();
    let found = active(&api, &grant, vec![selector], api.clock.now_ms()).await?;
    let series = found.iter().map(|labels| {
        labels.iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect()
    });
    Ok(answer_value(&json!({ "data": series.map(Value::Object).collect::<Vec<_>>() })))
}

/// `status/tsdb`: where the cardinality of the last hour is, within what the caller may read.
pub(super) async fn tsdb(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    params: Params,
) -> Result<Response, ApiError> {
    let top = params.limit("limit")?.unwrap_or(TOP_MAX);
    let now_ms = api.clock.now_ms();
    let series = active(&api, &grant, Vec::new(), now_ms).await?;
    Ok(success_value(&cardinality(&series, top, (now_ms - ACTIVE_MS, now_ms))))
}

fn cardinality(series: &[Labels], top: usize, (min_ms, max_ms): (i64, i64)) -> Value {
    let mut by_metric: BTreeMap<&str, usize> = BTreeMap::new();
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut by_pair: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for labels in series {
        *by_metric.entry(labels.metric()).or_default() += 1;
        for (name, value) in labels.iter() {
            values.entry(name).or_default().insert(value);
            *by_pair.entry((name, value)).or_default() += 1;
        }
    }
    let n_pairs = by_pair.len();
    let n_bytes = |set: &BTreeSet<&str>| set.iter().map(|value| value.len()).sum::<usize>();
    let by_metric = by_metric.into_iter().map(|(metric, n)| (metric.to_owned(), n));
    let by_label = values.iter().map(|(name, set)| ((*name).to_owned(), set.len()));
    let memory = values.iter().map(|(name, set)| ((*name).to_owned(), n_bytes(set)));
    let by_pair = by_pair.into_iter().map(|((name, value), n)| (format!("{name}={value}"), n));
    json!({
        "headStats": {
            "numSeries": series.len(),
            "numLabelPairs": n_pairs,
            // What is in memory of a series is one run of samples.
            "chunkCount": series.len(),
            "minTime": min_ms,
            "maxTime": max_ms,
        },
        "seriesCountByMetricName": ranked(by_metric, top),
        "labelValueCountByLabelName": ranked(by_label, top),
        "memoryInBytesByLabelName": ranked(memory, top),
        "seriesCountByLabelValuePair": ranked(by_pair, top),
    })
}

fn ranked(counts: impl Iterator<Item = (String, usize)>, top: usize) -> Vec<Value> {
    let mut counts: Vec<_> = counts.collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    counts.truncate(top);
    counts.into_iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
}
