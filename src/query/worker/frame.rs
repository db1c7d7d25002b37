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
/// The longest frame; a longer one means that the other side has lost its mind.
const FRAME_BYTES_MAX: usize = 512 << 20;
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
            return Err(too_long(n_bytes));
        }
        let len = u32::try_from(n_bytes).map_err(|_| too_long(n_bytes))?;
        let mut header = [0; HEADER_BYTES];
        header[..4].copy_from_slice(&len.to_le_bytes());
        header[4] = self.kind as u8;
        header[5..].copy_from_slice(&self.id.to_le_bytes());
        Ok(header)
    }

    fn from_header(header: [u8; HEADER_BYTES]) -> io::Result<(Kind, u32, usize)> {
        let [a, b, c, d, kind, id @ ..] = header;
        let n_bytes = usize::try_from(u32::from_le_bytes([a, b, c, d])).unwrap_or(usize::MAX);
        if n_bytes > FRAME_BYTES_MAX {
            return Err(too_long(n_bytes));
        }
        let kind = Kind::from_u8(kind)
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unknown kind of frame"))?;
        let n_payload = n_bytes.checked_sub(HEADER_BYTES - 4).ok_or_else(|| too_long(n_bytes))?;
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
        let (kind, id, n_bytes) = Self::from_header(header)?;
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

    /// Reads a frame.
    pub(super) async fn receive(input: &mut (impl AsyncRead + Unpin)) -> io::Result<Self> {
        let mut header = [0; HEADER_BYTES];
        input.read_exact(&mut header).await?;
        let (kind, id, n_bytes) = Self::from_header(header)?;
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

fn too_long(n_bytes: usize) -> io::Error {
    let message = format!("a frame of {n_bytes} bytes: wanted 5 to {FRAME_BYTES_MAX}");
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
        let received = Frame::receive(&mut bytes.as_slice()).await.unwrap();
        for back in [read, received] {
            assert_eq!(
                (back.kind, back.id, back.payload),
                (Kind::HeadRows, 7, Bytes::from("rows"))
            );
        }
    }

    #[test]
    fn lengths_that_cannot_be_are_refused_before_memory_is_taken() {
        for header in [[0xff; HEADER_BYTES], [4, 0, 0, 0, 1, 0, 0, 0, 0]] {
            assert!(Frame::read(&mut header.as_slice()).is_err());
        }
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
