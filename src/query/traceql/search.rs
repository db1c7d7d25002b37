//! Traces that match, the newest first.
//!
//! All traces of the range are looked at, because which are the newest is known only then; of those
//! that match no more are kept than were asked for.

use std::collections::BTreeMap;

use super::Limits;
use super::ast::Query;
use super::attribute::{Attribute, Intrinsic};
use super::error::TraceqlError;
use super::eval::{Set, run};
use super::needs::Needs;
use super::scan::{Inspected, traces};
use super::trace::{Place, Trace};
use super::value::Value;
use crate::query::QueryError;
use crate::query::promql::Budget;
use crate::storage::{Snapshot, SpanRange};

/// What a search asks.
#[derive(Debug, Clone)]
pub struct Search {
    /// The TraceQL text.
    pub query: String,
    /// Spans that began from here, ns since 1970 UTC, inclusive.
    pub start_ns: i64,
    /// … to here, inclusive.
    pub end_ns: i64,
    /// At most this many traces.
    pub limit: usize,
    /// At most this many spans of each spanset; 0 is all.
    pub spans_per_set: usize,
}

/// Traces that match.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Newest first.
    pub traces: Vec<FoundTrace>,
    /// What was read for that.
    pub inspected: Inspected,
    /// Why there may be more than these; empty when there are not.
    pub warnings: Vec<String>,
}

/// A trace that matches.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundTrace {
    /// 32 hex digits.
    pub trace_id: String,
    /// The service of its root, or what Tempo says while that is missing.
    pub root_service: String,
    /// The name of its root.
    pub root_name: String,
    /// When it began, ns since 1970 UTC.
    pub start_ns: i64,
    /// From its first span's start to its last one's end.
    pub duration_ns: i64,
    /// The spans that match.
    pub sets: Vec<FoundSet>,
    /// Spans and failed spans of each service.
    pub services: BTreeMap<String, (u32, u32)>,
}

/// Spans that match together.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundSet {
    /// Some of them, those that began first.
    pub spans: Vec<FoundSpan>,
    /// How many there are.
    pub n_matched: usize,
    /// What the pipeline found of them.
    pub attributes: Vec<(String, Value<'static>)>,
}

/// A span that matches.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundSpan {
    /// 16 hex digits.
    pub span_id: String,
    /// The operation.
    pub name: String,
    /// When it began, ns since 1970 UTC.
    pub start_ns: i64,
    /// How long it took.
    pub duration_ns: i64,
    /// What the query names of it.
    pub attributes: Vec<(String, Value<'static>)>,
}

/// What Tempo says of a trace whose root has not arrived.
const NO_ROOT: &str = "<root span not yet received>";

/// Searches.
pub(in crate::query) fn search(
    snapshot: &Snapshot,
    wanted: &Search,
    limits: &Limits,
    budget: &Budget,
) -> Result<Found, QueryError> {
    let (n, max) = (wanted.limit, limits.traces_max);
    if n > max {
        let key = "query.traces_max";
        return Err(TraceqlError::Limit { what: "traces asked for", n, max, key }.into());
    }
    let query = super::parse(&wanted.query, limits)?;
    if query.metrics.is_some() {
        let message = "metrics queries are answered by api/metrics/query_range and query";
        return Err(TraceqlError::Invalid(message.to_owned()).into());
    }
    let needs = Needs::of(&query);
    let range =
        SpanRange { min_ns: wanted.start_ns, max_ns: wanted.end_ns, columns: needs.columns() };
    let mut kept = Kept { wanted, traces: Vec::new() };
    let mut n_bytes = 0_usize;
    let inspected = traces(snapshot, &range, limits, budget, &mut |trace| {
        if kept.may_take(&trace)
            && let Some(found) = matching(&query, &needs, &trace, wanted)
        {
            n_bytes += found.n_bytes();
            kept.take(found);
            super::check_bytes(n_bytes, budget)?;
        }
        Ok(true)
    })?;
    let warnings = super::cut_warnings(inspected.n_cut, limits);
    Ok(Found { traces: kept.finish(), inspected, warnings })
}

struct Kept<'a> {
    wanted: &'a Search,
    traces: Vec<FoundTrace>,
}

