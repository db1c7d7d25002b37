//! Traces that match, the newest first.
//!
//! Where a query says what a single span must be like, a [`Sieve`] finds those in a few columns, one
//! file after the other, the newest first, and only the traces they are of are put together. A trace
//! begins no later than any of its spans, so the search ends when as many as were asked for began
//! after all that is left. Traces that a query names are found by their ids. Other queries look at
//! all traces of the range. Of those that match no more are kept than were asked for.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::Limits;
use super::ast::Query;
use super::attribute::{Attribute, Intrinsic};
use super::error::TraceqlError;
use super::eval::{Set, run};
use super::named::named_traces;
use super::needs::Needs;
use super::scan::{Inspected, traces};
use super::sieve::Sieve;
use super::sift::{ID_BYTES, Place, sift};
use super::trace::{Place as SpanPlace, Trace};
use super::value::Value;
use crate::query::QueryError;
use crate::query::promql::{Budget, Held};
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
    searching(snapshot, wanted, limits, budget, true)
}

/// Searches by looking at every trace, for tests to compare with.
#[cfg(test)]
pub(super) fn search_unsifted(
    snapshot: &Snapshot,
    wanted: &Search,
    limits: &Limits,
    budget: &Budget,
) -> Result<Found, QueryError> {
    searching(snapshot, wanted, limits, budget, false)
}

fn searching(
    snapshot: &Snapshot,
    wanted: &Search,
    limits: &Limits,
    budget: &Budget,
    may_sift: bool,
) -> Result<Found, QueryError> {
    let (n, max) = (wanted.limit, limits.traces_max);
    if n > max {
        let key = "query.traces_max";
        return Err(TraceqlError::Limit { what: "traces asked for", n, max, key }.into());
    }
    let query = super::parse(&wanted.query, limits)?;
    if query.is_metrics() {
        let message = "metrics queries are answered by api/metrics/query_range and query";
        return Err(TraceqlError::Invalid(message.to_owned()).into());
    }
    let mut search = Searching {
        snapshot,
        wanted,
        limits,
        budget,
        needs: Needs::of(&query),
        query: &query,
        kept: Kept { wanted, traces: Vec::new() },
        n_bytes: 0,
        inspected: Inspected::default(),
    };
    match (named_traces(&query), Sieve::of(&query)) {
        _ if !may_sift || wanted.limit == 0 => search.among(None)?,
        (Some(ids), _) => search.among(Some(ids))?,
        (None, Some(sieve)) => search.sifted(&sieve)?,
        (None, None) => search.among(None)?,
    }
    let inspected = search.inspected;
    let warnings = super::cut_warnings(inspected.n_cut, limits);
    Ok(Found { traces: search.kept.finish(), inspected, warnings })
}

/// A search under way.
struct Searching<'a> {
    snapshot: &'a Snapshot,
    wanted: &'a Search,
    limits: &'a Limits,
    budget: &'a Budget,
    query: &'a Query,
    needs: Needs,
    kept: Kept<'a>,
    n_bytes: usize,
    inspected: Inspected,
}

