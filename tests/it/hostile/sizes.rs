//! Much of something: nesting, counts, and sizes.

use std::sync::LazyLock;

use super::bytes::{fixed64, message, nested, number};
use super::case::{Case, Port, Want};
use super::seeds::{self, Endpoint, JSON};
use crate::bad_input::Dialect;
use crate::support::wait::now_ns;
use crate::support::{Request, remote_write};

pub(super) fn cases() -> Vec<Case> {
    let endpoints = [seeds::over_http(), seeds::over_grpc()].concat();
    let by_name = |name: &str| {
        let found = endpoints.iter().find(|endpoint| endpoint.name == name);
        found.unwrap_or_else(|| panic!("there is no endpoint {name}")).clone()
    };
    let mut cases = Vec::new();
    for name in ["otlp logs", "otlp spans", "otlp metrics", "grpc logs"] {
        cases.extend(nested_values(&by_name(name)));
    }
    cases.extend(endpoints.iter().filter(|e| e.content_type == JSON).flat_map(nested_json));
    cases.extend(endpoints.iter().filter(|e| e.content_type == JSON).map(many_keys));
    cases.extend(nested_sql());
    cases.extend(counts_of_logs(&by_name("otlp logs")));
    cases.extend(counts_of_spans(&by_name("otlp spans")));
    cases.extend(counts_of_metrics(&by_name("otlp metrics")));
    cases.extend(counts_of_series(&by_name("remote write")));
    cases.extend(counts_of_streams(&by_name("loki")));
    cases.extend(endpoints.iter().flat_map(large));
    cases
}

/// `AnyValue` in lists and maps, so deep, as an attribute of the resource and of the item.
fn nested_values(endpoint: &Endpoint) -> Vec<Case> {
    let list = |value: Vec<u8>| message(5, message(1, value));
    let map =
        |value: Vec<u8>| message(6, message(1, [message(1, "k"), message(2, value)].concat()));
    let deep = |wrap: &dyn Fn(Vec<u8>) -> Vec<u8>, depth: usize| {
        (0..depth).fold(message(1, "x"), |value, _| wrap(value))
    };
    let attribute = |value: Vec<u8>| [message(1, "deep"), message(2, value)].concat();
    let mut cases = Vec::new();
    for depth in [8, 31, 33, 100, 1_000, 20_000] {
        for (kind, value) in [("lists", deep(&list, depth)), ("maps", deep(&map, depth))] {
            let resource = nested(attribute(value), &[1, 1, 1]);
            let name = format!("a resource's attribute of {depth} {kind}");
            cases.push(endpoint.packed(&name, &resource, endpoint.either()));
        }
    }
    // Messages in messages where the schema has none.
    let name = "fields in fields, 20,000 deep";
    let fields = (0..20_000).fold(Vec::new(), |content, _| message(1, content));
    cases.push(endpoint.packed(name, &fields, endpoint.either()));
    cases
}

fn nested_json(endpoint: &Endpoint) -> Vec<Case> {
    let either =
        |name: String, body: String| endpoint.packed(&name, body.as_bytes(), endpoint.either());
    let mut cases = Vec::new();
    for depth in [30, 127, 129, 1_000, 100_000] {
        let lists = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let maps = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        cases
            .push(either(format!("an unknown key of {depth} lists"), format!("{{\"u\":{lists}}}")));
        cases.push(either(format!("an unknown key of {depth} maps"), format!("{{\"u\":{maps}}}")));
    }
    for depth in [31, 100, 10_000] {
        let value = format!(
            "{}{{\"stringValue\":\"x\"}}{}",
            "{\"arrayValue\":{\"values\":[".repeat(depth),
            "]}}".repeat(depth)
        );
        let body = format!(
            "{{\"resourceLogs\":[{{\"scopeLogs\":[{{\"logRecords\":[{{\"body\":{value}}}]}}]}}]}}"
        );
        cases.push(either(format!("a body of {depth} lists"), body));
    }
    cases
}

fn many_keys(endpoint: &Endpoint) -> Case {
    let pairs: Vec<String> = (0..100_000).map(|n| format!("\"l{n}\":\"v\"")).collect();
    let body = match endpoint.name {
        "loki json" => {
            format!("{{\"streams\":[{{\"stream\":{{{}}},\"values\":[]}}]}}", pairs.join(","))
        }
        _ => format!("{{{}}}", pairs.join(",")),
    };
    endpoint.packed("100,000 keys", body.as_bytes(), endpoint.either())
}

fn nested_sql() -> Vec<Case> {
    [100, 1_000, 100_000]
        .map(|depth| {
            let body = format!("{{\"query\":{}1{}}}", "[".repeat(depth), "]".repeat(depth));
            let request = Request::post("/api/v1/sql", body).header("Content-Type", JSON);
            let want = Want::Refused(&[400, 413], Dialect::Prometheus);
            Case::request(format!("sql: a query of {depth} lists"), Port::Http, request, want)
        })
        .into()
}

/// Past `limits.records_per_request`, and far past it.
const MANY: usize = 100_001;
const MANY_MORE: usize = 1_000_000;

