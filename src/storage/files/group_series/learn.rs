//! Learning the series of a row group: one pass over the columns that tell series apart.

use std::ops::Range;

use arrow::array::{AsArray, DictionaryArray, RecordBatch};
use arrow::datatypes::{Int32Type, TimestampMillisecondType, UInt64Type};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};

use super::{Fault, GroupSeries, Known, Run, SeriesCache};
use crate::model::labels::METRIC_NAME;
use crate::model::{Commons, Labels, json, json_read};
use crate::storage::FileEntry;
use crate::storage::files::read::Reader;

/// Rows decoded at a time.
const BATCH_ROWS: usize = 65_536;
/// What tells series apart, and when they have samples.
const COLUMNS: [&str; 7] =
    ["timestamp", "metric", "service", "env", "cluster", "labels", "series_id"];

/// Which rows to learn the series of.
pub(super) struct Source<'a> {
    pub(super) entry: &'a FileEntry,
    pub(super) group_idx: usize,
    /// Which of its rows; all where there are none.
    pub(super) rows: Option<Range<u32>>,
    pub(super) known: &'a Known<'a>,
}

/// Reads the series of a row group, or of some of its rows.
pub(super) fn read(
    file: &Reader,
    footer: &ArrowReaderMetadata,
    source: &Source<'_>,
    cache: &SeriesCache,
) -> Result<GroupSeries, Fault> {
    let columns = ProjectionMask::columns(footer.parquet_schema(), COLUMNS);
    let mut reader =
        ParquetRecordBatchReaderBuilder::new_with_metadata(file.clone(), footer.clone())
            .with_row_groups(vec![source.group_idx])
            .with_projection(columns)
            .with_batch_size(BATCH_ROWS);
    let mut first_row = 0;
    if let Some(rows) = &source.rows {
        let selectors = [RowSelector::skip(rows.start as usize), RowSelector::select(rows.len())];
        reader = reader.with_row_selection(RowSelection::from_iter(selectors));
        first_row = rows.start;
    }
    let mut learner = Learner { cache, source, runs: Vec::new(), text: String::new(), n_bytes: 0 };
    for batch in reader.build()? {
        let batch = batch?;
        learner.take(&batch, first_row)?;
        first_row += u32::try_from(batch.num_rows())?;
    }
    Ok(GroupSeries::new(learner.runs, learner.n_bytes))
}

/// Reads runs off batches.
struct Learner<'a> {
    cache: &'a SeriesCache,
    source: &'a Source<'a>,
    runs: Vec<Run>,
    text: String,
    /// Of labels that nobody else holds.
    n_bytes: usize,
}

impl Learner<'_> {
    fn take(&mut self, batch: &RecordBatch, first_row: u32) -> Result<(), Fault> {
        let columns = Columns::of(batch)?;
        let n_rows = batch.num_rows();
        let mut from = 0;
        while from < n_rows {
            let end = columns.end_of_run(from);
            let times = &columns.times[from..end];
            let widen = |(min, max): (i64, i64), ms: &i64| (min.min(*ms), max.max(*ms));
            let (min_ms, max_ms) = times.iter().fold((i64::MAX, i64::MIN), widen);
            let n_in_run = u32::try_from(end - from)?;
            let (id, labels) = (columns.ids[from], self.labels(&columns, from));
            match self.runs.last_mut() {
                Some(last) if from == 0 && last.id == id && last.labels == labels => {
                    last.n_rows += n_in_run;
                    last.min_ms = last.min_ms.min(min_ms);
                    last.max_ms = last.max_ms.max(max_ms);
                }
                _ => {
                    let first_row = first_row + u32::try_from(from)?;
                    self.runs.push(Run { labels, id, first_row, n_rows: n_in_run, min_ms, max_ms });
                }
            }
            from = end;
        }
        Ok(())
    }

    /// Returns the labels of a row's series: those that somebody holds already, when they are the same.
    fn labels(&mut self, columns: &Columns<'_>, row: usize) -> Labels {
        let (id, texts) = (columns.ids[row], columns.texts(row));
        if let Some(labels) = (self.source.known)(id).filter(|known| self.is_of(known, &texts)) {
            return labels;
        }
        if let Some(labels) = self.cache.interned(id).filter(|known| self.is_of(known, &texts)) {
            return labels;
        }
        let labels = texts.labels(&self.source.entry.commons);
        self.n_bytes += labels.packed().len() + 16;
        self.cache.intern(id, &labels);
        labels
    }

    /// Returns true when labels are written as these texts.
    fn is_of(&mut self, labels: &Labels, texts: &Texts<'_>) -> bool {
        let commons = &self.source.entry.commons;
        let own = if commons.is_unassigned() { "" } else { commons.as_str() };
        let mut fixed = Texts::default();
        let mut found_commons = "";
        let others = labels.iter().filter(|&(name, value)| {
            match name {
                METRIC_NAME => fixed.metric = value,
                "commons" => found_commons = value,
                "service" => fixed.service = value,
                "env" => fixed.env = value,
                "cluster" => fixed.cluster = value,
                _ => return true,
            }
            false
        });
        self.text.clear();
        json::push_object(&mut self.text, others);
        self.text == texts.others
            && found_commons == own
            && (fixed.metric, fixed.service, fixed.env, fixed.cluster)
                == (texts.metric, texts.service, texts.env, texts.cluster)
    }
}

