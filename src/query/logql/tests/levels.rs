//! Levels are found when records come; what is counted by them reads no line, on however many
//! threads, and is what looking at every line gives.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::World;
use super::world::{BASE_MS, Record};
use crate::model::json;
use crate::query::SpareThreads;
use crate::query::logql::pipeline::{Entry, Metadata, Pipeline, Wanted};
use crate::query::logql::{ParseLimits, Steps, parse_log};
use crate::query::promql::Value;

const LINES: [&str; 6] = [
    "[2026-08-21 10:11:12,345][ fence][ WARNING] it is late",
    r#"{"level": "debug", "msg": "an ERROR is none"}"#,
    "GET /_status 200",
    "panic: runtime error",
    "",
    "level=info ERROR",
];
const METADATA: [&[(&str, &str)]; 5] = [
    &[],
    &[("pod", "fence-1")],
    &[("level", "error")],
    &[("detected_level", "fatal"), ("pod", "fence-2")],
    &[("log.level", "odd")],
];
const SEVERITIES: [&str; 4] = ["", "", "WARN", "odd"];

fn record(rng: &mut SmallRng, n: i64) -> Record {
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let service = ["fence", "guppy"][rng.random_range(0..2)];
    let mut labels = pairs(&[("app", "a"), ("commons", "heart"), ("service", service)]);
    if rng.random_bool(0.1) {
        labels.extend(pairs(&[("level", "trace")]));
    }
    Record {
        at_ns: (BASE_MS + n) * 1_000_000,
        labels,
        severity: SEVERITIES[rng.random_range(0..SEVERITIES.len())].to_owned(),
        metadata: pairs(METADATA[rng.random_range(0..METADATA.len())]),
        line: LINES[rng.random_range(0..LINES.len())].to_owned(),
        ..Record::default()
    }
}

const GROUPS: [&[&str]; 4] =
    [&["detected_level"], &["service", "detected_level"], &["level", "detected_level"], &["pod"]];
const STAGES: [&str; 6] = [
    "",
    "| drop __error__",
    "| detected_level=~`warn|error|unknown`",
    "| drop pod | detected_level!=`fatal`",
    "|= `ERROR`",
    "| label_format pod=service",
];

/// Returns how many records there are of each group, asked one after the other, of which nothing was
/// found out before.
fn naive(stages: &str, group: &[&str], records: &[Record]) -> BTreeMap<Vec<String>, usize> {
    let query = format!("{{app=\"a\"}} {stages}");
    let log = parse_log(&query, &ParseLimits::default()).unwrap();
    let pipeline = Pipeline::new(&log, Wanted::All, 0).unwrap();
    let mut counts = BTreeMap::new();
    for record in records {
        let pairs = record.metadata.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let attributes = json::object(pairs);
        let metadata = Metadata {
            attributes: &attributes,
            severity_text: &record.severity,
            ..Metadata::default()
        };
        let mut entry = Entry::new(record.at_ns, &record.line, &record.labels);
        if pipeline.run(&mut entry, &metadata) {
            pipeline.complete(&mut entry, &metadata);
            let value = |name: &&str| entry.fields.get(name).unwrap_or("").to_owned();
            *counts.entry(group.iter().map(value).collect()).or_insert(0) += 1;
        }
    }
    counts
}

fn at_the_end() -> Steps {
    Steps { start_ms: BASE_MS + 7_200_000, end_ms: BASE_MS + 7_200_000, step_ms: None }
}

fn counted(world: &World, stages: &str, group: &[&str]) -> BTreeMap<Vec<String>, usize> {
    let by = group.join(", ");
    let query = format!("sum by ({by}) (count_over_time({{app=\"a\"}} {stages} [3h]))");
    let Value::Vector(found) = world.numbers(&query, at_the_end()).unwrap() else { panic!() };
    let count = |value: f64| (0..).find(|n| f64::from(*n) >= value).unwrap();
    let counts = found.iter().map(|series| {
        let value = |name: &&str| series.labels.get(name).unwrap_or("").to_owned();
        let n: u32 = count(series.value);
        (group.iter().map(value).collect(), n as usize)
    });
    counts.collect()
}

#[test]
fn what_is_counted_by_levels_is_what_every_line_says() {
    for seed in 0..8 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let records: Vec<Record> = (0..60).map(|n| record(&mut rng, n)).collect();
        let (in_files, in_head) = records.split_at(40);
        let mut world = World::with_row_groups(8);
        world.store_as_one(in_files);
        world.flush();
        world.store(in_head);
        for n_threads in [0, 3] {
            world.spare = Arc::new(SpareThreads::new(n_threads));
            for stages in STAGES {
                for group in GROUPS {
                    assert_eq!(
                        counted(&world, stages, group),
                        naive(stages, group, &records),
                        "seed {seed}, {n_threads} helpers: {stages} by {group:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn samples_are_the_same_on_however_many_threads() {
    let mut world = World::with_row_groups(8);
    let mut rng = SmallRng::seed_from_u64(7);
    // Many of one time: then the order in which they came counts.
    let at = |n: i64| Record { line: format!("v={}", (n * 7) % 31), ..record(&mut rng, n / 20) };
    let records: Vec<Record> = (0..200).map(at).collect();
    world.store_as_one(&records);
    world.flush();
    let query = "last_over_time({app=\"a\"} | logfmt | unwrap v [3h]) by (service) \
                 + sum by (service) (rate({app=\"a\"} | logfmt | unwrap v [3h]))";
    let alone = world.numbers(query, at_the_end()).unwrap();
    for _ in 0..5 {
        world.spare = Arc::new(SpareThreads::new(3));
        assert_eq!(world.numbers(query, at_the_end()).unwrap(), alone);
    }
}

#[test]
fn counting_by_level_reads_no_line() {
    let world = World::with_row_groups(1 << 20);
    let mut rng = SmallRng::seed_from_u64(9);
    let mut long = |n: i64| {
        let noise: String = (0..40).map(|_| format!("{:016x}", rng.random::<u64>())).collect();
        let line = format!("{noise} {}", if n % 100 == 0 { "ERROR" } else { "fine" });
        let labels = [("app", "a"), ("commons", "heart"), ("service", "fence")];
        Record {
            at_ns: (BASE_MS + n) * 1_000_000,
            labels: labels.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            line,
            ..Record::default()
        }
    };
    let records: Vec<Record> = (0..20_000).map(&mut long).collect();
    world.store_as_one(&records);
    world.flush();
    let volume =
        "sum by (level, detected_level) (count_over_time({app=\"a\"} | drop __error__ [3h]))";
    world.numbers(volume, at_the_end()).unwrap();

    let before = world.n_bytes_read();
    let Value::Vector(found) = world.numbers(volume, at_the_end()).unwrap() else { panic!() };
    let n_read = world.n_bytes_read() - before;

    let mut values: Vec<f64> = found.iter().map(|series| series.value).collect();
    values.sort_by(f64::total_cmp);
    assert_eq!(values, [200.0, 19_800.0]);
    let n_stored = world.n_bytes_stored();
    assert!(n_read < n_stored / 10, "{n_read} of {n_stored} bytes were read");
}
