use std::ffi::OsString;

use serde_json::json;

use super::ask::{rows_table, samples_table};
use super::*;

/// Runs a command line; returns its exit code, output and complaints.
fn commonwatch(arguments: &[&str]) -> (ExitCode, String, String) {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let all = ["commonwatch"].iter().chain(arguments).map(OsString::from);
    let code = run(all, &mut out, &mut err);
    (code, String::from_utf8(out).unwrap(), String::from_utf8(err).unwrap())
}

#[test]
fn the_flags_are_consistent() {
    use clap::CommandFactory as _;
    Arguments::command().debug_assert();
}

#[test]
fn a_wrong_command_line_ends_with_2() {
    for arguments in [&["--no-such-flag"][..], &["sql"], &["promql", "up", "--start", "1"]] {
        let (code, _, err) = commonwatch(arguments);
        assert_eq!(code, ExitCode::from(2), "{arguments:?}");
        assert!(err.contains("Usage"), "{err}");
    }
}

#[test]
fn help_is_an_answer() {
    let (code, out, err) = commonwatch(&["--help"]);

    assert_eq!((code, err.as_str()), (ExitCode::SUCCESS, ""));
    for name in ["serve", "demo", "sql", "promql", "rules", "config", "doctor", "--otlp-grpc"] {
        assert!(out.contains(name), "{name}: {out}");
    }
    assert!(!out.contains("query-worker"), "{out}");
}

#[test]
fn a_mistake_in_the_configuration_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    std::fs::write(&path, "[storage]\nretenshun = \"1d\"\n").unwrap();
    let path = path.to_str().unwrap();

    for command in [&["config", "check"][..], &["config", "show"], &["serve"], &[]] {
        let (code, out, err) = commonwatch(&[command, &["--config", path]].concat());
        assert_eq!((code, out.as_str()), (ExitCode::from(2), ""), "{command:?}");
        assert!(err.contains("c.toml:2: storage.retenshun"), "{err}");
    }
}

#[test]
fn a_flag_shows_in_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    std::fs::write(&path, "[server]\nhttp = \"127.0.0.1:1\"\n").unwrap();
    let path = path.to_str().unwrap();

    let flags = [
        "--config",
        path,
        "--http",
        "127.0.0.1:2",
        "--http",
        "off",
        "--rules",
        "a",
        "--rules",
        "b",
    ];
    let (code, out, _) = commonwatch(&[&["config", "show"][..], &flags].concat());

    assert_eq!(code, ExitCode::SUCCESS);
    assert!(out.contains("http = \"off\""), "the last flag wins: {out}");
    let shown: toml::Table = out.parse().unwrap();
    assert_eq!(shown["rules"]["files"], toml::Value::from(vec!["a", "b"]));
}

#[test]
fn a_server_that_is_not_there_ends_with_1() {
    let (code, _, err) = commonwatch(&["sql", "SELECT 1", "--server", "http://127.0.0.1:1"]);

    assert_eq!(code, ExitCode::from(1));
    assert!(err.contains("cannot reach http://127.0.0.1:1") && err.contains("--server"), "{err}");
}

#[test]
fn a_server_without_a_scheme_ends_with_2() {
    let (code, _, err) = commonwatch(&["promql", "up", "--server", "localhost:7070"]);

    assert_eq!(code, ExitCode::from(2));
    assert!(err.contains("must begin with http://"), "{err}");
}

