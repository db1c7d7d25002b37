//! Backups of a store: whole, checked on every way, and refused when they are not what they say.

use std::collections::BTreeSet;

use super::*;
use crate::storage::backup::{self, BackupError, Below, LISTING, Listed, Listing};
use crate::storage::deletion::{self, SeriesJudge};
use crate::storage::{DeleteRequest, RealDisk};

const MADE_AT: &str = "2026-11-21T00:00:00Z";

/// A store with rows of three signals in files, one series of them deleted, and one row in the log.
fn store() -> (SimDisk, Store) {
    let disk = SimDisk::new();
    let mut store = open(&disk);
    for n in 0..3 {
        let samples = [("up", NOW_MS + n, 1.0), ("secret", NOW_MS + n, 2.0)];
        let parts = vec![
            store.samples("heart", &samples),
            logs("lung", &[&format!("line {n}")]),
            span("heart", &format!("s{n}")),
        ];
        store.engine.commit(parts).unwrap();
        store.engine.seal().unwrap();
        flush::flush_oldest(&store.shared).unwrap();
    }
    let judge = SeriesJudge::new(vec![vec![Matcher::equal("__name__", "secret")]]);
    let request = DeleteRequest {
        by: "alice".to_owned(),
        selectors: vec!["secret".to_owned()],
        start_ns: i64::MIN,
        end_ns: i64::MAX,
        judge: Box::new(judge),
    };
    deletion::delete(&store.shared, &ReadScope::All, request).unwrap().unwrap();
    (disk, store)
}

/// Returns a backup of a store on a disk of its own.
fn backed_up(disk: &SimDisk, store: &Store) -> SimDisk {
    let taken = backup::take(&store.shared, "one", &|| true).unwrap();
    assert_eq!((taken.n_files, taken.left_out.len()), (9, 0));
    let to = SimDisk::new();
    let from = Below::new(disk, "snapshots/one".to_owned());
    backup::back_up(&from, &to, MADE_AT.to_owned()).unwrap();
    to
}

fn restored(from: &SimDisk) -> Result<SimDisk, BackupError> {
    let to = SimDisk::new();
    backup::restore(from, &to).map(|_| to)
}

fn paths(disk: &SimDisk) -> BTreeSet<String> {
    disk.files().into_iter().map(|(path, _)| path).collect()
}

#[test]
fn a_restored_store_answers_as_the_one_that_was_backed_up() {
    let (disk, store) = store();
    let copy = backed_up(&disk, &store);

    let mut again = open(&restored(&copy).unwrap());

    assert_eq!(again.read(), store.read());
    assert_eq!(again.rows(Signal::Logs), store.rows(Signal::Logs));
    assert_eq!(again.rows(Signal::Spans), store.rows(Signal::Spans));
    let deletions = |store: &Store| store.storage.deletions(&ReadScope::All);
    assert_eq!(deletions(&again), deletions(&store));
    let part = again.samples("heart", &[("up", NOW_MS + 99, 4.0)]);
    again.engine.commit(vec![part]).unwrap();
    assert_eq!(again.read().len(), store.read().len() + 1, "and goes on from there");
}

#[test]
fn a_snapshot_is_what_it_was_whatever_becomes_of_the_store() {
    let (disk, mut store) = store();
    let before = store.read();
    backup::take(&store.shared, "one", &|| true).unwrap();

    let part = store.samples("heart", &[("later", NOW_MS, 1.0)]);
    store.engine.commit(vec![part]).unwrap();
    store.engine.seal().unwrap();
    flush::flush_oldest(&store.shared).unwrap();
    deletion::ripen(&store.shared, &ReadScope::All).unwrap().unwrap();
    for _ in 0..3 {
        store.keeper.tidy().unwrap();
    }

    let to = SimDisk::new();
    let from = Below::new(&disk, "snapshots/one".to_owned());
    backup::back_up(&from, &to, MADE_AT.to_owned()).unwrap();
    assert_eq!(open(&restored(&to).unwrap()).read(), before);
}

/// Returns what there is of snapshots.
fn snapshots(disk: &SimDisk) -> Vec<String> {
    paths(disk).into_iter().filter(|path| path.starts_with("snapshots/")).collect()
}

#[test]
fn a_snapshot_that_finds_no_room_leaves_nothing_behind() {
    let (disk, store) = store();
    let mut n_failed = 0;
    for n in 0..80 {
        let name = format!("at-{n}");
        disk.arm(n, Fault::Full);
        let taken = backup::take(&store.shared, &name, &|| true);
        disk.heal();

        let left = snapshots(&disk).into_iter().any(|path| path.contains(&format!("/{name}/")));
        assert_eq!(left, taken.is_ok(), "operation {n}: {taken:?}");
        n_failed += usize::from(taken.is_err());
    }
    assert!(n_failed > 9, "{n_failed} failed: too few to prove anything");
}

