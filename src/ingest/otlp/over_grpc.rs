//! OTLP/gRPC: the unary `Export` of three services, as routes beside the HTTP ones, so that both
//! live on one port.
//!
//! A unary call is five bytes before the message and a status after the answer, so it is read here
//! by hand: tonic's server would answer a message that is too large with OUT_OF_RANGE, which OTLP
//! clients send again for ever, it does not bound zstd's window, and its limits are not those of the
//! rest of the door. tonic still writes the statuses.

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::{BodyExt as _, Full};
use prost::Message as _;
use tonic::Status;

use super::over_http::tenant;
use super::reply::{self, Fault, Format};
use super::{ExportBody, Otlp};
use crate::base::grpc::{Framed, framed};
use crate::ingest::pushes::Reading;
use crate::ingest::records::{Context, Decode, Decoded, Delivery, deliver};
use crate::ingest::{Encoding, IngestError, Lane, Outcome, Permit};
use crate::model::{Grant, Signal};

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
/// What `grpc-accept-encoding` says.
const ACCEPTED: HeaderValue = HeaderValue::from_static("gzip,zstd,deflate,identity");

/// Takes one export call.
pub(super) async fn export(otlp: Otlp, signal: Signal, request: Request) -> Response {
    let content_type = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if !content_type.is_some_and(|text| text.starts_with(b"application/grpc")) {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return response;
    }
    match take(otlp, signal, request).await {
        Ok(outcome) => accept(&reply::success(signal, &outcome, Format::Protobuf)),
        Err(fault) => refuse(&fault),
    }
}

async fn take(otlp: Otlp, signal: Signal, request: Request) -> Result<Outcome, Fault> {
    let (parts, body) = request.into_parts();
    let grant = parts.extensions.get::<Grant>().cloned().ok_or_else(Fault::unauthenticated)?;
    let message_compression = compression(&parts.headers).inspect_err(|error| {
        otlp.ingest.metrics.refused_request(Lane::otlp_grpc(signal), error.reason());
    })?;
    let delivery = Delivery {
        ingest: otlp.ingest,
        grant,
        tenant: tenant(&parts.headers),
        lane: Lane::otlp_grpc(signal),
        decode: Call { resources: otlp.resources, signal, message_compression },
    };
    Ok(deliver(delivery, body).await?)
}

/// Reads `grpc-encoding`, which only counts for messages that have the compressed flag.
fn compression(headers: &HeaderMap) -> Result<Encoding, IngestError> {
    let value = headers.get("grpc-encoding").map(HeaderValue::as_bytes).unwrap_or(b"identity");
    match value {
        b"identity" => Ok(Encoding::Identity),
        b"gzip" => Ok(Encoding::Gzip),
        b"zstd" => Ok(Encoding::Zstd),
        b"deflate" => Ok(Encoding::Deflate),
        _ => Err(IngestError::UnsupportedEncoding {
            got: String::from_utf8_lossy(value).into_owned(),
            wanted: "gzip, zstd, deflate or identity as grpc-encoding",
        }),
    }
}

/// How the body of one call is read.
#[derive(Debug)]
struct Call {
    resources: std::sync::Arc<super::ResourceCache>,
    signal: Signal,
    message_compression: Encoding,
}

impl Decode for Call {
    fn decode(
        &self,
        ctx: &Context<'_>,
        encoded: &[u8],
        permit: &mut Permit,
    ) -> Result<(usize, Decoded), IngestError> {
        let (is_compressed, message) = only_message(encoded)?;
        let compression = match (is_compressed, self.message_compression) {
            (false, _) => Encoding::Identity,
            (true, Encoding::Identity) => {
                let text = "the message is marked as compressed, and there is no grpc-encoding";
                return Err(IngestError::Invalid(text.to_owned()));
            }
            (true, compression) => compression,
        };
        let resources = std::sync::Arc::clone(&self.resources);
        let format = Format::Protobuf;
        ExportBody { resources, signal: self.signal, compression, format }
            .decode(ctx, message, permit)
    }

    fn reading(&self) -> Option<Reading> {
        super::reading(self.signal, Format::Protobuf, self.message_compression)
    }
}

/// Returns the compressed flag and the bytes of the one message of a unary call.
fn only_message(body: &[u8]) -> Result<(bool, &[u8]), IngestError> {
    let invalid = |text: String| Err(IngestError::Invalid(text));
    let Some(Framed { flag, n_bytes, message }) = Framed::of(body) else {
        return invalid(format!("the call has {} bytes, not even a message's prefix", body.len()));
    };
    if n_bytes != message.len() {
        let n_there = message.len();
        return invalid(format!("the message should have {n_bytes} bytes, and {n_there} came"));
    }
    match flag {
        0 => Ok((false, message)),
        1 => Ok((true, message)),
        _ => invalid(format!("the compressed flag is {flag}, neither 0 nor 1")),
    }
}

fn accept(message: &[u8]) -> Response {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let body = Full::new(framed(message)).with_trailers(async move { Some(Ok(trailers)) });
    let mut response = Response::new(Body::new(body));
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response.headers_mut().insert("grpc-accept-encoding", ACCEPTED);
    response
}

/// Answers with headers alone, which is how gRPC says that there is no message.
fn refuse(fault: &Fault) -> Response {
    let details = match fault.retry_after_s {
        Some(_) => Bytes::from(fault.rpc_status().encode_to_vec()),
        None => Bytes::new(),
    };
    let status = Status::with_details(fault.code, fault.message.clone(), details);
    let mut response: Response = status.into_http();
    response.headers_mut().insert("grpc-accept-encoding", ACCEPTED);
    response
}

/// What the fuzz targets call.
#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing {
    use super::{Call, Context, Decode as _, Decoded, Encoding, IngestError, Signal};
    use crate::ingest::fuzzing::Room;

    /// Reads a call's body.
    pub(in crate::ingest::otlp) fn grpc_call(
        room: &Room,
        signal: Signal,
        message_compression: Encoding,
        body: &[u8],
    ) -> Result<Decoded, IngestError> {
        let call = Call { resources: std::sync::Arc::default(), signal, message_compression };
        let ctx = Context::new(&room.ingest, room.sender());
        let mut permit = room.ingest.admit.enter(&room.grant.name);
        call.decode(&ctx, body, &mut permit).map(|(_, decoded)| decoded)
    }
}
