//! A snapshot's files and head rows of one signal, seen as one table.
//!
//! Logs and spans: the files' rows and the head's, one after the other. Metrics: the same, except
//! that sources of one commons whose time ranges meet go through [`DedupeExec`], so that a sample
//! that a retry left in two places is seen once. Which files there are was decided by the server
//! from the caller's scope; every file is of one commons, and its path says so a second time.

use std::collections::BTreeMap;
use std::ops::Range as Rows;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue};
use datafusion::config::TableParquetOptions;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::parquet::ParquetRowSelection;
use datafusion::datasource::physical_plan::{FileGroup, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::parquet::arrow::arrow_reader::RowSelection;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::empty::EmptyExec;
use datafusion::physical_plan::streaming::StreamingTableExec;
use datafusion::physical_plan::union::UnionExec;

use super::dedupe::{DedupeExec, KeyPlaces};
use super::filter::Bounds;
use super::heads::{HeadRange, HeadRequest, HeadScan, Heads};
use super::layout::{COMMONS, Layout};
use super::lines::need_of;
use super::overlap::{self, Range};
use super::store::ReadOnlyStore;
use super::values;
use crate::model::Signal;
use crate::storage::{FileEntry, LineNeed};

/// Where the one object store is registered.
const STORE_URL: &str = "commonwatch://files";
/// Metrics columns that follow from (commons, series, timestamp), so that a condition on them drops
/// either both of two equal samples or none.
const KEY_COLUMNS: &[&str] =
    &["timestamp", "metric", "service", "env", "cluster", "labels", "series_id", COMMONS];

/// Returns the address of the object store.
pub(super) fn store_url() -> ObjectStoreUrl {
    ObjectStoreUrl::parse(STORE_URL).expect("the address is a constant that parses")
}

/// Returns a store of just these files.
pub(super) fn store(
    data_dir: &Path,
    files: &[FileEntry],
    heads: Arc<dyn Heads>,
) -> Result<ReadOnlyStore> {
    Ok(ReadOnlyStore::new(data_dir, files, heads)?)
}

/// A file that is not where a file of its commons must be: the question is not answered.
#[derive(Debug, thiserror::Error)]
#[error("the file {path} is not in the folder {folder}")]
pub(super) struct ScopeFault {
    path: String,
    folder: String,
}

/// One table of one question.
#[derive(Debug)]
pub(super) struct ScopedTable {
    signal: Signal,
    files: Vec<FileEntry>,
    store: Arc<ReadOnlyStore>,
    heads: Arc<dyn Heads>,
    layout: Layout,
}

impl ScopedTable {
    /// Returns the table of a signal over these files and the head.
    pub(super) fn try_new(
        signal: Signal,
        files: &[FileEntry],
        store: Arc<ReadOnlyStore>,
        heads: Arc<dyn Heads>,
    ) -> Result<Self> {
        let mut files: Vec<_> =
            files.iter().filter(|file| file.signal == signal).cloned().collect();
        for file in &files {
            let folder = format!("parquet/{signal}/commons={}/", file.commons);
            if !file.path.starts_with(&folder) {
                let path = file.path.clone();
                return Err(DataFusionError::External(ScopeFault { path, folder }.into()));
            }
        }
        // Names begin with the generation, so this is oldest first.
        files.sort_by(|a, b| file_name(a).cmp(file_name(b)));
        Ok(Self { signal, files, store, heads, layout: Layout::of(signal) })
    }

    async fn sources(&self, scan: &Scan<'_>) -> Result<Vec<Arc<dyn ExecutionPlan>>> {
        let files: Vec<&FileEntry> =
            self.files.iter().filter(|file| scan.bounds.may_hold(file)).collect();
        if self.signal == Signal::Metrics {
            return self.metric_sources(scan, &files).await;
        }
        let files = self.with_rows(scan, files).await?;
        let mut sources = Vec::new();
        if !files.is_empty() {
            sources.push(self.partitions_exec(scan, files, &scan.columns, None)?);
        }
        sources.push(self.head_exec(scan, &scan.columns, None)?);
        Ok(sources)
    }

    /// Returns the files with the rows of each that may be wanted, without those that have none.
    async fn with_rows(
        &self,
        scan: &Scan<'_>,
        files: Vec<&FileEntry>,
    ) -> Result<Vec<PartitionedFile>> {
        let need = match self.signal {
            Signal::Logs => need_of(scan.filters),
            _ => LineNeed::Nothing,
        };
        if need == LineNeed::Nothing {
            return files.into_iter().map(|file| partitioned(file, None)).collect();
        }
        let store = Arc::clone(&self.store);
        let files: Vec<FileEntry> = files.into_iter().cloned().collect();
        let look = move || {
            let rows = files.iter().map(|file| (file.clone(), store.rows_for(file, &need)));
            rows.filter(|(_, rows)| !rows.is_empty()).collect::<Vec<_>>()
        };
        let found = tokio::task::spawn_blocking(look).await;
        let found = found.map_err(|error| DataFusionError::External(error.into()))?;
        found.into_iter().map(|(file, rows)| partitioned(&file, Some(&rows))).collect()
    }

    async fn metric_sources(
        &self,
        scan: &Scan<'_>,
        files: &[&FileEntry],
    ) -> Result<Vec<Arc<dyn ExecutionPlan>>> {
        let heads = self.heads.metric_ranges().await?;
        let mut alone: Vec<&FileEntry> = Vec::new();
        let mut sources = Vec::new();
        for group in by_commons(files, &heads, &scan.bounds).values() {
            let ranges: Vec<Range> = group.iter().map(Source::range).collect();
            for cluster in overlap::clusters(&ranges) {
                let members: Vec<Source<'_>> =
                    cluster.members.iter().map(|&idx| group[idx]).collect();
                match members.as_slice() {
                    [Source::File(file)] => alone.push(file),
                    [Source::Head(head)] => {
                        sources.push(self.head_exec(scan, &scan.columns, Some(head))?);
                    }
                    _ => sources.push(self.dedupe_exec(scan, &members, cluster.shared)?),
                }
            }
        }
        if !alone.is_empty() {
            sources.push(self.files_exec(scan, &alone, &scan.columns, None)?);
        }
        Ok(sources)
    }

    fn dedupe_exec(
        &self,
        scan: &Scan<'_>,
        members: &[Source<'_>],
        shared: Vec<Range>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let mut columns = scan.columns.clone();
        let mut place = |name| -> Result<usize> {
            let column = self.layout.index_of(name)?;
            Ok(columns.iter().position(|&idx| idx == column).unwrap_or_else(|| {
                columns.push(column);
                columns.len() - 1
            }))
        };
        let places = KeyPlaces { timestamp: place("timestamp")?, series_id: place("series_id")? };
        let predicate = self.key_predicate(scan)?;
        let inputs = members.iter().map(|member| match member {
            Source::File(file) => self.files_exec(scan, &[file], &columns, predicate.clone()),
            Source::Head(head) => self.head_exec(scan, &columns, Some(head)),
        });
        let inputs = inputs.collect::<Result<Vec<_>>>()?;
        let n_columns_out = scan.columns.len();
        Ok(Arc::new(DedupeExec::try_new(inputs, Arc::new(shared), places, n_columns_out)?))
    }

    /// Returns those of the scan's conditions that may be checked before equal samples are met.
    fn key_predicate(&self, scan: &Scan<'_>) -> Result<Option<Arc<dyn PhysicalExpr>>> {
        let is_on_key = |filter: &&Expr| {
            filter.column_refs().iter().all(|column| KEY_COLUMNS.contains(&column.name.as_str()))
        };
        let Some(condition) = conjunction(scan.filters.iter().filter(is_on_key).cloned()) else {
            return Ok(None);
        };
        let schema = DFSchema::try_from(Arc::clone(self.layout.in_files.table_schema()))?;
        scan.session.create_physical_expr(condition, &schema).map(Some)
    }

    fn files_exec(
        &self,
        scan: &Scan<'_>,
        files: &[&FileEntry],
        columns: &[usize],
        predicate: Option<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let files = files.iter().map(|file| partitioned(file, None)).collect::<Result<_>>()?;
        self.partitions_exec(scan, files, columns, predicate)
    }

    fn partitions_exec(
        &self,
        scan: &Scan<'_>,
        files: Vec<PartitionedFile>,
        columns: &[usize],
        predicate: Option<Arc<dyn PhysicalExpr>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let options = TableParquetOptions {
            global: scan.session.config_options().execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        let mut source =
            ParquetSource::new(self.layout.in_files.clone()).with_table_parquet_options(options);
        if let Some(predicate) = predicate {
            source = source.with_predicate(predicate);
        }
        let n_groups = scan.session.config().target_partitions().clamp(1, files.len());
        let mut groups = vec![Vec::new(); n_groups];
        for (idx, file) in files.into_iter().enumerate() {
            groups[idx % n_groups].push(file);
        }
        let in_files = self.layout.in_files.table_schema();
        let names = || self.layout.names(columns);
        let to_read = values::to_read(names());
        let is_joined = self.signal == Signal::Metrics && to_read.len() > columns.len();
        let names_read = if is_joined { to_read } else { names().collect() };
        let columns_read = names_read.into_iter().map(|name| in_files.index_of(name));
        let config = FileScanConfigBuilder::new(store_url(), Arc::new(source))
            .with_file_groups(groups.into_iter().map(FileGroup::new).collect())
            .with_projection_indices(Some(columns_read.collect::<Result<_, _>>()?))?
            .build();
        let scan = DataSourceExec::from_data_source(config);
        if is_joined { values::joined(scan, names()) } else { Ok(scan) }
    }

    fn head_exec(
        &self,
        scan: &Scan<'_>,
        columns: &[usize],
        head: Option<&HeadRange>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let schema = self.layout.project(columns)?;
        let mut filter = scan.bounds.head_filter();
        if let Some(head) = head {
            // Samples that came after the ranges were asked for stay out: nobody looked whether
            // files hold them too.
            filter.commons = Some(head.commons.clone());
            filter.min_ns = Some(filter.min_ns.map_or(head.min_ns, |ns| ns.max(head.min_ns)));
            filter.max_ns = Some(filter.max_ns.map_or(head.max_ns, |ns| ns.min(head.max_ns)));
        }
        let columns = schema.fields().iter().map(|field| field.name().clone());
        let request = HeadRequest {
            signal: self.signal,
            filter,
            columns: columns.filter(|name| name != COMMONS).collect(),
        };
        let heads = Arc::clone(&self.heads);
        let part = Arc::new(HeadScan { heads, request, schema: Arc::clone(&schema) });
        Ok(Arc::new(StreamingTableExec::try_new(schema, vec![part], None, [], false, None)?))
    }
}

/// One reading of the table.
struct Scan<'a> {
    session: &'a dyn Session,
    filters: &'a [Expr],
    bounds: Bounds,
    columns: Vec<usize>,
}

#[async_trait]
impl TableProvider for ScopedTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.layout.shown)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let bounds = Bounds::of(filters, self.signal);
        let columns = self.layout.wanted(projection);
        let scan = Scan { session, filters, bounds, columns };
        let mut sources = self.sources(&scan).await?;
        match sources.len() {
            0 => Ok(Arc::new(EmptyExec::new(self.layout.project(&scan.columns)?))),
            1 => Ok(sources.swap_remove(0)),
            _ => UnionExec::try_new(sources),
        }
    }
}

