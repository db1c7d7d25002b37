//! A right request to each endpoint that takes telemetry, for the other modules to spoil.

use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::metrics::v1::{
    Gauge, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, metric, number_data_point,
};
use prost::Message as _;
use serde_json::json;

use super::case::{Case, Port, Want, Wire};
use crate::bad_input::Dialect;
use crate::support::wait::{now_ms, now_ns};
use crate::support::{Request, loki, otlp, remote_write};

/// How the body of an endpoint is written when nothing says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Snappy,
    Grpc,
}

/// An endpoint, its dialect, and a right body before it is packed.
#[derive(Debug, Clone)]
pub(super) struct Endpoint {
    pub(super) name: &'static str,
    pub(super) port: Port,
    pub(super) path: &'static str,
    pub(super) content_type: &'static str,
    pub(super) dialect: Dialect,
    pub(super) packing: Packing,
    pub(super) body: Vec<u8>,
    /// Whether a body of no bytes is a request without items.
    pub(super) takes_empty: bool,
}

pub(super) const PROTOBUF: &str = "application/x-protobuf";
pub(super) const JSON: &str = "application/json";

/// Returns the endpoints over HTTP/1.1, both OTLP dialects on both ports among them.
pub(super) fn over_http() -> Vec<Endpoint> {
    let mut endpoints = vec![remote_write_seed(), loki_protobuf(), loki_json()];
    for (idx, (name, path)) in
        [("metrics", "/v1/metrics"), ("logs", "/v1/logs"), ("spans", "/v1/traces")]
            .into_iter()
            .enumerate()
    {
        let port = if idx == 1 { Port::Http } else { Port::OtlpHttp };
        endpoints.push(Endpoint {
            name: ["otlp metrics", "otlp logs", "otlp spans"][idx],
            port,
            path,
            content_type: PROTOBUF,
            dialect: Dialect::OtlpProtobuf,
            packing: Packing::Plain,
            body: protobuf(name),
            takes_empty: true,
        });
        endpoints.push(Endpoint {
            name: ["otlp json metrics", "otlp json logs", "otlp json spans"][idx],
            port: if idx == 1 { Port::OtlpHttp } else { Port::Http },
            path,
            content_type: JSON,
            dialect: Dialect::OtlpJson,
            packing: Packing::Plain,
            body: json_body(name),
            takes_empty: false,
        });
    }
    endpoints
}

/// Returns the three calls of OTLP/gRPC, on both ports.
pub(super) fn over_grpc() -> Vec<Endpoint> {
    let call = |name, port, path, signal| Endpoint {
        name,
        port,
        path,
        content_type: "application/grpc",
        dialect: Dialect::OtlpProtobuf,
        packing: Packing::Grpc,
        body: protobuf(signal),
        takes_empty: true,
    };
    vec![
        call("grpc metrics", Port::OtlpGrpc, METRICS_METHOD, "metrics"),
        call("grpc logs", Port::OtlpGrpc, LOGS_METHOD, "logs"),
        call("grpc spans", Port::OtlpHttp, SPANS_METHOD, "spans"),
    ]
}

const METRICS_METHOD: &str = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export";
pub(super) const LOGS_METHOD: &str = "/opentelemetry.proto.collector.logs.v1.LogsService/Export";
const SPANS_METHOD: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";

impl Endpoint {
    /// Returns the request that carries `body`, packed as the endpoint wants it.
    pub(super) fn packed(&self, name: &str, body: &[u8], want: Want) -> Case {
        match self.packing {
            Packing::Plain => self.raw(name, body.to_vec(), want),
            Packing::Snappy => self.raw(name, remote_write::snappy(body), want),
            Packing::Grpc => self.call(name, &[], framed(body), want),
        }
    }

    /// Returns the request with `body` just as it is.
    pub(super) fn raw(&self, name: &str, body: Vec<u8>, want: Want) -> Case {
        let mut request = Request::post(self.path, body).header("Content-Type", self.content_type);
        if self.packing == Packing::Snappy {
            request = request.header("Content-Encoding", "snappy");
        }
        Case::request(format!("{}: {name}", self.name), self.port, request, want)
    }

    /// Returns a call with `body` just as it is, and headers beside gRPC's own.
    pub(super) fn call(
        &self,
        name: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
        want: Want,
    ) -> Case {
        let own = [("content-type", "application/grpc"), ("te", "trailers")];
        let kept = own.iter().filter(|(own, _)| headers.iter().all(|(name, _)| name != own));
        let headers = kept.chain(headers).map(|(n, v)| ((*n).to_owned(), (*v).to_owned()));
        let wire = Wire::Call { method: self.path.to_owned(), headers: headers.collect(), body };
        Case { name: format!("{}: {name}", self.name), port: self.port, wire, want }
    }

