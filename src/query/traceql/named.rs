//! Which traces a query is about, where it names their ids.
//!
//! `{ trace:id = "…" }` is how a search is asked about one trace. Such a trace is found as it is by
//! its id alone: in the few row groups whose bloom filters let the id through.

use std::collections::BTreeSet;

use super::ast::{Compare, Field, Form, Logic, Query, Spanset, SpansetOp, Stage};
use super::attribute::{Attribute, Intrinsic};
use super::value::Value;

/// Returns the ids of which a trace must have one to match, or `None` when it may have any.
pub(super) fn named_traces(query: &Query) -> Option<BTreeSet<String>> {
    of_stages(&query.stages)
}

/// Returns those for one of some queries, or `None` when one of them may be about any trace.
pub(super) fn named_by_any(queries: &[&Query]) -> Option<BTreeSet<String>> {
    queries.iter().map(|query| named_traces(query)).reduce(in_either).flatten()
}

/// Every stage is asked about the same trace, and none may be left without a span.
fn of_stages(stages: &[Stage]) -> Option<BTreeSet<String>> {
    let of_each = stages.iter().map(|stage| match stage {
        Stage::Spans(spanset) => of_spanset(spanset),
        Stage::Filter(_) | Stage::By(_) | Stage::Coalesce | Stage::Select(_) => None,
    });
    of_each.reduce(in_both).flatten()
}

fn of_spanset(spanset: &Spanset) -> Option<BTreeSet<String>> {
    match spanset {
        Spanset::Filter(field) => of_field(field.as_ref()?),
        Spanset::Pipeline(stages) => of_stages(stages),
        Spanset::Operation(SpansetOp::Or, a, b) => in_either(of_spanset(a), of_spanset(b)),
        Spanset::Operation(SpansetOp::Related(_, Form::Negated), _, b) => of_spanset(b),
        Spanset::Operation(SpansetOp::And | SpansetOp::Related(..), a, b) => {
            in_both(of_spanset(a), of_spanset(b))
        }
    }
}

fn of_field(field: &Field) -> Option<BTreeSet<String>> {
    match field {
        Field::Logic(Logic::And, a, b) => in_both(of_field(a), of_field(b)),
        Field::Logic(Logic::Or, a, b) => in_either(of_field(a), of_field(b)),
        Field::Compare(Compare::Equal, a, b) => match (&**a, &**b) {
            (Field::Attribute(Attribute::Intrinsic(Intrinsic::TraceId)), Field::Static(id))
            | (Field::Static(id), Field::Attribute(Attribute::Intrinsic(Intrinsic::TraceId))) => {
                let Value::Text(id) = id else { return None };
                Some(BTreeSet::from([id.clone().into_owned()]))
            }
            _ => None,
        },
        _ => None,
    }
}

fn in_both(a: Option<BTreeSet<String>>, b: Option<BTreeSet<String>>) -> Option<BTreeSet<String>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.intersection(&b).cloned().collect()),
        (a, b) => a.or(b),
    }
}

fn in_either(a: Option<BTreeSet<String>>, b: Option<BTreeSet<String>>) -> Option<BTreeSet<String>> {
    let (mut a, mut b) = (a?, b?);
    a.append(&mut b);
    Some(a)
}

#[cfg(test)]
mod tests {
    use super::super::{Limits, parse};
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Option<&[&str]>) {
        let query = parse(text, &Limits::default()).unwrap();
        let want: Option<BTreeSet<String>> =
            want.map(|ids| ids.iter().map(|id| format!("{id:0>32}")).collect());
        assert_eq!(named_traces(&query), want, "{text}");
    }

    #[test]
    fn a_query_names_the_traces_that_it_cannot_do_without() {
        check("{ trace:id = `a` }", Some(&["a"]));
        check("{ `a` = trace:id && name = `x` }", Some(&["a"]));
        check("{ trace:id = `a` || trace:id = `b` }", Some(&["a", "b"]));
        check("{ trace:id = `a` } || { trace:id = `b` }", Some(&["a", "b"]));
        check("{ name = `x` } >> { trace:id = `a` }", Some(&["a"]));
        check("{ name = `x` } !> { trace:id = `a` }", Some(&["a"]));
        check("({ trace:id = `a` } | count() > 1) && { }", Some(&["a"]));
        check("{ } | { trace:id = `a` } | rate()", Some(&["a"]));
        check("{ trace:id = `a` } && { trace:id = `b` }", Some(&[]));
    }

    #[test]
    fn what_may_be_of_any_trace_names_none() {
        check("{ }", None);
        check("{ trace:id != `a` }", None);
        check("{ trace:id =~ `a.*` }", None);
        check("{ !(trace:id = `a`) }", None);
        check("{ trace:id = `a` || name = `x` }", None);
        check("{ trace:id = `a` } || { name = `x` }", None);
        check("{ trace:id = `a` } !> { name = `x` }", None);
        check("{ span:id = `a` }", None);
    }
}