/// A place where samples of one commons are.
#[derive(Debug, Clone, Copy)]
enum Source<'a> {
    File(&'a FileEntry),
    Head(&'a HeadRange),
}

impl Source<'_> {
    fn range(&self) -> Range {
        match self {
            Source::File(file) => (file.min_ns, file.max_ns),
            Source::Head(head) => (head.min_ns, head.max_ns),
        }
    }
}

/// Groups the sources by commons, each group oldest first: files by generation, then the head.
fn by_commons<'a>(
    files: &[&'a FileEntry],
    heads: &'a [HeadRange],
    bounds: &Bounds,
) -> BTreeMap<&'a str, Vec<Source<'a>>> {
    let mut groups: BTreeMap<&str, Vec<Source<'_>>> = BTreeMap::new();
    for &file in files {
        groups.entry(file.commons.as_str()).or_default().push(Source::File(file));
    }
    for head in heads {
        if bounds.covers(head.commons.as_str()) && bounds.overlaps(head.min_ns, head.max_ns) {
            groups.entry(head.commons.as_str()).or_default().push(Source::Head(head));
        }
    }
    groups
}

fn file_name(file: &FileEntry) -> &str {
    file.path.rsplit('/').next().unwrap_or(&file.path)
}

/// Returns a file with its commons, and which of its rows are read when that is not all of them.
fn partitioned(file: &FileEntry, rows: Option<&[Rows<usize>]>) -> Result<PartitionedFile> {
    let text = ScalarValue::Utf8(Some(file.commons.as_str().to_owned()));
    let commons = ScalarValue::Dictionary(Box::new(DataType::Int32), Box::new(text));
    let whole = PartitionedFile::new(file.path.clone(), file.size_bytes)
        .with_partition_values(vec![commons]);
    let n_rows = usize::try_from(file.n_rows).map_err(|e| DataFusionError::External(e.into()))?;
    let selected =
        |rows: &[Rows<usize>]| RowSelection::from_consecutive_ranges(rows.iter().cloned(), n_rows);
    let kept = file.deleted().map(|deleted| selected(&deleted.kept(0..n_rows)));
    let kept = match (kept, rows.map(selected)) {
        (Some(kept), Some(wanted)) => kept.intersection(&wanted),
        (Some(kept), None) | (None, Some(kept)) => kept,
        (None, None) => return Ok(whole),
    };
    Ok(whole.with_extension(ParquetRowSelection::new(kept)))
}
