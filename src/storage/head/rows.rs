//! Log records or spans of one commons in one generation: Arrow batches in arrival order.
//!
//! Requests may bring a row or a thousand. Small neighbours are joined, so that a reader meets few
//! batches, each row being copied a logarithmic number of times at most; large ones stay as they
//! came, since copying them would cost more than any reader gains.

use arrow::array::{Array, RecordBatch, TimestampNanosecondArray};
use arrow::compute::concat_batches;

/// Batches are not joined past this many rows.
const JOINED_ROWS_MAX: usize = 1024;
/// Nor past this size: joining holds both copies, and a column of text has room for 2 GiB.
const JOINED_BYTES_MAX: usize = 8 << 20;

/// A batch with the time it covers.
#[derive(Debug, Clone)]
pub struct RowBatch {
    /// The rows.
    pub batch: RecordBatch,
    /// Earliest row, ns since 1970 UTC.
    pub min_ns: i64,
    /// Latest row, ns since 1970 UTC.
    pub max_ns: i64,
    size_bytes: usize,
}

/// Batches in arrival order.
#[derive(Debug, Default)]
pub struct RowsHead {
    batches: Vec<RowBatch>,
    n_bytes: usize,
}

impl RowsHead {
    /// Appends a batch; its first column is the time that counts.
    pub fn append(&mut self, batch: RecordBatch) {
        if batch.num_rows() == 0 {
            return;
        }
        self.push(with_range(batch));
        while let [.., before, last] = self.batches.as_slice() {
            let n_joined = before.batch.num_rows() + last.batch.num_rows();
            let n_bytes = before.size_bytes + last.size_bytes;
            if n_joined > JOINED_ROWS_MAX || n_bytes > JOINED_BYTES_MAX {
                break;
            }
            if before.batch.num_rows() > 2 * last.batch.num_rows() {
                break;
            }
            let joined = concat_batches(&last.batch.schema(), [&before.batch, &last.batch])
                .expect("both have the signal's schema");
            self.pop();
            self.pop();
            self.push(with_range(joined));
        }
    }

    fn push(&mut self, batch: RowBatch) {
        self.n_bytes += batch.size_bytes;
        self.batches.push(batch);
    }

    fn pop(&mut self) {
        if let Some(batch) = self.batches.pop() {
            self.n_bytes -= batch.size_bytes;
        }
    }

    /// Returns how many rows there are.
    pub fn n_rows(&self) -> usize {
        self.batches.iter().map(|batch| batch.batch.num_rows()).sum()
    }

    /// Returns the batches; cloning one copies no rows.
    pub fn batches(&self) -> &[RowBatch] {
        &self.batches
    }

    /// Returns the memory held.
    pub fn size_bytes(&self) -> usize {
        self.n_bytes
    }
}

fn with_range(batch: RecordBatch) -> RowBatch {
    let times = times_ns(&batch);
    let (min_ns, max_ns) =
        times.iter().fold((i64::MAX, i64::MIN), |(min, max), &ns| (min.min(ns), max.max(ns)));
    let size_bytes = batch.get_array_memory_size();
    RowBatch { min_ns, max_ns, size_bytes, batch }
}

/// Returns the time that counts of each row: a log record's timestamp, a span's start.
pub fn times_ns(batch: &RecordBatch) -> &[i64] {
    let column = batch.column(0).as_any().downcast_ref::<TimestampNanosecondArray>();
    column.expect("both schemas begin with the time that counts").values()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LogRow, LogsBuilder, Tags};

    fn batch(times_ns: &[i64]) -> RecordBatch {
        let mut builder = LogsBuilder::new();
        for &timestamp_ns in times_ns {
            let row = LogRow {
                timestamp_ns,
                body: "x",
                attributes: "{}",
                resource: "{}",
                ..LogRow::default()
            };
            builder.push(&Tags::unassigned(), &row);
        }
        builder.finish()
    }

    #[test]
    fn single_rows_are_joined_in_arrival_order() {
        let mut head = RowsHead::default();

        for ns in 0..1000 {
            head.append(batch(&[ns]));
        }

        assert!(head.batches().len() <= 12, "{}", head.batches().len());
        let times: Vec<i64> =
            head.batches().iter().flat_map(|b| times_ns(&b.batch)).copied().collect();
        assert_eq!(times, (0..1000).collect::<Vec<_>>());
    }

    #[test]
    fn batches_know_their_time() {
        let mut head = RowsHead::default();
        head.append(batch(&[5, 2, 9]));

        assert_eq!((head.batches()[0].min_ns, head.batches()[0].max_ns), (2, 9));
    }
}
