//! Samples of one series, compressed as they arrive, in 64-byte blocks.
//!
//! Each sample is a tag byte, the change of its timestamp's step, and the value by the cheapest of:
//! nothing (same bits), an integer difference, a difference in thousandths, or the upper bytes of
//! the XOR. Blocks come from an arena shared by all series of a commons and generation, so a series
//! costs no allocation of its own and a whole generation is freed page by page. Nothing here is on
//! disk; the codec may change freely.

/// The bytes of a block; the last four hold the next block's index.
const BLOCK_BYTES: usize = 64;
const BLOCK_DATA_BYTES: usize = BLOCK_BYTES - 4;
/// Blocks in a page of the arena: 256 KiB.
const PAGE_BLOCKS: usize = 4096;
/// Blocks that the first page begins with; it doubles until it is as large as the others. A generation
/// has an arena for each commons, and a commons of a few series should not take a page.
const FIRST_BLOCKS: usize = 64;
/// No block.
const NONE: u32 = u32::MAX;
/// The longest sample: tag, 8 bytes of timestamp, 8 bytes of value.
const SAMPLE_BYTES_MAX: usize = 17;

/// As long as a line of the processor's cache, and in one of them.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Block([u8; BLOCK_BYTES]);

/// The blocks of many series.
#[derive(Default)]
pub struct Arena {
    pages: Vec<Vec<Block>>,
    n_blocks: u32,
}

impl std::fmt::Debug for Arena {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Arena").field("n_blocks", &self.n_blocks).finish()
    }
}

impl Arena {
    fn alloc(&mut self) -> u32 {
        let idx = self.n_blocks;
        assert!(idx < NONE, "a generation is sealed long before 256 GiB");
        if idx as usize / PAGE_BLOCKS == self.pages.len() {
            let n_first = if idx == 0 { FIRST_BLOCKS } else { PAGE_BLOCKS };
            self.pages.push(Vec::with_capacity(n_first));
        }
        let page = self.pages.last_mut().expect("there is one by now");
        if page.len() == page.capacity() {
            page.reserve_exact(page.len());
        }
        let mut block = [0; BLOCK_BYTES];
        block[BLOCK_DATA_BYTES..].copy_from_slice(&NONE.to_le_bytes());
        page.push(Block(block));
        self.n_blocks += 1;
        idx
    }

    fn block(&self, idx: u32) -> &[u8; BLOCK_BYTES] {
        &self.pages[idx as usize / PAGE_BLOCKS][idx as usize % PAGE_BLOCKS].0
    }

    fn block_mut(&mut self, idx: u32) -> &mut [u8; BLOCK_BYTES] {
        &mut self.pages[idx as usize / PAGE_BLOCKS][idx as usize % PAGE_BLOCKS].0
    }

    /// Goes through some lists of blocks side by side, each from its first block on.
    pub fn warm(&self, mut blocks: Vec<u32>) {
        while !blocks.is_empty() {
            blocks.retain_mut(|idx| {
                *idx = next_of(self.block(*idx));
                *idx != NONE
            });
        }
    }

    /// Returns the memory held.
    pub fn size_bytes(&self) -> usize {
        let of_first = self.pages.first().map_or(0, Vec::capacity);
        (of_first + self.pages.len().saturating_sub(1) * PAGE_BLOCKS) * BLOCK_BYTES
    }
}

/// The samples of one series in an [`Arena`], in arrival order.
#[derive(Debug, Clone)]
pub struct Chunk {
    last_ms: i64,
    last_step: i64,
    last_bits: u64,
    first_block: u32,
    last_block: u32,
    n_samples: u32,
    n_used: u8,
    is_ascending: bool,
}

impl Default for Chunk {
    fn default() -> Self {
        Self {
            last_ms: 0,
            last_step: 0,
            last_bits: 0,
            first_block: NONE,
            last_block: NONE,
            n_samples: 0,
            n_used: 0,
            is_ascending: true,
        }
    }
}

impl Chunk {
    /// Appends a sample. One with the timestamp and the bits of the newest is a repetition and is
    /// left out; others that come late are kept, and sorted when read.
    pub fn append(&mut self, arena: &mut Arena, timestamp_ms: i64, value: f64) {
        let bits = value.to_bits();
        if self.n_samples > 0 && timestamp_ms <= self.last_ms {
            if timestamp_ms == self.last_ms && bits == self.last_bits {
                return;
            }
            self.is_ascending = false;
        }
        let mut code = [0_u8; SAMPLE_BYTES_MAX];
        let len = self.encode(timestamp_ms, bits, &mut code);
        self.write(arena, &code[..len]);
        self.last_step = timestamp_ms.wrapping_sub(self.last_ms);
        self.last_ms = timestamp_ms;
        self.last_bits = bits;
        self.n_samples += 1;
    }

