//! Flipped bits, anywhere: each is found, none becomes a wrong value, and what it costs is one frame
//! or one file, named in the warnings of every answer that lacks it.
//!
//! `FLIPS=all` flips every byte of the small store instead of a choice.

use std::collections::BTreeSet;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::base::clock::Clock as _;
use crate::storage::disk::DiskRead;

/// How many flips the short form makes in each kind of file.
const N_FLIPS: usize = 120;

/// What a store holds, as a reader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Content {
    samples: BTreeMap<(String, i64), u64>,
    logs: Vec<String>,
    spans: Vec<String>,
}

impl Content {
    fn of(store: &Store) -> Self {
        Self {
            samples: store.read(),
            logs: checked_rows(store, Signal::Logs),
            spans: checked_rows(store, Signal::Spans),
        }
    }

    /// Returns how many items of `whole` are not here; what is here must be in `whole`, once.
    #[track_caller]
    fn n_missing(&self, whole: &Content, when: &str) -> usize {
        for (key, value) in &self.samples {
            assert_eq!(whole.samples.get(key), Some(value), "{when}: a wrong sample {key:?}");
        }
        let of = |content: &Content| -> usize { content.logs.len() + content.spans.len() };
        for (found, all) in [(&self.logs, &whole.logs), (&self.spans, &whole.spans)] {
            let once: BTreeSet<&String> = found.iter().collect();
            assert_eq!(once.len(), found.len(), "{when}: a row came twice");
            assert!(once.iter().all(|row| all.contains(row)), "{when}: a wrong row in {found:?}");
        }
        whole.samples.len() - self.samples.len() + of(whole) - of(self)
    }
}

/// Reads logs or spans as a SQL worker does: through [`Checked`], a damaged file left out whole.
fn checked_rows(store: &Store, signal: Signal) -> Vec<String> {
    let snapshot = store.storage.snapshot(&ReadScope::All);
    let head = snapshot.head(signal, HeadFilter::default()).map(|b| b.batch);
    let mut rows: Vec<String> = head.flat_map(|batch| texts(signal, &batch)).collect();
    for file in snapshot.files(signal) {
        match read_file(store, &file) {
            Ok(more) => rows.extend(more),
            Err(reason) => store.shared.note_damaged(&file.path, &reason),
        }
    }
    rows.sort();
    rows
}

fn read_file(store: &Store, file: &FileEntry) -> Result<Vec<String>, String> {
    let checked = Checked::open(&*store.shared.disk, file);
    let len = usize::try_from(file.size_bytes).unwrap();
    let bytes = checked.read_at(0, len).map_err(|error| error.to_string())?;
    let reader =
        parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes, 1024).unwrap();
    Ok(reader.flat_map(|batch| texts(file.signal, &batch.unwrap())).collect())
}

/// A store with all three signals of two commons, half of it in files and half in the log; every
/// item is a group of its own.
fn small_store() -> (SimDisk, Content) {
    let disk = SimDisk::new();
    let mut store = open(&disk);
    for n in 0..24_i32 {
        let item = format!("i{n}");
        let name = if n % 2 == 0 { "heart" } else { "canine" };
        let part = match n % 3 {
            0 => {
                let ms = NOW_MS + i64::from(n);
                store.samples(name, &[("up", ms, f64::from(n)), ("other", ms, 0.5)])
            }
            1 => logs(name, &[&item]),
            _ => span(name, &item),
        };
        store.engine.commit(vec![part]).unwrap();
        if n == 11 {
            store.engine.seal().unwrap();
            flush::flush_oldest(&store.shared).unwrap();
        }
    }
    let content = Content::of(&store);
    assert_eq!((content.samples.len(), content.logs.len(), content.spans.len()), (16, 8, 8));
    (disk, content)
}

/// Flips bits of the files that `is_wanted` picks and hands each store to `judge`.
fn flip_each(
    is_wanted: impl Fn(&str) -> bool,
    mut judge: impl FnMut(&SimDisk, &Content, &str, &str),
) {
    let (disk, whole) = small_store();
    let files: Vec<_> = disk.files().into_iter().filter(|(path, _)| is_wanted(path)).collect();
    let n_bytes: usize = files.iter().map(|(_, len)| len).sum();
    let is_all = std::env::var("FLIPS").is_ok_and(|flips| flips == "all");
    let n_wanted = if is_all { n_bytes } else { N_FLIPS.min(n_bytes) };
    let places: Vec<_> =
        files.iter().flat_map(|(path, len)| (0..*len).map(move |at| (path, at))).collect();
    let limit_ns = minutes().map(|minutes| minutes * 60_000_000_000);
    let clock = crate::base::clock::SystemClock::new();
    let mut n_flips = 0;
    for k in 0..n_wanted {
        // All over the files from the first flip on, so that a run that time ends was everywhere.
        let n = if is_all { k * FAR % n_bytes } else { k * (n_bytes / n_wanted) };
        let (path, at) = places[n];
        if k % 10_000 == 9_999 {
            eprintln!("progress: flips: {k} of {n_wanted}");
        }
        if limit_ns.is_some_and(|limit_ns| clock.monotonic_ns() > limit_ns) {
            eprintln!("flips: time was over after {k} of {n_wanted}");
            break;
        }
        let mask = 1 << (n % 8);
        let when = format!("{path}, byte {at}, mask {mask:#04x}");
        let hurt = disk.crash(0); // Everything is synced, so this is a copy.
        hurt.flip_byte(path, at, mask);
        judge(&hurt, &whole, path, &when);
        n_flips += 1;
    }
    assert!(n_flips > 0, "no file was picked");
    eprintln!("flips: {n_flips} of {n_bytes} bytes in {} files, all found", files.len());
}