/// What the columns say of a series.
#[derive(Debug, Clone, Copy, Default)]
struct Texts<'a> {
    metric: &'a str,
    service: &'a str,
    env: &'a str,
    cluster: &'a str,
    /// The other labels, as JSON.
    others: &'a str,
}

impl Texts<'_> {
    fn labels(&self, commons: &Commons) -> Labels {
        let others: Vec<_> = json_read::members(self.others)
            .filter_map(|(name, value)| match json_read::Json::of(value) {
                json_read::Json::Text(text) => Some((name, text)),
                _ => None,
            })
            .collect();
        let mut pairs: Vec<(&str, &str)> =
            others.iter().map(|(name, value)| (name.as_ref(), value.as_ref())).collect();
        pairs.extend([
            (METRIC_NAME, self.metric),
            ("service", self.service),
            ("env", self.env),
            ("cluster", self.cluster),
        ]);
        if !commons.is_unassigned() {
            pairs.push(("commons", commons.as_str()));
        }
        Labels::from_few(&mut pairs)
    }
}

type Texted<'a> = &'a DictionaryArray<Int32Type>;

/// The columns of a batch.
struct Columns<'a> {
    times: &'a [i64],
    ids: &'a [u64],
    metric: Texted<'a>,
    others: Texted<'a>,
    small: [Texted<'a>; 3],
}

impl<'a> Columns<'a> {
    fn of(batch: &'a RecordBatch) -> Result<Self, Fault> {
        let column = |name: &str| batch.column_by_name(name).ok_or("the file lacks a column");
        let text = |name: &str| -> Result<Texted<'a>, Fault> {
            Ok(column(name)?.as_dictionary_opt().ok_or("the file has a column of another kind")?)
        };
        let times = column("timestamp")?.as_primitive_opt::<TimestampMillisecondType>();
        let ids = column("series_id")?.as_primitive_opt::<UInt64Type>();
        Ok(Self {
            times: times.ok_or("the file's times are of another kind")?.values(),
            ids: ids.ok_or("the file's ids are of another kind")?.values(),
            metric: text("metric")?,
            others: text("labels")?,
            small: [text("service")?, text("env")?, text("cluster")?],
        })
    }

    /// Returns the end of the run of rows of one series that begins at a row. Two label sets may share
    /// an id; two keys of one dictionary do not share a text.
    fn end_of_run(&self, from: usize) -> usize {
        let (others, metrics) = (self.others.keys().values(), self.metric.keys().values());
        let (id, other, metric) = (self.ids[from], others[from], metrics[from]);
        let rows = self.ids[from..].iter().zip(&others[from..]).zip(&metrics[from..]);
        from + rows.take_while(|&((a, b), c)| *a == id && *b == other && *c == metric).count()
    }

    fn texts(&self, row: usize) -> Texts<'a> {
        let text = |column: Texted<'a>| {
            column.key(row).map_or("", |key| column.values().as_string::<i32>().value(key))
        };
        let [service, env, cluster] = self.small.map(text);
        Texts { metric: text(self.metric), service, env, cluster, others: text(self.others) }
    }
}
