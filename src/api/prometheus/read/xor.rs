//! Chunks of samples as Prometheus keeps them: times as differences of differences, values as the
//! bits in which they differ from the one before.
//!
//! `n_samples u16 big-endian`, then bits, the highest of a byte first: the first time as a zigzag
//! varint and value as 64 bits; the second time's difference as a varint; from the third on the
//! difference of differences, `0` for none and else `10`, `110`, `1110` or `1111` before 14, 17, 20
//! or 64 bits. A value is `0` when it is the same, `10` and the meaningful bits when they fit the
//! window of the one before, else `11`, 5 bits of leading zeros, 6 of length (0 is 64) and the bits.
//! Source: prometheus/prometheus `tsdb/chunkenc/xor.go`.

/// Prometheus' number of this encoding.
pub(super) const ENCODING: i32 = 1;
/// The most samples in a chunk, as Prometheus makes them.
pub(super) const SAMPLES_MAX: usize = 120;

/// Encodes samples in ascending order; there are at most [`SAMPLES_MAX`].
pub(super) fn encode(times_ms: &[i64], values: &[f64]) -> Vec<u8> {
    let n_samples = u16::try_from(times_ms.len()).unwrap_or(u16::MAX);
    let mut bits = Bits { bytes: n_samples.to_be_bytes().to_vec(), n_free: 0 };
    let (mut last_ms, mut last_delta, mut last_value) = (0_i64, 0_i64, 0_u64);
    let mut window = None;
    for (idx, (time_ms, value)) in times_ms.iter().zip(values).enumerate() {
        let delta = time_ms.wrapping_sub(last_ms);
        match idx {
            0 => bits.push_bytes(&zigzag(*time_ms)),
            1 => {
                let mut varint = Vec::new();
                push_uvarint(&mut varint, delta.cast_unsigned());
                bits.push_bytes(&varint);
            }
            _ => bits.push_delta(delta.wrapping_sub(last_delta)),
        }
        match idx {
            0 => bits.push(value.to_bits(), 64),
            _ => bits.push_xor(value.to_bits() ^ last_value, &mut window),
        }
        (last_ms, last_value) = (*time_ms, value.to_bits());
        // The first time has no difference to speak of.
        last_delta = if idx == 0 { 0 } else { delta };
    }
    bits.bytes
}

fn zigzag(value: i64) -> Vec<u8> {
    let mut out = Vec::new();
    push_uvarint(&mut out, ((value << 1) ^ (value >> 63)).cast_unsigned());
    out
}

/// Appends a number, seven bits a byte, the lowest first.
pub(super) fn push_uvarint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

/// A byte string that is written bit by bit.
struct Bits {
    bytes: Vec<u8>,
    /// Bits of the last byte that are not written yet.
    n_free: u32,
}

impl Bits {
    /// Writes the lowest `n` bits, the highest of them first.
    fn push(&mut self, value: u64, n: u32) {
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

    fn push_bytes(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.push(u64::from(*byte), 8));
    }

    fn push_delta(&mut self, delta: i64) {
        let fits = |n: u32| (-((1_i64 << (n - 1)) - 1)..=1 << (n - 1)).contains(&delta);
        let (prefix, n_prefix, n) = match delta {
            0 => return self.push(0, 1),
            _ if fits(14) => (0b10, 2, 14),
            _ if fits(17) => (0b110, 3, 17),
            _ if fits(20) => (0b1110, 4, 20),
            _ => (0b1111, 4, 64),
        };
        self.push(prefix, n_prefix);
        self.push(delta.cast_unsigned(), n);
    }

    fn push_xor(&mut self, xor: u64, window: &mut Option<(u32, u32)>) {
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
}

#[cfg(test)]
pub(super) use reading::{decode, split_uvarint};

#[cfg(test)]
mod reading {
    //! The other half, written from the description above and not from the encoder.

    /// Returns a number and what follows it.
    pub(in super::super) fn split_uvarint(bytes: &[u8]) -> Option<(u64, &[u8])> {
        let mut value = 0;
        for (idx, byte) in bytes.iter().enumerate() {
            value |= u64::from(byte & 0x7f) << (7 * idx);
            if byte & 0x80 == 0 {
                return Some((value, &bytes[idx + 1..]));
            }
        }
        None
    }

    struct Reader<'a> {
        bytes: &'a [u8],
        at: usize,
    }

    impl Reader<'_> {
        fn bits(&mut self, n: u32) -> Option<u64> {
            let mut value = 0;
            for _ in 0..n {
                let byte = *self.bytes.get(self.at / 8)?;
                value = value << 1 | u64::from(byte >> (7 - self.at % 8) & 1);
                self.at += 1;
            }
            Some(value)
        }

