//! Prometheus remote write 1.0, as `prometheus.remote_write` sends it.

use prost::Message;

use super::super::scrape::Sample;
use super::{Parcel, Road, snappy};

/// Samples of one request, Alloy's default.
const SAMPLES_MAX: usize = 2_000;

#[derive(Clone, PartialEq, Message)]
struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, Message)]
struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    samples: Vec<Point>,
}

#[derive(Clone, PartialEq, Message)]
struct Label {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

/// ms since 1970 UTC.
#[derive(Clone, Copy, PartialEq, Message)]
struct Point {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(int64, tag = "2")]
    timestamp: i64,
}

/// Returns the requests that carry these samples.
pub(super) fn encode(samples: &[Sample]) -> Vec<Parcel> {
    samples.chunks(SAMPLES_MAX).map(parcel).collect()
}

fn parcel(samples: &[Sample]) -> Parcel {
    let timeseries = samples.iter().map(series).collect();
    let body = snappy(&WriteRequest { timeseries }.encode_to_vec());
    Parcel { road: Road::Metrics, n_items: samples.len(), body }
}

fn series(sample: &Sample) -> TimeSeries {
    let label = |(name, value): &(&'static str, String)| Label {
        name: (*name).to_owned(),
        value: value.clone(),
    };
    let point = Point { value: sample.value, timestamp: sample.at_ms };
    TimeSeries { labels: sample.labels.iter().map(label).collect(), samples: vec![point] }
}
