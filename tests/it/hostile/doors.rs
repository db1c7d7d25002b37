//! LogQL, TraceQL and Alertmanager's API: texts that cost, nest or lie, in each door's own dialect.

use super::case::{Case, Port, Want};
use crate::bad_input::Dialect;
use crate::support::Request;
use crate::support::ask::form;

const REFUSED: Want = Want::Refused(&[400, 413, 414, 422], Dialect::Text);
const EITHER: Want = Want::Either(Dialect::Text);

pub(super) fn cases() -> Vec<Case> {
    let mut cases = logql();
    cases.extend(loki_parameters());
    cases.extend(traceql());
    cases.extend(alertmanager());
    cases
}

fn post(family: &str, path: &str, name: &str, parameters: &[(&str, &str)], want: &Want) -> Case {
    let request = Request::post(path, form(parameters))
        .header("Content-Type", "application/x-www-form-urlencoded");
    Case::request(format!("{family}: {name}"), Port::Http, request, want.clone())
}

fn get(family: &str, path: &str, name: &str, parameters: &[(&str, &str)], want: &Want) -> Case {
    let request = Request::get(format!("{path}?{}", form(parameters)));
    Case::request(format!("{family}: {name}"), Port::Http, request, want.clone())
}

fn logql() -> Vec<Case> {
    let nested = |open: &str, close: &str, n: usize| {
        format!("{}{{a=\"b\"}}{}", open.repeat(n), close.repeat(n))
    };
    let refused = [
        ("nothing", String::new()),
        ("an open brace", "{".to_owned()),
        ("an endless string", "{a=\"".to_owned()),
        ("no matcher", "{}".to_owned()),
        ("a matcher of everything", "{a=~\".*\"}".to_owned()),
        ("a wrong pattern", "{a=~\"(\"}".to_owned()),
        ("a wrong filter", "{a=\"b\"} |~ \"(\"".to_owned()),
        ("200 KiB", format!("{{a=\"{}\"}}", "x".repeat(200 << 10))),
        ("5,000 filters", format!("{{a=\"b\"}}{}", " |= \"x\"".repeat(5_000))),
        ("5,000 sums", nested("sum(", ")", 5_000)),
        ("50,000 parentheses", "(".repeat(50_000)),
        ("a range of 0", "rate({a=\"b\"}[0s])".to_owned()),
        ("an endless range", "rate({a=\"b\"}[1e400])".to_owned()),
        ("an unknown stage", "{a=\"b\"} | nothing".to_owned()),
        ("an open template", "{a=\"b\"} | line_format \"{{.a\"".to_owned()),
        ("a bare NUL", "\0".to_owned()),
    ];
    let either = [
        ("a slow pattern", "{a=\"b\"} |~ \"(a+)+$\""),
        ("a template that repeats", "{a=\"b\"} | line_format \"{{ repeat 999999999 .a }}\""),
        ("a large program", "{a=\"b\"} |~ \"(a{1000}){1000}\""),
        ("an offset of a century", "rate({a=\"b\"}[5m] offset 876000h)"),
    ];
    let path = "/loki/api/v1/query_range";
    let refused =
        refused.iter().map(|(name, q)| post("logql", path, name, &[("query", q)], &REFUSED));
    let either = either.iter().map(|(name, q)| post("logql", path, name, &[("query", q)], &EITHER));
    refused.chain(either).collect()
}

