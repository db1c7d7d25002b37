use super::*;
use crate::api::fixture;

#[tokio::test]
async fn grafana_gets_what_it_relies_on() {
    let exchanges = fixture::parse(fixture::PROMETHEUS, NOW_MS).unwrap();
    assert!(exchanges.len() > 20, "only {} exchanges", exchanges.len());
    for exchange in exchanges {
        let answer = send(open(), exchange_request(&exchange)).await;

        let faults = exchange.judge(answer.status, answer.text());
        assert_eq!(faults, Vec::<String>::new(), "{}", exchange.title);
        assert_eq!(answer.header("content-type"), "application/json", "{}", exchange.title);
    }
}

/// Asks by GET and by POST form, which must say the same.
#[track_caller]
fn check(path: &str, params: &str, status: u16, want: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let by_get = runtime.block_on(get(&format!("{path}?{params}")));
    let by_post = runtime.block_on(post_form(path, params));
    assert_eq!((by_get.status, by_get.text()), (status, want), "{path}?{params}");
    assert_eq!((by_post.status, by_post.text()), (status, want), "POST {path} {params}");
}

/// The same for routes that only take GET.
#[track_caller]
fn check_get(target: &str, status: u16, want: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let answer = runtime.block_on(get(target));
    assert_eq!((answer.status, answer.text()), (status, want), "{target}");
}

#[test]
fn values_of_every_type_are_written_as_prometheus_does() {
    check(
        "/api/v1/query",
        "query=1%2B1&time=4",
        200,
        r#"{"status":"success","data":{"resultType":"scalar","result":[4,"2"]}}"#,
    );
    check(
        "/api/v1/query",
        "query=%22a%22&time=1.5",
        200,
        r#"{"status":"success","data":{"resultType":"string","result":[1.500,"a\"b"]}}"#,
    );
    check(
        "/api/v1/query",
        "query=up&time=1970-01-01T00:00:01Z",
        200,
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"a"},"value":[1,"1"]},{"metric":{"__name__":"up","job":"b\""},"value":[1,"NaN"]},{"metric":{"__name__":"up","job":"c"},"value":[1,"1e-07"]}]}}"#,
    );
    check(
        "/api/v1/query_range",
        "query=up&start=0&end=60&step=1m",
        200,
        r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up","job":"a"},"values":[[0,"1"],[60,"0.5"]]},{"metric":{"__name__":"up","job":"b"},"values":[[0,"+Inf"],[60,"-1e+21"]]}]}}"#,
    );
}

#[test]
fn warnings_and_infos_come_last_and_only_when_there_are_any() {
    check(
        "/api/v1/query",
        "query=warned",
        200,
        r#"{"status":"success","data":{"resultType":"vector","result":[]},"warnings":["a warning"],"infos":["an info"]}"#,
    );
}

#[test]
fn native_histograms_have_buckets_with_their_bounds() {
    check(
        "/api/v1/query",
        "query=native&time=7",
        200,
        r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"a"},"histogram":[7,{"count":"5.5","sum":"3","buckets":[[1,"-2","-1","2"],[3,"-0.5","0.5","1"],[0,"1","2","2.5"]]}]}]}}"#,
    );
}

