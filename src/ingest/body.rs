//! A request's body, from frames on a socket to decompressed bytes, within limits at every step.
//!
//! No length is believed: the encoded size is counted while it arrives, the decoded size is capped
//! before (snappy says it in its header) or while (gzip, zstd, deflate stream) it grows, and each
//! byte is reserved in `admit` before it is held. A bomb is refused at the cap, not after it.

use std::io::Read;
use std::ops::Deref;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::BodyExt as _;

use super::admit::Permit;
use super::error::IngestError;
use super::limits::Limits;
use super::pool::{Buffer, Pool};

/// How a body is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Not at all.
    Identity,
    /// gzip, several members allowed.
    Gzip,
    /// zlib, or raw deflate as some clients send it.
    Deflate,
    /// zstd with a window of at most 8 MiB.
    Zstd,
    /// snappy's block format.
    Snappy,
}

impl Encoding {
    /// Reads `Content-Encoding`; without one the body is not compressed.
    pub fn from_headers(headers: &HeaderMap) -> Result<Self, IngestError> {
        let Some(value) = headers.get(header::CONTENT_ENCODING) else {
            return Ok(Encoding::Identity);
        };
        let text = String::from_utf8_lossy(value.as_bytes());
        Ok(match text.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Encoding::Identity,
            "gzip" | "x-gzip" => Encoding::Gzip,
            "deflate" => Encoding::Deflate,
            "zstd" => Encoding::Zstd,
            "snappy" => Encoding::Snappy,
            _ => {
                let wanted = "gzip, zstd, deflate, snappy or no encoding";
                return Err(IngestError::UnsupportedEncoding { got: text.into_owned(), wanted });
            }
        })
    }

    /// Returns the name as in `Content-Encoding`.
    pub fn as_str(self) -> &'static str {
        match self {
            Encoding::Identity => "identity",
            Encoding::Gzip => "gzip",
            Encoding::Deflate => "deflate",
            Encoding::Zstd => "zstd",
            Encoding::Snappy => "snappy",
        }
    }
}

/// Reads and decompresses bodies; cloning costs two counters.
#[derive(Debug, Clone)]
pub struct Bodies {
    pool: Pool,
    limits: Arc<Limits>,
}

/// A body as it came over the wire.
#[derive(Debug)]
pub enum Encoded {
    /// It came in one piece, which is still where the socket put it.
    Whole(Bytes),
    /// It came in several, joined here.
    Joined(Buffer),
}

impl Deref for Encoded {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Encoded::Whole(bytes) => bytes,
            Encoded::Joined(buffer) => buffer,
        }
    }
}

/// A body after decompression.
#[derive(Debug)]
pub enum Decoded<'a> {
    /// It was not compressed.
    Same(&'a [u8]),
    /// It was.
    Decompressed(Buffer),
}

impl Deref for Decoded<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Decoded::Same(bytes) => bytes,
            Decoded::Decompressed(buffer) => buffer,
        }
    }
}

/// snappy's framed format begins with this chunk; the block format cannot.
const SNAPPY_FRAMED: &[u8] = b"\xff\x06\x00\x00sNaPpY";
/// Room for a streaming decoder to begin with; it doubles from there.
const STREAM_BYTES_MIN: usize = 64 << 10;
/// zstd refuses frames that ask for a larger window: 2^23 bytes.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

impl Bodies {
    /// Returns a reader of bodies with an empty pool.
    pub fn new(limits: Arc<Limits>) -> Self {
        Self { pool: Pool::default(), limits }
    }

    /// Reads a whole body as it is on the wire, chunked or not. The client has
    /// `limits.body_read` for it.
    pub async fn read(&self, body: Body, permit: &mut Permit) -> Result<Encoded, IngestError> {
        let deadline = self.limits.body_read;
        match tokio::time::timeout(deadline.0, self.read_frames(body, permit)).await {
            Ok(result) => result,
            Err(_) => Err(IngestError::BodyTimeout { max: deadline }),
        }
    }

