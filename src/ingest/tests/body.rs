//! Bodies: every encoding, every limit, clients that misbehave.

use std::io::Write as _;

use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;

use crate::base::units::{HumanDuration, HumanSize};
use crate::ingest::{Admit, Bodies, Encoded, Encoding, IngestError, Limits};

const TEXT: &[u8] = b"the same words again and again, the same words again and again";

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn compress(encoding: Encoding, bytes: &[u8]) -> Vec<u8> {
    match encoding {
        Encoding::Identity => bytes.to_vec(),
        Encoding::Gzip => gzip(bytes),
        Encoding::Deflate => {
            let level = flate2::Compression::best();
            let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), level);
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Encoding::Zstd => zstd::stream::encode_all(bytes, 3).unwrap(),
        Encoding::Snappy => snap::raw::Encoder::new().compress_vec(bytes).unwrap(),
    }
}

const ALL: [Encoding; 5] =
    [Encoding::Identity, Encoding::Gzip, Encoding::Deflate, Encoding::Zstd, Encoding::Snappy];

struct Decompress {
    limits: Limits,
    /// What the request had reserved when it was over.
    n_reserved: usize,
}

impl Decompress {
    fn with(change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Limits::default();
        change(&mut limits);
        Self { limits, n_reserved: 0 }
    }

    fn run(&mut self, encoding: Encoding, encoded: &[u8]) -> Result<Vec<u8>, &'static str> {
        let bodies = Bodies::new(Arc::new(self.limits.clone()));
        let mut permit = Admit::new(&self.limits).enter(&Arc::from("a"));
        let result = bodies.decompress(encoding, encoded, &mut permit);
        self.n_reserved = permit.n_bytes();
        result.map(|decoded| decoded.to_vec()).map_err(|error| error.reason())
    }
}

#[track_caller]
fn check(encoding: Encoding, encoded: &[u8], want: Result<&[u8], &'static str>) {
    let got = Decompress::with(|_| {}).run(encoding, encoded);
    assert_eq!(got.as_deref().map_err(|error| *error), want, "{encoding:?}");
}

#[test]
fn every_encoding_is_decompressed() {
    let long = TEXT.repeat(5_000);
    for encoding in ALL {
        check(encoding, &compress(encoding, TEXT), Ok(TEXT));
        check(encoding, &compress(encoding, &long), Ok(&long));
        check(encoding, &compress(encoding, b""), Ok(b""));
    }
}

#[test]
fn several_members_are_one_body() {
    check(Encoding::Gzip, &[gzip(b"a"), gzip(b"b")].concat(), Ok(b"ab"));
    let frames = [compress(Encoding::Zstd, b"a"), compress(Encoding::Zstd, b"b")].concat();
    check(Encoding::Zstd, &frames, Ok(b"ab"));
}

#[test]
fn raw_deflate_is_taken_for_deflate() {
    let level = flate2::Compression::best();
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), level);
    encoder.write_all(TEXT).unwrap();

    check(Encoding::Deflate, &encoder.finish().unwrap(), Ok(TEXT));
}

#[test]
fn bytes_cut_short_are_refused() {
    for encoding in [Encoding::Gzip, Encoding::Deflate, Encoding::Zstd, Encoding::Snappy] {
        let encoded = compress(encoding, TEXT);
        for n_bytes in 1..encoded.len() {
            check(encoding, &encoded[..n_bytes], Err("encoding"));
        }
    }
    check(Encoding::Snappy, b"", Err("encoding"));
}

#[test]
fn the_framed_format_of_snappy_is_refused_in_words() {
    let mut framed = Vec::new();
    snap::write::FrameEncoder::new(&mut framed).write_all(TEXT).unwrap();
    let bodies = Bodies::new(Arc::default());
    let mut permit = Admit::new(&Limits::default()).enter(&Arc::from("a"));

    let error = bodies.decompress(Encoding::Snappy, &framed, &mut permit).unwrap_err();

    assert!(error.to_string().contains("framed format"), "{error}");
}

#[test]
fn what_just_fits_is_taken_and_one_byte_more_is_not() {
    let fits = vec![7_u8; 100_000];
    let too_large = vec![7_u8; 100_001];
    let limits = |limits: &mut Limits| limits.body_decoded = HumanSize(100_000);
    for encoding in ALL {
        let mut decompress = Decompress::with(limits);
        assert_eq!(decompress.run(encoding, &compress(encoding, &fits)), Ok(fits.clone()));
        let got = decompress.run(encoding, &compress(encoding, &too_large));
        assert_eq!(got, Err("body_decoded"), "{encoding:?}");
    }
}

