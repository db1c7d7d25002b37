//! Export requests of any bytes: what the protobuf library can read, the walkers read, and what is
//! written in JSON becomes protobuf that can be read.

use std::sync::Arc;

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message;

use super::over_grpc::fuzzing::grpc_call;
use super::{Encoding, ExportBody, Format, json};
use crate::ingest::IngestError;
use crate::ingest::fuzzing::{Room, check_read};
use crate::ingest::records::{Context, Decode, Decoded};
use crate::model::Signal;

fn export(
    room: &Room,
    signal: Signal,
    format: Format,
    body: &[u8],
) -> Result<Decoded, IngestError> {
    let ctx = Context::new(&room.ingest, room.sender());
    let mut permit = room.ingest.admit.enter(&room.grant.name);
    let compression = Encoding::Identity;
    let decode = ExportBody { resources: Arc::default(), signal, compression, format };
    decode.decode(&ctx, body, &mut permit).map(|(_, decoded)| decoded)
}

/// Returns how many items the protobuf library finds, if it can read the message.
fn reference(signal: Signal, body: &[u8]) -> Result<usize, prost::DecodeError> {
    Ok(match signal {
        Signal::Logs => {
            let request = ExportLogsServiceRequest::decode(body)?;
            let scopes = request.resource_logs.iter().flat_map(|resource| &resource.scope_logs);
            scopes.map(|scope| scope.log_records.len()).sum()
        }
        Signal::Spans => {
            let request = ExportTraceServiceRequest::decode(body)?;
            let scopes = request.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
            scopes.map(|scope| scope.spans.len()).sum()
        }
        Signal::Metrics | Signal::Exemplars | Signal::Points => {
            ExportMetricsServiceRequest::decode(body).map(|_| 0)?
        }
    })
}

fn protobuf(signal: Signal, body: &[u8]) {
    let room = Room::new();
    let decoded = export(&room, signal, Format::Protobuf, body);
    let reference = reference(signal, body);
    check_read(decoded.as_ref().err(), reference.is_ok());
    let Ok(decoded) = decoded else { return };
    room.check_decoded(&decoded);
    // A metric's `data` that comes twice is merged by the library; its points are not compared.
    if let (Ok(n_items), false) = (reference, signal == Signal::Metrics) {
        assert_eq!(decoded.n_received, n_items as u64, "items are neither lost nor invented");
    }
}

fn in_json(signal: Signal, body: &[u8]) {
    let Ok(written) = json::to_protobuf(signal, body) else { return };
    if let Err(error) = reference(signal, &written) {
        // JSON may nest deeper than the library follows.
        assert!(error.to_string().contains("recursion"), "{error}");
    }
    let room = Room::new();
    match export(&room, signal, Format::Json, body) {
        Ok(decoded) => room.check_decoded(&decoded),
        Err(IngestError::Wire(error)) => panic!("we cannot read what we wrote: {error}"),
        Err(_) => {}
    }
}

/// Metrics in protobuf.
pub fn otlp_metrics_pb(bytes: &[u8]) {
    protobuf(Signal::Metrics, bytes);
}

/// Log records in protobuf.
pub fn otlp_logs_pb(bytes: &[u8]) {
    protobuf(Signal::Logs, bytes);
}

/// Spans in protobuf.
pub fn otlp_traces_pb(bytes: &[u8]) {
    protobuf(Signal::Spans, bytes);
}

/// Metrics in JSON.
pub fn otlp_metrics_json(bytes: &[u8]) {
    in_json(Signal::Metrics, bytes);
}

/// Log records in JSON.
pub fn otlp_logs_json(bytes: &[u8]) {
    in_json(Signal::Logs, bytes);
}

/// Spans in JSON.
pub fn otlp_traces_json(bytes: &[u8]) {
    in_json(Signal::Spans, bytes);
}

/// A gRPC call: the first byte names signal and compression, the rest is the call's body.
pub fn otlp_grpc(bytes: &[u8]) {
    let Some((way, body)) = bytes.split_first() else { return };
    let signal = Signal::ALL[usize::from(way & 3) % Signal::ALL.len()];
    let compression = match (way >> 2) & 3 {
        0 => Encoding::Identity,
        1 => Encoding::Gzip,
        2 => Encoding::Zstd,
        _ => Encoding::Deflate,
    };
    let room = Room::new();
    match grpc_call(&room, signal, compression, body) {
        Ok(decoded) => room.check_decoded(&decoded),
        Err(error) => assert!(error.status().is_client_error(), "{error}"),
    }
}