impl Searching<'_> {
    fn range(&self, columns: Vec<&'static str>, traces: Option<BTreeSet<String>>) -> SpanRange {
        let (min_ns, max_ns) = (self.wanted.start_ns, self.wanted.end_ns);
        SpanRange { min_ns, max_ns, columns, traces: traces.map(Arc::new), sift: None }
    }

    /// Puts traces together and keeps those that match: some, or all of the range.
    fn among(&mut self, ids: Option<BTreeSet<String>>) -> Result<(), QueryError> {
        let range = self.range(self.needs.columns(), ids);
        let (snapshot, limits, budget) = (self.snapshot, self.limits, self.budget);
        let inspected = traces(snapshot, &range, limits, budget, &mut |trace| {
            if self.kept.may_take(&trace)
                && let Some(found) = matching(self.query, &self.needs, &trace, self.wanted)
            {
                self.n_bytes += found.n_bytes();
                self.kept.take(found);
                super::check_bytes(self.n_bytes, budget)?;
            }
            Ok(true)
        })?;
        self.inspected.n_traces += inspected.n_traces;
        self.inspected.n_spans += inspected.n_spans;
        self.inspected.n_cut += inspected.n_cut;
        self.inspected.n_bytes = self.inspected.n_bytes.max(inspected.n_bytes);
        Ok(())
    }

    /// Looks at the traces of spans that pass the sieve, the newest first, until no other can be
    /// among the newest that match.
    fn sifted(&mut self, sieve: &Sieve) -> Result<(), QueryError> {
        let (min_ns, max_ns) = (self.wanted.start_ns, self.wanted.end_ns);
        let places = Place::all(self.snapshot, min_ns, max_ns);
        let mut held = self.budget.hold();
        let mut looked_at: HashSet<String> = HashSet::new();
        for place in &places {
            if self.kept.is_past(place.max_ns()) {
                break;
            }
            let found = self.sift(sieve, place, &looked_at, &mut held)?;
            looked_at.extend(found.keys().cloned());
            self.newest_of(found)?;
        }
        Ok(())
    }

    /// Returns the traces of a place that were not looked at and have a span that passes, with the
    /// earliest start of such a span.
    fn sift(
        &mut self,
        sieve: &Sieve,
        place: &Place,
        looked_at: &HashSet<String>,
        held: &mut Held<'_>,
    ) -> Result<HashMap<String, i64>, QueryError> {
        let range = self.range(sieve.columns(), None);
        let mut found: HashMap<String, i64> = HashMap::new();
        let mut ended = Ok(());
        let mut note = |id: &str, start_ns: i64| {
            if let Some(known) = found.get_mut(id) {
                *known = start_ns.min(*known);
                return true;
            }
            if !looked_at.contains(id) {
                found.insert(id.to_owned(), start_ns);
                let n_ids = looked_at.len() + 2 * found.len();
                ended = held.set(n_ids * (ID_BYTES + id.len()));
            }
            ended.is_ok()
        };
        sift(self.snapshot, sieve, &range, place, self.budget, &mut note)?;
        ended?;
        Ok(found)
    }

    /// Looks at traces by what is known of their start: a few first, which mostly are enough.
    fn newest_of(&mut self, found: HashMap<String, i64>) -> Result<(), QueryError> {
        let mut ids: Vec<(i64, String)> =
            found.into_iter().map(|(id, start_ns)| (start_ns, id)).collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        let mut rest = ids.as_slice();
        let mut n_now = 2 * self.wanted.limit.max(FEW_TRACES);
        while let Some((newest_ns, _)) = rest.first() {
            if self.kept.is_past(*newest_ns) {
                return Ok(());
            }
            let (now, later) = rest.split_at(n_now.min(rest.len()));
            self.among(Some(now.iter().map(|(_, id)| id.clone()).collect()))?;
            (rest, n_now) = (later, usize::MAX);
        }
        Ok(())
    }
}

/// Traces that are put together first, at least half as many.
const FEW_TRACES: usize = 10;

struct Kept<'a> {
    wanted: &'a Search,
    traces: Vec<FoundTrace>,
}

impl Kept<'_> {
    /// Returns false for a trace that is older than all that are kept.
    fn may_take(&self, trace: &Trace) -> bool {
        self.wanted.limit > 0
            && (self.traces.len() < 2 * self.wanted.limit
                || self.traces.iter().any(|kept| kept.start_ns <= trace.start_ns))
    }

    fn take(&mut self, trace: FoundTrace) {
        self.traces.push(trace);
        // Twice as many, so that they are sorted now and then and not each time.
        if self.traces.len() > 2 * self.wanted.limit {
            self.keep_newest();
        }
    }

    /// Returns true when no trace that begins at a time or earlier would be kept.
    fn is_past(&mut self, start_ns: i64) -> bool {
        if self.traces.len() < self.wanted.limit {
            return false;
        }
        self.keep_newest();
        // Of those that begin at the same time the id decides.
        self.traces.last().is_some_and(|last| last.start_ns > start_ns)
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

fn found_span(place: SpanPlace, needs: &Needs, trace: &Trace) -> FoundSpan {
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
