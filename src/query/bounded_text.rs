//! Text that may only become so long.
//!
//! Rows in memory have each name once, and text says it again for every value: a column's name of sixty
//! kilobytes before a hundred thousand numbers is gigabytes.

use std::fmt;
use std::ops::{Deref, DerefMut};

use arrow::error::ArrowError;

use crate::base::units::HumanSize;

/// How many times as many bytes as its rows an answer may have when it is written down.
pub(super) const TIMES_MAX: usize = 4;
/// The key of how many bytes its rows may have.
pub(super) const KEY: &str = "query.result_bytes_max";

/// Written down an answer is longer than it may be.
#[derive(Debug, thiserror::Error)]
#[error(
    "written down the answer has more than {max}, {TIMES_MAX} times {KEY}: ask for fewer rows, give \
     columns shorter names, or raise the limit"
)]
pub(super) struct TooLong {
    max: HumanSize,
}

/// A text and how long it may become. Whoever writes looks between two values, so it may be longer by one.
#[derive(Debug)]
pub(super) struct BoundedText {
    text: String,
    bytes_max: usize,
}

impl BoundedText {
    /// Returns an empty text with room for so many bytes.
    pub(super) fn new(n_bytes: usize, bytes_max: usize) -> Self {
        Self { text: String::with_capacity(n_bytes.min(bytes_max)), bytes_max }
    }

    /// Returns another empty one that may become as long.
    pub(super) fn another(&self) -> Self {
        Self { text: String::new(), bytes_max: self.bytes_max }
    }

    /// Returns true when nothing more should be written.
    pub(super) fn is_full(&self) -> bool {
        self.text.len() > self.bytes_max
    }

    /// Says so, when nothing more should be written.
    pub(super) fn check(&self) -> Result<(), ArrowError> {
        if !self.is_full() {
            return Ok(());
        }
        let max = HumanSize(self.bytes_max as u64);
        Err(ArrowError::ExternalError(Box::new(TooLong { max })))
    }

    /// Returns the text.
    pub(super) fn into_string(self) -> String {
        self.text
    }
}

impl Deref for BoundedText {
    type Target = String;

    fn deref(&self) -> &String {
        &self.text
    }
}

impl DerefMut for BoundedText {
    fn deref_mut(&mut self) -> &mut String {
        &mut self.text
    }
}

impl fmt::Write for BoundedText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.is_full() {
            return Err(fmt::Error);
        }
        self.text.push_str(text);
        Ok(())
    }
}