fn aligned(table: &super::table::Table) -> String {
    let mut out = Vec::new();
    table.write_aligned(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn rows_are_aligned_and_numbers_stand_right() {
    let answer = json!({
        "columns": [{ "name": "service" }, { "name": "n" }, { "name": "late" }],
        "rows": [["fence", 1, null], ["sheepdog", 1234, true]],
    });

    assert_eq!(
        aligned(&rows_table(&answer)),
        "service      n  late\n\
         --------  ----  ----\n\
         fence        1\n\
         sheepdog  1234  true\n\
         (2 rows)\n"
    );
}

#[test]
fn samples_become_rows() {
    let vector = json!({
        "resultType": "vector",
        "result": [
            { "metric": { "__name__": "up", "job": "a" }, "value": [4, "1"] },
            { "metric": { "__name__": "up" }, "value": [4, "NaN"] },
        ],
    });
    let matrix = json!({
        "resultType": "matrix",
        "result": [{ "metric": { "job": "a" }, "values": [[1, "1"], [2.5, "20"]] }],
    });
    let scalar = json!({ "resultType": "scalar", "result": [4, "2"] });

    assert_eq!(
        aligned(&samples_table(&vector)),
        "__name__  job  time  value\n--------  ---  ----  -----\nup        a       4  1\nup                4  NaN\n(2 rows)\n"
    );
    assert_eq!(
        aligned(&samples_table(&matrix)),
        "job  time  value\n---  ----  -----\na       1      1\na     2.5     20\n(2 rows)\n"
    );
    assert_eq!(
        aligned(&samples_table(&scalar)),
        "time  value\n----  -----\n   4      2\n(1 row)\n"
    );
}

#[test]
fn what_a_sender_wrote_does_not_move_the_cursor() {
    let answer = json!({ "columns": [{ "name": "body" }], "rows": [["a\u{1b}[2Jb\nc"]] });

    let shown = aligned(&rows_table(&answer));

    assert!(!shown.contains('\u{1b}') && shown.contains(r"a\u{1b}[2Jb\nc"), "{shown}");
}

#[test]
fn csv_is_quoted() {
    let answer = json!({ "columns": [{ "name": "a,b" }], "rows": [["x\"y"], [null]] });
    let mut out = Vec::new();

    rows_table(&answer).write_csv(&mut out).unwrap();

    assert_eq!(String::from_utf8(out).unwrap(), "\"a,b\"\r\n\"x\"\"y\"\r\n\r\n");
}

/// Serves the router of `api`'s tests on a free port for as long as the runtime lives.
fn live() -> (tokio::runtime::Runtime, String) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = runtime.block_on(crate::api::tests::open_live());
    let _entered = runtime.enter();
    crate::base::tasks::spawn_detached(async move {
        axum::serve(listener, router).await.unwrap();
    });
    (runtime, url)
}

#[test]
fn the_doctor_finds_a_good_server_well() {
    let (_runtime, url) = live();

    let (code, out, err) = commonwatch(&["doctor", "grafana", "--server", &url]);

    assert_eq!((code, err.as_str()), (ExitCode::SUCCESS, ""), "{out}");
    assert!(out.contains("ok   start: the probe for exemplars sends milliseconds"), "{out}");
    assert!(!out.contains("FAIL") && out.contains(&format!("url: {url}\n")), "{out}");
}

#[test]
fn the_doctor_names_what_a_server_does_wrong() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let _entered = runtime.enter();
    let page = axum::Router::new().fallback(|| async { "<html>" });
    crate::base::tasks::spawn_detached(async move {
        axum::serve(listener, page).await.unwrap();
    });

    let (code, out, err) = commonwatch(&["doctor", "grafana", "--server", &url]);

    assert_eq!(code, ExitCode::from(1));
    assert!(out.contains("FAIL") && out.contains("the body is not JSON"), "{out}");
    assert!(out.contains("status 200 instead of 404"), "{out}");
    assert!(err.contains("requests failed"), "{err}");
}

#[test]
fn questions_reach_a_server() {
    let (_runtime, url) = live();

    let (code, out, _) = commonwatch(&["promql", "1+1", "--time", "4", "--server", &url]);
    assert_eq!(
        (code, out.as_str()),
        (ExitCode::SUCCESS, "time  value\n----  -----\n   4      2\n(1 row)\n")
    );
    let (_, out, _) = commonwatch(&["sql", "rows", "--server", &url]);
    assert!(out.starts_with("service     n    v\n") && out.ends_with("(2 rows)\n"), "{out}");
    let (_, out, _) = commonwatch(&["sql", "rows", "-o", "csv", "--server", &url]);
    assert!(out.starts_with("service,n,v\r\n"), "{out}");
    let (code, _, err) = commonwatch(&["promql", "sum(", "--server", &url]);
    assert_eq!(
        (code, err.as_str()),
        (ExitCode::from(1), "commonwatch: the server says 400: unexpected end of input\n")
    );
}

#[test]
fn rule_files_are_checked_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let good = folder.path().join("good.yml");
    let bad = folder.path().join("bad.yml");
    std::fs::write(&good, "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: up == 0\n")
        .unwrap();
    std::fs::write(&bad, "groups:\n- name: g\n  rules:\n  - alert: A\n    expr: sum(\n").unwrap();

    let (code, out, _) = commonwatch(&["rules", "check", good.to_str().unwrap()]);
    assert_eq!(
        (code, out.as_str()),
        (ExitCode::SUCCESS, "1 files, 1 groups, 1 rules: all right\n")
    );
    let (code, _, err) = commonwatch(&["rules", "check", bad.to_str().unwrap()]);
    assert_eq!(code, ExitCode::from(1));
    assert!(err.contains("bad.yml"), "{err}");
}

#[test]
fn rules_are_tested_without_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let rules = "groups:\n- name: g\n  rules:\n  - alert: Down\n    expr: up == 0\n    for: 1m\n";
    std::fs::write(folder.path().join("r.yml"), rules).unwrap();
    let test = |at: &str| {
        let path = folder.path().join("t.yml");
        let text = format!(
            "rule_files: [r.yml]\ntests:\n- interval: 1m\n  input_series:\n  - series: up{{job=\"a\"}}\n    \
             values: 0x5\n  alert_rule_test:\n  - eval_time: {at}\n    alertname: Down\n    exp_alerts:\n    \
             - exp_labels: {{job: a}}\n"
        );
        std::fs::write(&path, text).unwrap();
        commonwatch(&["rules", "test", path.to_str().unwrap()])
    };

    let (code, out, err) = test("2m");
    assert_eq!((code, err.as_str()), (ExitCode::SUCCESS, ""), "{out}");
    let (code, out, _) = test("0m");
    assert_eq!(code, ExitCode::from(1));
    assert!(out.starts_with("FAIL "), "{out}");
}
