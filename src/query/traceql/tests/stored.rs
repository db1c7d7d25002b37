//! Searches of a store: they find what looking at every trace finds, and read little for it.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::registry::Registry;
use rand::rngs::SmallRng;
use rand::{Rng as _, SeedableRng as _};

use super::super::metrics::{Counting, count, count_unsifted};
use super::super::search::{Found, Search, search, search_unsifted};
use super::super::{Limits, by_id};
use crate::base::ManualClock;
use crate::base::clock::SharedClock;
use crate::model::{Commons, Matcher, ReadScope, Signal, SpanRow, SpansBuilder, Tags};
use crate::query::promql::{self, Budget};
use crate::storage::deletion::SpansJudge;
use crate::storage::disk::counting::{CountingDisk, NBytesRead};
use crate::storage::{
    self, DeleteRequest, Opened, Part, Progress, RealDisk, Snapshot, Storage, TraceRequest,
};

pub(super) const BASE_MS: i64 = 1_763_733_600_000;

/// A store with spans, in the head or in files.
pub(super) struct World {
    /// Gone when the world ends: then its threads end, and the runtime after them.
    storage: Option<Storage>,
    threads: Vec<std::thread::JoinHandle<()>>,
    runtime: tokio::runtime::Runtime,
    clock: SharedClock,
    n_bytes_read: NBytesRead,
    _dir: tempfile::TempDir,
}

impl Drop for World {
    fn drop(&mut self) {
        self.storage = None;
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
    }
}

/// A span to store: trace, number in it, ms after the start, its length in ms, service, name, status
/// code.
pub(super) type Given = (u64, u64, i64, i64, &'static str, &'static str, u32);

impl World {
    pub(super) fn new() -> Self {
        Self::with_row_groups(1 << 20)
    }

    pub(super) fn with_row_groups(row_group_rows: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock: SharedClock = ManualClock::at_ms(BASE_MS + 7_200_000);
        let (disk, n_bytes_read) = CountingDisk::new(RealDisk::open(dir.path()).unwrap());
        let merged_file_max = storage_size(0);
        let config = storage::Config { merged_file_max, row_group_rows, ..Default::default() };
        let Opened { storage, writer, flusher, keeper, .. } = Storage::open(
            disk,
            Arc::clone(&clock),
            config,
            storage::Metrics::register(&mut Registry::default()),
            &Progress::default(),
        )
        .unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let (of_writer, of_flusher) = (runtime.handle().clone(), runtime.handle().clone());
        let threads = vec![
            std::thread::spawn(move || drop(writer.run(&of_writer))),
            std::thread::spawn(move || drop(flusher.run(&of_flusher))),
            std::thread::spawn(move || drop(keeper.run())),
        ];
        Self { storage: Some(storage), threads, runtime, clock, n_bytes_read, _dir: dir }
    }

    fn storage(&self) -> &Storage {
        self.storage.as_ref().expect("it goes when the world ends")
    }

