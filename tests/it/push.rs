//! Loki pushes in the shape that Gen3's own shippers give them.

use serde_json::json;

use crate::bad_input::unbalanced;
use crate::support::wait::now_ns;
use crate::support::{Setup, loki};

/// What Alloy's `loki.source.kubernetes` sends from a stock Gen3 cluster: every pod label is a
/// stream label, `cluster` and `project` come from `external_labels`.
const FENCE: &str = r#"{app="fence", app_kubernetes_io_name="fence", cluster="shared-east", container="fence", hostname="heart.commons.example", instance="hearthelm/fence-deployment-5d9:fence", job="loki.source.kubernetes.pods", namespace="hearthelm", pod="fence-deployment-5d9", project="shared", release="production"}"#;

#[test]
fn an_alloy_push_comes_back_line_by_line() {
    let server = Setup::new("alloy").start();
    let caller = server.caller();
    let start_ns = now_ns() - 60_000_000_000;
    let lines = [
        "[2026-08-21 10:11:12,345][     fence][   INFO] Signed URL Generated. action=download",
        "quotes \" and \\ and tabs\t, \u{00fc}n\u{00ef}code \u{1f600}",
        "",
    ];
    let at = |idx: usize| start_ns + i64::try_from(idx).unwrap() * 1_000_001;

    let entries = lines.iter().enumerate().map(|(idx, line)| loki::entry(at(idx), line)).collect();
    let answer = caller.send(loki::push(FENCE, entries));
    assert_eq!(answer.status, 204, "{}", answer.text());

    let rows = caller.sql(
        "SELECT CAST(timestamp AS BIGINT) AS at, body, service, cluster, resource['pod'] AS pod \
         FROM logs ORDER BY timestamp",
    );
    for (idx, (row, line)) in rows.iter().zip(lines).enumerate() {
        assert_eq!(row["at"], json!(at(idx)), "{row:?}");
        assert_eq!(row["body"], json!(line), "{row:?}");
        assert_eq!(row["service"], json!("fence"), "{row:?}");
        assert_eq!(row["cluster"], json!("shared-east"), "{row:?}");
        assert_eq!(row["pod"], json!("fence-deployment-5d9"), "{row:?}");
    }
    assert_eq!(rows.len(), lines.len());
    assert_eq!(unbalanced(&caller), None);
}

#[test]
fn lines_are_found_by_the_labels_of_their_pod() {
    let server = Setup::new("pods").start();
    let caller = server.caller();
    let at_ns = now_ns() - 60_000_000_000;
    let entries = (0..10).map(|n| loki::entry(at_ns + n, &format!("line {n}"))).collect();
    assert_eq!(caller.send(loki::push(FENCE, entries)).status, 204);

    let newest = caller.sql(
        "SELECT body FROM logs WHERE resource['hostname'] = 'heart.commons.example' \
         AND resource['namespace'] = 'hearthelm' AND body LIKE 'line%' \
         ORDER BY timestamp DESC LIMIT 4",
    );

    let lines: Vec<&str> = newest.iter().filter_map(|row| row["body"].as_str()).collect();
    assert_eq!(lines, ["line 9", "line 8", "line 7", "line 6"]);
}

#[test]
fn a_json_push_is_the_same_as_a_protobuf_one() {
    let server = Setup::new("json-push").config("[tagging]\nenabled = false\n").start();
    let caller = server.caller();
    let at_ns = now_ns() - 60_000_000_000;

    let protobuf = loki::push("{app=\"a\", way=\"protobuf\"}", vec![loki::entry(at_ns, "same")]);
    let json_push = loki::push_json(&json!({"app": "a", "way": "json"}), &[(at_ns, "same")]);
    for request in [protobuf, json_push] {
        let answer = caller.send(request);
        assert_eq!(answer.status, 204, "{}", answer.text());
    }

    let rows = caller.sql(
        "SELECT resource['way'] AS way, resource['app'] AS app, body, \
         CAST(timestamp AS BIGINT) AS at FROM logs ORDER BY 1",
    );
    let row = |way: &str| json!({"way": way, "app": "a", "body": "same", "at": at_ns});
    assert_eq!(json!(rows), json!([row("json"), row("protobuf")]));
}

#[test]
fn what_is_read_of_a_line_stands_in_columns_beside_it() {
    let server = Setup::new("columns").start();
    let caller = server.caller();
    let at_ns = now_ns() - 60_000_000_000;
    let request = r#"{"gen3log": "nginx", "user_id": "uid:7,ada@people.example", "network_bytes_write": 812, "response_secs": 0.25, "http_status_code": 502, "http_request": "/user/login/ras/callback?x=1", "http_verb": "GET", "http_useragent": "a\x22b", "http_upstream": "x", "proxy_service": "fence"}"#;
    let revproxy =
        FENCE.replace("app=\"fence\"", "app=\"revproxy\"").replace("=\"fence\"", "=\"revproxy\"");
    for (labels, line) in [
        (&*revproxy, request),
        (
            FENCE,
            r#"10.0.3.7 - - [21/Aug/2026:10:11:12 +0000] "PUT /data HTTP/1.1" 201 9 "-" "-" "-""#,
        ),
        (FENCE, "[2026-08-21 10:11:12,345][     fence][   INFO] hello\nand more"),
        (FENCE, "[2026-08-21 10:11:12,345][ cut off"),
        (FENCE, "anything"),
    ] {
        assert_eq!(caller.send(loki::push(labels, vec![loki::entry(at_ns, line)])).status, 204);
    }

    let rows = caller.sql(
        "SELECT format, logger, http_method, http_route, http_status, http_duration_s, \
         http_size_bytes, http_backend, length(body) AS n FROM logs ORDER BY format, n",
    );
    let row = |values: [serde_json::Value; 9]| {
        let names = [
            "format",
            "logger",
            "http_method",
            "http_route",
            "http_status",
            "http_duration_s",
            "http_size_bytes",
            "http_backend",
            "n",
        ];
        serde_json::Value::Object(names.map(str::to_owned).into_iter().zip(values).collect())
    };
    let null = || json!(null);
    let n = |text: &str| json!(text.chars().count());
    let wanted = [
        row([
            json!("cdislogging"),
            null(),
            null(),
            null(),
            null(),
            null(),
            null(),
            null(),
            json!(34),
        ]),
        row([
            json!("cdislogging"),
            json!("fence"),
            null(),
            null(),
            null(),
            null(),
            null(),
            null(),
            json!(61),
        ]),
        row([
            json!("nginx"),
            null(),
            json!("PUT"),
            null(),
            json!(201),
            null(),
            json!(9.0),
            null(),
            json!(80),
        ]),
        row([
            json!("revproxy"),
            null(),
            json!("GET"),
            json!("/user/login/{idp}/callback"),
            json!(502),
            json!(0.25),
            json!(812.0),
            json!("fence"),
            n(request),
        ]),
        row([null(), null(), null(), null(), null(), null(), null(), null(), json!(8)]),
    ];
    assert_eq!(json!(rows), json!(wanted));
    assert_eq!(unbalanced(&caller), None);
}
