//! OTLP: logs, traces and metrics, over gRPC and HTTP, in protobuf and JSON, on every port.
//!
//! The bytes are walked where they lie and written straight into columns; no message is ever built.
//! JSON is turned into protobuf first, so there is one walker a signal.
//!
//! ```text
//! http ─┐                      ┌ logs    ┐
//!       ├ (json ->) protobuf ──┼ spans   ┼─> records::deliver -> reply
//! grpc ─┘                      └ metrics ┘
//! ```
//!
//! What single records do wrong is told in `partial_success`, and clients do not send them again;
//! an error is for the whole request. When you read another field, also add it to `json::tables`.

pub mod config;

mod json;
mod json_text;
mod memo;

mod resource;

mod logs;
mod metrics;
mod scope;
mod spans;

mod over_grpc;
mod over_http;
mod reply;

#[cfg(any(test, fuzzing))]
pub(super) mod fuzzing;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use axum::Router;
use axum::routing::post;

use super::pushes::Reading;
use super::records::{Context, Decode, Decoded};
use super::{Encoding, Ingest, IngestError, Permit};
use crate::model::Signal;
pub use config::Config;
pub(super) use over_http::tenant;
use reply::Format;
use resource::ResourceCache;

/// What the handlers share.
#[derive(Debug, Clone)]
struct Otlp {
    ingest: Ingest,
    resources: Arc<ResourceCache>,
}

/// Returns the routes of OTLP/HTTP and OTLP/gRPC; both work on whichever port they are mounted. A
/// request needs a `Grant` among its extensions.
pub fn router(ingest: Ingest) -> Router {
    let otlp = Otlp { ingest, resources: Arc::default() };
    let mut router = Router::new();
    for (signal, name, service) in [
        (Signal::Logs, "logs", "logs.v1.LogsService"),
        (Signal::Spans, "traces", "trace.v1.TraceService"),
        (Signal::Metrics, "metrics", "metrics.v1.MetricsService"),
    ] {
        let on_http = |otlp: &Otlp| {
            let otlp = otlp.clone();
            post(move |request| over_http::export(otlp.clone(), signal, request))
        };
        router = router
            .route(&format!("/v1/{name}"), on_http(&otlp))
            .route(&format!("/otlp/v1/{name}"), on_http(&otlp));
        if signal == Signal::Metrics {
            // Where Prometheus takes OTLP.
            router = router.route("/api/v1/otlp/v1/metrics", on_http(&otlp));
        }
        let otlp = otlp.clone();
        router = router.route(
            &format!("/opentelemetry.proto.collector.{service}/Export"),
            post(move |request| over_grpc::export(otlp.clone(), signal, request)),
        );
    }
    router
}

/// How the body of one export request is read.
#[derive(Debug)]
struct ExportBody {
    resources: Arc<ResourceCache>,
    signal: Signal,
    compression: Encoding,
    format: Format,
}

impl Decode for ExportBody {
    fn decode(
        &self,
        ctx: &Context<'_>,
        encoded: &[u8],
        permit: &mut Permit,
    ) -> Result<(usize, Decoded), IngestError> {
        let body = ctx.ingest.bodies.decompress(self.compression, encoded, permit)?;
        let decoded = match self.format {
            Format::Protobuf => self.decode_protobuf(ctx, &body)?,
            Format::Json => {
                let protobuf = json::to_protobuf(self.signal, &body)
                    .map_err(|error| IngestError::Invalid(error.to_string()))?;
                permit.grow(protobuf.len())?;
                self.decode_protobuf(ctx, &protobuf)?
            }
        };
        Ok((body.len(), decoded))
    }

    fn reading(&self) -> Option<Reading> {
        reading(self.signal, self.format, self.compression)
    }
}

/// Returns how a request is read whose bytes are known when they come again. Samples need not be: the
/// same one twice is one.
fn reading(signal: Signal, format: Format, compression: Encoding) -> Option<Reading> {
    let has_rows = matches!(signal, Signal::Logs | Signal::Spans);
    has_rows.then_some(Reading { is_json: format == Format::Json, compression })
}

impl ExportBody {
    fn decode_protobuf(&self, ctx: &Context<'_>, body: &[u8]) -> Result<Decoded, IngestError> {
        match self.signal {
            Signal::Logs => logs::decode_logs(ctx, &self.resources, body),
            Signal::Spans => spans::decode_spans(ctx, &self.resources, body),
            // Exemplars come with their metrics.
            Signal::Metrics | Signal::Exemplars | Signal::Points => {
                metrics::decode_metrics(ctx, &self.resources, body)
            }
        }
    }
}
