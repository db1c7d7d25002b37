//! Files in object storage: what was acknowledged is there whatever fails, nothing stays behind in the
//! bucket, and nothing is touched there that is not ours.

use std::collections::BTreeSet;
use std::sync::mpsc;
use std::time::Duration;

use super::*;
use crate::storage::backup::{self, BackupError, Below};
use crate::storage::deletion::{self, Progress as Stage, SeriesJudge};
use crate::storage::files::read::AllRows;
use crate::storage::objects::testing::Flaky;
use crate::storage::objects::{self, LEDGER, Shipper};
use crate::storage::{DeleteRequest, Receipt};

type Samples = BTreeMap<(String, i64), u64>;

/// A store with a bucket, the clock of both, and the thread that goes between them.
struct World {
    disk: SimDisk,
    bucket: Flaky,
    clock: Arc<ManualClock>,
    cache_max: u64,
    store: Store,
    shipper: Shipper,
    _wake: mpsc::SyncSender<()>,
}

fn opened(
    disk: &SimDisk,
    bucket: &Flaky,
    clock: &Arc<ManualClock>,
    cache_max: u64,
) -> (Store, Shipper, mpsc::SyncSender<()>) {
    let objects = objects::Config {
        url: "s3://telemetry/prod".to_owned(),
        cache_max: HumanSize(cache_max),
        uploads_max: 2,
        ..objects::Config::default()
    };
    let config = Config { objects, ..Config::default() };
    let shared_bucket: Arc<dyn objects::Bucket> = Arc::new(bucket.clone());
    let store = open_stored(disk, (config, Some(shared_bucket)), Arc::clone(clock));
    let (wake, woken) = mpsc::sync_channel(1);
    let of_store = store.shared.objects.clone().expect("it is on");
    let shipper = Shipper::new(Arc::clone(&store.shared), of_store, woken);
    (store, shipper, wake)
}

impl World {
    /// An empty store whose cache has room for this many bytes.
    fn new(cache_max: u64) -> Self {
        Self::on(SimDisk::new(), Flaky::default(), cache_max)
    }

    fn on(disk: SimDisk, bucket: Flaky, cache_max: u64) -> Self {
        let clock = ManualClock::at_ms(NOW_MS);
        let (store, shipper, wake) = opened(&disk, &bucket, &clock, cache_max);
        Self { disk, bucket, clock, cache_max, store, shipper, _wake: wake }
    }

    /// A store with three files of samples and three of records, of which nothing is uploaded.
    fn with_files(cache_max: u64) -> Self {
        Self::with_n_files(3, cache_max)
    }

    fn with_n_files(n: i64, cache_max: u64) -> Self {
        let mut this = Self::new(cache_max);
        (0..n).for_each(|n| this.write(n));
        this
    }

