//! The object store as blocking code asks it: one thread of its own talks to it, whoever asks waits.
//!
//! What failed a moment ago is not asked again at once: while the store is away each question would
//! wait for it anew. The pause grows from one second to half a minute, and the first answer ends it.

use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{self, StreamExt, TryStreamExt};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parking_lot::Mutex;
use tokio::runtime::{Builder, Runtime};

use super::config::Place;
use crate::base::clock::SharedClock;

/// What a bucket must be able to do.
pub trait Bucket: ObjectStore + MultipartStore {}

impl<T: ObjectStore + MultipartStore> Bucket for T {}

/// Ranges that are asked for at a time.
const RANGES_AT_A_TIME: usize = 4;
/// The first pause after a failure.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// How much of an error's text is kept.
const TEXT_MAX: usize = 400;

/// Why the store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RemoteError {
    /// There is no such object.
    #[error("there is no object {0}")]
    Missing(String),
    /// It cannot be reached, or refuses, now.
    #[error("object storage does not answer: {0}")]
    Away(String),
}

impl From<object_store::Error> for RemoteError {
    fn from(error: object_store::Error) -> Self {
        match &error {
            object_store::Error::NotFound { path, .. } => RemoteError::Missing(path.clone()),
            _ => RemoteError::Away(told(&error)),
        }
    }
}

/// Returns an error with its causes, one line of bounded length.
fn told(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(TEXT_MAX).collect()
}

/// A pause after failures.
#[derive(Debug, Default)]
struct Pause {
    n_failures: u32,
    until_ns: u64,
    why: String,
}

/// The object store.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) bucket: Arc<dyn Bucket>,
    prefix: String,
    runtime: Option<Runtime>,
    clock: SharedClock,
    pause: Mutex<Pause>,
}

impl Remote {
    /// Returns the part of a bucket that a place names.
    pub(super) fn new(
        bucket: Arc<dyn Bucket>,
        place: &Place,
        clock: SharedClock,
    ) -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("objects")
            .enable_all()
            .build()?;
        Ok(Self {
            bucket,
            prefix: place.prefix.clone(),
            runtime: Some(runtime),
            clock,
            pause: Mutex::default(),
        })
    }

    /// Returns where a file lies in the bucket: the local layout, behind the prefix.
    pub(super) fn key(&self, path: &str) -> Path {
        if self.prefix.is_empty() {
            Path::from(path)
        } else {
            Path::from(format!("{}/{path}", self.prefix))
        }
    }

    /// Returns the path of a file by its place in the bucket.
    pub(super) fn path_of<'a>(&self, key: &'a Path) -> Option<&'a str> {
        match self.prefix.as_str() {
            "" => Some(key.as_ref()),
            prefix => key.as_ref().strip_prefix(prefix)?.strip_prefix('/'),
        }
    }

    /// Has work done on the store's thread and waits for it; good from any thread, as reading a file
    /// is.
    pub(super) fn wait<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, RemoteError> {
        let runtime = self.runtime.as_ref().expect("it is taken when nobody can ask any more");
        let (done, answer) = std::sync::mpsc::sync_channel(1);
        runtime.handle().spawn(async move {
            // Whoever asked waits below.
            let _: Result<(), _> = done.send(work.await);
        });
        answer.recv().map_err(|_| RemoteError::Away("the request failed in itself".to_owned()))
    }

    /// Reads ranges of an object.
    pub(super) fn read(
        &self,
        path: &str,
        ranges: Vec<Range<u64>>,
    ) -> Result<Vec<Bytes>, RemoteError> {
        self.not_paused()?;
        let (bucket, key) = (Arc::clone(&self.bucket), self.key(path));
        let read = self.wait(async move {
            let one = |range: Range<u64>| {
                let (bucket, key) = (Arc::clone(&bucket), key.clone());
                async move {
                    let n_wanted = range.end - range.start;
                    let bytes = bucket.get_range(&key, range).await?;
                    if bytes.len() as u64 == n_wanted {
                        return Ok(bytes);
                    }
                    Err(RemoteError::Missing(format!("{key}, or it is shorter than it was")))
                }
            };
            stream::iter(ranges).map(one).buffered(RANGES_AT_A_TIME).try_collect::<Vec<_>>().await
        });
        self.note(read.and_then(|read| read))
    }

    fn not_paused(&self) -> Result<(), RemoteError> {
        let pause = self.pause.lock();
        if pause.n_failures > 0 && self.clock.monotonic_ns() < pause.until_ns {
            return Err(RemoteError::Away(pause.why.clone()));
        }
        Ok(())
    }

    /// Begins, or ends, the pause.
    pub(super) fn note<T>(&self, result: Result<T, RemoteError>) -> Result<T, RemoteError> {
        let mut pause = self.pause.lock();
        match &result {
            Ok(_) | Err(RemoteError::Missing(_)) => *pause = Pause::default(),
            Err(RemoteError::Away(why)) => {
                let length = pause_after(pause.n_failures);
                pause.n_failures = pause.n_failures.saturating_add(1);
                let length_ns = u64::try_from(length.as_nanos()).unwrap_or(u64::MAX);
                pause.until_ns = self.clock.monotonic_ns().saturating_add(length_ns);
                pause.why = why.clone();
            }
        }
        result
    }
}

