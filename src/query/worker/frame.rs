//! What goes over a worker's pipes: `len u32 | kind u8 | id u32 | payload`, little-endian; `len`
//! counts what follows it. The worker's first bytes are [`MAGIC`], so that whatever a loader or a
//! test harness prints before it is skipped.

use std::io::{self, Read, Write};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::protocol::Kind;

/// The worker's first bytes.
pub(super) const MAGIC: &[u8] = b"\0commonwatch query worker\n";
/// How much may come before them.
const PRELUDE_BYTES_MAX: usize = 4096;
/// The longest frame that the server sends. A longer one, or one longer than its reader was ready to
/// take, means that the other side has lost its mind.
pub(super) const FRAME_BYTES_MAX: usize = 512 << 20;
const HEADER_BYTES: usize = 9;
/// What room is made for before a payload comes; few are longer.
const PAYLOAD_BYTES_GUESS: usize = 64 << 10;

/// One message.
#[derive(Debug, Clone)]
pub(super) struct Frame {
    /// What it is.
    pub(super) kind: Kind,
    /// Which scan of the head it is about, or 0.
    pub(super) id: u32,
    /// What it says.
    pub(super) payload: Bytes,
}

impl Frame {
    /// Returns a frame about nothing in particular.
    pub(super) fn new(kind: Kind, payload: impl Into<Bytes>) -> Self {
        Self::about(kind, 0, payload)
    }

    /// Returns a frame about one scan of the head.
    pub(super) fn about(kind: Kind, id: u32, payload: impl Into<Bytes>) -> Self {
        Self { kind, id, payload: payload.into() }
    }

    /// Returns a frame whose payload is JSON.
    pub(super) fn json<T: serde::Serialize>(kind: Kind, id: u32, value: &T) -> io::Result<Self> {
        Ok(Self::about(kind, id, serde_json::to_vec(value)?))
    }

    /// Reads a JSON payload.
    pub(super) fn parse<T: serde::de::DeserializeOwned>(&self) -> io::Result<T> {
        Ok(serde_json::from_slice(&self.payload)?)
    }

    fn header(&self) -> io::Result<[u8; HEADER_BYTES]> {
        let n_bytes = self.payload.len() + HEADER_BYTES - 4;
        if n_bytes > FRAME_BYTES_MAX {
            return Err(wrong_length(n_bytes, FRAME_BYTES_MAX));
        }
        let len = u32::try_from(n_bytes).map_err(|_| wrong_length(n_bytes, FRAME_BYTES_MAX))?;
        let mut header = [0; HEADER_BYTES];
        header[..4].copy_from_slice(&len.to_le_bytes());
        header[4] = self.kind as u8;
        header[5..].copy_from_slice(&self.id.to_le_bytes());
        Ok(header)
    }

    /// Reads a header; a length that cannot be is refused before any memory is taken for it.
    fn from_header(header: [u8; HEADER_BYTES], bytes_max: usize) -> io::Result<(Kind, u32, usize)> {
        let [a, b, c, d, kind, id @ ..] = header;
        let n_bytes = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if n_bytes > bytes_max {
            return Err(wrong_length(n_bytes, bytes_max));
        }
        let kind = Kind::from_u8(kind)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unknown kind of frame"))?;
        let n_payload = n_bytes.checked_sub(HEADER_BYTES - 4);
        let n_payload = n_payload.ok_or_else(|| wrong_length(n_bytes, bytes_max))?;
        Ok((kind, u32::from_le_bytes(id), n_payload))
    }

    /// Writes the frame from blocking code.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.header()?)?;
        out.write_all(&self.payload)?;
        out.flush()
    }

    /// Reads a frame from blocking code.
    pub(super) fn read(input: &mut impl Read) -> io::Result<Self> {
        let mut header = [0; HEADER_BYTES];
        input.read_exact(&mut header)?;
        let (kind, id, n_bytes) = Self::from_header(header, FRAME_BYTES_MAX)?;
        let mut payload = Vec::with_capacity(n_bytes.min(PAYLOAD_BYTES_GUESS));
        input.take(n_bytes as u64).read_to_end(&mut payload)?;
        Self::whole(kind, id, payload, n_bytes)
    }

    /// Writes the frame.
    pub(super) async fn send(&self, out: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        out.write_all(&self.header()?).await?;
        out.write_all(&self.payload).await?;
        out.flush().await
    }

    /// Reads a frame of at most `bytes_max`.
    pub(super) async fn receive(
        input: &mut (impl AsyncRead + Unpin),
        bytes_max: usize,
    ) -> io::Result<Self> {
        let mut header = [0; HEADER_BYTES];
        input.read_exact(&mut header).await?;
        let (kind, id, n_bytes) = Self::from_header(header, bytes_max)?;
        let mut payload = Vec::with_capacity(n_bytes.min(PAYLOAD_BYTES_GUESS));
        input.take(n_bytes as u64).read_to_end(&mut payload).await?;
        Self::whole(kind, id, payload, n_bytes)
    }

    /// A header may lie about its payload, so memory is taken as bytes come.
    fn whole(kind: Kind, id: u32, payload: Vec<u8>, n_bytes: usize) -> io::Result<Self> {
        if payload.len() < n_bytes {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Self::about(kind, id, payload))
    }
}

