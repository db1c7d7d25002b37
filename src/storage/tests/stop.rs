//! Reading ends when nobody waits for it, before the next file, row group or batch.

use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parquet::arrow::arrow_reader::ArrowReaderMetadata;

use super::*;
use crate::model::exemplar::{Exemplar, ExemplarsBuilder};
use crate::storage::disk::counting::{CountingDisk, NBytesRead};

const N_FILES: i64 = 5;
const SAMPLES_PER_FILE: i64 = 300;
/// Several row groups a file.
const ROW_GROUP_ROWS: usize = 400;
const METRICS: [&str; 4] = ["a", "b", "c", "d"];

/// Is due from its `nth` look on, and knows how much had been read by then.
#[derive(Debug)]
struct AtLook {
    nth: usize,
    n_looks: AtomicUsize,
    n_bytes_read: NBytesRead,
    n_bytes_then: AtomicU64,
}

impl Stop for AtLook {
    fn is_due(&self) -> bool {
        let n = self.n_looks.fetch_add(1, Ordering::Relaxed) + 1;
        if n == self.nth {
            self.n_bytes_then.store(self.n_bytes_read.get(), Ordering::Relaxed);
        }
        n >= self.nth
    }
}

fn open_counted(dir: &Path) -> (Store, NBytesRead) {
    let (disk, n_bytes_read) = CountingDisk::new(RealDisk::open(dir).unwrap());
    let config = Config { row_group_rows: ROW_GROUP_ROWS, ..Config::default() };
    (open_on(disk, (config, None), ManualClock::at_ms(NOW_MS)), n_bytes_read)
}

fn exemplars(ms: i64) -> Part {
    let mut builder = ExemplarsBuilder::default();
    let series = Labels::from_pairs([("__name__", "a"), ("commons", "heart")]);
    let labels = Labels::from_pairs([("trace_id", ms.to_string())]);
    builder.push(&series, "rule", &Exemplar { timestamp_ns: ms * 1_000_000, value: 1.0, labels });
    Part::Exemplars { commons: commons("heart"), batch: builder.finish() }
}

/// Writes files of metrics and of exemplars, one after the other in time.
fn written() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open_counted(dir.path());
    for nth in 0..N_FILES {
        let times = (0..SAMPLES_PER_FILE).map(|at| NOW_MS + (nth * SAMPLES_PER_FILE + at) * 1_000);
        let samples: Vec<(&str, i64, f64)> =
            times.flat_map(|ms| METRICS.map(|metric| (metric, ms, 1.0))).collect();
        let part = store.samples("heart", &samples);
        store.engine.commit(vec![part, exemplars(NOW_MS + nth)]).unwrap();
        store.engine.seal().unwrap();
        assert!(flush::flush_oldest(&store.shared).unwrap());
    }
    dir
}

/// Returns how many row groups there are of a signal.
fn n_row_groups(dir: &Path, signal: Signal) -> usize {
    let (store, _) = open_counted(dir);
    let files = store.storage.snapshot(&ReadScope::All).files(signal);
    assert_eq!(files.len(), usize::try_from(N_FILES).unwrap());
    let groups = files.iter().map(|file| {
        let bytes = store.shared.disk.read(&file.path).unwrap();
        let footer = ArrowReaderMetadata::load(&bytes, Default::default()).unwrap();
        footer.metadata().num_row_groups()
    });
    groups.sum()
}

/// What an answer had, how often was looked, and how many bytes were read in all and before the stop.
type Outcome = (Result<usize, ReadError>, usize, u64, u64);

/// Asks a store that has just been opened, so that nothing of the files is known, and stops it.
fn ask(dir: &Path, nth: usize, question: &Question) -> Outcome {
    let (store, n_bytes_read) = open_counted(dir);
    let (n_looks, n_bytes_then) = (AtomicUsize::new(0), AtomicU64::new(0));
    let n_bytes_before = n_bytes_read.get();
    let stop = Arc::new(AtLook { nth, n_looks, n_bytes_read: n_bytes_read.clone(), n_bytes_then });
    let snapshot = store.storage.snapshot(&ReadScope::All).until(Arc::<AtLook>::clone(&stop));
    let answer = question(&snapshot);
    let n_looks = stop.n_looks.load(Ordering::Relaxed);
    let n_bytes_then = stop.n_bytes_then.load(Ordering::Relaxed);
    let n_bytes = n_bytes_read.get();
    (answer, n_looks, n_bytes - n_bytes_before, n_bytes_then.saturating_sub(n_bytes_before))
}

