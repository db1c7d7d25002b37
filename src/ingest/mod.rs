//! Bytes from the wire become tagged rows of the store.
//!
//! Three protocols come in here, each in a folder of its own; what they share stands beside them.
//! A body is admitted (`admit`), decompressed (`body`), walked without building anything (`wire`),
//! its series found by the hash of their raw label bytes (`resolve`), and its rows handed to
//! storage, which answers once they are synced. Bad items are counted and told (`outcome`), never
//! fatal. Decoding and resolving are plain functions over bytes: no async, no clock, no socket.
//!
//! ```text
//! request -> admit -> body -> walk -> resolve -> store.append -> answer
//!              |        |       |        |            |
//!             429    413, 4xx   400   400 partial   429, 503
//! ```
//!
//! When you add a limit, also touch `config/commonwatch.toml`; when you add a `Reason` or a
//! counter, also touch the dashboard of the server itself.

use std::sync::Arc;

pub mod wire;

pub mod limits;
pub mod outcome;
pub mod error;
pub mod metrics;

pub mod admit;
pub mod body;
pub mod pool;
pub mod rate;
pub mod queue;
pub mod decoding;
pub mod exemplars;
pub mod resolve;
pub mod remembered;
pub mod pushes;
mod door_clock;
pub mod store;
pub mod commit;

pub mod remote_write;

mod records;
pub mod otlp;
pub mod loki_push;

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
#[cfg(test)]
mod tests;

use crate::base::clock::SharedClock;
use crate::derive::Derive;
use crate::tagging::Tagger;

pub use admit::{Admit, Permit};
pub use body::{Bodies, Decoded, Encoded, Encoding};
pub use commit::Batch;
pub use decoding::Decoding;
pub use error::IngestError;
pub use limits::{Limits, TimeBounds};
pub use metrics::{Lane, Metrics};
pub use outcome::{Outcome, Reason, Refusal, Rejected};
pub use queue::{Queue, Turn};
pub use rate::Rates;
pub use resolve::{NewSeries, NotStored, SampleParts, Seed, Sender};
pub use store::Store;

/// What every protocol of this room works with; cloning costs some counters.
#[derive(Debug, Clone)]
pub struct Ingest {
    /// Takes the rows.
    pub store: Arc<dyn Store>,
    /// Decides where rows belong.
    pub tagger: Arc<Tagger>,
    /// Makes metrics of logs and spans on their way in.
    pub derive: Derive,
    /// What may come in.
    pub limits: Arc<Limits>,
    /// How long data is kept, ms; `None` keeps everything, and takes samples back to 1970.
    pub retention_ms: Option<i64>,
    /// Who may hold how much.
    pub admit: Admit,
    /// Who may bring how much.
    pub rates: Rates,
    /// Who is under way.
    pub queue: Queue,
    /// Reads and decompresses bodies.
    pub bodies: Bodies,
    /// Gives out turns at decoding.
    pub decoding: Decoding,
    /// Own counters.
    pub metrics: Metrics,
    /// Says when.
    pub clock: SharedClock,
    /// How OpenTelemetry's names are shown.
    pub otlp: Arc<otlp::Config>,
    /// Counts exemplars.
    pub exemplars: Arc<exemplars::Exemplars>,
    remembered: Arc<remembered::Remembered>,
    pushes: Arc<pushes::Pushes>,
    door_clock: Arc<door_clock::DoorClock>,
}

/// What an [`Ingest`] is made of.
#[derive(Debug)]
pub struct Parts {
    /// Takes the rows.
    pub store: Arc<dyn Store>,
    /// Decides where rows belong.
    pub tagger: Arc<Tagger>,
    /// Makes metrics of logs and spans on their way in.
    pub derive: Derive,
    /// The `[limits]` of the configuration.
    pub limits: Limits,
    /// How long data is kept, ms; `None` keeps everything.
    pub retention_ms: Option<i64>,
    /// The `[otlp]` of the configuration.
    pub otlp: otlp::Config,
    /// Own counters.
    pub metrics: Metrics,
    /// Says when.
    pub clock: SharedClock,
}

impl Ingest {
    /// Returns the room, with nothing in flight.
    pub fn new(parts: Parts) -> Self {
        let limits = Arc::new(parts.limits);
        Self {
            admit: Admit::with_gauge(&limits, parts.metrics.in_flight_bytes()),
            rates: Rates::new(&limits, Arc::clone(&parts.clock)),
            queue: Queue::new(
                limits.answer_within,
                Arc::clone(&parts.clock),
                Arc::clone(&parts.store),
                parts.metrics.in_flight_requests(),
            ),
            bodies: Bodies::new(Arc::clone(&limits)),
            decoding: Decoding::default(),
            store: parts.store,
            tagger: parts.tagger,
            derive: parts.derive,
            otlp: Arc::new(parts.otlp),
            exemplars: Arc::new(exemplars::Exemplars::new(Arc::clone(&limits))),
            pushes: Arc::new(pushes::Pushes::new(
                limits.known_pushes,
                parts.metrics.forgotten_pushes(),
            )),
            limits,
            retention_ms: parts.retention_ms,
            metrics: parts.metrics,
            clock: parts.clock,
            remembered: Arc::default(),
            door_clock: Arc::default(),
        }
    }

    /// Returns the timestamps that are taken now.
    pub fn time_bounds(&self) -> TimeBounds {
        let times = self.door_clock.look(&*self.clock);
        TimeBounds::at(times, self.limits.future, self.retention_ms)
    }

    /// Forgets what is remembered beside storage: tagging's rules have changed.
    pub fn forget(&self) {
        self.remembered.clear();
    }
}
