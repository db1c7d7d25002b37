//! The values of a dictionary, each once, as the dictionary page holds them.

use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

/// Whether values have a length of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Texts: a length of four bytes stands before each.
    Text,
    /// Numbers, all of one width.
    Number,
}

/// Distinct values, numbered in the order of their arrival.
#[derive(Debug)]
pub(super) struct Interned {
    form: Form,
    page: Vec<u8>,
    /// Where each value ends in the page.
    ends: Vec<usize>,
    key_of: HashTable<u32>,
}

impl Interned {
    /// Begins without a value.
    pub(super) fn new(form: Form) -> Self {
        Self { form, page: Vec::new(), ends: Vec::new(), key_of: HashTable::new() }
    }

    /// Returns the value's number, a new one for a value that was not there before.
    pub(super) fn key(&mut self, value: &[u8]) -> u32 {
        let Self { form, page, ends, key_of } = self;
        let hash = xxh3_64(value);
        if let Some(&key) = key_of.find(hash, |&key| get(*form, page, ends, key) == value) {
            return key;
        }
        let key = u32::try_from(ends.len()).expect("a row group has fewer than 2^32 rows");
        if *form == Form::Text {
            let n_bytes = u32::try_from(value.len()).expect("texts are far below 4 GiB");
            page.extend_from_slice(&n_bytes.to_le_bytes());
        }
        page.extend_from_slice(value);
        ends.push(page.len());
        key_of.insert_unique(hash, key, |&key| xxh3_64(get(*form, page, ends, key)));
        key
    }

    /// Returns a value by its number.
    pub(super) fn get(&self, key: u32) -> &[u8] {
        get(self.form, &self.page, &self.ends, key)
    }

    /// Returns the number of values.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns the bytes of the dictionary page so far.
    pub(super) fn n_bytes(&self) -> usize {
        self.page.len()
    }

    /// Returns the bytes that the values hold in memory.
    pub(super) fn memory_size(&self) -> usize {
        self.page.capacity() + self.ends.capacity() * 8 + self.key_of.capacity() * 5
    }

    /// Returns the body of the dictionary page.
    pub(super) fn into_page(self) -> Vec<u8> {
        self.page
    }
}

fn get<'a>(form: Form, page: &'a [u8], ends: &[usize], key: u32) -> &'a [u8] {
    let idx = key as usize;
    let start = if idx == 0 { 0 } else { ends[idx - 1] };
    let prefix = if form == Form::Text { 4 } else { 0 };
    &page[start + prefix..ends[idx]]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_keeps_its_number() {
        let mut texts = Interned::new(Form::Text);

        let keys: Vec<_> = ["a", "", "bc", "a", "", "bc"].map(|t| texts.key(t.as_bytes())).into();

        assert_eq!(keys, [0, 1, 2, 0, 1, 2]);
        assert_eq!(texts.get(2), b"bc");
        assert_eq!(texts.into_page(), b"\x01\0\0\0a\0\0\0\0\x02\0\0\0bc");
    }

    #[test]
    fn numbers_stand_side_by_side() {
        let mut numbers = Interned::new(Form::Number);

        let keys: Vec<_> = [7_u64, 8, 7].map(|n| numbers.key(&n.to_le_bytes())).into();

        assert_eq!(keys, [0, 1, 0]);
        assert_eq!((numbers.len(), numbers.into_page().len()), (2, 16));
    }
}
