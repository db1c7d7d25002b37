//! `io.prometheus.write.v2.Request` as prost has it: the reference that the walker is held against.
//! No other build of ours knows these types. `Histogram` is that of 1.0, field by field.

use super::proto;

/// The request.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::ingest) struct Request {
    #[prost(string, repeated, tag = "4")]
    pub(in crate::ingest) symbols: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    pub(in crate::ingest) timeseries: Vec<TimeSeries>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::ingest) struct TimeSeries {
    #[prost(uint32, repeated, tag = "1")]
    pub(in crate::ingest) labels_refs: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    pub(in crate::ingest) samples: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    pub(in crate::ingest) histograms: Vec<proto::Histogram>,
    #[prost(message, repeated, tag = "4")]
    pub(in crate::ingest) exemplars: Vec<Exemplar>,
    #[prost(message, optional, tag = "5")]
    pub(in crate::ingest) metadata: Option<Metadata>,
    #[prost(int64, tag = "6")]
    pub(in crate::ingest) created_timestamp: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::ingest) struct Sample {
    #[prost(double, tag = "1")]
    pub(in crate::ingest) value: f64,
    #[prost(int64, tag = "2")]
    pub(in crate::ingest) timestamp: i64,
    #[prost(int64, tag = "3")]
    pub(in crate::ingest) start_timestamp: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::ingest) struct Exemplar {
    #[prost(uint32, repeated, tag = "1")]
    pub(in crate::ingest) labels_refs: Vec<u32>,
    #[prost(double, tag = "2")]
    pub(in crate::ingest) value: f64,
    #[prost(int64, tag = "3")]
    pub(in crate::ingest) timestamp: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::ingest) struct Metadata {
    #[prost(int32, tag = "1")]
    pub(in crate::ingest) kind: i32,
    #[prost(uint32, tag = "3")]
    pub(in crate::ingest) help_ref: u32,
    #[prost(uint32, tag = "4")]
    pub(in crate::ingest) unit_ref: u32,
}
