//! What lay near an alert: lines of its commons and service, traces that failed, traces that the series of its
//! rule point to, alerts like it before.
//!
//! Lines that speak of errors come first; where there is none, the last ones before the alert. What
//! cannot be asked is left out with its reason: an explanation with a gap is better than none.

use serde_json::{Value, json};

use super::super::{Api, AskOptions, time};
use crate::model::exemplar::{Exemplar, SeriesExemplars};
use crate::model::{Grant, Labels};
use crate::notify::What;
use crate::query::logql::{LogRange, Steps};
use crate::query::promql::format_value;
use crate::query::{LogqlAnswer, Param, may_see};

/// What only those may see who may ask for logs and traces.
pub(super) const NEEDS_DEVELOPER: [&str; 3] = ["lines", "traces", "exemplars"];

/// How far around an alert's beginning is looked.
const BEFORE_MS: i64 = 5 * 60_000;
const AFTER_MS: i64 = 60_000;
/// The most lines, traces and similar alerts.
const LINES_MAX: usize = 10;
const SIMILAR_MAX: usize = 10;
const EXEMPLARS_MAX: usize = 5;
/// How much of a line is kept.
const LINE_BYTES_MAX: usize = 2_000;
/// The labels by which a series belongs to an alert.
const TAGS: [&str; 4] = ["commons", "service", "env", "cluster"];
/// How far back similar alerts are sought, and in how many lines of the ledger.
const SIMILAR_MS: i64 = 30 * 86_400_000;
const SCAN_MAX: usize = 20_000;

/// What a line says that speaks of an error.
const ERRORS: &str = "(?i)(error|fatal|panic|exception|traceback|fail|refused|timed? ?out)";

const TRACES: &str = "SELECT trace_id, name, max(duration_ns) AS duration_ns, min(start_time) AS \
    start_time FROM spans WHERE commons = $1 AND ($2 = '' OR service = $2) AND start_time >= $3 AND \
    start_time <= $4 AND status_code = 'error' GROUP BY trace_id, name ORDER BY duration_ns DESC LIMIT 5";

/// Adds what lay near an alert to what is shown of it; its rule is there already.
pub(super) async fn add(
    api: &Api,
    grant: &Grant,
    labels: &Labels,
    starts_at_ms: i64,
    shown: &mut Value,
) {
    shown["similar"] = similar(api, grant, labels, starts_at_ms).await;
    if super::super::Need::Sql.check(Some(grant)).is_err() {
        return;
    }
    let Some(commons) = labels.get("commons").filter(|name| !name.is_empty()) else { return };
    let service = service_of(labels);
    let span = span(starts_at_ms);
    shown["lines"] = lines(api, grant, (commons, service), span).await;
    shown["traces"] = traces(api, grant, (commons, service), span).await;
    if shown["rule"]["language"] == "promql"
        && let Some(query) = shown["rule"]["query"].as_str()
    {
        shown["exemplars"] = exemplars(api, grant, query, labels, span).await;
    }
}

/// Returns the service near an alert; empty when it names none.
pub(super) fn service_of(labels: &Labels) -> &str {
    ["service", "backend"].iter().find_map(|name| labels.get(name)).unwrap_or("")
}

/// Returns from when and until when is looked around an alert's beginning, ms since 1970 UTC.
pub(super) fn span(starts_at_ms: i64) -> (i64, i64) {
    (starts_at_ms.saturating_sub(BEFORE_MS), starts_at_ms.saturating_add(AFTER_MS))
}

/// Returns whether a line may have gone on where it was quoted no further.
pub(super) fn is_cut(line: &str) -> bool {
    // A cut may fall up to three bytes before, at the beginning of a letter.
    line.len() + 3 >= LINE_BYTES_MAX
}

async fn lines(
    api: &Api,
    grant: &Grant,
    (commons, service): (&str, &str),
    span: (i64, i64),
) -> Value {
    let service = match service {
        "" => String::new(),
        name => format!(", service={name:?}"),
    };
    let selector = format!("{{commons={commons:?}{service}}}");
    for query in [format!("{selector} |~ {ERRORS:?}"), selector] {
        match asked(api, grant, &query, span).await {
            Ok(found) if found.as_array().is_some_and(Vec::is_empty) => {}
            Ok(found) => return json!({ "query": query, "lines": found }),
            Err(reason) => return json!({ "query": query, "error": reason }),
        }
    }
    Value::Null
}

