//! One question from its text to its rows, inside a worker.
//!
//! Tokens are counted, the text is parsed, the statement must be a query, the logical plan is
//! walked against the allow-list, parameters are bound, and only then is anything optimised or run.
//! Rows go to a sink batch by batch; what passes the row or byte limit is cut off and said so.

use std::path::PathBuf;
use std::sync::Arc;

use datafusion::arrow::array::{RecordBatch, RecordBatchOptions};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Fields, Schema, SchemaRef};
use datafusion::arrow::error::ArrowError;
use datafusion::common::{DataFusionError, ParamValues, Result, ScalarValue, plan_err};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::execute_stream;
use datafusion::sql::sqlparser::parser::ParserError;
use futures::StreamExt;

use super::context::{self, Parts};
use super::heads::Heads;
use super::promql::Asked;
use super::table::{ScopeFault, store};
use super::{Failure, FailureKind, Param, Truncated, plan, statements, tokens};
use crate::storage::{FileEntry, RealDisk, deletion};

/// A question as a worker gets it.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
pub(crate) struct Question {
    /// The text.
    pub(crate) sql: String,
    /// Values of `$1`, `$2`, …
    pub(crate) params: Vec<Param>,
    /// Every file the caller may read.
    pub(crate) files: Vec<FileEntry>,
    /// Below which they lie.
    pub(crate) data_dir: PathBuf,
    /// Whether `EXPLAIN` is answered.
    pub(crate) may_explain: bool,
    /// What it may cost.
    pub(crate) limits: Limits,
}

/// What a question may cost inside its worker.
#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
pub(crate) struct Limits {
    /// `query.memory`.
    pub(crate) memory_bytes: u64,
    /// `query.rows_max`.
    pub(crate) rows_max: usize,
    /// `query.result_bytes_max`.
    pub(crate) result_bytes_max: usize,
    /// How many threads it is spread over.
    pub(crate) n_partitions: usize,
    /// CPU time after which the kernel ends the process; far past the deadline.
    pub(crate) cpu_secs_max: u64,
}

/// Takes an answer's rows as they come.
pub(crate) trait Sink: Send {
    /// Takes the columns, once, before any row.
    fn schema(&mut self, schema: &SchemaRef) -> impl Future<Output = Result<()>> + Send;

    /// Takes rows and returns how many bytes they are.
    fn rows(&mut self, batch: RecordBatch) -> impl Future<Output = Result<usize>> + Send;
}

/// Answers the question; returns which limit cut the answer off, if one did.
pub(crate) async fn run(
    mut question: Question,
    heads: Arc<dyn Heads>,
    sink: &mut impl Sink,
) -> std::result::Result<Option<Truncated>, Failure> {
    tokens::check(&question.sql).map_err(Failure::refused)?;
    attach_deletions(&mut question)?;
    let store = store(&question.data_dir, &question.files, Arc::clone(&heads)).map_err(failure)?;
    let store = Arc::new(store);
    let mut state = context::session(Parts {
        store: Arc::clone(&store),
        files: &question.files,
        heads,
        memory_bytes: usize::try_from(question.limits.memory_bytes).unwrap_or(usize::MAX),
        n_partitions: question.limits.n_partitions,
    })
    .map_err(failure)?;
    // Without a start there is no `now()`: the planner replaces it by this moment.
    state.mark_start_execution();
    let plan = plan_of(&state, &question).await.map_err(failure)?;
    stream(&state, &plan, &question.limits, sink).await.map_err(|error| {
        // Asked here, because DataFusion and Parquet turn causes into text on their way.
        match (store.damage(), store.away()) {
            (Some((path, reason)), _) => {
                Failure { kind: FailureKind::Damaged { path }, message: reason }
            }
            (None, Some((path, reason))) => {
                Failure { kind: FailureKind::Away { path }, message: reason }
            }
            (None, None) => failure(error),
        }
    })
}

