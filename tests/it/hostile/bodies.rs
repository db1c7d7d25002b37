//! Every endpoint by every way to spoil a body, and every compression by every way to lie about it.

use std::sync::LazyLock;

use super::bytes::{Die, message, number, promise, zlib, zstd};
use super::case::{Case, Want, Wire};
use super::seeds::{self, Endpoint, JSON, Packing, framed};
use crate::support::http::gzip;
use crate::support::remote_write::snappy;

pub(super) fn cases() -> Vec<Case> {
    let endpoints = [seeds::over_http(), seeds::over_grpc()].concat();
    let mut cases: Vec<Case> = endpoints.iter().flat_map(spoiled).collect();
    cases.extend(endpoints.iter().filter(|e| e.packing != Packing::Snappy).flat_map(compressed));
    cases.extend(endpoints.iter().filter(|e| e.packing == Packing::Snappy).flat_map(snappied));
    cases
}

pub(super) fn spoiled(endpoint: &Endpoint) -> Vec<Case> {
    let (body, n) = (&endpoint.body, endpoint.body.len());
    let is_json = endpoint.content_type == JSON;
    let refused = |name: &str, body: &[u8]| endpoint.packed(name, body, endpoint.refused());
    let either = |name: &str, body: &[u8]| endpoint.packed(name, body, endpoint.either());
    let empty = if endpoint.takes_empty { endpoint.taken() } else { endpoint.refused() };
    let mut cases = vec![
        endpoint.packed("a right one", body, endpoint.taken()),
        endpoint.packed("empty", b"", empty),
        refused("a quarter", &body[..n / 4]),
        refused("half", &body[..n / 2]),
        refused("all but a byte", &body[..n - 1]),
        refused("a byte too much", &[body.as_slice(), b"\x07"].concat()),
        refused("0xff", &[0xff; 64]),
        refused("zeros", &[0; 64]),
        either("a text", b"GET / HTTP/1.1\r\n\r\n"),
        either("twice", &body.repeat(2)),
        refused("backwards", &body.iter().rev().copied().collect::<Vec<u8>>()),
    ];
    for seed in 1..=4 {
        let mut die = Die::new(seed);
        let mut flipped = body.clone();
        for _ in 0..seed {
            let at = die.below(n);
            flipped[at] ^= 1 << die.below(8);
        }
        cases.push(either(&format!("bits flipped, seed {seed}"), &flipped));
        cases.push(either(&format!("noise, seed {seed}"), &die.bytes(300)));
    }
    cases.extend(if is_json { spoiled_json(endpoint) } else { spoiled_protobuf(endpoint) });
    cases
}

fn spoiled_protobuf(endpoint: &Endpoint) -> Vec<Case> {
    let refused = |name: &str, body: &[u8]| endpoint.packed(name, body, endpoint.refused());
    vec![
        refused("a length of 2^63", &promise(1, 1 << 63, b"x")),
        refused("a length of 2^32", &promise(1, 1 << 32, b"x")),
        refused("a length one too long", &promise(1, 2, b"x")),
        refused("a length of 11 bytes", &[&[0x0a], [0xff; 11].as_slice()].concat()),
        refused("a group", &[0x0b, 0x0c]),
        refused("10,000 groups", &[0x0b; 10_000]),
        refused("field 0", &[0x02, 0x01, b'x']),
        refused("a number for a message", &number(1, 7)),
        endpoint.packed("unknown fields", &number(536_870_911, u64::MAX), endpoint.taken()),
        refused("text for a message", &message(1, b"\xffnot a message")),
    ]
}

