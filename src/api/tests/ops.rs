use super::*;

#[tokio::test]
async fn readiness_shows_the_progress_of_the_replay() {
    let api = api();
    let ask = |api: &Api| {
        let router = guarded(api.clone(), TOKENS);
        send(router, Request::get("/-/ready").body(Body::empty()).unwrap())
    };

    api.readiness.set(ReadinessState::Replaying { done_bytes: 5, total_bytes: 9 });
    let replaying = ask(&api).await;
    api.readiness.set(ReadinessState::Ready);
    let done = ask(&api).await;

    let want = r#"{"state":"replaying","done_bytes":5,"total_bytes":9}"#;
    assert_eq!((replaying.status, replaying.text()), (503, want));
    assert_eq!((done.status, done.text()), (200, r#"{"state":"ready"}"#));
}

#[tokio::test]
async fn metrics_are_open_metrics() {
    let mut api = api();
    let mut registry = Registry::default();
    crate::auth::Metrics::register(&mut registry);
    api.registry = Arc::new(registry);
    let router = guarded(api, "");

    let answer = send(router, Request::get("/metrics").body(Body::empty()).unwrap()).await;

    assert!(answer.header("content-type").starts_with("application/openmetrics-text"));
    assert!(answer.text().contains("commonwatch_auth_accepted_logins_total 0"));
    assert!(answer.text().ends_with("# EOF\n"));
}

#[tokio::test]
async fn a_refused_reload_says_why() {
    let answer = send(open(), Request::post("/-/reload").body(Body::empty()).unwrap()).await;

    assert_eq!(answer.status, 400);
    assert!(answer.text().contains("storage.retention: not a duration"), "{}", answer.text());
}

#[tokio::test]
async fn unknown_paths_are_404_and_wrong_methods_405() {
    for target in ["/api/v1/nothing", "/loki/api/v1/nothing", "/alertmanager/api/v2/status", "/x"] {
        let answer = get(target).await;
        assert_eq!(answer.status, 404, "{target}");
        assert!(!answer.text().contains("<html"), "{target}");
    }
    let answer = get("/api/v1/nothing").await;
    assert_eq!(
        answer.text(),
        r#"{"status":"error","errorType":"not_found","error":"there is nothing at /api/v1/nothing"}"#
    );
    assert_eq!(post_form("/api/v1/metadata", "").await.status, 405);
    assert_eq!(get("/-/reload").await.status, 405);
}

/// A door, what its clients send, and how they are told of an error: the content type, and how it begins.
const DOORS: [(&str, &str, &str, &[u8]); 7] = [
    ("/loki/api/v1/labels", "", "text/plain; charset=utf-8", b""),
    ("/tempo/api/search", "", "text/plain; charset=utf-8", b""),
    ("/am/api/v2/alerts", "", "application/json", b"\""),
    ("/api/v1/sql", "", "application/json", b"{\"status\":\"error\",\"errorType\":\"bad_data\""),
    ("/v1/logs", "application/json", "application/json", b"{\"code\":"),
    ("/v1/logs", "application/x-protobuf", "application/x-protobuf", &[0x08]),
    ("/tempopb.StreamingQuerier/Search", "application/grpc", "application/grpc", b""),
];

#[tokio::test]
async fn what_never_comes_to_a_route_is_told_in_the_dialect_of_its_door() {
    let refused = RefusedRequests::default();
    let telemetry = Router::new().route("/v1/logs", axum::routing::post(|| async {}));
    let router = refuse_other_methods(api().router().merge(telemetry));
    let router = limits(router, head(&refused));

    for (path, content_type, told, begins) in DOORS {
        let request = |method: &str| {
            Request::builder().method(method).uri(path).header("content-type", content_type)
        };
        for (status, request) in [
            (405, request("PATCH")),
            (400, request("POST").header("transfer-encoding", "gzip, chunked")),
            (431, request("GET").header("x", "x".repeat(1_000))),
        ] {
            let answer = send(router.clone(), request.body(Body::empty()).unwrap()).await;

            // gRPC has a status of its own.
            let is_grpc = told == "application/grpc";
            let wanted = if is_grpc { 200 } else { status };
            let case = format!("{path} {content_type} {status}: {:?}", answer.bytes);
            assert_eq!((answer.status, answer.header("content-type")), (wanted, told), "{case}");
            assert!(answer.bytes.starts_with(begins), "{case}");
            assert_eq!(answer.bytes.is_empty(), is_grpc, "{case}");
            assert_eq!(answer.header("grpc-message").is_empty(), !is_grpc, "{case}");
        }
    }
    let of_heads = refused.get_or_create(&[("limit", "server.header_bytes_max")]).get();
    assert_eq!(of_heads, 7);
    let unknown = get("/loki/api/v1/nothing").await;
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.text(), "there is nothing at /loki/api/v1/nothing\n");
}

fn head(refused: &RefusedRequests) -> HeadLimits {
    HeadLimits {
        header_bytes_max: HumanSize(1_000),
        body_timeout: crate::base::units::HumanDuration::from_secs(1),
        refused: refused.clone(),
    }
}

async fn check_refused(method: &str, target: &str, body: &str, status: u16, says: &str) {
    let request = Request::builder()
        .method(method)
        .uri(target)
        .header("content-type", "application/x-www-form-urlencoded");
    let answer = send(open(), request.body(Body::from(body.to_owned())).unwrap()).await;

    assert_eq!(answer.status, status, "{method} {target}: {}", answer.text());
    assert!(answer.text().starts_with(says), "{method} {target}: {}", answer.text());
}

const PROMETHEUS_SAYS: &str = r#"{"status":"error","errorType":"bad_data","error":""#;

#[tokio::test]
async fn a_path_that_is_no_text_is_refused_in_the_dialect_of_its_route() {
    let prometheus = format!("{PROMETHEUS_SAYS}invalid path");
    let prometheus = prometheus.as_str();
    for (method, target, says) in [
        ("GET", "/api/v1/label/%ff/values", prometheus),
        ("GET", "/api/v1/admin/deletions/%ff", prometheus),
        ("GET", "/runbooks/%ff", prometheus),
        ("GET", "/loki/api/v1/label/%ff/values", "invalid path"),
        ("GET", "/loki/api/v1/rules/a/%ff", "invalid path"),
        ("GET", "/tempo/api/v2/traces/%ff", "invalid path"),
        ("GET", "/tempo/api/search/tag/%ff/values", "invalid path"),
        ("DELETE", "/am/api/v2/silence/%ff", "\"invalid path"),
    ] {
        check_refused(method, target, "", 400, says).await;
    }
}

#[tokio::test]
async fn a_question_that_is_too_long_is_refused_in_the_dialect_of_its_route() {
    let body = "x".repeat(QUESTION_BYTES_MAX + 1);
    let prometheus =
        |what: &str| format!("{PROMETHEUS_SAYS}the {what} has more than 1048576 bytes");
    for (target, says) in [
        ("/api/v1/query", prometheus("form")),
        ("/api/v1/read", prometheus("body")),
        ("/api/v1/sql", prometheus("statement")),
        ("/loki/api/v1/query", "the form has more than 1048576 bytes".to_owned()),
        ("/am/api/v2/alerts", "\"the body has more than 1048576 bytes".to_owned()),
        ("/am/api/v2/silences", "\"the body has more than 1048576 bytes".to_owned()),
    ] {
        check_refused("POST", target, &body, 413, &says).await;
    }
}

#[tokio::test]
async fn who_may_not_is_told_in_the_dialect_of_the_route() {
    for (method, target, says) in [
        ("GET", "/loki/api/v1/labels", "the token `viewer` may not"),
        ("GET", "/tempo/api/search", "the token `viewer` may not"),
        ("POST", "/am/api/v2/silences", "\"the token `viewer` may not"),
        ("POST", "/api/v1/sql", r#"{"status":"error","errorType":"forbidden""#),
    ] {
        let request = Request::builder()
            .method(method)
            .uri(target)
            .header("authorization", "Bearer token-of-the-viewer");

        let request = request.body(Body::empty()).unwrap();
        let answer = send(guarded(api(), TOKENS), request).await;

        assert_eq!(answer.status, 403, "{target}");
        assert!(answer.text().starts_with(says), "{target}: {}", answer.text());
    }
}

#[tokio::test]
async fn a_head_past_its_limit_is_refused_with_the_limits_name() {
    let router = limits(open(), head(&RefusedRequests::default()));
    let with = |n_bytes: usize| {
        Request::get("/-/healthy").header("x", "x".repeat(n_bytes)).body(Body::empty()).unwrap()
    };

    assert_eq!(send(router.clone(), with(900)).await.status, 200);
    let answer = send(router, with(1_000)).await;

    assert_eq!(answer.status, 431);
    let says = "the headers have 1005 bytes of at most 1000B (server.header_bytes_max)";
    assert!(answer.text().contains(says), "{}", answer.text());
}

struct Refused {
    path: &'static str,
    content_type: &'static str,
    status: u16,
    body: &'static [u8],
}

const MISSING: &str = "a token is needed: send `Authorization: Bearer <token>`, or Basic with the \
                       token as password";

#[tokio::test]
async fn a_missing_token_is_told_in_each_dialect() {
    for case in [
        Refused {
            path: "/api/v1/query",
            content_type: "",
            status: 401,
            body: b"{\"status\":\"error\",\"errorType\":\"unauthorized\"",
        },
        Refused {
            path: "/v1/logs",
            content_type: "application/json",
            status: 401,
            body: b"{\"code\":16,\"message\":\"a token",
        },
        Refused {
            path: "/v1/logs",
            content_type: "application/x-protobuf",
            status: 401,
            body: b"\x08\x10\x12",
        },
        Refused {
            path: "/loki/api/v1/push",
            content_type: "application/json",
            status: 401,
            body: MISSING.as_bytes(),
        },
        Refused {
            path: "/api/v1/write",
            content_type: "application/x-protobuf",
            status: 401,
            body: MISSING.as_bytes(),
        },
        Refused {
            path: "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
            content_type: "application/grpc",
            status: 200,
            body: b"",
        },
    ] {
        let request = Request::post(case.path).header("content-type", case.content_type);

        let answer = send(guarded(api(), TOKENS), request.body(Body::empty()).unwrap()).await;

        assert_eq!(answer.status, case.status, "{}", case.path);
        assert!(answer.bytes.starts_with(case.body), "{}: {:?}", case.path, answer.bytes);
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"commonwatch\"");
        let is_grpc = case.content_type == "application/grpc";
        assert_eq!(answer.header("grpc-status"), if is_grpc { "16" } else { "" });
    }
}

#[tokio::test]
async fn handlers_do_not_see_the_credential() {
    let seen = Router::new().route(
        "/",
        axum::routing::get(
            |headers: HeaderMap, grant: axum::Extension<crate::model::Grant>| async move {
                format!("{} {}", grant.name, headers.contains_key("authorization"))
            },
        ),
    );
    let tokens = TokenTable::check(&toml::from_str(TOKENS).unwrap()).unwrap();
    let clock: SharedClock = ManualClock::at_ms(0);
    let router = guard(seen, Authenticator::new(tokens, clock, Metrics::default()));

    let request = Request::get("/").header("authorization", "Bearer token-of-the-viewer");
    let answer = send(router, request.body(Body::empty()).unwrap()).await;

    assert_eq!(answer.text(), "viewer false");
}
