//! Frames: how payloads are marked off in a segment, and how damage is told from a torn tail.

use crc32c::{crc32c, crc32c_append};

/// The first bytes of a segment.
pub const SEGMENT_MAGIC: [u8; 8] = *b"CWWAL001";
/// The length of a segment's header.
pub const SEGMENT_HEADER_BYTES: usize = 28;
/// The first bytes of a frame.
const FRAME_MAGIC: [u8; 4] = [0xf7, b'C', b'W', 0xa5];
/// The length of a frame's header.
pub const FRAME_HEADER_BYTES: usize = 24;
/// The largest payload; far above what the limits at the door let through.
pub const PAYLOAD_BYTES_MAX: usize = 256 << 20;

/// Returns the header of a segment.
pub fn segment_header(segment: u64, generation: u64) -> [u8; SEGMENT_HEADER_BYTES] {
    let mut header = [0; SEGMENT_HEADER_BYTES];
    header[..8].copy_from_slice(&SEGMENT_MAGIC);
    header[8..16].copy_from_slice(&segment.to_le_bytes());
    header[16..24].copy_from_slice(&generation.to_le_bytes());
    let crc = crc32c(&header[..24]);
    header[24..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// Reads a segment's header: its number and generation.
pub fn read_segment_header(bytes: &[u8]) -> Option<(u64, u64)> {
    let header = bytes.get(..SEGMENT_HEADER_BYTES)?;
    let crc_ok = crc32c(&header[..24]).to_le_bytes() == header[24..];
    let ok = header[..8] == SEGMENT_MAGIC && crc_ok;
    ok.then(|| (u64_at(header, 8), u64_at(header, 16)))
}

/// Appends a frame whose payload `write` produces; `out` holds the group's frames and no others.
pub fn push_frame(out: &mut Vec<u8>, group: u64, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    let offset_in_group = u32::try_from(start).expect("a group is cut far below 4 GiB");
    out.extend_from_slice(&FRAME_MAGIC);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&group.to_le_bytes());
    out.extend_from_slice(&offset_in_group.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    write(out);
    let n_payload = out.len() - start - FRAME_HEADER_BYTES;
    assert!(n_payload <= PAYLOAD_BYTES_MAX, "a request is far smaller than a frame may be");
    let len = u32::try_from(n_payload).expect("checked against the maximum above");
    out[start + 4..start + 8].copy_from_slice(&len.to_le_bytes());
    let crc = frame_crc(&out[start..]);
    out[start + 20..start + 24].copy_from_slice(&crc.to_le_bytes());
}

fn frame_crc(frame: &[u8]) -> u32 {
    crc32c_append(crc32c(&frame[4..20]), &frame[FRAME_HEADER_BYTES..])
}

/// What stands at one place of a segment.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A whole frame: its group and payload.
    Frame {
        /// The group that was synced together.
        group: u64,
        /// How many bytes of that group stand before this frame.
        offset_in_group: u32,
        /// The payload.
        payload: &'a [u8],
    },
    /// Bytes that are not a frame, up to the next frame or the end.
    Garbage {
        /// Where they begin.
        offset: usize,
        /// How many there are.
        n_bytes: usize,
    },
}

/// Walks the frames of a segment, stepping over what is damaged, and over old frames at a wrong
/// place: groups only grow, and offsets within one, so a frame that does not follow the one before
/// is what the disk held there earlier, and would be doubled.
#[derive(Debug)]
pub struct Frames<'a> {
    bytes: &'a [u8],
    offset: usize,
    last: Option<(u64, u32)>,
}

impl<'a> Frames<'a> {
    /// Starts after the segment's header.
    pub fn new(segment: &'a [u8]) -> Self {
        Self { bytes: segment, offset: SEGMENT_HEADER_BYTES.min(segment.len()), last: None }
    }

    /// Returns where what comes next begins.
    pub fn offset(&self) -> usize {
        self.offset
    }