/// Reads up to and with [`MAGIC`].
pub(super) async fn skip_prelude(input: &mut (impl AsyncRead + Unpin)) -> io::Result<()> {
    let mut met = Vec::new();
    while !met.ends_with(MAGIC) {
        if met.len() > PRELUDE_BYTES_MAX {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "this is no query worker"));
        }
        met.push(input.read_u8().await?);
    }
    Ok(())
}

fn wrong_length(n_bytes: usize, bytes_max: usize) -> io::Error {
    let message = format!("a frame of {n_bytes} bytes: wanted 5 to {bytes_max}");
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn frames_are_read_back_by_both_kinds_of_code() {
        let frame = Frame::about(Kind::HeadRows, 7, &b"rows"[..]);
        let mut bytes = Vec::new();

        frame.write(&mut bytes).unwrap();

        let read = Frame::read(&mut bytes.as_slice()).unwrap();
        let received = Frame::receive(&mut bytes.as_slice(), bytes.len()).await.unwrap();
        for back in [read, received] {
            assert_eq!(
                (back.kind, back.id, back.payload),
                (Kind::HeadRows, 7, Bytes::from("rows"))
            );
        }
    }

    /// A header of an `Answer` that says `len`, and what follows it.
    fn lie(len: u32, payload: &[u8]) -> Vec<u8> {
        [&len.to_le_bytes()[..], &[Kind::Answer as u8, 0, 0, 0, 0], payload].concat()
    }

    async fn check_lie(len: u32, payload: &[u8], want: &str) {
        let bytes = lie(len, payload);
        let received = Frame::receive(&mut bytes.as_slice(), 100).await;
        assert_eq!(received.unwrap_err().to_string(), want, "{len}");
    }

    #[tokio::test]
    async fn lengths_that_lie_are_refused() {
        check_lie(0, b"", "a frame of 0 bytes: wanted 5 to 100").await;
        check_lie(4, b"", "a frame of 4 bytes: wanted 5 to 100").await;
        check_lie(101, &[0; 200], "a frame of 101 bytes: wanted 5 to 100").await;
        // As a signed number, -1.
        check_lie(u32::MAX, b"", "a frame of 4294967295 bytes: wanted 5 to 100").await;
        check_lie(100, &[0; 94], "unexpected end of file").await;
        check_lie(100, b"", "unexpected end of file").await;
        for bytes in [lie(u32::MAX, b""), lie(4, b""), lie(1 << 28, b"short")] {
            assert!(Frame::read(&mut bytes.as_slice()).is_err());
        }
    }

    #[tokio::test]
    async fn a_frame_takes_memory_as_its_bytes_come() {
        struct Drops(usize);
        impl AsyncRead for Drops {
            fn poll_read(
                mut self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
                buf: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<io::Result<()>> {
                // Room for what was announced would be asked for here, before anything has come.
                assert!(buf.remaining() <= 2 * PAYLOAD_BYTES_GUESS, "{}", buf.remaining());
                let n_bytes = self.0.min(buf.remaining()).min(1);
                buf.put_slice(&[0; 1][..n_bytes]);
                self.0 -= n_bytes;
                std::task::Poll::Ready(Ok(()))
            }
        }
        let header = lie(1 << 28, b"");
        let mut input = tokio::io::AsyncReadExt::chain(&header[..], Drops(5000));

        let received = Frame::receive(&mut input, FRAME_BYTES_MAX).await;

        assert_eq!(received.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[tokio::test]
    async fn noise_before_the_magic_is_skipped_but_not_for_ever() {
        let noisy = [b"\nrunning 1 test\n", MAGIC, b"x"].concat();
        let mut input = noisy.as_slice();
        skip_prelude(&mut input).await.unwrap();
        assert_eq!(input, b"x");

        assert!(skip_prelude(&mut [b'a'; 10_000].as_slice()).await.is_err());
    }
}
