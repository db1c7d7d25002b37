//! `query`, `query_range`, `format_query`.

use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use http::HeaderMap;

use super::super::Api;
use super::super::ask::AskOptions;
use super::super::error::ApiError;
use super::super::json::success_value;
use super::super::params::Params;
use super::ask::LogqlFound;
use super::{Answered, params, render};
use crate::base::Kind;
use crate::model::Grant;
use crate::query::LogqlAnswer;
use crate::query::logql::{LogRange, Steps};

/// The header that asks for labels by where they came from.
const ENCODING_FLAGS: &str = "x-loki-response-encoding-flags";
const CATEGORIZE: &str = "categorize-labels";

/// Returns true when the caller wants labels by where they came from.
pub(super) fn is_categorized(headers: &HeaderMap) -> bool {
    let flags = headers.get_all(ENCODING_FLAGS).iter().filter_map(|value| value.to_str().ok());
    flags.flat_map(|flags| flags.split(',')).any(|flag| flag.trim() == CATEGORIZE)
}

pub(super) async fn instant(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    headers: HeaderMap,
    asked: Params,
) -> Answered {
    let time_ms = params::instant_ms(&asked, api.clock.now_ms())?;
    let limit = params::limit_of(&asked, 100)?;
    let query = asked.required("query")?;
    let range =
        LogRange { start_ns: 0, end_ns: 0, limit: limit.min(1), is_backward: true, interval_ns: 0 };
    let steps = Steps { start_ms: time_ms, end_ms: time_ms, step_ms: None };
    let begun_ns = api.clock.monotonic_ns();
    let found = api.logs.logql(&grant, query, range, steps, options_of(&asked)?).await;
    let took_ns = api.clock.monotonic_ns().saturating_sub(begun_ns);
    api.sources.asked(&headers, took_ns);
    let found = found?;
    if matches!(found.answer, LogqlAnswer::Lines(_)) {
        let text = "log queries are not supported as an instant query type, please change your \
                    query to a range query type";
        return Err(ApiError::new(Kind::BadInput, text).into());
    }
    Ok(respond(&found, is_categorized(&headers), took_ns))
}

pub(super) async fn range(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    headers: HeaderMap,
    asked: Params,
) -> Answered {
    let range = params::range_of(&asked, api.clock.now_ms())?;
    let step_ms = params::step_ms(&asked, (range.start_ns, range.end_ns))?;
    let query = asked.required("query")?;
    let steps = Steps {
        start_ms: range.start_ns.div_euclid(1_000_000),
        end_ms: range.end_ns.div_euclid(1_000_000),
        step_ms: Some(step_ms),
    };
    let begun_ns = api.clock.monotonic_ns();
    let found = api.logs.logql(&grant, query, range, steps, options_of(&asked)?).await;
    let took_ns = api.clock.monotonic_ns().saturating_sub(begun_ns);
    api.sources.asked(&headers, took_ns);
    let found = found?;
    Ok(respond(&found, is_categorized(&headers), took_ns))
}

fn options_of(asked: &Params) -> Result<AskOptions, ApiError> {
    let timeout_ms = asked.duration_ms("timeout")?.filter(|ms| *ms > 0);
    let timeout = timeout_ms.map(|ms| Duration::from_millis(ms.unsigned_abs()));
    Ok(AskOptions { timeout, ..AskOptions::default() })
}

fn respond(found: &LogqlFound, is_categorized: bool, took_ns: u64) -> axum::response::Response {
    match &found.answer {
        LogqlAnswer::Lines(answer) => {
            render::lines(answer, is_categorized, took_ns, &found.warnings)
        }
        LogqlAnswer::Numbers(answer, stats) => {
            render::numbers(answer, stats, took_ns, &found.warnings)
        }
    }
}

pub(super) async fn format(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    asked: Params,
) -> Answered {
    let formatted = api.logs.logql_format(&grant, asked.required("query")?).await?;
    Ok(success_value(&serde_json::Value::String(formatted)))
}
