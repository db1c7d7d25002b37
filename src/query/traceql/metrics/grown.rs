//! What the series of a question hold while spans are counted: a point of every series has room from
//! the series' first span on, so few spans may take much.

use crate::query::promql::{Budget, Held, PromqlError};

/// The memory of series under way.
pub(in crate::query::traceql) struct Grown<'b> {
    held: Held<'b>,
    n_bytes: usize,
}

impl<'b> Grown<'b> {
    /// Returns that of no series.
    pub(super) fn new(budget: &'b Budget) -> Self {
        Self { held: budget.hold(), n_bytes: 0 }
    }

    /// Adds some bytes; fails past `query.memory`.
    pub(in crate::query::traceql) fn add(&mut self, n_bytes: usize) -> Result<(), PromqlError> {
        self.n_bytes += n_bytes;
        self.held.set(self.n_bytes)
    }
}
