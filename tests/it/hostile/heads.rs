//! HTTP/1.1 as nobody should write it: request lines, headers, lengths, chunks, and requests
//! inside requests.

use super::case::{Case, Want};

/// A refusal by the protocol itself, or by a route.
const REFUSED: Want = Want::Http(&[400, 404, 405, 408, 411, 413, 414, 415, 417, 426, 431]);

pub(super) fn cases() -> Vec<Case> {
    let mut cases = request_lines();
    cases.extend(headers());
    cases.extend(lengths());
    cases.extend(chunks());
    cases.extend(smuggled());
    cases.extend(garbage());
    cases
}

fn request_lines() -> Vec<Case> {
    let refused = |name: &str, line: &str| {
        let bytes = format!("{line}\r\nHost: a\r\nConnection: close\r\n\r\n");
        Case::bytes(format!("request line: {name}"), bytes, REFUSED)
    };
    let answered = |name: &str, line: &str| Case { want: Want::Answered, ..refused(name, line) };
    let unclear =
        |name: &str, line: &str| Case { want: Want::AnsweredOrClosed, ..refused(name, line) };
    let long = |n: usize| "x".repeat(n);
    vec![
        refused("an unknown method", "BREW /-/ready HTTP/1.1"),
        refused("TRACE", "TRACE /-/ready HTTP/1.1"),
        refused("CONNECT", "CONNECT evil.example:443 HTTP/1.1"),
        answered("OPTIONS", "OPTIONS * HTTP/1.1"),
        refused("DELETE", "DELETE /api/v1/write HTTP/1.1"),
        refused("GET of what is posted", "GET /api/v1/write HTTP/1.1"),
        unclear("a method of 64 KiB", &format!("{} / HTTP/1.1", long(64 << 10))),
        unclear("a method in brackets", "<GET> / HTTP/1.1"),
        refused("a path of 60 KiB", &format!("GET /{} HTTP/1.1", long(60 << 10))),
        refused("a path of 70 KiB", &format!("GET /{} HTTP/1.1", long(70 << 10))),
        refused("a path of 1 MiB", &format!("GET /{} HTTP/1.1", long(1 << 20))),
        refused("dots in the path", "GET /api/../../../etc/passwd HTTP/1.1"),
        refused("coded dots", "GET /api/v1/%2e%2e/%2e%2e/etc/passwd HTTP/1.1"),
        refused("dots coded twice", "GET /%252e%252e%252fetc HTTP/1.1"),
        refused("a coded NUL", "GET /metrics%00.png HTTP/1.1"),
        refused("a path not UTF-8", "GET /%ff%fe HTTP/1.1"),
        refused("half a code", "GET /%2 HTTP/1.1"),
        refused("two slashes", "GET //metrics HTTP/1.1"),
        refused("a slash behind", "GET /metrics/ HTTP/1.1"),
        refused("a backslash", "GET \\metrics HTTP/1.1"),
        answered("another host's path", "GET http://evil.example/metrics HTTP/1.1"),
        refused("no path", "GET  HTTP/1.1"),
        refused("no slash", "GET metrics HTTP/1.1"),
        refused("a space in the path", "GET /metrics x HTTP/1.1"),
        refused("a tab for a space", "GET\t/metrics\tHTTP/1.1"),
        unclear("no version", "GET /metrics"),
        unclear("version 0.9", "GET /metrics HTTP/0.9"),
        answered("version 1.0", "GET /-/ready HTTP/1.0"),
        unclear("version 1.9", "GET /metrics HTTP/1.9"),
        unclear("version 2.0", "GET /metrics HTTP/2.0"),
        unclear("version 9.9", "GET /metrics HTTP/9.9"),
        unclear("a version in small letters", "GET /metrics http/1.1"),
        answered("a fragment", "GET /metrics#x HTTP/1.1"),
        answered("a query of 60 KiB", &format!("GET /metrics?{} HTTP/1.1", long(60 << 10))),
        answered("10,000 parameters", &format!("GET /metrics?{} HTTP/1.1", "a=1&".repeat(10_000))),
    ]
}

