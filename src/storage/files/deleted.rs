//! Rows of a file that were deleted and whose bytes are still in it.
//!
//! A file never changes, so a deletion is a list of row numbers beside it. Every reader of a file
//! asks [`kept_rows`], or [`DeletedRows::kept`] of one row group, and what is not kept is neither
//! decoded nor counted; so no dialect can forget to ask. Merging reads the same way, which is when
//! the bytes go.

use std::ops::Range;
use std::sync::Arc;

use parquet::arrow::arrow_reader::RowSelection;
use parquet::file::metadata::ParquetMetaData;

use crate::storage::FileEntry;

/// Numbers of rows of one file, as ranges that are sorted and apart from each other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeletedRows {
    ranges: Vec<Range<usize>>,
    n_rows: usize,
}

impl DeletedRows {
    /// Adds rows behind all others; returns false when they are not behind.
    pub fn push(&mut self, rows: Range<usize>) -> bool {
        if rows.is_empty() {
            return true;
        }
        match self.ranges.last_mut() {
            Some(last) if rows.start < last.end => return false,
            Some(last) if rows.start == last.end => last.end = rows.end,
            _ => self.ranges.push(rows.clone()),
        }
        self.n_rows += rows.len();
        true
    }

    /// Returns the ranges.
    pub fn ranges(&self) -> &[Range<usize>] {
        &self.ranges
    }

    /// Returns the number of rows.
    pub fn n_rows(&self) -> usize {
        self.n_rows
    }

    /// Returns true when there is no row.
    pub fn is_empty(&self) -> bool {
        self.n_rows == 0
    }

    /// Returns the rows that are in any of several lists.
    pub fn union<'a>(all: impl Iterator<Item = &'a Self>) -> Self {
        let mut ranges: Vec<Range<usize>> =
            all.flat_map(|one| one.ranges.iter().cloned()).collect();
        ranges.sort_unstable_by_key(|range| range.start);
        let mut union = Self::default();
        for range in ranges {
            let known = union.ranges.last().map_or(0, |last| last.end);
            union.push(range.start.max(known)..range.end.max(known));
        }
        union
    }

    /// Returns how many of these rows are not in another list.
    pub fn n_not_in(&self, other: &Self) -> usize {
        Self::union([self, other].into_iter()).n_rows - other.n_rows
    }

    /// Returns the rows of a stretch of the file that are left, counted from its beginning.
    pub fn kept(&self, stretch: Range<usize>) -> Vec<Range<usize>> {
        let first = self.ranges.partition_point(|range| range.end <= stretch.start);
        let mut kept = Vec::new();
        let mut at = stretch.start;
        for range in self.ranges[first..].iter().take_while(|range| range.start < stretch.end) {
            if at < range.start {
                kept.push(at - stretch.start..range.start - stretch.start);
            }
            at = range.end.min(stretch.end);
        }
        if at < stretch.end {
            kept.push(at - stretch.start..stretch.end - stretch.start);
        }
        kept
    }
}

/// What a process knows of a live file beside what the manifest says: who holds it, and which of its
/// rows are deleted. It is not a part of what the file is, so it makes no two entries different.
#[derive(Debug, Clone, Default)]
pub struct Live {
    held: Arc<()>,
    by_deletion: Vec<(u64, Arc<DeletedRows>)>,
    deleted: Option<Arc<DeletedRows>>,
}

impl PartialEq for Live {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Live {
    /// Returns a token that all entries of this file have in common. While there are others than the
    /// caller's, somebody may still read the file.
    pub fn token(&self) -> Arc<()> {
        Arc::clone(&self.held)
    }

    fn refresh(mut self) -> Self {
        let all = self.by_deletion.iter().map(|(_, rows)| &**rows);
        let union = DeletedRows::union(all);
        self.deleted = (!union.is_empty()).then(|| Arc::new(union));
        self
    }
}

impl FileEntry {
    /// Returns the rows that are deleted; `None` when none is.
    pub fn deleted(&self) -> Option<&DeletedRows> {
        self.live.deleted.as_deref()
    }

    /// Returns how many rows are not deleted.
    pub fn n_rows_kept(&self) -> u64 {
        self.n_rows.saturating_sub(self.deleted().map_or(0, |rows| rows.n_rows as u64))
    }

