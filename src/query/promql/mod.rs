//! PromQL over series.

pub mod value;

pub use value::{Answer, Sample, Value};
