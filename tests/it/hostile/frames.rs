//! HTTP/2 frames: those of a hostile client, and what the server says to them.

use super::case::{Case, Port, Want, Wire};

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH_PROMISE: u8 = 5;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What the server said: the types of its frames, and of the last one that ends something.
#[derive(Debug, Default)]
pub(super) struct Frames {
    types: Vec<u8>,
}

/// Reads as many whole frames as there are.
pub(super) fn parse(mut bytes: &[u8]) -> Frames {
    let mut frames = Frames::default();
    while let Some((head, rest)) = bytes.split_first_chunk::<9>() {
        let n_bytes = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let Some((_, rest)) = rest.split_at_checked(n_bytes) else { break };
        frames.types.push(head[3]);
        bytes = rest;
    }
    frames
}

impl Frames {
    /// Returns true once the server has ended the connection or the stream, or has answered.
    pub(super) fn has_ended(&self) -> bool {
        self.types.iter().any(|frame| matches!(*frame, GOAWAY | RST_STREAM | HEADERS))
    }

    /// Returns Ok when it has; a connection that is only closed has not been told why.
    pub(super) fn is_ended(&self) -> Result<(), String> {
        match self.has_ended() {
            true => Ok(()),
            false => Err(format!("closed without GOAWAY, RST_STREAM or an answer: {self:?}")),
        }
    }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("frames are short");
    let head = [&length.to_be_bytes()[1..], &[kind, flags], &stream.to_be_bytes()].concat();
    [&head, payload].concat()
}

/// The preface, and settings that say nothing.
fn preface() -> Vec<u8> {
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, &[])].concat()
}

/// A literal header field that is not indexed, names and values without Huffman.
fn literal(name: &str, value: &str) -> Vec<u8> {
    let text = |text: &str| [hpack_number(text.len(), 7), text.as_bytes().to_vec()].concat();
    [vec![0], text(name), text(value)].concat()
}

/// Writes a number with a prefix of `n_bits`, RFC 7541 §5.1.
fn hpack_number(number: usize, n_bits: u32) -> Vec<u8> {
    let max = (1_usize << n_bits) - 1;
    let byte = |number: usize| u8::try_from(number).expect("it was cut to a byte");
    if number < max {
        return vec![byte(number)];
    }
    let (mut bytes, mut rest) = (vec![byte(max)], number - max);
    while rest >= 0x80 {
        bytes.push(byte(rest & 0x7f) | 0x80);
        rest >>= 7;
    }
    bytes.push(byte(rest));
    bytes
}

/// `GET /-/healthy` in four fields, then `more`.
fn get(more: &[(&str, &str)]) -> Vec<u8> {
    let pseudo =
        [(":method", "GET"), (":scheme", "http"), (":path", "/-/healthy"), (":authority", "a")];
    pseudo.iter().chain(more).flat_map(|(name, value)| literal(name, value)).collect()
}

fn headers(stream: u32, block: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, block)
}

fn case(name: &str, frames: Vec<u8>) -> Case {
    Case {
        name: format!("http/2: {name}"),
        port: Port::OtlpGrpc,
        wire: Wire::Frames([preface(), frames].concat()),
        want: Want::H2Ended,
    }
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = broken_frames();
    cases.extend(broken_headers());
    cases.extend(floods());
    let without = |name: &str, bytes: &[u8]| Case {
        wire: Wire::Bytes(bytes.to_vec()),
        want: Want::AnsweredOrClosed,
        ..case(name, Vec::new())
    };
    cases.extend([
        without("half a preface", b"PRI * HTTP/2.0\r\n\r\nSM"),
        without("a preface with another end", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"),
        without("a preface of the next version", b"PRI * HTTP/3.0\r\n\r\nSM\r\n\r\n"),
        without("no settings", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
    ]);
    cases
}

fn broken_frames() -> Vec<Case> {
    let request = headers(1, &get(&[]));
    let half = frame(HEADERS, END_HEADERS, 1, &get(&[]));
    vec![
        case("a right request", request.clone()),
        case("data on stream 0", frame(DATA, 0, 0, b"x")),
        case("data on an idle stream", frame(DATA, 0, 5, b"x")),
        case("headers on stream 0", headers(0, &get(&[]))),
        case("headers on an even stream", headers(2, &get(&[]))),
        case("padding longer than the frame", frame(HEADERS, 0x8 | 5, 1, &[255, 0])),
        case("a frame longer than it may be", frame(DATA, 0, 1, &vec![0; 300 << 10])),
        case("a frame of 16 MiB that does not come", vec![0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1]),
        case("continuation of nothing", frame(CONTINUATION, END_HEADERS, 1, &get(&[]))),
        case(
            "another frame between headers",
            [frame(HEADERS, END_STREAM, 1, &get(&[])), frame(PING, 0, 0, &[0; 8])].concat(),
        ),
        case(
            "a stream number that goes back",
            [headers(5, &get(&[])), headers(3, &get(&[]))].concat(),
        ),
        case("a ping of 7 bytes", frame(PING, 0, 0, &[0; 7])),
        case("a ping on a stream", frame(PING, 0, 1, &[0; 8])),
        case("settings of 5 bytes", frame(SETTINGS, 0, 0, &[0; 5])),
        case("settings on a stream", frame(SETTINGS, 0, 1, &[])),
        case("an acknowledgement with settings", frame(SETTINGS, 1, 0, &[0; 6])),
        case("a window of 2^31", frame(SETTINGS, 0, 0, &[0, 4, 0x80, 0, 0, 0])),
        case("frames of 0 bytes at most", frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 0])),
        case("push by a client", frame(SETTINGS, 0, 0, &[0, 2, 0, 0, 0, 7])),
        case(
            "a push promise",
            [half.clone(), frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2])].concat(),
        ),
        case("a window update of 0", frame(WINDOW_UPDATE, 0, 0, &[0; 4])),
        case("a window that overflows", frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff])),
        case("a window update of 3 bytes", frame(WINDOW_UPDATE, 0, 0, &[0; 3])),
        case("a window of an idle stream", frame(WINDOW_UPDATE, 0, 9, &[0, 0, 0, 1])),
        case("a reset of an idle stream", frame(RST_STREAM, 0, 9, &[0, 0, 0, 8])),
        case("a reset of 3 bytes", [half.clone(), frame(RST_STREAM, 0, 1, &[0; 3])].concat()),
        case(
            "a stream that depends on itself",
            [request.clone(), frame(PRIORITY, 0, 1, &[0, 0, 0, 1, 0])].concat(),
        ),
        case("frames of unknown kinds", [frame(0xbe, 0xff, 1, b"?"), request.clone()].concat()),
        case("data after the end", [request, frame(DATA, 0, 1, b"x")].concat()),
        case("headers twice", [half.clone(), frame(HEADERS, END_HEADERS, 1, &get(&[]))].concat()),
        case("trailers with a path", [half, headers(1, &literal(":path", "/metrics"))].concat()),
    ]
}

