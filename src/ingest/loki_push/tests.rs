//! Pushes through the route, in both encodings, with messages that prost writes.

use std::io::Write as _;

use axum::body::Body;
use axum::{Extension, Router};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use prost::Message;
use tower::ServiceExt as _;

use super::router;
use crate::ingest::Sender;
use crate::ingest::records::Context;
use crate::ingest::tests::fake_store::{NOW_MS, Rig};
use crate::model::{Grant, WriteScope};
use crate::storage::{AppendError, Part};

#[derive(Clone, PartialEq, Message)]
struct PushRequest {
    #[prost(message, repeated, tag = "1")]
    streams: Vec<Stream>,
}

#[derive(Clone, PartialEq, Message)]
struct Stream {
    #[prost(string, tag = "1")]
    labels: String,
    #[prost(message, repeated, tag = "2")]
    entries: Vec<Entry>,
    #[prost(uint64, tag = "3")]
    hash: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Entry {
    #[prost(message, optional, tag = "1")]
    timestamp: Option<Timestamp>,
    #[prost(string, tag = "2")]
    line: String,
    #[prost(message, repeated, tag = "3")]
    metadata: Vec<Pair>,
}

#[derive(Clone, PartialEq, Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Pair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

const NOW_S: i64 = NOW_MS / 1000;
const TRACE: &str = "0AF7651916CD43DD8448EB211C80319C";

fn entry(line: &str, metadata: &[(&str, &str)]) -> Entry {
    let metadata = metadata
        .iter()
        .map(|(name, value)| Pair { name: (*name).to_owned(), value: (*value).to_owned() })
        .collect();
    let timestamp = Some(Timestamp { seconds: NOW_S, nanos: 5 });
    Entry { timestamp, line: line.to_owned(), metadata }
}

fn push(labels: &str, entries: Vec<Entry>) -> PushRequest {
    PushRequest { streams: vec![Stream { labels: labels.to_owned(), entries, hash: 7 }] }
}

fn snappy(push: &PushRequest) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(&push.encode_to_vec()).unwrap()
}

async fn send(routes: Router, headers: &[(&str, &str)], body: Vec<u8>) -> (u16, String) {
    let mut request = Request::post("/loki/api/v1/push");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = routes.oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn open(rig: &Rig) -> Router {
    router(rig.ingest.clone()).layer(Extension(Grant::open()))
}

async fn send_push(rig: &Rig, push: &PushRequest) -> (u16, String) {
    send(open(rig), &[("content-type", "application/x-protobuf")], snappy(push)).await
}

async fn send_json(rig: &Rig, text: &str) -> (u16, String) {
    send(open(rig), &[("content-type", "application/json")], text.as_bytes().to_vec()).await
}

/// Returns the stored rows, columns parted by `|`; a null is `-`.
fn rows(rig: &Rig) -> Vec<String> {
    use arrow::array::{Array as _, AsArray as _};
    use arrow::compute::cast;
    use arrow::datatypes::DataType;
    let names = [
        "timestamp",
        "severity_number",
        "severity_text",
        "body",
        "resource",
        "attributes",
        "trace_id",
        "span_id",
    ];
    let mut rows = Vec::new();
    for part in rig.store.others() {
        let Part::Logs { batch, .. } = part else { panic!("only logs were sent") };
        for row in 0..batch.num_rows() {
            let cells = names.map(|name| {
                let column = batch.column_by_name(name).unwrap();
                let column = match column.data_type() {
                    DataType::Timestamp(..) => cast(column, &DataType::Int64).unwrap(),
                    _ => std::sync::Arc::clone(column),
                };
                let column = cast(&column, &DataType::Utf8).unwrap();
                let column = column.as_string::<i32>();
                if column.is_null(row) { "-".to_owned() } else { column.value(row).to_owned() }
            });
            rows.push(cells.join("|"));
        }
    }
    rows
}

#[tokio::test]
async fn protobuf_and_json_become_the_same_rows() {
    let (by_protobuf, by_json) = (Rig::new(), Rig::new());
    let metadata = [("trace_id", TRACE), ("span_id", "b7ad6b7169203331"), ("q", "a\"b")];
    let entries = vec![entry("one é", &metadata), entry("two", &[("detected_level", "WARN")])];
    let push = push(r#"{app="fence", level="info"}"#, entries);
    let text = format!(
        r#"{{"streams":[{{"stream":{{"app":"fence","level":"info"}},"values":[
            ["{NOW_S}000000005","one \u00e9",{{"trace_id":"{TRACE}","span_id":"b7ad6b7169203331","q":"a\"b"}}],
            ["{NOW_S}000000005","two",{{"detected_level":"WARN"}}]]}}]}}"#
    );

    assert_eq!(send_push(&by_protobuf, &push).await, (204, String::new()));
    assert_eq!(send_json(&by_json, &text).await, (204, String::new()));

    let want = [
        concat!(
            r#"1800000000000000005|9|info|one é|{"app":"fence","level":"info"}|"#,
            r#"{"trace_id":"0AF7651916CD43DD8448EB211C80319C","span_id":"b7ad6b7169203331","q":"a\"b"}|"#,
            "0af7651916cd43dd8448eb211c80319c|b7ad6b7169203331"
        ),
        concat!(
            r#"1800000000000000005|9|info|two|{"app":"fence","level":"info"}|"#,
            r#"{"detected_level":"WARN"}|-|-"#
        ),
    ];
    assert_eq!(rows(&by_protobuf), want);
    assert_eq!(rows(&by_json), want);
}

