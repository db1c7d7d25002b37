//! A disk that takes its time: what waits for it is bounded, senders are told to come back, queries
//! answer, and what is acknowledged late is acknowledged truly.

use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::http::Request;
use parking_lot::{Condvar, Mutex};
use prometheus_client::registry::Registry;
use prost::Message as _;
use tower::ServiceExt as _;

use super::super::proto::{request, series};
use super::super::router;
use crate::base::ManualClock;
use crate::base::units::HumanSize;
use crate::ingest::tests::fake_store::{NOW_MS, Rig};
use crate::model::{Grant, MatchOp, Matcher};
use crate::storage::disk::sim::SimDisk;
use crate::storage::disk::{DiskFile, DiskRead};
use crate::storage::{self, Disk, Opened, Progress, SeriesRequest, Storage};

/// Holds every sync while it is shut.
#[derive(Debug, Default)]
struct Gate {
    is_shut: Mutex<bool>,
    opened: Condvar,
}

impl Gate {
    fn pass(&self) {
        let mut is_shut = self.is_shut.lock();
        while *is_shut {
            self.opened.wait(&mut is_shut);
        }
    }

    fn set(&self, is_shut: bool) {
        *self.is_shut.lock() = is_shut;
        self.opened.notify_all();
    }
}

#[derive(Debug)]
struct SlowDisk {
    disk: SimDisk,
    gate: Arc<Gate>,
}

struct SlowFile {
    file: Box<dyn DiskFile>,
    gate: Arc<Gate>,
}

impl Disk for SlowDisk {
    fn create_dir_all(&self, dir: &str) -> io::Result<()> {
        self.disk.create_dir_all(dir)
    }

    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = self.disk.create(path)?;
        Ok(Box::new(SlowFile { file, gate: Arc::clone(&self.gate) }))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn DiskRead>> {
        self.disk.open(path)
    }

    fn list(&self, dir: &str) -> io::Result<Vec<String>> {
        self.disk.list(dir)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn link(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.link(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_file(&self, path: &str) -> io::Result<()> {
        self.disk.sync_file(path)
    }

    fn write_again(&self, path: &str, len: u64) -> io::Result<()> {
        self.disk.write_again(path, len)
    }

    fn sync_dir(&self, dir: &str) -> io::Result<()> {
        self.disk.sync_dir(dir)
    }
}

impl Write for SlowFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl DiskFile for SlowFile {
    fn sync(&mut self) -> io::Result<()> {
        self.gate.pass();
        self.file.sync()
    }

    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }

    fn reserve(&mut self, len: u64) -> io::Result<()> {
        self.file.reserve(len)
    }
}

/// The room over a real store on a slow disk.
struct Scene {
    rig: Rig,
    storage: Storage,
    gate: Arc<Gate>,
    writer: std::thread::JoinHandle<Result<(), storage::Fatal>>,
}

const IN_FLIGHT: HumanSize = HumanSize(256 << 10);

fn scene() -> Scene {
    let gate = Arc::new(Gate::default());
    let disk = SlowDisk { disk: SimDisk::new(), gate: Arc::clone(&gate) };
    let metrics = storage::Metrics::register(&mut Registry::default());
    let clock = ManualClock::at_ms(NOW_MS);
    let config = storage::Config::default();
    let opened = Storage::open(Arc::new(disk), clock, config, metrics, &Progress::default());
    let Opened { storage, writer, .. } = opened.unwrap();
    let runtime = tokio::runtime::Handle::current();
    let writer = std::thread::spawn(move || writer.run(&runtime));
    let mut rig = Rig::with(|limits| {
        limits.bytes_in_flight = IN_FLIGHT;
        limits.bytes_in_flight_per_credential = IN_FLIGHT;
    });
    rig.ingest.store = Arc::new(storage.clone());
    Scene { rig, storage, gate, writer }
}

impl Scene {
    /// Pushes 100 samples of one series and returns the status and the time to come back.
    async fn push(&self, number: usize) -> (u16, Option<String>) {
        let samples: Vec<(i64, f64)> = (0..100).map(|n| (NOW_MS - n, 1.0)).collect();
        let labels = [("__name__", "slow"), ("n", &*number.to_string())];
        let message = request(vec![series(&labels, &samples)]).encode_to_vec();
        let body = snap::raw::Encoder::new().compress_vec(&message).unwrap();
        let app = router(self.rig.ingest.clone()).layer(Extension(Grant::open()));
        let request = Request::post("/api/v1/write").body(Body::from(body)).unwrap();
        let response = app.oneshot(request).await.unwrap();
        let retry_after = response.headers().get("retry-after");
        let retry_after = retry_after.map(|value| value.to_str().unwrap().to_owned());
        (response.status().as_u16(), retry_after)
    }

    fn n_visible(&self) -> usize {
        let matchers = [Matcher::new("__name__", MatchOp::Eq, "slow").unwrap()];
        let request = SeriesRequest {
            matchers: &matchers,
            start_ms: 0,
            end_ms: i64::MAX,
            samples_max: usize::MAX,
            series_max: usize::MAX,
        };
        self.storage.snapshot(&Grant::open().read).select(&request).unwrap().len()
    }
}

/// A generous deadline: a loaded machine is not a defect.
const PATIENCE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_disk_is_felt_by_senders_and_not_by_memory() {
    let scene = Arc::new(scene());
    assert_eq!(scene.push(0).await.0, 204);
    scene.gate.set(true);

    let (told, mut answers) = tokio::sync::mpsc::channel(1_000);
    let senders: Vec<_> = (1..=400)
        .map(|number| {
            let (scene, told) = (Arc::clone(&scene), told.clone());
            crate::base::tasks::spawn_joined(async move {
                let answer = scene.push(number).await;
                told.send((number, answer)).await.unwrap();
            })
        })
        .collect();
    // While the disk stands, nobody hears yes; those past the bytes in flight hear when to come back.
    let first = tokio::time::timeout(PATIENCE, answers.recv()).await.unwrap().unwrap();
    assert_eq!((first.1.0, first.1.1.as_deref()), (429, Some("1")));
    // What decoding makes is counted when it is there, so the limit is passed by some of it.
    assert!(scene.rig.ingest.admit.in_flight_bytes() < 2 * IN_FLIGHT.bytes());
    assert_eq!(scene.n_visible(), 1, "queries answer, and show what was acknowledged");
    scene.gate.set(false);

    let mut statuses = vec![first.1.0];
    for _ in 1..400 {
        let (_, answer) = tokio::time::timeout(PATIENCE, answers.recv()).await.unwrap().unwrap();
        statuses.push(answer.0);
    }
    for sender in senders {
        sender.await.unwrap();
    }
    let n_stored = statuses.iter().filter(|status| **status == 204).count();
    assert!(n_stored > 0 && statuses.iter().all(|status| matches!(status, 204 | 429)));
    assert_eq!(scene.n_visible(), 1 + n_stored, "a late yes is true, and a no is true as well");
    assert_eq!(scene.rig.ingest.admit.in_flight_bytes(), 0);
    let Some(Scene { rig, storage, writer, .. }) = Arc::into_inner(scene) else {
        panic!("every sender has ended")
    };
    drop((rig, storage));
    tokio::task::spawn_blocking(|| writer.join().unwrap().unwrap()).await.unwrap();
}
