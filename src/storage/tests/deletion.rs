//! Deleting rows: no way of reading has them from then on, the bytes go later, and a crash at any
//! operation leaves all of it done or nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use super::*;
use crate::model::ExpHistogram;
use crate::model::exemplar::{Exemplar, ExemplarsBuilder};
use crate::storage::deletion::{self, DeleteError, Progress as Stage, SeriesJudge, SpansJudge};
use crate::storage::{DeleteRequest, LogsWanted, Receipt, SpanRange, TraceRequest};

const SECOND: i64 = 1_000;
const GRACE: Duration = Duration::from_secs(86_400);

/// A store whose clock can be moved.
struct Kept {
    disk: SimDisk,
    clock: Arc<ManualClock>,
    store: Store,
}

impl Kept {
    /// A store with two series of two commons, histograms, exemplars, records and spans, in several
    /// files of a day.
    fn new() -> Self {
        Self::with_rounds(3)
    }

    fn with_rounds(n_rounds: i64) -> Self {
        let (disk, clock) = (SimDisk::new(), ManualClock::at_ms(NOW_MS));
        let store = open_at(&disk, Config::default(), Arc::clone(&clock));
        let mut this = Self { disk, clock, store };
        for n in 0..n_rounds {
            this.commit(n);
            this.flush();
        }
        this
    }

    fn commit(&mut self, n: i64) {
        let ms = NOW_MS + n * SECOND;
        let store = &mut self.store;
        let parts = vec![
            store.samples("heart", &[("up", ms, 1.0), ("down", ms, 2.0)]),
            store.samples("lung", &[("up", ms, 3.0)]),
            histogram(store, ms),
            exemplars(ms),
            logs("heart", &[&format!("a{n}"), &format!("b{n}")]),
            span("heart", &format!("s{n}")),
        ];
        store.engine.commit(parts).unwrap();
    }

    fn flush(&mut self) {
        self.store.engine.seal().unwrap();
        assert!(flush::flush_oldest(&self.store.shared).unwrap());
    }

    /// Opens a copy of what is on the disk.
    fn again(&self) -> Self {
        let (disk, clock) = (self.disk.kill(), Arc::clone(&self.clock));
        let store = open_at(&disk, Config::default(), Arc::clone(&clock));
        Self { disk, clock, store }
    }

    fn reopen(&mut self) {
        self.store = open_at(&self.disk, Config::default(), Arc::clone(&self.clock));
    }

    fn delete(&mut self, request: DeleteRequest) -> Receipt {
        self.try_delete(&ReadScope::All, request).unwrap()
    }

    fn try_delete(
        &mut self,
        scope: &ReadScope,
        request: DeleteRequest,
    ) -> Result<Receipt, DeleteError> {
        deletion::delete(&self.store.shared, scope, request).unwrap()
    }

    fn receipt(&self, id: u64) -> Receipt {
        let all = self.store.storage.deletions(&ReadScope::All);
        all.into_iter().find(|receipt| receipt.id == id).unwrap()
    }

    /// Lets the keeper do its work until there is none left.
    fn tidy(&mut self) {
        for _ in 0..3 {
            self.store.keeper.tidy().unwrap();
        }
    }

    fn paths(&self) -> BTreeSet<String> {
        self.disk.files().into_iter().map(|(path, _)| path).collect()
    }

    fn seen(&self) -> BTreeSet<String> {
        seen(&self.store)
    }
}

fn histogram(store: &Store, ms: i64) -> Part {
    let labels = Labels::from_pairs([("__name__", "latency"), ("commons", "heart")]);
    let key = u128::from(labels.series_id());
    let heart = commons("heart");
    let series = store.storage.register(key, &heart, &labels, &SeriesMeta::default()).unwrap();
    let epoch = store.storage.lookup(&[], &mut Vec::new());
    let histogram = ExpHistogram { count: 3, positive_counts: vec![3], ..ExpHistogram::default() };
    let points = vec![(series.series_idx, ms, histogram)];
    Part::ExpHistograms { commons_idx: series.commons_idx, epoch, points }
}

fn exemplars(ms: i64) -> Part {
    let mut builder = ExemplarsBuilder::default();
    for metric in ["up", "down"] {
        let series = Labels::from_pairs([("__name__", metric), ("commons", "heart")]);
        let labels = Labels::from_pairs([("trace_id", "t")]);
        let exemplar = Exemplar { timestamp_ns: ms * 1_000_000, value: 0.5, labels };
        builder.push(&series, "rule", &exemplar);
    }
    Part::Exemplars { commons: commons("heart"), batch: builder.finish() }
}

