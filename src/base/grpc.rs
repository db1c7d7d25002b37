//! The frame of a gRPC message: a flag and a length stand before it. A unary call has one each way.

use bytes::{BufMut as _, Bytes, BytesMut};

/// The compressed flag, then the length of the message, big-endian.
const PREFIX_BYTES: usize = 5;

/// The body of a call whose prefix was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Framed<'a> {
    /// 1 for a compressed message, 0 for one that is not; nothing else is known.
    pub flag: u8,
    /// How long the message says it is.
    pub n_bytes: usize,
    /// What follows.
    pub message: &'a [u8],
}

impl<'a> Framed<'a> {
    /// Reads the prefix; `None` when the body is shorter than one.
    pub fn of(body: &'a [u8]) -> Option<Self> {
        let (&[flag, a, b, c, d], message) = body.split_first_chunk::<PREFIX_BYTES>()?;
        let n_bytes = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        Some(Self { flag, n_bytes, message })
    }
}

/// Returns a message, which is not compressed, in its frame; limits keep it far below 4 GiB.
pub fn framed(message: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).expect("answers are below 4 GiB"));
    frame.extend_from_slice(message);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_as_it_was_written() {
        let frame = framed(b"abc");

        assert_eq!(&frame[..], b"\0\0\0\0\x03abc");
        assert_eq!(Framed::of(&frame), Some(Framed { flag: 0, n_bytes: 3, message: b"abc" }));
        assert_eq!(Framed::of(b"\x01\0\0\0"), None);
    }
}
