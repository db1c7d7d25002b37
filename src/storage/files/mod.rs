//! Parquet files: one commons and one day of one signal each.
//!
//! Their schemas are those of `model`, documented in `docs/file-formats.md`; the commons and the day
//! are in the path. Rows are sorted for the queries that come: metrics by (metric, labels, time),
//! logs by (service, time), spans by (trace, time).

pub mod checked;
pub mod columns;
pub mod grams;
pub mod group_series;
#[cfg(test)]
pub(in crate::storage) mod held_rows;
pub mod deleted;
mod footers;
pub mod metrics_rows;
pub mod of_groups;
pub mod page_prune;
pub mod path;
mod properties;
pub mod read;
pub mod read_columns;
pub mod read_histograms;
pub mod read_runs;
pub mod read_spans;
pub mod recent_series;
pub mod rows_read;
pub mod sample_cache;
pub mod series_order;
pub mod sift_spans;
pub mod sort;
pub mod stream_rows;
pub mod write;
