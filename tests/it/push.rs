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
