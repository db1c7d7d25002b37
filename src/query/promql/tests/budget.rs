//! What a query may use, and how it is stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::base::units::{HumanDuration, HumanSize};
use crate::base::{Clock, Kind, ManualClock};
use crate::model::SeriesData;
use crate::storage::{ReadError, SeriesRequest};

use super::super::testing::MemorySource;
use super::super::{Answer, Engine, Limits, PromqlError, SeriesSource};
use super::{budget_of, parse_ok, source_of};

/// Counts reads and passes them on.
struct Counted {
    source: MemorySource,
    n_reads: AtomicUsize,
}

impl SeriesSource for Counted {
    fn select(&self, request: &SeriesRequest<'_>) -> Result<Vec<SeriesData>, ReadError> {
        self.n_reads.fetch_add(1, Ordering::Relaxed);
        self.source.select(request)
    }
}

#[track_caller]
fn check_reads(query: &str, want_reads: usize, want_samples: usize) {
    let source = source_of(60_000, &["a{i=\"1\"} 0+1x200", "a{i=\"2\"} 0+2x200", "b 1x200"]);
    let counted = Counted { source, n_reads: AtomicUsize::new(0) };
    let budget = budget_of(&Limits::default());

    let answer = Engine::default()
        .range(&counted, &parse_ok(query), 3_600_000, 7_200_000, 60_000, &budget)
        .unwrap();

    let n_reads = counted.n_reads.load(Ordering::Relaxed);
    assert_eq!((n_reads, answer.n_samples), (want_reads, want_samples), "{query}");
}

#[test]
fn a_selector_is_read_once_over_the_union_of_its_windows() {
    check_reads("a", 1, 2 * 65);
    check_reads("a / a", 1, 2 * 65);
    check_reads("a / (a offset 2m)", 1, 2 * 67);
    check_reads("sum(rate(a[5m])) / sum(rate(a[10m]))", 1, 2 * 70);
    check_reads("a + on () group_left b", 2, 2 * 65 + 65);
}

#[test]
fn windows_far_apart_are_read_apart() {
    check_reads("rate(a[1m]) / rate(a[1m] offset 70m)", 2, 2 * 61 + 2 * 51);
    check_reads("a / a{i=\"1\"}", 2, 2 * 65 + 65);
    check_reads("a @ 0", 1, 2);
}

fn ask(query: &str, limits: &Limits) -> Result<Answer, PromqlError> {
    let lines: Vec<String> = (0..20).map(|i| format!("a{{i=\"{i}\"}} 0+1x200")).collect();
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let source = source_of(60_000, &lines);
    Engine::default().range(&source, &parse_ok(query), 0, 7_200_000, 60_000, &budget_of(limits))
}

#[track_caller]
fn check_refused(query: &str, limits: &Limits, want: &str) {
    let error = ask(query, limits).unwrap_err();

    assert_eq!(error.kind(), Kind::Execution, "{error}");
    assert!(error.to_string().contains(want), "{error}");
    ask(query, &Limits::default()).unwrap();
}

#[test]
fn a_query_that_needs_too_much_names_the_limit() {
    let samples = Limits { query_samples: 1_000, ..Limits::default() };
    check_refused("a", &samples, "more than 1000 samples (limits.query_samples)");
    check_refused("sum(rate(a[5m]))", &samples, "limits.query_samples");

    let series = Limits { query_series: 10, ..Limits::default() };
    check_refused("a", &series, "more than 10 series (limits.query_series)");

    let memory = Limits { query_memory: HumanSize(10_000), ..Limits::default() };
    check_refused("a", &memory, "raise `limits.query_memory`");
    check_refused("topk(1, a)", &memory, "raise `limits.query_memory`");
    check_refused(
        "scalar(a) ^ (1 ^ (2 ^ (3 ^ (4 ^ (5 ^ (6 ^ (7 ^ (8 ^ (9 ^ 10)))))))))",
        &memory,
        "raise `limits.query_memory`",
    );
    check_refused(
        "abs(abs(abs(abs(abs(abs(abs(abs(abs(abs(a))))))))))",
        &memory,
        "raise `limits.query_memory`",
    );
    check_refused("count_values by (i) (\"v\", a)", &memory, "raise `limits.query_memory`");
}

#[test]
fn an_aggregation_needs_memory_for_its_groups_and_not_for_its_series() {
    let memory = Limits { query_memory: HumanSize(10_000), ..Limits::default() };

    let answer = ask("sum(rate(a[5m]))", &memory);

    assert!(answer.is_ok(), "{answer:?}");
}

#[test]
fn a_sub_query_with_too_many_steps_is_refused_before_it_runs() {
    let limits = Limits { query_samples: 5_000, ..Limits::default() };

    check_refused("max_over_time(vector(1)[1h:1s])", &limits, "steps in a sub-query");
}

#[test]
fn a_canceled_query_ends() {
    let source = source_of(60_000, &["a 1"]);
    let budget = budget_of(&Limits::default());
    budget.cancel();

    let error = Engine::default().instant(&source, &parse_ok("a"), 0, &budget).unwrap_err();

    assert_eq!(error.kind(), Kind::Canceled);
}

/// Moves the clock past the deadline while the samples are read.
struct Slow {
    source: MemorySource,
    clock: Arc<ManualClock>,
}

impl SeriesSource for Slow {
    fn select(&self, request: &SeriesRequest<'_>) -> Result<Vec<SeriesData>, ReadError> {
        self.clock.advance(Duration::from_secs(2));
        self.source.select(request)
    }
}

#[test]
fn a_query_ends_at_its_deadline() {
    let clock = ManualClock::at_ms(0);
    let source = source_of(1_000, &["a 0x3000"]);
    let slow = Slow { source, clock: Arc::clone(&clock) };
    let limits =
        Limits { query_timeout: HumanDuration(Duration::from_secs(1)), ..Limits::default() };
    let budget = limits.budget(clock as Arc<dyn Clock>);

    // The second read is refused, and so is work on samples that were read in time.
    for query in ["a + a{x=\"\"}", "quantile_over_time(0.5, a[40m])"] {
        let answer = Engine::default().range(&slow, &parse_ok(query), 0, 3_000_000, 1_000, &budget);
        assert!(matches!(answer, Err(PromqlError::Timeout)), "{query}: {answer:?}");
    }
}

#[test]
fn shares_of_memory_are_given_back() {
    // Each operand needs 20 x 121 x 8 bytes; a chain of them would not fit all at once.
    let memory = Limits { query_memory: HumanSize(100_000), ..Limits::default() };

    let answer = ask("sum(a and a) + sum(a and a) + sum(a and a) + sum(a and a)", &memory);

    assert!(answer.is_ok(), "{answer:?}");
}
