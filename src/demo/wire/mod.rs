//! Encodes a shipment as a stock cluster's Alloy does: Loki push, remote write, OTLP over gRPC.

mod loki;
mod otlp;
mod remote_write;

use bytes::Bytes;

use super::world::Shipment;

/// Which port and path a parcel goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Road {
    /// `POST /loki/api/v1/push`.
    Logs,
    /// `POST /api/v1/write`.
    Metrics,
    /// The gRPC method of OTLP.
    Traces,
}

/// One request's body.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Parcel {
    pub(super) road: Road,
    /// Lines, samples or spans.
    pub(super) n_items: usize,
    pub(super) body: Bytes,
}

/// Returns the requests that carry a shipment.
pub(super) fn encode(shipment: Shipment) -> Vec<Parcel> {
    let mut parcels = loki::encode(shipment.streams);
    parcels.extend(remote_write::encode(&shipment.samples));
    parcels.extend(otlp::encode(shipment.spans));
    parcels
}

/// Compresses in snappy's block format.
fn snappy(bytes: &[u8]) -> Bytes {
    let compressed = snap::raw::Encoder::new().compress_vec(bytes);
    Bytes::from(compressed.expect("a parcel is far below 4 GiB"))
}
