//! `promql('…', start, end, step)`: what PromQL answers, as a table.
//!
//! The samples are in the server, not in the worker, so the server evaluates, over the snapshot that
//! the caller's grant cut and within the question's own time and `query.memory`; the worker only asks
//! for the rows. Its arguments are constants by the time they come here.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::array::{
    ArrayRef, Float64Builder, RecordBatch, StringBuilder, TimestampMillisecondBuilder,
};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{
    DataType, Field, IntervalMonthDayNano, Schema, SchemaRef, TimeUnit,
};
use datafusion::catalog::TableProvider;
use datafusion::catalog::{Session, TableFunction, TableFunctionArgs, TableFunctionImpl};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::physical_plan::{ExecutionPlan, SendableRecordBatchStream};

use super::heads::Heads;
use super::{Failure, FailureKind};
use crate::base::units::parse_duration_ms;
use crate::model::{Labels, SeriesData, json};
use crate::query::promql::{Answer, Value};

/// The function's name.
pub(super) const NAME: &str = "promql";

/// A PromQL question inside a SQL question.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(crate) struct PromqlRequest {
    /// The text.
    pub(crate) query: String,
    /// The first time, ms since 1970 UTC.
    pub(crate) start_ms: i64,
    /// None is later.
    pub(crate) end_ms: i64,
    /// From one to the next; above 0.
    pub(crate) step_ms: i64,
}

/// A failure of the server's, on its way through DataFusion.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{}", .0.message)]
pub(crate) struct Asked(pub(crate) Failure);

/// Returns the columns of the table.
pub(crate) fn schema() -> SchemaRef {
    let time = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let text = |name, is_null| Field::new(name, DataType::Utf8, is_null);
    Arc::new(Schema::new(vec![
        Field::new("timestamp", time, false),
        text("metric", true),
        Field::new("value", DataType::Float64, false),
        text("commons", true),
        text("service", true),
        text("env", true),
        text("cluster", true),
        text("labels", false),
    ]))
}

/// Rows handed on at a time.
const BATCH_ROWS: usize = 16_384;

/// Returns an answer as rows, series after series.
pub(crate) fn rows(answer: Answer) -> std::result::Result<Vec<RecordBatch>, Failure> {
    let series = match answer.value {
        Value::Matrix(series) => series,
        Value::Vector(samples) if samples.iter().all(|sample| sample.histogram.is_none()) => {
            let series = samples.into_iter().map(|sample| SeriesData {
                labels: sample.labels,
                timestamps_ms: vec![sample.timestamp_ms],
                values: vec![sample.value],
                ..SeriesData::default()
            });
            series.collect()
        }
        Value::Scalar { timestamp_ms, value } => vec![SeriesData {
            timestamps_ms: vec![timestamp_ms],
            values: vec![value],
            ..SeriesData::default()
        }],
        Value::Vector(_) => return Err(has_histograms()),
        Value::String { .. } => {
            return Err(Failure::refused(format!("{NAME}(): a text is no table")));
        }
    };
    if series.iter().any(|series| !series.histograms.is_empty()) {
        return Err(has_histograms());
    }
    let mut rows = Rows::default();
    for SeriesData { labels, timestamps_ms, values, .. } in &series {
        let others = others(labels);
        for (ms, value) in timestamps_ms.iter().zip(values) {
            rows.push(labels, &others, *ms, *value);
        }
    }
    Ok(rows.finish())
}

fn has_histograms() -> Failure {
    Failure::refused(format!(
        "{NAME}(): native histograms have no value: take histogram_quantile, histogram_sum, \
         histogram_count or histogram_avg of them"
    ))
}

/// Labels with a column of their own.
const OWN_COLUMNS: [&str; 5] = ["__name__", "commons", "service", "env", "cluster"];

fn others(labels: &Labels) -> String {
    json::object(labels.iter().filter(|(name, _)| !OWN_COLUMNS.contains(name)))
}