/// Reads which rows of the files are deleted; one of which that is not known is left out.
fn attach_deletions(question: &mut Question) -> std::result::Result<(), Failure> {
    let disk = RealDisk::open_read_only(&question.data_dir);
    let unknown = deletion::attach(&disk, question.files.iter_mut());
    match unknown.into_iter().next() {
        Some((path, message)) => Err(Failure { kind: FailureKind::Damaged { path }, message }),
        None => Ok(()),
    }
}

pub(super) async fn plan_of(state: &SessionState, question: &Question) -> Result<LogicalPlan> {
    let dialect = state.config_options().sql_parser.dialect;
    let statement = state.sql_to_statement(&question.sql, &dialect)?;
    statements::check(&statement)?;
    let plan = state.statement_to_plan(statement).await?;
    plan::check(&plan, question.may_explain)?;
    let values: Vec<ScalarValue> = question.params.iter().map(Param::to_scalar).collect();
    bind(plan, values)
}

fn bind(plan: LogicalPlan, values: Vec<ScalarValue>) -> Result<LogicalPlan> {
    let n_wanted = plan.get_parameter_names()?.len();
    if n_wanted > values.len() {
        return plan_err!(
            "the query has {n_wanted} parameters ($1, $2, …) but {} values came with it",
            values.len()
        );
    }
    if n_wanted == 0 { Ok(plan) } else { plan.with_param_values(ParamValues::from(values)) }
}

async fn stream(
    state: &SessionState,
    plan: &LogicalPlan,
    limits: &Limits,
    sink: &mut impl Sink,
) -> Result<Option<Truncated>> {
    let physical = state.create_physical_plan(plan).await?;
    let mut batches = execute_stream(physical, state.task_ctx())?;
    let schema = plain_schema(&batches.schema());
    check_width(&schema)?;
    sink.schema(&schema).await?;
    let (mut n_rows, mut n_bytes) = (0, 0);
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        let room = limits.rows_max - n_rows;
        let is_over = batch.num_rows() > room;
        let batch = if is_over { batch.slice(0, room) } else { batch };
        let batch = plain(&schema, &batch)?;
        // Cut before it is sent: one row may be hundreds of megabytes.
        let fitting = fitting(&batch, limits.result_bytes_max.saturating_sub(n_bytes))?;
        let is_too_large = fitting.num_rows() < batch.num_rows();
        n_rows += fitting.num_rows();
        if fitting.num_rows() > 0 {
            n_bytes += sink.rows(fitting).await?;
        }
        if is_too_large || n_bytes >= limits.result_bytes_max {
            return Ok(Some(Truncated::Bytes));
        }
        if is_over {
            return Ok(Some(Truncated::Rows));
        }
    }
    Ok(None)
}

/// The most columns of an answer, members of structs counted.
const FIELDS_MAX: usize = 16_384;

/// Refuses an answer whose description alone would fill the server: `struct(v, v)`, nested twenty
/// times, has a million members.
fn check_width(schema: &Schema) -> Result<()> {
    let mut n_left = FIELDS_MAX;
    let mut todo: Vec<_> = schema.fields().iter().collect();
    while let Some(field) = todo.pop() {
        let Some(left) = n_left.checked_sub(1) else {
            return plan_err!("the answer has more than {FIELDS_MAX} columns and members");
        };
        n_left = left;
        match field.data_type() {
            DataType::Struct(fields) => todo.extend(fields),
            DataType::Union(fields, _) => todo.extend(fields.iter().map(|(_, field)| field)),
            DataType::List(inner)
            | DataType::LargeList(inner)
            | DataType::ListView(inner)
            | DataType::LargeListView(inner)
            | DataType::FixedSizeList(inner, _)
            | DataType::Map(inner, _) => todo.push(inner),
            _ => {}
        }
    }
    Ok(())
}

