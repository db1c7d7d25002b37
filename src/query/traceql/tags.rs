//! What attributes there are, and which values they have: the menus of a query builder.
//!
//! Where each span answers by itself, columns are looked through and no trace is put together; a menu
//! is a set, so it does not matter that a span which came twice is looked at twice.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Limits;
use super::ast::{Query, Spanset, Stage};
use super::attribute::{Attribute, INTRINSICS, Intrinsic, Scope};
use super::batch::Batch;
use super::error::TraceqlError;
use super::eval::places;
use super::menu_columns::{NameColumns, ValueColumns};
use super::named::named_traces;
use super::needs::Needs;
use super::rows::rows;
use super::scan::{Inspected, traces};
use super::sift::{is_of_single_spans, is_of_span, narrowed, sift_of};
use super::trace::{Place, Trace};
use super::value::{KINDS, STATUSES, Value};
use crate::model::json_read::{elements, get, members};
use crate::query::QueryError;
use crate::query::promql::Budget;
use crate::storage::{Snapshot, SpanRange};

/// Which names or values are wanted.
#[derive(Debug, Clone)]
pub struct Menu {
    /// Only of spans that this filter lets through; one that cannot be read filters nothing,
    /// because people ask for values while they write.
    pub query: Option<String>,
    /// Spans that began from here, ns since 1970 UTC, inclusive.
    pub start_ns: i64,
    /// … to here, inclusive.
    pub end_ns: i64,
    /// At most this many of each scope.
    pub limit: usize,
}

/// The names of attributes by their scopes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// Sorted, under the scope's name.
    pub scopes: BTreeMap<&'static str, BTreeSet<String>>,
    /// What was read for that.
    pub inspected: Inspected,
}

/// The values of an attribute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values {
    /// (type, value), sorted.
    pub values: BTreeSet<(&'static str, String)>,
    /// What was read for that.
    pub inspected: Inspected,
}

/// The scope under which intrinsics are listed.
const INTRINSIC: &str = "intrinsic";

/// Returns a scope by its name; none is all of them.
pub fn scope_named(name: &str) -> Result<Option<&'static str>, TraceqlError> {
    if matches!(name, "" | "none") {
        return Ok(None);
    }
    let names = Scope::NAMED.iter().map(|(name, _)| *name).chain([INTRINSIC]);
    let found = names.into_iter().find(|known| *known == name);
    found.map(Some).ok_or_else(|| TraceqlError::Invalid(format!("invalid scope: {name}")))
}

/// Returns the names of attributes.
pub(in crate::query) fn names(
    snapshot: &Snapshot,
    menu: &Menu,
    scope: Option<&'static str>,
    limits: &Limits,
    budget: &Budget,
) -> Result<Names, QueryError> {
    Asking { snapshot, menu, limits, budget, may_skip_traces: true }.names(scope)
}

/// Returns the values of an attribute.
pub(in crate::query) fn values(
    snapshot: &Snapshot,
    menu: &Menu,
    attribute: &Attribute,
    limits: &Limits,
    budget: &Budget,
) -> Result<Values, QueryError> {
    Asking { snapshot, menu, limits, budget, may_skip_traces: true }.values(attribute)
}

/// A menu being made.
#[derive(Clone, Copy)]
pub(super) struct Asking<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) menu: &'a Menu,
    pub(super) limits: &'a Limits,
    pub(super) budget: &'a Budget,
    /// False puts traces together for every menu, for tests to compare with.
    pub(super) may_skip_traces: bool,
}

/// A scope and its name.
type Wanted = (&'static str, Scope);
/// Names by their scopes, and what was read for that.
type ByScope = (BTreeMap<&'static str, BTreeSet<String>>, Inspected);

/// Takes the rows of a batch that pass; returns false when there are enough.
type TakeRows<'t> = dyn FnMut(&Arc<Batch>, &[usize]) -> Result<bool, QueryError> + 't;

/// What is asked about, and of which spans.
struct Asked<'q> {
    attributes: &'q [Attribute],
    /// `None` lets all spans through.
    query: Option<&'q Query>,
    needs: Needs,
}

impl Asked<'_> {
    /// Returns true when each span answers by itself, whatever trace it is of.
    fn is_of_single_spans(&self) -> bool {
        self.query.is_none_or(is_of_single_spans) && self.attributes.iter().all(is_of_span)
    }
}

