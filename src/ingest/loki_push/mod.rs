//! Loki push: `POST /loki/api/v1/push`, as Alloy, Promtail, Fluent Bit and Faro's receiver send it.
//!
//! Without a JSON content type the body is protobuf in snappy's block format, whatever the headers
//! say, because that is what Loki does. Answers are Loki's: 204 without a body, or plain text.
//! When single entries are refused the others are stored all the same, and the answer is a 400
//! with counts, which clients do not send again.

mod entries;
mod json;
mod labels;
mod protobuf;

#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
#[cfg(test)]
mod tests;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::post;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::metrics::Lane;
use super::otlp::tenant;
use super::pushes::Reading;
use super::records::{Context, Decode, Decoded, Delivery, deliver};
use super::{Encoding, Ingest, IngestError, Outcome, Permit};
use crate::model::Grant;

/// Returns the route of Loki's push. A request needs a `Grant` among its extensions.
pub fn router(ingest: Ingest) -> Router {
    Router::new()
        .route("/loki/api/v1/push", post(move |request: Request| push(ingest.clone(), request)))
}

async fn push(ingest: Ingest, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let Some(grant) = parts.extensions.get::<Grant>().cloned() else {
        return text(StatusCode::UNAUTHORIZED, "no credential: send one with the request");
    };
    let decode = match PushBody::from_headers(&parts.headers) {
        Ok(decode) => decode,
        Err(error) => {
            ingest.metrics.refused_request(Lane::LOKI, error.reason());
            return refuse(&error);
        }
    };
    let tenant = tenant(&parts.headers);
    let delivery = Delivery { ingest, grant, tenant, lane: Lane::LOKI, decode };
    match deliver(delivery, body).await {
        Ok(outcome) => answer(&outcome),
        Err(error) => refuse(&error),
    }
}

/// How the body of one push is read.
#[derive(Debug)]
struct PushBody {
    is_json: bool,
    compression: Encoding,
}

impl PushBody {
    fn from_headers(headers: &HeaderMap) -> Result<Self, IngestError> {
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = content_type.and_then(|text| text.split(';').next()).unwrap_or("").trim();
        let is_json = essence.eq_ignore_ascii_case("application/json");
        let compression = match Encoding::from_headers(headers) {
            // Loki ignores `snappy` on JSON, and protobuf is in snappy whether it says so or not.
            Ok(Encoding::Identity | Encoding::Snappy) if is_json => Encoding::Identity,
            Ok(Encoding::Identity | Encoding::Snappy) => Encoding::Snappy,
            Ok(encoding) => encoding,
            Err(_) => {
                let got = headers.get(CONTENT_ENCODING).map(HeaderValue::as_bytes);
                let got = String::from_utf8_lossy(got.unwrap_or_default());
                let message = format!("Content-Encoding {got:?} not supported");
                return Err(IngestError::Invalid(message));
            }
        };
        Ok(Self { is_json, compression })
    }
}

impl Decode for PushBody {
    fn decode(
        &self,
        ctx: &Context<'_>,
        encoded: &[u8],
        permit: &mut Permit,
    ) -> Result<(usize, Decoded), IngestError> {
        let bodies = &ctx.ingest.bodies;
        let body = bodies.decompress(self.compression, encoded, permit)?;
        if self.is_json {
            return Ok((body.len(), json::decode(ctx, &body)?));
        }
        if self.compression == Encoding::Snappy {
            return Ok((body.len(), protobuf::decode(ctx, &body)?));
        }
        // gzip around snappy: Loki takes the outer layer off, and the inner one as always.
        let inner = bodies.decompress(Encoding::Snappy, &body, permit)?;
        Ok((inner.len(), protobuf::decode(ctx, &inner)?))
    }

    fn reading(&self) -> Option<Reading> {
        Some(Reading { is_json: self.is_json, compression: self.compression })
    }
}

fn answer(outcome: &Outcome) -> Response {
    match outcome.message("entries") {
        None => text(StatusCode::NO_CONTENT, ""),
        Some(message) => text(StatusCode::BAD_REQUEST, &message),
    }
}

fn refuse(error: &IngestError) -> Response {
    // Loki knows no 415.
    let status = match error.status() {
        StatusCode::UNSUPPORTED_MEDIA_TYPE => StatusCode::BAD_REQUEST,
        status => status,
    };
    let mut response = text(status, &error.to_string());
    if let Some(retry_after_s) = error.retry_after_s() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after_s));
    }
    response
}

fn text(status: StatusCode, message: &str) -> Response {
    if message.is_empty() {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        return response;
    }
    let mut response = Response::new(Body::from(format!("{message}\n")));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    response
}
