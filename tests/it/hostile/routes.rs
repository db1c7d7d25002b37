//! Every route, asked as nobody should ask it. The list is the table of roles, which a test holds
//! against the router, so a route that is added is asked here from then on; what takes telemetry is
//! not in that table and is listed here, held against the source.

use std::collections::BTreeSet;

use super::bodies;
use super::bytes::{Die, fixed64, message, number, promise, varint};
use super::case::{Case, Port, Want, Wire};
use super::seeds::{self, Endpoint, PROTOBUF, Packing, framed};
use crate::bad_input::Dialect;
use crate::support::Request;
use crate::support::wait::now_ms;

const ROLES: &str = include_str!("../../cases/roles.txt");
/// What takes telemetry, as the source writes it.
const TELEMETRY: [&str; 6] = [
    "/api/v1/otlp/v1/metrics",
    "/api/v1/write",
    "/loki/api/v1/push",
    "/opentelemetry.proto.collector.{service}/Export",
    "/otlp/v1/{name}",
    "/v1/{name}",
];
/// These do what they do whatever stands in the request: they are asked as a page of another site
/// would ask, which is refused.
const ACTS: [&str; 2] = ["/api/v1/admin/tsdb/clean_tombstones", "/api/v1/admin/tsdb/snapshot"];

const FORM: &str = "application/x-www-form-urlencoded";
const NAMES: [&str; 10] =
    ["query", "q", "match[]", "selector", "start", "end", "time", "step", "limit", "filter"];

pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = routes().flat_map(Route::cases).collect();
    let paths: BTreeSet<&str> = routes().map(|route| route.path).collect();
    cases.extend(paths.into_iter().map(|path| {
        let route = Route { method: "PATCH", path };
        let want = Want::Refused(&[405], route.dialect());
        Case { want, ..route.case("a method that it has not", route.request("x", "")) }
    }));
    cases.extend(wrong_methods());
    cases.extend(other_paths());
    cases.extend(remote_write_2());
    cases.extend(tails());
    cases
}

/// A line of the table.
#[derive(Debug, Clone, Copy)]
struct Route {
    method: &'static str,
    path: &'static str,
}

fn routes() -> impl Iterator<Item = Route> {
    ROLES.lines().filter_map(|line| {
        let (method, rest) = line.split_once(' ')?;
        let path = rest.split(' ').next()?;
        // A long path touches the first column.
        let path = path.strip_suffix("401").unwrap_or(path);
        path.starts_with('/').then_some(Route { method, path })
    })
}

impl Route {
    fn cases(self) -> Vec<Case> {
        if self.path.starts_with("/tempopb.") {
            return self.calls();
        }
        let mut cases = self.in_url();
        if self.method != "GET" {
            cases.extend(self.in_body());
        }
        if self.path.contains('{') {
            cases.extend(self.in_path());
        }
        cases
    }

    fn dialect(self) -> Dialect {
        let begins = |beginnings: &[&str]| beginnings.iter().any(|one| self.path.starts_with(one));
        if begins(&["/am/"]) {
            return Dialect::Json;
        }
        match begins(&["/loki/", "/api/prom/", "/tempo/", "/federate", "/ready"]) {
            true => Dialect::Text,
            false => Dialect::Prometheus,
        }
    }

    /// Returns a request with `place` where the route has a name in braces.
    fn request(self, place: &str, query: &str) -> Request {
        let mut path = filled(self.path, place);
        if !query.is_empty() {
            path = format!("{path}?{query}");
        }
        let request = Request { method: self.method, path, headers: Vec::new(), body: Vec::new() };
        match ACTS.contains(&self.path) {
            true => request.header("Sec-Fetch-Site", "cross-site"),
            false => request,
        }
    }

    fn case(self, name: &str, request: Request) -> Case {
        let want = match ACTS.contains(&self.path) {
            true => Want::Refused(&[403], Dialect::Prometheus),
            false => Want::Either(self.dialect()),
        };
        let name = format!("route: {} {}: {name}", self.method, self.path);
        Case::request(name, Port::Http, request, want)
    }

    fn in_url(self) -> Vec<Case> {
        let all = |value: &str| NAMES.map(|name| format!("{name}={value}")).join("&");
        let ask = |name: &str, query: &str| self.case(name, self.request("x", query));
        let mut cases = vec![
            ask("no parameters", ""),
            ask("parameters that are none", &all("%7B%7B")),
            ask("parameters that are not UTF-8", &all("%ff%fe")),
            ask("5,000 parameters", &"a=1&".repeat(5_000)),
            ask("a long text", &format!("query={0}&q={0}", "(".repeat(10_000))),
        ];
        // What is right here would delete.
        if !self.path.contains("delet") {
            let times = "query=up&q=%7B%7D&match[]=up&selector=up&start=-9223372036854775808\
                         &end=9223372036854775807&time=1e308&step=1e-30&limit=9223372036854775807";
            cases.push(ask("all of time", times));
        }
        cases
    }

