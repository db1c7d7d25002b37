//! The words of an answer: partial success, and `google.rpc.Status` for what went wrong, in
//! protobuf or JSON.
//!
//! The messages are small and rare, so they are built the ordinary way.

use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsPartialSuccess, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsPartialSuccess, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTracePartialSuccess, ExportTraceServiceResponse,
};
use prost::Message;
use tonic::Code;

use crate::base::Kind;
use crate::ingest::{IngestError, Outcome};
use crate::model::Signal;

/// How a request is written, and so its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// `application/x-protobuf`
    Protobuf,
    /// `application/json`
    Json,
}

impl Format {
    /// Returns the content type.
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Format::Protobuf => "application/x-protobuf",
            Format::Json => "application/json",
        }
    }
}

/// Writes the `Export…ServiceResponse`; `partial_success` is set only when items were refused.
pub(super) fn success(signal: Signal, outcome: &Outcome, format: Format) -> Vec<u8> {
    let items = match signal {
        Signal::Logs => "log records",
        Signal::Spans => "spans",
        Signal::Metrics | Signal::Exemplars | Signal::Points => "data points",
    };
    let rejected = i64::try_from(outcome.rejected.told()).unwrap_or(i64::MAX);
    let told = outcome.message(items).map(|message| (rejected, message));
    match format {
        Format::Protobuf => success_protobuf(signal, told),
        Format::Json => success_json(signal, told),
    }
}

fn success_protobuf(signal: Signal, told: Option<(i64, String)>) -> Vec<u8> {
    match signal {
        Signal::Logs => {
            let partial_success = told.map(|(rejected_log_records, error_message)| {
                ExportLogsPartialSuccess { rejected_log_records, error_message }
            });
            ExportLogsServiceResponse { partial_success }.encode_to_vec()
        }
        Signal::Spans => {
            let partial_success = told.map(|(rejected_spans, error_message)| {
                ExportTracePartialSuccess { rejected_spans, error_message }
            });
            ExportTraceServiceResponse { partial_success }.encode_to_vec()
        }
        Signal::Metrics | Signal::Exemplars | Signal::Points => {
            let partial_success = told.map(|(rejected_data_points, error_message)| {
                ExportMetricsPartialSuccess { rejected_data_points, error_message }
            });
            ExportMetricsServiceResponse { partial_success }.encode_to_vec()
        }
    }
}

fn success_json(signal: Signal, told: Option<(i64, String)>) -> Vec<u8> {
    let Some((rejected, message)) = told else { return b"{}".to_vec() };
    let name = match signal {
        Signal::Logs => "rejectedLogRecords",
        Signal::Spans => "rejectedSpans",
        Signal::Metrics | Signal::Exemplars | Signal::Points => "rejectedDataPoints",
    };
    // A 64-bit integer is a string in protobuf's JSON.
    let partial = serde_json::json!({ name: rejected.to_string(), "errorMessage": message });
    serde_json::json!({ "partialSuccess": partial }).to_string().into_bytes()
}

/// What went wrong with a whole request, for either transport.
#[derive(Debug, Clone)]
pub(super) struct Fault {
    /// The HTTP status.
    pub(super) status: http::StatusCode,
    /// The gRPC code; also the code in the body of an HTTP answer.
    pub(super) code: Code,
    /// For a person.
    pub(super) message: String,
    /// When the same request may succeed.
    pub(super) retry_after_s: Option<u32>,
}

impl Fault {
    /// Returns the fault of a request without a known credential.
    pub(super) fn unauthenticated() -> Self {
        Self {
            status: http::StatusCode::UNAUTHORIZED,
            code: Code::Unauthenticated,
            message: "no credential: send `Authorization: Bearer <token>`".to_owned(),
            retry_after_s: None,
        }
    }
}

impl From<IngestError> for Fault {
    fn from(error: IngestError) -> Self {
        let code = match (error.kind(), &error) {
            // What gRPC says to a compression it does not know.
            (_, IngestError::UnsupportedEncoding { .. }) => Code::Unimplemented,
            // RESOURCE_EXHAUSTED without RetryInfo is not sent again, with it it is (OTLP 1.9).
            (Kind::TooLarge | Kind::Overloaded, _) => Code::ResourceExhausted,
            (Kind::Unavailable | Kind::Timeout, _) => Code::Unavailable,
            (Kind::Forbidden, _) => Code::PermissionDenied,
            (Kind::Unauthenticated, _) => Code::Unauthenticated,
            (Kind::Canceled, _) => Code::Cancelled,
            (Kind::NotFound, _) => Code::NotFound,
            (Kind::Internal, _) => Code::Internal,
            (Kind::BadInput | Kind::Execution, _) => Code::InvalidArgument,
        };
        Self {
            status: error.status(),
            code,
            retry_after_s: error.retry_after_s(),
            message: error.to_string(),
        }
    }
}

/// `google.rpc.Status`
#[derive(Clone, PartialEq, Message)]
pub(super) struct RpcStatus {
    /// The gRPC code.
    #[prost(int32, tag = "1")]
    pub(super) code: i32,
    /// For a person.
    #[prost(string, tag = "2")]
    pub(super) message: String,
    /// What a program can read.
    #[prost(message, repeated, tag = "3")]
    pub(super) details: Vec<Any>,
}

/// `google.protobuf.Any`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Any {
    /// Which message it is.
    #[prost(string, tag = "1")]
    pub(super) type_url: String,
    /// Its bytes.
    #[prost(bytes = "vec", tag = "2")]
    pub(super) value: Vec<u8>,
}

/// `google.rpc.RetryInfo`
#[derive(Clone, PartialEq, Message)]
pub(super) struct RetryInfo {
    /// How long to wait.
    #[prost(message, optional, tag = "1")]
    pub(super) retry_delay: Option<Duration>,
}

/// `google.protobuf.Duration`
#[derive(Clone, PartialEq, Message)]
pub(super) struct Duration {
    /// Whole seconds.
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
}

/// The type of the detail that says when to come back.
pub(super) const RETRY_INFO: &str = "type.googleapis.com/google.rpc.RetryInfo";

impl Fault {
    /// Returns the `google.rpc.Status` that says this.
    pub(super) fn rpc_status(&self) -> RpcStatus {
        let details = self.retry_after_s.map(|seconds| {
            let retry_delay = Some(Duration { seconds: i64::from(seconds) });
            let value = RetryInfo { retry_delay }.encode_to_vec();
            Any { type_url: RETRY_INFO.to_owned(), value }
        });
        let details = details.into_iter().collect();
        RpcStatus { code: self.code.into(), message: self.message.clone(), details }
    }

    /// Writes the body of an HTTP answer.
    pub(super) fn body(&self, format: Format) -> Vec<u8> {
        match format {
            Format::Protobuf => self.rpc_status().encode_to_vec(),
            Format::Json => {
                let code = i32::from(self.code);
                let status = serde_json::json!({ "code": code, "message": self.message });
                status.to_string().into_bytes()
            }
        }
    }
}
