use super::*;

async fn ask(query: &str, accept: &str) -> Answered {
    let request = Request::post("/api/v1/sql")
        .header("content-type", "text/plain")
        .header("accept", accept)
        .body(Body::from(query.to_owned()));
    send(open(), request.unwrap()).await
}

#[track_caller]
fn check(query: &str, accept: &str, content_type: &str, want: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let answer = runtime.block_on(ask(query, accept));
    assert_eq!((answer.status, answer.text()), (200, want), "{query}");
    assert_eq!(answer.header("content-type"), content_type);
}

const JSON: &str = r#"{"columns":[{"name":"service","type":"text"},{"name":"n","type":"integer"},{"name":"v","type":"double"}],"rows":[["fence, \"x\"",1,0.5],[null,0,null]],"truncated":null}"#;

#[test]
fn rows_come_in_the_format_that_is_accepted() {
    check("rows", "application/json", "application/json", JSON);
    check("rows", "*/*", "application/json", JSON);
    check(
        "rows",
        "application/x-ndjson",
        "application/x-ndjson",
        "{\"service\":\"fence, \\\"x\\\"\",\"n\":1,\"v\":0.5}\n{\"service\":null,\"n\":0,\"v\":null}\n",
    );
    check(
        "rows",
        "text/csv;q=0.9",
        "text/csv",
        "service,n,v\r\n\"fence, \"\"x\"\"\",1,0.5\r\n,0,\r\n",
    );
}

#[test]
fn no_rows_are_still_well_formed() {
    let columns = &JSON[..JSON.find("\"rows\"").unwrap()];
    let want = format!("{columns}\"rows\":[],\"truncated\":null}}");
    check("nothing", "application/json", "application/json", &want);
    check("nothing", "application/x-ndjson", "application/x-ndjson", "");
    check("nothing", "text/csv", "text/csv", "service,n,v\r\n");
}

#[tokio::test]
async fn an_arrow_stream_is_read_back() {
    let answer = ask("rows", "application/vnd.apache.arrow.stream").await;

    let reader = arrow_ipc::reader::StreamReader::try_new(answer.bytes.as_slice(), None).unwrap();
    let batches: Vec<_> = reader.map(Result::unwrap).collect();
    assert_eq!((batches.len(), batches[0].num_rows()), (1, 2));
}

#[tokio::test]
async fn a_cut_answer_names_the_limit() {
    assert_eq!(ask("cut", "text/csv").await.header("x-commonwatch-truncated"), "query.rows_max");
    assert_eq!(ask("rows", "text/csv").await.header("x-commonwatch-truncated"), "");
    assert_eq!(
        ask("partial", "text/csv").await.header("x-commonwatch-partial"),
        "a file is missing"
    );
    assert_eq!(ask("rows", "text/csv").await.header("x-commonwatch-partial"), "");
    assert!(ask("cut", "*/*").await.text().ends_with("\"truncated\":\"query.rows_max\"}"));
}

#[tokio::test]
async fn a_json_body_brings_parameters() {
    let post = |body: &'static str| {
        let request = Request::post("/api/v1/sql").header("content-type", "application/json");
        send(open(), request.body(Body::from(body)).unwrap())
    };

    let answer = post(r#"{"query":"rows","params":[1,"a"]}"#).await;

    assert!(answer.text().contains("[null,2,null]"), "{}", answer.text());
    for wrong in [r#"{"qwery":"rows"}"#, r#"{"query":5}"#, "rows", ""] {
        let answer = post(wrong).await;
        assert_eq!(answer.status, 400, "{wrong}");
        assert!(answer.text().contains("the body is not"), "{}", answer.text());
    }
}

#[tokio::test]
async fn what_cannot_be_answered_is_refused() {
    assert_eq!(ask("", "*/*").await.status, 400);
    assert_eq!(ask("sum(", "*/*").await.status, 400);
    assert_eq!(ask("slow", "*/*").await.status, 503);
}

#[tokio::test]
async fn what_no_client_accepts_is_not_acceptable() {
    for accept in ["image/png", "text/csv;q=0", "text/html, image/*;q=0.8"] {
        let answer = ask("rows", accept).await;
        assert_eq!(answer.status, 406, "{accept}");
        assert!(answer.text().contains("text/csv"), "{}", answer.text());
    }
}

#[tokio::test]
async fn the_format_that_is_wanted_most_is_written() {
    for (accept, want) in [
        ("application/json;q=0.5, text/csv", "text/csv"),
        ("text/csv;q=0.5, application/x-ndjson; q=0.9, */*;q=0.1", "application/x-ndjson"),
        ("text/html, text/*;q=0.3", "text/csv"),
        ("Text/CSV", "text/csv"),
        ("*/*", "application/json"),
    ] {
        assert_eq!(ask("rows", accept).await.header("content-type"), want, "{accept}");
    }
}