/// Sends `header` with a request that is right without it.
fn with(name: &str, header: &str, want: Want) -> Case {
    let bytes =
        format!("GET /-/ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n{header}\r\n\r\n");
    Case::bytes(format!("header: {name}"), bytes, want)
}

fn headers() -> Vec<Case> {
    let refused = |name: &str, header: &str| with(name, header, REFUSED);
    let answered = |name: &str, header: &str| with(name, header, Want::Answered);
    let many = |n: usize| (0..n).map(|n| format!("h{n}: 1\r\n")).collect::<String>();
    let raw = |name: &str, bytes: &str, want| Case::bytes(format!("header: {name}"), bytes, want);
    vec![
        refused("no colon", "nonsense"),
        refused("no name", ": value"),
        refused("a space before the colon", "x : 1"),
        refused("a tab in the name", "x\ty: 1"),
        refused("NUL in the value", "x: a\0b"),
        refused("a bare CR in the value", "x: a\rb"),
        refused("folded", "x: a\r\n  b"),
        refused("folded at once", " x: a"),
        refused("a control character", "x: a\u{1}b"),
        answered("not ASCII", "x: \u{e9}\u{4e2d}"),
        refused("a name not ASCII", "\u{e9}: 1"),
        refused("101 of them", many(101).trim_end()),
        refused("10,000 of them", many(10_000).trim_end()),
        refused("33 KiB", &format!("x: {}", "x".repeat(33 << 10))),
        refused("1 MiB", &format!("x: {}", "x".repeat(1 << 20))),
        refused("a name of 70 KiB", &format!("{}: 1", "x".repeat(70 << 10))),
        answered("empty", "x:"),
        answered("a second host", "Host: b"),
        answered("expect 100", "Expect: 100-continue"),
        answered("expect 200", "Expect: 200-ok"),
        answered("upgrade to a socket", "Upgrade: websocket\r\nConnection: Upgrade"),
        answered(
            "upgrade to h2c",
            "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\nConnection: Upgrade",
        ),
        answered("a range", "Range: bytes=0-0,-1,5-,9999999999999999999-"),
        answered("accept everything", &format!("Accept: {}", "a/b,".repeat(4_000))),
        answered("accept-encoding", &format!("Accept-Encoding: {}", "gzip;q=0.1,".repeat(2_000))),
        raw("no host", "GET /-/ready HTTP/1.1\r\nConnection: close\r\n\r\n", Want::Answered),
        raw(
            "a strange host",
            "GET /-/ready HTTP/1.1\r\nHost: a b@c:99999/../\r\nConnection: close\r\n\r\n",
            Want::Answered,
        ),
        raw(
            "lines that end with LF",
            "GET /-/ready HTTP/1.1\nHost: a\nConnection: close\n\n",
            Want::Answered,
        ),
        raw("lines that end with CR", "GET /-/ready HTTP/1.1\rHost: a\r\r", Want::AnsweredOrClosed),
        raw(
            "empty lines before",
            "\r\n\r\nGET /-/ready HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            Want::Answered,
        ),
    ]
}

/// Posts to remote write with these headers and bytes behind them.
fn post(name: &str, headers: &str, body: &str, want: Want) -> Case {
    let bytes = format!(
        "POST /api/v1/write HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-protobuf\r\n\
         Content-Encoding: snappy\r\nConnection: close\r\n{headers}\r\n\r\n{body}"
    );
    Case::bytes(name, bytes, want)
}

