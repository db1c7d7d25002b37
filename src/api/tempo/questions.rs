//! Questions as they are asked over HTTP and over gRPC alike: what is left unsaid is filled in here,
//! and what makes no sense is refused in Tempo's words.

use regex::escape;

use super::super::Api;
use super::error::TempoError;
use super::proto::{SearchRequest, SearchTagValuesRequest, SearchTagsRequest};
use crate::query::traceql::{
    Attribute, Counting, EXEMPLARS_MAX, Menu, Scope, Search, parse_attribute, scope_named,
};

const SECOND_NS: i64 = 1_000_000_000;
/// What is searched when no time is said: Tempo looks at what is recent.
const RECENT_NS: i64 = 3_600 * SECOND_NS;
const TRACES: u32 = 20;
const TAGS: u32 = 5_000;

fn bad(message: impl Into<String>) -> TempoError {
    TempoError::parameter(message)
}

/// Returns a range in ns from seconds, the last one included.
pub(super) fn range_ns(api: &Api, start_s: u32, end_s: u32) -> Result<(i64, i64), TempoError> {
    let now_ns = api.clock.now_ns();
    if (start_s, end_s) == (0, 0) {
        return Ok((now_ns.saturating_sub(RECENT_NS), i64::MAX));
    }
    if end_s <= start_s {
        return Err(bad(format!(
            "http parameter start must be before end. received start={start_s} end={end_s}"
        )));
    }
    Ok((i64::from(start_s) * SECOND_NS, i64::from(end_s) * SECOND_NS + SECOND_NS - 1))
}

/// Returns a search; `spans_per_span_set` of 0 is all.
pub(super) fn search(api: &Api, request: &SearchRequest) -> Result<Search, TempoError> {
    let (start_ns, end_ns) = range_ns(api, request.start, request.end)?;
    let limit = if request.limit == 0 { TRACES } else { request.limit };
    Ok(Search {
        query: query_of(request)?,
        start_ns,
        end_ns,
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
        spans_per_set: usize::try_from(request.spans_per_span_set).unwrap_or(usize::MAX),
    })
}

/// Returns the TraceQL of a search; tags, which were there before it, are written as such.
pub(super) fn query_of(request: &SearchRequest) -> Result<String, TempoError> {
    let has_tags = !request.tags.is_empty();
    if !request.query.is_empty() {
        return match has_tags {
            true => Err(bad("invalid request: can't specify tags and q in the same query")),
            false => Ok(request.query.clone()),
        };
    }
    let (min_ms, max_ms) = (request.min_duration_ms, request.max_duration_ms);
    if max_ms != 0 && max_ms < min_ms {
        return Err(bad("invalid maxDuration: must be greater than minDuration"));
    }
    let mut conditions = Vec::new();
    for (name, value) in &request.tags {
        conditions.push(tag_condition(name, value));
    }
    conditions.sort_unstable();
    if min_ms > 0 {
        conditions.push(format!("traceDuration >= {min_ms}ms"));
    }
    if max_ms > 0 {
        conditions.push(format!("traceDuration <= {max_ms}ms"));
    }
    Ok(format!("{{ {} }}", conditions.join(" && ")))
}

/// A tag matches a part of the value, in any case.
fn tag_condition(name: &str, value: &str) -> String {
    let pattern = format!("(?i).*{}.*", escape(value)).replace('\\', "\\\\").replace('"', "\\\"");
    let attribute = match name {
        "error" if value == "true" => return "status = error".to_owned(),
        "status.code" if ["ok", "error", "unset"].contains(&value) => {
            return format!("status = {value}");
        }
        "name" => "name".to_owned(),
        "root.name" => "rootName".to_owned(),
        "root.service.name" => "rootServiceName".to_owned(),
        name => Attribute::named(Scope::Any, name).to_string(),
    };
    let text = format!("{attribute} =~ \"{pattern}\"");
    // Numbers and truths are no texts.
    let is_plain = value.parse::<f64>().is_ok_and(f64::is_finite)
        && value.starts_with(|c: char| c.is_ascii_digit());
    match is_plain || ["true", "false"].contains(&value) {
        true if attribute.starts_with('.') => format!("({text} || {attribute} = {value})"),
        _ => text,
    }
}

/// Returns whose names are asked for.
pub(super) fn tags(
    api: &Api,
    request: &SearchTagsRequest,
) -> Result<(Menu, Option<&'static str>), TempoError> {
    let (start_ns, end_ns) = range_ns(api, request.start, request.end)?;
    let scope = scope_named(&request.scope)
        .map_err(|_| bad(format!("invalid scope: {}", request.scope)))?;
    Ok((menu(&request.query, (start_ns, end_ns), request.limit), scope))
}

/// Returns which values are asked for; version 2 wants a name that TraceQL knows.
pub(super) fn tag_values(
    api: &Api,
    request: &SearchTagValuesRequest,
    is_v2: bool,
) -> Result<(Menu, Attribute), TempoError> {
    let range = range_ns(api, request.start, request.end)?;
    let name = &request.tag_name;
    let attribute = match parse_attribute(name) {
        Ok(attribute) => attribute,
        Err(_) if !is_v2 => Attribute::named(Scope::Any, name.clone()),
        Err(_) => {
            let message = format!("tag name is not valid intrinsic or scoped attribute: {name}");
            return Err(bad(message));
        }
    };
    Ok((menu(&request.query, range, request.limit), attribute))
}

fn menu(query: &str, (start_ns, end_ns): (i64, i64), limit: u32) -> Menu {
    let limit = if limit == 0 { TAGS } else { limit };
    Menu {
        query: (!query.trim().is_empty()).then(|| query.to_owned()),
        start_ns,
        end_ns,
        limit: usize::try_from(limit.min(10 * TAGS)).unwrap_or(usize::MAX),
    }
}

/// Returns what is counted; no step is one value for the whole range, which has no exemplars. Unless
/// it is said how many of those, as many as there may be.
pub(super) fn counting(
    query: String,
    (start_ns, end_ns): (i64, i64),
    step_ns: Option<i64>,
    exemplars: Option<usize>,
) -> Result<Counting, TempoError> {
    if query.is_empty() {
        return Err(bad("query is required"));
    }
    if end_ns <= start_ns {
        let message = "http parameter start must be before end";
        return Err(bad(format!("{message}. received start={start_ns} end={end_ns}")));
    }
    let exemplars = match step_ns {
        None => 0,
        Some(_) => exemplars.unwrap_or(EXEMPLARS_MAX),
    };
    Ok(Counting { query, start_ns, end_ns, step_ns, exemplars })
}

/// Returns the step of a question that names none, as Tempo chooses it.
pub(super) fn default_step_ns(start_ns: i64, end_ns: i64) -> i64 {
    let baseline_ns = end_ns.saturating_sub(start_ns) / 240;
    if end_ns.saturating_sub(start_ns) < 60 * SECOND_NS {
        let unit_ns = SECOND_NS / 20;
        return (baseline_ns / unit_ns * unit_ns).max(unit_ns);
    }
    let units = [3_600, 300, 60, 15, 5, 1].map(|s| s * SECOND_NS);
    match units.into_iter().find(|unit| *unit < baseline_ns) {
        Some(unit) => baseline_ns / unit * unit,
        None => SECOND_NS,
    }
}