async fn asked(
    api: &Api,
    grant: &Grant,
    query: &str,
    (start_ms, end_ms): (i64, i64),
) -> Result<Value, String> {
    let ns = |ms: i64| ms.saturating_mul(1_000_000);
    let range = LogRange {
        start_ns: ns(start_ms),
        end_ns: ns(end_ms),
        limit: LINES_MAX,
        is_backward: true,
        interval_ns: 0,
    };
    let steps = Steps { start_ms, end_ms, step_ms: Some(60_000) };
    let found = api.logs.logql(grant, query, range, steps, AskOptions::default()).await;
    let LogqlAnswer::Lines(found) = found.map_err(|error| error.to_string())?.answer else {
        return Ok(json!([]));
    };
    let line = |one: &crate::query::logql::LogLine| {
        let at_ms = one.ts_ns.div_euclid(1_000_000);
        json!([time::rfc3339(at_ms), cut(&one.line)])
    };
    Ok(Value::Array(found.lines.iter().map(line).collect()))
}

fn cut(line: &str) -> &str {
    let mut end = line.len().min(LINE_BYTES_MAX);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    &line[..end]
}

async fn traces(
    api: &Api,
    grant: &Grant,
    (commons, service): (&str, &str),
    (start_ms, end_ms): (i64, i64),
) -> Value {
    let text = |text: &str| Param::Text(text.to_owned());
    let params = vec![
        text(commons),
        text(service),
        text(&time::rfc3339(start_ms)),
        text(&time::rfc3339(end_ms)),
    ];
    let found = match api.ask.sql(grant, TRACES, params, AskOptions::default()).await {
        Ok(found) => found.to_json().map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    };
    match found.and_then(|text| serde_json::from_str::<Value>(&text).map_err(|e| e.to_string())) {
        Ok(found) => found["rows"].clone(),
        Err(reason) => json!({ "error": reason }),
    }
}

/// Returns the traces of which the series of the rule's expression are examples, the greatest values first:
/// of a latency, those who waited longest.
async fn exemplars(api: &Api, grant: &Grant, query: &str, of: &Labels, span: (i64, i64)) -> Value {
    let found = match api.ask.exemplars(grant, query, span).await {
        Ok(found) => found.list,
        Err(error) => return json!({ "error": error.to_string() }),
    };
    let belongs = |one: &&SeriesExemplars| {
        let mut tags = one.labels.iter().filter(|(name, _)| TAGS.contains(name));
        tags.all(|(name, value)| of.get(name).is_none_or(|of| of == value))
    };
    let mut all: Vec<(&Labels, &Exemplar)> = found
        .iter()
        .filter(belongs)
        .flat_map(|one| one.exemplars.iter().map(move |exemplar| (&one.labels, exemplar)))
        .collect();
    all.sort_by(|(_, a), (_, b)| b.value.total_cmp(&a.value));
    let shown = all.iter().take(EXEMPLARS_MAX).map(|(series, exemplar)| {
        json!({
            "trace": exemplar.labels.get("trace_id"),
            "value": format_value(exemplar.value),
            "time": time::rfc3339(exemplar.timestamp_ns.div_euclid(1_000_000)),
            "series": series,
        })
    });
    Value::Array(shown.collect())
}

/// Returns alerts of the same name and commons that began before.
async fn similar(api: &Api, grant: &Grant, labels: &Labels, before_ms: i64) -> Value {
    let since_ms = before_ms.saturating_sub(SIMILAR_MS);
    let lines = match api.ledger.records(since_ms, before_ms, SCAN_MAX).await {
        Ok(lines) => lines,
        Err(error) => return json!({ "error": error.to_string() }),
    };
    let is_like = |other: &Labels| {
        ["alertname", "commons"].iter().all(|name| other.get(name) == labels.get(name))
    };
    let mut found: Vec<Value> = Vec::new();
    for line in lines.iter().rev() {
        let What::Joined { fingerprint, labels, starts_at_ms, .. } = &line.what else { continue };
        let one = json!({
            "fingerprint": fingerprint,
            "labels": labels,
            "startsAt": time::rfc3339(*starts_at_ms),
        });
        if *starts_at_ms < before_ms
            && is_like(labels)
            && may_see(grant, labels)
            && !found.contains(&one)
        {
            found.push(one);
        }
        if found.len() == SIMILAR_MAX {
            break;
        }
    }
    Value::Array(found)
}
