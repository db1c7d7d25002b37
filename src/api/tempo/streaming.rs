//! `tempopb.StreamingQuerier`: the same questions over gRPC, on the same port.
//!
//! Tempo streams what it has found so far; the last message holds everything, and here it is the
//! only one.

use std::future::Future;

use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use http_body_util::{BodyExt as _, Full};
use prost::Message;

use super::super::Api;
use super::super::error::{ApiError, Dialect};
use super::error::TempoError;
use super::proto::{QueryRangeRequest, SearchRequest, SearchTagValuesRequest, SearchTagsRequest};
use super::search::DEFAULT_SPSS;
use super::{convert, questions};
use crate::base::Kind;
use crate::base::grpc::{Framed, framed};
use crate::model::Grant;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// Reads a call, answers it, and says how that went in gRPC's way.
async fn call<Q, A, F>(request: Request, ask: impl FnOnce(Q) -> F) -> Response
where
    Q: Message + Default,
    A: Message,
    F: Future<Output = Result<A, TempoError>>,
{
    let is_grpc = request
        .headers()
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    if !is_grpc {
        let message = "this is a gRPC method: it is called with content-type application/grpc";
        return ApiError::new(Kind::BadInput, message).into_response();
    }
    let answered = match message_of(request).await {
        Ok(question) => ask(question).await,
        Err(error) => Err(error),
    };
    match answered {
        Ok(message) => accept(&message.encode_to_vec()),
        Err(TempoError(error)) => error.into_dialect(Dialect::Grpc),
    }
}

async fn message_of<Q: Message + Default>(request: Request) -> Result<Q, TempoError> {
    let max = super::super::QUESTION_BYTES_MAX;
    let body: Bytes = axum::body::to_bytes(request.into_body(), max).await.map_err(|error| {
        TempoError::parameter(format!("the call did not arrive whole: {error}"))
    })?;
    decoded(&body)
}

/// Reads the message of a call's body.
pub(super) fn decoded<Q: Message + Default>(body: &[u8]) -> Result<Q, TempoError> {
    let Some(Framed { flag, n_bytes, message }) = Framed::of(body) else {
        return Err(TempoError::parameter("the call has no message"));
    };
    if flag != 0 {
        return Err(TempoError::parameter("compressed messages are not read here"));
    }
    if n_bytes != message.len() {
        return Err(TempoError::parameter("the message has another length than it says"));
    }
    Q::decode(message)
        .map_err(|error| TempoError::parameter(format!("the message cannot be read: {error}")))
}

fn accept(message: &[u8]) -> Response {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(framed(message)).with_trailers(async move { Some(Ok(trailers)) });
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response
}

pub(super) async fn search(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    request: Request,
) -> Response {
    call(request, async |mut question: SearchRequest| {
        if question.spans_per_span_set == 0 {
            question.spans_per_span_set = DEFAULT_SPSS;
        }
        let wanted = questions::search(&api, &question)?;
        Ok(convert::search(&api.ask.search_traces(&grant, wanted).await?))
    })
    .await
}

pub(super) async fn tags(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    request: Request,
) -> Response {
    call(request, async |question: SearchTagsRequest| {
        let (menu, scope) = questions::tags(&api, &question)?;
        Ok(convert::tags(&api.ask.trace_tags(&grant, menu, scope).await?))
    })
    .await
}

pub(super) async fn tags_v2(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    request: Request,
) -> Response {
    call(request, async |question: SearchTagsRequest| {
        let (menu, scope) = questions::tags(&api, &question)?;
        Ok(convert::tags_v2(&api.ask.trace_tags(&grant, menu, scope).await?))
    })
    .await
}

pub(super) async fn tag_values(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    request: Request,
) -> Response {
    call(request, async |question: SearchTagValuesRequest| {
        let (menu, attribute) = questions::tag_values(&api, &question, false)?;
        Ok(convert::values(&api.ask.trace_tag_values(&grant, menu, attribute).await?))
    })
    .await
}

pub(super) async fn tag_values_v2(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    request: Request,
) -> Response {
    call(request, async |question: SearchTagValuesRequest| {
        let (menu, attribute) = questions::tag_values(&api, &question, true)?;
        Ok(convert::values_v2(&api.ask.trace_tag_values(&grant, menu, attribute).await?))
    })
    .await
}

pub(super) async fn query_range(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    request: Request,
) -> Response {
    call(request, async |question: QueryRangeRequest| {
        let range = range_ns(&question);
        let step_ns = match i64::try_from(question.step).unwrap_or(i64::MAX) {
            0 => questions::default_step_ns(range.0, range.1),
            step_ns => step_ns,
        };
        // In protobuf 0 is what was left out.
        let exemplars = usize::try_from(question.exemplars).ok().filter(|n| *n > 0);
        let wanted = questions::counting(question.query, range, Some(step_ns), exemplars)?;
        Ok(convert::range(&api.ask.count_spans(&grant, wanted).await?))
    })
    .await
}

pub(super) async fn query_instant(
    State(api): State<Api>,
    Extension(grant): Extension<Grant>,
    request: Request,
) -> Response {
    call(request, async |question: QueryRangeRequest| {
        let range = range_ns(&question);
        let wanted = questions::counting(question.query, range, None, None)?;
        Ok(convert::instant(&api.ask.count_spans(&grant, wanted).await?))
    })
    .await
}

/// Times of metrics questions are ns.
fn range_ns(question: &QueryRangeRequest) -> (i64, i64) {
    let ns = |ns: u64| i64::try_from(ns).unwrap_or(i64::MAX);
    (ns(question.start), ns(question.end))
}