#[test]
fn a_snapshot_that_nobody_waits_for_any_more_is_not_kept() {
    let (disk, store) = store();
    // Before the first link, in the midst, and when it is whole.
    for n_times in [0, 5, 10] {
        let n_asked = std::cell::Cell::new(0);
        let is_wanted = || {
            n_asked.set(n_asked.get() + 1);
            n_asked.get() <= n_times
        };

        let taken = backup::take(&store.shared, "one", &is_wanted);

        assert!(matches!(taken, Err(BackupError::Unwanted)), "{n_times}: {taken:?}");
        assert_eq!(snapshots(&disk), Vec::<String>::new(), "{n_times}");
    }
}

#[test]
fn what_a_kill_leaves_of_a_snapshot_is_gone_after_the_next_start() {
    let mut n_removed = 0;
    for n in (0..80).step_by(4) {
        let (disk, store) = store();
        disk.arm(n, Fault::PowerCut);
        let taken = backup::take(&store.shared, "one", &|| true);

        let disk = disk.kill();
        let before = snapshots(&disk);
        drop(open(&disk));

        let is_whole = before.iter().any(|path| path == "snapshots/one/parquet/manifest.json");
        let wanted = if is_whole { before.clone() } else { Vec::new() };
        assert_eq!(snapshots(&disk), wanted, "operation {n}: {taken:?}");
        n_removed += usize::from(!is_whole && !before.is_empty());
    }
    assert!(n_removed > 1, "{n_removed}: too few to prove anything");
}

#[test]
fn a_whole_snapshot_stays_and_a_check_names_it() {
    let (disk, store) = store();
    backup::take(&store.shared, "one", &|| true).unwrap();
    let whole = snapshots(&disk);
    let disk = disk.kill();
    drop(open(&disk));
    assert_eq!(snapshots(&disk), whole);
    let checks = backup::check(&disk, &mut |_| {}).unwrap();
    let found: Vec<&str> = checks.findings.iter().map(|one| one.path.as_str()).collect();
    assert_eq!((found, checks.is_damaged()), (vec!["snapshots/one"], false));
}

#[test]
fn damage_on_the_way_to_a_backup_is_named_and_there_is_no_backup() {
    let (disk, store) = store();
    backup::take(&store.shared, "one", &|| true).unwrap();
    let file =
        paths(&disk).into_iter().find(|p| p.starts_with("snapshots/one/parquet/logs")).unwrap();
    disk.flip_byte(&file, 40, 1);

    let to = SimDisk::new();
    let from = Below::new(&disk, "snapshots/one".to_owned());
    let failed = backup::back_up(&from, &to, MADE_AT.to_owned());

    assert!(matches!(failed, Err(BackupError::Damaged { path, .. }) if file.ends_with(&path)));
    assert!(!paths(&to).contains(LISTING), "a folder without a listing is no backup");
}

#[test]
fn a_file_known_to_be_damaged_is_left_out_and_named() {
    let (disk, store) = store();
    let file = store.storage.snapshot(&ReadScope::All).files(Signal::Logs)[0].path.clone();
    store.shared.note_damaged(&file, "a test says so");

    let taken = backup::take(&store.shared, "one", &|| true).unwrap();

    assert_eq!((taken.n_files, taken.left_out), (8, vec![file.clone()]));
    let to = SimDisk::new();
    let from = Below::new(&disk, "snapshots/one".to_owned());
    backup::back_up(&from, &to, MADE_AT.to_owned()).unwrap();
    assert!(!paths(&to).contains(&file));
}

#[test]
fn a_flipped_bit_anywhere_in_a_backup_is_found() {
    let (disk, store) = store();
    let copy = backed_up(&disk, &store);
    for (path, len) in copy.files() {
        for at in [0, len / 3, len / 2, len - 1] {
            copy.flip_byte(&path, at, 4);
            // The manifest's copy is made anew.
            assert!(restored(&copy).is_err(), "{path} {at}");
            copy.flip_byte(&path, at, 4);
        }
    }
    assert!(restored(&copy).is_ok());
}

#[test]
fn a_backup_that_lacks_a_file_or_an_end_is_refused() {
    let (disk, store) = store();
    for (path, _) in backed_up(&disk, &store).files() {
        let lost = SimDisk::new();
        let (disk, store) = self::store();
        let copy = backed_up(&disk, &store);
        for (other, _) in copy.files() {
            let bytes = copy.read(&other).unwrap();
            let n = if other == path { bytes.len() - 1 } else { bytes.len() };
            put(&lost, &other, &bytes[..n]);
        }
        assert!(restored(&lost).is_err(), "{path} cut short");
        lost.remove(&path).unwrap();
        assert!(restored(&lost).is_err(), "{path} lost");
    }
}

