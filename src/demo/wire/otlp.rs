//! OTLP over gRPC: one message in its five-byte frame.

use bytes::Bytes;
use opentelemetry_proto::tonic::trace::v1::ResourceSpans;
use prost::Message;

use super::super::traces;
use super::{Parcel, Road};

/// Returns the call that carries these spans, or none.
pub(super) fn encode(spans: Vec<ResourceSpans>) -> Option<Parcel> {
    if spans.is_empty() {
        return None;
    }
    let in_scopes = |resource: &ResourceSpans| -> usize {
        resource.scope_spans.iter().map(|scope| scope.spans.len()).sum()
    };
    let n_items = spans.iter().map(in_scopes).sum();
    let message = traces::export(spans).encode_to_vec();
    let length = u32::try_from(message.len()).expect("a parcel is far below 4 GiB");
    let mut body = vec![0];
    body.extend(length.to_be_bytes());
    body.extend(message);
    Some(Parcel { road: Road::Traces, n_items, body: Bytes::from(body) })
}
