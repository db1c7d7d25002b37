//! A stand-in for `derive`, with its door's signatures, until that room lands; then this file goes.

use crate::model::{Commons, Signal};

/// Derives nothing.
#[derive(Debug, Clone, Default)]
pub struct Derive {}

impl Derive {
    /// Notes that a signal of a commons was seen.
    pub fn observe_signal(&self, _commons: &Commons, _signal: Signal, _ts_ns: i64) {}
}