    fn encode(&self, timestamp_ms: i64, bits: u64, code: &mut [u8; SAMPLE_BYTES_MAX]) -> usize {
        let step = timestamp_ms.wrapping_sub(self.last_ms);
        let (time_tag, n_time) = put_int(&mut code[1..9], step.wrapping_sub(self.last_step));
        let (value_tag, n_value) = put_value(&mut code[1 + n_time..], self.last_bits, bits);
        code[0] = time_tag << 4 | value_tag;
        1 + n_time + n_value
    }

    fn write(&mut self, arena: &mut Arena, code: &[u8]) {
        let used = usize::from(self.n_used);
        if self.last_block == NONE || used + code.len() > BLOCK_DATA_BYTES {
            let block = arena.alloc();
            if self.last_block == NONE {
                self.first_block = block;
            } else {
                let last = arena.block_mut(self.last_block);
                // A zero tag byte with a zero step and the same value is a sample, so the end of a
                // block needs a mark that no sample has.
                if used < BLOCK_DATA_BYTES {
                    last[used] = END_OF_BLOCK;
                }
                last[BLOCK_DATA_BYTES..].copy_from_slice(&block.to_le_bytes());
            }
            self.last_block = block;
            self.n_used = 0;
        }
        let used = usize::from(self.n_used);
        arena.block_mut(self.last_block)[used..used + code.len()].copy_from_slice(code);
        self.n_used = u8::try_from(used + code.len()).expect("a block has 60 bytes");
    }

    /// Returns the number of samples.
    pub fn len(&self) -> usize {
        self.n_samples as usize
    }

    /// Returns true when the series has no sample here.
    pub fn is_empty(&self) -> bool {
        self.n_samples == 0
    }

    /// Returns true when every sample is later than the one before.
    pub fn is_ascending(&self) -> bool {
        self.is_ascending
    }

    /// Returns the newest arrival's timestamp; the latest one when the chunk is ascending.
    pub fn last_ms(&self) -> i64 {
        self.last_ms
    }

    /// Returns true when no sample can be as late as that.
    pub fn is_before(&self, start_ms: i64) -> bool {
        self.is_ascending && self.last_ms < start_ms
    }

    /// Returns the block that the samples begin in.
    pub fn first_block(&self) -> Option<u32> {
        (self.first_block != NONE).then_some(self.first_block)
    }

    /// Hands every sample to `visit` in arrival order.
    pub fn for_each(&self, arena: &Arena, mut visit: impl FnMut(i64, f64)) {
        let (mut ms, mut step, mut bits) = (0_i64, 0_i64, 0_u64);
        let mut block_idx = self.first_block;
        let mut n_left = self.n_samples;
        while n_left > 0 {
            let block = arena.block(block_idx);
            let mut at = 0;
            while n_left > 0 && at < BLOCK_DATA_BYTES && block[at] != END_OF_BLOCK {
                let tag = block[at];
                let (change, n_time) = get_int(&block[at + 1..], tag >> 4);
                at += 1 + n_time;
                let n_value;
                (bits, n_value) = get_value(&block[at..], bits, tag & 0xf);
                at += n_value;
                step = step.wrapping_add(change);
                ms = ms.wrapping_add(step);
                n_left -= 1;
                visit(ms, f64::from_bits(bits));
            }
            block_idx = next_of(block);
        }
    }
}

fn next_of(block: &[u8; BLOCK_BYTES]) -> u32 {
    u32::from_le_bytes(block[BLOCK_DATA_BYTES..].try_into().expect("four bytes"))
}

/// A tag byte whose time half no sample has.
const END_OF_BLOCK: u8 = 0xf0;

/// The value halves of a tag byte.
const SAME: u8 = 0;
const INT_BASE: u8 = 1; // 1..=4: difference of whole numbers in 1, 2, 4, 8 bytes
const XOR_BASE: u8 = 4; // 5..=12: the upper 1..=8 bytes of the XOR
const MILLI_BASE: u8 = 12; // 13..=15: difference in thousandths in 1, 2, 4 bytes

