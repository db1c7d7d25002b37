//! Random OTLP traces with all that a span can say.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};
use prost::Message as _;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

/// Makes one trace.
pub(crate) struct Dice {
    pub(crate) rng: SmallRng,
    pub(crate) trace_id: [u8; 16],
    pub(crate) now_ns: u64,
    n_spans: u64,
}

impl Dice {
    pub(crate) fn new(seed: u64, now_ns: i64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let trace_id = (rng.random::<u128>() | 1).to_be_bytes();
        Self { rng, trace_id, now_ns: now_ns.unsigned_abs(), n_spans: 0 }
    }

    /// Returns a request with spans of several resources and scopes.
    pub(crate) fn request(&mut self) -> ExportTraceServiceRequest {
        let n_resources = self.rng.random_range(1..4);
        let resource_spans = (0..n_resources).map(|_| self.resource_spans()).collect();
        ExportTraceServiceRequest { resource_spans }
    }

    fn resource_spans(&mut self) -> ResourceSpans {
        let resource = Resource {
            attributes: self.attributes(0),
            dropped_attributes_count: self.count(),
            ..Resource::default()
        };
        let n_scopes = self.rng.random_range(1..4);
        ResourceSpans {
            resource: Some(resource),
            scope_spans: (0..n_scopes).map(|_| self.scope_spans()).collect(),
            schema_url: self.url(),
        }
    }

    fn scope_spans(&mut self) -> ScopeSpans {
        let scope = InstrumentationScope {
            name: self.text(),
            version: self.text(),
            attributes: self.attributes(0),
            dropped_attributes_count: self.count(),
        };
        let n_spans = self.rng.random_range(1..5);
        ScopeSpans {
            scope: Some(scope),
            spans: (0..n_spans).map(|_| self.span()).collect(),
            schema_url: self.url(),
        }
    }

    fn span(&mut self) -> Span {
        self.n_spans += 1;
        let start = self.now_ns - self.rng.random_range(1_000_000..1_000_000_000);
        let n = self.rng.random_range(0..3);
        Span {
            trace_id: self.trace_id.to_vec(),
            span_id: self.n_spans.to_be_bytes().to_vec(),
            trace_state: self.text(),
            parent_span_id: if self.n_spans > 1 { vec![1; 8] } else { Vec::new() },
            flags: self.rng.random(),
            name: self.text(),
            kind: self.rng.random_range(0..6),
            start_time_unix_nano: start,
            end_time_unix_nano: start + self.rng.random_range(0..1_000_000),
            attributes: self.attributes(0),
            dropped_attributes_count: self.count(),
            events: (0..n).map(|_| self.event()).collect(),
            dropped_events_count: self.count(),
            links: (0..n).map(|_| self.link()).collect(),
            dropped_links_count: self.count(),
            status: self.status(),
        }
    }

    fn event(&mut self) -> Event {
        Event {
            time_unix_nano: self.rng.random(),
            name: self.text(),
            attributes: self.attributes(0),
            dropped_attributes_count: self.count(),
        }
    }

    fn link(&mut self) -> Link {
        Link {
            trace_id: (self.rng.random::<u128>() | 1).to_be_bytes().to_vec(),
            span_id: (self.rng.random::<u64>() | 1).to_be_bytes().to_vec(),
            trace_state: self.text(),
            attributes: self.attributes(0),
            dropped_attributes_count: self.count(),
            flags: self.count(),
        }
    }

    fn status(&mut self) -> Option<Status> {
        let status = Status { message: self.text(), code: self.rng.random_range(0..3) };
        (status != Status::default()).then_some(status)
    }

    pub(crate) fn count(&mut self) -> u32 {
        if self.rng.random_bool(0.3) { self.rng.random_range(1..9) } else { 0 }
    }

    pub(crate) fn url(&mut self) -> String {
        if self.rng.random_bool(0.3) {
            "https://opentelemetry.io/schemas/1.2".into()
        } else {
            String::new()
        }
    }

    pub(crate) fn text(&mut self) -> String {
        let texts = ["", "a", "GET /é\n", "\"quoted\\\" {[,:]}", "\u{1}\u{7f}🦀", "NaN", "AAH/"];
        texts[self.rng.random_range(0..texts.len())].to_owned()
    }

    pub(crate) fn attributes(&mut self, depth: usize) -> Vec<KeyValue> {
        let n = self.rng.random_range(0..5);
        let pair = |idx| KeyValue {
            key: format!("k{idx}\"{}", self.text()),
            value: Some(self.any(depth)),
            ..KeyValue::default()
        };
        (0..n).map(pair).collect()
    }

    fn any(&mut self, depth: usize) -> AnyValue {
        let n_kinds = if depth < 3 { 9 } else { 7 };
        let value = match self.rng.random_range(0..n_kinds) {
            0 => None,
            1 => Some(Value::StringValue(self.text())),
            2 => Some(Value::BoolValue(self.rng.random())),
            3 => Some(Value::IntValue(self.rng.random())),
            4 => Some(Value::DoubleValue(f64::from_bits(self.rng.random()))),
            5 => Some(Value::DoubleValue(
                [f64::INFINITY, f64::NEG_INFINITY, -0.0, 2.0, 5e-324][self.rng.random_range(0..5)],
            )),
            6 => {
                let n_bytes = self.rng.random_range(0..5);
                Some(Value::BytesValue((0..n_bytes).map(|_| self.rng.random()).collect()))
            }
            7 => {
                let n = self.rng.random_range(0..4);
                let values = (0..n).map(|_| self.any(depth + 1)).collect();
                Some(Value::ArrayValue(ArrayValue { values }))
            }
            _ => Some(Value::KvlistValue(KeyValueList { values: self.attributes(depth + 1) })),
        };
        AnyValue { value: value.map(one_nan) }
    }
}

/// There are many NaN, and OTLP's own JSON knows one.
fn one_nan(value: Value) -> Value {
    match value {
        Value::DoubleValue(number) if number.is_nan() => Value::DoubleValue(f64::NAN),
        other => other,
    }
}

/// Returns each span with all that stands around it, as bytes, in the order of the span ids.
pub(crate) fn flat(list: &[ResourceSpans]) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut spans = Vec::new();
    for resource in list {
        for scope in &resource.scope_spans {
            for span in &scope.spans {
                let alone = ResourceSpans {
                    resource: resource.resource.clone(),
                    scope_spans: vec![ScopeSpans {
                        scope: scope.scope.clone(),
                        spans: vec![span.clone()],
                        schema_url: scope.schema_url.clone(),
                    }],
                    schema_url: resource.schema_url.clone(),
                };
                spans.push((span.span_id.clone(), alone.encode_to_vec()));
            }
        }
    }
    spans.sort();
    spans
}
