//! LogQL over HTTP: lines as Gen3 pushes them, asked for as the CSOC portal, Grafana and its stock
//! alerts ask, followed over a WebSocket, and cut to what a caller may read.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::support::ask::form;
use crate::support::wait::now_ns;
use crate::support::{Caller, Request, Setup, loki, two_commons};

const REVPROXY: &str = r#"{app="revproxy", app_kubernetes_io_name="revproxy", cluster="shared-east", container="revproxy", hostname="heart.commons.example", namespace="hearthelm", pod="revproxy-deployment-1", project="shared"}"#;

fn access(status: u16, request: &str, agent: &str) -> String {
    format!(
        r#"{{"gen3log": "nginx", "date_access": "2026-11-21T10:11:12+00:00", "user_id": "uid:null,unknown@unknown", "network_client_ip": "203.0.113.9", "response_secs": 0.120, "http_status_code": {status}, "http_request": "{request}", "http_verb": "GET", "http_useragent": "{agent}", "proxy_service": "fence", "message": "GET {request} HTTP/1.1"}}"#
    )
}

/// Asks Loki's API and returns `data`.
#[track_caller]
fn ask(caller: &Caller, path: &str, parameters: &[(&str, &str)]) -> Value {
    let answer = caller.get(&format!("/loki/api/v1/{path}?{}", form(parameters)));
    assert_eq!(answer.status, 200, "{path} {parameters:?}: {}", answer.text());
    let mut body = answer.json();
    assert_eq!(body["status"], "success", "{body}");
    body["data"].take()
}

fn lines(data: &Value) -> Vec<String> {
    let streams = data["result"].as_array().expect("streams");
    let values = streams.iter().flat_map(|stream| stream["values"].as_array().expect("values"));
    values.map(|value| value[1].as_str().expect("a line").to_owned()).collect()
}

