//! Ground floor: things with no telemetry in them.
//!
//! Time, named tasks, error kinds, sizes, durations and quoted texts as people write them, the frame
//! of a gRPC message, numbers of varying length. Nothing here knows what a commons or a metric is.

pub mod age_clock;
pub mod clock;
pub mod cores;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub(crate) mod go_text;
pub mod grpc;
pub mod kind;
pub mod shield;
pub mod tasks;
pub mod units;
pub(crate) mod varint;

pub use age_clock::{AgeClock, LeapDoubt, LeapWatch};
pub use clock::{Clock, HurryingClock, ManualClock, SystemClock};
pub use cores::n_cores;
pub use kind::Kind;
