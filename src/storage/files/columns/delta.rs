//! Parquet's `DELTA_BINARY_PACKED`: whole numbers as differences.
//!
//! ```text
//! header   varints: numbers in a block, miniblocks in a block, how many numbers, the first (zigzag)
//! block    varint (zigzag): the least difference; a width in bits for each miniblock, a byte each; the miniblocks
//! ```
//! A miniblock holds what its differences are more than the block's least, packed. Differences wrap,
//! as the format has it, so every number fits.

use crate::base::varint::{push_varint, zigzag};

/// Numbers in a block.
const BLOCK: usize = 128;
/// Numbers in a miniblock.
const MINIBLOCK: usize = 32;

/// Appends the encoded numbers to `out`.
pub(super) fn encode(numbers: &[i64], out: &mut Vec<u8>) {
    push_varint(out, BLOCK as u64);
    push_varint(out, (BLOCK / MINIBLOCK) as u64);
    push_varint(out, numbers.len() as u64);
    push_varint(out, zigzag(numbers.first().copied().unwrap_or(0)));
    let mut deltas = [0; BLOCK];
    let mut last = numbers.first().copied().unwrap_or(0);
    for block in numbers.get(1..).unwrap_or_default().chunks(BLOCK) {
        for (delta, &number) in deltas.iter_mut().zip(block) {
            *delta = number.wrapping_sub(last);
            last = number;
        }
        push_block(&deltas[..block.len()], out);
    }
}

fn push_block(deltas: &[i64], out: &mut Vec<u8>) {
    let least = deltas.iter().copied().min().unwrap_or(0);
    push_varint(out, zigzag(least));
    let above = |delta: &i64| delta.wrapping_sub(least).cast_unsigned();
    let mut widths = [0; BLOCK / MINIBLOCK];
    for (width, miniblock) in widths.iter_mut().zip(deltas.chunks(MINIBLOCK)) {
        let all = miniblock.iter().map(above).fold(0, |all, bits| all | bits);
        *width = 64 - all.leading_zeros();
    }
    out.extend(widths.map(|width| u8::try_from(width).expect("at most 64 bits")));
    for (&width, miniblock) in widths.iter().zip(deltas.chunks(MINIBLOCK)) {
        pack(miniblock.iter().map(above), width, out);
    }
}

/// Packs up to a miniblock of numbers, the lowest bits first; a miniblock is always written whole.
fn pack(numbers: impl Iterator<Item = u64>, width: u32, out: &mut Vec<u8>) {
    let end = out.len() + MINIBLOCK / 8 * width as usize;
    let (mut bits, mut n_bits) = (0_u128, 0);
    for number in numbers {
        bits |= u128::from(number) << n_bits;
        n_bits += width;
        if n_bits >= 64 {
            out.extend_from_slice(&low64(bits).to_le_bytes());
            bits >>= 64;
            n_bits -= 64;
        }
    }
    out.extend_from_slice(&low64(bits).to_le_bytes());
    // More than was left, or less than a whole miniblock has.
    out.resize(end, 0);
}

fn low64(bits: u128) -> u64 {
    u64::try_from(bits & u128::from(u64::MAX)).expect("the upper half is cut off")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(numbers: &[i64], expected: &[u8]) {
        let mut out = Vec::new();
        encode(numbers, &mut out);
        assert_eq!(out, expected, "{numbers:?}");
    }

    /// 128 numbers in a block, four miniblocks.
    const HEADER: [u8; 3] = [0x80, 0x01, 4];

    #[test]
    fn few_numbers_are_a_header_and_a_block() {
        check(&[], &[&HEADER[..], &[0, 0]].concat());
        check(&[-3], &[&HEADER[..], &[1, 5]].concat());
    }

    #[test]
    fn equal_differences_take_no_bits() {
        // The first example of the format's specification.
        check(&[1, 2, 3, 4, 5], &[&HEADER[..], &[5, 2, 2, 0, 0, 0, 0]].concat());
    }

    #[test]
    fn what_a_difference_is_more_than_the_least_is_packed() {
        // The second: differences -2, -2, -2, 1, 1, 1, 1, the least is -2, and what is above it 0, 0, 0,
        // 3, 3, 3, 3 in two bits each.
        let packed = [0b1100_0000, 0b0011_1111, 0, 0, 0, 0, 0, 0];
        let block = [&[3, 2, 0, 0, 0][..], &packed].concat();
        check(&[7, 5, 3, 1, 2, 3, 4, 5], &[&HEADER[..], &[8, 14], &block].concat());
    }
}
