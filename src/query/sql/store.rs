//! The one object store a worker has: the files of its question, for reading.
//!
//! A path that is not on the list does not exist, so no plan can open anything else, whatever it
//! was made from. Nothing can be listed, written or removed, and every byte is checked before a plan
//! sees it; what is found damaged is remembered, so that the question can be asked without it. A file
//! that is in object storage alone is asked of the server, piece by piece: a worker has neither a
//! socket nor a credential.

use std::collections::HashMap;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use object_store::path::Path;
use object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult,
    MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload,
    PutResult, Result,
};
use parking_lot::Mutex;

use super::heads::{FileRequest, Heads};
use crate::storage::disk::DiskRead;
use crate::storage::objects::{Far, Tiered};
use crate::storage::{Checked, FILE_BYTES_MAX, FileEntry, LineNeed, RealDisk, narrow_file};

/// What errors call this store.
const NAME: &str = "commonwatch files";

/// Reads the files of one question and nothing else.
#[derive(Debug)]
pub(super) struct ReadOnlyStore {
    disk: Tiered,
    files: HashMap<Path, FileEntry>,
    open: Mutex<HashMap<Path, Arc<Checked>>>,
}

impl std::fmt::Display for ReadOnlyStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(NAME)
    }
}

impl ReadOnlyStore {
    /// Returns a store of these files below the data directory.
    pub(super) fn new<'a>(
        data_dir: &std::path::Path,
        files: impl IntoIterator<Item = &'a FileEntry>,
        heads: Arc<dyn Heads>,
    ) -> Result<Self> {
        let files: HashMap<Path, FileEntry> = files
            .into_iter()
            .map(|file| Ok((Path::parse(&file.path)?, file.clone())))
            .collect::<Result<_>>()?;
        let sizes = files.values().map(|file| (file.path.clone(), file.size_bytes)).collect();
        let disk = RealDisk::open_read_only(data_dir);
        let disk = Tiered::new(Arc::new(disk), Arc::new(OfServer { heads, sizes }));
        Ok(Self { disk, files, open: Mutex::default() })
    }

    /// Returns the path of a file that could not be fetched, and why not.
    pub(super) fn away(&self) -> Option<(String, String)> {
        let open = self.open.lock();
        open.iter().find_map(|(path, file)| Some((path.to_string(), file.away()?.to_owned())))
    }

    /// Returns the path of a file that was found damaged, and what is wrong with it.
    pub(super) fn damage(&self) -> Option<(String, String)> {
        let open = self.open.lock();
        open.iter().find_map(|(path, file)| Some((path.to_string(), file.damage()?.to_owned())))
    }

    /// Returns the rows of a file whose text may be what is needed, counted from its beginning; all
    /// when that cannot be found out, because then whoever reads the rows finds out why.
    pub(super) fn rows_for(&self, file: &FileEntry, need: &LineNeed) -> Vec<Range<usize>> {
        narrow_file(&self.disk, file, need).unwrap_or_else(|_| {
            let n_rows = usize::try_from(file.n_rows).unwrap_or(usize::MAX);
            std::iter::once(0..n_rows).collect()
        })
    }

    fn entry(&self, location: &Path) -> Result<&FileEntry> {
        self.files.get(location).ok_or_else(|| Error::NotFound {
            path: location.to_string(),
            source: "it is not one of the query's files".into(),
        })
    }

    fn file(&self, location: &Path) -> Result<Arc<Checked>> {
        let entry = self.entry(location)?;
        let mut open = self.open.lock();
        let file = open
            .entry(location.clone())
            .or_insert_with(|| Arc::new(Checked::open(&self.disk, entry).forgetful()));
        Ok(Arc::clone(file))
    }

    async fn read(&self, location: &Path, range: Range<u64>) -> Result<Bytes> {
        let file = self.file(location)?;
        let place = location.clone();
        let read = move || {
            let n_bytes = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
            file.read_at(range.start, n_bytes).map_err(|error| failed(&place, error))
        };
        tokio::task::spawn_blocking(read).await.map_err(|error| failed(location, error))?
    }
}

/// Opens files that the disk has not by asking the server for their bytes.
#[derive(Debug)]
struct OfServer {
    heads: Arc<dyn Heads>,
    sizes: HashMap<String, u64>,
}

impl Far for OfServer {
    fn open(self: Arc<Self>, path: &str) -> Option<Arc<dyn DiskRead>> {
        let size_bytes = *self.sizes.get(path)?;
        Some(Arc::new(FarFile { of: self, path: path.to_owned(), size_bytes }))
    }
}

#[derive(Debug)]
struct FarFile {
    of: Arc<OfServer>,
    path: String,
    size_bytes: u64,
}

impl DiskRead for FarFile {
    fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    fn read_at(&self, offset: u64, len: usize) -> io::Result<Bytes> {
        let mut read = Vec::with_capacity(len.min(FILE_BYTES_MAX));
        while read.len() < len {
            let n_bytes = (len - read.len()).min(FILE_BYTES_MAX);
            let offset = offset + read.len() as u64;
            let request = FileRequest { path: self.path.clone(), offset, n_bytes };
            let piece = self.of.heads.file_bytes(&request)?;
            if piece.len() != n_bytes {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if n_bytes == len {
                return Ok(piece);
            }
            read.extend_from_slice(&piece);
        }
        Ok(read.into())
    }
}

fn failed(location: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    let source: Box<dyn std::error::Error + Send + Sync> = source.into();
    Error::Generic { store: NAME, source: format!("cannot read {location}: {source}").into() }
}

fn read_only() -> Error {
    Error::NotSupported { source: "the store is read-only".into() }
}

#[async_trait]
impl ObjectStore for ReadOnlyStore {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let size = self.entry(location)?.size_bytes;
        let range = match &options.range {
            Some(range) => range.as_range(size).map_err(|error| failed(location, error))?,
            None => 0..size,
        };
        let bytes =
            if options.head { Bytes::new() } else { self.read(location, range.clone()).await? };
        Ok(GetResult {
            payload: GetResultPayload::Stream(stream::once(async { Ok(bytes) }).boxed()),
            meta: ObjectMeta {
                location: location.clone(),
                last_modified: chrono::DateTime::UNIX_EPOCH,
                size,
                e_tag: None,
                version: None,
            },
            range,
            attributes: Attributes::new(),
        })
    }

    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(read_only())
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(read_only())
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        stream::once(async { Err(read_only()) }).boxed()
    }

    fn list(&self, _: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        stream::once(async { Err(read_only()) }).boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&Path>) -> Result<ListResult> {
        Err(read_only())
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        Err(read_only())
    }
}