    /// Returns what is right for a body that cannot be read.
    pub(super) fn refused(&self) -> Want {
        match self.packing {
            // Invalid argument, resource exhausted, unimplemented.
            Packing::Grpc => Want::Grpc(&[3, 8, 12]),
            _ => Want::Refused(&[400, 413, 415], self.dialect),
        }
    }

    /// Returns what is right for a body of which nobody knows.
    pub(super) fn either(&self) -> Want {
        match self.packing {
            Packing::Grpc => Want::Grpc(&[0, 3, 8, 12]),
            _ => Want::Either(self.dialect),
        }
    }

    pub(super) fn taken(&self) -> Want {
        if self.packing == Packing::Grpc { Want::Grpc(&[0]) } else { Want::Taken }
    }
}

/// Puts gRPC's prefix before a message.
pub(super) fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).expect("test messages are small");
    [&[0], length.to_be_bytes().as_slice(), message].concat()
}

fn remote_write_seed() -> Endpoint {
    let series = (0..4).map(|n| {
        let labels = [("__name__", "hostile_seed".to_owned()), ("job", format!("seed-{n}"))];
        remote_write::series(&labels, &[(now_ms(), f64::from(n))])
    });
    Endpoint {
        name: "remote write",
        port: Port::Http,
        path: "/api/v1/write",
        content_type: PROTOBUF,
        dialect: Dialect::Text,
        packing: Packing::Snappy,
        body: remote_write::WriteRequest { timeseries: series.collect(), metadata: Vec::new() }
            .encode_to_vec(),
        takes_empty: true,
    }
}

fn loki_protobuf() -> Endpoint {
    let entries = (0..4).map(|n| loki::entry(now_ns(), &format!("seed {n}"))).collect();
    let stream = loki::Stream { labels: "{app=\"seed\"}".to_owned(), entries, hash: 0 };
    Endpoint {
        name: "loki",
        path: "/loki/api/v1/push",
        dialect: Dialect::Loki,
        body: loki::PushRequest { streams: vec![stream] }.encode_to_vec(),
        ..remote_write_seed()
    }
}

fn loki_json() -> Endpoint {
    let values = [[now_ns().to_string(), "seed".to_owned()]];
    let body = json!({"streams": [{"stream": {"app": "seed"}, "values": values}]});
    Endpoint {
        name: "loki json",
        content_type: JSON,
        packing: Packing::Plain,
        body: body.to_string().into_bytes(),
        takes_empty: false,
        ..loki_protobuf()
    }
}

fn protobuf(signal: &str) -> Vec<u8> {
    let resource = otlp::resource(&[("service.name", "seed"), ("k8s.namespace.name", "seed")]);
    match signal {
        "logs" => {
            let records = (0..4).map(|n| otlp::record(now_ns(), &format!("seed {n}")));
            otlp::logs(resource, records.collect()).encode_to_vec()
        }
        "spans" => {
            let spans = (1..5).map(|n| otlp::span(n, now_ns(), "seed"));
            otlp::spans(resource, spans.collect()).encode_to_vec()
        }
        _ => {
            let point = NumberDataPoint {
                time_unix_nano: now_ns().unsigned_abs(),
                value: Some(number_data_point::Value::AsDouble(1.5)),
                attributes: vec![otlp::attribute("a", "b")],
                ..NumberDataPoint::default()
            };
            let gauge = metric::Data::Gauge(Gauge { data_points: vec![point] });
            let metric = Metric { name: "seed".to_owned(), data: Some(gauge), ..Metric::default() };
            let scope_metrics = vec![ScopeMetrics { metrics: vec![metric], ..Default::default() }];
            let metrics =
                ResourceMetrics { resource: Some(resource), scope_metrics, ..Default::default() };
            ExportMetricsServiceRequest { resource_metrics: vec![metrics] }.encode_to_vec()
        }
    }
}

fn json_body(signal: &str) -> Vec<u8> {
    let at = now_ns().to_string();
    let resource =
        json!({"attributes": [{"key": "service.name", "value": {"stringValue": "seed"}}]});
    let body = match signal {
        "logs" => json!({"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [
            {"timeUnixNano": at, "severityNumber": 9, "body": {"stringValue": "seed"}}]}]}]}),
        "spans" => json!({"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": [
            {"traceId": "5b8efff798038103d269b633813fc60c", "spanId": "eee19b7ec3c1b174",
             "name": "seed", "kind": 2, "startTimeUnixNano": at, "endTimeUnixNano": at}]}]}]}),
        _ => json!({"resourceMetrics": [{"resource": resource, "scopeMetrics": [{"metrics": [
            {"name": "seed", "gauge": {"dataPoints": [
                {"asDouble": 1.5, "timeUnixNano": at}]}}]}]}]}),
    };
    body.to_string().into_bytes()
}
