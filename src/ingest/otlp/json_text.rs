//! OTLP values become JSON text, straight from the wire.
//!
//! What is stored of attributes is a JSON object, and the types survive in it: ints have no point,
//! doubles always have one or an exponent (NaN and infinities are strings, as in OTLP/JSON), bytes
//! are base64, a value that is not set is `null`. Bytes that are not UTF-8 become U+FFFD: one
//! Latin-1 letter in a log line must not cost the line. Of two attributes with one key the first
//! is kept, which is also the one that the OpenTelemetry Collector's `Map.Get` sees.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use xxhash_rust::xxh3::xxh3_64;

use super::memo::Memo;
use crate::ingest::limits::Limits;
use crate::ingest::outcome::{Reason, Refusal};
use crate::ingest::records::{RowError, Rules};
use crate::ingest::wire::{Field, Reader, WireError, text_of};
use crate::model::json;
use crate::model::span_rest::ColumnRest;

/// Keys of one object that are compared one by one.
const KEYS_COMPARED_MAX: usize = 64;

/// Writes one JSON object (or value), an attribute at a time; reused from row to row.
#[derive(Debug, Default)]
pub(super) struct JsonText {
    out: String,
    /// Where the keys of the objects under way are in `out`, quotes included.
    keys: Vec<Range<usize>>,
    /// The hashes of the keys of large objects, by where their keys begin in `keys`.
    large: HashMap<usize, HashSet<u64>>,
    n_attributes: usize,
    n_strings: u32,
    rest: ColumnRest,
    memo: Memo,
    /// Whether the text of the attribute under way is another one than was sent.
    is_changed: bool,
}

impl JsonText {
    /// Starts an object, forgetting what was written.
    pub(super) fn begin(&mut self) {
        self.out.clear();
        self.keys.clear();
        self.large.clear();
        self.n_attributes = 0;
        self.n_strings = 0;
        self.rest.bytes.clear();
        self.rest.doubles.clear();
        self.memo.begin();
        self.out.push('{');
    }

    /// Appends the `KeyValue` in `field` to the object.
    pub(super) fn attribute(
        &mut self,
        field: &Field<'_>,
        rules: &Rules<'_>,
    ) -> Result<(), RowError> {
        self.n_attributes += 1;
        let max = rules.limits.attributes_per_record;
        if self.n_attributes > max {
            return Err(refused(format!(
                "more than {max} attributes (limits.attributes_per_record)"
            )));
        }
        let wire = field.bytes()?;
        match self.memo.find(wire) {
            Some(known) if self.memo.take(known.key) => {
                self.separate();
                self.out.push_str(self.memo.text(&known));
                self.n_strings += known.n_strings;
                Ok(())
            }
            Some(_) => Ok(()),
            None => self.new_attribute(field, wire, rules),
        }
    }

    /// Appends an attribute that did not come before, and keeps it when nothing but its bytes decides
    /// on its text.
    fn new_attribute(
        &mut self,
        field: &Field<'_>,
        wire: &[u8],
        rules: &Rules<'_>,
    ) -> Result<(), RowError> {
        let (from, n_strings) = (self.out.len(), self.n_strings);
        let n_special = |rest: &ColumnRest| rest.bytes.len() + rest.doubles.len();
        let n_special_before = n_special(&self.rest);
        self.is_changed = false;
        let key = self.key_value(field, 0, 0, rules)?;
        if let Some(key) = key
            && !self.is_changed
            && n_special(&self.rest) == n_special_before
        {
            let text = self.out[from..].trim_start_matches(',');
            self.memo.learn(wire, text, key, self.n_strings - n_strings);
        }
        Ok(())
    }

    /// Ends the object and returns it.
    pub(super) fn end(&mut self) -> &str {
        self.out.push('}');
        &self.out
    }

    /// Returns which strings of the object stand for something else.
    pub(super) fn rest(&self) -> &ColumnRest {
        &self.rest
    }

    /// Notes the same in what stands for a list of such objects, `n_before` strings after its start;
    /// returns how many strings the object has.
    pub(super) fn add_rest(&self, list: &mut ColumnRest, n_before: u32) -> u32 {
        list.bytes.extend(self.rest.bytes.iter().map(|at| n_before + at));
        list.doubles.extend(self.rest.doubles.iter().map(|at| n_before + at));
        self.n_strings
    }

    /// Writes one value alone, and returns it.
    pub(super) fn value_alone(
        &mut self,
        value: Reader<'_>,
        rules: &Rules<'_>,
    ) -> Result<&str, RowError> {
        self.out.clear();
        self.keys.clear();
        self.large.clear();
        self.value(value, 0, "", rules)?;
        Ok(&self.out)
    }