    fn write(&mut self, n: i64) {
        let texts: Vec<String> =
            (0..40).map(|k| format!("record {n} {k} {:x}", k * 7_919)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let samples = [("up", NOW_MS + n, 1.0), ("secret", NOW_MS + n, 2.0)];
        let parts = vec![self.store.samples("heart", &samples), logs("lung", &texts)];
        self.store.engine.commit(parts).unwrap();
        self.store.engine.seal().unwrap();
        assert!(flush::flush_oldest(&self.store.shared).unwrap());
    }

    /// Does rounds until there is nothing left to do, and lets the clock run past every pause.
    fn ship(&mut self) {
        for _ in 0..4 {
            self.clock.advance(Duration::from_secs(60));
            while self.shipper.round() {}
        }
    }

    fn tidy(&mut self) {
        for _ in 0..3 {
            self.store.keeper.tidy().unwrap();
        }
    }

    /// Goes on as the next process on the same disk.
    fn restart(&mut self) {
        let (store, shipper, wake) = opened(&self.disk, &self.bucket, &self.clock, self.cache_max);
        (self.store, self.shipper, self._wake) = (store, shipper, wake);
    }

    /// Returns the content and how much of it is missing, as the answer says.
    fn seen(&self) -> (Samples, Vec<String>, Vec<String>) {
        let snapshot = self.store.storage.snapshot(&ReadScope::All);
        let samples = samples_of(&snapshot);
        let mut records = Vec::new();
        for file in snapshot.files(Signal::Logs) {
            match self.records_of(&file) {
                Ok(found) => records.extend(found),
                Err(error) => snapshot.leave_out(error).unwrap(),
            }
        }
        snapshot.note_missing(Signal::Logs);
        records.sort();
        (samples, records, snapshot.warnings())
    }

    fn records_of(&self, file: &FileEntry) -> Result<Vec<String>, ReadError> {
        let (disk, schema) = (&*self.store.shared.disk, crate::model::log::schema());
        let mut rows = AllRows::open(disk, file, &schema)?;
        let mut records = Vec::new();
        while let Some(batch) = rows.next_batch()? {
            records.extend(texts(Signal::Logs, &batch));
        }
        Ok(records)
    }

    #[track_caller]
    fn is_whole(&self, n_writes: usize, when: &str) {
        let (samples, records, warnings) = self.seen();
        let found = (samples.len(), records.len(), warnings);
        assert_eq!(found, (2 * n_writes, 40 * n_writes, Vec::new()), "{when}");
    }

    /// Reads what can be read of the samples.
    fn look(&self) {
        let snapshot = self.store.storage.snapshot(&ReadScope::All);
        drop(snapshot.select(&everything()));
    }

    /// Returns the live files.
    fn live(&self) -> BTreeSet<String> {
        let manifest = self.store.shared.manifest.lock();
        manifest.files.iter().map(|file| file.path.clone()).collect()
    }

    /// Returns the paths in the bucket, without the prefix and the marker.
    fn stored(&self) -> BTreeSet<String> {
        let paths = self.bucket.paths();
        assert!(paths.iter().all(|path| path.starts_with("prod/")), "{paths:?}");
        let paths = paths.iter().map(|path| path["prod/".len()..].to_owned());
        paths.filter(|path| path != "commonwatch-store.json").collect()
    }

    /// Returns the files on the local disk below a folder.
    fn local(&self, folder: &str) -> BTreeSet<String> {
        let files = self.disk.files().into_iter().map(|(path, _)| path);
        files.filter(|path| path.starts_with(folder) && !path.ends_with(".json")).collect()
    }

    fn warnings(&self) -> Vec<String> {
        self.seen().2
    }
}

fn everything() -> SeriesRequest<'static> {
    SeriesRequest {
        matchers: &[],
        start_ms: i64::MIN,
        end_ms: i64::MAX,
        samples_max: usize::MAX,
        series_max: usize::MAX,
    }
}

fn samples_of(snapshot: &Snapshot) -> Samples {
    let mut all = Samples::new();
    for series in snapshot.select(&everything()).unwrap() {
        for (ms, value) in series.timestamps_ms.iter().zip(&series.values) {
            let before = all.insert((series.labels.to_string(), *ms), value.to_bits());
            assert_eq!(before, None, "a sample came twice");
        }
    }
    all
}

#[test]
fn files_are_uploaded_under_their_own_paths_and_read_back_when_they_have_left_the_disk() {
    let mut world = World::with_files(0);
    let bytes: BTreeMap<String, bytes::Bytes> = world
        .live()
        .into_iter()
        .map(|path| (path.clone(), world.disk.read(&path).unwrap()))
        .collect();

    world.ship();

    assert_eq!(world.stored(), world.live());
    for (path, bytes) in &bytes {
        assert_eq!(world.bucket.bytes(&format!("prod/{path}")), bytes, "{path}");
    }
    assert!(world.local("parquet/").iter().all(|path| !path.ends_with(".parquet")));
    assert!(bytes.values().any(|bytes| bytes.len() > 3 << 10), "one goes in parts");
    world.is_whole(3, "from the bucket");
    world.restart();
    world.is_whole(3, "after a restart");
    assert_eq!(world.bucket.n_open_uploads(), 0);
}

#[test]
fn what_fits_into_the_cache_is_not_fetched() {
    let mut world = World::with_files(1 << 20);
    world.ship();
    let n_before = world.bucket.n_fetched();

    world.is_whole(3, "all is local");

    assert_eq!(world.bucket.n_fetched(), n_before);
    assert_eq!(world.local("parquet/"), world.live());
}

