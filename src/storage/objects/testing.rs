//! A bucket in memory that fails on command.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_trait::async_trait;
use futures::FutureExt;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::memory::InMemory;
use object_store::multipart::{MultipartStore, PartId};
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartId, MultipartUpload,
    ObjectMeta, ObjectStore, ObjectStoreExt, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};

/// Work in memory is done at once.
fn now<T>(work: impl Future<Output = T>) -> T {
    work.now_or_never().expect("memory waits for nobody")
}

/// What is in the bucket, and what it does.
#[derive(Debug, Default)]
struct State {
    objects: InMemory,
    n_asked: AtomicU64,
    n_fetched: AtomicU64,
    is_down: AtomicBool,
    /// Every request whose number can be divided by it fails; 0 for none.
    fails_each: AtomicU64,
    /// Requests from this one on fail: the process that made them is dead; 0 for none.
    dies_at: AtomicU64,
    /// Uploads in parts that were begun, less those that were ended.
    n_open_uploads: AtomicU64,
}

/// The bucket; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Flaky(Arc<State>);

impl std::fmt::Display for Flaky {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a bucket for tests")
    }
}

impl Flaky {
    pub(crate) fn set_down(&self, is_down: bool) {
        self.0.is_down.store(is_down, Ordering::SeqCst);
    }

    pub(crate) fn fail_each(&self, n: u64) {
        self.0.fails_each.store(n, Ordering::SeqCst);
    }

    /// The `n`th request from now, and all later ones, fail; 0 ends that.
    pub(crate) fn die_after(&self, n: u64) {
        let at = if n == 0 { 0 } else { self.n_asked() + n };
        self.0.dies_at.store(at, Ordering::SeqCst);
    }

    /// Returns how many requests were made so far.
    pub(crate) fn n_asked(&self) -> u64 {
        self.0.n_asked.load(Ordering::SeqCst)
    }

    /// Returns how many of them asked for bytes.
    pub(crate) fn n_fetched(&self) -> u64 {
        self.0.n_fetched.load(Ordering::SeqCst)
    }

    pub(crate) fn n_open_uploads(&self) -> u64 {
        self.0.n_open_uploads.load(Ordering::SeqCst)
    }

    /// Returns all paths, sorted.
    pub(crate) fn paths(&self) -> Vec<String> {
        let listed = self.0.objects.list(None).map(|meta| meta.unwrap().location.to_string());
        let mut paths: Vec<String> = now(listed.collect());
        paths.sort();
        paths
    }

    pub(crate) fn bytes(&self, path: &str) -> bytes::Bytes {
        let path = Path::from(path);
        let get = async { self.0.objects.get(&path).await.unwrap().bytes().await.unwrap() };
        now(get)
    }

    /// Puts an object there, past all faults.
    pub(crate) fn put_object(&self, path: &str, bytes: &[u8]) {
        let (path, bytes) = (Path::from(path), bytes.to_vec());
        now(self.0.objects.put(&path, bytes.into())).unwrap();
    }

    /// Takes an object away, past all faults.
    pub(crate) fn lose(&self, path: &str) {
        let path = Path::from(path);
        now(self.0.objects.delete(&path)).unwrap();
    }

    fn meet(&self) -> Result<()> {
        let State { n_asked, is_down, fails_each, dies_at, .. } = &*self.0;
        let n = n_asked.fetch_add(1, Ordering::SeqCst) + 1;
        let (each, dies_at) = (fails_each.load(Ordering::SeqCst), dies_at.load(Ordering::SeqCst));
        let fails = is_down.load(Ordering::SeqCst)
            || (each > 0 && n.is_multiple_of(each))
            || (dies_at > 0 && n >= dies_at);
        let away = || Error::Generic { store: "flaky", source: "nobody answers".into() };
        if fails { Err(away()) } else { Ok(()) }
    }
}

#[async_trait]
impl ObjectStore for Flaky {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.meet()?;
        self.0.n_fetched.fetch_add(1, Ordering::SeqCst);
        self.0.objects.get_opts(location, options).await
    }

    async fn put_opts(&self, to: &Path, payload: PutPayload, o: PutOptions) -> Result<PutResult> {
        self.meet()?;
        let done = self.0.objects.put_opts(to, payload, o).await;
        // Done, and nobody hears of it.
        self.meet()?;
        done
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        panic!("uploads in parts go by their ids")
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        if let Err(error) = self.meet() {
            return stream::once(async { Err(error) }).boxed();
        }
        self.0.objects.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        if let Err(error) = self.meet() {
            return stream::once(async { Err(error) }).boxed();
        }
        self.0.objects.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.meet()?;
        self.0.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.meet()?;
        self.0.objects.copy_opts(from, to, options).await
    }
}

#[async_trait]
impl MultipartStore for Flaky {
    async fn create_multipart(&self, path: &Path) -> Result<MultipartId> {
        self.meet()?;
        let id = self.0.objects.create_multipart(path).await?;
        self.0.n_open_uploads.fetch_add(1, Ordering::SeqCst);
        Ok(id)
    }

    async fn put_part(
        &self,
        path: &Path,
        id: &MultipartId,
        part_idx: usize,
        data: PutPayload,
    ) -> Result<PartId> {
        self.meet()?;
        self.0.objects.put_part(path, id, part_idx, data).await
    }

    async fn complete_multipart(
        &self,
        path: &Path,
        id: &MultipartId,
        parts: Vec<PartId>,
    ) -> Result<PutResult> {
        self.meet()?;
        let done = self.0.objects.complete_multipart(path, id, parts).await?;
        self.0.n_open_uploads.fetch_sub(1, Ordering::SeqCst);
        self.meet()?;
        Ok(done)
    }

    async fn abort_multipart(&self, path: &Path, id: &MultipartId) -> Result<()> {
        self.meet()?;
        let ended = self.0.objects.abort_multipart(path, id).await;
        match ended {
            Ok(()) => {
                self.0.n_open_uploads.fetch_sub(1, Ordering::SeqCst);
                Ok(())
            }
            // As S3 says it.
            Err(source) => Err(Error::NotFound { path: path.to_string(), source: source.into() }),
        }
    }
}