/// Writes a number in 0, 1, 2, 4 or 8 bytes; returns its width code and width.
fn put_int(out: &mut [u8], value: i64) -> (u8, usize) {
    if value == 0 {
        return (0, 0);
    }
    let (code, n) = int_width(value);
    out[..n].copy_from_slice(&value.to_le_bytes()[..n]);
    (code, n)
}

fn int_width(value: i64) -> (u8, usize) {
    if i8::try_from(value).is_ok() {
        (1, 1)
    } else if i16::try_from(value).is_ok() {
        (2, 2)
    } else if i32::try_from(value).is_ok() {
        (3, 4)
    } else {
        (4, 8)
    }
}

fn get_int(bytes: &[u8], code: u8) -> (i64, usize) {
    match code {
        0 => (0, 0),
        1 => (i64::from(bytes[0].cast_signed()), 1),
        2 => (i64::from(i16::from_le_bytes([bytes[0], bytes[1]])), 2),
        3 => (i64::from(i32::from_le_bytes(bytes[..4].try_into().expect("four bytes"))), 4),
        _ => (i64::from_le_bytes(bytes[..8].try_into().expect("eight bytes")), 8),
    }
}

/// Writes a value relative to the one before; returns its tag and width.
fn put_value(out: &mut [u8], last_bits: u64, bits: u64) -> (u8, usize) {
    let xor = last_bits ^ bits;
    if xor == 0 {
        return (SAME, 0);
    }
    let n_xor = 8 - (xor.trailing_zeros() / 8) as usize;
    if let (Some(last), Some(now)) = (as_whole(last_bits), as_whole(bits)) {
        let (code, n) = int_width(now - last);
        if n <= n_xor {
            out[..n].copy_from_slice(&(now - last).to_le_bytes()[..n]);
            return (INT_BASE - 1 + code, n);
        }
    } else if let (Some(last), Some(now)) = (as_thousandths(last_bits), as_thousandths(bits)) {
        let (code, n) = int_width(now - last);
        if n <= n_xor && n <= 4 {
            out[..n].copy_from_slice(&(now - last).to_le_bytes()[..n]);
            return (MILLI_BASE + code, n);
        }
    }
    out[..n_xor].copy_from_slice(&xor.to_le_bytes()[8 - n_xor..]);
    (XOR_BASE + u8::try_from(n_xor).expect("at most eight"), n_xor)
}

fn get_value(bytes: &[u8], last_bits: u64, tag: u8) -> (u64, usize) {
    match tag {
        SAME => (last_bits, 0),
        INT_BASE..=XOR_BASE => {
            let (change, n) = get_int(bytes, tag);
            let last = as_whole(last_bits).expect("written only after a whole number");
            (from_whole(last + change), n)
        }
        13..=15 => {
            let (change, n) = get_int(bytes, tag - MILLI_BASE);
            let last = as_thousandths(last_bits).expect("written only after thousandths");
            (from_thousandths(last + change), n)
        }
        _ => {
            let n = usize::from(tag - XOR_BASE);
            let mut xor = [0; 8];
            xor[8 - n..].copy_from_slice(&bytes[..n]);
            (last_bits ^ u64::from_le_bytes(xor), n)
        }
    }
}

/// Whole numbers up to here, and their differences, are exact.
const WHOLE_MAX: f64 = 4_503_599_627_370_496.0; // 2^52

#[expect(clippy::cast_possible_truncation, reason = "checked by converting back")]
fn as_whole(bits: u64) -> Option<i64> {
    let value = f64::from_bits(bits);
    let whole = value as i64;
    (from_whole(whole) == bits && value.abs() <= WHOLE_MAX).then_some(whole)
}

#[expect(clippy::cast_precision_loss, reason = "only numbers up to 2^53 get here")]
fn from_whole(whole: i64) -> u64 {
    (whole as f64).to_bits()
}

#[expect(clippy::cast_possible_truncation, reason = "checked by converting back")]
fn as_thousandths(bits: u64) -> Option<i64> {
    let scaled = (f64::from_bits(bits) * 1000.0).round();
    let thousandths = scaled as i64;
    (scaled.abs() <= WHOLE_MAX && from_thousandths(thousandths) == bits).then_some(thousandths)
}