#[test]
fn pieces_that_were_fetched_are_kept_within_the_cache_and_found_by_the_next_process() {
    let mut world = World::with_files(0);
    world.ship();
    world.cache_max = 1 << 20;
    world.restart();
    world.is_whole(3, "fetched");
    let n_fetched = world.bucket.n_fetched();

    world.is_whole(3, "kept");
    world.restart();
    world.is_whole(3, "kept by the last process");
    assert_eq!(world.bucket.n_fetched(), n_fetched, "nothing is fetched twice");

    for path in world.local("objects/cache/") {
        world.disk.flip_byte(&path, 9, 0x10);
    }
    world.restart();
    world.is_whole(3, "spoilt pieces are fetched again");
    assert!(world.bucket.n_fetched() > n_fetched);

    world.cache_max = 2_500;
    world.restart();
    world.is_whole(3, "with a small cache");
    let sizes =
        world.disk.files().into_iter().filter(|(path, _)| path.starts_with("objects/cache/"));
    assert!(sizes.map(|(_, len)| len as u64).sum::<u64>() <= 2_500);
}

#[test]
fn while_the_store_is_away_answers_are_partial_and_say_so_and_ingest_goes_on() {
    let mut world = World::with_files(0);
    world.ship();
    world.bucket.set_down(true);

    world.write(3);
    world.ship();
    let (samples, records, warnings) = world.seen();

    assert_eq!((samples.len(), records.len()), (2, 40), "what is local is there");
    assert_eq!(warnings.len(), 6, "{warnings:?}");
    let named = |text: &String| text.contains("object storage does not answer: ");
    assert!(warnings.iter().all(named), "{warnings:?}");
    assert!(world.store.shared.damaged.read().is_empty(), "nothing is damaged");
    assert_eq!(world.store.shared.metrics.objects.waiting_files.get(), 2);

    world.bucket.set_down(false);
    world.clock.advance(Duration::from_secs(60));
    world.is_whole(4, "it is back");
    world.ship();
    assert_eq!(world.stored(), world.live());
}

#[test]
fn a_failure_now_and_then_costs_time_and_nothing_else() {
    // An upload in parts takes some requests that all go well.
    for each in [5, 7, 11, 13] {
        let mut world = World::with_files(0);
        world.bucket.fail_each(each);

        for _ in 0..20 {
            world.ship();
        }

        world.bucket.fail_each(0);
        world.ship();
        assert_eq!(world.stored(), world.live(), "each {each}");
        world.is_whole(3, &format!("each {each}"));
        assert_eq!(world.bucket.n_open_uploads(), 0, "each {each}");
    }
}

/// A process that dies at any request, with or without the power, leaves what the next one finishes.
#[test]
fn whatever_request_the_process_dies_at_nothing_is_lost_and_nothing_stays_behind() {
    let mut n = 0;
    loop {
        n += 1;
        let mut world = World::with_n_files(2, 0);
        world.bucket.die_after(n);
        world.ship();
        let is_past_the_end = world.stored() == world.live() && world.warnings().is_empty();
        world.disk = if n % 2 == 0 { world.disk.kill() } else { world.disk.crash(n) };
        world.bucket.die_after(0);
        world.restart();
        world.is_whole(2, &format!("died at request {n}"));

        // What was on its way is taken off the manifest before the next round.
        world.store.keeper.tidy().unwrap();
        world.ship();
        world.tidy();
        world.ship();

        assert_eq!(world.stored(), world.live(), "died at request {n}");
        assert_eq!(world.bucket.n_open_uploads(), 0, "died at request {n}");
        world.is_whole(2, &format!("finished after request {n}"));
        if is_past_the_end {
            break;
        }
    }
    assert!(n > 15, "{n} requests are fewer than there are");
}

