//! A search reads little of what is stored, and finds all of what a full scan would.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::World;
use super::world::{BASE_MS, Record};
use crate::query::logql::pipeline::{Entry, Metadata, Pipeline, Wanted};
use crate::query::logql::{LogRange, ParseLimits, Steps, parse_log};
use crate::query::promql::Value;

const SERVICES: [&str; 3] = ["fence", "guppy", "indexd"];

/// Returns a number that looks random.
fn mix(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) ^ (n >> 31)
}

fn id(n: u64) -> String {
    format!("{:016x}{:016x}", mix(n), mix(!n))
}

fn access(n: u64) -> Record {
    let service = SERVICES[usize::try_from(n % 3).unwrap()];
    Record {
        at_ns: (BASE_MS + i64::try_from(n).unwrap() * 50) * 1_000_000,
        labels: [("app", "revproxy"), ("commons", "heart"), ("service", service)]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        severity: if n.is_multiple_of(1_000) { "ERROR" } else { "INFO" }.to_owned(),
        line: format!(
            r#"{{"request_id": "{}", "http_request": "/data/{}", "http_status_code": {}, "response_secs": 0.{:03}}}"#,
            id(n),
            id(n + (1 << 40)),
            if n.is_multiple_of(100) { 500 } else { 200 },
            mix(n) % 1_000
        ),
        ..Record::default()
    }
}

fn everything(limit: usize) -> LogRange {
    let (start_ns, end_ns) = (BASE_MS * 1_000_000, (BASE_MS + 7_200_000) * 1_000_000);
    LogRange { start_ns, end_ns, limit, is_backward: true, interval_ns: 0 }
}

#[test]
fn a_needle_costs_a_few_pages() {
    const N_ROWS: u64 = 120_000;
    let world = World::with_row_groups(1 << 20);
    world.store_as_one(&(0..N_ROWS).map(access).collect::<Vec<_>>());
    world.flush();
    let n_stored = world.n_bytes_stored();
    assert!(n_stored > 4_000_000, "{n_stored} bytes in files");
    // The footer is kept from then on.
    world.lines("{app=\"revproxy\"} |= `of no line`", everything(1)).unwrap();

    for n in [0, 12_345, 70_000, N_ROWS - 1] {
        let before = world.n_bytes_read();
        let found = world.lines(&format!("{{app=\"revproxy\"}} |= `{}`", id(n)), everything(100));
        let n_read = world.n_bytes_read() - before;
        let found = found.unwrap();
        assert_eq!(found.lines.len(), 1, "line {n}");
        assert!(n_read < n_stored * 2 / 5, "line {n}: {n_read} of {n_stored} bytes were read");
        let (n_lines, n_out) = (found.stats.n_lines, found.stats.n_rows_ruled_out);
        assert!(n_lines < N_ROWS / 5, "line {n}: {n_lines} lines were looked at");
        assert_eq!(n_out + n_lines, N_ROWS, "line {n}: every other row was ruled out");
    }
    let before = world.n_bytes_read();
    let absent = world.lines(&format!("{{app=\"revproxy\"}} |= `{}`", id(N_ROWS)), everything(9));
    let absent = absent.unwrap();
    assert_eq!((absent.lines.len(), absent.stats.n_lines), (0, 0), "an id that no line has");
    assert!(world.n_bytes_read() - before < n_stored / 5, "only grams are read");
    let errors = world.lines("{app=\"revproxy\"} | detected_level=`fatal`", everything(9)).unwrap();
    assert_eq!((errors.lines.len(), errors.stats.n_lines), (0, 0), "a level that no row has");
}

#[test]
fn the_newest_lines_of_a_service_cost_a_few_pages() {
    const N_ROWS: u64 = 100_000;
    let world = World::with_row_groups(1 << 20);
    world.store_as_one(&(0..N_ROWS).map(access).collect::<Vec<_>>());
    world.flush();
    world.lines("{app=\"revproxy\"} |= `of no line`", everything(1)).unwrap();

    let before = world.n_bytes_read();
    let found = world.lines("{service=\"guppy\"}", everything(100)).unwrap();
    let (n_read, n_stored) = (world.n_bytes_read() - before, world.n_bytes_stored());

    assert_eq!(found.lines.len(), 100);
    assert!(found.stats.n_lines <= 200, "{} lines, of two pages", found.stats.n_lines);
    // Bytes are checked 64 KiB at a time, which in a file this small is more than the pages.
    assert!(n_read < n_stored * 2 / 5, "{n_read} of {n_stored} bytes were read");
}

