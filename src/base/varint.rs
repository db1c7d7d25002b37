//! Whole numbers in as few bytes as they need: seven bits a byte, the lowest first, and a highest bit
//! that says that more come.
//!
//! So Protocol Buffers have them, Parquet, Prometheus' chunks and our own files. Each reader says in
//! its own words what is wrong with one, so reading is left to them.

/// Appends a number.
#[inline]
pub(crate) fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

/// Returns a number so that those near zero are small, whatever their sign.
#[inline]
pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)).cast_unsigned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: u64, want: &[u8]) {
        let mut out = Vec::new();
        push_varint(&mut out, value);
        assert_eq!(out, want, "{value}");
    }

    #[test]
    fn numbers_take_the_bytes_they_need() {
        check(0, &[0]);
        check(127, &[0x7f]);
        check(128, &[0x80, 1]);
        check(300, &[0xac, 2]);
        check(u64::MAX, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]);
    }

    #[test]
    fn signs_go_into_the_lowest_bit() {
        for (value, want) in [(0, 0), (-1, 1), (1, 2), (-2, 3), (i64::MAX, u64::MAX - 1)] {
            assert_eq!(zigzag(value), want, "{value}");
        }
        assert_eq!(zigzag(i64::MIN), u64::MAX);
        // The 32 bits of Protocol Buffers' `sint32` are the same numbers.
        assert_eq!(zigzag(i64::from(i32::MIN)), u64::from(u32::MAX));
    }
}
