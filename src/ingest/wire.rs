//! Reads protobuf without building anything: borrowed slices, one pass, no allocation.
//!
//! Decoding a remote-write body into structs costs more than the whole rest of the way of a
//! sample, so the walkers of `remote_write`, `otlp` and `loki_push` match on field numbers and look
//! at the bytes where they lie. The reader never panics and never believes a length: every slice is
//! cut from bytes that are there. Groups (wire types 3 and 4, deprecated since proto2) are refused;
//! unknown fields are the walker's to ignore. What a field means is left to the walkers.
//!
//! ```text
//! let mut reader = Reader::new(body);
//! while let Some(field) = reader.next_field()? {
//!     match field.number {
//!         1 => walk_resource(field.message()?)?,
//!         2 => time_ns = field.fixed64()?,
//!         _ => {}
//!     }
//! }
//! ```

use std::borrow::Cow;

/// What is wrong with the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WireFault {
    /// The bytes end inside a field.
    #[error("the message ends inside a field")]
    Truncated,
    /// More than ten bytes, or more than 64 bits.
    #[error("a varint is longer than 64 bits")]
    Varint,
    /// Field number 0, or one past 2^29.
    #[error("a field number is out of range")]
    FieldNumber,
    /// Wire type 3 or 4 (groups), 6 or 7.
    #[error("an unsupported wire type")]
    WireType,
    /// A known field with another wire type than its own.
    #[error("a field has a wire type other than its own")]
    WrongType,
    /// A `string` field that is not UTF-8.
    #[error("a string is not UTF-8")]
    Utf8,
    /// Messages in messages, deeper than the walker allows.
    #[error("messages are nested too deeply")]
    Depth,
}

/// Bytes that are not protobuf, or not the message they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a valid protobuf message: {fault} at byte {offset}")]
pub struct WireError {
    /// What is wrong.
    pub fault: WireFault,
    /// Where, counted from the start of the decoded body.
    pub offset: usize,
}

/// The value of one field, as its wire type has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// Wire type 0: int32, int64, uint32, uint64, sint (still zigzag), bool, enum.
    Varint(u64),
    /// Wire type 1: fixed64, sfixed64, double.
    Fixed64(u64),
    /// Wire type 2: string, bytes, a message, packed numbers.
    Bytes(&'a [u8]),
    /// Wire type 5: fixed32, sfixed32, float.
    Fixed32(u32),
}

/// One field of a message. The accessors refuse a value of another wire type than theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'a> {
    /// The field's number.
    pub number: u32,
    /// Its value.
    pub value: Value<'a>,
    /// Where the field ends, counted from the start of the decoded body.
    pub end_offset: usize,
}

impl<'a> Field<'a> {
    /// Returns an unsigned number (uint32, uint64, enum).
    #[inline]
    pub fn varint(&self) -> Result<u64, WireError> {
        match self.value {
            Value::Varint(number) => Ok(number),
            _ => Err(self.error(WireFault::WrongType)),
        }
    }

    /// Returns an int32 or int64: the varint's bits as a signed number.
    #[inline]
    pub fn int64(&self) -> Result<i64, WireError> {
        self.varint().map(u64::cast_signed)
    }

    /// Returns an int32; higher bits are cut off, as the protobuf specification demands.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the specification's reading of an int32")]
    pub fn int32(&self) -> Result<i32, WireError> {
        self.varint().map(|number| number as i32)
    }

    /// Returns a uint32; higher bits are cut off, as the protobuf specification demands.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the specification's reading of a uint32")]
    pub fn uint32(&self) -> Result<u32, WireError> {
        self.varint().map(|number| number as u32)
    }

    /// Returns a sint32 or sint64.
    #[inline]
    pub fn sint64(&self) -> Result<i64, WireError> {
        self.varint().map(zigzag)
    }

    /// Returns a bool.
    #[inline]
    pub fn bool(&self) -> Result<bool, WireError> {
        self.varint().map(|number| number != 0)
    }

    /// Returns a fixed64.
    #[inline]
    pub fn fixed64(&self) -> Result<u64, WireError> {
        match self.value {
            Value::Fixed64(bits) => Ok(bits),
            _ => Err(self.error(WireFault::WrongType)),
        }
    }

    /// Returns an sfixed64.
    #[inline]
    pub fn sfixed64(&self) -> Result<i64, WireError> {
        self.fixed64().map(u64::cast_signed)
    }

    /// Returns a double, bit for bit: NaN payloads survive.
    #[inline]
    pub fn double(&self) -> Result<f64, WireError> {
        self.fixed64().map(f64::from_bits)
    }

    /// Returns a fixed32.
    #[inline]
    pub fn fixed32(&self) -> Result<u32, WireError> {
        match self.value {
            Value::Fixed32(bits) => Ok(bits),
            _ => Err(self.error(WireFault::WrongType)),
        }
    }

