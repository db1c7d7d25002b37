//! The only place that wires: a checked `Config` becomes a running server, and stops in order.
//!
//! `build` opens sockets and spawns nothing. `run` answers `/-/ready` while the log is replayed, then
//! opens the gate; it returns when told to stop, or with an error when what is on disk is unknown.
//! Killing the process at any line of the stop is safe.

mod answers;
mod gate;
mod inventory;
mod keep;
mod kept_alerts;
#[cfg(test)]
mod month;
mod own_metrics;
mod questions;
mod reload;
mod rooms;
mod samples;
mod snapshots;
mod start;
mod stop;
mod timers;
mod trial;
mod world;

pub(crate) use questions::formatted;
pub use start::{App, AppError};
pub(crate) use trial::Trial;
