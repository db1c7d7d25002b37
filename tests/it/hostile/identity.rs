//! Who someone says they are: headers of proxies, and credentials that are none. The server has
//! tokens, so whatever is sent here is answered with 401.

use super::case::{Case, Port, Want, Wire};
use super::seeds;
use crate::bad_input::Dialect;
use crate::support::Request;

/// Headers by which proxies tell applications who is there.
const PROXIES: [&str; 16] = [
    "X-Forwarded-User: admin",
    "X-Forwarded-Email: admin@example.org",
    "X-Forwarded-Groups: admin",
    "X-Forwarded-For: 127.0.0.1",
    "X-Real-IP: 127.0.0.1",
    "Forwarded: for=127.0.0.1;by=127.0.0.1",
    "X-Remote-User: admin",
    "Remote-User: admin",
    "X_Remote_User: admin",
    "X-WEBAUTH-USER: admin",
    "X-Auth-Request-User: admin",
    "X-Client-Cert: admin",
    "X-SSL-Client-Verify: SUCCESS",
    "X-Original-URL: /-/healthy",
    "X-Rewrite-URL: /-/ready",
    "X-HTTP-Method-Override: GET",
];

/// What stands in `Authorization` and opens nothing.
const CREDENTIALS: [&str; 16] = [
    "",
    "Bearer",
    "Bearer ",
    "Bearer x",
    "Bearer null",
    "Bearer hostile-token-0123456789 x",
    "bearer\tx",
    "Basic",
    "Basic !!!",
    "Basic YWRtaW4=",
    "Basic YWRtaW46YWRtaW4=",
    "Basic //////////8=",
    "Digest username=\"admin\"",
    "Negotiate YII=",
    "Bearer eyJhbGciOiJub25lIn0.eyJyb2xlIjoiYWRtaW4ifQ.",
    "Bearer \u{e9}\u{e9}",
];

pub(super) const TOKEN: &str = "hostile-token-0123456789abcdef";

pub(super) fn config() -> String {
    format!(
        "[[auth.tokens]]\nname = \"admin\"\nrole = \"admin\"\nread = [\"*\"]\nwrite = \"any\"\n\
         token = \"{TOKEN}\"\n"
    )
}

pub(super) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    // 429 is what the address gets that has guessed too often; it is no less a refusal.
    let want = || Want::Refused(&[401, 429], Dialect::Prometheus);
    let ask = |name: String, header: &str| {
        let (header, value) = header.split_once(':').expect("headers have a colon");
        let request = Request::get("/api/v1/query?query=up").header(header, value.trim_start());
        Case::request(name, Port::Http, request, want())
    };
    for header in PROXIES {
        cases.push(ask(format!("identity: {header}"), header));
    }
    for credential in CREDENTIALS {
        let header = format!("Authorization: {credential}");
        cases.push(ask(format!("credential: {credential:?}"), &header));
    }
    cases.push(ask(
        "credential: 30 KiB".into(),
        &format!("Authorization: Bearer {}", "x".repeat(30_000)),
    ));
    cases.push(Case::bytes(
        "credential: two of them, the right one first",
        format!(
            "GET /api/v1/query?query=up HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\n\
             Authorization: Bearer x\r\nConnection: close\r\n\r\n"
        ),
        want(),
    ));
    for endpoint in [seeds::over_http(), seeds::over_grpc()].concat() {
        cases.push(match endpoint.packing {
            seeds::Packing::Grpc => {
                endpoint.packed("no credential", &endpoint.body, Want::Grpc(&[16]))
            }
            _ => endpoint.packed(
                "no credential",
                &endpoint.body,
                Want::Refused(&[401], endpoint.dialect),
            ),
        });
    }
    for (idx, path) in
        ["/metrics", "/api/v1/sql", "/-/reload", "/api/v1/unknown", "/"].into_iter().enumerate()
    {
        let request =
            if matches!(idx, 1 | 2) { Request::post(path, "x") } else { Request::get(path) };
        cases.push(Case {
            name: format!("no credential: {path}"),
            port: Port::Http,
            wire: Wire::Request(request),
            want: want(),
        });
    }
    cases
}