fn lengths() -> Vec<Case> {
    let refused =
        |name: &str, headers: &str| post(&format!("length: {name}"), headers, "\0", REFUSED);
    vec![
        refused("negative", "Content-Length: -1"),
        refused("with a plus", "Content-Length: +1"),
        refused("hexadecimal", "Content-Length: 0x1"),
        refused("an exponent", "Content-Length: 1e0"),
        refused("empty", "Content-Length:"),
        refused("words", "Content-Length: one"),
        refused("a fraction", "Content-Length: 1.0"),
        refused("a space in it", "Content-Length: 1 1"),
        refused("2^64", "Content-Length: 18446744073709551616"),
        refused("2^64 - 1", "Content-Length: 18446744073709551615"),
        refused("2^63", "Content-Length: 9223372036854775808"),
        refused("two that differ", "Content-Length: 1\r\nContent-Length: 2"),
        refused("two in one that differ", "Content-Length: 1, 2"),
        // One byte of snappy that promises nothing: an empty request, which is right.
        post(
            "length: twice the same",
            "Content-Length: 1\r\nContent-Length: 1",
            "\0",
            Want::Answered,
        ),
        post("length: twice the same in one", "Content-Length: 1, 1", "\0", Want::Answered),
        post("length: none", "X: 1", "\0", REFUSED),
        post("length: longer than what comes", "Content-Length: 100", "\0", REFUSED),
    ]
}

fn chunks() -> Vec<Case> {
    let chunked = |name: &str, body: &str, want| {
        post(&format!("chunks: {name}"), "Transfer-Encoding: chunked", body, want)
    };
    let refused = |name: &str, body: &str| chunked(name, body, REFUSED);
    let trailers = |n: usize| (0..n).map(|n| format!("t{n}: 1\r\n")).collect::<String>();
    let coded = |name: &str, headers: &str| {
        post(&format!("chunks: {name}"), headers, "1\r\n\0\r\n0\r\n\r\n", REFUSED)
    };
    vec![
        chunked("a right one", "1\r\n\0\r\n0\r\n\r\n", Want::Taken),
        refused("a negative size", "-1\r\n\0\r\n0\r\n\r\n"),
        refused("a size with 0x", "0x1\r\n\0\r\n0\r\n\r\n"),
        refused("a size that is none", "zz\r\n\0\r\n0\r\n\r\n"),
        refused("no size", "\r\n\0\r\n0\r\n\r\n"),
        refused("a size of 2^64", "10000000000000000\r\n\0\r\n0\r\n\r\n"),
        refused("a size of 2^60", "fffffffffffffff\r\n\0"),
        refused("no line end behind a chunk", "1\r\n\0X0\r\n\r\n"),
        refused("a chunk longer than its size", "1\r\n\0\0\r\n0\r\n\r\n"),
        refused(
            "an extension of 64 KiB",
            &format!("1;{}\r\n\0\r\n0\r\n\r\n", "x".repeat(64 << 10)),
        ),
        refused(
            "100 extensions of 1 KiB",
            &format!("1;{}\r\n\0\r\n", "x".repeat(1 << 10)).repeat(100),
        ),
        refused("20,000 chunks of a byte", &"1\r\nx\r\n".repeat(20_000)),
        chunked("a trailer", "1\r\n\0\r\n0\r\nx: 1\r\n\r\n", Want::Answered),
        chunked(
            "a trailer that is a length",
            "1\r\n\0\r\n0\r\nContent-Length: 9\r\n\r\n",
            Want::Answered,
        ),
        chunked(
            "a trailer that is a token",
            "1\r\n\0\r\n0\r\nAuthorization: Bearer x\r\n\r\n",
            Want::Answered,
        ),
        refused("5,000 trailers", &format!("1\r\n\0\r\n0\r\n{}\r\n", trailers(5_000))),
        refused(
            "a trailer of 1 MiB",
            &format!("1\r\n\0\r\n0\r\nx: {}\r\n\r\n", "x".repeat(1 << 20)),
        ),
        refused("no end", "1\r\n\0\r\n"),
        coded("chunked twice", "Transfer-Encoding: chunked, chunked"),
        coded("gzip, chunked", "Transfer-Encoding: gzip, chunked"),
        coded("chunked, gzip", "Transfer-Encoding: chunked, gzip"),
        coded("identity", "Transfer-Encoding: identity"),
        coded("xchunked", "Transfer-Encoding: xchunked"),
        coded("chunked with a vertical tab", "Transfer-Encoding: \u{b}chunked"),
        coded("an empty encoding", "Transfer-Encoding:"),
    ]
}

