//! Where the series are: `status/tsdb`, and `cardinality/*` in the shape of Mimir's API, with how it
//! was a day ago beside it. A series counts as active when it has a sample in the last hour.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::super::Api;
use super::super::ask::{Listed, Selection};
use super::super::error::{ApiError, answer};
use super::super::json::{answer_value, push_labels, push_list, push_strings, success};
use super::super::params::Params;
use crate::model::Grant;
use crate::model::labels::METRIC_NAME;
use crate::query::CardinalityQuery;
use crate::query::cardinality::{Cardinality, Days, LabelCount};

/// How far back a series counts as active.
const ACTIVE_MS: i64 = 3_600_000;
const DAY_MS: i64 = 86_400_000;
/// How many rows each list of `status/tsdb` has, and the most it can be asked for, as in Prometheus.
const TOP_ROWS: (usize, usize) = (10, 10_000);
/// The same of the others.
const ROWS: (usize, usize) = (20, 500);
/// The most labels whose values are told of at once.
const NAMES_MAX: usize = 100;

/// Counts the series of now and of a day ago; of `top` values of each label it is told how many.
async fn days(
    api: &Api,
    grant: &Grant,
    params: &Params,
    labels: Option<Vec<String>>,
    top: usize,
) -> Result<(Cardinality, Vec<String>), ApiError> {
    let selectors: Vec<String> = params.get("selector").into_iter().map(str::to_owned).collect();
    let now_ms = api.clock.now_ms();
    let active = |end_ms: i64| (end_ms - ACTIVE_MS, end_ms);
    let ranges = vec![active(now_ms), active(now_ms - DAY_MS)];
    Ok(api.ask.cardinality(grant, CardinalityQuery { selectors, ranges, labels, top }).await?)
}

fn rows_of(params: &Params, (unsaid, max): (usize, usize)) -> Result<usize, ApiError> {
    let rows = params.limit("limit")?.unwrap_or(unsaid);
    if rows > max {
        return Err(ApiError::parameter("limit", format!("it must be at most {max}")));
    }
    Ok(rows)
}

/// `cardinality/label_names`: how many values each label has.
pub(super) async fn label_names(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    params: Params,
) -> Result<Response, ApiError> {
    let n_rows = rows_of(&params, ROWS)?;
    let (counted, warnings) = days(&api, &grant, &params, None, 0).await?;
    let total = |day: usize| counted.labels.iter().map(|label| label.n_values[day]).sum::<usize>();
    let (now, before) = (total(0), total(1));
    let n_names = counted.labels.iter().filter(|label| label.n_values[0] > 0).count();
    let by_size = counted.labels.into_iter().map(|label| (label.name, label.n_values));
    let rows = ranked(by_size, n_rows).into_iter().map(|(name, [now, before])| {
        json!({
            "label_name": name,
            "label_values_count": now,
            "label_values_count_day_ago": before,
        })
    });
    Ok(warned(
        json!({
            "label_values_count_total": now,
            "label_values_count_total_day_ago": before,
            "label_names_count": n_names,
            "cardinality": rows.collect::<Vec<_>>(),
        }),
        &warnings,
    ))
}

/// Returns the labels that are asked about, each once: its values would stand in the answer for each time.
fn names_of(params: &Params) -> Result<Vec<String>, ApiError> {
    let mut names: Vec<String> = Vec::new();
    for name in params.all("label_names") {
        if !names.iter().any(|known| known == name) {
            names.push(name.to_owned());
        }
        if names.len() > NAMES_MAX {
            let message = format!("at most {NAMES_MAX} may be given");
            return Err(ApiError::parameter("label_names[]", message));
        }
    }
    if names.is_empty() {
        return Err(ApiError::parameter("label_names[]", "at least one must be given"));
    }
    Ok(names)
}

/// `cardinality/label_values`: how many series each value of the named labels has; `__name__`,
/// `commons` and `service` are labels like any other.
pub(super) async fn label_values(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    params: Params,
) -> Result<Response, ApiError> {
    let n_rows = rows_of(&params, ROWS)?;
    let names = names_of(&params)?;
    let (counted, warnings) = days(&api, &grant, &params, Some(names.clone()), n_rows).await?;
    let nothing = LabelCount::default();
    let labels = names.iter().map(|name| of_label(name, counted.label(name).unwrap_or(&nothing)));
    let [now, before] = counted.n_series;
    Ok(warned(
        json!({
            "series_count_total": now,
            "series_count_total_day_ago": before,
            "labels": labels.collect::<Vec<_>>(),
        }),
        &warnings,
    ))
}

