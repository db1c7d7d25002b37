//! Files of many pages: little is read of them, and nothing is missed.

use super::World;
use super::world::{BASE_MS, Record};
use crate::query::logql::{LogRange, Steps};
use crate::query::promql::Value;

/// Pages hold about 32,768 rows, so there are two, and the first service is in one of them.
const N_ROWS: i64 = 60_000;
const SERVICES: [&str; 3] = ["fence", "guppy", "indexd"];

/// Three services take turns, a line each 100 ms.
fn world(n_rows: i64) -> World {
    let world = World::with_row_groups(1 << 20);
    let records: Vec<Record> = (0..n_rows)
        .map(|n| Record {
            at_ns: (BASE_MS + n * 100) * 1_000_000,
            labels: vec![
                ("app".to_owned(), "a".to_owned()),
                ("commons".to_owned(), "heart".to_owned()),
                ("service".to_owned(), SERVICES[usize::try_from(n % 3).unwrap()].to_owned()),
            ],
            line: format!("line {n}"),
            ..Record::default()
        })
        .collect();
    world.store_as_one(&records);
    world.flush();
    world
}

#[test]
fn the_newest_lines_of_a_service_are_found_in_the_last_pages() {
    let world = world(N_ROWS);
    let (start_ns, end_ns) = (BASE_MS * 1_000_000, (BASE_MS + 7_200_000) * 1_000_000);
    for (service, is_backward, want) in [
        ("fence", true, N_ROWS - 3),
        ("guppy", true, N_ROWS - 2),
        ("indexd", true, N_ROWS - 1),
        ("fence", false, 0),
        ("guppy", false, 1),
    ] {
        let range = LogRange { start_ns, end_ns, limit: 100, is_backward, interval_ns: 0 };
        let query = format!("{{service=\"{service}\"}}");
        let found = world.lines(&query, range).unwrap();

        let step = if is_backward { -3 } else { 3 };
        let wanted: Vec<String> = (0..100).map(|n| format!("line {}", want + n * step)).collect();
        let lines: Vec<String> = found.lines.iter().map(|line| line.line.clone()).collect();
        assert_eq!(lines, wanted, "{service}");
        assert_eq!(found.stats.n_lines, 100, "{service}: only the lines shown are read");
    }
    let services = |bounds: Option<(&[u8], &[u8])>| {
        bounds.is_some_and(|(min, max)| min <= &b"fence"[..] && &b"fence"[..] <= max)
    };
    let wanted = crate::storage::LogsWanted {
        min_ns: start_ns,
        max_ns: end_ns,
        commons: &|_| true,
        services: &services,
    };
    let pieces = world.snapshot().log_pieces(&wanted).unwrap();
    let rows = pieces.iter().flat_map(|piece| piece.rows.as_ref().expect("pages have an index"));
    let n_rows: usize = rows.map(|range| range.len()).sum();
    let n_all = usize::try_from(N_ROWS).unwrap();
    assert!(n_all / 3 <= n_rows && n_rows < n_all, "{n_rows} of {n_all} rows may be fence's");
}

#[test]
fn a_part_of_the_time_is_counted_whole() {
    let world = world(30_000);
    for (after_s, range_s) in [(2_999, 2_999), (1_500, 700), (100, 100), (2_990, 5)] {
        let start_ms = BASE_MS + after_s * 1_000;
        let steps = Steps { start_ms, end_ms: start_ms, step_ms: None };
        for (selector, per_second) in [("app=\"a\"", 10.0), ("service=\"guppy\"", 10.0 / 3.0)] {
            let query = format!("sum(count_over_time({{{selector}}} |= \"line\" [{range_s}s]))");
            let Value::Vector(found) = world.numbers(&query, steps).unwrap() else { panic!() };
            let want = per_second * range_s as f64;
            assert!((found[0].value - want).abs() <= 1.0, "{query}: {}", found[0].value);
        }
    }
}