    /// Appends a member of an object; returns the number of its key, unless it has none or the object
    /// has the key already.
    fn key_value(
        &mut self,
        field: &Field<'_>,
        first_key: usize,
        depth: usize,
        rules: &Rules<'_>,
    ) -> Result<Option<u32>, RowError> {
        let (key, value) = split_key_value(field)?;
        let key = text_of(key);
        let number = if depth == 0 { self.memo.key(&key) } else { None };
        if !self.push_key(&key, number, first_key) {
            return Ok(None);
        }
        let Some(value) = value else {
            self.out.push_str("null");
            return Ok(number);
        };
        if depth == 0 {
            check_size(&key, &value, rules.limits)?;
        }
        self.value(value.message()?, depth, &key, rules)?;
        Ok(number)
    }

    /// Writes a key and its colon; returns false, and writes nothing, when the object has it already.
    fn push_key(&mut self, key: &str, number: Option<u32>, first_key: usize) -> bool {
        // No key that has a number is equal to one that has none.
        if let Some(number) = number {
            if !self.memo.take(number) {
                return false;
            }
            self.separate();
            self.out.push_str(self.memo.key_text(number));
            return true;
        }
        let before = self.out.len();
        self.separate();
        let start = self.out.len();
        json::push_string(&mut self.out, key);
        if self.is_duplicate(first_key, start) {
            self.out.truncate(before);
            return false;
        }
        self.keys.push(start..self.out.len());
        self.out.push(':');
        true
    }

    /// Parts a member from the one before it.
    fn separate(&mut self) {
        if !self.out.ends_with('{') {
            self.out.push(',');
        }
    }

    /// Compares a key with the earlier ones of its object. A few are compared one by one; comparing
    /// the forty thousand that fit into a log's body would take seconds. Of two keys with one hash
    /// the later is lost, which nobody meets by chance.
    fn is_duplicate(&mut self, first_key: usize, start: usize) -> bool {
        let (out, earlier) = (&self.out, &self.keys[first_key..]);
        let key = &out[start..];
        if earlier.len() < KEYS_COMPARED_MAX {
            return earlier.iter().any(|earlier| out[earlier.clone()] == *key);
        }
        let hash = |key: &str| xxh3_64(key.as_bytes());
        let of_earlier = || earlier.iter().map(|key| hash(&out[key.clone()])).collect();
        let hashes = self.large.entry(first_key).or_insert_with(of_earlier);
        !hashes.insert(hash(key))
    }

    fn value(
        &mut self,
        reader: Reader<'_>,
        depth: usize,
        key: &str,
        rules: &Rules<'_>,
    ) -> Result<(), RowError> {
        let Some(field) = any_value(reader)? else {
            self.out.push_str("null");
            return Ok(());
        };
        match field.number {
            1 => self.text(field.bytes()?, key, rules),
            2 => self.out.push_str(if field.bool()? { "true" } else { "false" }),
            3 => self.out.push_str(itoa::Buffer::new().format(field.int64()?)),
            4 => self.double(field.double()?),
            5 => return self.array(field.message()?, depth + 1, rules),
            6 => return self.map(field.message()?, depth + 1, rules),
            _ => self.bytes(field.bytes()?),
        }
        Ok(())
    }

    fn double(&mut self, value: f64) {
        if !value.is_finite() {
            self.rest.doubles.push(self.n_strings);
            self.n_strings += 1;
        }
        json::push_f64(&mut self.out, value);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.rest.bytes.push(self.n_strings);
        self.n_strings += 1;
        self.out.push('"');
        STANDARD.encode_string(bytes, &mut self.out);
        self.out.push('"');
    }

    fn text(&mut self, bytes: &[u8], key: &str, rules: &Rules<'_>) {
        self.n_strings += 1;
        let text = rules.scrub_attribute(key, text_of(bytes));
        self.is_changed |= matches!(text, Cow::Owned(_));
        json::push_string(&mut self.out, &text);
    }

    fn array(
        &mut self,
        mut values: Reader<'_>,
        depth: usize,
        rules: &Rules<'_>,
    ) -> Result<(), RowError> {
        check_depth(depth, rules.limits)?;
        self.out.push('[');
        let mut is_first = true;
        while let Some(field) = values.next_field()? {
            if field.number == 1 {
                if !std::mem::take(&mut is_first) {
                    self.out.push(',');
                }
                self.value(field.message()?, depth, "", rules)?;
            }
        }
        self.out.push(']');
        Ok(())
    }

