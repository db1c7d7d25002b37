//! `search`, the menus, and metrics over HTTP.

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::{HeaderValue, StatusCode};

use super::super::error::answer;
use super::super::params::Params;
use super::super::received::InPath;
use super::super::{Api, time};
use super::error::TempoError;
use super::proto::{SearchRequest, SearchTagValuesRequest, SearchTagsRequest};
use super::write::ToJson;
use super::{PARTIAL, convert, questions};
use crate::model::Grant;
use crate::query::traceql::{Counted, Names, Values, parse_duration_ns};

const MS_NS: i64 = 1_000_000;

type Asked = Result<Response, TempoError>;

fn json(message: &impl ToJson, warnings: &[String]) -> Response {
    let mut out = String::new();
    message.push(&mut out);
    let mut response = answer(StatusCode::OK, "application/json", Body::from(out));
    if let Ok(lacks) = HeaderValue::from_str(&warnings.join("; "))
        && !warnings.is_empty()
    {
        response.headers_mut().insert(PARTIAL, lacks);
    }
    response
}

fn number(params: &Params, name: &str) -> Result<u32, TempoError> {
    let Some(text) = params.get(name) else { return Ok(0) };
    text.parse().map_err(|_| {
        TempoError::parameter(format!("invalid {name}: \"{text}\" is not a whole number"))
    })
}

fn text(params: &Params, name: &str) -> String {
    params.get(name).unwrap_or("").to_owned()
}

pub(super) async fn search(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    params: Params,
) -> Asked {
    let mut request = SearchRequest {
        tags: logfmt(params.get("tags").unwrap_or(""))?,
        min_duration_ms: duration_ms(&params, "minDuration")?,
        max_duration_ms: duration_ms(&params, "maxDuration")?,
        limit: number(&params, "limit")?,
        start: number(&params, "start")?,
        end: number(&params, "end")?,
        query: text(&params, "q"),
        spans_per_span_set: DEFAULT_SPSS,
    };
    if params.get("limit").is_some() && request.limit == 0 {
        return Err(TempoError::parameter("invalid limit: must be a positive number"));
    }
    if params.get("spss").is_some() {
        request.spans_per_span_set = number(&params, "spss")?;
    }
    let found = api.ask.search_traces(&grant, questions::search(&api, &request)?).await?;
    Ok(json(&convert::search(&found), &found.warnings))
}

/// Spans shown of each spanset, unless it is said.
pub(super) const DEFAULT_SPSS: u32 = 3;

fn duration_ms(params: &Params, name: &str) -> Result<u32, TempoError> {
    let Some(text) = params.get(name) else { return Ok(0) };
    let ms = parse_duration_ns(text).and_then(|ns| u32::try_from(ns / MS_NS).ok());
    ms.ok_or_else(|| TempoError::parameter(format!("invalid {name}: \"{text}\" is not a duration")))
}

/// Reads `key=value key2="value 2"`.
pub(super) fn logfmt(text: &str) -> Result<std::collections::HashMap<String, String>, TempoError> {
    let mut tags = std::collections::HashMap::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let end = rest.find(|c: char| c == '=' || c.is_whitespace()).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        let (value, after) = match after.strip_prefix('=') {
            Some(value) => logfmt_value(value)?,
            None => (String::new(), after),
        };
        if name.is_empty() {
            return Err(TempoError::parameter("invalid tags: a value without a name"));
        }
        if tags.insert(name.to_owned(), value).is_some() {
            return Err(TempoError::parameter(format!(
                "invalid tags: tag {name} has been set twice"
            )));
        }
        rest = after.trim_start();
    }
    Ok(tags)
}

fn logfmt_value(text: &str) -> Result<(String, &str), TempoError> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(char::is_whitespace).unwrap_or(text.len());
        return Ok((text[..end].to_owned(), &text[end..]));
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Ok((value, &quoted[at + 1..])),
            '\\' => value.extend(letters.next().map(|(_, letter)| letter)),
            other => value.push(other),
        }
    }
    Err(TempoError::parameter("invalid tags: a quote is not closed"))
}

async fn names(api: &Api, grant: &Grant, params: &Params) -> Result<Names, TempoError> {
    let request = SearchTagsRequest {
        scope: text(params, "scope"),
        query: text(params, "q"),
        start: number(params, "start")?,
        end: number(params, "end")?,
        limit: number(params, "limit")?,
    };
    let (menu, scope) = questions::tags(api, &request)?;
    Ok(api.ask.trace_tags(grant, menu, scope).await?)
}