    /// Returns the entry with the rows of a deletion, which the manifest lists from then on.
    #[must_use]
    pub fn with_deletion(&self, id: u64, rows: Arc<DeletedRows>) -> Self {
        let mut entry = self.clone();
        entry.attach(id, rows);
        if !entry.deletions.contains(&id) {
            entry.deletions.push(id);
        }
        entry
    }

    /// Takes the rows of a deletion that the entry lists.
    pub fn attach(&mut self, id: u64, rows: Arc<DeletedRows>) {
        let mut live = std::mem::take(&mut self.live);
        live.by_deletion.retain(|(known, _)| *known != id);
        live.by_deletion.push((id, rows));
        self.live = live.refresh();
    }

    /// Returns the entry as if a deletion had never been.
    #[must_use]
    pub fn without_deletion(&self, id: u64) -> Self {
        let mut entry = self.clone();
        entry.deletions.retain(|known| *known != id);
        entry.live.by_deletion.retain(|(known, _)| *known != id);
        entry.live = entry.live.refresh();
        entry
    }

    /// Returns the rows of each deletion, by its id.
    pub fn by_deletion(&self) -> &[(u64, Arc<DeletedRows>)] {
        &self.live.by_deletion
    }
}

/// Returns the rows of some row groups that are left, as one selection over all of them; `None` when
/// nothing of the file is deleted.
pub fn kept_rows(
    entry: &FileEntry,
    metadata: &ParquetMetaData,
    groups: &[usize],
) -> Option<RowSelection> {
    let deleted = entry.deleted()?;
    let starts = group_starts(metadata);
    let (mut kept, mut n_before) = (Vec::new(), 0);
    for &group in groups {
        let stretch = starts[group]..starts[group + 1];
        let rows = deleted.kept(stretch.clone()).into_iter();
        kept.extend(rows.map(|rows| n_before + rows.start..n_before + rows.end));
        n_before += stretch.len();
    }
    Some(RowSelection::from_consecutive_ranges(kept.into_iter(), n_before))
}

/// Returns the number of the first row of each row group, and behind them the number of all rows.
pub fn group_starts(metadata: &ParquetMetaData) -> Vec<usize> {
    let mut starts = vec![0];
    for group in metadata.row_groups() {
        let n_rows = usize::try_from(group.num_rows()).unwrap_or(0);
        starts.push(starts[starts.len() - 1] + n_rows);
    }
    starts
}

#[cfg(test)]
#[expect(clippy::single_range_in_vec_init, reason = "a list of ranges may have one")]
mod tests {
    use super::*;

    fn rows(ranges: &[Range<usize>]) -> DeletedRows {
        let mut rows = DeletedRows::default();
        assert!(ranges.iter().all(|range| rows.push(range.clone())));
        rows
    }

    #[track_caller]
    fn check_kept(deleted: &[Range<usize>], stretch: Range<usize>, kept: &[Range<usize>]) {
        assert_eq!(rows(deleted).kept(stretch), kept, "{deleted:?}");
    }

    #[test]
    fn what_is_not_deleted_is_kept() {
        check_kept(&[], 0..10, &[0..10]);
        check_kept(&[3..5], 0..10, &[0..3, 5..10]);
        check_kept(&[0..4, 9..12], 0..10, &[4..9]);
        check_kept(&[0..30], 10..20, &[]);
        check_kept(&[5..12, 14..15], 10..20, &[2..4, 5..10]);
        check_kept(&[0..5, 90..99], 10..20, &[0..10]);
    }

    #[test]
    fn rows_only_come_behind_each_other() {
        let mut some = rows(&[2..4, 4..6]);

        assert_eq!((some.ranges(), some.n_rows()), (&[2..6][..], 4));
        assert!(!some.push(5..9) && some.push(7..7) && some.push(9..10));
        assert_eq!(some.n_rows(), 5);
    }

    #[test]
    fn a_union_counts_each_row_once() {
        let (a, b) = (rows(&[0..4, 8..10]), rows(&[2..6, 7..8, 9..12]));

        let both = DeletedRows::union([&a, &b].into_iter());

        assert_eq!(both, rows(&[0..6, 7..12]));
        assert_eq!((b.n_not_in(&a), a.n_not_in(&b), a.n_not_in(&both)), (5, 3, 0));
    }
}
