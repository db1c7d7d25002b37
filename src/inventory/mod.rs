//! What is expected to report, and what has gone dark.
//!
//! The inventory knows commons × service × signal, declared in the configuration or learned from what
//! was seen, each with its rhythm: how long it usually takes until more comes. What is silent for many
//! times its rhythm is dark, and an alert says what vanished and when it was last seen, without
//! anybody having written a rule.
//!
//! The one idea: only silence that was watched counts. A start of the server, or a pause of it, begins
//! the count anew, and what arrives late ends a darkness at its arrival: nobody is paged for the past.
//! The room is pure, a state machine on a handed-in clock; who looks at the store, who tells people and
//! who keeps its state is the caller's business.

mod alerts;
mod book;
mod config;
mod metrics;

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
#[cfg(test)]
mod tests;

pub use alerts::{COMMONS_ALERT, SERVICE_ALERT};
pub use book::{Inventory, Item, ItemState, ItemView, Seen};
pub use config::{Config, Expected};
pub use metrics::Metrics;