#[test]
fn the_lines_of_a_trace_cost_a_few_pages() {
    const N_ROWS: u64 = 60_000;
    let world = World::with_row_groups(1 << 20);
    let traced = |n: u64| Record {
        metadata: vec![("pod".to_owned(), format!("fence-{}", n % 7))],
        trace_id: id((n / 4) + (1 << 50)),
        line: format!("{} did something", id(n)),
        ..access(n)
    };
    world.store_as_one(&(0..N_ROWS).map(traced).collect::<Vec<_>>());
    world.flush();
    let wanted = id(7_777 + (1 << 50));
    for query in [
        format!("{{app=\"revproxy\"}} | trace_id=`{wanted}`"),
        format!(
            "{{app=\"revproxy\"}} | label_format a=`{{{{ contains \"{wanted}\" __line__ }}}}` \
             | a=`true` or trace_id=`{wanted}`"
        ),
    ] {
        let found = world.lines(&query, everything(100)).unwrap();
        assert_eq!((found.lines.len(), found.stats.n_lines), (4, 4), "{query}");
    }
    let absent = format!("{{app=\"revproxy\"}} | trace_id=`{}`", id(N_ROWS + (1 << 50)));
    let before = world.n_bytes_read();
    let found = world.lines(&absent, everything(100)).unwrap();
    assert_eq!((found.lines.len(), found.stats.n_lines), (0, 0));
    let (n_read, n_stored) = (world.n_bytes_read() - before, world.n_bytes_stored());
    assert!(n_read < n_stored / 5, "the bloom filter alone: {n_read} of {n_stored} bytes");
}

#[test]
fn metadata_is_read_for_lines_that_pass_alone() {
    let world = World::with_row_groups(1 << 20);
    let with_metadata =
        |n| Record { metadata: vec![("pod".to_owned(), id(n + (1 << 50)))], ..access(n) };
    world.store_as_one(&(0..50_000).map(with_metadata).collect::<Vec<_>>());
    world.flush();
    let bytes_of = |query: &str| {
        let before = world.n_bytes_read();
        let steps =
            Steps { start_ms: BASE_MS + 7_200_000, end_ms: BASE_MS + 7_200_000, step_ms: None };
        let Value::Vector(found) = world.numbers(query, steps).unwrap() else { panic!() };
        assert!(!found.is_empty(), "{query}");
        world.n_bytes_read() - before
    };
    bytes_of("sum(count_over_time({app=\"revproxy\"} |= `x` [2h])) or vector(0)");
    let lines = bytes_of("sum(count_over_time({app=\"revproxy\"} |= `request` [2h]))");
    let none = bytes_of(
        "sum by (pod) (count_over_time({app=\"revproxy\"} !~ `request` [2h])) or vector(0)",
    );
    let all =
        bytes_of("count(sum by (pod) (count_over_time({app=\"revproxy\"} |= `request` [2h])))");
    assert!(none <= lines, "no metadata where no line passes: {none}, {lines}");
    assert!(all > lines + 500_000, "it is read where it is asked for: {all}, {lines}");
}

