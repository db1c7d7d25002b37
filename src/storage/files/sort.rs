//! The order of rows in log and span files.
//!
//! Only row numbers are sorted, by numbers that stand for the texts; the rows themselves are copied
//! once, from their batches into the file's pages.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, RecordBatch, StringArray};
use arrow::datatypes::Int32Type;
use hashbrown::HashMap;

use super::path::day_of_ns;
use crate::model::Signal;
use crate::storage::head::rows::{RowBatch, times_ns};

/// Rows gathered at a time, at most: enough that what is done once a gathering costs little beside the
/// rows.
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

/// A row as it is sorted: what stands for its text, its time, its batch and its place there.
type Row = (u64, i64, u32, u32);

/// Returns the rows' places by day, sorted as files of the signal are: logs by (service, time),
/// spans by (trace, time), exemplars and points by (metric, time), ties in arrival order.
pub fn by_day(signal: Signal, batches: &[RowBatch]) -> BTreeMap<i32, Vec<Place>> {
    let keys = Keys::of(signal, batches);
    let mut days: BTreeMap<i32, Vec<Row>> = BTreeMap::new();
    for (batch_idx, RowBatch { batch, .. }) in batches.iter().enumerate() {
        let batch_number = u32::try_from(batch_idx).expect("far fewer batches than 2^32");
        let mut row_number = 0;
        for run in times_ns(batch).chunk_by(|a, b| day_of_ns(*a) == day_of_ns(*b)) {
            let rows = days.entry(day_of_ns(run[0])).or_default();
            rows.extend((row_number..).zip(run).map(|(row_number, &ns)| {
                (keys.get(batch_idx, row_number as usize), ns, batch_number, row_number)
            }));
            row_number += u32::try_from(run.len()).expect("a batch has fewer rows than 2^32");
        }
    }
    let sorted = days.into_iter().map(|(day, mut rows)| {
        rows.sort_unstable(); // The place makes it stable.
        keys.settle(&mut rows);
        let place = |(.., batch, row): &Row| (*batch as usize, *row as usize);
        (day, rows.iter().map(place).collect())
    });
    sorted.collect()
}

/// Returns the column that files of the signal are sorted by before time.
pub fn sort_column(signal: Signal, batch: &RecordBatch) -> &ArrayRef {
    let name = match signal {
        Signal::Spans => "trace_id",
        Signal::Exemplars | Signal::Points => "metric",
        Signal::Logs | Signal::Metrics => "service",
    };
    batch.column_by_name(name).expect("both schemas have their sort column")
}

/// Numbers that are in the order of the texts that rows are sorted by.
enum Keys<'a> {
    /// The texts repeat: the place of each among all of them.
    Ranks(Vec<Ranks<'a>>),
    /// They do not: each one's first bytes, which may be those of several.
    Beginnings(Vec<&'a StringArray>),
}

struct Ranks<'a> {
    column: &'a DictionaryArray<Int32Type>,
    rank_of: Vec<u64>,
}

impl<'a> Keys<'a> {
    fn of(signal: Signal, batches: &'a [RowBatch]) -> Self {
        let columns = || batches.iter().map(|batch| sort_column(signal, &batch.batch));
        if columns().all(|column| column.as_dictionary_opt::<Int32Type>().is_none()) {
            return Keys::Beginnings(columns().map(|column| column.as_string()).collect());
        }
        let columns: Vec<_> = columns().map(|column| column.as_dictionary()).collect();
        let texts =
            |column: &&'a DictionaryArray<Int32Type>| column.values().as_string::<i32>().iter();
        let mut all: Vec<&str> = columns.iter().flat_map(texts).flatten().collect();
        all.sort_unstable();
        all.dedup();
        // No text at all sorts with the empty one, as 0.
        let rank = |text: &str| if text.is_empty() { 0 } else { 1 };
        let rank_of: HashMap<&str, u64> =
            all.iter().zip(1..).map(|(&text, number)| (text, rank(text) * number)).collect();
        let ranks = columns.into_iter().map(|column| Ranks {
            column,
            rank_of: texts(&column).map(|text| text.map_or(0, |text| rank_of[text])).collect(),
        });
        Keys::Ranks(ranks.collect())
    }

    fn get(&self, batch_idx: usize, row_idx: usize) -> u64 {
        match self {
            Keys::Ranks(batches) => {
                let Ranks { column, rank_of } = &batches[batch_idx];
                column.key(row_idx).map_or(0, |key| rank_of[key])
            }
            Keys::Beginnings(batches) => {
                let text = text_at(batches[batch_idx], row_idx).as_bytes();
                let mut first = [0; 8];
                let n = text.len().min(8);
                first[..n].copy_from_slice(&text[..n]);
                u64::from_be_bytes(first)
            }
        }
    }

    /// Puts sorted rows in order whose texts begin alike and are not the same.
    fn settle(&self, rows: &mut [Row]) {
        let Keys::Beginnings(batches) = self else { return };
        let text = |row: &Row| text_at(batches[row.2 as usize], row.3 as usize);
        for rows in rows.chunk_by_mut(|a, b| a.0 == b.0) {
            let first = text(&rows[0]);
            if rows[1..].iter().any(|row| text(row) != first) {
                rows.sort_unstable_by_key(|row| (text(row), *row));
            }
        }
    }
}

fn text_at(column: &StringArray, row_idx: usize) -> &str {
    if column.is_null(row_idx) { "" } else { column.value(row_idx) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::model::{LogRow, LogsBuilder, SpanRow, SpansBuilder, Tags};
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
    }

    fn spans(rows: &[(&str, i64)]) -> RecordBatch {
        let mut builder = SpansBuilder::new();
        for &(trace_id, start_ns) in rows {
            let row = SpanRow { trace_id, start_ns, ..SpanRow::default() };
            builder.push(&Tags::unassigned(), &row);
        }
        builder.finish()
    }

    proptest! {
        #[test]
        fn spans_are_sorted_by_trace_and_time_however_their_ids_begin(
            rows in proptest::collection::vec(("[ab]{0,3}|same-first-eight-[ab]", 0..3_i64), 1..80),
            n_in_batch in 1..30_usize,
        ) {
            let rows: Vec<(&str, i64)> = rows.iter().map(|(id, ns)| (id.as_str(), *ns)).collect();
            let mut head = RowsHead::default();
            rows.chunks(n_in_batch).for_each(|rows| head.append(spans(rows)));

            let days = by_day(Signal::Spans, head.batches());

            let row = |&(batch, row): &Place| {
                let batch = &head.batches()[batch].batch;
                let ids = sort_column(Signal::Spans, batch).as_string::<i32>();
                (ids.value(row).to_owned(), times_ns(batch)[row])
            };
            let got: Vec<_> = days[&0].iter().map(row).collect();
            let mut want: Vec<_> = rows.iter().map(|(id, ns)| ((*id).to_owned(), *ns)).collect();
            want.sort();
            prop_assert_eq!(got, want);
            let mut places = days[&0].clone();
            places.sort_unstable();
            places.dedup();
            prop_assert_eq!(places.len(), rows.len());
        }
    }
}
