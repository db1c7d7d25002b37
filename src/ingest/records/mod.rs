//! What the protocols of records share: OTLP (all three signals) and Loki push.
//!
//! Their walkers make a [`Decoded`] of a request's bytes, without async, clock or socket; `deliver`
//! takes a request through reading, decoding, storing and counting, and leaves only the words of
//! the answer to the dialects.

mod context;
mod decoded;
mod deliver;
mod json_parser;
mod stacks;

pub(super) use context::{Context, Rules};
pub(super) use decoded::{Batches, Decoded, Origin, Retagged, RowError};
pub(super) use deliver::{Decode, Delivery, deliver};
pub(super) use json_parser::{JsonError, Next, Parser};
pub(super) use stacks::OpenRecord;
