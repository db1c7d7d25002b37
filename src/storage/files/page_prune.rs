//! Which rows of a row group may be wanted, by the index of its pages.
//!
//! Files are sorted by one column and then by time, so the rows of one service are a run, and its
//! newest rows are the end of that run: a few pages of many. The index in the footer has the bounds
//! of every page, so nothing is read to find them.

use std::ops::Range;

use parquet::file::metadata::ParquetMetaData;
use parquet::file::page_index::column_index::ColumnIndexMetaData;

/// The smallest and the largest of some texts, or what lies beyond them: long ones are cut.
pub type Bounds<'b> = (&'b [u8], &'b [u8]);

/// Rows that may be wanted, and the time that they cover.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pruned {
    /// Half-open, sorted, apart from each other.
    pub(super) rows: Vec<Range<usize>>,
    /// Earliest and latest, ns since 1970 UTC.
    pub(super) times: Option<(i64, i64)>,
}

/// Which pages may hold wanted rows.
pub(super) struct PageFilter<'f> {
    /// First and last ns, both included.
    pub(super) times: (i64, i64),
    /// Whether a value of the sort column between two bounds may be wanted; `None` is no value.
    pub(super) sorted_by: &'f dyn Fn(Option<Bounds<'_>>) -> bool,
    /// The sort column's place.
    pub(super) sort_column: Option<usize>,
}

/// Returns the rows of a group that may be wanted, or `None` when its pages have no index.
pub(super) fn prune(
    metadata: &ParquetMetaData,
    group_idx: usize,
    filter: &PageFilter<'_>,
) -> Option<Pruned> {
    let columns = metadata.column_index()?.get(group_idx)?;
    let n_rows = usize::try_from(metadata.row_group(group_idx).num_rows()).ok()?;
    let pages = |column: usize| pages_of(metadata, group_idx, column, n_rows);
    let ColumnIndexMetaData::INT64(times) = columns.first()? else { return None };
    let time_pages = pages(0)?;
    let (first_ns, last_ns) = filter.times;
    let in_time = runs(time_pages.iter().enumerate().map(|(idx, rows)| {
        let is_in = |(min, max): (&i64, &i64)| *min <= last_ns && first_ns <= *max;
        let bounds = times.min_value(idx).zip(times.max_value(idx));
        (rows.clone(), bounds.is_none_or(is_in))
    }));
    let rows = match filter.sort_column.and_then(|c| Some((columns.get(c)?, pages(c)?))) {
        Some((ColumnIndexMetaData::BYTE_ARRAY(values), pages)) => {
            let of_value = runs(pages.iter().enumerate().map(|(idx, rows)| {
                let bounds = values.min_value(idx).zip(values.max_value(idx));
                let has_null = values.null_count(idx).is_none_or(|n| n > 0);
                let is_in = bounds.is_some_and(|bounds| (filter.sorted_by)(Some(bounds)))
                    || (has_null && (filter.sorted_by)(None));
                (rows.clone(), is_in)
            }));
            intersection(&in_time, &of_value)
        }
        _ => in_time,
    };
    let of_rows = time_pages.iter().enumerate().filter(|(_, page)| {
        rows.iter().any(|range| range.start < page.end && page.start < range.end)
    });
    let bounds = of_rows.map(|(idx, _)| times.min_value(idx).zip(times.max_value(idx)));
    let times = bounds.flatten().fold(None, |found: Option<(i64, i64)>, (min, max)| {
        Some(found.map_or((*min, *max), |(low, high)| (low.min(*min), high.max(*max))))
    });
    Some(Pruned { rows, times })
}

/// Rows of one page, and the times that the page covers, ns since 1970 UTC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timed {
    /// Half-open, sorted, apart from each other.
    pub rows: Vec<Range<usize>>,
    /// Earliest.
    pub min_ns: i64,
    /// Latest.
    pub max_ns: i64,
}

/// Returns those of some rows that are in each page of the times, without the pages that have none of
/// them, or `None` when the pages have no index.
pub(super) fn by_page(
    metadata: &ParquetMetaData,
    group_idx: usize,
    rows: &[Range<usize>],
) -> Option<Vec<Timed>> {
    let n_rows = usize::try_from(metadata.row_group(group_idx).num_rows()).ok()?;
    let ColumnIndexMetaData::INT64(times) = metadata.column_index()?.get(group_idx)?.first()?
    else {
        return None;
    };
    let pages = pages_of(metadata, group_idx, 0, n_rows)?;
    let timed = pages.into_iter().enumerate().map(|(idx, page)| {
        let (min_ns, max_ns) = (*times.min_value(idx)?, *times.max_value(idx)?);
        Some(Timed { rows: intersection(std::slice::from_ref(&page), rows), min_ns, max_ns })
    });
    let mut timed = timed.collect::<Option<Vec<_>>>()?;
    timed.retain(|page| !page.rows.is_empty());
    Some(timed)
}

/// Returns the rows of each page of a column.
fn pages_of(
    metadata: &ParquetMetaData,
    group_idx: usize,
    column: usize,
    n_rows: usize,
) -> Option<Vec<Range<usize>>> {
    let pages = metadata.offset_index()?.get(group_idx)?.get(column)?.page_locations();
    let starts = pages.iter().map(|page| usize::try_from(page.first_row_index).ok());
    let starts = starts.collect::<Option<Vec<usize>>>()?;
    let ends = starts.iter().skip(1).copied().chain([n_rows]);
    Some(starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect())
}

/// Joins the ranges that are wanted.
fn runs(pages: impl Iterator<Item = (Range<usize>, bool)>) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (rows, _) in pages.filter(|(rows, is_wanted)| *is_wanted && !rows.is_empty()) {
        match found.last_mut() {
            Some(last) if last.end == rows.start => last.end = rows.end,
            _ => found.push(rows),
        }
    }
    found
}

/// Returns the rows that are in either of two lists of ranges, which are sorted and apart.
pub fn union(left: &[Range<usize>], right: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut all: Vec<&Range<usize>> = left.iter().chain(right).collect();
    all.sort_unstable_by_key(|range| range.start);
    let mut found: Vec<Range<usize>> = Vec::new();
    for range in all {
        match found.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => found.push(range.clone()),
        }
    }
    found
}

/// Returns the rows that are in both lists.
pub fn intersection(left: &[Range<usize>], right: &[Range<usize>]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let (mut left, mut right) = (left.iter().peekable(), right.iter().peekable());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let both = a.start.max(b.start)..a.end.min(b.end);
        if !both.is_empty() {
            found.push(both);
        }
        if a.end < b.end {
            left.next()
        } else {
            right.next()
        };
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "a list of ranges may have one")]
    fn what_both_want_is_wanted() {
        assert_eq!(intersection(&[0..5, 8..12], &[3..9, 11..20]), [3..5, 8..9, 11..12]);
        assert!(intersection(&[0..5], &[5..9]).is_empty());
        let pages = [(0..3, true), (3..6, true), (6..9, false), (9..12, true)];
        assert_eq!(runs(pages.into_iter()), [0..6, 9..12]);
    }
}