#[expect(clippy::cast_precision_loss, reason = "only numbers up to 2^53 get here")]
fn from_thousandths(thousandths: i64) -> u64 {
    (thousandths as f64 / 1000.0).to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::rngs::SmallRng;
    use rand::{Rng, SeedableRng};

    fn round_trip(samples: &[(i64, f64)]) -> (Vec<(i64, u64)>, usize) {
        let mut arena = Arena::default();
        let mut chunk = Chunk::default();
        for &(ms, value) in samples {
            chunk.append(&mut arena, ms, value);
        }
        let mut out = Vec::new();
        chunk.for_each(&arena, |ms, value| out.push((ms, value.to_bits())));
        (out, arena.n_blocks as usize * BLOCK_BYTES)
    }

    #[track_caller]
    fn check(samples: &[(i64, f64)]) {
        let want: Vec<_> = samples.iter().map(|&(ms, value)| (ms, value.to_bits())).collect();
        assert_eq!(round_trip(samples).0, want);
    }

    #[test]
    fn an_arena_of_few_series_is_small_and_no_page_grows_past_the_others() {
        let mut arena = Arena::default();
        assert_eq!(arena.size_bytes(), 0);
        let sizes: Vec<usize> = [10, 64, 65, PAGE_BLOCKS, PAGE_BLOCKS + 1]
            .into_iter()
            .map(|n_blocks| {
                while (arena.n_blocks as usize) < n_blocks {
                    let idx = arena.alloc();
                    arena.block_mut(idx)[0] = idx.to_le_bytes()[1];
                }
                arena.size_bytes() / BLOCK_BYTES
            })
            .collect();

        assert_eq!(sizes, [64, 64, 128, PAGE_BLOCKS, 2 * PAGE_BLOCKS]);
        let is_kept = |idx: u32| arena.block(idx)[0] == idx.to_le_bytes()[1];
        assert!((0..arena.n_blocks).all(is_kept), "a page that grows keeps its blocks");
    }

    #[test]
    fn odd_values_come_back_bit_for_bit() {
        let values = [
            0.0,
            -0.0,
            1.0,
            f64::NAN,
            f64::INFINITY,
            0.1,
            12.345,
            -12.345,
            1e18,
            9.007_199_254_740_993e15,
            5e-324,
            1e300,
            4_503_599_627_370_496.0,
            -4_503_599_627_370_497.0,
        ];
        let mut samples = Vec::new();
        for (idx, a) in values.iter().enumerate() {
            for b in values {
                let at =
                    i64::try_from(samples.len()).unwrap() * 15_000 + i64::try_from(idx).unwrap();
                samples.extend([
                    (at, *a),
                    (at + 1, b),
                    (at + 2, f64::from_bits(0x7ff0_0000_0000_0002)),
                ]);
            }
        }
        check(&samples);
    }

    #[test]
    fn any_order_of_timestamps_is_kept() {
        check(&[(5, 1.0), (3, 2.0), (i64::MAX, 3.0), (i64::MIN, 4.0), (0, 5.0), (0, 6.0)]);
    }

    #[test]
    fn a_repeated_sample_is_kept_once() {
        assert_eq!(round_trip(&[(1, 2.0), (1, 2.0), (1, 3.0)]).0.len(), 2);
    }

    #[test]
    fn random_series_come_back() {
        for seed in 0..200 {
            let mut rng = SmallRng::seed_from_u64(seed);
            let mut ms = 1_700_000_000_000;
            let mut value: f64 = 0.0;
            let samples: Vec<(i64, f64)> = (0..500)
                .map(|_| {
                    ms += [15_000, 15_001, 1, 3_600_000][rng.random_range(0..4)];
                    value = match rng.random_range(0..5) {
                        0 => value,
                        1 => value.trunc() + f64::from(rng.random_range(0..1000)),
                        2 => f64::from(rng.random_range(0..1_000_000)) / 1000.0,
                        3 => f64::from_bits(rng.random()),
                        _ => rng.random(),
                    };
                    (ms, value)
                })
                .collect();
            let want: Vec<_> = samples.iter().map(|&(ms, value)| (ms, value.to_bits())).collect();
            assert_eq!(round_trip(&samples).0, want, "seed {seed}");
        }
    }

    #[test]
    fn a_counter_costs_about_two_bytes_a_sample() {
        let samples: Vec<(i64, f64)> = (0..480).map(|i| (i * 15_000, (i * 37) as f64)).collect();

        let (_, n_bytes) = round_trip(&samples);

        assert!(n_bytes <= 480 * 5 / 2, "{n_bytes}");
    }
}