#[tokio::test]
async fn labels_may_stand_after_the_values() {
    let rig = Rig::new();
    let text = format!(
        r#"{{"streams":[{{"values":[["{NOW_S}000000000","x"]],"more":1,"stream":{{"a":"b"}}}}]}}"#
    );

    assert_eq!(send_json(&rig, &text).await.0, 204);

    assert!(rows(&rig)[0].contains(r#"{"a":"b"}"#));
}

/// What Alloy's `faro.receiver` writes: logfmt under few labels.
#[tokio::test]
async fn a_push_of_faro_is_taken() {
    let rig = Rig::new();
    let line = "timestamp=\"2026-08-21 10:11:12 +0000 UTC\" kind=event event_name=workspaceLaunch \
                app_name=portal app_environment=heart.example traceID=abc";
    let labels = r#"{app_environment="heart.example", kind="event", service="frontend-app"}"#;

    assert_eq!(send_push(&rig, &push(labels, vec![entry(line, &[])])).await.0, 204);

    assert!(rows(&rig)[0].contains("workspaceLaunch"));
}

#[tokio::test]
async fn bad_times_cost_their_entries_and_not_the_rest() {
    let rig = Rig::new();
    let at = |seconds, line: &str| Entry {
        timestamp: Some(Timestamp { seconds, nanos: 0 }),
        ..entry(line, &[])
    };
    let entries =
        vec![at(NOW_S + 601, "ahead"), entry("good", &[]), at(1, "old"), at(i64::MAX, "never")];

    let (status, text) = send_push(&rig, &push(r#"{a="b"}"#, entries)).await;

    assert_eq!(status, 400);
    assert_eq!(
        text,
        "3 of 4 entries refused (future 2, too_old 1); the first: entry for stream '{a=\"b\"}' \
         has timestamp too new: 2027-01-15T08:10:01+00:00\n"
    );
    assert_eq!(rows(&rig).len(), 1);
}

#[tokio::test]
async fn lines_and_metadata_have_limits() {
    let rig = Rig::new();
    let pairs: Vec<String> = (0..129).map(|i| i.to_string()).collect();
    let pairs: Vec<_> = pairs.iter().map(|name| (name.as_str(), "x")).collect();
    let long = "x".repeat((256 << 10) + 1);
    let entries = vec![entry(&long, &[]), entry("many", &pairs), entry("good", &[])];

    let (status, text) = send_push(&rig, &push(r#"{a="b"}"#, entries)).await;

    assert_eq!(status, 400);
    assert!(text.contains("(line_limit 1, attribute_limit 1)"), "{text}");
    assert!(text.contains("Max entry size '262144' bytes exceeded for stream"), "{text}");
    assert_eq!(rows(&rig).len(), 1);
}

#[tokio::test]
async fn what_cannot_be_read_is_a_400_in_words() {
    let rig = Rig::new();
    let (status, text) = send_push(&rig, &push("{a=1}", vec![entry("x", &[])])).await;
    assert_eq!(status, 400);
    let want =
        "Error parsing labels '{a=1}' with error: parse error at byte 3: wanted a quoted value\n";
    assert_eq!(text, want);

    let (status, text) = send_push(&rig, &push("{}", vec![entry("x", &[])])).await;
    assert_eq!(
        (status, text.as_str()),
        (400, "error at least one label pair is required per stream\n")
    );

    for (text, want) in [
        ("{", "couldn't parse push request: the request: wanted a string (byte 1)\n"),
        (
            r#"{"streams":[{"stream":{"a":"b"},"values":[["x","l"]]}]}"#,
            "couldn't parse push request: streams[0].values[0][0]: a time is written in whole nanoseconds since 1970 (byte 46)\n",
        ),
        (
            r#"{"streams":[{"stream":{"a":"b"},"values":[["1"]]}]}"#,
            "couldn't parse push request: streams[0].values[0]: an entry has at least a time and a line (byte 47)\n",
        ),
        (
            r#"{"streams":[{"values":[]}]}"#,
            "error at least one label pair is required per stream\n",
        ),
    ] {
        assert_eq!(send_json(&rig, text).await, (400, want.to_owned()));
    }
    assert_eq!(send(open(&rig), &[], b"\xff\xff".to_vec()).await.0, 400);
    let (status, text) = send(open(&rig), &[("content-encoding", "br")], vec![]).await;
    assert_eq!((status, text.as_str()), (400, "Content-Encoding \"br\" not supported\n"));
    assert_eq!(rig.store.n_appends(), 0);
}

#[tokio::test]
async fn gzip_is_taken_off_json() {
    let rig = Rig::new();
    let text =
        format!(r#"{{"streams":[{{"stream":{{"a":"b"}},"values":[["{NOW_S}000000000","x"]]}}]}}"#);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(text.as_bytes()).unwrap();
    let headers = [("content-type", "application/json"), ("content-encoding", "gzip")];

    let (status, _) = send(open(&rig), &headers, gzip.finish().unwrap()).await;

    assert_eq!((status, rows(&rig).len()), (204, 1));
}

#[tokio::test]
async fn without_headers_it_is_protobuf_in_snappy() {
    let rig = Rig::new();
    let body = |line| snappy(&push(r#"{a="b"}"#, vec![entry(line, &[])]));

    assert_eq!(send(open(&rig), &[], body("x")).await.0, 204);
    assert_eq!(send(open(&rig), &[("content-encoding", "snappy")], body("y")).await.0, 204);
    assert_eq!(rows(&rig).len(), 2);
}

#[tokio::test]
async fn a_push_that_comes_again_is_stored_once() {
    let rig = Rig::new();
    let push = push(r#"{a="b"}"#, vec![entry("x", &[])]);
    rig.store.refuse_next(AppendError::DiskFull);

    assert_eq!(send_push(&rig, &push).await.0, 503);
    assert_eq!(send_push(&rig, &push).await.0, 204);
    assert_eq!(send_push(&rig, &push).await, (204, String::new()));

    assert_eq!(rows(&rig).len(), 1);
    let requests = |outcome: &str| {
        let labels = format!("{{signal=\"logs\",protocol=\"loki\",outcome=\"{outcome}\"}}");
        rig.metric(&format!("commonwatch_ingest_requests_total{labels}"))
    };
    assert_eq!((requests("stored"), requests("repeated")), (1, 1));
}

#[tokio::test]
async fn a_push_that_comes_again_is_told_again_what_was_refused_of_it() {
    let rig = Rig::new();
    let late = Entry {
        timestamp: Some(Timestamp { seconds: NOW_S + 601, nanos: 0 }),
        ..entry("ahead", &[])
    };
    let push = push(r#"{a="b"}"#, vec![entry("x", &[]), late]);

    let (status, first) = send_push(&rig, &push).await;
    let again = send_push(&rig, &push).await;

    assert_eq!(status, 400);
    assert_eq!(again, (400, first), "the sender hears the same");
    assert_eq!(rows(&rig).len(), 1);
}

#[tokio::test]
async fn an_empty_push_succeeds() {
    let rig = Rig::new();
    assert_eq!(send_json(&rig, r#"{"streams":[]}"#).await.0, 204);
    assert_eq!(send_json(&rig, "{}").await.0, 204);
    assert_eq!(send_push(&rig, &PushRequest { streams: vec![] }).await.0, 204);
}

#[tokio::test]
async fn what_passes_says_when_to_come_back() {
    let rig = Rig::new();
    rig.store.refuse_next(AppendError::DiskFull);
    let body = snappy(&push(r#"{a="b"}"#, vec![entry("x", &[])]));
    let request = Request::post("/loki/api/v1/push").body(Body::from(body)).unwrap();

    let response = open(&rig).oneshot(request).await.unwrap();

    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()["retry-after"], "5");
}

#[tokio::test]
async fn who_may_not_write_is_told_so() {
    let rig = Rig::new();
    let body = snappy(&push(r#"{a="b"}"#, vec![entry("x", &[])]));
    assert_eq!(send(router(rig.ingest.clone()), &[], body.clone()).await.0, 401);
    let reader = Grant { write: WriteScope::Nothing, ..Grant::open() };
    let routes = router(rig.ingest.clone()).layer(Extension(reader));
    assert_eq!(send(routes, &[], body).await.0, 403);
}

#[test]
fn damage_is_never_a_panic() {
    let rig = Rig::new();
    let grant = Grant::open();
    let ctx = Context::new(&rig.ingest, Sender { grant: &grant, tenant: None });
    let body = push(r#"{app="fence"}"#, vec![entry("x", &[("a", "b")])]).encode_to_vec();
    let text = format!(
        r#"{{"streams":[{{"stream":{{"a":"b"}},"values":[["{NOW_S}000000000","x",{{"k":"v"}}]]}}]}}"#
    );

    for end in 0..body.len() {
        drop(super::protobuf::decode(&ctx, &body[..end]));
    }
    for idx in 0..body.len() {
        let mut damaged = body.clone();
        damaged[idx] ^= 0x85;
        drop(super::protobuf::decode(&ctx, &damaged));
    }
    for end in 0..text.len() {
        assert!(super::json::decode(&ctx, &text.as_bytes()[..end]).is_err());
    }
}

#[tokio::test]
async fn a_stream_with_very_many_labels_is_refused_at_once_and_in_few_words() {
    let rig = Rig::new();
    let labels: Vec<String> = (0..200_000).map(|n| format!("l{n}=\"v\"")).collect();
    let in_json: Vec<String> = (0..200_000).map(|n| format!("\"l{n}\":\"v\"")).collect();
    let in_json = format!(r#"{{"streams":[{{"stream":{{{}}},"values":[]}}]}}"#, in_json.join(","));

    let refusals = [
        send_push(&rig, &push(&format!("{{{}}}", labels.join(",")), Vec::new())).await,
        send_json(&rig, &in_json).await,
    ];

    for (status, text) in refusals {
        assert_eq!(status, 400);
        assert!(text.contains("has more than 40 label names"), "{text}");
        assert!(text.len() < 1_000, "the message repeats {} bytes", text.len());
    }
}

#[tokio::test]
async fn an_entry_with_very_much_metadata_is_refused_alone() {
    let rig = Rig::new();
    let much = vec![("", ""); 200_000];
    let push = push(r#"{app="fence"}"#, vec![entry("first", &much), entry("second", &[])]);

    let (status, text) = send_push(&rig, &push).await;

    assert_eq!(status, 400, "{text}");
    assert!(text.contains("more than 128 pairs of structured metadata"), "{text}");
    assert_eq!(rows(&rig).len(), 1);
}

#[tokio::test]
async fn streams_without_entries_count_as_well() {
    let rig = Rig::with(|limits| limits.records_per_request = 10);
    let streams = [r#"{"stream":{"app":"a"},"values":[]}"#; 11].join(",");

    let (status, text) = send_json(&rig, &format!(r#"{{"streams":[{streams}]}}"#)).await;

    assert!(text.contains("limits.records_per_request"), "{status} {text}");
}

#[tokio::test]
async fn a_traceback_is_stored_as_one_record_and_every_line_is_counted() {
    let rig = Rig::new();
    let lines = [
        "ERROR request failed",
        "Traceback (most recent call last):",
        "  File \"/fence/data.py\", line 12, in get",
        "    raise NotFound(guid)",
        "fence.errors.NotFound: no file",
        "INFO next",
    ];
    let entries = || lines.iter().map(|line| entry(line, &[])).collect::<Vec<_>>();
    let mut two_streams = push(r#"{app="fence"}"#, entries());
    // What a stream leaves open ends with it.
    two_streams.streams.push(push(r#"{app="other"}"#, entries()[1..3].to_vec()).streams.remove(0));
    two_streams.streams.push(push(r#"{app="last"}"#, entries()[3..4].to_vec()).streams.remove(0));

    assert_eq!(send_push(&rig, &two_streams).await.0, 204);

    let rows = rows(&rig);
    let bodies: Vec<&str> = rows.iter().map(|row| row.split('|').nth(3).unwrap()).collect();
    let traceback = lines[1..5].join("\n");
    assert_eq!(bodies, [lines[0], &traceback, lines[5], &lines[1..3].join("\n"), lines[3]]);
    let stored = "commonwatch_ingest_stored_items_total{signal=\"logs\",protocol=\"loki\"}";
    assert_eq!(rig.metric(stored), 9, "every line counts");
}
