//! Which spans a trace must have one of to match, told from few columns.
//!
//! Most traces do not match, and most conditions speak of a span alone: its name, duration, status,
//! an attribute. Those columns are read first, and whole traces only where some span passes. What a
//! condition says of other spans, or of what is not among these columns, is left out: then more
//! traces pass, never fewer.

use std::collections::HashMap;

use arrow::array::{AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use regex::Regex;

use super::ast::{Compare, Field, Form, Logic, Query, Spanset, SpansetOp, Stage};
use super::attribute::{Attribute, Intrinsic, Scope};
use super::batch::Texts;
use super::trace::{kind_of, present, status_of};
use super::value::{Value, compare, matches};
use crate::model::json_read::Name;

/// What one of a trace's spans must be like.
#[derive(Debug)]
pub(super) struct Sieve {
    test: Test,
    columns: Vec<&'static str>,
}

#[derive(Debug)]
enum Test {
    All(Vec<Test>),
    Any(Vec<Test>),
    One { place: Place, condition: Condition },
}

/// Where a value stands.
#[derive(Debug)]
enum Place {
    Name,
    Kind,
    Status,
    StatusMessage,
    Duration,
    /// Less than 0 where there is no parent.
    Root,
    TraceId,
    SpanId,
    /// Nil where there is no parent.
    ParentId,
    Span(Box<Name>),
    Resource(Box<Name>),
    /// On the span, or else on its resource.
    Either(Box<Name>),
}

#[derive(Debug)]
enum Condition {
    /// The value on the left.
    Left(Compare, Value<'static>),
    /// The value on the right.
    Right(Compare, Value<'static>),
    Matches(Regex, bool),
}

impl Sieve {
    /// Returns the sieve of a query, or `None` when any trace may match.
    pub(super) fn of(query: &Query) -> Option<Self> {
        Self::of_any(&[query])
    }

    /// Returns what lets through whatever one of some queries looks for, or `None` when one of them
    /// may match any trace.
    pub(super) fn of_any(queries: &[&Query]) -> Option<Self> {
        let tests = queries.iter().map(|query| of_stages(&query.stages));
        let mut tests = tests.collect::<Option<Vec<Test>>>()?;
        let test = if tests.len() == 1 { tests.remove(0) } else { Test::Any(tests) };
        let mut columns = Vec::new();
        test.add_columns(&mut columns);
        Some(Self { test, columns })
    }

    /// Returns the columns that are looked at.
    pub(super) fn columns(&self) -> Vec<&'static str> {
        self.columns.clone()
    }

    /// Returns which spans of a batch pass.
    pub(super) fn passes(&self, batch: &RecordBatch) -> Vec<bool> {
        let columns = Columns::of(batch);
        let mut passes = vec![true; batch.num_rows()];
        self.test.narrow(&columns, &mut passes);
        passes
    }
}

fn of_stages(stages: &[Stage]) -> Option<Test> {
    match stages.first() {
        Some(Stage::Spans(spanset)) => of_spanset(spanset),
        _ => None,
    }
}

fn of_spanset(spanset: &Spanset) -> Option<Test> {
    match spanset {
        Spanset::Filter(field) => of_field(field.as_ref()?),
        Spanset::Pipeline(stages) => of_stages(stages),
        Spanset::Operation(SpansetOp::Or, a, b) => {
            Some(Test::Any(vec![of_spanset(a)?, of_spanset(b)?]))
        }
        Spanset::Operation(SpansetOp::Related(_, Form::Negated), _, b) => of_spanset(b),
        // Both sides must have some spans: the one that is cheaper to look for is looked for.
        Spanset::Operation(SpansetOp::And | SpansetOp::Related(..), a, b) => {
            let tests = of_spanset(a).into_iter().chain(of_spanset(b));
            tests.min_by_key(|test| {
                let mut columns = Vec::new();
                test.add_columns(&mut columns);
                (columns.contains(&"attributes"), columns.len())
            })
        }
    }
}

fn of_field(field: &Field) -> Option<Test> {
    match field {
        Field::Logic(Logic::And, a, b) => match (of_field(a), of_field(b)) {
            (Some(a), Some(b)) => Some(Test::All(vec![a, b])),
            (a, b) => a.or(b),
        },
        Field::Logic(Logic::Or, a, b) => Some(Test::Any(vec![of_field(a)?, of_field(b)?])),
        field if is_root(field) => {
            let condition = Condition::Left(Compare::Less, Value::Int(0));
            Some(Test::One { place: Place::Root, condition })
        }
        Field::Compare(op, a, b) => match (&**a, &**b) {
            (Field::Attribute(attribute), Field::Static(value)) => {
                let condition = Condition::Left(*op, value.clone());
                Some(Test::One { place: place_of(attribute)?, condition })
            }
            (Field::Static(value), Field::Attribute(attribute)) => {
                let condition = Condition::Right(*op, value.clone());
                Some(Test::One { place: place_of(attribute)?, condition })
            }
            _ => None,
        },
        Field::Matches(inner, pattern, is_negated) => match &**inner {
            Field::Attribute(attribute) => {
                let condition = Condition::Matches(pattern.regex.clone(), *is_negated);
                Some(Test::One { place: place_of(attribute)?, condition })
            }
            _ => None,
        },
        Field::Static(_)
        | Field::Attribute(_)
        | Field::Minus(_)
        | Field::Not(_)
        | Field::Cidr(..)
        | Field::Arithmetic(..) => None,
    }
}

/// Returns true for `nestedSetParent < 0`, which asks for spans without a parent and needs no others
/// to be told. Grafana's Traces Drilldown begins every query with it.
pub(super) fn is_root(field: &Field) -> bool {
    let Field::Compare(Compare::Less, a, b) = field else { return false };
    matches!(
        (&**a, &**b),
        (
            Field::Attribute(Attribute::Intrinsic(Intrinsic::NestedSetParent)),
            Field::Static(Value::Int(0))
        )
    )
}

fn place_of(attribute: &Attribute) -> Option<Place> {
    Some(match attribute {
        Attribute::Intrinsic(Intrinsic::Name) => Place::Name,
        Attribute::Intrinsic(Intrinsic::Kind) => Place::Kind,
        Attribute::Intrinsic(Intrinsic::Status) => Place::Status,
        Attribute::Intrinsic(Intrinsic::StatusMessage) => Place::StatusMessage,
        Attribute::Intrinsic(Intrinsic::Duration) => Place::Duration,
        Attribute::Intrinsic(Intrinsic::TraceId) => Place::TraceId,
        Attribute::Intrinsic(Intrinsic::SpanId) => Place::SpanId,
        Attribute::Intrinsic(Intrinsic::ParentId) => Place::ParentId,
        Attribute::Named { of_parent: false, scope: Scope::Span, name } => {
            Place::Span(Box::new(Name::new(name)))
        }
        Attribute::Named { of_parent: false, scope: Scope::Resource, name } => {
            Place::Resource(Box::new(Name::new(name)))
        }
        Attribute::Named { of_parent: false, scope: Scope::Any, name } => {
            Place::Either(Box::new(Name::new(name)))
        }
        Attribute::Intrinsic(_) | Attribute::Named { .. } => return None,
    })
}

impl Place {
    fn columns(&self) -> &'static [&'static str] {
        match self {
            Place::Name => &["name"],
            Place::Kind => &["kind"],
            Place::Status => &["status_code"],
            Place::StatusMessage => &["status_message"],
            Place::Duration => &["duration_ns"],
            Place::Root | Place::ParentId => &["parent_span_id"],
            Place::TraceId => &["trace_id"],
            Place::SpanId => &["span_id"],
            Place::Span(_) => &["attributes"],
            Place::Resource(_) => &["resource"],
            Place::Either(_) => &["attributes", "resource"],
        }
    }
}

impl Condition {
    fn holds(&self, value: &Value<'_>) -> bool {
        match self {
            Condition::Left(op, other) => compare(*op, value, other),
            Condition::Right(op, other) => compare(*op, other, value),
            Condition::Matches(regex, is_negated) => matches(value, regex, *is_negated),
        }
    }
}

impl Test {
    fn add_columns(&self, columns: &mut Vec<&'static str>) {
        match self {
            Test::All(tests) | Test::Any(tests) => {
                tests.iter().for_each(|test| test.add_columns(columns));
            }
            Test::One { place, .. } => {
                for column in place.columns() {
                    if !columns.contains(column) {
                        columns.push(column);
                    }
                }
            }
        }
    }

    /// Takes out the spans that do not pass.
    fn narrow(&self, columns: &Columns, passes: &mut [bool]) {
        match self {
            Test::All(tests) => tests.iter().for_each(|test| test.narrow(columns, passes)),
            Test::Any(tests) => {
                let mut any = vec![false; passes.len()];
                for test in tests {
                    let mut some = passes.to_vec();
                    test.narrow(columns, &mut some);
                    any.iter_mut().zip(some).for_each(|(any, some)| *any |= some);
                }
                passes.copy_from_slice(&any);
            }
            Test::One { place, condition } => columns.narrow(place, condition, passes),
        }
    }
}

/// The columns of a batch; those that nobody looks at are not there.
struct Columns {
    name: Option<Texts>,
    kind: Option<Texts>,
    status: Option<Texts>,
    status_message: Option<Texts>,
    attributes: Option<Texts>,
    resource: Option<Texts>,
    duration: Option<Int64Array>,
    parent: Option<Texts>,
    trace_id: Option<Texts>,
    span_id: Option<Texts>,
}

impl Columns {
    fn of(batch: &RecordBatch) -> Self {
        let texts = |name| batch.column_by_name(name).map(Texts::of);
        let duration = batch.column_by_name("duration_ns");
        Self {
            name: texts("name"),
            kind: texts("kind"),
            status: texts("status_code"),
            status_message: texts("status_message"),
            attributes: texts("attributes"),
            resource: texts("resource"),
            duration: duration.map(|column| column.as_primitive::<Int64Type>().clone()),
            parent: texts("parent_span_id"),
            trace_id: texts("trace_id"),
            span_id: texts("span_id"),
        }
    }

    fn narrow(&self, place: &Place, condition: &Condition, passes: &mut [bool]) {
        let text = |text: &str| condition.holds(&Value::Text(text.into()));
        match place {
            Place::Name => each(&self.name, passes, text),
            Place::StatusMessage => each(&self.status_message, passes, text),
            Place::TraceId => each(&self.trace_id, passes, text),
            Place::SpanId => each(&self.span_id, passes, text),
            Place::ParentId => each(&self.parent, passes, |id| condition.holds(&present(id))),
            Place::Kind => each(&self.kind, passes, |text| condition.holds(&kind_of(text))),
            Place::Status => each(&self.status, passes, |text| condition.holds(&status_of(text))),
            Place::Root => each(&self.parent, passes, |id| {
                condition.holds(&Value::Int(if id.is_empty() { -1 } else { 0 }))
            }),
            Place::Resource(name) => {
                each(&self.resource, passes, |object| condition.holds(&member(object, name)));
            }
            Place::Span(name) => {
                each(&self.attributes, passes, |object| condition.holds(&member(object, name)));
            }
            Place::Either(name) => {
                let (Some(attributes), Some(resource)) = (&self.attributes, &self.resource) else {
                    return;
                };
                for (row, passes) in passes.iter_mut().enumerate().filter(|(_, passes)| **passes) {
                    let value = match member(attributes.get(row), name) {
                        Value::Nil => member(resource.get(row), name),
                        found => found,
                    };
                    *passes = condition.holds(&value);
                }
            }
            Place::Duration => {
                let Some(duration) = &self.duration else { return };
                for (row, passes) in passes.iter_mut().enumerate().filter(|(_, passes)| **passes) {
                    *passes = condition.holds(&Value::Duration(duration.value(row)));
                }
            }
        }
    }
}

/// Returns what an object says of a name.
fn member<'t>(object: &'t str, name: &Name) -> Value<'t> {
    name.get(object).map_or(Value::Nil, Value::of_json)
}

/// Asks each text of a column once where it has a dictionary, else each row's. A column that is not
/// in the file tells nothing.
fn each(texts: &Option<Texts>, passes: &mut [bool], holds: impl Fn(&str) -> bool) {
    let Some(texts) = texts else { return };
    let mut known: HashMap<usize, bool> = HashMap::new();
    for (row, passes) in passes.iter_mut().enumerate().filter(|(_, passes)| **passes) {
        *passes = match texts.key(row) {
            Some(key) => *known.entry(key).or_insert_with(|| holds(texts.get(row))),
            None => holds(texts.get(row)),
        };
    }
}