    fn in_body(self) -> Vec<Case> {
        let send = |name: &str, content_type: &str, body: &[u8]| {
            let request = self.request("x", "").header("Content-Type", content_type);
            self.case(name, Request { body: body.to_vec(), ..request })
        };
        let pairs = NAMES.map(|name| format!("{name}=%7B%7B")).join("&");
        vec![
            send("a form that is none", FORM, pairs.as_bytes()),
            send("a form not UTF-8", FORM, b"query=%ff%fe&start=%ff&\xff\xfe"),
            send("a form of 2 MiB", FORM, &vec![b'x'; 2 << 20]),
            send("100,000 brackets", "application/json", &b"[".repeat(100_000)),
            send("noise", "application/octet-stream", &Die::new(5).bytes(300)),
            send("a length of 2^63", PROTOBUF, &promise(1, 1 << 63, b"x")),
        ]
    }

    fn in_path(self) -> Vec<Case> {
        let ask = |name: &str, place: &str| self.case(name, self.request(place, ""));
        vec![
            ask("a path in the name", "..%2f..%2fetc%2fpasswd"),
            ask("a name not UTF-8", "%ff%fe"),
            ask("NUL for a name", "%00"),
            ask("a name of 20,000 bytes", &"x".repeat(20_000)),
        ]
    }

    /// Calls over gRPC.
    fn calls(self) -> Vec<Case> {
        let call = |name: &str, body: Vec<u8>, codes: &'static [u32]| {
            let headers = [("content-type", "application/grpc"), ("te", "trailers")];
            let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
            let wire = Wire::Call { method: self.path.to_owned(), headers, body };
            let name = format!("route: {}: {name}", self.path);
            Case { name, port: Port::Http, wire, want: Want::Grpc(codes) }
        };
        // Invalid argument; and beside it right, exhausted, failed.
        let (wrong, any): (&[u32], &[u32]) = (&[3], &[0, 3, 8, 9]);
        let texts = |text: &str| [1, 2, 8].map(|field| message(field, text)).concat();
        vec![
            call("no bytes", Vec::new(), wrong),
            call("nothing asked", framed(b""), any),
            call("0xff", framed(&[0xff; 64]), wrong),
            call("noise", framed(&Die::new(6).bytes(300)), any),
            call("a length one long", [framed(b"").as_slice(), b"x"].concat(), wrong),
            call("compressed without an encoding", vec![1, 0, 0, 0, 0], wrong),
            call("a length of 2^63", framed(&promise(8, 1 << 63, b"x")), wrong),
            call("10,000 groups", framed(&[0x0b; 10_000]), wrong),
            call("an endless query", framed(&texts(&"(".repeat(10_000))), any),
            call("2 MiB", framed(&message(9, vec![7_u8; 2 << 20])), wrong),
        ]
    }
}

fn filled(path: &str, place: &str) -> String {
    let mut filled = String::new();
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        filled.push_str(place);
        rest = after.split_once('}').map_or("", |(_, behind)| behind);
    }
    filled + rest
}

/// What takes telemetry, asked as if it were a page.
fn wrong_methods() -> Vec<Case> {
    let doors = [
        ("/api/v1/write", Dialect::Text),
        ("/loki/api/v1/push", Dialect::Text),
        ("/v1/logs", Dialect::OtlpProtobuf),
        ("/otlp/v1/traces", Dialect::OtlpProtobuf),
        ("/api/v1/otlp/v1/metrics", Dialect::OtlpProtobuf),
    ];
    let case = |(path, dialect): (&str, Dialect)| {
        let want = Want::Refused(&[405], dialect);
        Case::request(format!("telemetry: GET {path}"), Port::Http, Request::get(path), want)
    };
    doors.map(case).into()
}

/// OTLP where others take it too.
fn other_paths() -> Vec<Case> {
    let others = [
        ("otlp metrics", "otlp metrics below /otlp", "/otlp/v1/metrics"),
        ("otlp logs", "otlp logs below /otlp", "/otlp/v1/logs"),
        ("otlp spans", "otlp spans below /otlp", "/otlp/v1/traces"),
        ("otlp metrics", "otlp metrics as at Prometheus", "/api/v1/otlp/v1/metrics"),
    ];
    let seeds = seeds::over_http();
    let spoiled = others.map(|(of, name, path)| {
        let seed = seeds.iter().find(|seed| seed.name == of).expect("it is a seed");
        bodies::spoiled(&Endpoint { name, path, port: Port::Http, ..seed.clone() })
    });
    spoiled.into_iter().flatten().collect()
}

