//! Where in a query something stands, as people count: line and column from 1.

use std::fmt;

/// A place in a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct Place {
    line: usize,
    /// In bytes, as Prometheus counts.
    column: usize,
}

impl Place {
    /// Returns the place of a byte.
    pub(in super::super) fn of(text: &str, idx: usize) -> Self {
        let before = &text.as_bytes()[..idx.min(text.len())];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        Self { line, column: before.len() - line_start + 1 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}
