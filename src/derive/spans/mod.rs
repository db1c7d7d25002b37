//! Metrics made from spans, under the names that Grafana's Tempo data source asks for.
//!
//! ```text
//! traces_spanmetrics_calls_total{service,span_name,span_kind,status_code}
//! traces_spanmetrics_latency_{bucket,sum,count}                  seconds
//! traces_spanmetrics_size_total                                  bytes as stored
//! traces_service_graph_request_total{client,server,connection_type}
//! traces_service_graph_request_failed_total
//! traces_service_graph_request_client_seconds_{bucket,sum,count}
//! traces_service_graph_request_server_seconds_{bucket,sum,count}
//! ```
//! `service`, `client` and `server` are the sender's `service.name`, so that a click in the graph finds
//! the spans; `commons`, `env` and `cluster` are as decided for the row. The book is the spans' own: a
//! sender whose span names never end fills it, and not that of the log lines.
//!
//! All of a span comes through [`Spans::observe`], with its trace id: whoever keeps exemplars takes
//! them there.

mod graph;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};

use super::book::{Book, Family};
use super::config::Config;
use crate::model::json_read::{Json, get};
use crate::model::{Commons, MetricKind, Tags};
use graph::{Graph, Side};

static CALLS: Family =
    Family { name: "traces_spanmetrics_calls_total", kind: MetricKind::Counter, unit: "" };
static LATENCY: Family =
    Family { name: "traces_spanmetrics_latency", kind: MetricKind::Histogram, unit: "s" };
static SIZE: Family =
    Family { name: "traces_spanmetrics_size_total", kind: MetricKind::Counter, unit: "By" };

/// Longer names of spans and services are not made labels.
const LABEL_BYTES_MAX: usize = 256;

/// A stored span, as far as metrics are made of it.
#[derive(Debug, Clone, Copy)]
struct Span<'a> {
    trace_id: &'a str,
    span_id: &'a str,
    parent_span_id: &'a str,
    service: &'a str,
    name: &'a str,
    kind: &'a str,
    status: &'a str,
    attributes: &'a str,
    duration_s: f64,
    n_bytes: usize,
}

/// What is kept of the spans of one commons.
#[derive(Debug)]
pub(super) struct Spans {
    book: Book,
    graph: Graph,
}

impl Spans {
    /// Returns empty counters.
    pub(super) fn new(commons: Commons, config: &Config) -> Self {
        Self {
            // Span names are not routes: their number is bounded by the series'.
            book: Book::new(commons, config.span_series_per_commons_max, 0),
            graph: Graph::new(config.edges_pending_max, config.edge_wait),
        }
    }

    /// Takes the spans of a batch that was stored, in the schema of `model::span`.
    pub(super) fn observe_batch(&mut self, commons: &Commons, batch: &RecordBatch, now_ns: u64) {
        let columns = Columns::of(batch);
        let mut last: Option<(Tags, String, &str)> = None;
        for row in 0..batch.num_rows() {
            let resource = columns.resource.get(row);
            let is_same = |(tags, _, known): &(Tags, String, &str)| {
                *known == resource
                    && tags.env.as_deref().unwrap_or("") == columns.env.get(row)
                    && tags.cluster.as_deref().unwrap_or("") == columns.cluster.get(row)
            };
            if !last.as_ref().is_some_and(is_same) {
                let tags = columns.tags(commons, row);
                let service = service_of(resource, columns.service.get(row));
                last = Some((tags, service, resource));
            }
            let Some((tags, service, _)) = &last else { continue };
            self.observe(tags, &columns.span(row, service), now_ns);
        }
        self.graph.expire(&mut self.book, now_ns);
    }

    fn observe(&mut self, tags: &Tags, span: &Span<'_>, now_ns: u64) {
        let (kind, status) = (kind_label(span.kind), status_label(span.status));
        let pairs = [
            ("service", span.service),
            ("span_name", label(span.name)),
            ("span_kind", kind),
            ("status_code", status),
        ];
        self.book.count(&CALLS, tags, &pairs, 1.0);
        self.book.observe(&LATENCY, tags, &pairs, span.duration_s);
        #[expect(clippy::cast_precision_loss, reason = "a span is far below 2^53 bytes")]
        self.book.count(&SIZE, tags, &pairs, span.n_bytes as f64);
        if let Some(side) = Side::of(span.kind) {
            self.graph.take(&mut self.book, tags, span, side, now_ns);
        }
    }