fn of_label(name: &str, label: &LabelCount) -> Value {
    let rows = label.top.iter().map(|(value, [now, before])| {
        json!({ "label_value": value, "series_count": now, "series_count_day_ago": before })
    });
    json!({
        "label_name": name,
        "label_values_count": label.n_values[0],
        "series_count": label.n_series[0],
        "series_count_day_ago": label.n_series[1],
        "cardinality": rows.collect::<Vec<_>>(),
    })
}

/// `cardinality/active_series`: the series of a selector.
pub(super) async fn active_series(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    params: Params,
) -> Result<Response, ApiError> {
    let selectors = vec![params.required("selector")?.to_owned()];
    let end_ms = api.clock.now_ms();
    let wanted = Selection { selectors, start_ms: end_ms - ACTIVE_MS, end_ms, limit: None };
    let Listed { list, warnings } = api.ask.series(&grant, &wanted).await?;
    // As text at once: as values a hundred thousand series take several times the room.
    let mut out = String::with_capacity(256 * list.len() + 64);
    out.push_str("{\"data\":");
    push_list(&mut out, &list, push_labels);
    if !warnings.is_empty() {
        out.push_str(",\"warnings\":");
        push_strings(&mut out, &warnings);
    }
    out.push('}');
    Ok(answer(StatusCode::OK, "application/json", Body::from(out)))
}

/// `status/tsdb`: where the cardinality of the last hour is, within what the caller may read.
pub(super) async fn tsdb(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    params: Params,
) -> Result<Response, ApiError> {
    let top = rows_of(&params, TOP_ROWS)?;
    let end_ms = api.clock.now_ms();
    let range = (end_ms - ACTIVE_MS, end_ms);
    let wanted = CardinalityQuery { selectors: Vec::new(), ranges: vec![range], labels: None, top };
    let (counted, warnings) = api.ask.cardinality(&grant, wanted).await?;
    Ok(success(&warnings, &[], 0, |out| out.push_str(&of_store(counted, top, range).to_string())))
}

fn of_store(counted: Cardinality, top: usize, (min_ms, max_ms): (i64, i64)) -> Value {
    let labels = &counted.labels;
    let rows = |counts: Vec<(String, usize)>| {
        let rows = ranked(counts.into_iter().map(|(name, n)| (name, [n, 0])), top).into_iter();
        rows.map(|(name, [n, _])| json!({ "name": name, "value": n })).collect::<Vec<_>>()
    };
    let of_labels = |n: fn(&LabelCount) -> usize| {
        rows(labels.iter().map(|label| (label.name.clone(), n(label))).collect())
    };
    let metrics = counted.label(METRIC_NAME).map_or(&[][..], |label| &label.top);
    let pairs = labels.iter().flat_map(|LabelCount { name, top, .. }| {
        top.iter().map(move |(value, [n, _])| (std::cmp::Reverse(*n), name, value))
    });
    // There are as many as `top` of each label: only those that are shown become texts.
    let mut pairs: Vec<_> = pairs.collect();
    pairs.sort_unstable();
    pairs.truncate(top);
    let pairs = pairs.into_iter().map(|(n, name, value)| (format!("{name}={value}"), n.0));
    json!({
        "headStats": {
            "numSeries": counted.n_series[0],
            "numLabelPairs": labels.iter().map(|label| label.n_values[0]).sum::<usize>(),
            // What is in memory of a series is one run of samples.
            "chunkCount": counted.n_series[0],
            "minTime": min_ms,
            "maxTime": max_ms,
        },
        "seriesCountByMetricName": rows(metrics.iter().map(|(name, [n, _])| (name.clone(), *n)).collect()),
        "labelValueCountByLabelName": of_labels(|label| label.n_values[0]),
        "memoryInBytesByLabelName": of_labels(|label| label.n_bytes),
        "seriesCountByLabelValuePair": rows(pairs.collect()),
    })
}

/// Returns an answer in Mimir's shape, and what it lacks, if anything.
fn warned(answer: Value, warnings: &[String]) -> Response {
    let mut answer = answer;
    if !warnings.is_empty() {
        answer["warnings"] = json!(warnings);
    }
    answer_value(&answer)
}

/// Returns the rows with the most of now, the most first.
fn ranked(rows: impl Iterator<Item = (String, Days)>, top: usize) -> Vec<(String, Days)> {
    let mut rows: Vec<_> = rows.collect();
    rows.sort_by(|a, b| b.1[0].cmp(&a.1[0]).then_with(|| a.0.cmp(&b.0)));
    rows.truncate(top);
    rows
}
