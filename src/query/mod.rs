//! A question and a `Grant` become an answer; the only room that knows DataFusion.

pub mod promql;

pub mod answer;
pub mod limits;
mod admission;
mod error;
mod metrics;
mod sql;
mod worker;