fn put(disk: &SimDisk, path: &str, bytes: &[u8]) {
    let mut file = disk.create(path).unwrap();
    std::io::Write::write_all(&mut file, bytes).unwrap();
}

#[test]
fn a_listing_with_a_way_out_restores_nothing() {
    let (disk, store) = store();
    let copy = backed_up(&disk, &store);
    let listing = Listing::decode(&copy.read(LISTING).unwrap()).unwrap();
    for evil in ["../evil", "/evil", "parquet/logs/../../evil", "wal/0000000000000009.wal"] {
        let mut files = listing.files.clone();
        files.push(Listed {
            path: evil.to_owned(),
            size_bytes: 4,
            crc32c: crc32c::crc32c(b"evil"),
        });
        put(&copy, LISTING, &Listing::new(MADE_AT.to_owned(), files).encode());
        put(&copy, evil, b"evil");

        let to = SimDisk::new();
        let refused = backup::restore(&copy, &to);

        assert!(matches!(refused, Err(BackupError::Foreign { .. })), "{evil}");
        assert_eq!(paths(&to), BTreeSet::new(), "{evil}: nothing was written");
    }
}

#[test]
fn what_no_listing_names_is_not_restored() {
    let (disk, store) = store();
    let copy = backed_up(&disk, &store);
    put(&copy, "parquet/logs/commons=heart/date=2026-11-21/00ff-0.parquet", b"evil");
    put(&copy, "wal/0000000000000009.wal", b"evil");

    let to = restored(&copy).unwrap();

    assert!(!paths(&to).iter().any(|path| path.contains("00ff") || path.starts_with("wal/")));
}

#[test]
fn links_in_a_backup_are_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tempfile::NamedTempFile::new().unwrap();
    std::fs::create_dir_all(folder.path().join("parquet")).unwrap();
    std::fs::write(folder.path().join("parquet/plain"), "x").unwrap();
    let link = |to: &std::path::Path, name: &str| {
        std::os::unix::fs::symlink(to, folder.path().join(name)).unwrap();
    };
    link(outside.path(), "parquet/manifest.json");
    link(&folder.path().join("parquet"), "state");
    let disk = RealDisk::open_foreign(folder.path());

    assert!(disk.open("parquet/plain").is_ok());
    for path in ["parquet/manifest.json", "state/plain", "parquet"] {
        let error = disk.open(path).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{path}: {error}");
    }
}

#[test]
fn a_check_names_each_damaged_file_and_no_other() {
    let (disk, store) = store();
    drop(store);
    let whole = backup::check(&disk, &mut |_| {}).unwrap();
    assert_eq!((whole.findings.clone(), whole.n_rows), (Vec::new(), 12));

    for (path, len) in disk.files() {
        for at in [0, len / 2, len - 1] {
            // The end of the log is a write that was never acknowledged, and its beginning is empty.
            if path.starts_with("wal/") {
                continue;
            }
            disk.flip_byte(&path, at, 2);
            let checks = backup::check(&disk, &mut |_| {}).unwrap();
            disk.flip_byte(&path, at, 2);
            assert!(checks.is_damaged(), "{path} {at}");
            let is_about =
                |finding: &backup::Finding| finding.path == path || path.starts_with("deletions/");
            assert!(checks.findings.iter().all(is_about), "{path} {at}: {:?}", checks.findings);
        }
    }
}

#[test]
fn a_check_names_what_the_disk_does_not_give() {
    let folder = tempfile::tempdir().unwrap();
    // A folder can be opened like a file, and not be read like one.
    let unreadable = ["backup.json", "parquet/descriptions.json", "parquet/totals.bin"];
    for path in unreadable {
        std::fs::create_dir_all(folder.path().join(path)).unwrap();
    }

    let checks = backup::check(&RealDisk::open_read_only(folder.path()), &mut |_| {}).unwrap();

    let damaged = checks.findings.iter().filter(|finding| finding.is_damage);
    let mut found: Vec<&str> = damaged.map(|finding| finding.path.as_str()).collect();
    found.sort_unstable();
    assert_eq!(found, unreadable, "{:?}", checks.findings);
}

#[test]
fn a_check_of_a_backup_holds_it_against_its_listing() {
    let (disk, store) = store();
    let copy = backed_up(&disk, &store);
    assert_eq!(backup::check(&copy, &mut |_| {}).unwrap().findings, []);

    let mut listing = Listing::decode(&copy.read(LISTING).unwrap()).unwrap();
    listing.files[0].crc32c ^= 1;
    put(&copy, LISTING, &listing.encode());

    let checks = backup::check(&copy, &mut |_| {}).unwrap();
    assert_eq!(checks.findings[0].path, listing.files[0].path);
}