impl Asking<'_> {
    /// Returns the names of one scope or of all.
    pub(super) fn names(&self, scope: Option<&'static str>) -> Result<Names, QueryError> {
        let mut names = Names::default();
        if scope.is_none_or(|scope| scope == INTRINSIC) {
            let all = INTRINSICS.iter().map(|(name, _)| (*name).to_owned());
            names.scopes.insert(INTRINSIC, all.collect());
        }
        if scope == Some(INTRINSIC) {
            return Ok(names);
        }
        let wanted: Vec<Wanted> = Scope::NAMED
            .into_iter()
            .filter(|(name, _)| scope.is_none_or(|scope| scope == *name))
            .collect();
        let attributes: Vec<Attribute> =
            wanted.iter().map(|(_, scope)| Attribute::named(*scope, "")).collect();
        let query = self.filter();
        let asked = asked(&attributes, query.as_ref());
        let (scopes, inspected) = match self.may_skip_traces && asked.is_of_single_spans() {
            true => self.names_of_rows(&asked, &wanted)?,
            false => self.names_of_spans(&asked, &wanted)?,
        };
        names.inspected = inspected;
        names.scopes.extend(scopes.into_iter().filter(|(_, names)| !names.is_empty()));
        Ok(names)
    }

    fn names_of_rows(&self, asked: &Asked<'_>, wanted: &[Wanted]) -> Result<ByScope, QueryError> {
        let mut columns = NameColumns::new(wanted, self.menu.limit);
        let inspected = self.rows(asked, &mut |batch, rows| {
            let wants_more = columns.take(batch, rows);
            super::check_bytes(columns.n_bytes(), self.budget)?;
            Ok(wants_more)
        })?;
        Ok((columns.finish(), inspected))
    }

    fn names_of_spans(&self, asked: &Asked<'_>, wanted: &[Wanted]) -> Result<ByScope, QueryError> {
        let mut scopes: BTreeMap<&'static str, BTreeSet<String>> = BTreeMap::new();
        let mut n_bytes = 0;
        let inspected = self.spans(asked, &mut |trace, place| {
            for (name, scope) in wanted {
                let known = scopes.entry(name).or_default();
                n_bytes += note_names(known, trace.objects(place, *scope), self.menu.limit);
            }
            n_bytes <= self.budget.limits.result_bytes_max
        })?;
        super::check_bytes(n_bytes, self.budget)?;
        Ok((scopes, inspected))
    }

    /// Returns the values of an attribute.
    pub(super) fn values(&self, attribute: &Attribute) -> Result<Values, QueryError> {
        let mut values = Values::default();
        if let Some((kind, all)) = all_values(attribute) {
            values.values = all.iter().map(|name| (kind, (*name).to_owned())).collect();
            return Ok(values);
        }
        let query = self.filter();
        let asked = asked(std::slice::from_ref(attribute), query.as_ref());
        if self.may_skip_traces && asked.is_of_single_spans() {
            return self.values_of_rows(&asked, attribute);
        }
        let mut n_bytes = 0;
        values.inspected = self.spans(&asked, &mut |trace, place| {
            n_bytes += note(&mut values.values, &trace.value(place, attribute), self.menu.limit);
            n_bytes <= self.budget.limits.result_bytes_max && values.values.len() < self.menu.limit
        })?;
        super::check_bytes(n_bytes, self.budget)?;
        Ok(values)
    }

    fn values_of_rows(
        &self,
        asked: &Asked<'_>,
        attribute: &Attribute,
    ) -> Result<Values, QueryError> {
        let mut columns = ValueColumns::new(attribute, self.menu.limit);
        let mut held = self.budget.hold();
        let inspected = self.rows(asked, &mut |batch, rows| {
            let wants_more = columns.take(batch, rows);
            held.set(columns.n_bytes())?;
            super::check_bytes(columns.n_value_bytes(), self.budget)?;
            Ok(wants_more)
        })?;
        Ok(Values { values: columns.finish(), inspected })
    }

    /// Returns the filter, if it keeps any span out.
    fn filter(&self) -> Option<Query> {
        let query = super::parse(self.menu.query.as_deref()?, self.limits).ok()?;
        let is_open =
            |stage: &Stage| matches!(stage, Stage::Spans(Spanset::Filter(None)) | Stage::Select(_));
        (!query.is_metrics() && !query.stages.iter().all(is_open)).then_some(query)
    }

    /// Hands over the rows that the filter lets through, of questions about single spans.
    fn rows(&self, asked: &Asked<'_>, take: &mut TakeRows<'_>) -> Result<Inspected, QueryError> {
        let (columns, sift) =
            (asked.needs.columns_of_rows(), asked.query.and_then(|query| sift_of(&[query])));
        let traces = asked.query.and_then(named_traces).map(Arc::new);
        let range = SpanRange { traces, sift, ..self.range(columns) };
        rows(self.snapshot, &range, self.budget, &mut |batch, rows| match asked.query {
            None => take(batch, &rows),
            Some(query) => take(batch, &passing(query, batch, &rows)),
        })
    }

    /// Hands over each span that the filter lets through, of whole traces, until there are enough.
    fn spans(
        &self,
        asked: &Asked<'_>,
        take: &mut dyn FnMut(&Trace, Place) -> bool,
    ) -> Result<Inspected, QueryError> {
        let Self { snapshot, limits, budget, .. } = *self;
        let Asked { attributes, query, needs } = asked;
        let range = self.range(needs.columns());
        let range = match query {
            Some(query) => narrowed(range, &[*query], needs, attributes, snapshot, budget)?,
            None => {
                let all = super::parse("{ }", limits)?;
                narrowed(range, &[&all], needs, attributes, snapshot, budget)?
            }
        };
        traces(snapshot, &range, limits, budget, &mut |trace| {
            let places: Vec<Place> = match query {
                None => (0..trace.len()).collect(),
                Some(query) => places(&query.stages, &trace),
            };
            Ok(places.into_iter().all(|place| take(&trace, place)))
        })
    }

    fn range(&self, columns: Vec<&'static str>) -> SpanRange {
        let (min_ns, max_ns) = (self.menu.start_ns, self.menu.end_ns);
        SpanRange { min_ns, max_ns, columns, traces: None, sift: None }
    }
}

