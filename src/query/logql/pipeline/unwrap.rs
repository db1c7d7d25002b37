//! `| unwrap`: a label's value becomes the sample.

use super::super::syntax::ast::{Conversion, Unwrap};
use super::super::units::{parse_bytes, parse_duration_ns};
use super::label_filter::{self, parse_float};
use super::{Entry, Pipeline};

/// What one line gives a metric query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) enum Sample {
    /// Itself.
    Line,
    /// A value.
    Value(f64),
}

/// A compiled `unwrap` with the filters behind it.
#[derive(Debug)]
pub(super) struct Compiled {
    label: String,
    conversion: Conversion,
    pub(super) filters: Vec<label_filter::Compiled>,
}

/// The `__error__` of a value that is not a number.
const SAMPLE_EXTRACTION: &str = "SampleExtractionErr";

impl Compiled {
    pub(super) fn new(unwrap: &Unwrap) -> Self {
        let Unwrap { label, conversion } = unwrap.clone();
        Self { label, conversion, filters: Vec::new() }
    }

    /// Returns the line's value; the label that had it is gone from the series.
    pub(super) fn run(&self, entry: &mut Entry<'_>, _: &Pipeline) -> Option<Sample> {
        // What a line leaves empty it does not have.
        let text = entry.fields.get(&self.label).filter(|text| !text.is_empty())?;
        let value = convert(text, self.conversion);
        let value = value.unwrap_or_else(|details| {
            entry.fields.fail(SAMPLE_EXTRACTION, details);
            0.0
        });
        if !self.filters.iter().all(|filter| filter.keeps(entry)) {
            return None;
        }
        if entry.fields.error().is_none() {
            entry.fields.remove(&self.label);
        }
        Some(Sample::Value(value))
    }
}

fn convert(text: &str, conversion: Conversion) -> Result<f64, String> {
    match conversion {
        Conversion::None => parse_float(text),
        Conversion::Duration => parse_duration_ns(text)
            .map(|ns| ns as f64 / 1e9)
            .ok_or_else(|| format!("time: invalid duration {text:?}")),
        Conversion::Bytes => parse_bytes(text)
            .map(|n_bytes| n_bytes as f64)
            .ok_or_else(|| format!("unhandled size name: {text:?}")),
    }
}
