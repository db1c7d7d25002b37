//! The file of the control state, with points like those of every other file.

use std::io;
use std::ops::Bound;
use std::sync::Arc;

use redb::{BackendError, StorageBackend};

use super::{Moment, Plan, plan};

const CLASS: &str = "state";

/// What redb keeps its bytes in, with the faults that the environment asks for.
#[derive(Debug)]
pub(in crate::storage) struct FaultBackend<B> {
    inner: B,
    plan: Option<Arc<Plan>>,
}

impl<B: StorageBackend> FaultBackend<B> {
    /// Puts points around a backend.
    pub(in crate::storage) fn new(inner: B) -> Self {
        Self { inner, plan: plan() }
    }

    fn around<T>(&self, operation: &str, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        match &self.plan {
            Some(plan) => plan.around(operation, CLASS, act),
            None => act(),
        }
    }
}

impl<B: StorageBackend> StorageBackend for FaultBackend<B> {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.around("read", || self.inner.read(offset, out))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.around("truncate", || self.inner.set_len(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.around("sync", || self.inner.sync_data())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let Some(plan) = &self.plan else { return self.inner.write(offset, data) };
        plan.meet("write", CLASS, Moment::Before)?;
        let half = data.len() / 2;
        self.inner.write(offset, &data[..half])?;
        plan.meet("write", CLASS, Moment::During)?;
        self.inner.write(offset + half as u64, &data[half..])?;
        plan.meet("write", CLASS, Moment::After)?;
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(from, to)
    }

    fn try_lock_shared_range(
        &self,
        from: Bound<u64>,
        to: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(from, to)
    }

    fn lock_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(from, to)
    }

    fn lock_shared_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(from, to)
    }

    fn unlock_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(from, to)
    }

    fn query_lock_range(&self, from: Bound<u64>, to: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(from, to)
    }
}
