//! Ground floor: things with no telemetry in them.
//!
//! Time, named tasks, error kinds, sizes and durations as people write them, the frame of a gRPC
//! message. Nothing here knows what a commons or a metric is.

pub mod age_clock;
pub mod clock;
pub mod cores;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
pub mod grpc;
pub mod kind;
pub mod shield;
pub mod tasks;
pub mod units;

pub use age_clock::{AgeClock, LeapDoubt, LeapWatch};
pub use clock::{Clock, HurryingClock, ManualClock, SystemClock};
pub use cores::n_cores;
pub use kind::Kind;