    /// Gives every series' current value.
    pub(super) fn collect(&mut self, now_ns: u64, into: &mut Vec<super::DerivedSample>) {
        self.graph.expire(&mut self.book, now_ns);
        self.book.collect(into);
    }

    /// Returns how much did not fit since the last call: series, halves of calls.
    pub(super) fn take_overflows(&mut self) -> (u64, u64) {
        (self.book.take_overflows(), self.graph.take_overflows())
    }
}

fn service_of(resource: &str, tag: &str) -> String {
    match get(resource, "service.name").map(Json::of) {
        Some(Json::Text(name)) if !name.is_empty() => label(&name).to_owned(),
        _ => tag.to_owned(),
    }
}

fn label(text: &str) -> &str {
    &text[..text.floor_char_boundary(LABEL_BYTES_MAX)]
}

fn kind_label(kind: &str) -> &'static str {
    match kind {
        "internal" => "SPAN_KIND_INTERNAL",
        "server" => "SPAN_KIND_SERVER",
        "client" => "SPAN_KIND_CLIENT",
        "producer" => "SPAN_KIND_PRODUCER",
        "consumer" => "SPAN_KIND_CONSUMER",
        _ => "SPAN_KIND_UNSPECIFIED",
    }
}

fn status_label(status: &str) -> &'static str {
    match status {
        "ok" => "STATUS_CODE_OK",
        "error" => "STATUS_CODE_ERROR",
        _ => "STATUS_CODE_UNSET",
    }
}

/// A column of texts, of either kind.
struct Texts<'a>(&'a dyn Array);

impl<'a> Texts<'a> {
    fn get(&self, row: usize) -> &'a str {
        if let Some(texts) = self.0.as_string_opt::<i32>() {
            return if texts.is_null(row) { "" } else { texts.value(row) };
        }
        let dictionary = self.0.as_dictionary::<Int32Type>();
        dictionary.key(row).map_or("", |key| dictionary.values().as_string::<i32>().value(key))
    }
}

/// The columns that metrics are made of.
struct Columns<'a> {
    duration: &'a arrow::array::Int64Array,
    service: Texts<'a>,
    env: Texts<'a>,
    cluster: Texts<'a>,
    resource: Texts<'a>,
    trace_id: Texts<'a>,
    span_id: Texts<'a>,
    parent_span_id: Texts<'a>,
    name: Texts<'a>,
    kind: Texts<'a>,
    status: Texts<'a>,
    attributes: Texts<'a>,
    events: Texts<'a>,
    links: Texts<'a>,
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Self {
        let column = |name| batch.column_by_name(name).expect("the spans' schema has it");
        let texts = |name| Texts(column(name).as_ref());
        Self {
            duration: column("duration_ns").as_primitive::<Int64Type>(),
            service: texts("service"),
            env: texts("env"),
            cluster: texts("cluster"),
            resource: texts("resource"),
            trace_id: texts("trace_id"),
            span_id: texts("span_id"),
            parent_span_id: texts("parent_span_id"),
            name: texts("name"),
            kind: texts("kind"),
            status: texts("status_code"),
            attributes: texts("attributes"),
            events: texts("events"),
            links: texts("links"),
        }
    }

    /// The service is a label of its own here.
    fn tags(&self, commons: &Commons, row: usize) -> Tags {
        let some = |text: &str| (!text.is_empty()).then(|| Arc::from(text));
        Tags {
            commons: commons.clone(),
            env: some(self.env.get(row)),
            cluster: some(self.cluster.get(row)),
            ..Tags::unassigned()
        }
    }

    fn span<'s>(&'s self, row: usize, service: &'s str) -> Span<'s> {
        let (name, attributes) = (self.name.get(row), self.attributes.get(row));
        let n_bytes =
            name.len() + attributes.len() + self.events.get(row).len() + self.links.get(row).len();
        #[expect(clippy::cast_precision_loss, reason = "durations are told in doubles")]
        let duration_s = self.duration.value(row).max(0) as f64 / 1e9;
        Span {
            trace_id: self.trace_id.get(row),
            span_id: self.span_id.get(row),
            parent_span_id: self.parent_span_id.get(row),
            service,
            name,
            kind: self.kind.get(row),
            status: self.status.get(row),
            attributes,
            duration_s,
            n_bytes,
        }
    }
}
