//! Byte strings that are written bit by bit, and the numbers of varying length that Prometheus' chunks
//! have (prometheus/prometheus `tsdb/chunkenc/{varbit,xor}.go`).

/// A byte string under way; the highest bit of a byte comes first.
pub(super) struct Bits {
    bytes: Vec<u8>,
    /// Bits of the last byte that are not written yet.
    n_free: u32,
}

/// The bits in which a value last differed from the one before: zeros that lead and that trail.
pub(super) type Window = Option<(u32, u32)>;

/// How many bits a number may have, and the length of what says so: as many ones less one, and a zero
/// but after the last.
const STEPS: [(u32, u32); 8] =
    [(3, 2), (6, 3), (9, 4), (12, 5), (18, 6), (25, 7), (56, 8), (64, 8)];

impl Bits {
    /// Goes on after whole bytes.
    pub(super) fn after(bytes: Vec<u8>) -> Self {
        Self { bytes, n_free: 0 }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// Writes the lowest `n` bits, the highest of them first.
    pub(super) fn push(&mut self, value: u64, n: u32) {
        for place in (0..n).rev() {
            if self.n_free == 0 {
                self.bytes.push(0);
                self.n_free = 8;
            }
            self.n_free -= 1;
            let bit = (value >> place) & 1 == 1;
            if let Some(last) = self.bytes.last_mut() {
                *last |= u8::from(bit) << self.n_free;
            }
        }
    }

    pub(super) fn push_bytes(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.push(u64::from(*byte), 8));
    }

    /// Writes how a value differs from the one before.
    pub(super) fn push_xor(&mut self, xor: u64, window: &mut Window) {
        if xor == 0 {
            return self.push(0, 1);
        }
        self.push(1, 1);
        // Five bits are there for the leading zeros.
        let (leading, trailing) = (xor.leading_zeros().min(31), xor.trailing_zeros());
        let fits = |least: &(u32, u32)| leading >= least.0 && trailing >= least.1;
        if let Some((least_leading, least_trailing)) = window.filter(fits) {
            self.push(0, 1);
            return self.push(xor >> least_trailing, 64 - least_leading - least_trailing);
        }
        *window = Some((leading, trailing));
        let n = 64 - leading - trailing;
        self.push(1, 1);
        self.push(u64::from(leading), 5);
        self.push(u64::from(n % 64), 6);
        self.push(xor >> trailing, n);
    }

    /// Writes a number that is mostly near zero.
    pub(super) fn push_int(&mut self, value: i64) {
        let is_in = |n| fits(value, n);
        self.push_step(value.cast_unsigned(), is_in);
    }

    /// Writes a number that is mostly small.
    pub(super) fn push_uint(&mut self, value: u64) {
        self.push_step(value, |n| n == 64 || value < 1 << n);
    }

    fn push_step(&mut self, bits: u64, is_in: impl Fn(u32) -> bool) {
        if bits == 0 {
            return self.push(0, 1);
        }
        let step = STEPS.into_iter().find(|(n, _)| is_in(*n));
        let (n, n_prefix) = step.unwrap_or((64, 8));
        // Ones and a zero; the longest has no zero.
        let prefix = if n == 64 { 0xff } else { (1 << n_prefix) - 2 };
        self.push(prefix, n_prefix);
        self.push(bits, n);
    }
}

/// Returns whether a number has at most so many bits; of those with the most, the positive one does.
pub(super) fn fits(value: i64, n: u32) -> bool {
    n >= 64 || (-((1_i64 << (n - 1)) - 1)..=1 << (n - 1)).contains(&value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows the bits, those that fill the last byte too.
    #[track_caller]
    fn check(push: impl Fn(&mut Bits), want: &str) {
        let mut bits = Bits::after(Vec::new());
        push(&mut bits);
        let shown: String = bits.into_bytes().iter().map(|byte| format!("{byte:08b}")).collect();
        let filled = shown.strip_prefix(&want.replace(' ', ""));
        assert!(
            filled.is_some_and(|rest| rest.len() < 8 && !rest.contains('1')),
            "{shown}, {want}"
        );
    }

    #[test]
    fn numbers_take_as_many_bits_as_prometheus_gives_them() {
        check(|bits| bits.push_int(0), "0");
        check(|bits| bits.push_int(1), "10 001");
        check(|bits| bits.push_int(4), "10 100");
        check(|bits| bits.push_int(-3), "10 101");
        check(|bits| bits.push_int(-4), "110 111100");
        check(|bits| bits.push_int(-53), "1110 111001011");
        check(|bits| bits.push_int(2048), "11110 100000000000");
        check(|bits| bits.push_int(131_072), "111110 100000000000000000");
        check(|bits| bits.push_int(16_777_216), "1111110 1000000000000000000000000");
        check(|bits| bits.push_int(1 << 55), &format!("11111110 1{}", "0".repeat(55)));
        check(|bits| bits.push_int(i64::MIN), &format!("11111111 1{}", "0".repeat(63)));
        check(|bits| bits.push_uint(0), "0");
        check(|bits| bits.push_uint(7), "10 111");
        check(|bits| bits.push_uint(8), "110 001000");
        check(|bits| bits.push_uint(u64::MAX), &"1".repeat(72));
    }
}
