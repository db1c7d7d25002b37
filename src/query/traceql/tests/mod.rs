//! Traces written as text, and what queries make of them.

mod cases;
mod counts;
mod ids;
mod limits;
mod menus;
mod naive;
mod naive_counts;
mod naive_filters;
mod parsing;
mod parts;
mod shared;
mod stored;

use std::sync::Arc;

use super::batch::Batch;
use super::eval::run;
use super::lex::duration_ns;
use super::trace::Trace;
use super::{Limits, parse};
use crate::model::{SpanRow, SpansBuilder, Tags, json};

const NOW_NS: i64 = 1_700_000_000_000_000_000;

/// One span of a test's trace.
#[derive(Debug, Clone, Default)]
struct Given {
    trace: String,
    id: String,
    parent: String,
    name: String,
    kind: i32,
    status: i32,
    start_ns: i64,
    duration_ns: i64,
    message: String,
    attributes: String,
    resource: String,
    events: String,
    links: String,
    scope: (String, String),
}

/// Reads `id parent name word=value…`; `-` is no parent.
fn given(line: &str) -> Given {
    let mut words = line.split_whitespace();
    let mut word = || words.next().unwrap_or_else(|| panic!("too short: {line}")).to_owned();
    let (id, parent, name) = (word(), word(), word());
    let mut span = Given {
        trace: "0af7651916cd43dd8448eb211c80319c".to_owned(),
        id,
        parent: if parent == "-" { String::new() } else { parent },
        name,
        duration_ns: 1_000_000,
        events: "[]".to_owned(),
        links: "[]".to_owned(),
        ..Given::default()
    };
    let (mut attributes, mut resource) = (Vec::new(), Vec::new());
    for word in words {
        let (key, value) = word.split_once('=').unwrap_or_else(|| panic!("no value: {word}"));
        let number = |names: &[&str]| {
            i32::try_from(names.iter().position(|name| *name == value).unwrap()).unwrap()
        };
        match key {
            "trace" => span.trace = format!("{value:0>32}"),
            "at" => span.start_ns = duration_ns(value).unwrap(),
            "took" => span.duration_ns = duration_ns(value).unwrap(),
            "kind" => span.kind = number(&super::value::KINDS),
            "status" => span.status = number(&super::value::STATUSES),
            "message" => value.clone_into(&mut span.message),
            "events" => value.clone_into(&mut span.events),
            "links" => value.clone_into(&mut span.links),
            "scope" => {
                let (name, version) = value.split_once('@').unwrap_or((value, ""));
                span.scope = (name.to_owned(), version.to_owned());
            }
            key => match key.strip_prefix("resource.") {
                Some(key) => resource.push(format!("{}:{value}", quoted(key))),
                None => attributes.push(format!("{}:{value}", quoted(key))),
            },
        }
    }
    span.attributes = format!("{{{}}}", attributes.join(","));
    span.resource = format!("{{{}}}", resource.join(","));
    span
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    json::push_string(&mut out, text);
    out
}

fn trace_of(spans: &[Given]) -> Trace {
    let mut builder = SpansBuilder::new();
    spans.iter().for_each(|span| push(&mut builder, span, NOW_NS));
    let batch = Batch::of(&builder.finish());
    Trace::of((0..spans.len()).map(|row| (Arc::clone(&batch), row)).collect())
}

/// Adds a span whose times count from `base_ns`.
fn push(builder: &mut SpansBuilder, span: &Given, base_ns: i64) {
    builder.push(
        &Tags::unassigned(),
        &SpanRow {
            start_ns: base_ns + span.start_ns,
            end_ns: base_ns + span.start_ns + span.duration_ns,
            trace_id: &span.trace,
            span_id: &span.id,
            parent_span_id: &span.parent,
            name: &span.name,
            kind: span.kind,
            status_code: span.status,
            status_message: &span.message,
            attributes: &span.attributes,
            resource: &span.resource,
            scope_name: &span.scope.0,
            scope_version: &span.scope.1,
            events: &span.events,
            links: &span.links,
            ..SpanRow::default()
        },
    );
}

/// Returns the spansets as text: ids, sets parted by ` | `.
fn answer(text: &str, trace: &Trace) -> Result<String, String> {
    let query = parse(text, &Limits::default()).map_err(|error| error.to_string())?;
    let sets = run(&query.stages, trace).into_iter().map(|set| {
        let ids: Vec<&str> = set.spans.iter().map(|span| trace.span_id(*span)).collect();
        let said = set.attributes.iter().map(|(name, value)| format!("{name}={}", value.plain()));
        [ids.join(" "), said.collect::<Vec<_>>().join(" ")].join(" ").trim().to_owned()
    });
    let sets: Vec<String> = sets.collect();
    Ok(if sets.is_empty() { "nothing".to_owned() } else { sets.join(" | ") })
}
