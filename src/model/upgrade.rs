//! Rows of an older layout as rows of today's: columns are added to a schema and never renamed, so
//! what is missing is null.

use arrow::array::{RecordBatch, new_null_array};
use arrow::datatypes::{Schema, SchemaRef};

/// Returns true when rows of `old` can be read as rows of `today`.
pub fn can_upgrade(old: &Schema, today: &Schema) -> bool {
    let is_known = |field: &arrow::datatypes::FieldRef| today.field_with_name(field.name()).is_ok();
    old.fields().iter().all(is_known)
        && today.fields().iter().all(|field| match old.field_with_name(field.name()) {
            Ok(found) => found.data_type() == field.data_type(),
            Err(_) => field.is_nullable(),
        })
}

/// Returns the batch with today's columns, or `None` when it is not one of an older layout.
pub fn upgrade(batch: RecordBatch, today: &SchemaRef) -> Option<RecordBatch> {
    // Also when nothing is missing: what a reader says of dictionaries' ids is not part of a row.
    if batch.schema_ref().fields() == today.fields() {
        return RecordBatch::try_new(SchemaRef::clone(today), batch.columns().to_vec()).ok();
    }
    if !can_upgrade(batch.schema_ref(), today) {
        return None;
    }
    let columns = today.fields().iter().map(|field| match batch.column_by_name(field.name()) {
        Some(column) => std::sync::Arc::clone(column),
        None => new_null_array(field.data_type(), batch.num_rows()),
    });
    RecordBatch::try_new(SchemaRef::clone(today), columns.collect()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{SpanRow, SpansBuilder, Tags, log, span};

    fn spans() -> RecordBatch {
        let mut builder = SpansBuilder::new();
        builder.push(&Tags::unassigned(), &SpanRow { attributes: "{}", ..SpanRow::default() });
        builder.finish()
    }

    #[test]
    fn columns_that_came_later_are_null() {
        let today = spans();
        let places: Vec<usize> = (0..today.num_columns() - 3).collect();
        let old = today.project(&places).unwrap();

        let upgraded = upgrade(old, &span::schema()).unwrap();

        assert_eq!(upgraded, today);
    }

    #[test]
    fn rows_of_another_signal_are_refused() {
        assert_eq!(upgrade(spans(), &log::schema()), None);
    }
}
