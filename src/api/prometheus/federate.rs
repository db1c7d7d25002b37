//! `/federate`: the newest sample of each selected series as text, for a Prometheus that scrapes us.

use std::collections::{BTreeMap, HashMap};

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;

use super::super::Api;
use super::super::error::{ApiError, answer};
use super::super::number::push_sample_value;
use super::super::params::Params;
use crate::model::metric::is_stale;
use crate::model::{Description, Grant, Labels, MetricKind};
use crate::query::SampleQuery;

/// How old a sample may be, as the lookback of a query.
const LOOKBACK_MS: i64 = 300_000;
const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8; escaping=allow-utf-8";

pub(super) async fn federate(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
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
    let found = api.ask.samples(&grant, queries.collect()).await?;
    let mut newest: BTreeMap<Labels, (i64, f64)> = BTreeMap::new();
    for series in found.list.into_iter().flatten() {
        let last = series.timestamps_ms.last().zip(series.values.last());
        if let Some((time_ms, value)) = last.filter(|(_, value)| !is_stale(**value)) {
            newest.insert(series.labels, (*time_ms, *value));
        }
    }
    let metas: HashMap<String, Description> = api.ask.metadata(&grant).await?.into_iter().collect();
    Ok(answer(StatusCode::OK, TEXT, Body::from(text_of(&newest, &metas))))
}

fn text_of(newest: &BTreeMap<Labels, (i64, f64)>, metas: &HashMap<String, Description>) -> String {
    type Newest<'a> = (&'a Labels, &'a (i64, f64));
    let mut by_metric: BTreeMap<&str, Vec<Newest<'_>>> = BTreeMap::new();
    for (labels, sample) in newest {
        by_metric.entry(labels.metric()).or_default().push((labels, sample));
    }
    let mut out = String::new();
    for (metric, samples) in by_metric.into_iter().filter(|(metric, _)| !metric.is_empty()) {
        let is_plain = is_plain_metric(metric);
        let shown = if is_plain { metric.to_owned() } else { quoted(metric) };
        let kind = metas.get(metric).map_or("untyped", |meta| type_of(meta.kind));
        out.push_str(&format!("# TYPE {shown} {kind}\n"));
        for (labels, (time_ms, value)) in samples {
            let pairs = labels.iter().filter(|(name, _)| *name != "__name__");
            let mut pairs: Vec<String> =
                pairs.map(|(name, value)| format!("{}={}", name_of(name), quoted(value))).collect();
            if is_plain {
                out.push_str(metric);
            } else {
                pairs.insert(0, quoted(metric));
            }
            if !pairs.is_empty() {
                out.push_str(&format!("{{{}}}", pairs.join(",")));
            }
            out.push(' ');
            push_sample_value(&mut out, *value);
            out.push_str(&format!(" {time_ms}\n"));
        }
    }
    out
}

/// A part of a histogram or summary is a counter or gauge of its own here.
fn type_of(kind: MetricKind) -> &'static str {
    match kind {
        MetricKind::Counter => "counter",
        MetricKind::Gauge | MetricKind::UpDownCounter => "gauge",
        _ => "untyped",
    }
}

fn is_plain_metric(name: &str) -> bool {
    name.starts_with(|c: char| c == '_' || c == ':' || c.is_ascii_alphabetic())
        && name.chars().all(|c| c == '_' || c == ':' || c.is_ascii_alphanumeric())
}

fn name_of(name: &str) -> String {
    if is_plain_metric(name) && !name.contains(':') { name.to_owned() } else { quoted(name) }
}

/// The text format knows three escapes.
fn quoted(text: &str) -> String {
    let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    format!("\"{text}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_they_must_be() {
        let series = |pairs: &[(&str, &str)]| Labels::from_pairs(pairs.iter().copied());
        let newest = BTreeMap::from([
            (series(&[("__name__", "up"), ("job", "a\"b\\c\nd")]), (1_500, 1.0)),
            (series(&[("__name__", "http.requests"), ("a b", "c")]), (7, f64::NAN)),
            (series(&[("__name__", "up")]), (1_500, 0.5)),
            (series(&[("job", "nameless")]), (1, 1.0)),
        ]);
        let counter = Description { kind: MetricKind::Counter, ..Description::default() };

        let text = text_of(&newest, &HashMap::from([("http.requests".to_owned(), counter)]));

        let want = "# TYPE \"http.requests\" counter\n\
                    {\"http.requests\",\"a b\"=\"c\"} NaN 7\n\
                    # TYPE up untyped\n\
                    up 0.5 1500\n\
                    up{job=\"a\\\"b\\\\c\\nd\"} 1 1500\n";
        assert_eq!(text, want);
    }
}