fn broken_headers() -> Vec<Case> {
    let block = |name: &str, block: Vec<u8>| case(name, headers(1, &block));
    let with = |name: &str, field: (&str, &str)| block(name, get(&[field]));
    let only = |name: &str, fields: &[(&str, &str)]| {
        block(name, fields.iter().flat_map(|(name, value)| literal(name, value)).collect())
    };
    vec![
        block("index 0", vec![0x80]),
        block("an index that is not there", [get(&[]), vec![0xff, 0x80, 0x7f]].concat()),
        block("a number that does not end", vec![0xff; 64]),
        block("Huffman that is not", [vec![0x00, 0x84], vec![0xff; 4], vec![1, b'x']].concat()),
        block("a text longer than the block", vec![0x00, 0x7f, 0xff, 0x03, b'x']),
        block("a table of 4 GiB", [vec![0x3f], hpack_number(1 << 32, 7)].concat()),
        block("no fields", Vec::new()),
        only("no method", &[(":scheme", "http"), (":path", "/"), (":authority", "a")]),
        only("no path", &[(":method", "GET"), (":scheme", "http"), (":authority", "a")]),
        only("an empty path", &[(":method", "GET"), (":scheme", "http"), (":path", "")]),
        only("a path without a slash", &[(":method", "GET"), (":scheme", "http"), (":path", "x")]),
        only("two methods", &[(":method", "GET"), (":method", "POST"), (":path", "/")]),
        only("a status in a request", &[(":status", "200"), (":path", "/")]),
        with("a pseudo-header that is not known", (":colour", "blue")),
        with("a name in capitals", ("X-Upper", "1")),
        with("a name with a space", ("a b", "1")),
        with("an empty name", ("", "1")),
        with("a value with a line end", ("x", "a\r\nb: c")),
        with("a value with NUL", ("x", "a\0b")),
        with("connection", ("connection", "close")),
        with("transfer-encoding", ("transfer-encoding", "chunked")),
        with("te: gzip", ("te", "gzip")),
        with("a length that is not true", ("content-length", "5")),
        with("a length that is no number", ("content-length", "five")),
        with("headers past 16 KiB", ("x", &"x".repeat(40 << 10))),
        block("10,000 headers", get(&vec![("x", "1"); 10_000])),
        block("a pseudo-header behind the others", [literal("x", "1"), get(&[])].concat()),
    ]
}

fn floods() -> Vec<Case> {
    let ending = || headers(0x7fff_fff1, &get(&[]));
    let resets = (0..1_000).flat_map(|n| {
        let stream = 2 * n + 1;
        [headers(stream, &get(&[])), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat()
    });
    let opened = (0..1_000).flat_map(|n| frame(HEADERS, END_HEADERS, 2 * n + 1, &get(&[])));
    let continued = (0..2_000).flat_map(|_| frame(CONTINUATION, 0, 1, &literal("x", "1")));
    let empty = (0..20_000).flat_map(|_| frame(CONTINUATION, 0, 1, &[]));
    let begun = || frame(HEADERS, END_STREAM, 1, &get(&[]));
    vec![
        case("1,000 resets", resets.collect()),
        case("1,000 open streams", opened.collect()),
        case("2,000 continuations", [begun(), continued.collect()].concat()),
        case("20,000 empty continuations", [begun(), empty.collect()].concat()),
        case("10,000 pings", [frame(PING, 0, 0, &[7; 8]).repeat(10_000), ending()].concat()),
        case("10,000 settings", [frame(SETTINGS, 0, 0, &[]).repeat(10_000), ending()].concat()),
        case(
            "10,000 settings that change",
            [frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0x40, 0]).repeat(10_000), ending()].concat(),
        ),
        case(
            "10,000 empty data frames",
            [
                frame(HEADERS, END_HEADERS, 1, &get(&[])),
                frame(DATA, 0, 1, &[]).repeat(10_000),
                ending(),
            ]
            .concat(),
        ),
        case(
            "10,000 priorities",
            [frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 1]).repeat(10_000), ending()].concat(),
        ),
        case("goodbye, then more", [frame(GOAWAY, 0, 0, &[0; 8]), ending()].concat()),
    ]
}
