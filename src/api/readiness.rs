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
pub struct Readiness(Arc<RwLock<Told>>);

/// What `/-/ready` tells.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Told {
    #[serde(flatten)]
    pub(super) state: ReadinessState,
    /// What somebody should look at; the server works without it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) warnings: Vec<String>,
}

impl Default for Readiness {
    fn default() -> Self {
        let told = Told { state: ReadinessState::Starting, warnings: Vec::new() };
        Self(Arc::new(RwLock::new(told)))
    }
}

impl Readiness {
    /// Returns a handle that says [`ReadinessState::Starting`].
    pub fn new() -> Self {
        Self::default()
    }

    /// Says what the server is doing from now on.
    pub fn set(&self, state: ReadinessState) {
        self.0.write().state = state;
    }

    /// Says what somebody should look at, in place of what was said before.
    pub fn warn(&self, warnings: Vec<String>) {
        self.0.write().warnings = warnings;
    }

    /// Returns what the server is doing.
    pub fn get(&self) -> ReadinessState {
        self.0.read().state
    }

    /// Returns all there is to tell.
    pub(super) fn told(&self) -> Told {
        self.0.read().clone()
    }
}
