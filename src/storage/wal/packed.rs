//! Rows in a frame: an Arrow IPC stream, packed with Snappy.
//!
//! Rows repeat their keys and most of their values, and packed they have a fifth of their bytes or
//! less. That costs a third of what it saves: what is appended goes through the page cache, into
//! memory that the kernel has to find first, and then to the disk.

use arrow::array::RecordBatch;
use snap::raw::{Decoder, Encoder, decompress_len, max_compress_len};

use super::frame::PAYLOAD_BYTES_MAX;

/// Memory that is kept from frame to frame.
const KEPT_BYTES: usize = 8 << 20;
/// An element of three bytes makes 64 at most.
const RATIO_MAX: usize = 22;

/// Packs rows; its memory serves frame after frame.
pub struct Packer {
    raw: Vec<u8>,
    packed: Vec<u8>,
    encoder: Encoder,
}

impl std::fmt::Debug for Packer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Packer")
    }
}

impl Default for Packer {
    fn default() -> Self {
        Self { raw: Vec::new(), packed: Vec::new(), encoder: Encoder::new() }
    }
}

impl Packer {
    /// Appends a batch.
    pub(super) fn push(&mut self, out: &mut Vec<u8>, batch: &RecordBatch) {
        self.raw.clear();
        push_stream(&mut self.raw, batch);
        assert!(
            self.raw.len() <= PAYLOAD_BYTES_MAX,
            "a request is far smaller than a frame may be"
        );
        let n_room = max_compress_len(self.raw.len());
        if self.packed.len() < n_room {
            self.packed.resize(n_room, 0);
        }
        let n_packed = self.encoder.compress(&self.raw, &mut self.packed);
        out.extend_from_slice(&self.packed[..n_packed.expect("there is room for the worst case")]);
        // One large request must not be kept room for until the next such one.
        self.raw.clear();
        self.raw.shrink_to(KEPT_BYTES);
        self.packed.truncate(KEPT_BYTES);
        self.packed.shrink_to(KEPT_BYTES);
    }
}

/// Appends a batch as it is.
pub(super) fn push_stream(out: &mut Vec<u8>, batch: &RecordBatch) {
    let mut writer = arrow_ipc::writer::StreamWriter::try_new(out, &batch.schema())
        .expect("writing to memory, of types that IPC knows");
    writer.write(batch).expect("the batch has the writer's schema");
    writer.finish().expect("writing to memory");
}

/// Returns what was packed; `None` when the bytes are not that, or say that they hold more than they
/// can.
pub(super) fn unpack(packed: &[u8]) -> Option<Vec<u8>> {
    let n_raw = decompress_len(packed).ok()?;
    if n_raw > PAYLOAD_BYTES_MAX || n_raw > packed.len().saturating_mul(RATIO_MAX) {
        return None;
    }
    Decoder::new().decompress_vec(packed).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_that_lies_takes_no_memory() {
        // A varint of 200 MiB, and ten bytes.
        let mut packed = vec![0x80, 0x80, 0x80, 0x64];
        packed.extend_from_slice(&[0; 10]);

        assert_eq!(unpack(&packed), None);
        assert_eq!(unpack(&[]), None);
    }

    #[test]
    fn what_packs_best_of_all_is_unpacked() {
        let raw = vec![b'a'; 10 << 20];
        let packed = Encoder::new().compress_vec(&raw).unwrap();

        assert_eq!(unpack(&packed), Some(raw));
    }
}
