//! Columns of texts that repeat: each text once, and a key a row.
//!
//! Rows that follow each other mostly repeat each other, so a text is compared with the one before
//! it, and looked up only when it differs.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, DictionaryArray, Int32Array, StringArray};
use arrow::buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::Int32Type;
use hashbrown::HashMap;

/// The key of a row without a text.
const NULL: i32 = -1;

/// Returns a row's text of a column of texts, whether each stands once in it or not; empty for null.
pub fn text_at(column: &dyn Array, row: usize) -> &str {
    if let Some(texts) = column.as_string_opt::<i32>() {
        return if texts.is_null(row) { "" } else { texts.value(row) };
    }
    let dictionary = column.as_dictionary::<Int32Type>();
    dictionary.key(row).map_or("", |key| dictionary.values().as_string::<i32>().value(key))
}

/// Collects a dictionary column; empty ones take no memory.
#[derive(Debug, Default)]
pub struct DictionaryColumn {
    keys: Vec<i32>,
    has_nulls: bool,
    /// The texts one behind the other, and where each ends.
    text: String,
    ends: Vec<usize>,
    key_of: HashMap<Box<str>, i32>,
    /// The key of the last text, which mostly is the next one's too.
    last_key: i32,
}

impl DictionaryColumn {
    /// Appends a row.
    pub fn push(&mut self, text: Option<&str>) {
        self.push_run(text, 1);
    }

    /// Appends `n` rows with the same text, or without one.
    pub fn push_run(&mut self, text: Option<&str>, n: usize) {
        let key = match text {
            Some(text) => self.key(text),
            None => NULL,
        };
        self.push_keys(key, n);
    }

    /// Appends `n` rows with a text that has not been there before and that `write` writes.
    pub fn push_new_run(&mut self, n: usize, write: impl FnOnce(&mut String)) {
        write(&mut self.text);
        let key = self.end_text();
        self.push_keys(key, n);
    }

    fn push_keys(&mut self, key: i32, n: usize) {
        self.has_nulls |= key == NULL && n > 0;
        if n == 1 {
            self.keys.push(key);
        } else {
            self.keys.extend(std::iter::repeat_n(key, n));
        }
    }

    fn key(&mut self, text: &str) -> i32 {
        if self.text_of(self.last_key) != Some(text) {
            self.last_key = match self.key_of.get(text) {
                Some(&key) => key,
                None => {
                    self.text.push_str(text);
                    let key = self.end_text();
                    self.key_of.insert(text.into(), key);
                    key
                }
            };
        }
        self.last_key
    }

    fn text_of(&self, key: i32) -> Option<&str> {
        let idx = usize::try_from(key).ok()?;
        let end = *self.ends.get(idx)?;
        let start = if idx == 0 { 0 } else { self.ends[idx - 1] };
        Some(&self.text[start..end])
    }

    fn end_text(&mut self) -> i32 {
        self.ends.push(self.text.len());
        i32::try_from(self.ends.len() - 1).expect("a batch has far fewer rows than 2^31")
    }

    /// Returns the column, and empties this one.
    pub fn finish(&mut self) -> ArrayRef {
        let Self { keys, has_nulls, text, ends, .. } = std::mem::take(self);
        let nulls = has_nulls.then(|| keys.iter().map(|&key| key != NULL).collect::<NullBuffer>());
        let keys = Int32Array::new(keys.into(), nulls);
        let offset = |end| i32::try_from(end).expect("a batch has far less text than 2 GiB");
        let offsets = std::iter::once(0).chain(ends).map(offset).collect();
        let text = Buffer::from(text.into_bytes());
        let texts = StringArray::new(OffsetBuffer::new(offsets), text, None);
        let column = DictionaryArray::<Int32Type>::try_new(keys, Arc::new(texts));
        Arc::new(column.expect("keys are indexes of texts"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(column: &ArrayRef) -> Vec<Option<&str>> {
        let column = column.as_dictionary::<Int32Type>();
        let texts = column.values().as_string::<i32>();
        (0..column.len()).map(|row| column.key(row).map(|key| texts.value(key))).collect()
    }

    #[test]
    fn texts_come_back_in_their_order() {
        let mut column = DictionaryColumn::default();
        for text in [Some("a"), Some("a"), None, Some(""), Some("b"), Some("a")] {
            column.push(text);
        }
        column.push_run(Some("b"), 2);
        column.push_run(None, 0);

        let finished = column.finish();

        let want =
            [Some("a"), Some("a"), None, Some(""), Some("b"), Some("a"), Some("b"), Some("b")];
        assert_eq!(texts(&finished), want);
        assert_eq!(finished.as_dictionary::<Int32Type>().values().len(), 3);
        assert_eq!(column.finish().len(), 0);
    }

    #[test]
    fn a_row_has_its_text_in_either_kind_of_column() {
        let mut column = DictionaryColumn::default();
        for text in [Some("a"), None, Some("b"), Some("a")] {
            column.push(text);
        }
        let keyed = column.finish();
        let plain: ArrayRef =
            Arc::new(StringArray::from(vec![Some("a"), None, Some("b"), Some("a")]));

        for column in [keyed, plain] {
            assert_eq!([0, 1, 2, 3].map(|row| text_at(&column, row)), ["a", "", "b", "a"]);
        }
    }

    #[test]
    fn an_empty_text_at_the_beginning_is_a_text() {
        let mut column = DictionaryColumn::default();
        column.push(Some(""));
        column.push_new_run(2, |text| text.push_str("new"));

        assert_eq!(texts(&column.finish()), [Some(""), Some("new"), Some("new")]);
    }
}