    fn map(
        &mut self,
        mut values: Reader<'_>,
        depth: usize,
        rules: &Rules<'_>,
    ) -> Result<(), RowError> {
        check_depth(depth, rules.limits)?;
        self.out.push('{');
        let first_key = self.keys.len();
        while let Some(field) = values.next_field()? {
            if field.number == 1 {
                self.key_value(&field, first_key, depth, rules)?;
            }
        }
        self.keys.truncate(first_key);
        if !self.large.is_empty() {
            self.large.remove(&first_key);
        }
        self.out.push('}');
        Ok(())
    }
}

/// Returns the key and the value of a `KeyValue`; a missing key is the empty one.
pub(super) fn split_key_value<'a>(
    field: &Field<'a>,
) -> Result<(&'a [u8], Option<Field<'a>>), WireError> {
    let mut reader = field.message()?;
    let (mut key, mut value): (&[u8], _) = (b"", None);
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => key = field.bytes()?,
            2 => value = Some(field),
            _ => {}
        }
    }
    Ok((key, value))
}

/// Returns the field of an `AnyValue` that is set: of several the last, as in any `oneof`.
pub(super) fn any_value<'a>(mut reader: Reader<'a>) -> Result<Option<Field<'a>>, WireError> {
    let mut value = None;
    while let Some(field) = reader.next_field()? {
        if let 1..=7 = field.number {
            value = Some(field);
        }
    }
    Ok(value)
}

/// Returns the bytes of an `AnyValue` that is a string.
pub(super) fn string_value<'a>(value: Reader<'a>) -> Result<Option<&'a [u8]>, WireError> {
    match any_value(value)? {
        Some(field) if field.number == 1 => field.bytes().map(Some),
        _ => Ok(None),
    }
}

fn check_size(key: &str, value: &Field<'_>, limits: &Limits) -> Result<(), RowError> {
    let n_bytes = value.bytes()?.len();
    // A few bytes of the value's own header are not worth a second look at it.
    if n_bytes > limits.attribute_value.bytes() + 8 {
        return Err(refused(format!(
            "attribute `{}` has {n_bytes} bytes of at most {} (limits.attribute_value)",
            cut(key),
            limits.attribute_value
        )));
    }
    Ok(())
}

fn check_depth(depth: usize, limits: &Limits) -> Result<(), RowError> {
    if depth > limits.attribute_depth {
        let max = limits.attribute_depth;
        return Err(refused(format!(
            "a value is nested deeper than {max} levels (limits.attribute_depth)"
        )));
    }
    Ok(())
}

fn refused(message: String) -> RowError {
    RowError::Refused(Refusal::new(Reason::AttributeLimit, message))
}

/// Returns the front of a name that goes into a message.
pub(super) fn cut(text: &str) -> &str {
    let end = text.char_indices().nth(80).map_or(text.len(), |(idx, _)| idx);
    &text[..end]
}

/// Both digits of each byte.
const DIGITS_OF: [[u8; 2]; 256] = {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut all = [[0; 2]; 256];
    let mut byte = 0;
    while byte < 256 {
        all[byte] = [DIGITS[byte >> 4], DIGITS[byte & 15]];
        byte += 1;
    }
    all
};

/// An id of 16 or 8 bytes as lower-case hex; empty when the bytes are not an id.
#[derive(Debug, Clone, Copy)]
pub(super) struct HexId {
    digits: [u8; 32],
    len: usize,
}

impl HexId {
    /// Returns the id in hex: empty unless it has `n_bytes` bytes that are not all zero (OTLP: such
    /// an id is invalid).
    pub(super) fn new(bytes: &[u8], n_bytes: usize) -> Self {
        let mut id = Self { digits: [0; 32], len: 0 };
        if bytes.len() != n_bytes || n_bytes > 16 || bytes.iter().all(|&byte| byte == 0) {
            return id;
        }
        for (pair, byte) in id.digits.chunks_exact_mut(2).zip(bytes) {
            pair.copy_from_slice(&DIGITS_OF[usize::from(*byte)]);
        }
        id.len = 2 * n_bytes;
        id
    }

    /// Returns the id of a trace.
    pub(super) fn trace(bytes: &[u8]) -> Self {
        Self::new(bytes, 16)
    }

    /// Returns the id of a span.
    pub(super) fn span(bytes: &[u8]) -> Self {
        Self::new(bytes, 8)
    }

    /// Returns the digits.
    pub(super) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.digits[..self.len]).expect("hex digits are ASCII")
    }
}