fn spoiled_json(endpoint: &Endpoint) -> Vec<Case> {
    let either = |name: &str, body: &str| endpoint.packed(name, body.as_bytes(), endpoint.either());
    let refused = |name: &str, body: &[u8]| endpoint.packed(name, body, endpoint.refused());
    let key = match endpoint.name {
        "loki json" => "streams",
        "otlp json logs" => "resourceLogs",
        "otlp json spans" => "resourceSpans",
        _ => "resourceMetrics",
    };
    let of = |value: &str| format!("{{\"{key}\": {value}}}");
    vec![
        either("null", "null"),
        refused("a number", b"1"),
        refused("a list", b"[]"),
        refused("a string", b"\"x\""),
        either("an unknown key", "{\"colour\": {\"a\": [1, 2, null]}}"),
        either("nothing in the list", &of("[null]")),
        either("a list in the list", &of("[[[]]]")),
        refused("a number for the list", of("1e400").as_bytes()),
        either("the key twice", &format!("{{\"{key}\": [], \"{key}\": []}}")),
        refused("not UTF-8", b"{\"\xff\xfe\": 1}"),
        refused("half a surrogate", of("[\"\\ud800\"]").as_bytes()),
        refused("a control character", b"{\"a\x01\": 1}"),
        refused("a comment", b"/* x */ {}"),
        refused("a comma too many", of("[],").as_bytes()),
        refused("NaN", of("NaN").as_bytes()),
        refused("a byte order mark", &[b"\xef\xbb\xbf".as_slice(), &endpoint.body].concat()),
        refused("UTF-16", &endpoint.body.iter().flat_map(|b| [*b, 0]).collect::<Vec<u8>>()),
        either("white space of 1 MiB", &format!("{}{{}}", " ".repeat(1 << 20))),
    ]
}

/// What stands in the header, and the compressor.
type Codec = (&'static str, fn(&[u8]) -> Vec<u8>);
const CODECS: [Codec; 3] = [("gzip", gzip), ("deflate", zlib), ("zstd", zstd)];

/// Returns 80 MiB of zeros compressed once, and twice; making them takes a while, so it is done
/// once for all endpoints.
fn bombs(codec: &str) -> &'static (Vec<u8>, Vec<u8>) {
    static BOMBS: LazyLock<Vec<(Vec<u8>, Vec<u8>)>> = LazyLock::new(|| {
        let zeros = vec![0; 80 << 20];
        let make = |compress: fn(&[u8]) -> Vec<u8>| {
            let bomb = compress(&zeros);
            let twice = compress(&bomb);
            (bomb, twice)
        };
        CODECS.iter().map(|(_, compress)| make(*compress)).collect()
    });
    let idx = CODECS.iter().position(|(name, _)| *name == codec).expect("it is one of them");
    &BOMBS[idx]
}

fn compressed(endpoint: &Endpoint) -> Vec<Case> {
    let mut cases = Vec::new();
    for (codec, compress) in CODECS {
        let refused = |name: &str, body: Vec<u8>| {
            encoded(endpoint, &format!("{codec}, {name}"), codec, body, endpoint.refused())
        };
        let whole = compress(&endpoint.body);
        let (bomb, inner_bomb) = bombs(codec);
        let mut broken = whole.clone();
        broken[whole.len() / 2] ^= 0x55;
        cases.extend([
            encoded(endpoint, codec, codec, whole.clone(), endpoint.taken()),
            refused("half", whole[..whole.len() / 2].to_vec()),
            refused("not compressed", endpoint.body.clone()),
            refused("a bomb", bomb.clone()),
            refused("a bomb in a bomb", inner_bomb.clone()),
            encoded(endpoint, &format!("{codec}, broken"), codec, broken, endpoint.either()),
        ]);
    }
    cases.extend(zstd_frames(endpoint));
    cases.extend(gzip_members(endpoint));
    for codec in ["br", "compress", "gzip, gzip", "identity;q=0", "gzip\t", "*", "SNAPPY-FRAMED"] {
        let name = format!("encoding {codec:?}");
        cases.push(encoded(endpoint, &name, codec, endpoint.body.clone(), endpoint.refused()));
    }
    cases
}

/// Sends a body that says it is compressed; gRPC says so in two places.
fn encoded(endpoint: &Endpoint, name: &str, codec: &str, body: Vec<u8>, want: Want) -> Case {
    if endpoint.packing == Packing::Grpc {
        let mut body = framed(&body);
        body[0] = 1;
        return endpoint.call(name, &[("grpc-encoding", codec)], body, want);
    }
    let mut case = endpoint.raw(name, body, want);
    if let Wire::Request(request) = &mut case.wire {
        *request = request.clone().header("Content-Encoding", codec);
    }
    case
}

