//! Chunks of samples as Prometheus keeps them: times as differences of differences, values as the
//! bits in which they differ from the one before.
//!
//! `n_samples u16 big-endian`, then bits, the highest of a byte first: the first time as a zigzag
//! varint and value as 64 bits; the second time's difference as a varint; from the third on the
//! difference of differences, `0` for none and else `10`, `110`, `1110` or `1111` before 14, 17, 20
//! or 64 bits. A value is `0` when it is the same, `10` and the meaningful bits when they fit the
//! window of the one before, else `11`, 5 bits of leading zeros, 6 of length (0 is 64) and the bits.
//! Source: prometheus/prometheus `tsdb/chunkenc/xor.go`.

use super::bits::{Bits, fits};
use crate::base::varint::{push_varint, zigzag};

/// Prometheus' number of this encoding.
pub(super) const ENCODING: i32 = 1;
/// The most samples in a chunk, as Prometheus makes them.
pub(super) const SAMPLES_MAX: usize = 120;

/// Encodes samples in ascending order; there are at most [`SAMPLES_MAX`].
pub(super) fn encode(times_ms: &[i64], values: &[f64]) -> Vec<u8> {
    let n_samples = u16::try_from(times_ms.len()).unwrap_or(u16::MAX);
    let mut bits = Bits::after(n_samples.to_be_bytes().to_vec());
    let (mut last_ms, mut last_delta, mut last_value) = (0_i64, 0_i64, 0_u64);
    let mut window = None;
    for (idx, (time_ms, value)) in times_ms.iter().zip(values).enumerate() {
        let delta = time_ms.wrapping_sub(last_ms);
        match idx {
            0 => {
                let mut varint = Vec::new();
                push_varint(&mut varint, zigzag(*time_ms));
                bits.push_bytes(&varint);
            }
            1 => {
                let mut varint = Vec::new();
                push_varint(&mut varint, delta.cast_unsigned());
                bits.push_bytes(&varint);
            }
            _ => push_delta(&mut bits, delta.wrapping_sub(last_delta)),
        }
        match idx {
            0 => bits.push(value.to_bits(), 64),
            _ => bits.push_xor(value.to_bits() ^ last_value, &mut window),
        }
        (last_ms, last_value) = (*time_ms, value.to_bits());
        // The first time has no difference to speak of.
        last_delta = if idx == 0 { 0 } else { delta };
    }
    bits.into_bytes()
}

fn push_delta(bits: &mut Bits, delta: i64) {
    let (prefix, n_prefix, n) = match delta {
        0 => return bits.push(0, 1),
        _ if fits(delta, 14) => (0b10, 2, 14),
        _ if fits(delta, 17) => (0b110, 3, 17),
        _ if fits(delta, 20) => (0b1110, 4, 20),
        _ => (0b1111, 4, 64),
    };
    bits.push(prefix, n_prefix);
    bits.push(delta.cast_unsigned(), n);
}

#[cfg(test)]
mod tests {
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
}
