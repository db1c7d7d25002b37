//! The columns of a table: as files have them, as scans know them, and as people see them.

use std::sync::Arc;

use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::common::Result;
use datafusion::datasource::table_schema::TableSchema;

use super::values;
use crate::model::{Signal, exemplar, log, metric, point, span};

/// The column that is not in the files.
pub(super) const COMMONS: &str = "commons";

/// The table's columns, in the order people see and in the order scans know.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// What files have, then the commons.
    pub(super) in_files: TableSchema,
    /// The rows' columns, then the commons.
    scanned: SchemaRef,
    /// With the commons in front of the service.
    pub(super) shown: SchemaRef,
    /// Index in `scanned` of each column of `shown`.
    places: Vec<usize>,
}

impl Layout {
    pub(super) fn of(signal: Signal) -> Self {
        let rows = match signal {
            Signal::Metrics => metric::exp_schema(),
            Signal::Logs => log::schema(),
            Signal::Spans => span::schema(),
            Signal::Exemplars => exemplar::schema(),
            Signal::Points => point::schema(),
        };
        let commons = Arc::new(Field::new(COMMONS, metric::dictionary_utf8(), false));
        let with_commons = |columns: SchemaRef| {
            let commons = vec![Arc::clone(&commons)];
            TableSchema::builder(columns).with_table_partition_cols(commons).build()
        };
        let all = Arc::clone(with_commons(Arc::clone(&rows)).table_schema());
        let in_files = match signal {
            Signal::Metrics => values::in_files(&rows),
            _ => rows,
        };
        let last = all.fields().len() - 1;
        let mut places: Vec<usize> = (0..last).collect();
        places.insert(all.index_of("service").unwrap_or(last), last);
        let shown =
            Schema::new(places.iter().map(|&idx| all.field(idx).clone()).collect::<Vec<_>>());
        let in_files = with_commons(in_files);
        Self { shown: Arc::new(shown), places, in_files, scanned: all }
    }

    /// Returns the names of columns of scans.
    pub(super) fn names(&self, columns: &[usize]) -> impl Iterator<Item = &str> {
        columns.iter().map(|&idx| self.scanned.field(idx).name().as_str())
    }

    /// Returns the scan's places of the columns a plan wants.
    pub(super) fn wanted(&self, projection: Option<&Vec<usize>>) -> Vec<usize> {
        match projection {
            Some(shown) => shown.iter().map(|&idx| self.places[idx]).collect(),
            None => self.places.clone(),
        }
    }

    pub(super) fn project(&self, columns: &[usize]) -> Result<SchemaRef> {
        Ok(Arc::new(self.scanned.project(columns)?))
    }

    pub(super) fn index_of(&self, name: &str) -> Result<usize> {
        Ok(self.scanned.index_of(name)?)
    }
}
