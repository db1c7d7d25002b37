//! SQL over HTTP: a statement in, rows out as JSON, CSV, NDJSON or an Arrow stream; rows of `points`
//! also as the OTLP that they came as.

use arrow::error::ArrowError;
use axum::Extension;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::header::{ACCEPT, CONTENT_TYPE, HeaderName};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::LengthLimitError;
use serde::Deserialize;

use super::Api;
use super::ask::AskOptions;
use super::error::{ApiError, answer, not_acceptable, partial};
use super::points;
use super::route::{Need, Routes};
use crate::base::Kind;
use crate::base::units::HumanDuration;
use crate::model::Grant;
use crate::query::{Param, SqlAnswer};

pub(super) fn add(routes: &mut Routes) {
    routes.post("/api/v1/sql", Need::Sql, sql);
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    query: String,
    #[serde(default)]
    params: Vec<Param>,
    /// The deadline the caller wants; `query.timeout_max` still holds.
    #[serde(default)]
    timeout: Option<HumanDuration>,
}

/// How the rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Csv,
    NdJson,
    ArrowStream,
    Otlp,
}

impl Format {
    const ALL: [(&'static str, Format); 6] = [
        ("application/json", Format::Json),
        ("text/csv", Format::Csv),
        ("application/x-ndjson", Format::NdJson),
        ("application/vnd.apache.arrow.stream", Format::ArrowStream),
        ("application/x-protobuf", Format::Otlp),
        ("application/ndjson", Format::NdJson),
    ];

    /// Returns the format that `Accept` wants most of those that we write, the first of equals; JSON
    /// when there is no such header or anything goes. The error says what we write.
    fn of(headers: &HeaderMap) -> Result<Self, String> {
        let Some(accept) = headers.get(ACCEPT).and_then(|value| value.to_str().ok()) else {
            return Ok(Format::Json);
        };
        let mut best: Option<(f32, Self)> = None;
        for (format, weight) in accept.split(',').filter_map(Self::wanted) {
            if best.is_none_or(|(most, _)| weight > most) {
                best = Some((weight, format));
            }
        }
        best.map(|(_, format)| format).ok_or_else(|| {
            let known: Vec<&str> = Self::ALL[..5].iter().map(|(name, _)| *name).collect();
            format!("cannot answer as `{accept}`: wanted one of {}", known.join(", "))
        })
    }

    /// Reads one of the types in `Accept`: the format and how much it is wanted, unless that is
    /// not at all.
    fn wanted(range: &str) -> Option<(Self, f32)> {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or("").to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=")?.parse().ok()).unwrap_or(1.0);
        let format = match name.as_str() {
            "" | "*/*" | "application/*" => Format::Json,
            "text/*" => Format::Csv,
            name => Self::ALL.iter().find(|(known, _)| *known == name)?.1,
        };
        (weight > 0.0).then_some((format, weight))
    }

    fn content_type(self) -> &'static str {
        Self::ALL.iter().find(|(_, format)| *format == self).expect("all are listed").0
    }
}

async fn sql(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    request: Request,
) -> Result<Response, ApiError> {
    let format = match Format::of(request.headers()) {
        Ok(format) => format,
        Err(message) => return Ok(not_acceptable(message)),
    };
    let question = question_of(request).await?;
    let timeout = question.timeout.map(|timeout| timeout.0);
    let options = AskOptions { timeout, ..AskOptions::default() };
    let rows = api.ask.sql(&grant, &question.query, question.params, options).await?;
    let truncated = rows.truncated.map(|limit| HeaderValue::from_static(limit.key()));
    let warnings = rows.warnings.clone();
    let written = tokio::task::spawn_blocking(move || write_rows(&rows, format)).await;
    let body = written.map_err(|_| ApiError::new(Kind::Internal, "writing the rows panicked"))?;
    let body = body.map_err(|error| unwritten(&api, &error))?;
    let mut response = answer(StatusCode::OK, format.content_type(), Body::from(body));
    if let Some(limit) = truncated {
        response.headers_mut().insert(TRUNCATED, limit);
    }
    Ok(partial(response, &warnings))
}

/// Such as of a time in the year 292 billion, or of names that make a small answer a long one.
fn unwritten(api: &Api, error: &ArrowError) -> ApiError {
    if let Some(key) = SqlAnswer::limit_of(error) {
        api.ask.limited(key);
    }
    ApiError::new(Kind::Execution, format!("cannot write the rows: {error}"))
}

/// Names the limit when rows are missing because of it; CSV and NDJSON have no other place for it.
const TRUNCATED: HeaderName = HeaderName::from_static("x-commonwatch-truncated");

async fn question_of(request: Request) -> Result<Question, ApiError> {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
    let is_json = content_type.is_some_and(|t| t.starts_with("application/json"));
    let body = axum::body::to_bytes(request.into_body(), super::QUESTION_BYTES_MAX).await;
    let body = body.map_err(|error| {
        let source = std::error::Error::source(&error);
        if source.is_some_and(<dyn std::error::Error>::is::<LengthLimitError>) {
            let max = super::QUESTION_BYTES_MAX;
            return ApiError::new(
                Kind::TooLarge,
                format!("the statement has more than {max} bytes"),
            );
        }
        ApiError::new(Kind::BadInput, format!("the statement did not arrive whole: {error}"))
    })?;
    let wrong = |message: String| ApiError::new(Kind::BadInput, message);
    if is_json {
        return serde_json::from_slice(&body).map_err(|error| {
            wrong(format!("the body is not {{\"query\": \"…\", \"params\": […]}}: {error}"))
        });
    }
    let query = String::from_utf8(body.to_vec())
        .map_err(|error| wrong(format!("the statement is not UTF-8: {error}")))?;
    if query.trim().is_empty() {
        return Err(wrong("the statement is empty".to_owned()));
    }
    Ok(Question { query, params: Vec::new(), timeout: None })
}

fn write_rows(rows: &SqlAnswer, format: Format) -> Result<Vec<u8>, ArrowError> {
    match format {
        Format::Json => rows.to_json().map(String::into_bytes),
        Format::NdJson => rows.to_ndjson().map(String::into_bytes),
        Format::Csv => rows.to_csv().map(String::into_bytes),
        Format::ArrowStream => rows.to_arrow_ipc(),
        Format::Otlp => points::export(&rows.batches),
    }
}
