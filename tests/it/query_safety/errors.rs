//! What an error may not say: where the server keeps its data, what other commons there are, what
//! the secrets are.

use std::fs;
use std::path::Path;

use crate::support::ask::form;
use crate::support::wait::{now_ms, now_ns};
use crate::support::{Caller, Request, Setup, loki, remote_write, two_commons};

use super::sql;

const ADMIN: &str = r#"
[[auth.tokens]]
name = "heart-admin"
token = "heart-admin-0123456789a"
read = ["heart.commons.example"]
role = "admin"
"#;

/// Requests that go wrong, each in a way of its own.
fn wrong_requests() -> Vec<Request> {
    let instant =
        |query: &str| Request::get(format!("/api/v1/query?{}", form(&[("query", query)])));
    let form_of = |path: &str, body: &str| {
        Request::post(path, body).header("Content-Type", "application/x-www-form-urlencoded")
    };
    let mut requests: Vec<Request> = [
        "m{",
        "m +",
        "nothing(m)",
        "m[1y]",
        "m * on(job) group_left m",
        "label_replace(m)",
        "{}",
        "sum(m) by (",
        "m{job=~\"(\"}",
        "label_join(m, \"\", \"\", \"a\")",
        "quantile(m)",
        "label_replace(m, \"job\", \"same\", \"secret\", \".*\")",
        "scalar(",
        "\"text",
    ]
    .map(instant)
    .into();
    requests.extend(
        [
            "SELEKT",
            "SELECT nothing FROM logs",
            "SELECT * FROM secrets",
            "SELECT * FROM '/etc/passwd'",
            "SELECT * FROM 'parquet/logs/commons=canine.commons.example/x.parquet'",
            "SELECT CAST(body AS INT) FROM logs",
            "SELECT 1 / (severity_number - severity_number) FROM logs",
            "SELECT arrow_cast(body, 'FixedSizeBinary(3)') FROM logs",
            "SELECT input_file_name() FROM logs",
            "SELECT file_row_index() FROM logs",
            "SELECT body FROM logs WHERE commons = 'canine.commons.example' AND CAST(body AS INT) = 1",
            "SELECT to_timestamp(body) FROM logs",
            "SELECT labels['a']['b']['c'] FROM metrics",
            "SELECT regexp_like(body, '(') FROM logs",
            "SELECT $1",
            "COPY logs TO '/tmp/x'",
            "SELECT m.commons FROM metrics m WHERE m.nothing = 1",
            "WITH RECURSIVE t AS (SELECT 1) SELECT * FROM t",
        ]
        .map(sql),
    );
    requests.extend([
        sql("SELECT 1").header("Accept", "image/png"),
        Request::post("/api/v1/sql", "{").header("Content-Type", "application/json"),
        Request::get("/api/v1/query"),
        Request::get("/api/v1/query?query=m&time=now"),
        Request::get("/api/v1/query_range?query=m&start=0&end=99999999&step=1"),
        Request::get("/api/v1/series"),
        Request::get("/api/v1/series?match[]=m%7B"),
        Request::get("/api/v1/labels?match[]=1"),
        Request::get("/api/v1/label//values"),
        Request::get("/api/v1/label/..%2f..%2fdata/values"),
        Request::get("/api/v1/nothing"),
        Request::get("/../../etc/passwd"),
        Request::get("/parquet/logs"),
        Request::get("/api/v1/rules?type=none"),
        Request::get("/api/v1/status/config/../tsdb"),
        form_of("/api/v1/query", "query=%ff"),
        form_of("/api/v1/query", "query=%zz"),
        Request::post("/-/reload", ""),
        Request::post("/api/v1/write", "not snappy"),
        Request::post("/loki/api/v1/push", "{").header("Content-Type", "application/json"),
        Request::post("/v1/logs", "{").header("Content-Type", "application/json"),
        Request::get("/api/v1/write"),
    ]);
    requests
}

/// Returns which of the words stand in the answer, its head included.
fn told(caller: &Caller, request: Request, words: &[&str]) -> Option<String> {
    let shown =
        format!("{} {} {}", request.method, request.path, String::from_utf8_lossy(&request.body));
    let answer = caller.send(request);
    // What the caller wrote may come back; whatever else stands there is the server's.
    let said = format!("{:?} {}", answer.headers, answer.text());
    let found = words.iter().find(|word| said.contains(**word) && !shown.contains(**word));
    let start: String = said.chars().take(400).collect();
    found.map(|word| format!("{shown}: {} tells `{word}`: {start}", answer.status))
}

#[test]
fn errors_tell_no_folder_no_other_commons_and_no_secret() {
    let setup = Setup::new("errors").config(&two_commons::config(ADMIN));
    let server = setup.start();
    for whose in ["heart", "canine"] {
        let sender = server.caller_with(&format!("{whose}-sender-0123456789"));
        let secret = format!("secret-of-{whose}");
        let series = [("__name__", "m"), ("job", "a"), ("secret", secret.as_str())];
        let write = remote_write::write(vec![remote_write::series(&series, &[(now_ms(), 1.0)])]);
        let push = loki::push("{app=\"a\"}", vec![loki::entry(now_ns(), &secret)]);
        for request in [write, push] {
            let answer = sender.send(request);
            assert!((200..300).contains(&answer.status), "{}", answer.text());
        }
    }
    // Rows of both kinds of place: files, and the log that is replayed into the head.
    server.stop();
    let server = setup.start();
    let home = setup.home().display().to_string();
    let data_dir = setup.data_dir().display().to_string();
    let words = [
        home.as_str(),
        data_dir.as_str(),
        "canine.commons.example",
        "secret-of-canine",
        "heart-sender-0123456789",
        "heart-reader-0123456789",
        "heart-admin-0123456789a",
        ".cargo/registry",
        "src/query",
    ];
    let mut wrong = Vec::new();

    for token in ["heart-reader-0123456789", "heart-admin-0123456789a"] {
        let caller = server.caller_with(token);
        wrong.extend(
            wrong_requests().into_iter().filter_map(|request| told(&caller, request, &words)),
        );
    }
    for file in parquet_files(&setup.data_dir()) {
        fs::remove_file(file).unwrap();
    }
    let reader = server.caller_with("heart-reader-0123456789");
    // What an answer lacks is named by the file, which is of the reader's own commons.
    let inside = [&words[..], &["No such file"]].concat();
    for request in [
        sql("SELECT count(body) FROM logs"),
        sql("SELECT sum(value) FROM metrics"),
        Request::get("/api/v1/query?query=m"),
        Request::get("/api/v1/series?match[]=m"),
    ] {
        wrong.extend(told(&reader, request, &inside));
    }

    assert!(wrong.is_empty(), "{} answers:\n{}", wrong.len(), wrong.join("\n"));
}

fn parquet_files(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false if path.extension().is_some_and(|ending| ending == "parquet") => {
                    found.push(path);
                }
                false => {}
            }
        }
    }
    assert!(!found.is_empty(), "the first server wrote no file");
    found
}
