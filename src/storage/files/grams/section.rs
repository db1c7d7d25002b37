//! The blocks of one row group as bytes, and back.

use bytes::Bytes;

use super::hash::BITS_LOG2;

const MAGIC: &[u8; 4] = b"CWG1";
const HEAD_BYTES: usize = 8;
/// The fewest bits of a block: 64 bytes.
const BITS_LOG2_MIN: u32 = 9;

/// What is known of some rows that follow each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// How many rows.
    pub(super) n_rows: u32,
    /// Their levels, a bit each; the last says that some are not known.
    pub(super) levels: u8,
    /// What else may be there.
    pub(super) flags: u8,
    /// The bits, a power of two of them.
    pub(super) bits: Bytes,
}

impl Block {
    /// Returns true when the bit of a gram is set.
    #[inline]
    pub(super) fn has(&self, place: u32) -> bool {
        // A small block is a large one folded: the upper bits of a place are left out.
        let place = place as usize & (self.bits.len() * 8 - 1);
        self.bits[place / 8] >> (place % 8) & 1 == 1
    }
}

/// Returns the bits of a block with few rows in as few bytes as leave half of them unset.
pub(super) fn folded(mut bits: Vec<u8>) -> Vec<u8> {
    while bits.len() * 8 > 1 << BITS_LOG2_MIN {
        let (low, high) = bits.split_at(bits.len() / 2);
        let half: Vec<u8> = low.iter().zip(high).map(|(a, b)| a | b).collect();
        let n_set: u64 = half.iter().map(|byte| u64::from(byte.count_ones())).sum();
        if n_set * 2 > half.len() as u64 * 8 {
            break;
        }
        bits = half;
    }
    bits
}

/// Returns the section of a row group's blocks.
pub(super) fn encode(blocks: &[Block]) -> Vec<u8> {
    let n_bytes: usize = blocks.iter().map(|block| HEAD_BYTES + block.bits.len()).sum();
    let mut out = Vec::with_capacity(8 + n_bytes);
    out.extend_from_slice(MAGIC);
    let n_blocks = u32::try_from(blocks.len()).expect("a block has many rows");
    out.extend_from_slice(&n_blocks.to_le_bytes());
    for block in blocks {
        out.extend_from_slice(&block.n_rows.to_le_bytes());
        let bits_log2 = (block.bits.len() * 8).trailing_zeros();
        let bits_log2 = u8::try_from(bits_log2).expect("at most 64");
        out.extend_from_slice(&[bits_log2, block.levels, block.flags, 0]);
    }
    blocks.iter().for_each(|block| out.extend_from_slice(&block.bits));
    out
}

/// Reads a section of a row group of so many rows; `None` when it is of another version, or does not
/// cover these rows: then nothing is known of them.
pub fn decode(section: &Bytes, n_rows: usize) -> Option<Vec<Block>> {
    let rest = section.strip_prefix(MAGIC)?;
    let (n_blocks, heads) = rest.split_first_chunk::<4>()?;
    let n_blocks = usize::try_from(u32::from_le_bytes(*n_blocks)).ok()?;
    let heads = heads.get(..n_blocks.checked_mul(HEAD_BYTES)?)?;
    let mut at = 8 + heads.len();
    let mut blocks = Vec::with_capacity(n_blocks);
    let mut n_rows_left = n_rows;
    for head in heads.chunks_exact(HEAD_BYTES) {
        let [a, b, c, d, bits_log2, levels, flags, _] = *head else { return None };
        let n_rows = u32::from_le_bytes([a, b, c, d]);
        n_rows_left = n_rows_left.checked_sub(usize::try_from(n_rows).ok()?)?;
        if !(BITS_LOG2_MIN..=BITS_LOG2).contains(&u32::from(bits_log2)) {
            return None;
        }
        let end = at + (1_usize << bits_log2) / 8;
        if end > section.len() {
            return None;
        }
        blocks.push(Block { n_rows, levels, flags, bits: section.slice(at..end) });
        at = end;
    }
    (n_rows_left == 0 && at == section.len()).then_some(blocks)
}