#[test]
fn exemplars_come_with_their_series() {
    check(
        "/api/v1/query_exemplars",
        "query=up&start=1&end=2",
        200,
        r#"{"status":"success","data":[{"seriesLabels":{"__name__":"up","job":"a"},"exemplars":[{"labels":{"trace_id":"abc"},"value":"0.5","timestamp":1}]}]}"#,
    );
    for (bounds, asked, start) in
        [("", "0..9000000000000", 0), ("&start=2", "2000..9000000000000", 2)]
    {
        let want = format!(
            r#"{{"status":"success","data":[{{"seriesLabels":{{"__name__":"up","job":"a"}},"exemplars":[{{"labels":{{"trace_id":"{asked}"}},"value":"0.5","timestamp":{start}}}]}}]}}"#
        );
        check("/api/v1/query_exemplars", &format!("query=range{bounds}"), 200, &want);
    }
    // Grafana's probe sends ms for seconds.
    let probe = "query=test&start=1800000000000&end=1800000000000";
    check("/api/v1/query_exemplars", probe, 200, r#"{"status":"success","data":[]}"#);
}

#[test]
fn a_limit_cuts_and_says_so() {
    check(
        "/api/v1/series",
        "match[]=up&limit=1",
        200,
        r#"{"status":"success","data":[{"__name__":"up","job":"a"}],"warnings":["results truncated due to limit"]}"#,
    );
    check(
        "/api/v1/query_range",
        "query=up&start=0&end=60&step=60&limit=1",
        200,
        r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up","job":"a"},"values":[[0,"1"],[60,"0.5"]]}]},"warnings":["results truncated due to limit"]}"#,
    );
    for limit in ["0", "2", "3"] {
        check(
            "/api/v1/series",
            &format!("match[]=up&limit={limit}"),
            200,
            r#"{"status":"success","data":[{"__name__":"up","job":"a"},{"__name__":"up","job":"b"}]}"#,
        );
    }
}

fn bad(message: &str) -> String {
    format!(r#"{{"status":"error","errorType":"bad_data","error":"{message}"}}"#)
}

#[test]
fn wrong_parameters_are_told_by_name() {
    let query = "/api/v1/query";
    check(query, "", 400, &bad("invalid parameter \\\"query\\\": it must be given"));
    check(
        query,
        "query=up&time=noon",
        400,
        &bad("invalid parameter \\\"time\\\": invalid time value for 'time': cannot parse \
             \\\"noon\\\" to a valid timestamp: wanted seconds since 1970 or RFC 3339"),
    );
    check(
        query,
        "query=up&limit=-1",
        400,
        &bad("invalid parameter \\\"limit\\\": it must be non-negative; 0 is no limit"),
    );
    check(
        query,
        "query=up&timeout=-1s",
        400,
        &bad("invalid parameter \\\"timeout\\\": cannot parse \\\"-1s\\\" to a valid duration: \
             wanted 15s, 1h30m or seconds"),
    );
    check("/api/v1/series", "start=1", 400, &bad("no match[] parameter provided"));
    check(
        "/api/v1/labels",
        "start=2&end=1",
        400,
        &bad("invalid parameter \\\"end\\\": end timestamp must not be before start time"),
    );
    check(
        "/api/v1/query_exemplars",
        "query=up&start=2&end=1",
        400,
        &bad("end timestamp must not be before start timestamp"),
    );
}

#[test]
fn ranges_have_bounds() {
    let range = "/api/v1/query_range";
    let end = "invalid parameter \\\"end\\\": end timestamp must not be before start time";
    check(range, "query=up&start=2&end=1&step=1", 400, &bad(end));
    let step = "invalid parameter \\\"step\\\": zero or negative query resolution step widths are \
                not accepted. Try a positive integer";
    check(range, "query=up&start=1&end=2&step=0", 400, &bad(step));
    check(range, "query=up&start=1&end=2&step=-1", 400, &bad(step));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let most = runtime.block_on(get("/api/v1/query_range?query=up&start=0&end=11000&step=1"));
    assert_eq!(most.status, 200);
}

#[test]
fn each_kind_of_error_has_its_status() {
    let error = |kind: &str, message: &str| {
        format!(r#"{{"status":"error","errorType":"{kind}","error":"{message}"}}"#)
    };
    check("/api/v1/query", "query=sum(", 400, &error("bad_data", "unexpected end of input"));
    check(
        "/api/v1/query",
        "query=many-to-many",
        422,
        &error("execution", "found duplicate series"),
    );
    check("/api/v1/query", "query=busy", 429, &error("too_many_requests", "8 queries are running"));
    check("/api/v1/query", "query=broken", 500, &error("internal", "a fault"));
    let slow = error("timeout", "the query was still running after 30s");
    check("/api/v1/query", "query=slow", 503, &slow);
}

#[test]
fn options_reach_the_engine() {
    check(
        "/api/v1/query",
        "query=options&time=0&timeout=5s&lookback_delta=60",
        200,
        r#"{"status":"success","data":{"resultType":"string","result":[0,"AskOptions { timeout: Some(5s), lookback_ms: Some(60000), counts_samples: false }"]}}"#,
    );
}

#[tokio::test]
async fn statistics_tell_of_each_step_only_when_asked_for_all() {
    let whole = r#"{"totalQueryableSamples":5,"samplesRead":3,"peakSamples":4}"#;
    // The clock of the whole stands still here.
    let timings = r#""timings":{"evalTotalTime":0.75,"resultSortTime":0.25,"queryPreparationTime":0.125,"innerEvalTime":0.375,"execQueueTime":0.5,"execTotalTime":0},"#;
    let all = whole.replace('{', r#"{"totalQueryableSamplesPerStep":[[1,2],[2.500,3]],"#);
    for (stats, want) in [
        ("stats=all", Some(all.as_str())),
        ("stats=true", Some(whole)),
        ("stats=", None),
        ("", None),
    ] {
        for path in ["/api/v1/query", "/api/v1/query_range"] {
            let target = format!("{path}?query=up&time=4&start=0&end=4&step=1&{stats}");
            let answer = get(&target).await;
            assert_eq!(answer.text().contains(timings), want.is_some(), "{target}");
            let told = answer.text().split_once("\"samples\":").map(|(_, samples)| samples);
            assert_eq!(told, want.map(|want| format!("{want}}}}}}}")).as_deref(), "{target}");
        }
    }
}

#[tokio::test]
async fn another_value_of_stats_is_answered_with_a_warning() {
    let want = r#"}}},"warnings":["value \"ALL\" for parameter \"stats\" is deprecated and will be rejected in the next major release, use \"true\" or \"all\""]}"#;
    for path in ["/api/v1/query", "/api/v1/query_range"] {
        let answer = get(&format!("{path}?query=up&time=4&start=0&end=4&step=1&stats=ALL")).await;
        assert!(answer.text().ends_with(want), "{path}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_refused_reload_shows_beside_the_configuration_in_force() {
    let info = get("/api/v1/status/runtimeinfo").await;
    let want = r#""reloadConfigSuccess":false"#;
    assert!(info.text().contains(want), "{}", info.text());
    let (_, since) = info.text().split_once(r#""lastConfigTime":""#).unwrap();
    assert!(since.starts_with(&time::rfc3339(NOW_MS - 60_000)), "{since}");

    let date = time::rfc3339(NOW_MS - 1_000);
    let told = format!(
        r#"{{"status":"success","data":[{{"text":"Configuration reload has failed.","date":"{date}","active":true}}]}}"#
    );
    assert_eq!(get("/api/v1/notifications").await.text(), told);
}

#[test]
fn open_ranges_and_escaped_names_reach_the_engine() {
    check("/api/v1/labels", "", 200, r#"{"status":"success","data":["0..9000000000000","job"]}"#);
    check_get(
        "/api/v1/label/U__http_2e_status/values?match[]=up&match[]=down",
        200,
        r#"{"status":"success","data":["http.status","up or down"]}"#,
    );
    check_get(
        "/api/v1/label/http.status/values",
        200,
        r#"{"status":"success","data":["http.status",""]}"#,
    );
}

#[test]
fn metadata_is_grouped_and_limited() {
    let kinds = crate::model::MetricKind::ALL;
    let (first, second) = (kinds[0].as_str(), kinds[1].as_str());
    let a = format!(r#"{{"type":"{first}","help":"","unit":"s"}}"#);
    let b = format!(r#"{{"type":"{second}","help":"","unit":""}}"#);
    let c = format!(r#"{{"type":"{first}","help":"","unit":""}}"#);
    let all = |data: String| format!(r#"{{"status":"success","data":{{{data}}}}}"#);

    check_get("/api/v1/metadata", 200, &all(format!(r#""a":[{a},{b}],"b":[{c}]"#)));
    check_get("/api/v1/metadata?metric=b", 200, &all(format!(r#""b":[{c}]"#)));
    check_get("/api/v1/metadata?limit=1", 200, &all(format!(r#""a":[{a},{b}]"#)));
    check_get("/api/v1/metadata?limit_per_metric=1", 200, &all(format!(r#""a":[{a}],"b":[{c}]"#)));
}

async fn rule_names(params: &str) -> String {
    let answer = get(&format!("/api/v1/rules?{params}")).await;
    let json: serde_json::Value = serde_json::from_str(answer.text()).unwrap();
    let groups = json["data"]["groups"].as_array().unwrap_or_else(|| panic!("{json}"));
    let shown: Vec<String> = groups
        .iter()
        .map(|group| {
            let rules = group["rules"].as_array().unwrap().iter();
            let names: Vec<_> = rules.map(|rule| rule["name"].as_str().unwrap()).collect();
            format!("{}:{}", group["name"].as_str().unwrap(), names.join(","))
        })
        .collect();
    shown.join(" ")
}

#[tokio::test]
async fn filters_reach_the_rules() {
    let filter = crate::rules::RulesFilter {
        kind: Some(crate::rules::RuleKind::Alerting),
        rule_names: vec!["A".to_owned(), "B".to_owned()],
        groups: vec!["g".to_owned()],
        files: vec!["f".to_owned()],
        exclude_alerts: true,
    };
    let params = "type=alert&rule_name[]=A&rule_name=B&rule_group[]=g&file=f&exclude_alerts=true";

    assert_eq!(rule_names(params).await, format!("g1:A,B g2:C {filter:?}:"));
    assert_eq!(get("/api/v1/rules?exclude_alerts=maybe").await.status, 400);
    assert_eq!(get("/api/v1/rules?type=silence").await.status, 400);
}

#[tokio::test]
async fn rules_are_matched_by_their_labels() {
    assert_eq!(rule_names("match[]=%7Bseverity%3D%22page%22%7D").await, "g1:A");
    assert_eq!(rule_names("match[]=%7Bseverity%3D~%22page%7Cinfo%22%7D").await, "g1:A,B g2:C");
    assert_eq!(get("/api/v1/rules?match[]=%7B").await.status, 400);
}

#[tokio::test]
async fn groups_come_page_by_page() {
    let first = get("/api/v1/rules?group_limit=1").await;
    let json: serde_json::Value = serde_json::from_str(first.text()).unwrap();
    let token = json["data"]["groupNextToken"].as_str().unwrap();

    assert_eq!(rule_names(&format!("group_limit=1&group_next_token={token}")).await, "g2:C");
    assert_eq!(get("/api/v1/rules?group_next_token=stale").await.status, 400);
}

#[test]
fn what_scrapes_nothing_has_no_pools_and_no_targets() {
    let of = |data: &str| format!(r#"{{"status":"success","data":{data}}}"#);
    check_get("/api/v1/scrape_pools", 200, &of(r#"{"scrapePools":[]}"#));
    check_get(
        "/api/v1/targets?scrapePool=all",
        200,
        &of(r#"{"activeTargets":[],"droppedTargets":[],"droppedTargetCounts":{}}"#),
    );
}

#[tokio::test]
async fn cardinality_is_counted() {
    let answer = get("/api/v1/status/tsdb").await;

    let json: serde_json::Value = serde_json::from_str(answer.text()).unwrap();
    let data = &json["data"];
    assert_eq!(
        (&data["headStats"]["numSeries"], &data["headStats"]["numLabelPairs"]),
        (&2.into(), &3.into())
    );
    assert_eq!(data["seriesCountByMetricName"][0], serde_json::json!({ "name": "up", "value": 2 }));
    assert_eq!(
        data["labelValueCountByLabelName"][0],
        serde_json::json!({ "name": "job", "value": 2 })
    );
}

#[test]
fn the_largest_of_each_are_told_up_to_a_limit() {
    let message = "invalid parameter \\\"limit\\\": it must be at most 10000";
    check_get("/api/v1/status/tsdb?limit=10001", 400, &bad(message));
}

#[tokio::test]
async fn answers_are_compressed_on_request() {
    let request = Request::get("/api/v1/query_range?query=up&start=0&end=60&step=60")
        .header("accept-encoding", "gzip");

    let answer = send(open(), request.body(Body::empty()).unwrap()).await;

    assert_eq!(answer.header("content-encoding"), "gzip");
    let mut text = String::new();
    std::io::Read::read_to_string(
        &mut flate2::read::GzDecoder::new(answer.bytes.as_slice()),
        &mut text,
    )
    .unwrap();
    assert!(text.starts_with(r#"{"status":"success""#), "{text}");
}

#[tokio::test]
async fn a_form_in_the_body_comes_before_the_query_string() {
    let answer = post_form("/api/v1/query?query=up&time=4", "query=1%2B1").await;

    assert!(answer.text().contains(r#""result":[4,"2"]"#), "{}", answer.text());
}

#[tokio::test]
async fn a_huge_form_is_too_large() {
    let answer = post_form("/api/v1/query", &format!("query={}", "x".repeat(2 << 20))).await;

    assert_eq!(answer.status, 413, "{}", answer.text());
}

#[tokio::test]
async fn a_form_that_is_no_utf8_or_no_form_is_refused() {
    assert_eq!(post_form("/api/v1/query", "query=%ff%fe&time=x").await.status, 400);
}

#[test]
fn a_query_becomes_its_tree() {
    check(
        "/api/v1/parse_query",
        "query=-a",
        200,
        r#"{"status":"success","data":{"type":"unaryExpr","op":"-","expr":{"type":"vectorSelector","name":"a","matchers":[{"name":"__name__","value":"a","type":"="}],"offset":0,"offsetExpr":null,"timestamp":null,"startOrEnd":null,"anchored":false,"smoothed":false}}}"#,
    );
    check(
        "/api/v1/parse_query",
        "query=sum(",
        400,
        &bad("1:5: parse error: unclosed left parenthesis"),
    );
}

#[test]
fn cardinality_is_in_the_shape_of_mimir_with_the_day_before() {
    check(
        "/api/v1/cardinality/label_names",
        "limit=1",
        200,
        r#"{"label_values_count_total":3,"label_values_count_total_day_ago":3,"label_names_count":2,"cardinality":[{"label_name":"job","label_values_count":2,"label_values_count_day_ago":2}]}"#,
    );
    check(
        "/api/v1/cardinality/label_values",
        "label_names[]=job&selector=up&limit=1",
        200,
        r#"{"series_count_total":2,"series_count_total_day_ago":2,"labels":[{"label_name":"job","label_values_count":2,"series_count":2,"series_count_day_ago":2,"cardinality":[{"label_value":"a","series_count":1,"series_count_day_ago":1}]}]}"#,
    );
    let many: Vec<String> = (0..101).map(|n| format!("label_names[]=l{n}")).collect();
    check(
        "/api/v1/cardinality/label_values",
        &many.join("&"),
        400,
        &bad("invalid parameter \\\"label_names[]\\\": at most 100 may be given"),
    );
    check(
        "/api/v1/cardinality/label_values",
        &format!("{}&{}", many[..100].join("&"), ["label_names[]=l1"; 200].join("&")),
        200,
        &format!(
            r#"{{"series_count_total":2,"series_count_total_day_ago":2,"labels":[{}]}}"#,
            (0..100)
                .map(|n| format!(
                    r#"{{"label_name":"l{n}","label_values_count":0,"series_count":0,"series_count_day_ago":0,"cardinality":[]}}"#
                ))
                .collect::<Vec<_>>()
                .join(",")
        ),
    );
    check(
        "/api/v1/cardinality/active_series",
        "selector=up",
        200,
        r#"{"data":[{"__name__":"up","job":"a"},{"__name__":"up","job":"b"}]}"#,
    );
    check(
        "/api/v1/cardinality/label_values",
        "",
        400,
        &bad("invalid parameter \\\"label_names[]\\\": at least one must be given"),
    );
    check(
        "/api/v1/cardinality/label_names",
        "limit=501",
        400,
        &bad("invalid parameter \\\"limit\\\": it must be at most 500"),
    );
}

#[tokio::test]
async fn the_newest_samples_are_federated_as_text() {
    let answer = get("/federate?match[]=up").await;

    assert_eq!(answer.status, 200);
    assert_eq!(
        answer.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
    );
    assert_eq!(answer.header("x-commonwatch-partial"), "", "it lacks nothing");
    assert_eq!(
        answer.text(),
        format!("# TYPE up untyped\nup{{job=\"a\",instance=\"\"}} 1 {NOW_MS}\n")
    );
}

#[tokio::test]
async fn what_is_not_remote_read_is_refused() {
    let answer = post_form("/api/v1/read", "query=up").await;

    assert_eq!(answer.status, 400, "{}", answer.text());
}

#[tokio::test]
async fn lists_that_are_in_memory_are_no_longer_than_an_answer_may_be() {
    for target in [
        "/api/v1/rules",
        "/api/v1/alerts",
        "/prometheus/api/v1/rules",
        "/prometheus/api/v1/alerts",
        "/api/v1/metadata",
        "/api/v1/admin/inventory",
        "/api/v1/admin/deletions",
        "/api/v1/admin/alerts/explain?rule=A",
    ] {
        let router = guarded(Api { result_bytes_max: HumanSize(20), ..api() }, "");

        let answer = send(router, Request::get(target).body(Body::empty()).unwrap()).await;

        assert_eq!(answer.status, 422, "{target}: {}", answer.text());
        assert!(answer.text().contains("`query.result_bytes_max`"), "{}", answer.text());
        assert_eq!(get(target).await.status, 200, "{target}");
    }
}