/// A prime larger than the store, so that steps of it meet every byte once.
const FAR: usize = 1_000_003;

/// Returns `FAULTS_MINUTES`, after which a long run ends.
fn minutes() -> Option<u64> {
    std::env::var("FAULTS_MINUTES").ok().map(|text| text.parse().unwrap())
}

fn file_names(disk: &SimDisk) -> BTreeSet<String> {
    disk.files().into_iter().map(|(path, _)| path).collect()
}

#[test]
fn a_flipped_bit_in_the_log_is_found_and_costs_one_frame() {
    flip_each(
        |path| path.starts_with("wal/"),
        |disk, whole, path, when| {
            let store = open(disk);
            let found = Content::of(&store);
            let n_missing = found.n_missing(whole, when);
            let warnings = store.storage.snapshot(&ReadScope::All).warnings();
            let is_header_lost = store.damage > 0 && found.logs.len() < 5;
            if store.damage > 0 {
                assert!(
                    warnings.len() == 1 && warnings[0].contains("log segment"),
                    "{when}: {warnings:?}"
                );
                assert!(
                    file_names(disk).contains(&format!("quarantine/{}", path.replace('/', "%"))),
                    "{when}"
                );
                let again = open(disk);
                let warned = again.storage.snapshot(&ReadScope::All).warnings();
                assert_eq!(warned, warnings, "{when}: the next start says so too");
                assert!(Content::of(&again).n_missing(whole, when) == n_missing, "{when}");
            } else {
                // The newest group cannot be told from a write that was cut off.
                assert!(n_missing <= 1, "{when}: {n_missing} missing without a word");
            }
            // A definition of series costs the samples of that commons in the log; the header all.
            assert!(is_header_lost || n_missing <= 8, "{when}: {n_missing} missing");
        },
    );
}

#[test]
fn a_flipped_bit_in_a_file_is_found_and_costs_that_file() {
    flip_each(
        |path| path.ends_with(".parquet"),
        |disk, whole, path, when| {
            let names = file_names(disk);
            let store = open(disk);
            let found = Content::of(&store);
            let n_missing = found.n_missing(whole, when);
            let entry = store.shared.manifest.lock().files.iter().find(|f| f.path == path).cloned();
            let entry = entry.unwrap();
            assert_eq!(n_missing as u64, entry.n_rows, "{when}: just this file's rows are missing");
            let snapshot = store.storage.snapshot(&ReadScope::All);
            Signal::ALL.into_iter().for_each(|signal| snapshot.note_missing(signal));
            let warnings = snapshot.warnings();
            assert!(warnings.len() == 1 && warnings[0].contains(path), "{when}: {warnings:?}");
            assert!(file_names(disk).is_superset(&names), "{when}: damage deletes nothing");
        },
    );
}

/// The same for every byte, without opening a store for each.
#[test]
fn no_byte_of_a_file_can_change_without_being_found() {
    let (disk, _) = small_store();
    let files = open(&disk).shared.manifest.lock().files.clone();
    let mut n_flips = 0;
    for file in files {
        let len = usize::try_from(file.size_bytes).unwrap();
        assert!(file.seal.unwrap().tail_offset > 0, "blocks and tail are both tried");
        for at in 0..len {
            disk.flip_byte(&file.path, at, 1 << (at % 8));
            let checked = Checked::open(&disk, &file);
            let error = checked.read_at(0, len).err();
            assert!(error.is_some() && checked.damage().is_some(), "{}, byte {at}", file.path);
            disk.flip_byte(&file.path, at, 1 << (at % 8));
            n_flips += 1;
        }
        assert!(Checked::open(&disk, &file).read_at(0, len).is_ok(), "each flip was undone");
    }
    eprintln!("flips: {n_flips} bytes of files, all found");
}

