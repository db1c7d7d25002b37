//! What Logs Drilldown learns of lines: labels that tell them apart, and fields.

use std::collections::{BTreeMap, BTreeSet};

use axum::Extension;
use axum::extract::State;
use serde_json::{Value, json};

use super::super::Api;
use super::super::error::ApiError;
use super::super::json::answer_value;
use super::super::params::Params;
use super::super::received::InPath;
use super::explore::{newest, pairs, streams};
use super::{Answered, params};
use crate::model::Grant;
use crate::query::logql::LogRange;

/// Labels that tell apart where lines come from, whatever their values look like.
const ALWAYS: [&str; 8] =
    ["cluster", "namespace", "instance", "pod", "commons", "service", "env", "service_name"];

pub(super) async fn labels(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    asked: Params,
) -> Answered {
    let (found, _) = streams(&api, &grant, &asked, None).await?;
    let mut values: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (name, value) in found.streams.iter().flat_map(pairs) {
        values.entry(name).or_default().insert(value);
    }
    values.retain(|name, values| ALWAYS.contains(name) || says_something(values));
    let labels = values.iter().map(|(name, v)| json!({ "label": name, "cardinality": v.len() }));
    Ok(answer_value(&json!({ "detectedLabels": labels.collect::<Vec<_>>() })))
}

/// A label whose every value is a number or an id tells nothing apart; `0` and `1` alone are yes and no.
fn says_something(values: &BTreeSet<&str>) -> bool {
    let is_answer = |value: &&str| matches!(*value, "0" | "1");
    values.iter().all(is_answer) || values.iter().any(|value| !is_id(value))
}

fn is_id(value: &str) -> bool {
    let is_hex = |c: char| c.is_ascii_hexdigit() || c == '-';
    value.parse::<f64>().is_ok() || (value.len() >= 32 && value.chars().all(is_hex))
}

/// Lines that fields are learned from, unless the caller says; and the most.
const FIELD_LINES: usize = 1_000;
/// Fields of an answer, or values of one, unless the caller says.
const FIELDS: usize = 1_000;

/// Returns which lines fields are learned from, and how many fields or values the answer may have.
fn fields_asked(asked: &Params, now_ms: i64) -> Result<(LogRange, usize), ApiError> {
    let n_lines = params::limit_named(asked, "line_limit", FIELD_LINES)?.min(FIELD_LINES);
    // The older name of `limit`.
    let n_max = params::limit_named(asked, "field_limit", FIELDS)?;
    Ok((newest(asked, now_ms, n_lines)?, params::limit_of(asked, n_max)?))
}

pub(super) async fn fields(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    asked: Params,
) -> Answered {
    let (range, n_max) = fields_asked(&asked, api.clock.now_ms())?;
    let found = api.logs.log_fields(&grant, asked.required("query")?, range).await?;
    let fields: Vec<Value> = found
        .iter()
        .take(n_max)
        .map(|field| {
            let parsers: Vec<&str> = field.parsers.iter().copied().collect();
            let mut shown = json!({
                "label": field.name,
                "type": field.kind,
                "cardinality": field.values.len(),
                "parsers": if parsers.is_empty() { Value::Null } else { json!(parsers) },
            });
            if !field.json_path.is_empty() {
                shown["jsonPath"] = json!(field.json_path);
            }
            shown
        })
        .collect();
    Ok(answer_value(&json!({ "fields": fields, "limit": n_max })))
}

pub(super) async fn values(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    InPath(name): InPath<String>,
    asked: Params,
) -> Answered {
    let (range, n_max) = fields_asked(&asked, api.clock.now_ms())?;
    let found = api.logs.log_fields(&grant, asked.required("query")?, range).await?;
    let field = found.into_iter().find(|field| field.name == name);
    let values = field.into_iter().flat_map(|field| field.values).take(n_max);
    let values: Vec<String> = values.collect();
    Ok(answer_value(&json!({ "values": values, "limit": n_max })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ids_tell_nothing_apart_but_yes_and_no_do() {
        for (values, want) in [
            ("prod 7", true),
            ("7 8.5", false),
            ("0af76519-16cd-43dd-8448-eb211c80319c", false),
            ("0 1", true),
            ("0 1 2", false),
        ] {
            let values: BTreeSet<&str> = values.split(' ').collect();
            assert_eq!(says_something(&values), want, "{values:?}");
        }
    }
}
