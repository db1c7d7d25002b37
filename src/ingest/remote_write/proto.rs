//! `prometheus.WriteRequest` as prost has it: the reference that the walker is held against. No
//! other build of ours knows these types.

/// The request.
#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::ingest) struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    pub(in crate::ingest) timeseries: Vec<TimeSeries>,
    #[prost(message, repeated, tag = "3")]
    pub(in crate::ingest) metadata: Vec<Metadata>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::ingest) struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    pub(in crate::ingest) labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    pub(in crate::ingest) samples: Vec<Sample>,
    #[prost(message, repeated, tag = "3")]
    pub(in crate::ingest) exemplars: Vec<Exemplar>,
    #[prost(message, repeated, tag = "4")]
    pub(in crate::ingest) histograms: Vec<Histogram>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::ingest) struct Label {
    #[prost(string, tag = "1")]
    pub(in crate::ingest) name: String,
    #[prost(string, tag = "2")]
    pub(in crate::ingest) value: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::ingest) struct Sample {
    #[prost(double, tag = "1")]
    pub(in crate::ingest) value: f64,
    #[prost(int64, tag = "2")]
    pub(in crate::ingest) timestamp: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::ingest) struct Exemplar {
    #[prost(message, repeated, tag = "1")]
    pub(in crate::ingest) labels: Vec<Label>,
    #[prost(double, tag = "2")]
    pub(in crate::ingest) value: f64,
    #[prost(int64, tag = "3")]
    pub(in crate::ingest) timestamp: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::ingest) struct Histogram {
    #[prost(uint64, optional, tag = "1")]
    pub(in crate::ingest) count_int: Option<u64>,
    #[prost(double, optional, tag = "2")]
    pub(in crate::ingest) count_float: Option<f64>,
    #[prost(double, tag = "3")]
    pub(in crate::ingest) sum: f64,
    #[prost(sint32, tag = "4")]
    pub(in crate::ingest) schema: i32,
    #[prost(double, tag = "5")]
    pub(in crate::ingest) zero_threshold: f64,
    #[prost(uint64, optional, tag = "6")]
    pub(in crate::ingest) zero_count_int: Option<u64>,
    #[prost(double, optional, tag = "7")]
    pub(in crate::ingest) zero_count_float: Option<f64>,
    #[prost(message, repeated, tag = "8")]
    pub(in crate::ingest) negative_spans: Vec<BucketSpan>,
    #[prost(sint64, repeated, tag = "9")]
    pub(in crate::ingest) negative_deltas: Vec<i64>,
    #[prost(double, repeated, tag = "10")]
    pub(in crate::ingest) negative_counts: Vec<f64>,
    #[prost(message, repeated, tag = "11")]
    pub(in crate::ingest) positive_spans: Vec<BucketSpan>,
    #[prost(sint64, repeated, tag = "12")]
    pub(in crate::ingest) positive_deltas: Vec<i64>,
    #[prost(double, repeated, tag = "13")]
    pub(in crate::ingest) positive_counts: Vec<f64>,
    #[prost(int32, tag = "14")]
    pub(in crate::ingest) reset_hint: i32,
    #[prost(int64, tag = "15")]
    pub(in crate::ingest) timestamp: i64,
    #[prost(double, repeated, tag = "16")]
    pub(in crate::ingest) custom_values: Vec<f64>,
    #[prost(int64, tag = "17")]
    pub(in crate::ingest) start_timestamp: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::ingest) struct BucketSpan {
    #[prost(sint32, tag = "1")]
    pub(in crate::ingest) offset: i32,
    #[prost(uint32, tag = "2")]
    pub(in crate::ingest) length: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(in crate::ingest) struct Metadata {
    #[prost(int32, tag = "1")]
    pub(in crate::ingest) kind: i32,
    #[prost(string, tag = "2")]
    pub(in crate::ingest) metric_family_name: String,
    #[prost(string, tag = "4")]
    pub(in crate::ingest) help: String,
    #[prost(string, tag = "5")]
    pub(in crate::ingest) unit: String,
}

/// A series with these labels and samples.
#[cfg(test)]
pub(in crate::ingest) fn series(labels: &[(&str, &str)], samples: &[(i64, f64)]) -> TimeSeries {
    let label = |&(name, value): &(&str, &str)| Label { name: name.into(), value: value.into() };
    TimeSeries {
        labels: labels.iter().map(label).collect(),
        samples: samples.iter().map(|&(timestamp, value)| Sample { value, timestamp }).collect(),
        ..TimeSeries::default()
    }
}

/// A request of these series.
#[cfg(test)]
pub(in crate::ingest) fn request(timeseries: Vec<TimeSeries>) -> WriteRequest {
    WriteRequest { timeseries, metadata: Vec::new() }
}
