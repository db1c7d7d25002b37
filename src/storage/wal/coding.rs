//! How numbers, texts and lists are written in the log, and in the few files that are like it: varints,
//! zigzag for what may be negative, doubles bit for bit, a count before each list.

pub(in crate::storage) use crate::base::varint::push_varint;
use crate::base::varint::zigzag;

/// A payload with a good checksum that does not make sense: written by a newer version, or a bug.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("log frame holds {0}")]
pub struct PayloadError(pub(in crate::storage) &'static str);

/// Reads what the functions below have written; never past the end.
#[derive(Debug)]
pub(in crate::storage) struct Reader<'a> {
    pub(in crate::storage) rest: &'a [u8],
}

/// The bytes end too early.
pub(in crate::storage) const SHORT: PayloadError = PayloadError("fewer bytes than it says");

impl<'a> Reader<'a> {
    /// Reads a byte.
    pub(in crate::storage) fn u8(&mut self) -> Result<u8, PayloadError> {
        let (&byte, rest) = self.rest.split_first().ok_or(SHORT)?;
        self.rest = rest;
        Ok(byte)
    }

    /// Reads a number of up to 64 bits.
    pub(in crate::storage) fn varint(&mut self) -> Result<u64, PayloadError> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(PayloadError("a number of more than 64 bits"))
    }

    /// Reads eight bytes.
    pub(in crate::storage) fn u64(&mut self) -> Result<u64, PayloadError> {
        let (bytes, rest) = self.rest.split_first_chunk::<8>().ok_or(SHORT)?;
        self.rest = rest;
        Ok(u64::from_le_bytes(*bytes))
    }

    /// Reads a signed number.
    pub(in crate::storage) fn zigzag(&mut self) -> Result<i64, PayloadError> {
        let value = self.varint()?;
        Ok((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
    }

    /// Reads a slot.
    pub(in crate::storage) fn u32(&mut self) -> Result<u32, PayloadError> {
        u32::try_from(self.varint()?).map_err(|_| PayloadError("a slot of more than 32 bits"))
    }

    /// Reads a signed number of 32 bits.
    pub(in crate::storage) fn i32(&mut self) -> Result<i32, PayloadError> {
        i32::try_from(self.zigzag()?).map_err(|_| PayloadError("a field of more than 32 bits"))
    }

    /// Reads a double, bit for bit.
    pub(in crate::storage) fn f64(&mut self) -> Result<f64, PayloadError> {
        Ok(f64::from_bits(self.u64()?))
    }

    /// Reads a double that may not be there.
    pub(in crate::storage) fn optional_f64(&mut self) -> Result<Option<f64>, PayloadError> {
        Ok(if self.u8()? == 0 { None } else { Some(self.f64()?) })
    }

    /// Reads a length and as many bytes.
    pub(in crate::storage) fn text(&mut self) -> Result<&'a [u8], PayloadError> {
        let len = usize::try_from(self.varint()?).map_err(|_| SHORT)?;
        let (text, rest) = self.rest.split_at_checked(len).ok_or(SHORT)?;
        self.rest = rest;
        Ok(text)
    }

    /// Reads a count and that many items; no item is smaller than a byte, so the count is checked
    /// before anything is allocated.
    pub(in crate::storage) fn count(&mut self) -> Result<usize, PayloadError> {
        let n = usize::try_from(self.varint()?).map_err(|_| SHORT)?;
        if n <= self.rest.len() { Ok(n) } else { Err(SHORT) }
    }

    /// Reads a count and that many items.
    pub(in crate::storage) fn list<T>(
        &mut self,
        item: impl Fn(&mut Self) -> Result<T, PayloadError>,
    ) -> Result<Vec<T>, PayloadError> {
        (0..self.count()?).map(|_| item(self)).collect()
    }
}

/// Appends a signed number.
pub(in crate::storage) fn push_zigzag(out: &mut Vec<u8>, value: i64) {
    push_varint(out, zigzag(value));
}

/// Appends a length and the bytes.
pub(in crate::storage) fn push_text(out: &mut Vec<u8>, text: &[u8]) {
    push_varint(out, text.len() as u64);
    out.extend_from_slice(text);
}

/// Appends a list of counts.
pub(in crate::storage) fn push_counts(out: &mut Vec<u8>, counts: &[u64]) {
    push_varint(out, counts.len() as u64);
    counts.iter().for_each(|&count| push_varint(out, count));
}

/// Appends a double that may not be there.
pub(in crate::storage) fn push_optional_f64(out: &mut Vec<u8>, value: Option<f64>) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        out.extend_from_slice(&value.to_le_bytes());
    }
}

/// Appends a list of doubles.
pub(in crate::storage) fn push_f64s(out: &mut Vec<u8>, values: &[f64]) {
    push_varint(out, values.len() as u64);
    values.iter().for_each(|value| out.extend_from_slice(&value.to_le_bytes()));
}

/// Appends a list of signed numbers.
pub(in crate::storage) fn push_indexes(out: &mut Vec<u8>, indexes: &[i32]) {
    push_varint(out, indexes.len() as u64);
    indexes.iter().for_each(|&index| push_zigzag(out, i64::from(index)));
}