/// Returns the first rows of a batch, as many as fit.
fn fitting(batch: &RecordBatch, bytes_max: usize) -> Result<RecordBatch> {
    let (mut n_fitting, mut n_rows) = (0, batch.num_rows());
    if n_bytes_of(batch)? <= bytes_max {
        return Ok(batch.clone());
    }
    while n_fitting < n_rows {
        let middle = n_fitting + (n_rows - n_fitting).div_ceil(2);
        if n_bytes_of(&batch.slice(0, middle))? <= bytes_max {
            n_fitting = middle;
        } else {
            n_rows = middle - 1;
        }
    }
    Ok(batch.slice(0, n_fitting))
}

fn n_bytes_of(batch: &RecordBatch) -> Result<usize> {
    let mut n_bytes = 0;
    for column in batch.columns() {
        n_bytes += column.to_data().get_slice_memory_size()?;
    }
    Ok(n_bytes)
}

/// Returns the schema with every kind of text as plain text: a dictionary would be sent whole with
/// each batch, however few of its values the batch uses, and text views are new to many clients.
fn plain_schema(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| {
        let data_type = plain_type(field.data_type());
        Arc::new(field.as_ref().clone().with_data_type(data_type))
    });
    Arc::new(Schema::new(fields.collect::<Fields>()))
}

fn plain_type(data_type: &DataType) -> DataType {
    match data_type {
        DataType::Dictionary(_, values) => plain_type(values),
        DataType::Utf8View | DataType::LargeUtf8 => DataType::Utf8,
        other => other.clone(),
    }
}

fn plain(schema: &SchemaRef, batch: &RecordBatch) -> Result<RecordBatch> {
    let columns = schema.fields().iter().zip(batch.columns());
    let columns = columns.map(|(field, column)| cast(column, field.data_type()));
    let columns = columns.collect::<std::result::Result<Vec<_>, _>>()?;
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?)
}

/// Sorts DataFusion's errors by what they ask of the caller.
fn failure(error: DataFusionError) -> Failure {
    if let DataFusionError::External(source) = error.find_root()
        && let Some(Asked(failure)) = source.downcast_ref()
    {
        return failure.clone();
    }
    let root = error.find_root();
    Failure { kind: kind_of(root), message: message_of(root) }
}

fn kind_of(root: &DataFusionError) -> FailureKind {
    match root {
        DataFusionError::ResourcesExhausted(_) => FailureKind::Memory,
        DataFusionError::SQL(..)
        | DataFusionError::Plan(_)
        | DataFusionError::SchemaError(..)
        | DataFusionError::NotImplemented(_)
        | DataFusionError::Configuration(_)
        | DataFusionError::Diagnostic(..) => FailureKind::Refused,
        DataFusionError::ObjectStore(_)
        | DataFusionError::ParquetError(_)
        | DataFusionError::IoError(_) => FailureKind::Internal,
        DataFusionError::ArrowError(error, _)
            if matches!(**error, ArrowError::ParquetError(_) | ArrowError::IoError(..)) =>
        {
            FailureKind::Internal
        }
        // Functions wrap what they do not like in these; a fault of the scope is ours.
        DataFusionError::External(error) if error.is::<ScopeFault>() => FailureKind::Internal,
        _ => FailureKind::Execution,
    }
}

fn message_of(root: &DataFusionError) -> String {
    match root {
        DataFusionError::Internal(message) => {
            // Its text asks people to write to DataFusion.
            let text = message.lines().next().unwrap_or_default();
            format!("the SQL engine met a fault in itself on this query: {text}")
        }
        DataFusionError::Plan(message) | DataFusionError::NotImplemented(message) => {
            message.clone()
        }
        DataFusionError::SQL(error, _)
            if matches!(**error, ParserError::RecursionLimitExceeded) =>
        {
            "the query is nested too deeply: about 45 levels are read".to_owned()
        }
        root => root.strip_backtrace(),
    }
}
