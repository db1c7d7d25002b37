//! Arithmetic between metrics: its operands share what is read, and each counts as if it were alone.

use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use super::super::Limits;
use super::super::metrics::{Counted, Counting, count, count_unsifted};
use super::stored::{BASE_MS, Given, World, random_span};

/// Some traces of four spans in two files and the head.
fn world() -> World {
    let (world, mut rng) = (World::with_row_groups(24), SmallRng::seed_from_u64(5));
    let numbers = (0..60).flat_map(|trace| (0..4).map(move |number| (trace, number)));
    let spans: Vec<Given> =
        numbers.map(|(trace, number)| random_span(&mut rng, trace, number)).collect();
    for (idx, chunk) in spans.chunks(80).enumerate() {
        world.store(chunk);
        if idx < 2 {
            world.flush();
        }
    }
    world
}

fn wanted(query: &str) -> Counting {
    Counting {
        query: query.to_owned(),
        start_ns: BASE_MS * 1_000_000,
        end_ns: (BASE_MS + 4_000) * 1_000_000,
        step_ns: Some(500_000_000),
        exemplars: 5,
    }
}

fn ask(world: &World, query: &str) -> Counted {
    let budget = world.budget();
    count(&world.snapshot(), &wanted(query), &Limits::default(), &budget).unwrap()
}

/// Compares with what looking at every trace gives.
#[track_caller]
fn check_series(world: &World, query: &str, found: &Counted) {
    let budget = world.budget();
    let all = count_unsifted(&world.snapshot(), &wanted(query), &Limits::default(), &budget);
    assert_eq!(found.series, all.unwrap().series, "{query}");
    assert!(!found.series.is_empty(), "{query}");
}

#[test]
fn operands_of_one_kind_are_one_scan() {
    let world = world();
    for (query, widest) in [
        ("({ status = error } | rate()) / ({ } | rate())", "{ } | rate()"),
        (
            "({ name = \"db\" } | rate()) + ({ name = \"db\" } | rate() by (span.peer)) * ({ name = \"db\" } | rate())",
            "{ name = \"db\" } | rate()",
        ),
        (
            "({ name = \"db\" } >> { status = error } | rate()) - ({ rootName != \"x\" } | rate())",
            "{ rootName != \"x\" } | rate()",
        ),
    ] {
        let (found, alone) = (ask(&world, query), ask(&world, widest));

        assert_eq!(found.inspected.n_spans, alone.inspected.n_spans, "{query}");
        check_series(&world, query, &found);
    }
}

#[test]
fn operands_of_two_kinds_are_two_scans() {
    let world = world();
    let query = "({ rootName != \"x\" } | rate()) / ({ status = error } | rate())";
    let [of_traces, of_spans] = ["{ rootName != \"x\" } | rate()", "{ status = error } | rate()"]
        .map(|one| ask(&world, one));

    let found = ask(&world, query);

    let n_spans = of_traces.inspected.n_spans + of_spans.inspected.n_spans;
    assert_eq!(found.inspected.n_spans, n_spans);
    check_series(&world, query, &found);
}