/// Writes a request of remote write 2.0 with a sample of one series.
fn message_2(symbols: &[&str], references: &[u64]) -> Vec<u8> {
    let symbols: Vec<u8> = symbols.iter().flat_map(|symbol| message(4, symbol)).collect();
    let references: Vec<u8> = references.iter().flat_map(|number| varint(*number)).collect();
    let ms = u64::try_from(now_ms()).expect("after 1970");
    let sample = [fixed64(1, 1.0_f64.to_bits()), number(2, ms)].concat();
    let series = [message(1, references), message(2, sample)].concat();
    [symbols, message(5, series)].concat()
}

fn remote_write_2() -> Vec<Case> {
    const TYPE: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";
    const SYMBOLS: [&str; 5] = ["", "__name__", "hostile_2", "job", "a"];
    let seeds = seeds::over_http();
    let seed = seeds.iter().find(|seed| seed.packing == Packing::Snappy).expect("remote write");
    let endpoint = Endpoint { name: "remote write 2", content_type: TYPE, ..seed.clone() };
    let refused = |name: &str, body: &[u8]| endpoint.packed(name, body, endpoint.refused());
    let either = |name: &str, body: &[u8]| endpoint.packed(name, body, endpoint.either());
    let right = message_2(&SYMBOLS, &[1, 2, 3, 4]);
    let unknown = Endpoint {
        name: "remote write 9",
        content_type: "application/x-protobuf;proto=io.prometheus.write.v9.Request",
        ..endpoint.clone()
    };
    vec![
        endpoint.packed("a right one", &right, Want::Taken),
        unknown.packed("a version to come", &right, unknown.refused()),
        refused("all but a byte", &right[..right.len() - 1]),
        refused("0xff", &[0xff; 64]),
        refused("10,000 groups", &[0x2b; 10_000]),
        refused("a first symbol with a text", &message_2(&SYMBOLS[1..], &[0, 1])),
        refused("a symbol that is not there", &message_2(&SYMBOLS, &[1, 2, 3, 99])),
        refused("a symbol of 2^63", &message_2(&SYMBOLS, &[1, 2, 3, 1 << 63])),
        refused("a name without a value", &message_2(&SYMBOLS, &[1, 2, 3])),
        either("a series without labels", &message_2(&SYMBOLS, &[])),
        refused("a million symbols", &message(4, "").repeat(1_000_000)),
        either("a million series", &message(5, "").repeat(1_000_000)),
        either("100,000 labels", &message_2(&SYMBOLS, &[1_u64, 2].repeat(100_000))),
        either("noise", &Die::new(7).bytes(300)),
    ]
}

/// Handshakes and frames of a client that follows logs.
fn tails() -> Vec<Case> {
    const KEY: &str =
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let handshake = |headers: &str| {
        format!(
            "GET /loki/api/v1/tail?query=%7Ba%3D%22b%22%7D HTTP/1.1\r\nHost: a\r\n\
             Connection: Upgrade\r\nUpgrade: websocket\r\n{headers}\r\n"
        )
    };
    let refused = |name: &str, headers: &str| {
        let want = Want::Refused(&[400], Dialect::Text);
        Case::bytes(format!("tail: {name}"), handshake(headers), want)
    };
    // What ends the connection comes last: a client that only says strange things may stay.
    let framed = |name: &str, frames: &[u8]| {
        let bytes = [handshake(KEY).as_bytes(), frames, &[0x81, 0x01, b'x']].concat();
        Case::bytes(format!("tail: {name}"), bytes, Want::AnsweredOrClosed)
    };
    vec![
        refused("no key", "Sec-WebSocket-Version: 13\r\n"),
        refused("another version", &KEY.replace("13", "12")),
        framed("a frame without a mask", &[]),
        framed("a frame of 2^63 bytes", &[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        framed("a frame of 5,000 bytes", &[&[0x82_u8, 0xfe, 0x13, 0x88][..], &[7; 5_004]].concat()),
        framed("1,000 pings", &[0x89_u8, 0x80, 1, 2, 3, 4].repeat(1_000)),
        framed("an unknown kind of frame", &[0x87, 0x80, 1, 2, 3, 4]),
    ]
}

#[test]
fn all_that_takes_telemetry_is_listed() {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/src/ingest/**/*.rs");
    let route = regex::Regex::new(r#"\.route\(\s*(?:&format!\(\s*)?"([^"]+)""#).unwrap();
    let mut found = BTreeSet::new();
    for path in glob::glob(source).unwrap().map(Result::unwrap) {
        let text = std::fs::read_to_string(path).unwrap();
        found.extend(route.captures_iter(&text).map(|captures| captures[1].to_owned()));
    }

    let listed: BTreeSet<String> = TELEMETRY.map(str::to_owned).into();
    assert_eq!(found, listed, "what is new here has its cases in `hostile`");
    assert!(routes().count() > 100, "the table of roles is read");
}
