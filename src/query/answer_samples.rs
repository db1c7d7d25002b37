//! An SQL answer as samples, which is what a rule wants: the column `value` is the number, the others
//! are labels.
//!
//! A row is a series. What is null, or no number, has no label or is no sample: `sum()` over nothing is
//! null, and finding nothing is no alert.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type};
use arrow::util::display::{ArrayFormatter, FormatOptions};

use super::answer::SqlAnswer;
use crate::model::{Labels, LabelsBuilder};

/// The column that is the number.
const VALUE: &str = "value";

impl SqlAnswer {
    /// Returns the rows as samples, or says why they are none.
    pub fn samples(&self) -> Result<Vec<(Labels, f64)>, String> {
        if let Some(limit) = self.truncated {
            let key = limit.key();
            return Err(format!("the rows were cut off: make them fewer, or raise {key}"));
        }
        if let Some(warning) = self.warnings.first() {
            tracing::warn!(warning, "a rule's statement was answered in part");
        }
        let mut found = Vec::with_capacity(self.n_rows());
        for batch in &self.batches {
            found.extend(samples_of(batch)?);
        }
        Ok(found)
    }
}

fn samples_of(batch: &RecordBatch) -> Result<Vec<(Labels, f64)>, String> {
    let missing = || format!("the statement yields no column `{VALUE}`: name one with AS {VALUE}");
    let values = batch.column_by_name(VALUE).ok_or_else(missing)?;
    if !values.data_type().is_numeric() && !values.data_type().is_null() {
        return Err(format!("the column `{VALUE}` is not a number"));
    }
    let shown = |error: arrow::error::ArrowError| error.to_string();
    let values = cast(values, &DataType::Float64).map_err(shown)?;
    let values = values.as_primitive::<Float64Type>();
    let options = FormatOptions::new();
    let schema = batch.schema_ref();
    let mut labels = Vec::new();
    for (field, column) in schema.fields().iter().zip(batch.columns()) {
        if field.name() != VALUE {
            let text = ArrayFormatter::try_new(column.as_ref(), &options).map_err(shown)?;
            labels.push((field.name(), column, text));
        }
    }
    let mut found = Vec::new();
    for row in (0..batch.num_rows()).filter(|row| values.is_valid(*row)) {
        let mut builder = LabelsBuilder::new();
        for (name, column, text) in &labels {
            if column.is_valid(row) {
                builder.set(name, &text.value(row).try_to_string().map_err(shown)?);
            }
        }
        found.push((builder.build(), values.value(row)));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;

    fn answer(columns: Vec<(&str, ArrayRef)>) -> SqlAnswer {
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let (schema, batches) = (batch.schema(), vec![batch]);
        SqlAnswer { schema, batches, truncated: None, bytes_max: usize::MAX, warnings: Vec::new() }
    }

    #[test]
    fn a_row_is_a_series_and_null_is_nothing() {
        let commons = StringArray::from(vec![Some("heart"), None, Some("canine")]);
        let values = Int64Array::from(vec![Some(3), Some(4), None]);
        let found = answer(vec![("commons", Arc::new(commons)), ("value", Arc::new(values))]);

        let found = found.samples().unwrap();

        let texts: Vec<String> = found.iter().map(|(l, v)| format!("{l} {v}")).collect();
        assert_eq!(texts, [r#"{commons="heart"} 3"#, "{} 4"]);
    }

    #[test]
    fn what_has_no_number_says_so() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
        let without = answer(vec![("n", Arc::clone(&texts))]).samples().unwrap_err();
        let text = answer(vec![("value", texts)]).samples().unwrap_err();

        assert!(without.contains("no column `value`") && text.contains("is not a number"));
    }
}