#[test]
fn a_bomb_is_refused_at_the_cap() {
    let zeros = vec![0_u8; 40 << 20];
    for encoding in [Encoding::Gzip, Encoding::Deflate, Encoding::Zstd] {
        let bomb = compress(encoding, &zeros);
        let mut decompress = Decompress::with(|_| {});
        let got = decompress.run(encoding, &bomb);

        assert!(matches!(got, Err("body_ratio" | "body_decoded")), "{encoding:?} {got:?}");
        assert!(decompress.n_reserved <= (32 << 20) + 1, "{encoding:?}");
    }
}

#[test]
fn a_snappy_header_is_not_believed() {
    // Says 4 GiB - 1 and has four bytes.
    check(Encoding::Snappy, &[0xff, 0xff, 0xff, 0xff, 0x0f, 0, 0, 0], Err("body_decoded"));
    // Says 16 MiB: within the limit, and more than 64 times what came.
    check(Encoding::Snappy, &[0x80, 0x80, 0x80, 0x08, 0, 0, 0], Err("body_ratio"));
}

#[test]
fn a_zstd_window_past_8_mib_is_refused() {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
    encoder.window_log(27).unwrap();
    encoder.write_all(&vec![7_u8; 16 << 20]).unwrap();

    check(Encoding::Zstd, &encoder.finish().unwrap(), Err("encoding"));
}

#[test]
fn decompressing_stops_when_bytes_in_flight_are_used_up() {
    let long = TEXT.repeat(5_000);
    for encoding in [Encoding::Gzip, Encoding::Snappy] {
        let mut decompress = Decompress::with(|limits| limits.bytes_in_flight = HumanSize(100_000));
        let got = decompress.run(encoding, &compress(encoding, &long));
        assert_eq!(got, Err("limits.bytes_in_flight"));
    }
}

async fn read(chunks: Vec<&'static [u8]>, limits: Limits) -> Result<Encoded, IngestError> {
    let frames = chunks.into_iter().map(|chunk| Ok::<_, std::io::Error>(Bytes::from(chunk)));
    let body = Body::from_stream(futures::stream::iter(frames));
    let mut permit = Admit::new(&limits).enter(&Arc::from("a"));
    Bodies::new(Arc::new(limits)).read(body, &mut permit).await
}

#[tokio::test]
async fn a_body_in_pieces_is_joined() {
    let one = read(vec![b"", b"abc"], Limits::default()).await.unwrap();
    let joined = read(vec![b"ab", b"c", b"", b"d"], Limits::default()).await.unwrap();

    assert!(matches!(one, Encoded::Whole(_)) && *one == *b"abc");
    assert!(matches!(joined, Encoded::Joined(_)) && *joined == *b"abcd");
}

#[tokio::test]
async fn a_chunked_body_past_the_limit_is_refused_on_its_way() {
    let limits = Limits { body_encoded: HumanSize(5), ..Limits::default() };

    assert!(read(vec![b"abc", b"de"], limits.clone()).await.is_ok());
    let error = read(vec![b"abc", b"def"], limits).await.unwrap_err();

    assert_eq!(error.reason(), "body_encoded");
}

#[tokio::test]
async fn a_declared_length_past_the_limit_is_refused_unread() {
    let limits = Limits { body_encoded: HumanSize(5), ..Limits::default() };
    let mut permit = Admit::new(&limits).enter(&Arc::from("a"));

    let error = Bodies::new(Arc::new(limits)).read(Body::from("abcdef"), &mut permit).await;

    assert_eq!((error.unwrap_err().reason(), permit.n_bytes()), ("body_encoded", 0));
}

#[tokio::test]
async fn a_client_that_breaks_off_is_an_error() {
    let frames = [Ok(Bytes::from("abc")), Err(std::io::Error::other("reset"))];
    let body = Body::from_stream(futures::stream::iter(frames));
    let mut permit = Admit::new(&Limits::default()).enter(&Arc::from("a"));

    let error = Bodies::new(Arc::default()).read(body, &mut permit).await.unwrap_err();

    assert_eq!(error.reason(), "client_gone");
}

#[tokio::test]
async fn a_client_that_never_sends_has_a_deadline() {
    let limits = Limits {
        body_read: HumanDuration(std::time::Duration::from_millis(1)),
        ..Limits::default()
    };
    let body = Body::from_stream(futures::stream::pending::<Result<Bytes, std::io::Error>>());
    let mut permit = Admit::new(&limits).enter(&Arc::from("a"));

    let error = Bodies::new(Arc::new(limits)).read(body, &mut permit).await.unwrap_err();

    assert_eq!((error.reason(), error.status().as_u16()), ("body_read", 503));
}