fn zstd_frames(endpoint: &Endpoint) -> Vec<Case> {
    let case = |name: &str, body: Vec<u8>, want| {
        encoded(endpoint, &format!("zstd, {name}"), "zstd", body, want)
    };
    const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
    let skippable = |n_bytes: u32, content: &[u8]| {
        [&[0x50, 0x2a, 0x4d, 0x18], n_bytes.to_le_bytes().as_slice(), content].concat()
    };
    // A frame of a window of 2^31 and more bytes; then a raw, last, empty block.
    let window = [&MAGIC, [0x00, 0xa8, 1, 0, 0].as_slice()].concat();
    // A single segment of 2^62 bytes.
    let huge = [&MAGIC, [0xe0].as_slice(), &(1_u64 << 62).to_le_bytes(), &[1, 0, 0]].concat();
    let dictionary = [&MAGIC, [0x23].as_slice(), &[9, 9, 9, 9, 0, 1, 0, 0]].concat();
    vec![
        case("a window of 2 GiB", window, endpoint.refused()),
        case("a frame of 2^62 bytes", huge, endpoint.refused()),
        case("a dictionary we have not", dictionary, endpoint.refused()),
        case("1,000 skippable frames", skippable(4, b"skip").repeat(1_000), endpoint.either()),
        case("a skippable frame of 4 GiB", skippable(u32::MAX, b"x"), endpoint.refused()),
        case("10,000 empty frames", zstd(b"").repeat(10_000), endpoint.either()),
    ]
}

fn gzip_members(endpoint: &Endpoint) -> Vec<Case> {
    let case = |name: &str, body: Vec<u8>, want| {
        encoded(endpoint, &format!("gzip, {name}"), "gzip", body, want)
    };
    let whole = gzip(&endpoint.body);
    let n = whole.len();
    let mut wrong_crc = whole.clone();
    wrong_crc[n - 8] ^= 1;
    let mut wrong_size = whole.clone();
    wrong_size[n - 1] ^= 0x7f;
    // FEXTRA of 64 KiB that does not come; FNAME that does not end.
    let extra = [0x1f, 0x8b, 8, 4, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
    let name = [[0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 0].as_slice(), &[b'n'; 100_000]].concat();
    vec![
        case("10,000 empty members", gzip(b"").repeat(10_000), endpoint.either()),
        case("a wrong checksum", wrong_crc, endpoint.refused()),
        case("a wrong size", wrong_size, endpoint.refused()),
        case("garbage behind it", [whole.as_slice(), b"garbage"].concat(), endpoint.either()),
        case("an extra field that is not there", extra.to_vec(), endpoint.refused()),
        case("a name without end", name, endpoint.refused()),
    ]
}

fn snappied(endpoint: &Endpoint) -> Vec<Case> {
    let refused = |name: &str, body: Vec<u8>| {
        endpoint.raw(&format!("snappy, {name}"), body, endpoint.refused())
    };
    let whole = snappy(&endpoint.body);
    let header =
        |n_bytes: u64, rest: &[u8]| [super::bytes::varint(n_bytes), rest.to_vec()].concat();
    let n_plain = u64::try_from(endpoint.body.len()).expect("small");
    let (_, rest) = whole.split_at(super::bytes::varint(n_plain).len());
    vec![
        refused("half", whole[..whole.len() / 2].to_vec()),
        refused("nothing", Vec::new()),
        refused("not compressed", endpoint.body.clone()),
        refused("a length one short", header(n_plain - 1, rest)),
        refused("a length one long", header(n_plain + 1, rest)),
        refused("a length of 0", header(0, rest)),
        refused("a length of 2^32 - 1", header(u64::from(u32::MAX), rest)),
        refused("a length of 2^63", header(1 << 63, rest)),
        refused("a length without end", vec![0xff; 100]),
        refused("a copy from before the start", header(64, &[0xfe, 0xff, 0xff])),
        refused("a copy from 0 back", header(64, &[0x00, b'x', 0xfe, 0, 0])),
        refused("a literal of 4 GiB", header(64, &[0xfc, 0xff, 0xff, 0xff, 0xff, b'x'])),
        refused("a bomb", snappy(&vec![0; 80 << 20])),
        refused("31 MiB of zeros", snappy(&vec![0; 31 << 20])),
        refused("gzip", gzip(&endpoint.body)),
    ]
}
