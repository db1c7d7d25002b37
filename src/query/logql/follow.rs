//! Following the log: the lines that have come since the last look.

use super::columns::rows_of;
use super::error::LogqlError;
use super::pipeline::{Entry, Pipeline, Wanted};
use super::select::LogLine;
use super::syntax::LogExpr;
use crate::model::Commons;
use arrow::array::RecordBatch;

/// A log query that is asked again and again.
#[derive(Debug)]
pub(in crate::query) struct Follower {
    log: LogExpr,
    pipeline: Pipeline,
}

impl Follower {
    pub(in crate::query) fn new(log: LogExpr, now_ns: i64) -> Result<Self, LogqlError> {
        let pipeline = Pipeline::new(&log, Wanted::All, now_ns)?;
        Ok(Self { log, pipeline })
    }

    /// Returns what of new records comes out of the pipeline, in the order of time, the newest
    /// `n_max` of them, and how many more there were.
    pub(in crate::query) fn take(
        &self,
        batches: &[(Commons, RecordBatch)],
        n_max: usize,
    ) -> (Vec<LogLine>, usize) {
        let mut found = Vec::new();
        for (commons, batch) in batches {
            let (row_of, lines) = rows_of(commons, batch);
            for row in 0..batch.num_rows() {
                let (ts_ns, stream) = row_of(row);
                if !stream.matches(&self.log.matchers) {
                    continue;
                }
                let metadata = lines.metadata(row, &stream);
                let mut entry = Entry::new(ts_ns, lines.body(row), &stream.labels);
                if self.pipeline.run(&mut entry, &metadata) {
                    self.pipeline.complete(&mut entry, &metadata);
                    found.push(LogLine::of(&entry));
                }
            }
        }
        found.sort_by_key(|line| line.ts_ns);
        let n_dropped = found.len().saturating_sub(n_max);
        (found.split_off(n_dropped), n_dropped)
    }
}