impl Kept<'_> {
    /// Returns false for a trace that is older than all that are kept.
    fn may_take(&self, trace: &Trace) -> bool {
        self.wanted.limit > 0
            && (self.traces.len() < 2 * self.wanted.limit
                || self.traces.iter().any(|kept| kept.start_ns < trace.start_ns))
    }

    fn take(&mut self, trace: FoundTrace) {
        self.traces.push(trace);
        // Twice as many, so that they are sorted now and then and not each time.
        if self.traces.len() > 2 * self.wanted.limit {
            self.keep_newest();
        }
    }

    fn keep_newest(&mut self) {
        self.traces.sort_by(|a, b| b.start_ns.cmp(&a.start_ns).then(a.trace_id.cmp(&b.trace_id)));
        self.traces.truncate(self.wanted.limit);
    }

    fn finish(mut self) -> Vec<FoundTrace> {
        self.keep_newest();
        self.traces
    }
}

/// Returns what a query finds in a trace, if it does.
fn matching(query: &Query, needs: &Needs, trace: &Trace, wanted: &Search) -> Option<FoundTrace> {
    let sets = run(&query.stages, trace);
    if sets.is_empty() {
        return None;
    }
    let mut services: BTreeMap<String, (u32, u32)> = BTreeMap::new();
    for place in 0..trace.len() {
        let (n_spans, n_errors) = services.entry(trace.service(place)).or_default();
        *n_spans += 1;
        *n_errors += u32::from(trace.is_error(place));
    }
    let root = trace.root();
    let sets = sets.into_iter().map(|set| found_set(set, needs, trace, wanted));
    Some(FoundTrace {
        trace_id: trace.id().to_owned(),
        root_service: root.map_or(NO_ROOT.to_owned(), |root| trace.service(root)),
        root_name: root.map_or(String::new(), |root| trace.name(root).to_owned()),
        start_ns: trace.start_ns,
        duration_ns: trace.end_ns.saturating_sub(trace.start_ns),
        sets: sets.collect(),
        services,
    })
}

fn found_set(set: Set, needs: &Needs, trace: &Trace, wanted: &Search) -> FoundSet {
    let n_shown = if wanted.spans_per_set == 0 { usize::MAX } else { wanted.spans_per_set };
    let spans = set.spans.iter().take(n_shown).map(|&place| found_span(place, needs, trace));
    FoundSet { spans: spans.collect(), n_matched: set.spans.len(), attributes: set.attributes }
}

fn found_span(place: Place, needs: &Needs, trace: &Trace) -> FoundSpan {
    let shown = needs.shown.iter().filter(|attribute| !is_told_elsewhere(attribute));
    let attributes = shown.filter_map(|attribute| {
        let value = trace.value(place, attribute).first().into_owned();
        (value != Value::Nil).then(|| (attribute.short(), value))
    });
    FoundSpan {
        span_id: trace.span_id(place).to_owned(),
        name: trace.name(place).to_owned(),
        start_ns: trace.start(place),
        duration_ns: trace.duration(place),
        attributes: attributes.collect(),
    }
}

/// What an answer has a field of its own for.
fn is_told_elsewhere(attribute: &Attribute) -> bool {
    matches!(
        attribute,
        Attribute::Intrinsic(
            Intrinsic::Duration
                | Intrinsic::Name
                | Intrinsic::SpanId
                | Intrinsic::TraceId
                | Intrinsic::TraceDuration
                | Intrinsic::RootName
                | Intrinsic::RootService
        )
    )
}

impl FoundTrace {
    /// Returns about how many bytes it takes in an answer.
    fn n_bytes(&self) -> usize {
        let of_pairs = |pairs: &[(String, Value<'_>)]| -> usize {
            pairs.iter().map(|(name, value)| 32 + name.len() + value.plain().len()).sum()
        };
        let of_span = |span: &FoundSpan| 96 + span.name.len() + of_pairs(&span.attributes);
        let of_set = |set: &FoundSet| {
            64 + of_pairs(&set.attributes) + set.spans.iter().map(of_span).sum::<usize>()
        };
        160 + self.root_name.len()
            + self.root_service.len()
            + self.sets.iter().map(of_set).sum::<usize>()
            + self.services.keys().map(|name| 48 + name.len()).sum::<usize>()
    }
}