/// Returns everything that readers see, by every way of reading there is.
fn seen(store: &Store) -> BTreeSet<String> {
    let snapshot = store.storage.snapshot(&ReadScope::All);
    let mut all = BTreeSet::new();
    let request = SeriesRequest {
        matchers: &[],
        start_ms: i64::MIN,
        end_ms: i64::MAX,
        samples_max: usize::MAX,
        series_max: usize::MAX,
    };
    for series in snapshot.select(&request).unwrap() {
        let times = series.timestamps_ms.iter().chain(series.histograms.iter().map(|(ms, _)| ms));
        all.extend(times.map(|ms| format!("{}@{}", series.labels, (ms - NOW_MS) / SECOND)));
    }
    let named = |name: &str| vec![Matcher::equal("__name__", name)];
    let selectors = [named("up"), named("down")];
    let request = ExemplarRequest {
        selectors: &selectors,
        start_ms: 0,
        end_ms: i64::MAX / 2_000_000,
        exemplars_max: 99,
        bytes_max: usize::MAX,
    };
    for found in snapshot.exemplars(&request).unwrap() {
        let times = found.exemplars.iter().map(|e| (e.timestamp_ns / 1_000_000 - NOW_MS) / SECOND);
        all.extend(times.map(|s| format!("exemplar of {}@{s}", found.labels)));
    }
    all.extend(lines(&snapshot).into_iter().map(|line| format!("line {line}")));
    let (by_time, by_id) = spans(&snapshot);
    assert_eq!(by_time, by_id, "two ways of reading spans");
    all.extend(by_time.into_iter().map(|id| format!("span {id}")));
    all
}

fn lines(snapshot: &Snapshot) -> Vec<String> {
    let (commons, services) = (|_: &Commons| true, |_: Option<(&[u8], &[u8])>| true);
    let wanted =
        LogsWanted { min_ns: i64::MIN, max_ns: i64::MAX, commons: &commons, services: &services };
    let mut lines = Vec::new();
    for piece in snapshot.log_pieces(&wanted).unwrap() {
        let mut take = |batch: RecordBatch| {
            lines.extend(texts(Signal::Logs, &batch));
            true
        };
        let rows = piece.rows.as_deref();
        snapshot.read_log_piece(&piece, &["timestamp", "body"], rows, 7, &mut take).unwrap();
    }
    lines
}

fn spans(snapshot: &Snapshot) -> (BTreeSet<String>, BTreeSet<String>) {
    let range = SpanRange {
        min_ns: i64::MIN,
        max_ns: i64::MAX,
        columns: vec!["start_time", "trace_id", "span_id"],
        traces: None,
        sift: None,
    };
    let mut by_time = BTreeSet::new();
    for file in snapshot.span_files(i64::MIN, i64::MAX) {
        let mut rows = snapshot.open_spans(&file, &range).unwrap();
        while let Some(batch) = rows.next_batch().unwrap() {
            by_time.extend(texts(Signal::Spans, &batch));
        }
    }
    for head in snapshot.span_batches(i64::MIN, i64::MAX) {
        by_time.extend(texts(Signal::Spans, &head.batch));
    }
    let mut by_id = BTreeSet::new();
    let request = TraceRequest { trace_id: "t", min_ns: i64::MIN, max_ns: i64::MAX };
    let taken: Result<_, ReadError> = snapshot.trace(request, &mut |head| {
        by_id.extend(texts(Signal::Spans, &head.batch));
        Ok(())
    });
    taken.unwrap();
    (by_time, by_id)
}

fn series(matchers: &[(&str, &str)]) -> DeleteRequest {
    let set = matchers.iter().map(|(name, value)| Matcher::equal(name, value)).collect();
    request(Box::new(SeriesJudge::new(vec![set])))
}

fn request(judge: Box<dyn deletion::Judge>) -> DeleteRequest {
    DeleteRequest {
        by: "alice".to_owned(),
        selectors: vec!["as sent".to_owned()],
        start_ns: i64::MIN,
        end_ns: i64::MAX,
        judge,
    }
}