/// The power fails at any operation on the disk while files are uploaded, evicted, fetched and removed.
#[test]
fn whatever_operation_the_power_fails_at_nothing_is_lost_and_nothing_stays_behind() {
    for n in 0.. {
        let mut world = World::with_n_files(2, 2_000);
        world.disk.arm(n, Fault::PowerCut);
        world.ship();
        let _ = world.store.keeper.tidy();
        world.ship();
        world.look();
        let is_past_the_end = world.disk.n_armed() > 0;
        world.disk = world.disk.crash(n);
        world.restart();
        world.is_whole(2, &format!("the power failed at operation {n}"));

        world.tidy();
        world.ship();
        world.tidy();
        world.ship();

        assert_eq!(world.stored(), world.live(), "the power failed at operation {n}");
        assert_eq!(world.bucket.n_open_uploads(), 0, "operation {n}");
        world.is_whole(2, &format!("finished after operation {n}"));
        if is_past_the_end {
            assert!(n > 30, "{n} operations are fewer than there are");
            break;
        }
    }
}

#[test]
fn objects_go_when_the_last_snapshot_lets_go_of_their_files() {
    let mut world = World::with_n_files(5, 0);
    world.ship();
    let old = world.live();
    let snapshot = world.store.storage.snapshot(&ReadScope::All);

    world.tidy();
    world.ship();

    let new = world.live();
    assert!(new.is_disjoint(&old) && !new.is_empty(), "they were merged");
    assert_eq!(world.stored(), &old | &new, "somebody reads the old ones");
    assert_eq!(samples_of(&snapshot).len(), 10);
    drop(snapshot);
    world.tidy();
    world.ship();
    assert_eq!(world.stored(), new);
    world.is_whole(5, "merged");
    world.tidy();
    assert!(world.store.shared.manifest.lock().doomed.is_empty(), "nothing is left to be done");
}

#[test]
fn while_the_store_is_away_nothing_is_merged_and_later_it_is() {
    let mut world = World::with_n_files(5, 0);
    world.ship();
    let old = world.live();
    world.bucket.set_down(true);
    world.clock.advance(Duration::from_secs(60));

    world.tidy();

    assert_eq!(world.live(), old);
    world.bucket.set_down(false);
    world.clock.advance(Duration::from_secs(120));
    world.tidy();
    assert!(world.live().is_disjoint(&old));
    world.is_whole(5, "merged");
}

fn delete_secrets(world: &World) -> Result<Receipt, deletion::DeleteError> {
    let judge = SeriesJudge::new(vec![vec![Matcher::equal("__name__", "secret")]]);
    let request = DeleteRequest {
        by: "alice".to_owned(),
        selectors: vec!["secret".to_owned()],
        start_ns: i64::MIN,
        end_ns: i64::MAX,
        judge: Box::new(judge),
    };
    deletion::delete(&world.store.shared, &ReadScope::All, request).unwrap()
}

#[test]
fn a_deletion_is_erased_when_its_objects_are_gone_too() {
    let mut world = World::with_files(1 << 20);
    world.ship();
    let receipt = delete_secrets(&world).unwrap();
    let deleted_from: BTreeSet<String> = receipt.files.iter().cloned().collect();
    let progress = |world: &World| {
        let all = world.store.storage.deletions(&ReadScope::All);
        all.into_iter().find(|one| one.id == receipt.id).unwrap().progress
    };
    world.bucket.set_down(true);
    world.clock.advance(Duration::from_secs(2 * 86_400));
    world.tidy();
    world.write(9);
    world.tidy();
    assert!(world.live().is_disjoint(&deleted_from), "written anew");
    for _ in 0..2 {
        world.ship();
        world.tidy();
        assert!(world.local("parquet/").is_disjoint(&deleted_from), "gone from the disk");
        assert_eq!(progress(&world), Stage::Hidden, "the bucket still has the bytes");
        world.restart();
    }

    world.bucket.set_down(false);
    world.ship();
    world.tidy();

    assert_eq!(progress(&world), Stage::Erased);
    assert!(world.stored().is_disjoint(&deleted_from));
}

#[test]
fn the_pieces_of_a_file_go_with_its_object() {
    let mut world = World::with_n_files(5, 0);
    world.ship();
    world.cache_max = 1 << 20;
    world.restart();
    world.is_whole(5, "pieces are kept");
    let old = world.live();
    assert!(!world.local("objects/cache/").is_empty());

    world.tidy();
    world.ship();

    let pieces = world.local("objects/cache/");
    let is_of_old = |piece: &String| old.iter().any(|path| piece.contains(&path.replace('/', "%")));
    assert!(world.live().is_disjoint(&old) && !pieces.iter().any(is_of_old), "{pieces:?}");
}