/// Returns how long to wait after a failure that followed on `n_failures` others.
pub(super) fn pause_after(n_failures: u32) -> Duration {
    PAUSE_MIN.saturating_mul(2_u32.saturating_pow(n_failures.min(16))).min(PAUSE_MAX)
}

impl Drop for Remote {
    fn drop(&mut self) {
        // In the background: the last to let go may be inside another runtime.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;
    use crate::base::ManualClock;
    use crate::storage::objects::testing::Flaky;

    fn remote(bucket: Arc<dyn Bucket>, clock: SharedClock) -> Remote {
        let place = Place { bucket: "telemetry".to_owned(), prefix: "prod/eu".to_owned() };
        Remote::new(bucket, &place, clock).unwrap()
    }

    #[test]
    fn a_file_lies_behind_the_prefix_as_it_lies_on_the_disk() {
        let remote = remote(Arc::new(InMemory::new()), ManualClock::at_ms(0));
        let path = "parquet/logs/commons=heart.example/date=2026-11-21/0a-0.parquet";

        let key = remote.key(path);

        assert_eq!(key.as_ref(), format!("prod/eu/{path}"));
        assert_eq!(remote.path_of(&key), Some(path));
        assert_eq!(remote.path_of(&Path::from("prod/eu-west/a")), None);
    }

    #[test]
    fn a_store_that_failed_is_not_asked_again_at_once() {
        let clock = ManualClock::at_ms(0);
        let flaky = Arc::new(Flaky::default());
        let remote = remote(Arc::clone(&flaky) as Arc<dyn Bucket>, Arc::clone(&clock) as _);
        let ask = || remote.read("a", std::iter::once(0..1).collect());
        flaky.set_down(true);

        let first = ask().unwrap_err();
        let n_asked = flaky.n_asked();
        assert_eq!(ask().unwrap_err(), first);
        assert_eq!(flaky.n_asked(), n_asked, "it waits for a second");

        clock.advance(Duration::from_secs(1));
        assert!(matches!(ask(), Err(RemoteError::Away(_))));
        assert_eq!(flaky.n_asked(), n_asked + 1);
        flaky.set_down(false);
        clock.advance(Duration::from_secs(1));
        assert!(matches!(ask(), Err(RemoteError::Away(_))), "the second pause is longer");
        clock.advance(Duration::from_secs(1));
        assert!(matches!(ask(), Err(RemoteError::Missing(_))), "an answer ends the pause");
        assert!(matches!(ask(), Err(RemoteError::Missing(_))));
        assert_eq!(flaky.n_asked(), n_asked + 3);
    }

    #[test]
    fn pauses_grow_and_end() {
        let pauses: Vec<u64> = [0, 1, 2, 4, 5, 99].map(|n| pause_after(n).as_secs()).to_vec();

        assert_eq!(pauses, [1, 2, 4, 16, 30, 30]);
    }
}
