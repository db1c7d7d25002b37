//! Rows of the `points` table as the messages they came in: what a SQL statement selects, as one
//! `ExportMetricsServiceRequest` that any OTLP receiver takes.

mod otlp;
#[cfg(test)]
mod tests;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message as _;

use crate::model::point;

/// Returns the request; fails when a column of the table is not there.
pub(super) fn export(batches: &[RecordBatch]) -> Result<Vec<u8>, ArrowError> {
    let batches: Result<Vec<_>, _> = batches.iter().map(plain).collect();
    let resource_metrics = otlp::resource_metrics(&batches?);
    Ok(ExportMetricsServiceRequest { resource_metrics }.encode_to_vec())
}

/// Returns the table's columns, texts without a dictionary.
fn plain(batch: &RecordBatch) -> Result<RecordBatch, ArrowError> {
    let schema = point::schema();
    let columns = schema.fields().iter().map(|field| {
        let name = field.name();
        let column = batch.column_by_name(name).ok_or_else(|| {
            ArrowError::SchemaError(format!(
                "points go out as OTLP with all columns, and `{name}` is not there: \
                 SELECT * FROM points"
            ))
        })?;
        let wanted = match field.data_type() {
            DataType::Dictionary(..) => &DataType::Utf8,
            other => other,
        };
        Ok((name.clone(), cast(column, wanted)?))
    });
    RecordBatch::try_from_iter(columns.collect::<Result<Vec<_>, ArrowError>>()?)
}