/// Lines, stages and what they ask for, drawn from parts that meet.
const PARTS: [&str; 10] = [
    "0d9f3c7ab1e24f66",
    "connection reset by peer",
    "Connection Reset",
    "/user/data/download/dg.4503/",
    r#""user": "alice@example.org""#,
    r#""path": "\u002fuser\u002fdata\u002fdownload""#,
    "level=error",
    "WARN",
    "abcdefgh",
    "the quick brown fox",
];
const QUERIES: [&str; 20] = [
    "|= `0d9f3c7ab1e24f66`",
    "|= `9f3c7ab1e2`",
    "|= `connection reset`",
    "|= `connection reset` |= `quick brown`",
    "|= `quick brown` or `abcdefgh`",
    "!= `quick brown`",
    "|~ `(?i)connection reset`",
    "|~ `(quick|slow) brown fox`",
    "|~ `dg\\.[0-9]+/`",
    "|~ `abcd(efgh)?`",
    "|> `<_>quick brown<_>`",
    "| json | user=`alice@example.org`",
    "| json | path=`/user/data/download`",
    "| json | pod=`pod-0d9f3c7ab1e24f66`",
    "| trace_id=`0d9f3c7ab1e24f66`",
    "| json | trace_id=`0d9f3c7ab1e24f66` or user=`alice@example.org`",
    "| trace_id=`of no record at all`",
    "| label_format here=`{{ contains \"0d9f3c7ab1e24f66\" __line__  }}` \
     | here=`true` or trace_id=`0d9f3c7ab1e24f66`",
    "| detected_level=`error`",
    "| detected_level=~`warn|unknown` |= `quick brown`",
];

type Drawn = (Vec<usize>, bool, usize, usize);

fn record((parts, is_json, severity, service): &Drawn, n: usize) -> Record {
    let texts: Vec<&str> = parts.iter().map(|part| PARTS[*part]).collect();
    let line = if *is_json { format!("{{{}}}", texts.join(", ")) } else { texts.join(" ") };
    let mut metadata = Vec::new();
    if severity == &3 {
        metadata.push(("pod".to_owned(), "pod-0d9f3c7ab1e24f66".to_owned()));
    }
    if (severity, service) == (&2, &0) {
        metadata.push(("trace.id".to_owned(), "0d9f3c7ab1e24f66".to_owned()));
    }
    let is_of_trace = (severity, service) == (&1, &1);
    Record {
        at_ns: (BASE_MS + i64::try_from(n).unwrap()) * 1_000_000,
        labels: [("app", "a"), ("commons", "heart"), ("service", SERVICES[*service])]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec(),
        severity: ["", "INFO", "error", "odd"][*severity].to_owned(),
        metadata,
        trace_id: if is_of_trace { "0d9f3c7ab1e24f66" } else { "" }.to_owned(),
        line,
    }
}

/// Returns the times of the records that a query's pipeline lets through, asked one after the other.
fn unpruned(query: &str, records: &[Record]) -> Vec<i64> {
    let log = parse_log(query, &ParseLimits::default()).unwrap();
    let pipeline = Pipeline::new(&log, Wanted::All, 0).unwrap();
    let passes = |record: &&Record| {
        let pairs = record.metadata.iter().map(|(n, v)| (n.as_str(), v.as_str()));
        let attributes = crate::model::json::object(pairs);
        let metadata = Metadata {
            attributes: &attributes,
            severity_text: &record.severity,
            trace_id: &record.trace_id,
            ..Metadata::default()
        };
        let mut entry = Entry::new(record.at_ns, &record.line, &record.labels);
        pipeline.run(&mut entry, &metadata)
    };
    let mut times: Vec<i64> = records.iter().filter(passes).map(|record| record.at_ns).collect();
    times.sort_unstable();
    times.reverse();
    times
}

#[test]
fn what_is_ruled_out_is_not_missed() {
    let row =
        (prop::collection::vec(0..PARTS.len(), 0..4), any::<bool>(), 0_usize..4, 0..SERVICES.len());
    // Few of a row group have much, so that blocks differ.
    let strategy = prop::collection::vec(row, 20..60);
    let mut runner = TestRunner::new(Config { cases: 16, ..Config::default() });
    let run = runner.run(&strategy, |drawn| {
        let world = World::with_row_groups(8);
        let records: Vec<Record> =
            drawn.iter().enumerate().map(|(n, drawn)| record(drawn, n)).collect();
        let (in_files, in_head) = records.split_at(records.len() * 3 / 4);
        world.store(in_files);
        world.flush();
        world.store(in_head);
        for query in QUERIES {
            let query = format!("{{app=\"a\"}} {query}");
            let found = world.lines(&query, everything(1_000)).unwrap();
            let times: Vec<i64> = found.lines.iter().map(|line| line.ts_ns).collect();
            prop_assert_eq!(times, unpruned(&query, &records), "{}", query);
        }
        Ok(())
    });
    run.unwrap();
}