    async fn read_frames(
        &self,
        mut body: Body,
        permit: &mut Permit,
    ) -> Result<Encoded, IngestError> {
        let declared = http_body::Body::size_hint(&body).lower();
        self.check_encoded(usize::try_from(declared).unwrap_or(usize::MAX))?;
        let mut whole = Bytes::new();
        let mut joined: Option<Buffer> = None;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| IngestError::ClientGone(error.to_string()))?;
            let Ok(data) = frame.into_data() else { continue };
            let n_before = joined.as_ref().map_or(whole.len(), |buffer| buffer.len());
            self.check_encoded(n_before.saturating_add(data.len()))?;
            permit.grow(data.len())?;
            match &mut joined {
                Some(buffer) => buffer.extend(&data),
                None if whole.is_empty() => whole = data,
                None => {
                    let mut buffer = self.pool.take();
                    buffer.extend(&whole);
                    buffer.extend(&data);
                    joined = Some(buffer);
                }
            }
        }
        Ok(joined.map_or(Encoded::Whole(whole), Encoded::Joined))
    }

    /// Refuses an encoded size past `limits.body_encoded`.
    pub fn check_encoded(&self, n_bytes: usize) -> Result<(), IngestError> {
        if n_bytes > self.limits.body_encoded.bytes() {
            return Err(IngestError::EncodedTooLarge { max: self.limits.body_encoded });
        }
        Ok(())
    }

    /// Decompresses a body.
    pub fn decompress<'a>(
        &self,
        encoding: Encoding,
        encoded: &'a [u8],
        permit: &mut Permit,
    ) -> Result<Decoded<'a>, IngestError> {
        let buffer = match encoding {
            Encoding::Identity => {
                self.check_decoded(encoded.len(), encoded.len())?;
                return Ok(Decoded::Same(encoded));
            }
            Encoding::Snappy => self.decompress_snappy(encoded, permit)?,
            Encoding::Gzip => {
                let decoder = flate2::bufread::MultiGzDecoder::new(encoded);
                self.decompress_stream("gzip", decoder, encoded.len(), permit)?
            }
            Encoding::Deflate if is_zlib(encoded) => {
                let decoder = flate2::bufread::ZlibDecoder::new(encoded);
                self.decompress_stream("deflate", decoder, encoded.len(), permit)?
            }
            Encoding::Deflate => {
                let decoder = flate2::bufread::DeflateDecoder::new(encoded);
                self.decompress_stream("deflate", decoder, encoded.len(), permit)?
            }
            Encoding::Zstd => {
                let decoder = zstd_decoder(encoded).map_err(|error| malformed("zstd", error))?;
                self.decompress_stream("zstd", decoder, encoded.len(), permit)?
            }
        };
        Ok(Decoded::Decompressed(buffer))
    }

    fn decompress_snappy(
        &self,
        encoded: &[u8],
        permit: &mut Permit,
    ) -> Result<Buffer, IngestError> {
        if encoded.starts_with(SNAPPY_FRAMED) {
            let detail = "this is the framed format, and the block format is wanted";
            return Err(malformed("snappy", detail));
        }
        let n_bytes =
            snap::raw::decompress_len(encoded).map_err(|error| malformed("snappy", error))?;
        self.check_decoded(encoded.len(), n_bytes)?;
        permit.grow(n_bytes)?;
        let mut buffer = self.pool.take();
        let n_filled = snap::raw::Decoder::new()
            .decompress(encoded, buffer.room(n_bytes))
            .map_err(|error| malformed("snappy", error))?;
        buffer.filled(n_filled);
        Ok(buffer)
    }

    fn decompress_stream(
        &self,
        encoding: &'static str,
        mut decoder: impl Read,
        n_encoded: usize,
        permit: &mut Permit,
    ) -> Result<Buffer, IngestError> {
        let cap = self.decoded_max(n_encoded);
        let mut buffer = self.pool.take();
        let mut n_reserved = 0;
        loop {
            if buffer.len() == n_reserved {
                // One byte past the cap tells "just fits" from "too large".
                let want = (2 * n_reserved).max(STREAM_BYTES_MIN).min(cap.saturating_add(1));
                permit.grow(want - n_reserved)?;
                n_reserved = want;
            }
            let room = buffer.room(n_reserved - buffer.len());
            let n_read = decoder.read(room).map_err(|error| malformed(encoding, error))?;
            buffer.filled(n_read);
            self.check_decoded(n_encoded, buffer.len())?;
            if n_read == 0 {
                return Ok(buffer);
            }
        }
    }

    /// Returns how large a body of `n_encoded` bytes may become.
    fn decoded_max(&self, n_encoded: usize) -> usize {
        let ratio = usize::try_from(self.limits.body_ratio).unwrap_or(usize::MAX);
        let by_ratio = n_encoded.saturating_mul(ratio).max(self.limits.body_ratio_above.bytes());
        by_ratio.min(self.limits.body_decoded.bytes())
    }

    /// Refuses a decoded size past `limits.body_decoded` or `limits.body_ratio`.
    pub fn check_decoded(&self, n_encoded: usize, n_decoded: usize) -> Result<(), IngestError> {
        if n_decoded > self.limits.body_decoded.bytes() {
            return Err(IngestError::DecodedTooLarge { max: self.limits.body_decoded });
        }
        if n_decoded > self.decoded_max(n_encoded) {
            let max = self.limits.body_ratio;
            return Err(IngestError::Ratio { encoded_bytes: n_encoded, max });
        }
        Ok(())
    }
}

/// RFC 9110 calls zlib "deflate", and some clients send raw deflate all the same: zlib's first two
/// bytes name method 8 and are a multiple of 31.
fn is_zlib(encoded: &[u8]) -> bool {
    matches!(encoded, [first, second, ..]
        if first & 0x0f == 8 && u16::from_be_bytes([*first, *second]).is_multiple_of(31))
}

fn zstd_decoder(encoded: &[u8]) -> std::io::Result<zstd::stream::read::Decoder<'static, &[u8]>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(encoded)?;
    decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    Ok(decoder)
}

fn malformed(encoding: &'static str, error: impl std::fmt::Display) -> IngestError {
    IngestError::Encoding { encoding, detail: error.to_string() }
}