/// 100,000 `KeyValue`s in this field, no two with one name.
fn distinct(field: u64) -> Vec<u8> {
    let pair =
        |n| message(field, [message(1, format!("a{n}")), message(2, message(1, "v"))].concat());
    (0..100_000).flat_map(pair).collect()
}

fn counts_of_logs(endpoint: &Endpoint) -> Vec<Case> {
    let refused = |name: &str, body: Vec<u8>| endpoint.packed(name, &body, endpoint.refused());
    let either = |name: &str, body: Vec<u8>| endpoint.packed(name, &body, endpoint.either());
    let record = |fields: Vec<u8>| {
        nested([fixed64(1, now_ns().unsigned_abs()), fields].concat(), &[2, 2, 1])
    };
    vec![
        refused("100,001 empty records", nested(message(2, "").repeat(MANY), &[2, 1])),
        refused("1,000,000 empty records", nested(message(2, "").repeat(MANY_MORE), &[2, 1])),
        either("1,000,000 empty resources", message(1, "").repeat(MANY_MORE)),
        either("1,000,000 empty scopes", nested(message(2, "").repeat(MANY_MORE), &[1])),
        either("1,000,000 empty attributes", record(message(6, "").repeat(MANY_MORE))),
        either("100,000 attributes with names of their own", record(distinct(6))),
        either("a resource of 100,000 attributes", nested(distinct(1), &[1, 1])),
        either("a body of 1,000,000 values", {
            let values = message(1, "").repeat(MANY_MORE);
            record(nested(values, &[5, 5]))
        }),
        either("a record with 100,000 bodies", record(message(5, message(1, "b")).repeat(100_000))),
        either("a body of 8 MiB", record(message(5, message(1, "x".repeat(8 << 20))))),
        either("an attribute name of 8 MiB", {
            let attribute = [message(1, "n".repeat(8 << 20)), message(2, message(1, "v"))];
            record(message(6, attribute.concat()))
        }),
        either("control characters", record(message(5, message(1, "\u{1}".repeat(2 << 20))))),
    ]
}

fn counts_of_spans(endpoint: &Endpoint) -> Vec<Case> {
    let either = |name: &str, body: Vec<u8>| endpoint.packed(name, &body, endpoint.either());
    let span = |fields: Vec<u8>| {
        let at = now_ns().unsigned_abs();
        let own = [
            message(1, [7; 16]),
            message(2, [7; 8]),
            message(5, "n"),
            fixed64(7, at),
            fixed64(8, at),
        ];
        nested([own.concat(), fields].concat(), &[2, 2, 1])
    };
    vec![
        endpoint.packed(
            "100,001 empty spans",
            &nested(message(2, "").repeat(MANY), &[2, 1]),
            endpoint.refused(),
        ),
        either("1,000,000 empty events", span(message(11, "").repeat(MANY_MORE))),
        either("1,000,000 empty links", span(message(13, "").repeat(MANY_MORE))),
        either("1,000,000 empty attributes", span(message(9, "").repeat(MANY_MORE))),
        either("100,000 attributes with names of their own", span(distinct(9))),
        either("a name of 8 MiB", span(message(5, "x".repeat(8 << 20)))),
        either("a trace state of 8 MiB", span(message(3, "x".repeat(8 << 20)))),
    ]
}

fn counts_of_metrics(endpoint: &Endpoint) -> Vec<Case> {
    let either = |name: &str, body: Vec<u8>| endpoint.packed(name, &body, endpoint.either());
    let at = fixed64(3, now_ns().unsigned_abs());
    let metric = |field: u64, points: Vec<u8>| {
        let data = message(field, [points, number(2, 2)].concat());
        nested([message(1, "hostile_metric"), data].concat(), &[2, 2, 1])
    };
    let point = |fields: Vec<u8>| message(1, [at.clone(), fields].concat());
    let packed_counts = |n: usize| message(6, 1_u64.to_le_bytes().repeat(n));
    let packed_bounds = |n: usize| message(7, 1.0_f64.to_le_bytes().repeat(n));
    vec![
        endpoint.packed(
            "100,001 points",
            &metric(5, message(1, &at).repeat(MANY)),
            endpoint.refused(),
        ),
        either("1,000,000 empty points", metric(5, message(1, "").repeat(MANY_MORE))),
        either("1,000,000 empty metrics", nested(message(2, "").repeat(MANY_MORE), &[2, 1])),
        either("a histogram of 1,000,000 buckets", {
            metric(9, point([packed_counts(1_000_000), packed_bounds(999_999)].concat()))
        }),
        either("100 histograms of 10,000 buckets", {
            let one = point([packed_counts(10_000), packed_bounds(9_999)].concat());
            metric(9, one.repeat(100))
        }),
        either("100,000 attributes with names of their own", metric(5, point(distinct(7)))),
        either("counts without bounds", metric(9, point(packed_counts(10)))),
        either("bounds without counts", metric(9, point(packed_bounds(10)))),
        either("a summary of 1,000,000 quantiles", {
            metric(11, point(message(6, "").repeat(MANY_MORE)))
        }),
        either("1,000,000 exemplars", metric(5, point(message(5, "").repeat(MANY_MORE)))),
        either("an exponential histogram of 1,000,000 buckets", {
            metric(10, point(message(8, message(2, [1_u8; 1_000_000]))))
        }),
        either("the largest scale", metric(10, point(number(6, 0xffff_fffe)))),
        either("the smallest scale", metric(10, point(number(6, 0xffff_ffff)))),
        either("the farthest offset", {
            metric(10, point(message(8, [number(1, 0xffff_fffe), message(2, [1; 160])].concat())))
        }),
    ]
}