    pub(super) fn store(&self, spans: &[Given]) {
        let mut builder = SpansBuilder::new();
        for &(trace, number, after_ms, length_ms, service, name, code) in spans {
            let start_ns = (BASE_MS + after_ms) * 1_000_000;
            let parent = if number == 0 { String::new() } else { span_id(trace, 0) };
            let row = SpanRow {
                start_ns,
                end_ns: start_ns + length_ms * 1_000_000,
                trace_id: &trace_id(trace),
                span_id: &span_id(trace, number),
                parent_span_id: &parent,
                name,
                kind: 2,
                status_code: 2 * i32::from(code >= 500),
                attributes: &format!(r#"{{"http.status":{code},"peer":"{}"}}"#, mix(trace) % 900),
                resource: &format!(r#"{{"service.name":"{service}"}}"#),
                events: "[]",
                links: "[]",
                ..SpanRow::default()
            };
            builder.push(&Tags::unassigned(), &row);
        }
        self.append(builder);
    }

    pub(super) fn append(&self, spans: SpansBuilder) {
        self.append_of("heart", spans);
    }

    pub(super) fn append_of(&self, commons: &str, mut spans: SpansBuilder) {
        let part = Part::Spans { commons: Commons::new(commons).unwrap(), batch: spans.finish() };
        self.runtime.block_on(self.storage().append(vec![part])).unwrap();
    }

    /// Deletes spans by their ids; what is in memory goes to files before.
    pub(super) fn delete(&self, ids: &[&str]) {
        let sets = ids.iter().map(|id| vec![Matcher::equal("span_id", id)]).collect();
        let request = DeleteRequest {
            by: "a test".to_owned(),
            selectors: Vec::new(),
            start_ns: i64::MIN,
            end_ns: i64::MAX,
            judge: Box::new(SpansJudge::new(sets).unwrap()),
        };
        let deleted = self.storage().delete(&ReadScope::All, request);
        let receipt = self.runtime.block_on(deleted).unwrap();
        assert_eq!(receipt.n_rows, ids.len() as u64);
    }

    pub(super) fn flush(&self) {
        assert!(self.runtime.block_on(self.storage().flush(Duration::from_secs(30))));
    }

    pub(super) fn snapshot(&self) -> Snapshot {
        self.snapshot_of(&ReadScope::All)
    }

    pub(super) fn snapshot_of(&self, scope: &ReadScope) -> Snapshot {
        self.storage().snapshot(scope)
    }

    pub(super) fn budget(&self) -> Budget {
        Budget::new(Arc::clone(&self.clock), Duration::from_secs(60))
    }

    /// Returns a budget with so much memory.
    pub(super) fn budget_of(&self, memory_bytes_max: usize) -> Budget {
        self.budget_within(promql::Limits { memory_bytes_max, ..promql::Limits::default() })
    }

    /// Returns a budget within such limits.
    pub(super) fn budget_within(&self, limits: promql::Limits) -> Budget {
        limits.budget(Arc::clone(&self.clock), Duration::from_secs(60))
    }

    pub(super) fn ask(&self, query: &str, limit: usize) -> Found {
        search(&self.snapshot(), &wanted(query, limit), &Limits::default(), &self.budget()).unwrap()
    }

    /// Returns what a question reads of the files, with footers known.
    pub(super) fn n_bytes_of<T>(&self, ask: impl Fn() -> T) -> (T, u64) {
        ask();
        let before = self.n_bytes_read.get();
        let answer = ask();
        (answer, self.n_bytes_read.get() - before)
    }

    pub(super) fn n_bytes_stored(&self) -> u64 {
        self.snapshot().files(Signal::Spans).iter().map(|file| file.size_bytes).sum()
    }
}

fn storage_size(n_bytes: u64) -> crate::base::units::HumanSize {
    crate::base::units::HumanSize(n_bytes)
}

pub(super) fn wanted(query: &str, limit: usize) -> Search {
    Search {
        query: query.to_owned(),
        start_ns: BASE_MS * 1_000_000,
        end_ns: (BASE_MS + 7_200_000) * 1_000_000,
        limit,
        spans_per_set: 3,
    }
}

fn mix(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) ^ (n >> 31)
}

pub(super) fn trace_id(trace: u64) -> String {
    format!("{:016x}{:016x}", mix(trace), mix(!trace))
}

pub(super) fn span_id(trace: u64, number: u64) -> String {
    format!("{:016x}", mix(trace * 64 + number) | 1)
}

const SERVICES: [&str; 3] = ["fence", "indexd", "guppy"];
const NAMES: [&str; 4] = ["GET /index", "GET /user", "POST /submission", "db"];

pub(super) fn random_span(rng: &mut SmallRng, trace: u64, number: u64) -> Given {
    (
        trace,
        number,
        i64::try_from(trace).unwrap() * 50 + rng.random_range(0..400),
        rng.random_range(0..500),
        SERVICES[rng.random_range(0..SERVICES.len())],
        NAMES[rng.random_range(0..NAMES.len())],
        [200, 200, 200, 404, 500][rng.random_range(0..5)],
    )
}

const QUERIES: [&str; 20] = [
    "{ }",
    "{ name = \"db\" }",
    "{ name != \"db\" && duration > 480ms }",
    "{ resource.service.name = \"fence\" && span.http.status = 500 }",
    "{ .http.status >= 404 }",
    "{ .service.name =~ \"in.*\" }",
    "{ status = error } && { name = \"GET /user\" }",
    "{ status = error } || { duration < 3ms }",
    "{ name = \"db\" } >> { status = error }",
    "{ name = \"db\" } !> { status = error }",
    "{ name = \"db\" } &~ { status = error }",
    "{ duration > 300ms } | count() > 2",
    "({ name = \"db\" } | count() > 1) && { status = error }",
    "{ rootName = \"db\" && duration > 400ms }",
    "{ rootName = \"db\" }",
    "{ nestedSetParent<0 && status = error }",
    "({nestedSetParent<0 && true && status = error} &>> { status = error }) || ({nestedSetParent<0 && true})",
    "{ !(name = \"db\") }",
    "{ parent.http.status = 500 && name = \"db\" }",
    "{ name = \"nothing of the kind\" }",
];

#[test]
fn what_is_sifted_is_what_all_traces_give() {
    for seed in 0..6 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let world = World::with_row_groups(24);
        let mut spans: Vec<Given> = (0..60)
            .flat_map(|trace| (0..rng.random_range(1..6)).map(move |number| (trace, number)))
            .collect::<Vec<_>>()
            .into_iter()
            .map(|(trace, number)| random_span(&mut rng, trace, number))
            .collect();
        // Traces lie in several files and the head, some in more than one.
        spans.sort_by_cached_key(|span| span.2 + i64::try_from(mix(span.0) % 300).unwrap());
        for chunk in spans.chunks(spans.len() / 3) {
            world.store(chunk);
            if rng.random_bool(0.7) {
                world.flush();
            }
        }
        for query in QUERIES {
            for limit in [1, 4, 100] {
                let wanted = wanted(query, limit);
                let all = search_unsifted(
                    &world.snapshot(),
                    &wanted,
                    &Limits::default(),
                    &world.budget(),
                );
                assert_eq!(
                    world.ask(query, limit).traces,
                    all.unwrap().traces,
                    "seed {seed}, limit {limit}: {query}"
                );
            }
        }
    }
}

