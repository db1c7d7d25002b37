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
//! Calls also have `client_service_namespace` and `server_service_namespace` where a side has a
//! `service.namespace`: to Grafana, services of one name in two namespaces are two. A request that came
//! from outside is a call by `user` ([`visits`]).
//! `service`, `client` and `server` are the sender's `service.name`, so that a click in the graph finds
//! the spans; `commons`, `env` and `cluster` are as decided for the row. The book is the spans' own: a
//! sender whose span names never end fills it, and not that of the log lines.
//!
//! Spans of one name, kind and status are added up over a batch before the book hears of them
//! ([`groups`]). Each histogram names a few of the spans that it counts, so that a dot in its graph
//! opens a trace (`derive::examples`).

mod columns;
mod graph;
mod groups;
mod visits;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::book::Book;
use super::config::Config;
use crate::model::{Commons, Tags};
use columns::Columns;
use graph::{Graph, Side};
use groups::Groups;
use visits::Visits;

/// Longer names of spans and services are not made labels.
const LABEL_BYTES_MAX: usize = 256;

/// A stored span, as far as the graph of calls is made of it.
#[derive(Debug, Clone, Copy)]
struct Span<'a> {
    trace_id: &'a str,
    span_id: &'a str,
    parent_span_id: &'a str,
    attributes: &'a str,
    is_messaging: bool,
    is_failed: bool,
    duration_s: f64,
}

/// Whose spans follow each other in a batch.
#[derive(Debug)]
struct Party {
    /// The service is a label of its own here, and not among these.
    tags: Tags,
    service: Box<str>,
    /// Empty for most.
    namespace: Box<str>,
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
        let mut row = 0;
        while row < batch.num_rows() {
            let party = Arc::new(columns.party(commons, row));
            let end = columns.end_of_party(row);
            self.observe(&columns, row..end, &party, now_ns);
            row = end;
        }
        self.graph.expire(&mut self.book, now_ns);
    }

    /// Takes spans of one party.
    fn observe(
        &mut self,
        columns: &Columns<'_>,
        rows: std::ops::Range<usize>,
        party: &Arc<Party>,
        now_ns: u64,
    ) {
        let (mut groups, mut visits) = (Groups::default(), Visits::new());
        for row in rows {
            groups.add(columns.group(row), row, columns.duration_s(row), columns.n_bytes(row));
            let Some(side) = Side::of(columns.kind.get(row)) else { continue };
            let span = columns.span(row);
            match side {
                Side::Server if span.parent_span_id.is_empty() => visits.add(span),
                _ => self.graph.take(&mut self.book, party, &span, side, now_ns),
            }
        }
        groups.settle(&mut self.book, party, columns);
        visits.settle(&mut self.book, party);
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

fn label(text: &str) -> &str {
    &text[..text.floor_char_boundary(LABEL_BYTES_MAX)]
}