    fn frame_at(&self, offset: usize) -> Option<(u64, u32, &'a [u8])> {
        let rest = &self.bytes[offset..];
        let header = rest.get(..FRAME_HEADER_BYTES)?;
        let len = usize::try_from(u32_at(header, 4)).ok()?;
        if header[..4] != FRAME_MAGIC || len > PAYLOAD_BYTES_MAX {
            return None;
        }
        let (group, offset_in_group) = (u64_at(header, 8), u32_at(header, 16));
        if self.last.is_some_and(|last| (group, offset_in_group) <= last) {
            return None;
        }
        let frame = rest.get(..FRAME_HEADER_BYTES + len)?;
        (frame_crc(frame) == u32_at(header, 20))
            .then(|| (group, offset_in_group, &frame[FRAME_HEADER_BYTES..]))
    }

    fn next_frame_after(&self, offset: usize) -> usize {
        let mut from = offset + 1;
        while let Some(found) =
            memchr::memmem::find(self.bytes.get(from..).unwrap_or(&[]), &FRAME_MAGIC)
        {
            if self.frame_at(from + found).is_some() {
                return from + found;
            }
            from += found + 1;
        }
        self.bytes.len()
    }
}

impl<'a> Iterator for Frames<'a> {
    type Item = Found<'a>;

    fn next(&mut self) -> Option<Found<'a>> {
        if self.offset >= self.bytes.len() {
            return None;
        }
        let offset = self.offset;
        if let Some((group, offset_in_group, payload)) = self.frame_at(offset) {
            self.offset += FRAME_HEADER_BYTES + payload.len();
            self.last = Some((group, offset_in_group));
            return Some(Found::Frame { group, offset_in_group, payload });
        }
        self.offset = self.next_frame_after(offset);
        Some(Found::Garbage { offset, n_bytes: self.offset - offset })
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn segment(payloads: &[(u64, &[u8])]) -> Vec<u8> {
        let mut out = segment_header(1, 1).to_vec();
        for (group, payload) in payloads {
            let mut frame = Vec::new();
            push_frame(&mut frame, *group, |out| out.extend_from_slice(payload));
            out.extend(frame);
        }
        out
    }

    fn payloads(segment: &[u8]) -> Vec<Vec<u8>> {
        Frames::new(segment)
            .filter_map(|found| match found {
                Found::Frame { payload, .. } => Some(payload.to_vec()),
                Found::Garbage { .. } => None,
            })
            .collect()
    }

    #[test]
    fn headers_are_read_back() {
        assert_eq!(read_segment_header(&segment_header(7, 9)), Some((7, 9)));
        assert_eq!(read_segment_header(b"short"), None);
    }

    #[test]
    fn every_flipped_bit_is_found_and_costs_one_frame() {
        let good = segment(&[(1, b"one"), (2, b"two"), (3, b"three")]);
        for at in SEGMENT_HEADER_BYTES..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;

                let left = payloads(&bad);

                assert_eq!(left.len(), 2, "byte {at} bit {bit}");
                assert!(left.iter().all(|p| [&b"one"[..], b"two", b"three"].contains(&&p[..])));
            }
        }
    }

    #[test]
    fn a_torn_tail_is_garbage_at_the_end() {
        let good = segment(&[(1, b"one"), (2, b"two")]);
        for len in SEGMENT_HEADER_BYTES + FRAME_HEADER_BYTES + 3..good.len() {
            assert_eq!(payloads(&good[..len]), [b"one"], "cut at {len}");
        }
    }

    #[test]
    fn an_old_frame_behind_newer_ones_is_not_read_twice() {
        let good = segment(&[(1, b"one"), (2, b"two")]);
        let doubled = [&good[..], &good[SEGMENT_HEADER_BYTES..]].concat();

        assert_eq!(payloads(&doubled), [b"one", b"two"]);
    }

    #[test]
    fn a_payload_that_holds_the_magic_is_not_taken_apart() {
        let mut inner = Vec::new();
        push_frame(&mut inner, 9, |out| out.extend_from_slice(b"inner"));

        let outer = segment(&[(1, &inner)]);

        assert_eq!(payloads(&outer), [inner]);
    }
}
