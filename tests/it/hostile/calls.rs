//! gRPC calls with a prefix, a header or a method that is wrong.

use super::case::{Case, Port, Want, Wire};
use super::seeds::{self, Endpoint, framed};
use crate::support::Request;

/// Invalid argument, resource exhausted, unimplemented, internal, unavailable: the last two only
/// for calls that the transport itself cannot read.
const INVALID: Want = Want::Grpc(&[3]);
const UNIMPLEMENTED: Want = Want::Grpc(&[12]);

pub(super) fn cases() -> Vec<Case> {
    let mut cases: Vec<Case> = seeds::over_grpc().iter().flat_map(prefixes).collect();
    let logs = &seeds::over_grpc()[1];
    cases.extend(headers(logs));
    cases.extend(methods(logs));
    cases
}

fn prefixes(endpoint: &Endpoint) -> Vec<Case> {
    let case = |name: &str, body: Vec<u8>, want| endpoint.call(name, &[], body, want);
    let right = framed(&endpoint.body);
    let with_flag = |flag: u8| [&[flag], &right[1..]].concat();
    let with_length =
        |length: u32| [&[0], length.to_be_bytes().as_slice(), &endpoint.body].concat();
    let n = u32::try_from(endpoint.body.len()).expect("small");
    vec![
        case("no bytes", Vec::new(), INVALID),
        case("4 bytes", vec![0; 4], INVALID),
        case("a length one short", with_length(n - 1), INVALID),
        case("a length one long", with_length(n + 1), INVALID),
        case("a length of 4 GiB", with_length(u32::MAX), Want::Grpc(&[3, 8])),
        case("two messages", right.repeat(2), INVALID),
        case("compressed without an encoding", with_flag(1), INVALID),
        case("a flag of 2", with_flag(2), INVALID),
        case("a flag of 255", with_flag(255), INVALID),
    ]
}

fn headers(endpoint: &Endpoint) -> Vec<Case> {
    let right = || framed(&endpoint.body);
    let case =
        |name: &str, headers: &[(&str, &str)], want| endpoint.call(name, headers, right(), want);
    let any = || Want::Grpc(&[0, 3, 12]);
    let long = "x".repeat(15_000);
    vec![
        case("encoding br", &[("grpc-encoding", "br")], UNIMPLEMENTED),
        case("encoding gzip of a plain message", &[("grpc-encoding", "gzip")], endpoint.taken()),
        case("two encodings", &[("grpc-encoding", "gzip, gzip")], UNIMPLEMENTED),
        case("an empty encoding", &[("grpc-encoding", "")], UNIMPLEMENTED),
        case("HTTP's own encoding", &[("content-encoding", "gzip")], any()),
        case("a deadline in the past", &[("grpc-timeout", "-1S")], any()),
        case("a deadline of years", &[("grpc-timeout", "99999999H")], any()),
        case("a deadline in words", &[("grpc-timeout", "soon")], any()),
        case("binary metadata that is none", &[("x-bin", "%%%")], any()),
        case("metadata of 15 KB", &[("x-long", &long)], any()),
        case("a foreign authority", &[("host", "evil.example")], any()),
        case("te: gzip", &[("te", "trailers, gzip")], any()),
        case("JSON", &[("content-type", "application/grpc+json")], any()),
        case("grpc-web", &[("content-type", "application/grpc-web")], any()),
    ]
}

fn methods(endpoint: &Endpoint) -> Vec<Case> {
    let method = |name: &str, path: &str| {
        let mut case = endpoint.call(name, &[], framed(b""), UNIMPLEMENTED);
        if let Wire::Call { method, .. } = &mut case.wire {
            *method = path.to_owned();
        }
        case
    };
    let over_http_1 = |name: &str, request: Request, statuses| {
        Case::request(format!("grpc: {name}"), Port::OtlpGrpc, request, Want::Http(statuses))
    };
    let path = seeds::LOGS_METHOD;
    vec![
        method("an unknown method", &path.replace("Export", "Import")),
        method("an unknown service", "/a.b.C/Export"),
        method("reflection", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"),
        method("health", "/grpc.health.v1.Health/Check"),
        method("a slash behind", &format!("{path}/")),
        method("a path of dots", "/../opentelemetry"),
        over_http_1("a GET", Request::get(path), &[404, 405, 415]),
        over_http_1("no content type", Request::post(path, framed(b"")), &[415]),
        over_http_1(
            "a call over HTTP/1.1",
            Request::post(path, framed(b"")).header("Content-Type", "application/grpc"),
            &[200],
        ),
    ]
}