/// Returns the values that an attribute can have, if they are always the same few.
fn all_values(attribute: &Attribute) -> Option<(&'static str, &'static [&'static str])> {
    match attribute {
        Attribute::Intrinsic(Intrinsic::Status) => Some(("keyword", &STATUSES)),
        Attribute::Intrinsic(Intrinsic::Kind) => Some(("keyword", &KINDS)),
        _ => None,
    }
}

fn asked<'q>(attributes: &'q [Attribute], query: Option<&'q Query>) -> Asked<'q> {
    let needs = Needs::of_attributes(attributes);
    let needs = match query {
        Some(query) => needs.and(Needs::of(query)),
        None => needs,
    };
    Asked { attributes, query, needs }
}

/// Returns those of some rows that a filter about single spans lets through.
fn passing(query: &Query, batch: &Arc<Batch>, rows: &[usize]) -> Vec<usize> {
    let spans = rows.iter().map(|&row| (Arc::clone(batch), row)).collect();
    let passing = places(&query.stages, &Trace::of_strangers(spans));
    passing.into_iter().map(|place| rows[place]).collect()
}

/// What a text of a menu takes in an answer beside itself, about.
pub(super) const TEXT_BYTES: usize = 24;

/// Notes a value, or each of several; returns how many bytes the menu has more.
pub(super) fn note(
    values: &mut BTreeSet<(&'static str, String)>,
    value: &Value<'_>,
    limit: usize,
) -> usize {
    match value {
        Value::Each(list) | Value::Array(list) => {
            list.iter().map(|value| note_one(values, value, limit)).sum()
        }
        value => note_one(values, value, limit),
    }
}

fn note_one(
    values: &mut BTreeSet<(&'static str, String)>,
    value: &Value<'_>,
    limit: usize,
) -> usize {
    if values.len() >= limit || *value == Value::Nil {
        return 0;
    }
    let text = value.plain();
    let n_bytes = TEXT_BYTES + text.len();
    if values.insert((value.type_name(), text)) { n_bytes } else { 0 }
}

/// Notes the names of members; returns how many bytes the menu has more.
fn note_names(known: &mut BTreeSet<String>, objects: Vec<&str>, limit: usize) -> usize {
    let mut n_bytes = 0;
    for (name, _) in objects.into_iter().flat_map(members) {
        if known.len() < limit && !known.contains(name.as_ref()) {
            n_bytes += TEXT_BYTES + name.len();
            known.insert(name.into_owned());
        }
    }
    n_bytes
}

impl Trace {
    /// Returns the objects of attributes that a span has in a scope.
    fn objects(&self, place: Place, scope: Scope) -> Vec<&str> {
        match scope {
            Scope::Span | Scope::Any => vec![self.attributes(place)],
            Scope::Resource => vec![self.resource(place)],
            Scope::Instrumentation => vec![self.scope_attributes(place)],
            Scope::Event => {
                elements(self.events(place)).filter_map(|item| get(item, "attributes")).collect()
            }
            Scope::Link => {
                elements(self.links(place)).filter_map(|item| get(item, "attributes")).collect()
            }
        }
    }
}
