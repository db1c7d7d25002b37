//! What attributes there are, and which values they have: the menus of a query builder.

use std::collections::{BTreeMap, BTreeSet};

use super::Limits;
use super::ast::Query;
use super::attribute::{Attribute, INTRINSICS, Scope};
use super::error::TraceqlError;
use super::eval::run;
use super::needs::Needs;
use super::scan::{Inspected, traces};
use super::sift::narrowed;
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
    let mut names = Names::default();
    if scope.is_none_or(|scope| scope == INTRINSIC) {
        let all = INTRINSICS.iter().map(|(name, _)| (*name).to_owned());
        names.scopes.insert(INTRINSIC, all.collect());
    }
    if scope == Some(INTRINSIC) {
        return Ok(names);
    }
    let wanted: Vec<(&'static str, Scope)> = Scope::NAMED
        .into_iter()
        .filter(|(name, _)| scope.is_none_or(|scope| scope == *name))
        .collect();
    let attributes: Vec<Attribute> =
        wanted.iter().map(|(_, scope)| Attribute::named(*scope, "")).collect();
    let query = filter_of(menu, limits);
    let needs = needs_of(&attributes, query.as_ref());
    names.inspected = spans(
        snapshot,
        menu,
        (&attributes, &needs),
        query.as_ref(),
        limits,
        budget,
        &mut |t, at| {
            for (name, scope) in &wanted {
                let known = names.scopes.entry(name).or_default();
                for object in t.objects(at, *scope) {
                    for (key, _) in members(object) {
                        if known.len() < menu.limit && !known.contains(key.as_ref()) {
                            known.insert(key.into_owned());
                        }
                    }
                }
            }
            true
        },
    )?;
    names.scopes.retain(|_, names| !names.is_empty());
    Ok(names)
}

/// Returns the values of an attribute.
pub(in crate::query) fn values(
    snapshot: &Snapshot,
    menu: &Menu,
    attribute: &Attribute,
    limits: &Limits,
    budget: &Budget,
) -> Result<Values, QueryError> {
    let mut values = Values::default();
    if let Attribute::Intrinsic(intrinsic) = attribute {
        let all: Option<(&'static str, &[&str])> = match intrinsic {
            super::Intrinsic::Status => Some(("keyword", &STATUSES)),
            super::Intrinsic::Kind => Some(("keyword", &KINDS)),
            _ => None,
        };
        if let Some((kind, all)) = all {
            values.values = all.iter().map(|name| (kind, (*name).to_owned())).collect();
            return Ok(values);
        }
    }
    let query = filter_of(menu, limits);
    let attributes = std::slice::from_ref(attribute);
    let needs = needs_of(attributes, query.as_ref());
    values.inspected = spans(
        snapshot,
        menu,
        (attributes, &needs),
        query.as_ref(),
        limits,
        budget,
        &mut |t, at| {
            match t.value(at, attribute) {
                Value::Nil => {}
                Value::Each(list) | Value::Array(list) => {
                    list.iter().for_each(|value| note(&mut values.values, value, menu.limit));
                }
                value => note(&mut values.values, &value, menu.limit),
            }
            values.values.len() < menu.limit
        },
    )?;
    Ok(values)
}

fn note(values: &mut BTreeSet<(&'static str, String)>, value: &Value<'_>, limit: usize) {
    if values.len() < limit && *value != Value::Nil {
        values.insert((value.type_name(), value.plain()));
    }
}

fn filter_of(menu: &Menu, limits: &Limits) -> Option<Query> {
    let query = super::parse(menu.query.as_deref()?, limits).ok()?;
    query.metrics.is_none().then_some(query)
}

fn needs_of(attributes: &[Attribute], query: Option<&Query>) -> Needs {
    let needs = Needs::of_attributes(attributes);
    match query {
        Some(query) => needs.and(Needs::of(query)),
        None => needs,
    }
}

/// Hands over each span that the filter lets through, until there are enough.
fn spans(
    snapshot: &Snapshot,
    menu: &Menu,
    (attributes, needs): (&[Attribute], &Needs),
    query: Option<&Query>,
    limits: &Limits,
    budget: &Budget,
    take: &mut dyn FnMut(&Trace, Place) -> bool,
) -> Result<Inspected, QueryError> {
    let range = SpanRange {
        min_ns: menu.start_ns,
        max_ns: menu.end_ns,
        columns: needs.columns(),
        traces: None,
        sift: None,
    };
    let range = match query {
        Some(query) => narrowed(range, query, needs, attributes, snapshot, budget)?,
        None => {
            let all = super::parse("{ }", limits)?;
            narrowed(range, &all, needs, attributes, snapshot, budget)?
        }
    };
    traces(snapshot, &range, limits, budget, &mut |trace| {
        let mut places: Vec<Place> = match query {
            None => (0..trace.len()).collect(),
            Some(query) => run(&query.stages, &trace).into_iter().flat_map(|s| s.spans).collect(),
        };
        places.sort_unstable();
        places.dedup();
        Ok(places.into_iter().all(|place| take(&trace, place)))
    })
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
