//! The load generator: bodies that are encoded once and changed in place before each sending.
//!
//! Every body is different: values, times, ids and texts are patched in, which costs a small part
//! of what reading them does, so that the generator is never what is measured.

pub(crate) mod http;
pub(crate) mod mix;
mod patch;
pub(crate) mod records;
pub(crate) mod send;

pub(crate) mod fleet;
pub(crate) mod logs;
pub(crate) mod points;
pub(crate) mod remote_write;
pub(crate) mod spans;

/// What OTLP/HTTP needs.
pub(crate) const OTLP_HEADERS: &str = "Content-Type: application/x-protobuf\r\n";

/// Which listener takes the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Port {
    Http,
    OtlpHttp,
}

/// One request of each round.
pub(crate) trait Batch: Send {
    /// Returns the body for a round that begins at `time_ms`.
    fn fill(&mut self, round: u64, time_ms: u64) -> &[u8];
    /// Returns how many items the body has.
    fn n_items(&self) -> u64;
}

/// All that is sent to one server.
pub(crate) struct Load {
    pub(crate) path: &'static str,
    pub(crate) headers: &'static str,
    pub(crate) port: Port,
    pub(crate) batches: Vec<Box<dyn Batch>>,
    pub(crate) n_rounds: u64,
    /// How far telemetry's own time moves in a round.
    pub(crate) round_ms: u64,
    /// Rounds before the ones that are measured: they register the series.
    pub(crate) n_warm_up_rounds: u64,
}

impl Load {
    /// Returns how many items a round has.
    pub(crate) fn n_round_items(&self) -> u64 {
        self.batches.iter().map(|batch| batch.n_items()).sum()
    }
}