const COUNTS: [&str; 20] = [
    "{ } | rate() by (resource.service.name, span.peer)",
    "{ } | sum_over_time(span.http.status) by (span.nothing.of.the.kind)",
    "{ trace:id =~ \".*[0-7]\" } | histogram_over_time(duration) by (name)",
    "{ } | quantile_over_time(span.http.status, .5) by (.peer)",
    "{ } | count_over_time() by (trace:id, span:id)",
    "{ } | rate()",
    "{ status = error } | rate() by (resource.service.name)",
    "{ .http.status >= 404 && duration > 50ms } | count_over_time() by (name, span.peer)",
    "{ name = \"db\" } || { status = error } | quantile_over_time(duration, .5, .9)",
    "{ name = \"db\" } | histogram_over_time(duration)",
    "{ name = \"db\" } | max_over_time(span.http.status) by (kind)",
    "{ status = error } && { name = \"GET /user\" } | rate()",
    "{ name = \"db\" } >> { status = error } | count_over_time()",
    "{ status = error } | rate() by (rootName)",
    "{ rootName = \"db\" && duration > 100ms } | avg_over_time(duration)",
    "{ name = \"db\" } | compare({ status = error })",
    "{ nestedSetParent<0 && true } | rate() by (name)",
    "{ nestedSetParent<0 && status=error } | histogram_over_time(duration)",
    "{ nestedSetParent<0 || status=error } | count_over_time()",
    "{ name = \"nothing of the kind\" } | rate()",
];

#[test]
fn what_is_counted_of_sifted_spans_is_what_all_traces_give() {
    for seed in 10..14 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let world = World::with_row_groups(24);
        let numbers = (0..60).flat_map(|trace| (0..4).map(move |number| (trace, number)));
        let mut spans: Vec<Given> =
            numbers.map(|(trace, number)| random_span(&mut rng, trace, number)).collect();
        // A sender that heard no answer sends some again, and they end up elsewhere.
        let again: Vec<Given> = spans.iter().filter(|_| rng.random_bool(0.1)).copied().collect();
        spans.sort_by_key(|span| span.2);
        spans.extend(again);
        for chunk in spans.chunks(spans.len() / 3) {
            world.store(chunk);
            if rng.random_bool(0.7) {
                world.flush();
            }
        }
        for query in COUNTS {
            let wanted = Counting {
                query: query.to_owned(),
                start_ns: (BASE_MS + 200) * 1_000_000,
                end_ns: (BASE_MS + 2_600) * 1_000_000,
                step_ns: Some(500_000_000),
                exemplars: 5,
            };
            let (snapshot, limits) = (world.snapshot(), Limits::default());
            let sifted = count(&snapshot, &wanted, &limits, &world.budget()).unwrap();
            let all = count_unsifted(&snapshot, &wanted, &limits, &world.budget()).unwrap();
            assert_eq!(sifted.series, all.series, "seed {seed}: {query}");
            assert!(sifted.inspected.n_spans <= all.inspected.n_spans, "seed {seed}: {query}");
        }
    }
}