#[test]
fn a_flipped_bit_in_the_manifest_is_found_and_costs_nothing() {
    flip_each(
        |path| path.contains("manifest"),
        |disk, whole, _, when| {
            let store = open(disk);

            assert_eq!(&Content::of(&store), whole, "{when}");
            assert!(store.storage.snapshot(&ReadScope::All).warnings().is_empty(), "{when}");
            let (manifest, wrong) = catalog::Manifest::read(disk).unwrap();
            assert_eq!((manifest.files.len() > 2, wrong), (true, None), "{when}: whole again");
        },
    );
}

/// A flush, retention or start that a crash cut short leaves the manifest and its copy of two
/// moments; whichever of them is damaged then, the other one must be true.
#[test]
fn a_manifest_that_is_damaged_after_a_crash_costs_nothing() {
    for seed in 0..120 {
        let mut random = SmallRng::seed_from_u64(seed);
        let mut disk = SimDisk::new();
        let mut acknowledged = Vec::new();
        for life in 0..3 {
            let mut store = open(&disk);
            let item = format!("i{life}");
            store.engine.commit(vec![logs("heart", &[&item])]).unwrap();
            acknowledged.push(item);
            disk.arm(random.random_range(0..30), Fault::PowerCut);
            let _ = store.engine.seal();
            let _ = flush::flush_oldest(&store.shared);
            disk = disk.crash(random.random());
        }
        let path = if random.random() { catalog::MANIFEST } else { catalog::COPY };
        disk.flip_byte(path, 20, 1);

        let mut found = open(&disk).rows(Signal::Logs);

        found.sort();
        assert_eq!(found, acknowledged, "seed {seed}, {path}");
    }
}

#[test]
fn an_answer_warns_of_damage_only_where_it_lacks_something() {
    let (disk, _) = small_store();
    let is_wanted = |p: &str| p.contains("metrics/commons=heart") && p.ends_with(".parquet");
    let path = disk.files().into_iter().map(|(path, _)| path).find(|path| is_wanted(path));
    disk.flip_byte(&path.unwrap(), 100, 1);
    let store = open(&disk);
    let warnings = |commons_name: &str, start_ms| {
        let snapshot = store.storage.snapshot(&ReadScope::All);
        let request = SeriesRequest {
            matchers: &[Matcher::equal("commons", commons_name)],
            start_ms,
            end_ms: i64::MAX,
            samples_max: usize::MAX,
            series_max: usize::MAX,
        };
        snapshot.select(&request).unwrap();
        snapshot.warnings().len()
    };

    assert_eq!(warnings("heart", NOW_MS), 1, "the damaged file has rows of this time");
    assert_eq!(warnings("heart", NOW_MS), 1, "and so it is the next time");
    assert_eq!(warnings("heart", NOW_MS + 12), 0, "its rows are older");
    assert_eq!(warnings("canine", NOW_MS), 0, "its rows are of another commons");
}

/// Blocks, tail and what spans both, of a file that is larger than one block.
#[test]
fn a_large_file_is_checked_block_by_block() {
    let disk = SimDisk::new();
    let mut store = open(&disk);
    let mut random = SmallRng::seed_from_u64(7);
    for _ in 0..40 {
        let bodies: Vec<String> = (0..100)
            .map(|_| format!("{:032x}{:032x}", random.random::<u128>(), random.random::<u128>()))
            .collect();
        let bodies: Vec<&str> = bodies.iter().map(String::as_str).collect();
        store.engine.commit(vec![logs("heart", &bodies)]).unwrap();
    }
    store.engine.seal().unwrap();
    flush::flush_oldest(&store.shared).unwrap();
    let file = store.storage.snapshot(&ReadScope::All).files(Signal::Logs).remove(0);
    let (size, tail) = (file.size_bytes, file.seal.unwrap().tail_offset);
    let block = files::checked::BLOCK_BYTES as u64;
    assert!(tail > 2 * block, "{tail}: too small for this test");
    let raw = disk.read(&file.path).unwrap();

    for (from, to) in [
        (0, size),
        (block - 1, block + 1),
        (5, 6),
        (tail - 1, tail + 1),
        (tail, size),
        (size, size),
    ] {
        let checked = Checked::open(&disk, &file);
        let len = usize::try_from(to - from).unwrap();
        let want = &raw[usize::try_from(from).unwrap()..usize::try_from(to).unwrap()];
        assert_eq!(&checked.read_at(from, len).unwrap()[..], want, "{from}..{to}");
        assert_eq!(&checked.read_at(from, len).unwrap()[..], want, "{from}..{to} again");
    }
    disk.flip_byte(&file.path, usize::try_from(block + 9).unwrap(), 1);
    let checked = Checked::open(&disk, &file);
    assert!(checked.read_at(0, 10).is_ok(), "the first block is whole");
    let error = checked.read_at(block, 4).unwrap_err();
    assert!(error.to_string().contains(&format!("block at byte {block}")), "{error}");
}