        fn uvarint(&mut self) -> Option<u64> {
            let (mut value, mut shift) = (0, 0);
            loop {
                let byte = self.bits(8)?;
                value |= (byte & 0x7f) << shift;
                shift += 7;
                if byte & 0x80 == 0 {
                    return Some(value);
                }
            }
        }

        fn delta(&mut self) -> Option<i64> {
            for n in [14, 17, 20] {
                if self.bits(1)? == 0 {
                    return if n == 14 {
                        Some(0)
                    } else {
                        self.signed(if n == 17 { 14 } else { 17 })
                    };
                }
            }
            let n = if self.bits(1)? == 0 { 20 } else { 64 };
            self.signed(n)
        }

        fn signed(&mut self, n: u32) -> Option<i64> {
            let value = self.bits(n)?;
            // The range is not even: 2^(n-1) itself is positive.
            let is_negative = n < 64 && value > 1 << (n - 1);
            let value = value.cast_signed();
            Some(if is_negative { value - (1 << n) } else { value })
        }
    }

    /// Returns the samples of a chunk.
    pub(in super::super) fn decode(chunk: &[u8]) -> Option<Vec<(i64, f64)>> {
        let n_samples = u16::from_be_bytes([*chunk.first()?, *chunk.get(1)?]);
        let mut reader = Reader { bytes: &chunk[2..], at: 0 };
        let mut samples = Vec::new();
        let (mut time, mut delta, mut value, mut window) = (0_i64, 0_i64, 0_u64, (0, 0));
        for idx in 0..n_samples {
            match idx {
                0 => {
                    let raw = reader.uvarint()?;
                    time = (raw >> 1).cast_signed() ^ -((raw & 1).cast_signed());
                    value = reader.bits(64)?;
                }
                1 => delta = reader.uvarint()?.cast_signed(),
                _ => delta = delta.wrapping_add(reader.delta()?),
            }
            if idx > 0 {
                time += delta;
                if reader.bits(1)? == 1 {
                    if reader.bits(1)? == 1 {
                        let leading = u32::try_from(reader.bits(5)?).ok()?;
                        let n = u32::try_from(reader.bits(6)?).ok()?;
                        window = (leading, if n == 0 { 64 } else { n });
                    }
                    let (leading, n) = window;
                    value ^= reader.bits(n)? << (64 - leading - n);
                }
            }
            samples.push((time, f64::from_bits(value)));
        }
        Some(samples)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_chunk_is_what_prometheus_makes_of_it() {
        // Written down by hand from the format: 1 at 1000, 1 at 2000, 2 at 3001.
        let chunk = encode(&[1_000, 2_000, 3_001], &[1.0, 1.0, 2.0]);

        let mut want = vec![0, 3, 0xd0, 0x0f];
        want.extend_from_slice(&1.0_f64.to_bits().to_be_bytes());
        // 1000 as a varint, `0` for the same value, `10` and 14 bits of 1, `11`, 1 leading zero
        // (00001), 11 bits (001011), and the bits: 1.0 ^ 2.0 is 0x7ff0 << 48.
        want.extend_from_slice(&[
            0xe8,
            0x07,
            0b0100_0000,
            0b0000_0000,
            0b1110_0001,
            0b0010_1111,
            0xff,
            0b1000_0000,
        ]);
        assert_eq!(chunk, want);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            first in -5_000_000_000_000_i64..5_000_000_000_000,
            steps in prop::collection::vec((1_i64..3_000_000, any::<u64>(), 0_u8..4), 0..119),
        ) {
            let mut samples = vec![(first, 0.5_f64)];
            for (step_ms, bits, kind) in steps {
                let (last_ms, last) = samples[samples.len() - 1];
                let value = match kind {
                    0 => last,
                    1 => last + 1.0,
                    2 => f64::from_bits(bits),
                    _ => (bits % 1_000) as f64 / 8.0,
                };
                samples.push((last_ms + step_ms, value));
            }
            let (times, values): (Vec<i64>, Vec<f64>) = samples.iter().copied().unzip();

            let decoded = decode(&encode(&times, &values)).unwrap();

            let bits = |samples: &[(i64, f64)]| -> Vec<(i64, u64)> {
                samples.iter().map(|(time, value)| (*time, value.to_bits())).collect()
            };
            prop_assert_eq!(bits(&decoded), bits(&samples));
        }
    }
}