/// Chooses the records with one body.
struct ByBody(&'static str);

impl deletion::Judge for ByBody {
    fn signals(&self) -> &[Signal] {
        &[Signal::Logs]
    }

    fn may_mean(&self, _: &Commons) -> bool {
        true
    }

    fn columns(&self, _: Signal) -> &[&'static str] {
        &["timestamp", "body"]
    }

    fn mark(&mut self, _: &Commons, _: Signal, batch: &RecordBatch, marks: &mut [bool]) {
        for (mark, text) in marks.iter_mut().zip(texts(Signal::Logs, batch)) {
            *mark = text == self.0;
        }
    }
}

/// Checks that exactly what begins with one of these is not seen any more.
#[track_caller]
fn check(kept: &Kept, before: &BTreeSet<String>, gone: &[&str]) {
    let left: BTreeSet<String> = before
        .iter()
        .filter(|item| !gone.iter().any(|gone| item.starts_with(gone)))
        .cloned()
        .collect();
    assert!(left.len() < before.len() || gone.is_empty(), "nothing begins with {gone:?}");
    assert_eq!(kept.seen(), left);
}

const UP: &str = "up{commons=\"heart\"}";
const UP_EXEMPLARS: &str = "exemplar of up{commons=\"heart\"}";

#[test]
fn series_are_deleted_with_their_exemplars_and_nothing_else_is() {
    let mut kept = Kept::new();
    let before = kept.seen();

    let receipt = kept.delete(series(&[("__name__", "up"), ("commons", "heart")]));

    assert_eq!((receipt.n_rows, receipt.by.as_str(), receipt.files.len()), (6, "alice", 6));
    check(&kept, &before, &[UP, UP_EXEMPLARS]);
    kept.reopen();
    check(&kept, &before, &[UP, UP_EXEMPLARS]);
    assert_eq!(kept.receipt(receipt.id), receipt);
}

#[test]
fn each_signal_is_deleted_by_its_own() {
    let mut kept = Kept::new();
    let before = kept.seen();

    kept.delete(series(&[("__name__", "latency")]));
    check(&kept, &before, &["latency"]);
    kept.delete(request(Box::new(ByBody("b1"))));
    check(&kept, &before, &["latency", "line b1"]);
    let spans = SpansJudge::new(vec![vec![Matcher::equal("span_id", "s2")]]).unwrap();
    kept.delete(request(Box::new(spans)));
    check(&kept, &before, &["latency", "line b1", "span s2"]);
    assert_eq!(SpansJudge::new(vec![vec![Matcher::equal("pod", "x")]]).unwrap_err(), "pod");
}

#[test]
fn only_rows_of_the_time_are_deleted_both_ends_included() {
    let mut kept = Kept::new();
    let before = kept.seen();
    let second = (NOW_MS + SECOND) * 1_000_000;

    let request =
        DeleteRequest { start_ns: second, end_ns: second, ..series(&[("commons", "lung")]) };
    let receipt = kept.delete(request);

    assert_eq!(receipt.n_rows, 1);
    check(&kept, &before, &["up{commons=\"lung\"}@1"]);
}

#[test]
fn what_comes_later_stays() {
    let mut kept = Kept::new();
    kept.delete(series(&[("__name__", "up")]));

    kept.commit(0);
    kept.flush();

    assert!(kept.seen().contains(&format!("{UP}@0")), "{:?}", kept.seen());
}

#[test]
fn what_a_scope_does_not_cover_is_not_deleted() {
    let mut kept = Kept::new();
    let before = kept.seen();
    let lung = ReadScope::Only([commons("lung")].into());

    let receipt = kept.try_delete(&lung, series(&[("__name__", "up")])).unwrap();

    check(&kept, &before, &["up{commons=\"lung\"}"]);
    let heart = ReadScope::Only([commons("heart")].into());
    assert_eq!(kept.store.storage.deletions(&lung), std::slice::from_ref(&receipt));
    assert_eq!(kept.store.storage.deletions(&heart), []);
    let cancelled = deletion::cancel(&kept.store.shared, &heart, receipt.id, "bob").unwrap();
    assert!(matches!(cancelled, Err(DeleteError::Unknown { .. })));
}

#[test]
fn a_deletion_is_taken_back_whole_and_others_stay() {
    let mut kept = Kept::new();
    let before = kept.seen();
    let all = kept.delete(series(&[("commons", "heart")]));
    let some = kept.delete(series(&[("__name__", "up"), ("commons", "heart")]));
    assert_eq!(some.n_rows, 0, "they were deleted already");
    kept.tidy();

    let cancelled = deletion::cancel(&kept.store.shared, &ReadScope::All, all.id, "bob");

    assert_eq!(cancelled.unwrap().unwrap().ended_by.as_deref(), Some("bob"));
    check(&kept, &before, &[UP, UP_EXEMPLARS]);
    kept.reopen();
    check(&kept, &before, &[UP, UP_EXEMPLARS]);
    assert!(!kept.paths().contains(&deletion::path(all.id)), "its rows are of no use");
}

#[test]
fn the_bytes_go_after_the_grace_and_the_receipt_says_when() {
    let mut kept = Kept::new();
    let before = kept.seen();
    let receipt = kept.delete(series(&[("__name__", "up")]));
    kept.tidy();
    assert!(receipt.files.iter().all(|path| kept.paths().contains(path)), "it can be taken back");

    kept.clock.advance(GRACE);
    kept.tidy();

    let after = kept.receipt(receipt.id);
    assert_eq!((after.progress, after.ended_at_ms), (Stage::Erased, Some(NOW_MS + 86_400_000)));
    let paths = kept.paths();
    assert!(!receipt.files.iter().any(|path| paths.contains(path)), "{paths:?}");
    assert!(!paths.contains(&deletion::path(receipt.id)));
    let gone = [UP, UP_EXEMPLARS, "up{commons=\"lung\"}"];
    check(&kept, &before, &gone);
    let manifest = kept.store.shared.manifest.lock().clone();
    let n_metrics: u64 = manifest
        .files
        .iter()
        .filter(|file| file.signal == Signal::Metrics && !file.has_exp)
        .map(|file| file.n_rows)
        .sum();
    assert_eq!(n_metrics, 3, "only `down` is in the files");
    assert!(manifest.files.iter().all(|file| file.deletions.is_empty()));
    let cancelled = deletion::cancel(&kept.store.shared, &ReadScope::All, receipt.id, "bob");
    assert!(matches!(cancelled.unwrap(), Err(DeleteError::TooLate { .. })));
    kept.reopen();
    check(&kept, &before, &gone);
}

#[test]
fn a_reader_keeps_what_it_began_with_and_the_bytes_wait_for_it() {
    let mut kept = Kept::new();
    let reader = kept.store.storage.snapshot(&ReadScope::All);
    let receipt = kept.delete(request(Box::new(ByBody("a0"))));
    kept.clock.advance(GRACE);

    kept.tidy();

    assert!(lines(&reader).contains(&"a0".to_owned()));
    assert_eq!(kept.receipt(receipt.id).progress, Stage::Hidden, "somebody still reads them");
    drop(reader);
    kept.tidy();
    assert_eq!(kept.receipt(receipt.id).progress, Stage::Erased);
}

#[test]
fn bytes_in_a_snapshot_are_not_gone() {
    let mut kept = Kept::new();
    crate::storage::backup::take(&kept.store.shared, "a", &|| true).unwrap();
    let receipt = kept.delete(request(Box::new(ByBody("a0"))));
    kept.clock.advance(GRACE);

    kept.tidy();

    assert_eq!(kept.receipt(receipt.id).progress, Stage::Hidden);
    for path in kept.paths().iter().filter(|path| path.starts_with("snapshots/")) {
        kept.disk.remove(path).unwrap();
    }
    kept.tidy();
    assert_eq!(kept.receipt(receipt.id).progress, Stage::Erased);
}

#[test]
fn a_file_of_which_nothing_is_left_goes_without_another_in_its_place() {
    let mut kept = Kept::new();
    let before = kept.seen();
    kept.delete(series(&[("commons", "lung")]));
    kept.clock.advance(GRACE);

    kept.tidy();

    check(&kept, &before, &["up{commons=\"lung\"}"]);
    assert!(!kept.paths().iter().any(|path| path.contains("commons=lung")));
}

#[test]
fn too_scattered_rows_are_refused_with_the_name_of_the_limit() {
    let mut kept = Kept::new();
    let before = kept.seen();
    let config = Config { deletion_ranges_max: 2, ..Config::default() };
    kept.store = open_at(&kept.disk, config, Arc::clone(&kept.clock));

    let refused = kept.try_delete(&ReadScope::All, series(&[("__name__", "up")]));

    assert!(refused.unwrap_err().to_string().contains("storage.deletion_ranges_max"));
    check(&kept, &before, &[]);
}

#[test]
fn when_it_is_not_known_what_was_deleted_from_a_file_the_file_is_left_out() {
    let mut kept = Kept::new();
    let before = kept.seen();
    let receipt = kept.delete(series(&[("__name__", "up"), ("commons", "lung")]));
    kept.disk.flip_byte(&deletion::path(receipt.id), 30, 1);

    kept.reopen();

    let seen = kept.seen();
    assert!(seen.is_subset(&before) && !seen.iter().any(|item| item.contains("lung")), "{seen:?}");
    assert!(seen.iter().any(|item| item.contains("heart")), "the rest is served");
    let damaged = kept.store.shared.damaged.read().clone();
    assert!(damaged.values().all(|why| why.contains("deletions/")), "{damaged:?}");
    assert!(!damaged.is_empty());
}

#[test]
fn an_older_program_refuses_a_store_with_deletions() {
    let mut kept = Kept::new();
    let text = |kept: &Kept| {
        String::from_utf8(kept.disk.read("parquet/manifest.json").unwrap().to_vec()).unwrap()
    };
    assert!(text(&kept).starts_with("{\"version\":1,"));

    kept.delete(series(&[("__name__", "up")]));

    assert!(text(&kept).starts_with("{\"version\":2,"), "which it does not read");
}

/// Lets `work` fail at each of its operations, by the end of the power or of the process, and checks
/// what the next process finds. Operations take turns in how they fail; with `DELETION_CRASHES=all`
/// each fails in every way.
#[track_caller]
fn check_crashes(given: impl Fn() -> Kept, work: impl Fn(&mut Kept), judge: impl Fn(&Kept)) {
    let given = given();
    let mut uncut = given.again();
    let n_before = uncut.disk.n_ops();
    work(&mut uncut);
    let n_ops = uncut.disk.n_ops() - n_before;
    assert!(n_ops > 5, "little was done: {n_ops}");
    judge(&uncut);
    // A power cut may follow what a process left; the others are the end of the process.
    let ways = [
        (Fault::PowerCut, true),
        (Fault::PowerCut, false),
        (Fault::SyncFails, true),
        (Fault::Full, true),
    ];
    let is_long = std::env::var("DELETION_CRASHES").is_ok_and(|wanted| wanted == "all");
    for (way, (fault, is_kill)) in (0..).zip(ways) {
        for at in (0..n_ops).filter(|at| is_long || at % 4 == way) {
            let mut kept = given.again();
            kept.disk.arm(at, fault);
            work(&mut kept);
            kept.disk = if is_kill { kept.disk.kill() } else { kept.disk.crash(at) };
            kept.reopen();
            judge(&kept);
            kept.tidy();
            judge(&kept);
            kept.disk = kept.disk.crash(at + 1);
            kept.reopen();
            judge(&kept);
        }
    }
    if is_long {
        eprintln!("deletion crashes: {n_ops} operations in 4 ways, nothing lost");
    }
}

#[test]
fn a_crash_anywhere_in_a_deletion_leaves_all_of_it_or_nothing() {
    let before = Kept::new().seen();
    let gone = |item: &String| item.contains("commons=\"heart\"") || item.starts_with("exemplar");
    let after: BTreeSet<String> = before.iter().filter(|item| !gone(item)).cloned().collect();

    check_crashes(
        Kept::new,
        |kept| {
            let request = series(&[("commons", "heart")]);
            drop(deletion::delete(&kept.store.shared, &ReadScope::All, request));
        },
        |kept| {
            let (seen, n) = (kept.seen(), kept.store.storage.deletions(&ReadScope::All).len());
            assert!((&seen, n) == (&before, 0) || (&seen, n) == (&after, 1), "{n} {seen:?}");
        },
    );
}

#[test]
fn a_crash_anywhere_on_the_way_to_erasure_brings_nothing_back_and_loses_nothing_else() {
    let given = || {
        let mut kept = Kept::with_rounds(2);
        kept.delete(series(&[("commons", "heart"), ("__name__", "up")]));
        kept.delete(request(Box::new(ByBody("a1"))));
        kept.clock.advance(GRACE);
        kept
    };
    let after = given().seen();

    check_crashes(
        given,
        |kept| {
            for _ in 0..3 {
                drop(kept.store.keeper.tidy());
            }
        },
        |kept| assert_eq!(kept.seen(), after),
    );
}

#[test]
fn a_crash_anywhere_in_taking_it_back_leaves_it_deleted_or_taken_back() {
    let (before, after) = {
        let mut kept = Kept::new();
        let before = kept.seen();
        kept.delete(request(Box::new(ByBody("a1"))));
        (before, kept.seen())
    };
    let given = || {
        let mut kept = Kept::new();
        kept.delete(request(Box::new(ByBody("a1"))));
        kept
    };

    check_crashes(
        given,
        |kept| drop(deletion::cancel(&kept.store.shared, &ReadScope::All, 1, "bob")),
        |kept| {
            let is_cancelled = kept.receipt(1).progress == Stage::Cancelled;
            assert_eq!(kept.seen(), if is_cancelled { before.clone() } else { after.clone() });
        },
    );
}
