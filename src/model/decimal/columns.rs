//! Batches of rows become batches of a file, and back.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Float64Builder, Int32Array, Int64Array, Int64Builder,
    RecordBatch,
};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Schema, SchemaRef, UInt64Type};

use super::{DIGITS, DOUBLE, SCALE, VALUE, digits, scale_of, value_of};

/// The columns of a file in place of the values.
fn file_fields() -> [FieldRef; 3] {
    [
        Field::new(DIGITS, DataType::Int64, true),
        Field::new(SCALE, DataType::Int32, false),
        Field::new(DOUBLE, DataType::Float64, true),
    ]
    .map(Arc::new)
}

/// Returns the columns of a file that holds rows of these columns.
pub fn file_schema(rows: &Schema) -> SchemaRef {
    let fields = rows.fields().iter().flat_map(|field| match field.name().as_str() {
        VALUE => file_fields().to_vec(),
        _ => vec![Arc::clone(field)],
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Returns the columns of the rows in a file of these columns. Files of before values were decimals
/// have those of their rows.
pub fn rows_schema(file: &Schema) -> SchemaRef {
    let fields = file.fields().iter().filter_map(|field| match field.name().as_str() {
        DIGITS => Some(Arc::new(Field::new(VALUE, DataType::Float64, false))),
        SCALE | DOUBLE => None,
        _ => Some(Arc::clone(field)),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

/// Returns rows as a file of `schema` holds them. A series' rows share a scale, so they should stand
/// together.
///
/// # Panics
/// Panics when the rows have no column of values or of series ids.
pub fn to_file(rows: &RecordBatch, schema: &SchemaRef) -> RecordBatch {
    let at = rows.schema_ref().index_of(VALUE).expect("metrics have values");
    let values = rows.column(at).as_primitive::<Float64Type>().values();
    let ids = rows.column_by_name("series_id").expect("metrics have series");
    let mut split = Split::with_capacity(values.len());
    let mut from = 0;
    for run in ids.as_primitive::<UInt64Type>().values().chunk_by(|a, b| a == b) {
        split.push(&values[from..from + run.len()]);
        from += run.len();
    }
    let mut columns = rows.columns().to_vec();
    columns.splice(at..=at, split.finish());
    RecordBatch::try_new(Arc::clone(schema), columns).expect("three columns took the place of one")
}

/// Values on their way into three columns.
struct Split {
    digits: Int64Builder,
    scales: Vec<i32>,
    doubles: Float64Builder,
    /// Digits of the series under way.
    run: Vec<i64>,
}

impl Split {
    fn with_capacity(n: usize) -> Self {
        let (digits, doubles) = (Int64Builder::with_capacity(n), Float64Builder::with_capacity(n));
        Self { digits, scales: Vec::with_capacity(n), doubles, run: Vec::new() }
    }

    fn push(&mut self, values: &[f64]) {
        let Some(scale) = scale_of(values) else {
            self.digits.append_nulls(values.len());
            self.doubles.append_slice(values);
            return self.scales.resize(self.scales.len() + values.len(), 0);
        };
        self.run.clear();
        self.run.extend(values.iter().map_while(|&value| digits(value, scale)));
        self.digits.append_slice(&self.run);
        self.doubles.append_nulls(self.run.len());
        let as_scale = i32::try_from(scale).expect("scales are below ten");
        self.scales.resize(self.scales.len() + self.run.len(), as_scale);
        // From the first special value on, each on its own.
        for &value in &values[self.run.len()..] {
            let digits = digits(value, scale);
            self.digits.append_option(digits);
            self.doubles.append_option(digits.is_none().then_some(value));
            self.scales.push(if digits.is_some() { as_scale } else { 0 });
        }
    }

    fn finish(mut self) -> [ArrayRef; 3] {
        let scales = Int32Array::from(self.scales);
        [Arc::new(self.digits.finish()), Arc::new(scales), Arc::new(self.doubles.finish())]
    }
}

/// Returns the rows of a file's batch; one of before values were decimals as it is.
pub fn from_file(batch: RecordBatch) -> RecordBatch {
    let Some((at, _)) = batch.schema_ref().column_with_name(DIGITS) else { return batch };
    let column = |name| batch.column_by_name(name);
    let (Some(scales), Some(doubles)) = (column(SCALE), column(DOUBLE)) else { return batch };
    let values = join(batch.column(at).as_primitive(), scales.as_primitive(), doubles);
    let schema = rows_schema(batch.schema_ref());
    let columns = batch.schema_ref().fields().iter().zip(batch.columns());
    let columns = columns.filter_map(|(field, column)| match field.name().as_str() {
        DIGITS => Some(Arc::clone(&values)),
        SCALE | DOUBLE => None,
        _ => Some(Arc::clone(column)),
    });
    RecordBatch::try_new(schema, columns.collect()).expect("one column took the place of three")
}

/// Returns the values of the three columns of a file.
pub fn join(digits: &Int64Array, scales: &Int32Array, doubles: &ArrayRef) -> ArrayRef {
    let doubles = doubles.as_primitive::<Float64Type>();
    let pairs = digits.values().iter().zip(scales.values());
    let decimals = pairs
        .map(|(&digits, &scale)| value_of(digits, usize::try_from(scale).unwrap_or(usize::MAX)));
    if digits.null_count() == 0 {
        return Arc::new(Float64Array::from_iter_values(decimals));
    }
    let values = decimals.enumerate().map(|(row, decimal)| match digits.is_valid(row) {
        true => decimal,
        false => doubles.value(row),
    });
    Arc::new(Float64Array::from_iter_values(values))
}
