//! Traces: one by its id, and TraceQL over all of them.
//!
//! A trace is what the spans with one trace id say, wherever they lie: in several files, in the head,
//! sent by several commons. So the sources, each sorted by trace id, are merged, and what a query
//! sees is one whole trace after the other; nothing is kept of a trace that does not match.

mod by_id;
pub(super) mod limits;

pub use by_id::Trace;
pub(super) use by_id::find;
pub use limits::{DEPTH_MAX, Limits};
