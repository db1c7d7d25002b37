//! Whether the server can answer yet, and how far it is.

use std::sync::Arc;

use parking_lot::RwLock;
use serde::Serialize;

/// What the server is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum ReadinessState {
    /// It has begun.
    Starting,
    /// It reads the write-ahead log back.
    Replaying {
        /// Bytes read back.
        done_bytes: u64,
        /// Bytes there are.
        total_bytes: u64,
    },
    /// It answers.
    Ready,
    /// It is on its way out.
    Stopping,
}

/// A handle that the start sets and `/-/ready` reads. Cloning costs one counter.
#[derive(Debug, Clone)]
pub struct Readiness(Arc<RwLock<ReadinessState>>);

impl Default for Readiness {
    fn default() -> Self {
        Self(Arc::new(RwLock::new(ReadinessState::Starting)))
    }
}

impl Readiness {
    /// Returns a handle that says [`ReadinessState::Starting`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Says what the server is doing from now on.
    pub fn set(&self, state: ReadinessState) {
        *self.0.write() = state;
    }

    /// Returns what the server is doing.
    pub fn get(&self) -> ReadinessState {
        *self.0.read()
    }
}
