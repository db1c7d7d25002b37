//! Makers of bytes: protobuf by hand, so that it can lie, compressors, and a seeded die.

use std::io::Write as _;

/// Writes a varint.
pub(super) fn varint(mut number: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push(u8::try_from(number & 0x7f).expect("seven bits") | 0x80);
        number >>= 7;
    }
    bytes.push(u8::try_from(number).expect("seven bits"));
    bytes
}

fn tag(field: u64, wire_type: u64) -> Vec<u8> {
    varint(field << 3 | wire_type)
}

/// Writes a number field.
pub(super) fn number(field: u64, value: u64) -> Vec<u8> {
    [tag(field, 0), varint(value)].concat()
}

/// Writes a fixed64 field.
pub(super) fn fixed64(field: u64, value: u64) -> Vec<u8> {
    [tag(field, 1), value.to_le_bytes().to_vec()].concat()
}

/// Writes a message, string or bytes field.
pub(super) fn message(field: u64, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    promise(field, u64::try_from(content.len()).expect("a length fits"), content)
}

/// Writes such a field with a length that need not be true.
pub(super) fn promise(field: u64, n_bytes: u64, content: &[u8]) -> Vec<u8> {
    [tag(field, 2), varint(n_bytes), content.to_vec()].concat()
}

/// Wraps content in fields, the last number outermost.
pub(super) fn nested(content: impl AsRef<[u8]>, fields: &[u64]) -> Vec<u8> {
    fields.iter().fold(content.as_ref().to_vec(), |content, &field| message(field, content))
}

/// Compresses with zlib, which HTTP calls deflate.
pub(super) fn zlib(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("writing to memory");
    encoder.finish().expect("writing to memory")
}

/// Compresses with zstd.
pub(super) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 1).expect("writing to memory")
}

/// A die whose throws are the same in every run.
#[derive(Debug)]
pub(super) struct Die(u64);

impl Die {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Returns a number below `n`.
    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 16).expect("48 bits fit") % n.max(1)
    }

    pub(super) fn bytes(&mut self, n_bytes: usize) -> Vec<u8> {
        (0..n_bytes).map(|_| u8::try_from(self.below(256)).expect("a byte")).collect()
    }
}
