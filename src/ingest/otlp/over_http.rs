//! OTLP/HTTP: a POST of protobuf or JSON, answered in kind.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::reply::{self, Fault, Format};
use super::{ExportBody, Otlp};
use crate::ingest::records::{Delivery, deliver};
use crate::ingest::remote_write::TENANT_HEADER;
use crate::ingest::{Encoding, IngestError, Lane, Outcome};
use crate::model::{Grant, Signal};

/// Takes one export request.
pub(super) async fn export(otlp: Otlp, signal: Signal, request: Request) -> Response {
    let format = format_of(request.headers());
    let answer_format = *format.as_ref().unwrap_or(&Format::Json);
    let result = match format {
        Ok(format) => take(otlp, signal, format, request).await,
        Err(error) => {
            otlp.ingest.metrics.refused_request(Lane::otlp_http(signal), error.reason());
            Err(error.into())
        }
    };
    match result {
        Ok(outcome) => {
            let body = reply::success(signal, &outcome, answer_format);
            answer(StatusCode::OK, answer_format, body)
        }
        Err(fault) => refuse(&fault, answer_format),
    }
}

async fn take(
    otlp: Otlp,
    signal: Signal,
    format: Format,
    request: Request,
) -> Result<Outcome, Fault> {
    let (parts, body) = request.into_parts();
    let grant = parts.extensions.get::<Grant>().cloned().ok_or_else(Fault::unauthenticated)?;
    let compression = Encoding::from_headers(&parts.headers).inspect_err(|error| {
        otlp.ingest.metrics.refused_request(Lane::otlp_http(signal), error.reason());
    })?;
    let resources = otlp.resources;
    let delivery = Delivery {
        ingest: otlp.ingest,
        grant,
        tenant: tenant(&parts.headers),
        lane: Lane::otlp_http(signal),
        decode: ExportBody { resources, signal, compression, format },
    };
    Ok(deliver(delivery, body).await?)
}

/// Returns the tenant header.
pub(in crate::ingest) fn tenant(headers: &HeaderMap) -> Option<String> {
    headers.get(TENANT_HEADER).and_then(|value| value.to_str().ok()).map(str::to_owned)
}

fn format_of(headers: &HeaderMap) -> Result<Format, IngestError> {
    let content_type = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let content_type = String::from_utf8_lossy(content_type);
    let essence = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/x-protobuf" | "application/protobuf" => Ok(Format::Protobuf),
        "application/json" => Ok(Format::Json),
        _ => Err(IngestError::UnsupportedType {
            got: content_type.into_owned(),
            wanted: "application/x-protobuf or application/json",
        }),
    }
}

fn answer(status: StatusCode, format: Format, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let content_type = HeaderValue::from_static(format.content_type());
    response.headers_mut().insert(CONTENT_TYPE, content_type);
    response
}

fn refuse(fault: &Fault, format: Format) -> Response {
    let mut response = answer(fault.status, format, fault.body(format));
    if let Some(retry_after_s) = fault.retry_after_s {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after_s));
    }
    response
}