type Question = dyn Fn(&Snapshot) -> Result<usize, ReadError>;

/// Checks that a question looks at least so often whether to go on, and reads nothing after a look that
/// tells it to stop.
#[track_caller]
fn check(dir: &Path, n_looks_min: usize, question: &Question) {
    let (answer, n_looks, n_bytes, _) = ask(dir, usize::MAX, question);
    assert!(answer.unwrap() > 0);
    assert!(n_looks >= n_looks_min, "{n_looks} looks, wanted {n_looks_min}");

    for nth in [1, 2, n_looks / 2, n_looks] {
        let (stopped, n_looks, n_read, n_read_then) = ask(dir, nth, question);

        assert!(matches!(stopped, Err(ReadError::Stopped)), "look {nth}: {stopped:?}");
        assert_eq!((n_looks, n_read), (nth, n_read_then), "look {nth}: it went on");
        assert!(nth > 2 || n_read < n_bytes / 2, "look {nth}: {n_read} of {n_bytes} bytes");
    }
}

fn everything(matchers: &[Matcher]) -> SeriesRequest<'_> {
    SeriesRequest {
        matchers,
        start_ms: 0,
        end_ms: i64::MAX,
        samples_max: usize::MAX,
        series_max: usize::MAX,
    }
}

fn by_name() -> [Matcher; 2] {
    [Matcher::equal("commons", "heart"), Matcher::equal("__name__", "a")]
}

#[test]
fn looking_for_series_ends_within_a_row_group() {
    let dir = written();
    let n_groups = n_row_groups(dir.path(), Signal::Metrics);
    let n_files = usize::try_from(N_FILES).unwrap();
    assert!(n_groups >= 2 * n_files, "{n_groups} row groups");

    let looks = n_files + n_groups;
    check(dir.path(), looks, &|snapshot| Ok(snapshot.series(&everything(&[]))?.len()));
    check(dir.path(), looks, &|snapshot| {
        Ok(snapshot.menu(Menu::Names, &everything(&[]), "limit")?.len())
    });
    check(dir.path(), looks, &|snapshot| {
        Ok(snapshot.menu(Menu::Values("__name__"), &everything(&[]), "limit")?.len())
    });
    check(dir.path(), 2 * n_files, &|snapshot| {
        Ok(snapshot.menu(Menu::Values("__name__"), &everything(&by_name()), "limit")?.len())
    });
    check(dir.path(), 2 * n_files, &|snapshot| {
        Ok(snapshot.series_of(&[commons("heart")], &everything(&by_name()), "limit")?.len())
    });
}

#[test]
fn reading_samples_ends_within_a_file() {
    let dir = written();
    let (n_files, n_groups) =
        (usize::try_from(N_FILES).unwrap(), n_row_groups(dir.path(), Signal::Metrics));

    check(dir.path(), 2 * n_files + n_groups, &|snapshot| {
        Ok(snapshot.select_stored(&everything(&[]))?.len())
    });
}

#[test]
fn reading_exemplars_ends_within_a_file() {
    let dir = written();
    let n_files = usize::try_from(N_FILES).unwrap();
    assert_eq!(n_row_groups(dir.path(), Signal::Exemplars), n_files);

    check(dir.path(), 2 * n_files, &|snapshot| {
        let selectors = [vec![Matcher::equal("__name__", "a")]];
        let request = ExemplarRequest {
            selectors: &selectors,
            start_ms: 0,
            end_ms: i64::MAX,
            exemplars_max: 100,
            bytes_max: usize::MAX,
        };
        Ok(snapshot.exemplars(&request)?.len())
    });
}