fn loki_parameters() -> Vec<Case> {
    let path = "/loki/api/v1/query_range";
    let ask = |name: &str, parameter: &str, value: &str, want: &Want| {
        get("loki api", path, name, &[("query", "{a=\"b\"}"), (parameter, value)], want)
    };
    vec![
        ask("a limit of -1", "limit", "-1", &REFUSED),
        ask("a limit of 2^64", "limit", "18446744073709551616", &REFUSED),
        ask("a start that is none", "start", "yesterday", &REFUSED),
        ask("a direction that is none", "direction", "sideways", &REFUSED),
        ask("a step that is none", "step", "-1", &EITHER),
        ask("a start before time", "start", "-9223372036854775808", &EITHER),
        ask("an end before time", "end", "-9223372036854775808", &EITHER),
        ask("a since of centuries", "since", "290y", &EITHER),
        ask("a since to come", "since", "-290y", &EITHER),
        get("loki api", "/loki/api/v1/series", "a wrong match", &[("match[]", "{")], &REFUSED),
        get("loki api", "/loki/api/v1/patterns", "no query", &[], &REFUSED),
        get("loki api", "/loki/api/v1/index/stats", "statistics of no query", &[], &REFUSED),
    ]
}

fn traceql() -> Vec<Case> {
    let search = "/tempo/api/search";
    let refused = [
        ("an open brace", "{".to_owned()),
        ("an endless string", "{name=\"".to_owned()),
        ("200 KiB", format!("{{name=\"{}\"}}", "x".repeat(200 << 10))),
        ("5,000 parentheses", "(".repeat(5_000)),
        ("5,000 operators", vec!["{}"; 5_000].join(" && ")),
        ("a wrong pattern", "{name=~\"(\"}".to_owned()),
        ("an unknown stage", "{} | nothing()".to_owned()),
        ("a bare NUL", "\0".to_owned()),
    ];
    let refused = refused.iter().map(|(name, q)| {
        let request = Request::get(format!("{search}?{}", form(&[("q", q)])));
        // What is longer than a head may be never gets as far as the query.
        let want = if q.len() > 16 << 10 { Want::Http(&[400, 414, 431]) } else { REFUSED };
        Case::request(format!("traceql: {name}"), Port::Http, request, want)
    });
    let others = [
        get("tempo api", search, "a limit of -1", &[("limit", "-1")], &REFUSED),
        get("tempo api", search, "a start that is none", &[("start", "now")], &REFUSED),
        get("tempo api", "/tempo/api/traces/zz", "an id that is none", &[], &REFUSED),
        get("tempo api", "/tempo/api/metrics/query_range", "no query", &[], &REFUSED),
    ];
    refused.chain(others).collect()
}

fn alertmanager() -> Vec<Case> {
    let json = |path: &str, name: &str, body: String| {
        let request = Request::post(path, body).header("Content-Type", "application/json");
        Case::request(
            format!("alertmanager: {name}"),
            Port::Http,
            request,
            Want::Http(&[400, 413, 422]),
        )
    };
    let (alerts, silences) = ("/am/api/v2/alerts", "/am/api/v2/silences");
    vec![
        json(alerts, "no JSON", "[".to_owned()),
        json(alerts, "100,000 brackets", "[".repeat(100_000)),
        json(alerts, "an alert without labels", "[{\"labels\":{}}]".to_owned()),
        json(alerts, "labels that are a list", "[{\"labels\":[1]}]".to_owned()),
        json(silences, "a silence of nothing", "{}".to_owned()),
        json(
            silences,
            "a silence that ends before it begins",
            "{\"matchers\":[{\"name\":\"a\",\"value\":\"b\",\"isRegex\":false}],\"startsAt\":\"2030-01-02T00:00:00Z\",\
             \"endsAt\":\"2030-01-01T00:00:00Z\",\"createdBy\":\"x\",\"comment\":\"y\"}"
                .to_owned(),
        ),
        json(
            silences,
            "a wrong pattern",
            "{\"matchers\":[{\"name\":\"a\",\"value\":\"(\",\"isRegex\":true}],\"startsAt\":\"2030-01-01T00:00:00Z\",\
             \"endsAt\":\"2030-01-02T00:00:00Z\",\"createdBy\":\"x\",\"comment\":\"y\"}"
                .to_owned(),
        ),
        get(
            "alertmanager",
            alerts,
            "a wrong filter of alerts",
            &[("filter", "a=~(")],
            &Want::Http(&[400, 422]),
        ),
    ]
}