#[test]
fn the_portal_and_the_stock_alerts_find_what_gen3_wrote() {
    let server = Setup::new("logql-portal").start();
    let caller = server.caller();
    let at_ns = now_ns() - 60_000_000_000;
    let wanted = [
        access(200, "/user/user", "Mozilla/5.0"),
        access(500, "/index/x", "say \\x22hi\\x22"),
        access(431, "/portal", "Mozilla/5.0"),
        access(431, "/portal", "Mozilla/5.0"),
    ];
    let noise = [
        access(200, "/_status", "Uptime-Kuma/1.23"),
        access(200, "/_status", "ELB-HealthChecker/2.0"),
        access(200, "/metrics", "curl/8"),
        "gen3log but no JSON".to_owned(),
    ];
    let all = wanted.iter().chain(&noise).zip(0..);
    let entries = all.map(|(line, n)| loki::entry(at_ns + n, line)).collect();
    assert_eq!(caller.send(loki::push(REVPROXY, entries)).status, 204);

    let hosts = ask(&caller, "label/hostname/values", &[]);
    assert_eq!(hosts, serde_json::json!(["heart.commons.example"]));
    let start = (at_ns - 1_000_000_000).to_string();
    let end = now_ns().to_string();
    let portal = r#"{hostname="heart.commons.example", app="revproxy"} |= "gen3log" | json | http_useragent !~ "Uptime-Kuma.*" | __error__="" | http_useragent != "ELB-HealthChecker/2.0" | http_useragent != "kube-probe/1.31+" | http_request != "/metrics""#;
    let found = ask(
        &caller,
        "query_range",
        &[
            ("query", portal),
            ("start", &start),
            ("end", &end),
            ("limit", "100"),
            ("direction", "backward"),
        ],
    );
    assert_eq!(found["resultType"], "streams", "{found}");
    let mut found = lines(&found);
    found.sort();
    let mut sorted = wanted.to_vec();
    sorted.sort();
    assert_eq!(found, sorted);

    for (query, want) in [
        (
            r#"sum by (cluster) (count_over_time({cluster=~".+"} | json | http_status_code="500" [1h])) > 0"#,
            "1",
        ),
        (r#"sum(count_over_time({cluster=~".+"} | json | http_status_code="431" [5m])) >= 2"#, "2"),
        (r#"sum by (service) (count_over_time({namespace=~".+"}[5m]))"#, "8"),
    ] {
        let found = ask(&caller, "query", &[("query", query)]);
        assert_eq!(found["resultType"], "vector", "{query}: {found}");
        assert_eq!(found["result"][0]["value"][1], want, "{query}: {found}");
    }
    let nothing = ask(
        &caller,
        "query",
        &[("query", r#"sum by (cluster) (count_over_time({app="hatchery"} |= "panic" [5m])) > 1"#)],
    );
    assert_eq!(nothing["result"], serde_json::json!([]));
}

#[test]
fn drilldown_sees_volumes_fields_and_patterns() {
    let server = Setup::new("logql-drilldown").start();
    let caller = server.caller();
    let at_ns = now_ns() - 60_000_000_000;
    let line = |n: i64| access(200, &format!("/user/data/download/{n}"), "python-requests/2.32");
    let entries = (0..40).map(|n| loki::entry(at_ns + n * 1_000_000, &line(n))).collect();
    assert_eq!(caller.send(loki::push(REVPROXY, entries)).status, 204);

    let selector = ("query", r#"{service_name=~".+"}"#);
    let stats = caller.get(&format!("/loki/api/v1/index/stats?{}", form(&[selector]))).json();
    assert_eq!((&stats["streams"], &stats["entries"]), (&1.into(), &40.into()), "{stats}");
    assert!(stats["bytes"].as_u64().unwrap() > 40 * 200, "{stats}");
    let volume = ask(&caller, "index/volume", &[selector]);
    assert_eq!(volume["result"][0]["metric"]["service_name"], "revproxy", "{volume}");
    let volumes = ask(&caller, "index/volume_range", &[selector, ("step", "10s")]);
    assert!(!volumes["result"][0]["values"].as_array().unwrap().is_empty(), "{volumes}");
    let fields = caller.get(&format!("/loki/api/v1/detected_fields?{}", form(&[selector]))).json();
    let status = fields["fields"].as_array().unwrap().iter();
    let mut status = status.filter(|field| field["label"] == "http_status_code");
    assert_eq!(status.next().map(|field| &field["type"]), Some(&"int".into()), "{fields}");
    let values = caller
        .get(&format!("/loki/api/v1/detected_field/http_status_code/values?{}", form(&[selector])));
    assert_eq!(values.json()["values"], serde_json::json!(["200"]));
    let patterns = ask(&caller, "patterns", &[selector]);
    let first = &patterns[0];
    assert!(first["pattern"].as_str().unwrap().contains("\"http_status_code\": <_>"), "{patterns}");
    let n: u64 = first["samples"].as_array().unwrap().iter().filter_map(|s| s[1].as_u64()).sum();
    assert_eq!(n, 40, "{patterns}");
    let labels = caller.get(&format!("/loki/api/v1/detected_labels?{}", form(&[selector]))).json();
    let mut labels = labels["detectedLabels"].as_array().unwrap().iter();
    assert!(labels.any(|label| label["label"] == "namespace" && label["cardinality"] == 1));
}

#[test]
fn volumes_are_told_by_what_they_are_asked_for() {
    let server = Setup::new("logql-volumes").start();
    let caller = server.caller();
    let at_ns = now_ns() - 60_000_000_000;
    for (labels, n_lines) in [
        (r#"{app="fence", b="1", pod="p1"}"#, 30),
        (r#"{app="fence", b="1", pod="p2"}"#, 30),
        (r#"{app="a,b=c", b="1", pod="p3"}"#, 20),
        (r#"{app="guppy", pod="p4"}"#, 10),
    ] {
        let entries = (0..n_lines).map(|n| loki::entry(at_ns + n, "a line of this length"));
        assert_eq!(caller.send(loki::push(labels, entries.collect())).status, 204);
    }
    let volume = |parameters: &[(&str, &str)]| -> Vec<(String, f64)> {
        let found = ask(&caller, "index/volume", parameters);
        let result = found["result"].as_array().expect("a vector").iter();
        result
            .map(|one| {
                let value = one["value"][1].as_str().expect("a number in quotes");
                (one["metric"].to_string(), value.parse().expect("a number"))
            })
            .collect()
    };
    let names = |list: &[(String, f64)]| -> Vec<String> {
        list.iter().map(|(name, _)| name.clone()).collect()
    };
    let all = ("query", r#"{app=~"fence|a,b=c|guppy"}"#);

    let by_app = volume(&[all]);
    assert_eq!(
        names(&by_app),
        [r#"{"app":"fence"}"#, r#"{"app":"a,b=c"}"#, r#"{"app":"guppy"}"#],
        "by the labels that the selector names, the largest first"
    );
    assert!(by_app[0].1 > by_app[1].1 && by_app[2].1 > 0.0, "{by_app:?}");
    assert_eq!(names(&volume(&[all, ("limit", "2")])), names(&by_app)[..2]);

    let by_target = volume(&[all, ("targetLabels", "b")]);
    assert_eq!(names(&by_target), [r#"{"b":"1"}"#], "of streams that have it: {by_target:?}");
    let by_two = volume(&[all, ("targetLabels", "app, pod"), ("limit", "1000")]);
    assert_eq!(by_two.len(), 4, "{by_two:?}");
    assert!(names(&by_two).contains(&r#"{"app":"fence","pod":"p2"}"#.to_owned()), "{by_two:?}");

    let by_name = volume(&[all, ("aggregateBy", "labels"), ("targetLabels", "b,app")]);
    assert_eq!(names(&by_name), [r#"{"app":""}"#, r#"{"b":""}"#], "{by_name:?}");
    assert!((by_name[0].1 - by_name[1].1).abs() < 1.0, "of streams that have both: {by_name:?}");
    let each = names(&volume(&[("query", "{}")]));
    let pods = ["p1", "p2", "p3", "p4"].map(|pod| format!(r#""pod":"{pod}""#));
    assert!(pods.iter().all(|pod| each.iter().any(|labels| labels.contains(pod))), "{each:?}");
    let every_name = names(&volume(&[all, ("aggregateBy", "labels")]));
    assert!(every_name.contains(&r#"{"pod":""}"#.to_owned()), "{every_name:?}");

    let ranged = ask(
        &caller,
        "index/volume_range",
        &[all, ("aggregateBy", "labels"), ("targetLabels", "b"), ("step", "1h"), ("limit", "1")],
    );
    let ranged = ranged["result"].as_array().expect("a matrix");
    assert_eq!(ranged.len(), 1, "{ranged:?}");
    assert_eq!(ranged[0]["metric"], serde_json::json!({"b": ""}), "{ranged:?}");
    let sizes = ranged[0]["values"].as_array().expect("points").iter();
    let sum: f64 = sizes.map(|point| point[1].as_str().unwrap().parse::<f64>().unwrap()).sum();
    assert!((sum - by_name[1].1).abs() < 2.0, "{ranged:?} beside {by_name:?}");
}

/// Opens a tail and returns its stream behind the handshake.
#[track_caller]
fn tail(caller: &Caller, parameters: &[(&str, &str)]) -> BufReader<TcpStream> {
    let request = Request::get(format!("/loki/api/v1/tail?{}", form(parameters)));
    let request = caller.sign(request);
    let mut head = format!("GET {} HTTP/1.1\r\nHost: {}\r\n", request.path, caller.http);
    for (name, value) in &request.headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str(
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    );
    let mut stream = TcpStream::connect(&caller.http).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    let mut stream = BufReader::new(stream);
    let mut answer = String::new();
    while !answer.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut answer).unwrap() > 0, "{answer}");
    }
    assert!(answer.starts_with("HTTP/1.1 101 "), "{answer}");
    assert!(answer.to_lowercase().contains("sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="));
    stream
}

/// Reads the next text message, passing over pings.
fn message(stream: &mut BufReader<TcpStream>) -> Value {
    loop {
        let mut head = [0; 2];
        stream.read_exact(&mut head).unwrap();
        let n_bytes = match head[1] {
            126 => {
                let mut long = [0; 2];
                stream.read_exact(&mut long).unwrap();
                usize::from(u16::from_be_bytes(long))
            }
            127 => {
                let mut long = [0; 8];
                stream.read_exact(&mut long).unwrap();
                usize::try_from(u64::from_be_bytes(long)).unwrap()
            }
            short => usize::from(short),
        };
        let mut payload = vec![0; n_bytes];
        stream.read_exact(&mut payload).unwrap();
        match head[0] {
            0x81 => return serde_json::from_slice(&payload).unwrap(),
            0x89 => {}
            other => panic!("frame {other:#x}: {}", String::from_utf8_lossy(&payload)),
        }
    }
}

#[test]
fn a_tail_shows_the_last_that_came_and_what_comes() {
    let server = Setup::new("logql-tail").start();
    let caller = server.caller();
    let push_at = |at_ns: i64, line: &str| {
        let request = loki::push("{app=\"fence\"}", vec![loki::entry(at_ns, line)]);
        assert_eq!(caller.send(request).status, 204);
    };
    let push = |line: &str| push_at(now_ns(), line);
    push_at(now_ns() - 7_200_000_000_000, "long before the tail");
    push_at(now_ns() - 5_000_000_000, "before the tail");

    let mut stream = tail(&caller, &[("query", r#"{app="fence"} |= "tail""#), ("limit", "10")]);
    let before = message(&mut stream);
    assert_eq!(lines(&serde_json::json!({"result": before["streams"]})), ["before the tail"]);
    push("of another kind");
    push("the first of the tail");
    let first = message(&mut stream);
    push("the second of the tail");
    let second = message(&mut stream);

    assert_eq!(lines(&serde_json::json!({"result": first["streams"]})), ["the first of the tail"]);
    assert_eq!(
        lines(&serde_json::json!({"result": second["streams"]})),
        ["the second of the tail"]
    );
    assert_eq!(first["dropped_entries"], serde_json::json!([]));
    assert_eq!(first["streams"][0]["stream"]["app"], "fence", "{first}");

    // A goodbye, masked as a client's frames are, is answered with one.
    stream.get_mut().write_all(&[0x88, 0x80, 0, 0, 0, 0]).unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(rest.ends_with(&[0x88, 2, 0x03, 0xe8]), "{rest:?}");
}

const MORE: &str = r#"
[query]
tails_max = 1
[[auth.tokens]]
name = "viewer"
token = "viewer-0123456789abcdef"
read = ["*"]
role = "viewer"
"#;

#[test]
fn a_reader_sees_its_commons_in_every_answer() {
    let server = Setup::new("logql-scope").config(&two_commons::config(MORE)).start();
    let reader = server.caller_with("heart-reader-0123456789");
    let mut stream = tail(&reader, &[("query", r#"{app="fence"}"#)]);
    for name in ["canine", "heart"] {
        let sender = server.caller_with(&format!("{name}-sender-0123456789"));
        let line = format!("secret of {name}");
        let labels = format!("{{app=\"fence\", whose=\"{name}\"}}");
        let request = loki::push(&labels, vec![loki::entry(now_ns(), &line)]);
        assert_eq!(sender.send(request).status, 204);
    }

    let tailed = message(&mut stream).to_string();
    assert!(tailed.contains("secret of heart") && !tailed.contains("canine"), "{tailed}");
    let refused = reader.get(&format!("/loki/api/v1/tail?{}", form(&[("query", "{a=\"b\"}")])));
    assert_eq!(refused.status, 400, "without an upgrade: {}", refused.text());
    let all = ("query", r#"{app=~".+"}"#);
    for path in [
        "query_range",
        "labels",
        "label/whose/values",
        "series",
        "index/stats",
        "index/volume",
        "index/volume_range",
        "patterns",
        "detected_labels",
        "detected_fields",
        "detected_field/whose/values",
    ] {
        let target = format!("/loki/api/v1/{path}?{}", form(&[all, ("targetLabels", "whose")]));
        let seen = reader.get(&target);
        assert_eq!(seen.status, 200, "{path}: {}", seen.text());
        assert!(!seen.text().contains("canine"), "{path}: {}", seen.text());
        let viewer = server.caller_with("viewer-0123456789abcdef").get(&target);
        assert_eq!(viewer.status, 403, "{path}: {}", viewer.text());
    }
    let values = ask(&reader, "label/whose/values", &[]);
    assert_eq!(values, serde_json::json!(["heart"]));
    let count = ask(&reader, "query", &[("query", r#"sum(count_over_time({app="fence"}[5m]))"#)]);
    assert_eq!(count["result"][0]["value"][1], "1", "{count}");
}