/// A request that one parser sees and another does not. The one that is hidden asks for something
/// that would be taken; only the outer one may be answered, or none.
fn smuggled() -> Vec<Case> {
    const HIDDEN: &str = "POST /api/v1/write HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n\0";
    let case = |name: &str, headers: &str, body: &str| {
        post(&format!("smuggling: {name}"), headers, body, REFUSED)
    };
    vec![
        case(
            "a length and chunks",
            "Content-Length: 5\r\nTransfer-Encoding: chunked",
            &format!("0\r\n\r\n{HIDDEN}"),
        ),
        case(
            "chunks and a length",
            "Transfer-Encoding: chunked\r\nContent-Length: 100",
            &format!("0\r\n\r\n{HIDDEN}"),
        ),
        case(
            "two encodings",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity",
            &format!("0\r\n\r\n{HIDDEN}"),
        ),
        case(
            "an encoding that is folded",
            "Transfer-Encoding:\r\n chunked",
            &format!("0\r\n\r\n{HIDDEN}"),
        ),
        case(
            "a space before the colon",
            "Transfer-Encoding : chunked",
            &format!("0\r\n\r\n{HIDDEN}"),
        ),
        case("two lengths", "Content-Length: 0\r\nContent-Length: 70", HIDDEN),
        case("a length behind NUL", "X: \0\r\nContent-Length: 0", HIDDEN),
        case("a chunk size behind a line end", "Transfer-Encoding: chunked", "0\n\r\nGET"),
        Case::bytes(
            "smuggling: an encoding in HTTP/1.0",
            format!(
                "POST /api/v1/write HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\
                 Content-Length: 5\r\n\r\n0\r\n\r\n{HIDDEN}"
            ),
            REFUSED,
        ),
        Case::bytes(
            "smuggling: 200 requests at once",
            "GET /-/ready HTTP/1.1\r\nHost: a\r\n\r\n".repeat(200),
            Want::Answered,
        ),
    ]
}

fn garbage() -> Vec<Case> {
    let case = |name: &str, bytes: Vec<u8>| {
        Case::bytes(format!("garbage: {name}"), bytes, Want::AnsweredOrClosed)
    };
    let client_hello = [&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3][..], &[7; 200]].concat();
    let mut cases = vec![
        case("a hello of TLS", client_hello),
        case("a hello of SSH", b"SSH-2.0-OpenSSH_9.2\r\n".to_vec()),
        case("a hello of SMB", [&[0, 0, 0, 0x85, 0xff][..], b"SMBr", &[0; 128]].concat()),
        case("a question of Redis", b"*1\r\n$4\r\nPING\r\n".to_vec()),
        case("a hello of Postgres", vec![0, 0, 0, 8, 4, 0xd2, 0x16, 0x2f]),
        case("NULs", vec![0; 4_096]),
        case("1 MiB of NULs", vec![0; 1 << 20]),
        case("line ends", b"\r\n".repeat(50_000)),
        case("1 MiB without a line end", vec![b'A'; 1 << 20]),
        case("half a request line", b"GET /met".to_vec()),
        case("half a header", b"GET /metrics HTTP/1.1\r\nHo".to_vec()),
    ];
    for seed in 10..14 {
        let noise = super::bytes::Die::new(seed).bytes(2_000);
        cases.push(case(&format!("noise, seed {seed}"), noise));
    }
    cases
}