    /// Returns the bytes of a string, bytes, message or packed field.
    #[inline]
    pub fn bytes(&self) -> Result<&'a [u8], WireError> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(self.error(WireFault::WrongType)),
        }
    }

    /// Returns a string.
    #[inline]
    pub fn str(&self) -> Result<&'a str, WireError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| self.error(WireFault::Utf8))
    }

    /// Returns a reader of an embedded message, or of packed numbers.
    #[inline]
    pub fn message(&self) -> Result<Reader<'a>, WireError> {
        Ok(Reader { rest: self.bytes()?, end_offset: self.end_offset })
    }

    /// Returns an error at this field.
    #[cold]
    pub fn error(&self, fault: WireFault) -> WireError {
        WireError { fault, offset: self.end_offset }
    }
}

/// Returns bytes as text; what is not UTF-8 becomes U+FFFD. Nearly all is, which is quickly seen.
#[inline]
pub fn text_of(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(bytes),
    }
}

/// Undoes zigzag coding (sint32, sint64).
#[inline]
pub fn zigzag(number: u64) -> i64 {
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// Walks the fields of one message.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
    /// Where `rest` ends in the decoded body; with it each error can say where it is.
    end_offset: usize,
}

impl<'a> Reader<'a> {
    /// Returns a reader of a whole body.
    #[inline]
    pub fn new(body: &'a [u8]) -> Self {
        Self { rest: body, end_offset: body.len() }
    }

    /// Returns a reader of a message that begins at `offset` of its body.
    #[inline]
    pub fn at(message: &'a [u8], offset: usize) -> Self {
        Self { rest: message, end_offset: offset + message.len() }
    }

    /// Returns true when every byte was read.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Returns the bytes not read yet.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// Returns where the next byte is, counted from the start of the decoded body.
    #[inline]
    pub fn offset(&self) -> usize {
        self.end_offset - self.rest.len()
    }

