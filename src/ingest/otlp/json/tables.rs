//! The messages of OTLP as data: which JSON field is which protobuf field, and of what kind.
//!
//! Written from `opentelemetry/proto/**/v1/*.proto` 1.9; a field that is missing here is skipped
//! like any unknown one, so the tables name only what the walkers read.

use Kind::{
    Base64, Bool, Double, Enum, Fixed32, Fixed64, Hex, Int64, Message as Sub, SignedFixed64,
    Sint32, Text, Uint32, Uint64,
};

/// A message and its fields.
#[derive(Debug)]
pub(super) struct Message {
    /// The fields, in the order of their numbers.
    pub(super) fields: &'static [Field],
}

/// One field of a message.
#[derive(Debug)]
pub(super) struct Field {
    /// The lowerCamelCase name; snake_case is not valid OTLP/JSON.
    pub(super) name: &'static str,
    /// The protobuf number.
    pub(super) number: u32,
    /// What it holds.
    pub(super) kind: Kind,
    /// True for a list.
    pub(super) is_repeated: bool,
}

/// How a value is written in JSON and on the wire.
#[derive(Debug)]
pub(super) enum Kind {
    /// A string.
    Text,
    /// Bytes, base64 in JSON.
    Base64,
    /// An id, hex in JSON (OTLP's exception to protobuf's rule).
    Hex,
    /// A boolean.
    Bool,
    /// An enum: always an integer in OTLP/JSON.
    Enum,
    /// `uint32`.
    Uint32,
    /// `sint32`, zig-zag.
    Sint32,
    /// `int64`, varint.
    Int64,
    /// `uint64`, varint.
    Uint64,
    /// `fixed32`.
    Fixed32,
    /// `fixed64`.
    Fixed64,
    /// `sfixed64`.
    SignedFixed64,
    /// `double`.
    Double,
    /// A message.
    Message(&'static Message),
}

const fn one(name: &'static str, number: u32, kind: Kind) -> Field {
    Field { name, number, kind, is_repeated: false }
}

const fn many(name: &'static str, number: u32, kind: Kind) -> Field {
    Field { name, number, kind, is_repeated: true }
}

/// `ExportLogsServiceRequest`.
pub(super) static LOGS: Message =
    Message { fields: &[many("resourceLogs", 1, Sub(&RESOURCE_LOGS))] };
static RESOURCE_LOGS: Message = Message {
    fields: &[one("resource", 1, Sub(&RESOURCE)), many("scopeLogs", 2, Sub(&SCOPE_LOGS))],
};
static SCOPE_LOGS: Message =
    Message { fields: &[one("scope", 1, Sub(&SCOPE)), many("logRecords", 2, Sub(&LOG_RECORD))] };
static LOG_RECORD: Message = Message {
    fields: &[
        one("timeUnixNano", 1, Fixed64),
        one("severityNumber", 2, Enum),
        one("severityText", 3, Text),
        one("body", 5, Sub(&ANY_VALUE)),
        many("attributes", 6, Sub(&KEY_VALUE)),
        one("flags", 8, Fixed32),
        one("traceId", 9, Hex),
        one("spanId", 10, Hex),
        one("observedTimeUnixNano", 11, Fixed64),
        one("eventName", 12, Text),
    ],
};

/// `ExportTraceServiceRequest`.
pub(super) static SPANS: Message =
    Message { fields: &[many("resourceSpans", 1, Sub(&RESOURCE_SPANS))] };
static RESOURCE_SPANS: Message = Message {
    fields: &[
        one("resource", 1, Sub(&RESOURCE)),
        many("scopeSpans", 2, Sub(&SCOPE_SPANS)),
        one("schemaUrl", 3, Text),
    ],
};
static SCOPE_SPANS: Message = Message {
    fields: &[
        one("scope", 1, Sub(&SCOPE)),
        many("spans", 2, Sub(&SPAN)),
        one("schemaUrl", 3, Text),
    ],
};
static SPAN: Message = Message {
    fields: &[
        one("traceId", 1, Hex),
        one("spanId", 2, Hex),
        one("traceState", 3, Text),
        one("parentSpanId", 4, Hex),
        one("name", 5, Text),
        one("kind", 6, Enum),
        one("startTimeUnixNano", 7, Fixed64),
        one("endTimeUnixNano", 8, Fixed64),
        many("attributes", 9, Sub(&KEY_VALUE)),
        one("droppedAttributesCount", 10, Uint32),
        many("events", 11, Sub(&EVENT)),
        one("droppedEventsCount", 12, Uint32),
        many("links", 13, Sub(&LINK)),
        one("droppedLinksCount", 14, Uint32),
        one("status", 15, Sub(&STATUS)),
        one("flags", 16, Fixed32),
    ],
};
static EVENT: Message = Message {
    fields: &[
        one("timeUnixNano", 1, Fixed64),
        one("name", 2, Text),
        many("attributes", 3, Sub(&KEY_VALUE)),
        one("droppedAttributesCount", 4, Uint32),
    ],
};
static LINK: Message = Message {
    fields: &[
        one("traceId", 1, Hex),
        one("spanId", 2, Hex),
        one("traceState", 3, Text),
        many("attributes", 4, Sub(&KEY_VALUE)),
        one("droppedAttributesCount", 5, Uint32),
        one("flags", 6, Fixed32),
    ],
};
static STATUS: Message = Message { fields: &[one("message", 2, Text), one("code", 3, Enum)] };

/// `ExportMetricsServiceRequest`.
pub(super) static METRICS: Message =
    Message { fields: &[many("resourceMetrics", 1, Sub(&RESOURCE_METRICS))] };
static RESOURCE_METRICS: Message = Message {
    fields: &[one("resource", 1, Sub(&RESOURCE)), many("scopeMetrics", 2, Sub(&SCOPE_METRICS))],
};
static SCOPE_METRICS: Message =
    Message { fields: &[one("scope", 1, Sub(&SCOPE)), many("metrics", 2, Sub(&METRIC))] };
static METRIC: Message = Message {
    fields: &[
        one("name", 1, Text),
        one("description", 2, Text),
        one("unit", 3, Text),
        one("gauge", 5, Sub(&GAUGE)),
        one("sum", 7, Sub(&SUM)),
        one("histogram", 9, Sub(&HISTOGRAM)),
        one("exponentialHistogram", 10, Sub(&EXP_HISTOGRAM)),
        one("summary", 11, Sub(&SUMMARY)),
    ],
};
static GAUGE: Message = Message { fields: &[many("dataPoints", 1, Sub(&NUMBER_POINT))] };
static SUM: Message = Message {
    fields: &[
        many("dataPoints", 1, Sub(&NUMBER_POINT)),
        one("aggregationTemporality", 2, Enum),
        one("isMonotonic", 3, Bool),
    ],
};
static HISTOGRAM: Message = Message {
    fields: &[many("dataPoints", 1, Sub(&HISTOGRAM_POINT)), one("aggregationTemporality", 2, Enum)],
};
static EXP_HISTOGRAM: Message = Message {
    fields: &[
        many("dataPoints", 1, Sub(&EXP_HISTOGRAM_POINT)),
        one("aggregationTemporality", 2, Enum),
    ],
};
static SUMMARY: Message = Message { fields: &[many("dataPoints", 1, Sub(&SUMMARY_POINT))] };
static NUMBER_POINT: Message = Message {
    fields: &[
        one("startTimeUnixNano", 2, Fixed64),
        one("timeUnixNano", 3, Fixed64),
        one("asDouble", 4, Double),
        one("asInt", 6, SignedFixed64),
        many("attributes", 7, Sub(&KEY_VALUE)),
        one("flags", 8, Uint32),
    ],
};
static HISTOGRAM_POINT: Message = Message {
    fields: &[
        one("startTimeUnixNano", 2, Fixed64),
        one("timeUnixNano", 3, Fixed64),
        one("count", 4, Fixed64),
        one("sum", 5, Double),
        many("bucketCounts", 6, Fixed64),
        many("explicitBounds", 7, Double),
        many("attributes", 9, Sub(&KEY_VALUE)),
        one("flags", 10, Uint32),
        one("min", 11, Double),
        one("max", 12, Double),
    ],
};
static EXP_HISTOGRAM_POINT: Message = Message {
    fields: &[
        many("attributes", 1, Sub(&KEY_VALUE)),
        one("startTimeUnixNano", 2, Fixed64),
        one("timeUnixNano", 3, Fixed64),
        one("count", 4, Fixed64),
        one("sum", 5, Double),
        one("scale", 6, Sint32),
        one("zeroCount", 7, Fixed64),
        one("positive", 8, Sub(&BUCKETS)),
        one("negative", 9, Sub(&BUCKETS)),
        one("flags", 10, Uint32),
        one("min", 12, Double),
        one("max", 13, Double),
        one("zeroThreshold", 14, Double),
    ],
};
static BUCKETS: Message =
    Message { fields: &[one("offset", 1, Sint32), many("bucketCounts", 2, Uint64)] };
static SUMMARY_POINT: Message = Message {
    fields: &[
        one("startTimeUnixNano", 2, Fixed64),
        one("timeUnixNano", 3, Fixed64),
        one("count", 4, Fixed64),
        one("sum", 5, Double),
        many("quantileValues", 6, Sub(&QUANTILE)),
        many("attributes", 7, Sub(&KEY_VALUE)),
        one("flags", 8, Uint32),
    ],
};
static QUANTILE: Message =
    Message { fields: &[one("quantile", 1, Double), one("value", 2, Double)] };

static RESOURCE: Message = Message {
    fields: &[many("attributes", 1, Sub(&KEY_VALUE)), one("droppedAttributesCount", 2, Uint32)],
};
static SCOPE: Message = Message {
    fields: &[
        one("name", 1, Text),
        one("version", 2, Text),
        many("attributes", 3, Sub(&KEY_VALUE)),
        one("droppedAttributesCount", 4, Uint32),
    ],
};
static KEY_VALUE: Message =
    Message { fields: &[one("key", 1, Text), one("value", 2, Sub(&ANY_VALUE))] };
static ANY_VALUE: Message = Message {
    fields: &[
        one("stringValue", 1, Text),
        one("boolValue", 2, Bool),
        one("intValue", 3, Int64),
        one("doubleValue", 4, Double),
        one("arrayValue", 5, Sub(&ARRAY_VALUE)),
        one("kvlistValue", 6, Sub(&KVLIST_VALUE)),
        one("bytesValue", 7, Base64),
    ],
};
static ARRAY_VALUE: Message = Message { fields: &[many("values", 1, Sub(&ANY_VALUE))] };
static KVLIST_VALUE: Message = Message { fields: &[many("values", 1, Sub(&KEY_VALUE))] };
