//! The row groups of a file that matter for a question, and what is known of their series or read now.

use std::ops::Range;
use std::sync::Arc;

use parquet::arrow::arrow_reader::ArrowReaderMetadata;

use super::learn::{self, Source};
use super::metric_rows::MetricRows;
use super::{Fault, Group, GroupSeries, Known, Place, wanted_metric};
use crate::base::shield::shield;
use crate::storage::disk::Disk;
use crate::storage::files::checked::Checked;
use crate::storage::files::deleted::group_starts;
use crate::storage::files::read::{Footers, Reader, fault, may_match};
use crate::storage::{FileEntry, ReadError};

/// Returns what `of` says of each row group of a file that may have something of the metrics that are
/// wanted in the time range.
pub(super) fn each_group<'a, T>(
    disk: &'a dyn Disk,
    footers: &Footers,
    place: &Place<'a>,
    of: impl FnMut(&mut Opened<'a>, &ArrowReaderMetadata, Group) -> Result<T, Fault>,
) -> Result<Vec<T>, ReadError> {
    let entry = place.entry;
    let mut opened = Opened { disk, entry, file: None };
    match shield("parquet", || opened.each_group(footers, place, of)) {
        Ok(Ok(Some(found))) => Ok(found),
        Ok(Ok(None)) => Err(ReadError::Stopped),
        Ok(Err(source)) => Err(fault(&entry.path, &opened.checked(), source)),
        Err(panic) => Err(fault(&entry.path, &opened.checked(), panic.into())),
    }
}

/// A file that is opened when something has to be read of it.
pub(super) struct Opened<'a> {
    disk: &'a dyn Disk,
    entry: &'a FileEntry,
    file: Option<Reader>,
}

impl Opened<'_> {
    fn reader(&mut self) -> Reader {
        let open = || Reader(Arc::new(Checked::open(self.disk, self.entry)));
        self.file.get_or_insert_with(open).clone()
    }

    fn checked(&mut self) -> Arc<Checked> {
        self.reader().0
    }

    /// Returns what is said of each row group that may hold what is wanted; `None` when it was over
    /// before the end.
    fn each_group<T>(
        &mut self,
        footers: &Footers,
        place: &Place<'_>,
        mut of: impl FnMut(&mut Self, &ArrowReaderMetadata, Group) -> Result<T, Fault>,
    ) -> Result<Option<Vec<T>>, Fault> {
        let path = &self.entry.path;
        let footer = match footers.known(path) {
            Some(footer) => footer,
            None => footers.with_places(path, &self.reader())?,
        };
        let names = wanted_metric(place.selection.matchers);
        let starts = group_starts(footer.metadata());
        let mut found = Vec::new();
        for (group_idx, group) in footer.metadata().row_groups().iter().enumerate() {
            if !may_match(group, names, place.selection) {
                continue;
            }
            if (place.is_over)() {
                return Ok(None);
            }
            let group = Group { idx: u32::try_from(group_idx)?, first_row: starts[group_idx] };
            found.push(of(self, &footer, group)?);
        }
        Ok(Some(found))
    }

    /// Returns the series of a row group that may be of the metrics that are wanted, in the order of
    /// their rows: all of it, or those of each metric.
    pub(super) fn parts(
        &mut self,
        footers: &Footers,
        footer: &ArrowReaderMetadata,
        (group_idx, names, known): (u32, Option<&[String]>, &Known<'_>),
    ) -> Result<Vec<Arc<GroupSeries>>, Fault> {
        let path = &self.entry.path;
        let whole = footers.series.kept(path, (group_idx, None));
        let parts = match (&whole, names) {
            (None, Some(names)) => self.metric_rows(footers, footer, group_idx)?.of(names),
            _ => None,
        };
        let Some(parts) = parts else {
            let learn = || self.learn(footers, footer, (group_idx, None, known));
            return Ok(vec![whole.map_or_else(learn, Ok)?]);
        };
        let part = |rows: Range<u32>| match footers.series.kept(path, (group_idx, Some(rows.start)))
        {
            Some(series) => Ok(series),
            None => self.learn(footers, footer, (group_idx, Some(rows), known)),
        };
        parts.into_iter().map(part).collect()
    }

    /// Returns all series of a row group.
    pub(super) fn whole(
        &mut self,
        footers: &Footers,
        footer: &ArrowReaderMetadata,
        (group_idx, known): (u32, &Known<'_>),
    ) -> Result<Arc<GroupSeries>, Fault> {
        match footers.series.kept(&self.entry.path, (group_idx, None)) {
            Some(series) => Ok(series),
            None => self.learn(footers, footer, (group_idx, None, known)),
        }
    }

    fn metric_rows(
        &mut self,
        footers: &Footers,
        footer: &ArrowReaderMetadata,
        group_idx: u32,
    ) -> Result<Arc<MetricRows>, Fault> {
        let place = (self.entry.path.as_str(), group_idx);
        if let Some(rows) = footers.series.metric_rows(place) {
            return Ok(rows);
        }
        let file = self.checked_reader(footers)?;
        let rows = Arc::new(MetricRows::read(&file, footer, group_idx as usize)?);
        footers.series.keep_metric_rows(place, &rows);
        Ok(rows)
    }

    /// Reads the series of a row group, or of some of its rows.
    fn learn(
        &mut self,
        footers: &Footers,
        footer: &ArrowReaderMetadata,
        (group_idx, rows, known): (u32, Option<Range<u32>>, &Known<'_>),
    ) -> Result<Arc<GroupSeries>, Fault> {
        let file = self.checked_reader(footers)?;
        let part = (group_idx, rows.as_ref().map(|rows| rows.start));
        let source = Source { entry: self.entry, group_idx: group_idx as usize, rows, known };
        let series = Arc::new(learn::read(&file, footer, &source, &footers.series)?);
        footers.series.keep((&self.entry.path, part), &series);
        Ok(series)
    }

    /// Returns a reader that knows the checksums of the file's blocks.
    fn checked_reader(&mut self, footers: &Footers) -> Result<Reader, Fault> {
        let file = self.reader();
        footers.with_places(&self.entry.path, &file)?;
        Ok(file)
    }
}
