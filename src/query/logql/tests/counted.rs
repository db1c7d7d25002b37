//! Property: what the store has counted is what a look at each row says.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::World;
use super::world::{BASE_MS, Record};
use crate::query::logql::{Steps, StreamsWanted, streams};
use crate::query::promql::Value;

const LINES: [&str; 4] = ["GET /index 200", "ERROR: no such file", "level=warn x", "INFO started"];

fn record(rng: &mut SmallRng, has_metadata: bool) -> Record {
    let labels = [
        ("commons", ["heart", "lung"][rng.random_range(0..2)]),
        ("service", ["fence", "indexd", ""][rng.random_range(0..3)]),
        ("pod", ["a", "b"][rng.random_range(0..2)]),
    ];
    let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let metadata = [("pod", "c"), ("level", "fatal"), ("user", "x")];
    let metadata = metadata.into_iter().filter(|_| has_metadata && rng.random_ratio(1, 4));
    Record {
        metadata: metadata.map(pair).collect(),
        labels: labels.into_iter().filter(|(_, value)| !value.is_empty()).map(pair).collect(),
        at_ns: (BASE_MS + rng.random_range(0..600_000)) * 1_000_000 + rng.random_range(0..3),
        severity: ["", "", "DEBUG"][rng.random_range(0..3)].to_owned(),
        line: LINES[rng.random_range(0..LINES.len())].to_owned(),
        ..Record::default()
    }
}

/// Stores some batches, most of them in files of their own, some of which cover little time.
fn fill(rng: &mut SmallRng, world: &World) -> usize {
    let mut n_records = 0;
    for _ in 0..rng.random_range(1..5) {
        let has_metadata = rng.random_ratio(1, 3);
        let mut records: Vec<Record> =
            (0..rng.random_range(1..150)).map(|_| record(rng, has_metadata)).collect();
        if rng.random() {
            let first_ns = records[0].at_ns;
            records.iter_mut().for_each(|record| record.at_ns = first_ns + record.at_ns % 7);
        }
        world.store(&records);
        n_records += records.len();
        if rng.random_ratio(4, 5) {
            world.flush();
        }
    }
    n_records
}

fn sorted(value: Value) -> Vec<String> {
    let mut found: Vec<String> = match value {
        Value::Vector(samples) => samples.iter().map(|sample| format!("{sample:?}")).collect(),
        Value::Matrix(series) => series.iter().map(|series| format!("{series:?}")).collect(),
        other => panic!("{other:?}"),
    };
    found.sort();
    found
}

#[test]
fn counts_of_streams_and_levels_are_those_of_rows() {
    let by = [
        "sum by (service, commons)",
        "sum by (service, pod, detected_level)",
        "sum by (level, detected_level)",
        "sum by (user)",
        "sum without (pod)",
        "sum",
        "",
    ];
    let functions = ["count_over_time", "rate", "bytes_over_time", "absent_over_time"];
    for seed in 0..8 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let world = World::with_row_groups([16, 64, 4_096][rng.random_range(0..3)]);
        fill(&mut rng, &world);
        for _ in 0..12 {
            let range_s = [1, 60, 300, 900, 7_200][rng.random_range(0..5)];
            let start_ms = BASE_MS + rng.random_range(-100_000..900_000);
            let step_ms = [None, Some(30_000), Some(400_000)][rng.random_range(0..3)];
            let steps = Steps { start_ms, end_ms: start_ms + 900_000, step_ms };
            let by = by[rng.random_range(0..by.len())];
            let function = functions[rng.random_range(0..functions.len())];
            let selector = ["{commons=~\".+\"}", "{service=\"fence\"}"][rng.random_range(0..2)];
            let query =
                |filter: &str| format!("{by} ({function}({selector}{filter} [{range_s}s]))");

            let counted = sorted(world.numbers(&query(""), steps).unwrap());

            // With a filter each row is looked at.
            let looked = sorted(world.numbers(&query(" != `nowhere`"), steps).unwrap());
            assert_eq!(counted, looked, "seed {seed}: {} {steps:?}", query(""));
        }
    }
}

#[test]
fn streams_have_the_lines_that_were_stored_and_are_asked_for_again_without_a_file() {
    for seed in 0..6 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let world = World::with_row_groups([16, 4_096][rng.random_range(0..2)]);
        let n_records = fill(&mut rng, &world);
        let base_ns = BASE_MS * 1_000_000;
        let wanted = |start_s: i64, end_s: i64, step_ns| StreamsWanted {
            sets: Vec::new(),
            start_ns: base_ns + start_s * 1_000_000_000,
            end_ns: base_ns + end_s * 1_000_000_000,
            step_ns,
        };
        let n_lines = |wanted: &StreamsWanted| {
            let found = streams(&world.snapshot(), wanted, &world.budget()).unwrap();
            found.streams.iter().map(|stream| stream.n_lines).sum::<u64>()
        };

        let cut_s = rng.random_range(0..600);
        let parts = n_lines(&wanted(0, cut_s, None)) + n_lines(&wanted(cut_s, 700, None));
        let all = n_lines(&wanted(0, 700, None));
        let n_read = world.n_bytes_read();
        let again = n_lines(&wanted(0, 700, Some(3_600_000_000_000)));

        assert_eq!((parts, all, again), (n_records as u64, n_records as u64, all), "seed {seed}");
        assert_eq!(world.n_bytes_read(), n_read, "seed {seed}");
    }
}

#[test]
fn a_step_that_makes_a_span_of_every_line_ends_at_the_limit_of_memory() {
    let mut rng = SmallRng::seed_from_u64(1);
    let world = World::new();
    let records: Vec<Record> = (0..400).map(|_| record(&mut rng, false)).collect();
    world.store(&records);
    let start_ns = BASE_MS * 1_000_000;
    let ask = |step_ns| {
        let end_ns = start_ns + 700_000_000_000;
        let wanted = StreamsWanted { sets: Vec::new(), start_ns, end_ns, step_ns };
        let mut budget = world.budget();
        budget.limits.memory_bytes_max = 10_000;
        streams(&world.snapshot(), &wanted, &budget).map(|found| found.streams.len())
    };

    assert!(ask(None).unwrap() > 1);
    let refusal = ask(Some(1_000_000)).unwrap_err();
    assert_eq!(refusal.limit(), Some("query.memory"), "{refusal}");
}