    /// Reads the next field, or returns `None` at the end of the message.
    #[inline]
    pub fn next_field(&mut self) -> Result<Option<Field<'a>>, WireError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = match u32::try_from(tag >> 3) {
            Ok(number) if number != 0 && number < 1 << 29 => number,
            _ => return Err(self.error(WireFault::FieldNumber)),
        };
        let value = match tag & 7 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(self.fixed64()?),
            2 => Value::Bytes(self.length_delimited()?),
            5 => Value::Fixed32(self.fixed32()?),
            _ => return Err(self.error(WireFault::WireType)),
        };
        Ok(Some(Field { number, value, end_offset: self.offset() }))
    }

    /// Skips length-delimited fields for as long as their tag is this one byte and their length is
    /// one byte too, which is how nearly every label is written; the rest is `next_field`'s.
    #[inline]
    pub fn skip_run(&mut self, tag: u8) {
        while let [first, len, rest @ ..] = self.rest
            && *first == tag
            && *len < 0x80
            && let Some(after) = rest.get(usize::from(*len)..)
        {
            self.rest = after;
        }
    }

    /// Reads a varint of at most ten bytes and 64 bits.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, WireError> {
        match self.rest {
            [byte, rest @ ..] if *byte < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, WireError> {
        let mut number = 0;
        for (idx, &byte) in self.rest.iter().enumerate().take(10) {
            // The tenth byte holds the 64th bit and nothing else.
            if idx == 9 && byte > 1 {
                return Err(self.error(WireFault::Varint));
            }
            number |= u64::from(byte & 0x7f) << (7 * idx);
            if byte < 0x80 {
                self.rest = &self.rest[idx + 1..];
                return Ok(number);
            }
        }
        Err(self.error(WireFault::Truncated))
    }

    /// Reads eight little-endian bytes.
    #[inline]
    pub fn fixed64(&mut self) -> Result<u64, WireError> {
        match self.rest.split_first_chunk::<8>() {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(u64::from_le_bytes(*bytes))
            }
            None => Err(self.error(WireFault::Truncated)),
        }
    }

    /// Reads four little-endian bytes.
    #[inline]
    pub fn fixed32(&mut self) -> Result<u32, WireError> {
        match self.rest.split_first_chunk::<4>() {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(u32::from_le_bytes(*bytes))
            }
            None => Err(self.error(WireFault::Truncated)),
        }
    }

    /// Reads a length and that many bytes.
    #[inline]
    fn length_delimited(&mut self) -> Result<&'a [u8], WireError> {
        let len = self.varint()?;
        let split = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len));
        match split {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(bytes)
            }
            None => Err(self.error(WireFault::Truncated)),
        }
    }

    /// Returns an error at the next byte.
    #[cold]
    pub fn error(&self, fault: WireFault) -> WireError {
        WireError { fault, offset: self.offset() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(bytes: &[u8], want: Result<Option<(u32, Value<'_>)>, WireFault>) {
        let got = Reader::new(bytes).next_field();
        assert_eq!(got.map(|f| f.map(|f| (f.number, f.value))).map_err(|e| e.fault), want);
    }

    #[test]
    fn every_wire_type_is_read() {
        check(&[0x08, 0x96, 0x01], Ok(Some((1, Value::Varint(150)))));
        check(&[0x11, 1, 0, 0, 0, 0, 0, 0, 0], Ok(Some((2, Value::Fixed64(1)))));
        check(&[0x1a, 2, b'h', b'i'], Ok(Some((3, Value::Bytes(b"hi")))));
        check(&[0x25, 1, 0, 0, 0], Ok(Some((4, Value::Fixed32(1)))));
        check(&[], Ok(None));
    }

    #[test]
    fn bytes_that_are_not_a_field_are_refused() {
        check(&[0x08], Err(WireFault::Truncated));
        check(&[0x80], Err(WireFault::Truncated));
        check(&[0x11, 1, 2, 3], Err(WireFault::Truncated));
        check(&[0x1a, 5, b'h'], Err(WireFault::Truncated));
        check(&[0x25, 1], Err(WireFault::Truncated));
        check(&[0x0b], Err(WireFault::WireType));
        check(&[0x0c], Err(WireFault::WireType));
        check(&[0x0e], Err(WireFault::WireType));
        check(&[0x00], Err(WireFault::FieldNumber));
        check(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x01], Err(WireFault::FieldNumber));
    }

    #[test]
    fn a_varint_has_at_most_64_bits() {
        let mut bytes = [0xff; 11];
        bytes[0] = 0x08;
        bytes[10] = 0x01;
        check(&bytes, Ok(Some((1, Value::Varint(u64::MAX)))));
        bytes[10] = 0x02;
        check(&bytes, Err(WireFault::Varint));
        bytes[10] = 0x81;
        check(&bytes, Err(WireFault::Varint));
    }

    #[test]
    fn a_length_past_the_end_is_not_believed() {
        check(&[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f], Err(WireFault::Truncated));
        let huge = [0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        check(&huge, Err(WireFault::Truncated));
    }

    #[test]
    fn an_error_in_an_inner_message_says_where_in_the_body() {
        // Field 1 holds a message whose field 2 is a string cut short.
        let body = [0x08, 0x01, 0x0a, 0x03, 0x12, 0x09, b'x'];
        let mut reader = Reader::new(&body);
        reader.next_field().unwrap();

        let mut inner = reader.next_field().unwrap().unwrap().message().unwrap();
        let error = inner.next_field().unwrap_err();

        assert_eq!(error, WireError { fault: WireFault::Truncated, offset: 6 });
    }

    #[test]
    fn a_field_of_another_type_is_refused() {
        let field = Reader::new(&[0x08, 0x01]).next_field().unwrap().unwrap();

        assert!(field.bytes().is_err() && field.fixed64().is_err() && field.fixed32().is_err());
        assert_eq!(field.varint(), Ok(1));
    }

    #[test]
    fn a_run_ends_at_another_tag_a_long_length_or_the_end() {
        let check = |bytes: &[u8], want: usize| {
            let mut reader = Reader::new(bytes);
            reader.skip_run(0x0a);
            assert_eq!(reader.offset(), want, "{bytes:?}");
        };
        check(&[], 0);
        check(&[0x0a], 0);
        check(&[0x0a, 1, b'x', 0x0a, 0], 5);
        check(&[0x0a, 1, b'x', 0x12, 0], 3);
        check(&[0x0a, 1, b'x', 0x0a, 2, b'y'], 3);
        check(&[0x0a, 0x80, 0x00], 0);
    }

    #[test]
    fn signed_numbers_are_read() {
        let negative = [0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01];
        let field = Reader::new(&negative).next_field().unwrap().unwrap();

        assert_eq!((field.int64(), field.int32()), (Ok(-1), Ok(-1)));
        assert_eq!([0, 1, 2, 3].map(zigzag), [0, -1, 1, -2]);
        assert_eq!(zigzag(u64::MAX), i64::MIN);
    }

    #[test]
    fn no_bytes_make_the_reader_panic() {
        use rand::{Rng as _, SeedableRng as _};
        let seed = 7;
        let mut rng = rand::rngs::SmallRng::seed_from_u64(seed);
        for _ in 0..20_000 {
            let mut bytes = [0_u8; 24];
            rng.fill(&mut bytes[..]);
            let mut reader = Reader::new(&bytes);
            while let Ok(Some(field)) = reader.next_field() {
                assert!(field.end_offset <= bytes.len(), "seed {seed}");
            }
        }
    }
}
