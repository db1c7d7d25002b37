//! Parts of a trace: what a filter picks, and what comes with it.

use arrow::array::RecordBatch;

use super::super::batch::Batch;
use super::super::by_id;
use super::super::part::{Part, Picking};
use super::{Limits, NOW_NS, SpansBuilder, given, push};

/// ```text
///      a
///    b   c
///   d e   f      h hangs on a span that never came
///     g
/// ```
const SPANS: [&str; 8] = [
    "a - root n=1",
    "b a b n=2",
    "c a c n=2",
    "d b d n=3",
    "e b e n=3",
    "f c f n=3",
    "g e g n=4",
    "h missing h n=4",
];

/// Returns the trace, in two batches.
fn whole() -> by_id::Trace {
    let batch_of = |spans: &[&str]| {
        let mut builder = SpansBuilder::new();
        spans.iter().for_each(|span| push(&mut builder, &given(span), NOW_NS));
        builder.finish()
    };
    let batches = vec![batch_of(&SPANS[..3]), batch_of(&SPANS[3..])];
    by_id::Trace { batches, ..by_id::Trace::default() }
}

fn ids(batch: &RecordBatch) -> Vec<String> {
    let batch = Batch::of(batch);
    (0..batch.n_rows()).map(|row| batch.span_id.get(row).to_owned()).collect()
}

fn picked(filter: &str, above: Option<usize>, below: Option<usize>) -> (String, bool) {
    let part = Part { filter: filter.to_owned(), n_above_max: above, n_below_max: below };
    let found = Picking::of(&part, &Limits::default()).unwrap().part_of(whole());
    (found.batches.iter().flat_map(ids).collect::<Vec<_>>().join(" "), found.is_part)
}

#[track_caller]
fn check(filter: &str, above: Option<usize>, below: Option<usize>, want: &str) {
    assert_eq!(picked(filter, above, below), (want.to_owned(), true), "{filter}");
}

#[test]
fn a_filter_picks_spans() {
    check("{ .n = 3 }", Some(0), Some(0), "d e f");
    check("{ name = `a` || name = `root` }", Some(0), Some(0), "a");
    check("{ nestedSetParent < 0 || span:childCount = 2 }", Some(0), Some(0), "a b");
    check("{ name = `nobody` }", None, None, "");
}

#[test]
fn what_stands_above_comes_with_them() {
    check("{ name = `g` }", None, Some(0), "a b e g");
    check("{ name = `g` }", Some(1), Some(0), "e g");
    check("{ name = `g` || name = `f` }", Some(2), Some(0), "a b c e f g");
    check("{ name = `h` }", None, Some(0), "h");
}

#[test]
fn what_hangs_below_comes_with_them() {
    check("{ name = `b` }", Some(0), Some(1), "b d e");
    check("{ name = `b` }", Some(0), None, "b d e g");
    check("{ name = `b` }", None, Some(1), "a b d e");
    // Only the picked ones bring what is below: `c` hangs below `a`, which came from above.
    check("{ name = `b` }", None, None, "a b d e g");
}

#[test]
fn all_of_a_trace_is_no_part_of_it() {
    for filter in ["{ }", "{ true }", "{ .n > 0 }"] {
        assert_eq!(picked(filter, Some(0), Some(0)), ("a b c d e f g h".to_owned(), false));
    }
    assert_eq!(picked("{ name = `root` || name = `h` }", None, None).0, "a b c d e f g h");
}

#[test]
fn a_ring_has_an_end() {
    let mut builder = SpansBuilder::new();
    for span in ["a c x", "b a x", "c b x", "d - y"] {
        push(&mut builder, &given(span), NOW_NS);
    }
    let ring = by_id::Trace { batches: vec![builder.finish()], ..by_id::Trace::default() };
    let part =
        Part { filter: "{ span:id =~ `a` }".to_owned(), n_above_max: None, n_below_max: None };

    let found = Picking::of(&part, &Limits::default()).unwrap().part_of(ring);

    assert_eq!(found.batches.iter().flat_map(ids).collect::<Vec<_>>(), ["a", "b", "c"]);
}

#[test]
fn more_than_one_filter_is_refused() {
    for filter in [
        "{ } | rate()",
        "{ .a } >> { .b }",
        "{ .a } && { .b }",
        "{ .a } | count() > 1",
        "{ .a } | { .b }",
        "count() > 1",
    ] {
        let part = Part { filter: filter.to_owned(), n_above_max: None, n_below_max: None };
        let error = Picking::of(&part, &Limits::default()).unwrap_err().to_string();
        assert!(error.contains("a single filter picks spans"), "{filter}: {error}");
    }
}
