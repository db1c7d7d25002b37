//! Rows that are not yet in files, as a scan asks for them.
//!
//! The head lives in the server and the query in a worker, so a scan asks over the worker's pipe;
//! in tests it asks a list. Batches come one at a time, when the plan has room for the next.

use std::fmt::Debug;
use std::io;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::arrow::array::{
    ArrayRef, DictionaryArray, Int32Array, RecordBatch, RecordBatchOptions, StringArray,
    new_null_array,
};
use datafusion::arrow::datatypes::{Int32Type, SchemaRef};
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::physical_plan::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};

use super::promql::PromqlRequest;
use crate::model::{Commons, Signal};
use crate::storage::HeadFilter;

/// Which of the head's rows and columns a scan wants.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct HeadRequest {
    /// The table.
    pub(crate) signal: Signal,
    /// Which rows, at least.
    pub(crate) filter: HeadFilter,
    /// Names of the columns wanted, the commons not among them.
    pub(crate) columns: Vec<String>,
}

/// The times that the head's samples of one commons span.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct HeadRange {
    /// The commons.
    pub(crate) commons: Commons,
    /// Earliest sample, ns since 1970 UTC.
    pub(crate) min_ns: i64,
    /// Latest sample, ns since 1970 UTC.
    pub(crate) max_ns: i64,
}

/// Bytes of a file that the worker's disk has not.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct FileRequest {
    /// One of the question's files.
    pub(crate) path: String,
    /// The first byte.
    pub(crate) offset: u64,
    /// How many.
    pub(crate) n_bytes: usize,
}

/// A commons' rows with the columns that were asked for.
pub(crate) type HeadRows = (Commons, RecordBatch);

/// Answers scans of the head.
#[async_trait]
pub(crate) trait Heads: Debug + Send + Sync {
    /// Returns the rows, one batch at a time.
    fn read(&self, request: HeadRequest) -> BoxStream<'static, Result<HeadRows>>;

    /// Returns the time range of each commons that has samples in the head.
    async fn metric_ranges(&self) -> Result<Vec<HeadRange>>;

    /// Returns bytes of a file that is in object storage alone; blocks. Where nobody has a way there,
    /// the file is not there.
    fn file_bytes(&self, _: &FileRequest) -> io::Result<Bytes> {
        Err(io::ErrorKind::NotFound.into())
    }

    /// Answers a PromQL question, in the columns of [`super::promql::schema`]. Where there is a head
    /// and nobody who evaluates, it fails.
    fn promql(&self, _: PromqlRequest) -> BoxStream<'static, Result<RecordBatch>> {
        let error = DataFusionError::Plan("promql() is answered by a server only".to_owned());
        stream::once(async { Err(error) }).boxed()
    }
}

/// One scan of the head, as the plan sees it.
#[derive(Debug)]
pub(super) struct HeadScan {
    /// Where rows come from.
    pub(super) heads: Arc<dyn Heads>,
    /// What to ask for.
    pub(super) request: HeadRequest,
    /// The columns to hand on, in order, the commons among them if wanted.
    pub(super) schema: SchemaRef,
}

impl PartitionStream for HeadScan {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let schema = Arc::clone(&self.schema);
        let rows = self.heads.read(self.request.clone());
        let batches = rows.map(move |rows| rows.and_then(|rows| with_commons(&schema, &rows)));
        Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches.into_stream()))
    }
}

/// Puts the columns into the schema's order and adds the commons where the schema has it.
pub(super) fn with_commons(schema: &SchemaRef, (commons, batch): &HeadRows) -> Result<RecordBatch> {
    let columns = schema.fields().iter().map(|field| -> ArrayRef {
        match batch.column_by_name(field.name()) {
            Some(column) => Arc::clone(column),
            None if field.name() == "commons" => constant(commons.as_str(), batch.num_rows()),
            None => new_null_array(field.data_type(), batch.num_rows()),
        }
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns.collect(), &options)?)
}

fn constant(text: &str, n_rows: usize) -> ArrayRef {
    let values = Arc::new(StringArray::from(vec![text]));
    let keys = Int32Array::from(vec![0; n_rows]);
    Arc::new(DictionaryArray::<Int32Type>::new(keys, values))
}
