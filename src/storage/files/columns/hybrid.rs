//! Parquet's hybrid of runs and packed bits, written from runs.
//!
//! ```text
//! run      varint (n << 1), then the value in as many whole bytes as its width needs
//! packed   varint (groups << 1 | 1), then groups of eight values, `width` bits each
//! ```
//! Eight or more equal values become a run; what lies between runs is packed.

use crate::base::varint::push_varint;

/// Values in a packed group.
const GROUP: usize = 8;

/// Encodes small numbers of a fixed width.
#[derive(Debug)]
pub(super) struct Hybrid {
    width: u32,
    out: Vec<u8>,
    /// Packed groups whose header is not written yet.
    packed: Vec<u8>,
    n_groups: u32,
    /// The group that is not full.
    group: [u32; GROUP],
    n_in_group: usize,
}

impl Hybrid {
    /// Begins behind what `out` holds already, for values below 2^`width`.
    pub(super) fn new(out: Vec<u8>, width: u32) -> Self {
        Self { width, out, packed: Vec::new(), n_groups: 0, group: [0; GROUP], n_in_group: 0 }
    }

    /// Appends `n` values that are the same.
    pub(super) fn push_run(&mut self, value: u32, mut n: u32) {
        while n > 0 && (self.n_in_group > 0 || n < 8) {
            self.group[self.n_in_group] = value;
            self.n_in_group += 1;
            n -= 1;
            if self.n_in_group == GROUP {
                self.pack();
            } else if n == 0 {
                return;
            }
        }
        if n > 0 {
            self.end_packed();
            push_varint(&mut self.out, u64::from(n) << 1);
            let n_bytes = self.width.div_ceil(8) as usize;
            self.out.extend_from_slice(&value.to_le_bytes()[..n_bytes]);
        }
    }

    fn pack(&mut self) {
        let (mut bits, mut n_bits) = (0_u64, 0);
        for value in self.group {
            bits |= u64::from(value) << n_bits;
            n_bits += self.width;
            while n_bits >= 8 {
                self.packed.push((bits & 0xff) as u8);
                bits >>= 8;
                n_bits -= 8;
            }
        }
        self.n_groups += 1;
        self.n_in_group = 0;
    }

    fn end_packed(&mut self) {
        if self.n_groups > 0 {
            push_varint(&mut self.out, u64::from(self.n_groups) << 1 | 1);
            self.out.append(&mut self.packed);
            self.n_groups = 0;
        }
    }

    /// Returns what was encoded. Values that fill up the last group are zeros, which readers skip
    /// because they know how many values there are.
    pub(super) fn finish(mut self) -> Vec<u8> {
        if self.n_in_group > 0 {
            self.group[self.n_in_group..].fill(0);
            self.pack();
        }
        self.end_packed();
        self.out
    }
}

/// Returns the bits that numbers below `n` need.
pub(super) fn width_below(n: usize) -> u32 {
    usize::BITS - n.saturating_sub(1).leading_zeros()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encode(width: u32, runs: &[(u32, u32)]) -> Vec<u8> {
        let mut hybrid = Hybrid::new(Vec::new(), width);
        runs.iter().for_each(|&(value, n)| hybrid.push_run(value, n));
        hybrid.finish()
    }

    #[test]
    fn eight_of_a_kind_are_a_run() {
        assert_eq!(encode(3, &[(5, 8)]), [8 << 1, 5]);
        assert_eq!(encode(9, &[(300, 200)]), [0x90, 0x03, 0x2c, 0x01]);
        assert_eq!(encode(0, &[(0, 9)]), [9 << 1]);
    }

    #[test]
    fn what_differs_is_packed() {
        // The example of the format's specification: 0 to 7 in three bits.
        let runs: Vec<_> = (0..8).map(|value| (value, 1)).collect();
        assert_eq!(encode(3, &runs), [3, 0b1000_1000, 0b1100_0110, 0b1111_1010]);
    }

    #[test]
    fn a_group_is_filled_from_the_run_behind_it() {
        assert_eq!(encode(1, &[(1, 3), (0, 13)]), [3, 0b0000_0111, 8 << 1, 0]);
        assert_eq!(encode(1, &[(1, 3), (0, 6)]), [5, 0b0000_0111, 0]);
    }

    #[test]
    fn a_width_holds_the_largest_key() {
        for (n, width) in [(0, 0), (1, 0), (2, 1), (3, 2), (256, 8), (257, 9)] {
            assert_eq!(width_below(n), width, "{n}");
        }
    }
}
