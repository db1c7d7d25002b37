//! Questions that name an id: they look at that trace alone, and say what looking at all says.

use super::super::metrics::{Counting, count, count_unsifted};
use super::super::search::search_unsifted;
use super::super::{Limits, by_id};
use super::stored::{BASE_MS, Given, World, span_id, trace_id, wanted};
use crate::storage::TraceRequest;

/// A trace that nobody sent.
const MISSING: u64 = 999;

/// Traces of three spans each, in four files and the head.
fn world() -> World {
    let world = World::with_row_groups(60);
    for part in 0..5_u64 {
        let traces = part * 40..(part + 1) * 40;
        let numbers = traces.flat_map(|trace| (0..3_u64).map(move |number| (trace, number)));
        let spans: Vec<Given> = numbers
            .map(|(trace, number)| {
                let after_ms = i64::try_from(trace * 50 + number).unwrap();
                (trace, number, after_ms, 5, "fence", "db", 200)
            })
            .collect();
        world.store(&spans);
        if part < 4 {
            world.flush();
        }
    }
    world
}

#[test]
fn a_search_for_a_trace_reads_no_more_than_the_trace_by_its_id() {
    let world = world();
    for trace in [7, 130, 190, MISSING] {
        let id = trace_id(trace);
        let (_, n_bytes_by_id) = world.n_bytes_of(|| {
            let request = TraceRequest { trace_id: &id, min_ns: i64::MIN, max_ns: i64::MAX };
            by_id::find(&world.snapshot(), request, &Limits::default(), &world.budget()).unwrap()
        });

        let query = format!("{{ trace:id = \"{id}\" }}");
        let (found, n_bytes) = world.n_bytes_of(|| world.ask(&query, 20));

        let n_traces = u64::from(trace != MISSING);
        assert_eq!(found.traces.len() as u64, n_traces, "trace {trace}");
        assert_eq!(found.inspected.n_traces, n_traces, "trace {trace}");
        assert!(n_bytes <= n_bytes_by_id, "trace {trace}: {n_bytes}, by id {n_bytes_by_id} bytes");
    }
}

/// Returns filters, and how many traces have to be put together for each.
fn filters() -> Vec<(String, u64)> {
    let (id, other, missing) = (trace_id(7), trace_id(130), trace_id(MISSING));
    let (root, child) = (span_id(7, 0), span_id(7, 2));
    vec![
        (format!("{{ trace:id = \"{id}\" }}"), 1),
        (format!("{{ trace:id = \"{id}\" && span:id = \"{child}\" }}"), 1),
        (format!("{{ trace:id = \"{id}\" || trace:id = \"{other}\" }}"), 2),
        (format!("{{ name = \"db\" }} > {{ trace:id = \"{id}\" }}"), 1),
        (format!("{{ trace:id = \"{id}\" && rootName = \"db\" }}"), 1),
        (format!("{{ trace:id = \"{missing}\" }}"), 0),
        (format!("{{ span:id = \"{child}\" }}"), 1),
        (format!("{{ span:parentID = \"{root}\" }}"), 1),
        ("{ span:id =~ \"nothing of the kind\" }".to_owned(), 0),
    ]
}

#[test]
fn a_search_for_an_id_finds_what_all_traces_have_and_puts_no_other_together() {
    let (world, limits) = (world(), Limits::default());
    for (filter, n_traces) in filters() {
        let wanted = wanted(&filter, 20);
        let all = search_unsifted(&world.snapshot(), &wanted, &limits, &world.budget()).unwrap();

        let found = world.ask(&filter, 20);

        assert_eq!(found.traces, all.traces, "{filter}");
        assert_eq!(found.inspected.n_traces, n_traces, "{filter}");
    }
}

#[test]
fn what_is_counted_of_an_id_is_what_all_traces_give() {
    let (world, limits) = (world(), Limits::default());
    for (filter, n_traces) in filters() {
        for function in ["rate() by (rootName)", "count_over_time()"] {
            let wanted = Counting {
                query: format!("{filter} | {function}"),
                start_ns: BASE_MS * 1_000_000,
                end_ns: (BASE_MS + 20_000) * 1_000_000,
                step_ns: Some(1_000_000_000),
                exemplars: 5,
            };
            let snapshot = world.snapshot();
            let all = count_unsifted(&snapshot, &wanted, &limits, &world.budget()).unwrap();

            let counted = count(&snapshot, &wanted, &limits, &world.budget()).unwrap();

            assert_eq!(counted.series, all.series, "{}", wanted.query);
            assert_eq!(counted.inspected.n_traces, n_traces, "{}", wanted.query);
        }
    }
}
