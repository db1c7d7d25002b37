//! What must hold of any text that somebody asks for.

use std::sync::{Arc, LazyLock};

use super::batch::Batch;
use super::eval::run;
use super::trace::Trace;
use super::{Limits, Query, parse};
use crate::model::{SpanRow, SpansBuilder, Tags};

/// A query's text: no text ends the process, what is read is read the same when it is written again,
/// and it has an answer over a trace that has something of everything.
pub fn traceql(bytes: &[u8]) {
    check_text(&String::from_utf8_lossy(bytes));
}

/// The same for a text.
pub(super) fn check_text(text: &str) {
    let Ok(query) = parse(text, &Limits::default()) else { return };
    let printed = query.to_string();
    // Writing spells brackets out, and may pass a limit by that.
    let limits = Limits { text_bytes_max: 1 << 20, depth_max: 1_024, ..Limits::default() };
    let again = parse(&printed, &limits)
        .unwrap_or_else(|error| panic!("{text:?} was written as {printed}: {error}"));
    assert_eq!(again.to_string(), printed, "{text:?}");
    let trace = trace();
    assert_eq!(found(&query, &trace), found(&again, &trace), "{text:?}");
}

fn found(query: &Query, trace: &Trace) -> String {
    format!("{:?}", run(&query.stages, trace))
}

/// Spans that have something of everything.
fn batch() -> Arc<Batch> {
    let mut builder = SpansBuilder::new();
    for (id, parent) in [("a", ""), ("b", "a"), ("c", "b"), ("d", "b"), ("e", "x"), ("f", "f")] {
        let row = SpanRow {
            start_ns: 1,
            end_ns: 9,
            trace_id: "1",
            span_id: id,
            parent_span_id: parent,
            name: id,
            kind: 2,
            status_code: 2,
            attributes: r#"{"a":1,"b":"x","c":[1,"y"],"d":{"e":1.5},"f":true,"g":null}"#,
            resource: r#"{"service.name":"s"}"#,
            events: r#"[{"time_unix_nano":"3","name":"e","attributes":{"a":"z"}}]"#,
            links: r#"[{"trace_id":"1","span_id":"a","trace_state":"","attributes":{}}]"#,
            ..SpanRow::default()
        };
        builder.push(&Tags::unassigned(), &row);
    }
    Batch::of(&builder.finish())
}

fn trace() -> Trace {
    static BATCH: LazyLock<Arc<Batch>> = LazyLock::new(batch);
    let spans = &*BATCH;
    Trace::of((0..spans.n_rows()).map(|row| (Arc::clone(spans), row)).collect())
}
