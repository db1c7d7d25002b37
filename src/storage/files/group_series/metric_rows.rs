//! Which rows of a row group are of which metric.
//!
//! A question is mostly about one metric of a hundred. Rows are sorted by metric, so one small column
//! tells where those of it are, and the labels of the others need not be read.

use std::ops::Range;

use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::Int32Type;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};

use super::Fault;
use crate::storage::files::read::Reader;

/// Rows decoded at a time.
const BATCH_ROWS: usize = 65_536;

/// The metrics of a row group, in the order of their rows.
#[derive(Debug, Default)]
pub(super) struct MetricRows {
    each: Vec<(Box<str>, Range<u32>)>,
    n_rows: u32,
    is_ascending: bool,
}

impl MetricRows {
    /// Reads them.
    pub(super) fn read(
        file: &Reader,
        footer: &ArrowReaderMetadata,
        group_idx: usize,
    ) -> Result<Self, Fault> {
        let column = ProjectionMask::columns(footer.parquet_schema(), ["metric"]);
        let reader =
            ParquetRecordBatchReaderBuilder::new_with_metadata(file.clone(), footer.clone())
                .with_row_groups(vec![group_idx])
                .with_projection(column)
                .with_batch_size(BATCH_ROWS)
                .build()?;
        let mut found = Self::default();
        for batch in reader {
            found.take(&batch?)?;
        }
        Ok(found.finish())
    }

    fn take(&mut self, batch: &RecordBatch) -> Result<(), Fault> {
        let column = batch.column(0).as_dictionary_opt::<Int32Type>();
        let column = column.ok_or("the file's metrics are of another kind")?;
        let names = column.values().as_string_opt::<i32>().ok_or("the metrics are no texts")?;
        let mut from = 0;
        for same in column.keys().values().chunk_by(|a, b| a == b) {
            let name = column.key(from).map_or("", |key| names.value(key));
            self.push(name, u32::try_from(same.len())?);
            from += same.len();
        }
        Ok(())
    }

    fn push(&mut self, name: &str, n_rows: u32) {
        let rows = self.n_rows..self.n_rows + n_rows;
        self.n_rows = rows.end;
        match self.each.last_mut() {
            Some((last, of_last)) if **last == *name => of_last.end = rows.end,
            _ => self.each.push((name.into(), rows)),
        }
    }

    fn finish(mut self) -> Self {
        self.each.shrink_to_fit();
        self.is_ascending = self.each.is_sorted_by(|(a, _), (b, _)| a < b);
        self
    }

    /// Returns the rows of each of some metrics, ascending, or `None` when all may as well be read: most
    /// of them are wanted, or the metrics do not ascend, as they do in all files that are written today.
    pub(super) fn of(&self, names: &[String]) -> Option<Vec<Range<u32>>> {
        if !self.is_ascending {
            return None;
        }
        let place = |name: &String| self.each.binary_search_by(|(other, _)| (**other).cmp(name));
        let mut places: Vec<usize> = names.iter().filter_map(|name| place(name).ok()).collect();
        places.sort_unstable();
        places.dedup();
        let found: Vec<Range<u32>> =
            places.into_iter().map(|place| self.each[place].1.clone()).collect();
        let n_wanted: usize = found.iter().map(ExactSizeIterator::len).sum();
        (n_wanted <= self.n_rows as usize / 2).then_some(found)
    }

    /// Returns what they take.
    pub(super) fn n_bytes(&self) -> usize {
        let of_one = |(name, _): &(Box<str>, _)| size_of::<(Box<str>, Range<u32>)>() + name.len();
        size_of::<Self>() + self.each.iter().map(of_one).sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns where the rows of metrics begin and end.
    fn of(metrics: &[(&str, u32)], names: &[&str]) -> Option<Vec<(u32, u32)>> {
        let mut rows = MetricRows::default();
        metrics.iter().for_each(|(name, n_rows)| rows.push(name, *n_rows));
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let found = rows.finish().of(&names)?;
        Some(found.into_iter().map(|rows| (rows.start, rows.end)).collect())
    }

    #[test]
    fn the_rows_of_wanted_metrics_are_found() {
        let metrics = [("a", 3), ("b", 2), ("b", 5), ("c", 100)];

        assert_eq!(of(&metrics, &["b"]), Some(vec![(3, 10)]));
        assert_eq!(of(&metrics, &["b", "a", "b", "z"]), Some(vec![(0, 3), (3, 10)]));
        assert_eq!(of(&metrics, &["", "z"]), Some(vec![]));
    }

    #[test]
    fn all_are_read_when_most_are_wanted_or_the_metrics_do_not_ascend() {
        assert_eq!(of(&[("a", 3), ("b", 4)], &["b"]), None);
        assert_eq!(of(&[("a", 4), ("b", 4)], &["b"]), Some(vec![(4, 8)]));
        assert_eq!(of(&[("b", 3), ("a", 1), ("c", 9)], &["a"]), None);
        assert_eq!(of(&[("a", 3), ("b", 1), ("a", 9)], &["b"]), None);
    }
}