#[test]
fn a_deletion_that_cannot_see_all_files_deletes_nothing() {
    let mut world = World::with_files(0);
    world.ship();
    world.bucket.set_down(true);

    let error = delete_secrets(&world).unwrap_err();

    assert_eq!(error.kind(), crate::base::Kind::Unavailable);
    assert!(error.to_string().contains("object storage does not answer"), "{error}");
    world.bucket.set_down(false);
    world.clock.advance(Duration::from_secs(60));
    world.is_whole(3, "nothing was deleted");
}

#[test]
fn a_prefix_of_another_store_is_left_alone() {
    let mut first = World::with_files(1 << 20);
    first.ship();
    let before = first.bucket.paths();
    let mut second = World::on(SimDisk::new(), first.bucket.clone(), 0);
    second.write(7);

    second.ship();
    second.tidy();
    second.ship();

    assert_eq!(second.bucket.paths(), before, "nothing was written and nothing removed");
    assert_eq!(second.store.shared.metrics.objects.up.get(), 0);
    second.is_whole(1, "its files stay on its disk");
    assert_eq!(second.local("parquet/"), second.live());
}

#[test]
fn of_two_processes_on_copies_of_one_store_the_earlier_stops_removing() {
    let mut first = World::with_n_files(5, 0);
    first.ship();
    let mut copy = World::on(first.disk.kill(), first.bucket.clone(), 0);
    copy.ship();
    let before = first.stored();

    // It would remove what the other one still needs.
    first.tidy();
    first.ship();
    first.tidy();
    first.ship();

    assert!(first.stored().is_superset(&before), "{:?}", first.stored());
    copy.is_whole(5, "the copy has all it had");
}

#[test]
fn what_is_not_ours_stays_and_what_a_crash_left_goes() {
    let mut world = World::with_files(1 << 20);
    let ours = world.live().into_iter().next().unwrap().replace(".parquet", "77.parquet");
    let theirs = ["parquet/notes.txt", "parquet/metrics/part-0.parquet", "elsewhere/a.parquet"];
    for path in theirs.iter().copied().chain([ours.as_str()]) {
        world.bucket.put_object(&format!("prod/{path}"), b"bytes");
    }
    world.bucket.put_object("production/parquet/a", b"of a prefix that begins like ours");

    let bucket = world.bucket.clone();
    world.ship();
    bucket.lose("production/parquet/a");

    let want: BTreeSet<String> = theirs.map(str::to_owned).into();
    assert_eq!(world.stored(), &world.live() | &want);
}

#[test]
fn a_url_that_does_not_lead_to_the_objects_is_refused() {
    let mut world = World::with_files(0);
    world.ship();
    world.write(3);
    world.bucket = Flaky::default();
    world.restart();

    world.ship();

    assert_eq!(world.bucket.paths(), Vec::<String>::new(), "nothing is written there");
    let n_local = world.local("parquet/").len();
    assert_eq!(n_local, 2, "and nothing leaves the disk");
}

#[test]
fn a_damaged_ledger_is_mended_from_the_bucket() {
    let mut world = World::with_files(0);
    world.ship();
    world.disk = world.disk.kill();
    let len = world.disk.read(LEDGER).unwrap().len();
    for at in (10..len).step_by(40) {
        world.disk.flip_byte(LEDGER, at, 0x20);
    }
    world.restart();
    assert!(!world.warnings().is_empty(), "what is not known is missing");

    world.ship();

    world.is_whole(3, "found in the bucket");
    assert!(world.store.shared.damaged.read().is_empty());
    assert_eq!(world.stored(), world.live());
}

#[test]
fn an_object_that_is_gone_is_uploaded_again_or_reported() {
    let mut world = World::with_files(1 << 20);
    world.ship();
    let lost = world.live().into_iter().next().unwrap();
    world.bucket.lose(&format!("prod/{lost}"));
    world.restart();
    world.ship();
    assert_eq!(world.stored(), world.live(), "there was a local copy");

    world.cache_max = 0;
    world.restart();
    world.ship();
    world.bucket.lose(&format!("prod/{lost}"));
    world.restart();
    world.ship();

    assert_eq!(world.store.shared.metrics.objects.lost_files.get(), 1);
    let warnings = world.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("damaged file") && warnings[0].contains(&lost), "{warnings:?}");
}

