//! Loki's dialect: labels by their origin, plain errors, parameters.

use super::*;

const RANGE: &str = "/loki/api/v1/query_range?query=%7Bapp%3D%22fence%22%7D&start=1&end=2";

#[tokio::test]
async fn labels_are_one_set_unless_their_origin_is_asked_for() {
    let plain = get(RANGE).await;
    assert!(
        plain.text().contains(
            r#"{"stream":{"app":"fence","status":"200","trace_id":"7"},"values":[["1795219199123456789","a \"quoted\" line"],["1","a \"quoted\" line"]]}"#
        ),
        "{}",
        plain.text()
    );

    let request = Request::get(RANGE)
        .header("x-loki-response-encoding-flags", "categorize-labels")
        .body(Body::empty())
        .unwrap();
    let categorized = send(open(), request).await;
    let text = categorized.text();
    assert!(
        text.contains(r#"{"stream":{"app":"fence"},"values":[["1795219199123456789","#),
        "{text}"
    );
    assert!(
        text.contains(r#",{"structuredMetadata":{"trace_id":"7"},"parsed":{"status":"200"}}]"#),
        "{text}"
    );
    assert!(text.contains(r#""encodingFlags":["categorize-labels"]"#), "{text}");
}

#[tokio::test]
async fn errors_are_plain_text_with_their_place() {
    for (target, want) in [
        ("/loki/api/v1/query_range?query=%7Bapp%7D", "parse error at line 1, col 5: "),
        ("/loki/api/v1/query_range?query=%7B%7D", "parse error : queries require at least one"),
        ("/loki/api/v1/query_range", "invalid parameter \"query\": "),
        (
            "/loki/api/v1/query?query=%7Ba%3D%22b%22%7D",
            "log queries are not supported as an instant",
        ),
        ("/loki/api/v1/query_range?query=x&start=2&end=1", "invalid parameter \"end\": "),
        ("/loki/api/v1/query_range?query=x&direction=up", "invalid parameter \"direction\": "),
        ("/loki/api/v1/query_range?query=x&limit=0", "invalid parameter \"limit\": "),
        ("/loki/api/v1/query_range?query=x&step=0", "invalid parameter \"step\": "),
        ("/loki/api/v1/tail?query=x", "tail is a WebSocket"),
    ] {
        let answer = get(target).await;
        assert_eq!(answer.status, 400, "{target}: {}", answer.text());
        assert!(answer.text().starts_with(want), "{target}: {}", answer.text());
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8", "{target}");
    }
}

#[tokio::test]
async fn lists_of_streams_are_no_longer_than_an_answer_may_be() {
    for list in [
        "labels",
        "label/app/values",
        "series",
        "index/volume",
        "index/volume_range",
        "patterns",
        "delete",
    ] {
        let target = format!("/loki/api/v1/{list}?query=%7Ba%3D%22b%22%7D&start=1&end=2");
        let router = guarded(Api { result_bytes_max: HumanSize(20), ..api() }, "");
        let answer = send(router, Request::get(&*target).body(Body::empty()).unwrap()).await;

        assert_eq!(answer.status, 422, "{target}: {}", answer.text());
        assert!(answer.text().contains("`query.result_bytes_max`"), "{}", answer.text());
        assert_eq!(get(&target).await.status, 200, "{target}");
    }
}

#[tokio::test]
async fn what_is_unknown_is_not_found() {
    for target in ["/loki/api/v2alpha/tail", "/loki/api/v1/nothing"] {
        assert_eq!(get(target).await.status, 404, "{target}");
    }
}

#[tokio::test]
async fn fields_are_limited_apart_from_the_lines_that_they_are_learned_from() {
    const FIELDS: &str = "/loki/api/v1/detected_fields?query=%7Bapp%3D%22fence%22%7D";
    const VALUES: &str = "/loki/api/v1/detected_field/a/values?query=%7Bapp%3D%22fence%22%7D";
    for (target, want) in [
        (VALUES.to_owned(), r#"{"values":["1000","x"],"limit":1000}"#),
        (format!("{VALUES}&limit=1&line_limit=20"), r#"{"values":["20"],"limit":1}"#),
        (format!("{VALUES}&line_limit=5000"), r#"{"values":["1000","x"],"limit":1000}"#),
        (
            format!("{FIELDS}&field_limit=1"),
            r#"{"fields":[{"label":"a","type":"string","cardinality":2,"parsers":["json"],"jsonPath":["x","a"]}],"limit":1}"#,
        ),
    ] {
        let answer = get(&target).await;
        assert_eq!((answer.status, answer.text()), (200, want), "{target}");
    }
    assert_eq!(get(&format!("{FIELDS}&line_limit=0")).await.status, 400);
}

#[tokio::test]
async fn rules_over_logs_are_filtered_as_those_over_metrics() {
    let names = async |params: &str| -> Vec<String> {
        let answer = get(&format!("/prometheus/api/v1/rules{params}")).await;
        let json: serde_json::Value = serde_json::from_str(answer.text()).unwrap();
        let groups = json["data"]["groups"].as_array().unwrap_or_else(|| panic!("{json}")).iter();
        groups.map(|group| group["name"].as_str().unwrap().to_owned()).collect()
    };

    assert_eq!(names("").await, ["g2"]);
    assert_eq!(names("?match[]=%7Bseverity%3D%22info%22%7D").await, ["g2"]);
    assert!(names("?match[]=%7Bseverity%3D%22page%22%7D").await.is_empty());
    let refused = get("/prometheus/api/v1/rules?type=silence").await;
    assert_eq!((refused.status, refused.header("content-type")), (400, "application/json"));
}