fn counts_of_series(endpoint: &Endpoint) -> Vec<Case> {
    let either = |name: &str, body: Vec<u8>| endpoint.packed(name, &body, endpoint.either());
    let label =
        |name: &str, value: &str| message(1, [message(1, name), message(2, value)].concat());
    let named = || label("__name__", "hostile_series");
    let at = || number(2, u64::try_from(crate::support::wait::now_ms()).expect("after 1970"));
    vec![
        either("1,000,000 empty series", message(1, "").repeat(MANY_MORE)),
        either("1,000,000 empty samples", {
            message(1, [named(), message(2, "").repeat(MANY_MORE)].concat())
        }),
        endpoint.packed(
            "100,001 samples",
            &message(1, [named(), message(2, at()).repeat(MANY)].concat()),
            endpoint.refused(),
        ),
        either("1,000,000 empty labels", {
            message(1, [message(1, "").repeat(MANY_MORE), message(2, at())].concat())
        }),
        either("100,000 labels with names of their own", {
            let labels = (0..100_000).flat_map(|n| label(&format!("l{n}"), "v")).collect();
            message(1, [named(), labels, message(2, at())].concat())
        }),
        either("1,000,000 pieces of metadata", message(3, "").repeat(MANY_MORE)),
        either("1,000,000 exemplars", {
            message(1, [named(), message(3, "").repeat(MANY_MORE)].concat())
        }),
        either("1,000,000 histograms", {
            message(1, [named(), message(4, "").repeat(MANY_MORE)].concat())
        }),
        either("30 MiB of a label", {
            // Noise, because snappy would make too little of anything else.
            let noise = super::bytes::Die::new(9).bytes(1 << 20);
            message(1, message(1, [message(1, "a"), message(2, noise.repeat(14))].concat()))
        }),
    ]
}

fn counts_of_streams(endpoint: &Endpoint) -> Vec<Case> {
    let either = |name: &str, body: Vec<u8>| endpoint.packed(name, &body, endpoint.either());
    let stream = |entries: Vec<u8>| message(1, [message(1, "{app=\"many\"}"), entries].concat());
    let labels: Vec<String> = (0..100_000).map(|n| format!("l{n}=\"v\"")).collect();
    vec![
        either("1,000,000 empty streams", message(1, "").repeat(MANY_MORE)),
        either("1,000,000 empty entries", stream(message(2, "").repeat(MANY_MORE))),
        either("1,000,000 pieces of metadata", {
            let line = [message(2, "x"), message(3, "").repeat(MANY_MORE)].concat();
            stream(message(2, line))
        }),
        either("100,000 pieces of metadata with names of their own", {
            let pairs = (0..100_000)
                .flat_map(|n| message(3, [message(1, format!("m{n}")), message(2, "v")].concat()));
            stream(message(2, [message(2, "x"), pairs.collect()].concat()))
        }),
        either("100,000 labels", message(1, message(1, format!("{{{}}}", labels.join(","))))),
        either("100,000 braces", message(1, message(1, "{".repeat(100_000)))),
        either("a label value that does not end", message(1, message(1, "{a=\""))),
        either("escapes", message(1, message(1, "{a=\"\\u0000\\xff\\q\"}"))),
    ]
}

/// More than the body may have, on the wire and by its own word.
fn large(endpoint: &Endpoint) -> Vec<Case> {
    let name = "17 MiB of noise";
    static NOISE: LazyLock<Vec<u8>> =
        LazyLock::new(|| super::bytes::Die::new(3).bytes(1 << 20).repeat(17));
    let noise = NOISE.clone();
    let case = match endpoint.packing {
        seeds::Packing::Grpc => endpoint.call(name, &[], seeds::framed(&noise), endpoint.refused()),
        _ => endpoint.raw(name, noise, endpoint.refused()),
    };
    let mut cases = vec![case];
    if endpoint.packing != seeds::Packing::Grpc {
        let head = format!(
            "POST {} HTTP/1.1\r\nHost: a\r\nContent-Type: {}\r\nContent-Length: 99999999999\r\n\r\n",
            endpoint.path, endpoint.content_type
        );
        let promised = Case::bytes(
            format!("{}: 99 GB promised", endpoint.name),
            head,
            Want::Refused(&[413], endpoint.dialect),
        );
        cases.push(Case { port: endpoint.port, ..promised });
    }
    cases
}

/// Returns a request that must always be taken.
pub(super) fn honest(number: u32, at_ms: i64) -> Request {
    let labels = [("__name__", "honest"), ("job", "a")];
    remote_write::write(vec![remote_write::series(&labels, &[(at_ms, f64::from(number))])])
}
