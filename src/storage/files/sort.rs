//! The order of rows in log and span files.
//!
//! Only row numbers are sorted; rows are gathered into batches of a few thousand afterwards, so a
//! generation is never copied whole.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::compute::interleave_record_batch;
use arrow::datatypes::Int32Type;

use super::path::day_of_ns;
use crate::model::Signal;
use crate::storage::head::rows::{RowBatch, times_ns};

/// Rows gathered at a time, at most: enough that joining the sources' dictionaries, once a gathering,
/// costs little beside the rows.
const GATHER_ROWS: usize = 16_384;
/// Bytes gathered at a time, by the average row: lines may have 256 KiB.
const GATHER_BYTES: usize = 8 << 20;

/// Returns how many rows of `n_bytes` in `n_rows` are gathered at a time.
pub fn rows_at_a_time(n_rows: usize, n_bytes: usize) -> usize {
    let row_bytes = (n_bytes / n_rows.max(1)).max(1);
    (GATHER_BYTES / row_bytes).clamp(1, GATHER_ROWS)
}

/// Where a row stands: its batch and its place there.
type Place = (usize, usize);

/// Returns the rows' places by day, sorted as files of the signal are: logs by (service, time),
/// spans by (trace, time), exemplars by (metric, time), ties in arrival order.
pub fn by_day(signal: Signal, batches: &[RowBatch]) -> BTreeMap<i32, Vec<Place>> {
    let mut days: BTreeMap<i32, Vec<(&str, i64, Place)>> = BTreeMap::new();
    for (batch_idx, RowBatch { batch, .. }) in batches.iter().enumerate() {
        let texts = sort_texts(signal, batch);
        for (row_idx, (&ns, text)) in times_ns(batch).iter().zip(texts).enumerate() {
            days.entry(day_of_ns(ns)).or_default().push((text, ns, (batch_idx, row_idx)));
        }
    }
    let mut sorted = BTreeMap::new();
    for (day, mut rows) in days {
        rows.sort_unstable(); // The place makes it stable.
        sorted.insert(day, rows.into_iter().map(|(.., place)| place).collect());
    }
    sorted
}

/// Returns the column that files of the signal are sorted by before time.
pub fn sort_column(signal: Signal, batch: &RecordBatch) -> &ArrayRef {
    let name = match signal {
        Signal::Spans => "trace_id",
        Signal::Exemplars => "metric",
        Signal::Logs | Signal::Metrics => "service",
    };
    batch.column_by_name(name).expect("both schemas have their sort column")
}

fn sort_texts(signal: Signal, batch: &RecordBatch) -> Vec<&str> {
    let column = sort_column(signal, batch);
    if let Some(dictionary) = column.as_dictionary_opt::<Int32Type>() {
        let values = dictionary.values().as_string::<i32>();
        let text = |key: Option<usize>| key.map_or("", |key| values.value(key));
        return (0..dictionary.len()).map(|row| text(dictionary.key(row))).collect();
    }
    column.as_string::<i32>().iter().map(Option::unwrap_or_default).collect()
}

/// Gathers rows into batches.
pub fn gather<'a>(
    batches: &'a [RowBatch],
    places: &'a [Place],
    n_rows: usize,
) -> impl Iterator<Item = RecordBatch> + 'a {
    let sources: Vec<&RecordBatch> = batches.iter().map(|b| &b.batch).collect();
    places.chunks(n_rows).map(move |places| {
        interleave_record_batch(&sources, places).expect("all batches have the signal's schema")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LogRow, LogsBuilder, Tags};
    use crate::storage::head::rows::RowsHead;
    use std::sync::Arc;

    #[test]
    fn long_lines_are_gathered_few_at_a_time() {
        assert_eq!(rows_at_a_time(1_000, 100_000), GATHER_ROWS);
        assert_eq!(rows_at_a_time(4_000, 4_000 << 18), 32);
        assert_eq!(rows_at_a_time(1, 64 << 20), 1);
        assert_eq!(rows_at_a_time(0, 0), GATHER_ROWS);
    }

    #[test]
    fn logs_are_sorted_by_service_and_time_within_their_day() {
        let mut builder = LogsBuilder::new();
        let day_ns = super::super::path::DAY_NS;
        for (service, ns) in [("b", 1), ("a", 9), ("b", day_ns), ("a", 3)] {
            let tags = Tags { service: Some(Arc::from(service)), ..Tags::unassigned() };
            let row = LogRow {
                timestamp_ns: ns,
                body: "x",
                attributes: "{}",
                resource: "{}",
                ..LogRow::default()
            };
            builder.push(&tags, &row);
        }
        let mut head = RowsHead::default();
        head.append(builder.finish());

        let days = by_day(Signal::Logs, head.batches());

        assert_eq!(days[&0], [(0, 3), (0, 1), (0, 0)]);
        assert_eq!(days[&1], [(0, 2)]);
        let gathered: Vec<_> = gather(head.batches(), &days[&0], 8192).collect();
        assert_eq!(times_ns(&gathered[0]), [3, 9, 1]);
    }
}
