//! The files speak for themselves: with the server stopped, pyarrow and DuckDB read what was sent.

use serde_json::{Value, json};

use crate::support::programs::python;
use crate::support::wait::now_ms;
use crate::support::{Caller, Setup, otlp, remote_write};

const CONFIG: &str = r#"
[[auth.tokens]]
name = "heart-sender"
token = "heart-sender-0123456789"
commons = "heart.commons.example"
"#;

const N_ROWS: i64 = 500;

#[test]
fn other_programs_read_the_files_of_a_stopped_server() {
    let setup = Setup::new("parquet").config(CONFIG);
    let server = setup.start();
    let start_ms = now_ms() - 3_600_000;
    send(&server.caller_with("heart-sender-0123456789"), start_ms);
    server.stop();

    let read = python("read_parquet.py", &[setup.data_dir().display().to_string()]);

    for reader in ["pyarrow", "duckdb"] {
        for signal in ["metrics", "logs", "spans"] {
            check(reader, &read[reader][signal], &wanted(signal, start_ms));
        }
    }
    assert_eq!(read["partitions"], json!(["heart.commons.example"]), "the commons is the folder");
}

#[track_caller]
fn check(reader: &str, got: &Value, wanted: &[Value]) {
    let got = got.as_array().unwrap_or_else(|| panic!("{reader}: {got}"));
    assert_eq!(got.len(), wanted.len(), "{reader}: rows");
    for (got, wanted) in got.iter().zip(wanted) {
        assert_eq!(got, wanted, "{reader}");
    }
}

fn send(caller: &Caller, start_ms: i64) {
    let resource = || otlp::resource(&[("service.name", "fence"), ("worker", "7")]);
    let rows = 0..N_ROWS;
    let series = rows.clone().map(|row| {
        let labels = [("__name__", "parquet_rows"), ("zone", zone(row))];
        remote_write::series(&labels, &[(start_ms + row, number(row))])
    });
    let records = rows.clone().map(|row| {
        let mut record = otlp::record((start_ms + row) * 1_000_000 + 7, &format!("row {row}"));
        record.attributes = vec![otlp::attribute("http.method", "GET")];
        record
    });
    let spans =
        rows.map(|row| otlp::span(row.unsigned_abs(), (start_ms + row) * 1_000_000 + 7, "GET /"));
    for request in [
        remote_write::write(series.collect()),
        otlp::post("/v1/logs", &otlp::logs(resource(), records.collect())),
        otlp::post("/v1/traces", &otlp::spans(resource(), spans.collect())),
    ] {
        let answer = caller.send(request);
        assert!((200..300).contains(&answer.status), "{} {}", answer.status, answer.text());
    }
}

/// Returns the rows as the scripts print them, in order of time.
fn wanted(signal: &str, start_ms: i64) -> Vec<Value> {
    let row = |row: i64| {
        let (at_ms, at_ns) = (start_ms + row, (start_ms + row) * 1_000_000 + 7);
        let number_of_span = row.unsigned_abs();
        match signal {
            "metrics" => json!({
                "at": at_ms, "metric": "parquet_rows", "value": number(row),
                "zone": zone(row),
            }),
            "logs" => json!({
                "at": at_ns, "body": format!("row {row}"), "service": "fence", "method": "GET",
                "worker": "7", "severity_number": 9,
            }),
            _ => json!({
                "at": at_ns, "name": "GET /", "service": "fence", "duration_ns": 1_000_000,
                "trace_id": format!("{:032x}", u128::from(number_of_span) | 1 << 100),
                "span_id": format!("{:016x}", number_of_span | 1 << 60),
            }),
        }
    };
    (0..N_ROWS).map(row).collect()
}

/// Values whose text is short in every language.
fn number(row: i64) -> f64 {
    f64::from(i32::try_from(row).unwrap()) / 4.0
}

fn zone(row: i64) -> &'static str {
    if row % 2 == 0 { "a" } else { "b" }
}