#[test]
fn a_damaged_local_copy_is_read_from_object_storage_instead() {
    let mut world = World::with_files(1 << 20);
    world.ship();
    for path in world.live() {
        world.disk.flip_byte(&path, 40, 0x01);
    }
    world.restart();

    let first = world.warnings();
    world.is_whole(3, "the second question");

    assert!(first.iter().all(|text| text.contains("local copy is damaged")), "{first:?}");
    assert_eq!(first.len(), 6);
    assert_eq!(world.store.shared.metrics.damaged_files.get(), 0);
}

#[test]
fn a_damaged_file_is_not_uploaded() {
    let mut world = World::with_files(1 << 20);
    let damaged = world.live().into_iter().next().unwrap();
    world.disk.flip_byte(&damaged, 40, 0x01);

    world.ship();

    let mut want = world.live();
    want.remove(&damaged);
    assert_eq!(world.stored(), want);
    assert_eq!(world.store.shared.metrics.damaged_files.get(), 1);
}

#[test]
fn a_snapshot_holds_what_was_evicted_and_a_check_says_what_it_did_not_read() {
    let mut world = World::with_files(0);
    world.ship();
    world.write(3);

    let checks = backup::check(&world.disk, &mut |_| {}).unwrap();
    assert!(!checks.is_damaged(), "{:?}", checks.findings);
    let noted: Vec<&str> = checks.findings.iter().map(|one| one.path.as_str()).collect();
    assert_eq!(noted, [LEDGER]);

    let taken = backup::take(&world.store.shared, "one", &|| true).unwrap();
    let (from, to) = (Below::new(&world.disk, "snapshots/one".to_owned()), SimDisk::new());
    backup::back_up(&from, &to, "2026-11-21T00:00:00Z".to_owned()).unwrap();
    let restored = SimDisk::new();
    backup::restore(&to, &restored).unwrap();

    assert_eq!(taken.n_files, 8);
    assert_eq!(open(&restored).read().len(), 8);
    assert!(restored.read(LEDGER).is_err(), "a restored store has nothing in the bucket");

    world.bucket.set_down(true);
    let error = backup::take(&world.store.shared, "two", &|| true).unwrap_err();
    assert_eq!(error.kind(), crate::base::Kind::Unavailable);
    assert!(matches!(error, BackupError::Io { .. }), "{error}");
    let left: Vec<_> = world.disk.files().into_iter().map(|(path, _)| path).collect();
    assert!(!left.iter().any(|path| path.starts_with("snapshots/two/")), "{left:?}");
}

#[test]
fn a_damaged_ledger_is_found_by_a_check() {
    let mut world = World::with_files(1 << 20);
    world.ship();
    world.disk.flip_byte(LEDGER, 12, 0x20);

    let checks = backup::check(&world.disk, &mut |_| {}).unwrap();

    let found: Vec<&str> = checks.findings.iter().map(|one| one.path.as_str()).collect();
    assert_eq!((found, checks.is_damaged()), (vec![LEDGER], true));
}

#[test]
fn with_the_setting_off_nothing_is_different_and_switched_off_later_answers_say_what_is_missing() {
    let mut world = World::with_files(0);
    let never = SimDisk::new();
    let mut store = open(&never);
    let part = store.samples("heart", &[("up", NOW_MS, 1.0)]);
    store.engine.commit(vec![part]).unwrap();
    assert!(store.shared.objects.is_none());
    assert!(never.files().iter().all(|(path, _)| !path.starts_with("objects")));

    world.ship();
    let store = open(&world.disk);
    let snapshot = store.storage.snapshot(&ReadScope::All);
    assert_eq!(samples_of(&snapshot).len(), 0);
    let warnings = snapshot.warnings();
    let says = |text: &String| text.contains("storage.objects.url is not set");
    assert!(warnings.len() == 3 && warnings.iter().all(says), "{warnings:?}");
    assert!(store.shared.damaged.read().is_empty());
}