/// The rows of an answer.
#[derive(Default)]
struct Rows {
    done: Vec<RecordBatch>,
    timestamps: TimestampMillisecondBuilder,
    values: Float64Builder,
    /// In the order of `OWN_COLUMNS`.
    texts: [StringBuilder; 5],
    others: StringBuilder,
    n_rows: usize,
}

impl Rows {
    fn push(&mut self, labels: &Labels, others: &str, ms: i64, value: f64) {
        self.timestamps.append_value(ms);
        self.values.append_value(value);
        for (column, name) in self.texts.iter_mut().zip(OWN_COLUMNS) {
            column.append_option(labels.get(name).filter(|text| !text.is_empty()));
        }
        self.others.append_value(others);
        self.n_rows += 1;
        if self.n_rows == BATCH_ROWS {
            self.end_batch();
        }
    }

    fn end_batch(&mut self) {
        let [metric, tags @ ..] = &mut self.texts;
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(self.timestamps.finish().with_timezone("UTC")),
            Arc::new(metric.finish()),
            Arc::new(self.values.finish()),
        ];
        columns.extend(tags.iter_mut().map(|column| Arc::new(column.finish()) as ArrayRef));
        columns.push(Arc::new(self.others.finish()));
        let batch = RecordBatch::try_new(schema(), columns);
        self.done.push(batch.expect("the columns are the schema's"));
        self.n_rows = 0;
    }

    fn finish(mut self) -> Vec<RecordBatch> {
        if self.n_rows > 0 {
            self.end_batch();
        }
        self.done
    }
}

/// Returns the function, which asks by way of `heads`.
pub(super) fn function(heads: &Arc<dyn Heads>) -> Arc<TableFunction> {
    let function = Promql { heads: Arc::clone(heads) };
    Arc::new(TableFunction::new(NAME.to_owned(), Arc::new(function)))
}

#[derive(Debug)]
struct Promql {
    heads: Arc<dyn Heads>,
}

const USAGE: &str = "promql('expression', start, end, step)";

impl TableFunctionImpl for Promql {
    fn call_with_args(&self, args: TableFunctionArgs<'_, '_>) -> Result<Arc<dyn TableProvider>> {
        let [query, start, end, step] = args.exprs() else {
            return plan_err!("{USAGE} has four arguments, not {}", args.exprs().len());
        };
        let request = PromqlRequest {
            query: text(query)?,
            start_ms: time_ms(start, "start")?,
            end_ms: time_ms(end, "end")?,
            step_ms: step_ms(step)?,
        };
        if request.end_ms < request.start_ms {
            return plan_err!("{USAGE}: the end is before the start");
        }
        Ok(Arc::new(PromqlTable { heads: Arc::clone(&self.heads), request }))
    }
}

fn constant<'e>(argument: &'e Expr, what: &str) -> Result<&'e ScalarValue> {
    match argument {
        Expr::Literal(value, _) if !value.is_null() => Ok(value),
        _ => {
            plan_err!("{USAGE}: the {what} must be a constant; parameters ($1) are not read there")
        }
    }
}

fn text(argument: &Expr) -> Result<String> {
    match constant(argument, "expression")?.try_as_str() {
        Some(Some(text)) => Ok(text.to_owned()),
        _ => plan_err!("{USAGE}: the expression must be a text"),
    }
}

/// Reads a time: a timestamp, a text that is one, or seconds since 1970.
fn time_ms(argument: &Expr, what: &str) -> Result<i64> {
    let value = constant(argument, what)?;
    if let Some(seconds) = seconds(value) {
        return whole_ms(seconds, what);
    }
    let to = DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into()));
    let read = value.to_array().and_then(|array| Ok(cast(&array, &to)?));
    match read.and_then(|array| ScalarValue::try_from_array(&array, 0)) {
        Ok(ScalarValue::TimestampMillisecond(Some(ms), _)) => Ok(ms),
        _ => plan_err!(
            "{USAGE}: the {what} must be a time, such as now() - INTERVAL '1 hour', \
             '2026-01-02T03:04:05Z' or seconds since 1970"
        ),
    }
}