pub(super) async fn tags(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    params: Params,
) -> Asked {
    Ok(json(&convert::tags(&names(&api, &grant, &params).await?), &[]))
}

pub(super) async fn tags_v2(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    params: Params,
) -> Asked {
    Ok(json(&convert::tags_v2(&names(&api, &grant, &params).await?), &[]))
}

async fn values(
    api: &Api,
    grant: &Grant,
    tag: &str,
    params: &Params,
    is_v2: bool,
) -> Result<Values, TempoError> {
    let request = SearchTagValuesRequest {
        // Grafana encodes it twice.
        tag_name: percent_decoded(tag),
        query: text(params, "q"),
        start: number(params, "start")?,
        end: number(params, "end")?,
        limit: number(params, "limit")?,
    };
    let (menu, attribute) = questions::tag_values(api, &request, is_v2)?;
    Ok(api.ask.trace_tag_values(grant, menu, attribute).await?)
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        let escaped = digits.and_then(|pair| u8::from_str_radix(pair, 16).ok());
        match (byte, escaped) {
            (b'%', Some(escaped)) => {
                bytes.push(escaped);
                rest = &after[2..];
            }
            _ => {
                bytes.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

pub(super) async fn tag_values(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    InPath(tag): InPath<String>,
    params: Params,
) -> Asked {
    Ok(json(&convert::values(&values(&api, &grant, &tag, &params, false).await?), &[]))
}

pub(super) async fn tag_values_v2(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    InPath(tag): InPath<String>,
    params: Params,
) -> Asked {
    Ok(json(&convert::values_v2(&values(&api, &grant, &tag, &params, true).await?), &[]))
}

async fn count(
    api: &Api,
    grant: &Grant,
    params: &Params,
    is_instant: bool,
) -> Result<Counted, TempoError> {
    let query = params.get("q").or(params.get("query")).unwrap_or("").to_owned();
    let now_ns = api.clock.now_ns();
    let end_ns = moment_ns(params, "end")?.unwrap_or(now_ns);
    let since_ns = params.duration_ms("since")?.unwrap_or(3_600_000).saturating_mul(1_000_000);
    let start_ns = moment_ns(params, "start")?.unwrap_or(end_ns.saturating_sub(since_ns));
    let step_ns = match (is_instant, params.get("step")) {
        (true, _) => None,
        (false, None) => Some(questions::default_step_ns(start_ns, end_ns)),
        (false, Some(_)) => Some(step_ns(params)?),
    };
    let asked = usize::try_from(number(params, "exemplars")?).unwrap_or(usize::MAX);
    let exemplars = params.get("exemplars").map(|_| asked);
    let wanted = questions::counting(query, (start_ns, end_ns), step_ns, exemplars)?;
    Ok(api.ask.count_spans(grant, wanted).await?)
}

fn step_ns(params: &Params) -> Result<i64, TempoError> {
    match params.duration_ms("step")? {
        Some(ms) if ms > 0 => Ok(ms.saturating_mul(1_000_000)),
        _ => Err(TempoError::parameter("invalid step: must be longer than 0")),
    }
}

/// Reads seconds of up to ten digits, ns of more, or a time in words.
fn moment_ns(params: &Params, name: &str) -> Result<Option<i64>, TempoError> {
    let Some(text) = params.get(name) else { return Ok(None) };
    let is_ns = text.len() > 10 && text.bytes().all(|byte| byte.is_ascii_digit());
    let ns = match is_ns {
        true => text.parse().ok(),
        false => time::parse_ms(text).and_then(|ms| ms.checked_mul(1_000_000)),
    };
    let wrong = || TempoError::parameter(format!("invalid {name}: \"{text}\" is not a time"));
    ns.ok_or_else(wrong).map(Some)
}

pub(super) async fn query_range(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    params: Params,
) -> Asked {
    let counted = count(&api, &grant, &params, false).await?;
    Ok(json(&convert::range(&counted), &counted.warnings))
}

pub(super) async fn query(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    params: Params,
) -> Asked {
    let counted = count(&api, &grant, &params, true).await?;
    Ok(json(&convert::instant(&counted), &counted.warnings))
}
