//! What questions about traces may hold, and how long their answers may be.

use rand::SeedableRng as _;
use rand::rngs::SmallRng;

use super::super::metrics::{Counting, count};
use super::super::search::search;
use super::super::tags::{Asking, Menu};
use super::super::{Limits, parse_attribute};
use super::stored::{BASE_MS, Given, World, large, random_span, wanted};
use crate::query::QueryError;
use crate::query::promql;

#[test]
fn the_points_of_series_count_as_memory() {
    let world = World::new();
    let mut rng = SmallRng::seed_from_u64(2);
    let spans: Vec<Given> = (0..300).map(|trace| random_span(&mut rng, trace, 0)).collect();
    world.store(&spans);
    let ask = |memory_bytes_max: usize, query: &str| {
        let wanted = Counting {
            query: query.to_owned(),
            start_ns: BASE_MS * 1_000_000,
            end_ns: (BASE_MS + 100_000) * 1_000_000,
            step_ns: Some(10_000_000),
            exemplars: 0,
        };
        let budget = world.budget_of(memory_bytes_max);
        count(&world.snapshot(), &wanted, &Limits::default(), &budget).map(|found| found.series)
    };

    assert_eq!(ask(8 << 20, "{ } | rate()").unwrap().len(), 1);
    for query in [
        "{ } | rate() by (span:id)",
        "{ } | compare({ status = error })",
        "({ } | rate()) / ({ } | rate() by (span:id))",
    ] {
        let error = ask(8 << 20, query).unwrap_err().to_string();
        assert!(error.contains("query.memory"), "{query}: {error}");
    }
}

#[test]
fn the_largest_of_many_series_are_no_long_answer() {
    let world = World::new();
    let mut rng = SmallRng::seed_from_u64(4);
    let traces = (0..300).flat_map(|trace| [trace; 3]);
    let spans: Vec<Given> =
        traces.enumerate().map(|(n, trace)| random_span(&mut rng, trace, n as u64 % 3)).collect();
    world.store(&spans);
    let ask = |query: &str| {
        let wanted = Counting {
            query: query.to_owned(),
            start_ns: BASE_MS * 1_000_000,
            end_ns: (BASE_MS + 20_000) * 1_000_000,
            step_ns: Some(200_000_000),
            exemplars: 100,
        };
        let limits = promql::Limits { result_bytes_max: 200 << 10, ..promql::Limits::default() };
        let budget = world.budget_within(limits);
        count(&world.snapshot(), &wanted, &Limits::default(), &budget).map(|found| found.series)
    };

    let largest = ask("{ } | count_over_time() by (trace:id) | topk(1) > 2").unwrap();
    assert!(!largest.is_empty() && largest.len() <= 101, "{} series", largest.len());
    assert!(largest.iter().all(|series| !series.exemplars.is_empty()));
    let error = ask("{ } | count_over_time() by (trace:id)").unwrap_err().to_string();
    assert!(error.contains("query.result_bytes_max"), "{error}");
}

#[test]
fn a_menu_is_no_longer_than_an_answer_may_be() {
    let world = World::new();
    let mut rng = SmallRng::seed_from_u64(5);
    let spans: Vec<Given> = (0..300).map(|trace| random_span(&mut rng, trace, 0)).collect();
    world.store(&spans);
    let (snapshot, limits) = (world.snapshot(), Limits::default());
    let menu = Menu { query: None, start_ns: i64::MIN, end_ns: i64::MAX, limit: 1_000 };
    let ids = parse_attribute("trace:id").unwrap();
    for may_skip_traces in [true, false] {
        let ask = |result_bytes_max: usize| {
            let own = promql::Limits { result_bytes_max, ..promql::Limits::default() };
            let budget = &world.budget_within(own);
            let (snapshot, menu, limits) = (&snapshot, &menu, &limits);
            let asking = Asking { snapshot, menu, limits, budget, may_skip_traces };
            let n_values = asking.values(&ids).map(|found| found.values.len());
            (n_values, asking.names(Some("span")).map(|found| found.scopes.len()))
        };

        let (n_values, n_scopes) = ask(64 << 10);
        assert!(n_values.unwrap() > 200 && n_scopes.unwrap() == 1);
        let (n_values, n_scopes) = ask(20);
        for error in [n_values.unwrap_err(), n_scopes.unwrap_err()] {
            assert!(error.to_string().contains("query.result_bytes_max"), "{error}");
        }
    }
}

#[test]
fn what_a_search_holds_counts_as_memory() {
    let world = large();
    let ask = |memory_bytes_max: usize, query: &str| {
        let budget = world.budget_of(memory_bytes_max);
        search(&world.snapshot(), &wanted(query, 10), &Limits::default(), &budget)
    };
    assert!(ask(256 << 20, "{ status = error }").is_ok());
    for query in ["{ status = error }", "{ }"] {
        match ask(64 << 10, query) {
            Err(QueryError::Promql(error)) => {
                assert!(error.to_string().contains("query.memory"), "{error}");
            }
            other => panic!("{query}: {other:?}"),
        }
    }
}