/// Reads a step: an interval, a text such as `30s`, or seconds.
fn step_ms(argument: &Expr) -> Result<i64> {
    let value = constant(argument, "step")?;
    let ms = match (value, value.try_as_str()) {
        (_, Some(Some(text))) => parse_duration_ms(text).ok(),
        (ScalarValue::IntervalMonthDayNano(Some(interval)), _) => interval_ms(*interval),
        _ => seconds(value).and_then(|seconds| whole_ms(seconds, "step").ok()),
    };
    match ms {
        Some(ms) if ms > 0 => Ok(ms),
        _ => plan_err!(
            "{USAGE}: the step must be longer than 0, such as '30s', INTERVAL '30 seconds' or 30"
        ),
    }
}

fn interval_ms(interval: IntervalMonthDayNano) -> Option<i64> {
    let IntervalMonthDayNano { months, days, nanoseconds } = interval;
    (months == 0).then(|| i64::from(days) * 86_400_000 + nanoseconds / 1_000_000)
}

fn seconds(value: &ScalarValue) -> Option<f64> {
    if !value.data_type().is_numeric() {
        return None;
    }
    match value.cast_to(&DataType::Float64) {
        Ok(ScalarValue::Float64(seconds)) => seconds.filter(|seconds| seconds.is_finite()),
        _ => None,
    }
}

fn whole_ms(seconds: f64, what: &str) -> Result<i64> {
    let ms = (seconds * 1000.0).round();
    if ms.abs() > 9e15 {
        return plan_err!("{USAGE}: the {what} is too large");
    }
    #[expect(clippy::cast_possible_truncation, reason = "a whole number far below 2^63")]
    Ok(ms as i64)
}

/// The table of one call.
#[derive(Debug)]
pub(super) struct PromqlTable {
    heads: Arc<dyn Heads>,
    request: PromqlRequest,
}

#[async_trait]
impl TableProvider for PromqlTable {
    fn schema(&self) -> SchemaRef {
        schema()
    }

    fn table_type(&self) -> TableType {
        TableType::Temporary
    }

    async fn scan(
        &self,
        _: &dyn Session,
        projection: Option<&Vec<usize>>,
        _: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let part = PromqlScan { heads: Arc::clone(&self.heads), request: self.request.clone() };
        let parts: Vec<Arc<dyn PartitionStream>> = vec![Arc::new(part)];
        let plan = StreamingTableExec::try_new(schema(), parts, projection, [], false, limit)?;
        Ok(Arc::new(plan))
    }
}

/// One reading of the table.
#[derive(Debug)]
struct PromqlScan {
    heads: Arc<dyn Heads>,
    request: PromqlRequest,
}

impl PartitionStream for PromqlScan {
    fn schema(&self) -> &SchemaRef {
        static SCHEMA: std::sync::LazyLock<SchemaRef> = std::sync::LazyLock::new(schema);
        &SCHEMA
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = self.heads.promql(self.request.clone());
        Box::pin(RecordBatchStreamAdapter::new(schema(), rows))
    }
}

/// Returns what a failure of PromQL asks of whoever asked SQL.
pub(crate) fn failure(error: &crate::query::promql::PromqlError) -> Failure {
    use crate::base::Kind;
    let kind = match error {
        crate::query::promql::PromqlError::Read(crate::storage::ReadError::Damaged {
            path,
            ..
        }) => FailureKind::Damaged { path: path.clone() },
        crate::query::promql::PromqlError::Read(crate::storage::ReadError::Away {
            path, ..
        }) => FailureKind::Away { path: path.clone() },
        error => match error.kind() {
            Kind::BadInput => FailureKind::Refused,
            Kind::Internal => FailureKind::Internal,
            _ => FailureKind::Execution,
        },
    };
    Failure { kind, message: format!("{NAME}(): {error}") }
}