/// Spans of 80,000 traces in four files, one after the other in time.
pub(super) fn large() -> World {
    let world = World::new();
    let mut rng = SmallRng::seed_from_u64(1);
    for file in 0..4 {
        let traces = file * 20_000..(file + 1) * 20_000;
        let spans: Vec<Given> = traces
            .flat_map(|trace| [(trace, 0), (trace, 1)])
            .map(|(trace, number)| random_span(&mut rng, trace, number))
            .collect();
        world.store(&spans);
        world.flush();
    }
    assert_eq!(world.snapshot().files(Signal::Spans).len(), 4);
    world
}

#[test]
fn a_trace_by_its_id_costs_a_page_of_each_column() {
    let world = large();
    let n_stored = world.n_bytes_stored();
    let ask = |id: String| {
        world.n_bytes_of(|| {
            let request = TraceRequest { trace_id: &id, min_ns: i64::MIN, max_ns: i64::MAX };
            let found =
                by_id::find(&world.snapshot(), request, &Limits::default(), &world.budget());
            found.unwrap().batches.iter().map(arrow::array::RecordBatch::num_rows).sum::<usize>()
        })
    };
    for trace in [0, 37_777, 79_999] {
        let (n_spans, n_bytes) = ask(trace_id(trace));
        assert_eq!(n_spans, 2, "trace {trace}");
        assert!(n_bytes < n_stored / 2, "trace {trace}: {n_bytes} of {n_stored} bytes");
    }
    let (n_spans, n_bytes) = ask(trace_id(80_001));
    assert_eq!(n_spans, 0);
    assert!(n_bytes < n_stored / 3, "bloom filters alone: {n_bytes} of {n_stored} bytes");
}

#[test]
fn a_trace_is_found_in_whichever_row_group_it_is() {
    let world = World::with_row_groups(10);
    let mut rng = SmallRng::seed_from_u64(3);
    let numbers = (0..40).flat_map(|trace| [(trace, 0), (trace, 1), (trace, 2)]);
    let spans: Vec<Given> =
        numbers.map(|(trace, number)| random_span(&mut rng, trace, number)).collect();
    for chunk in spans.chunks(60) {
        world.store(chunk);
        world.flush();
    }
    for trace in 0..40 {
        let id = trace_id(trace);
        let request = TraceRequest { trace_id: &id, min_ns: i64::MIN, max_ns: i64::MAX };
        let found = by_id::find(&world.snapshot(), request, &Limits::default(), &world.budget());
        let n_rows: usize =
            found.unwrap().batches.iter().map(arrow::array::RecordBatch::num_rows).sum();
        assert_eq!(n_rows, 3, "trace {trace}");
    }
}

#[test]
fn a_search_reads_the_newest_file_and_few_columns_of_the_others() {
    let world = large();
    let n_stored = world.n_bytes_stored();
    let sifted = |query: &str, limit| {
        let (found, n_bytes) = world.n_bytes_of(|| world.ask(query, limit));
        (found.traces.len(), n_bytes)
    };
    let (_, n_bytes_unsifted) = world.n_bytes_of(|| {
        let wanted = wanted("{ status = error }", 1);
        search_unsifted(&world.snapshot(), &wanted, &Limits::default(), &world.budget()).unwrap()
    });
    let (n_found, n_bytes) = sifted("{ status = error }", 1);
    assert_eq!(n_found, 1);
    assert!(
        n_bytes < n_bytes_unsifted * 3 / 4,
        "one file and a few pages of the others: {n_bytes} instead of {n_bytes_unsifted} bytes"
    );
    let (n_found, n_bytes) = sifted("{ name = \"nothing of the kind\" }", 10);
    assert_eq!(n_found, 0);
    assert!(n_bytes < n_stored / 4, "no more than names: {n_bytes} of {n_stored} bytes");
}

#[test]
fn counting_few_spans_reads_few_columns_of_the_others() {
    let world = large();
    let n_bytes_of = |query: &str| {
        let wanted = Counting {
            query: query.to_owned(),
            start_ns: BASE_MS * 1_000_000,
            end_ns: (BASE_MS + 7_200_000) * 1_000_000,
            step_ns: Some(60_000_000_000),
            exemplars: 0,
        };
        let ask = || count(&world.snapshot(), &wanted, &Limits::default(), &world.budget());
        world.n_bytes_of(|| ask().unwrap()).1
    };
    let n_bytes_all = n_bytes_of("{ rootName != \"x\" } | rate() by (span.peer)");
    let n_bytes = n_bytes_of("{ name = \"nothing of the kind\" } | rate() by (span.peer)");
    assert!(n_bytes < n_bytes_all / 4, "{n_bytes} of {n_bytes_all} bytes");
}
