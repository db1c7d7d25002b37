//! The binary as a person uses it at a prompt, against a server that runs.

use std::process::{Command, Output};

use crate::support::wait::now_ms;
use crate::support::{Server, Setup, remote_write};

#[test]
fn sql_answers_as_a_table_and_as_csv() {
    let server = with_a_sample("cli-sql");
    let query = "SELECT metric, value FROM metrics WHERE metric = 'answer'";

    let table = ask(&server, &["sql", query]);
    let csv = ask(&server, &["sql", "--output", "csv", query]);

    let cells = |line: usize| -> Vec<&str> {
        table.lines().nth(line).unwrap_or_default().split_whitespace().collect()
    };
    assert_eq!((cells(0), cells(2)), (vec!["metric", "value"], vec!["answer", "42.0"]), "{table}");
    assert_eq!(csv.lines().collect::<Vec<_>>(), ["metric,value", "answer,42.0"]);
}

#[test]
fn promql_answers_as_json() {
    let server = with_a_sample("cli-promql");

    let answer = ask(&server, &["promql", "--output", "json", "answer * 2"]);

    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["data"]["result"][0]["value"][1], "84", "{answer}");
}

#[test]
fn a_data_directory_is_asked_without_a_server() {
    let setup = Setup::new("cli-offline");
    let server = setup.start();
    let series = remote_write::series(&[("__name__", "answer")], &[(now_ms(), 42.0)]);
    assert_eq!(server.caller().send(remote_write::write(vec![series])).status, 204);
    let data_dir = setup.data_dir().display().to_string();
    let offline = |arguments: &[&str]| {
        let binary = crate::support::server::binary();
        Command::new(binary).args(arguments).args(["--data-dir", &data_dir]).output().unwrap()
    };
    let query = "SELECT value, tag_rule FROM metrics WHERE metric = 'answer'";

    let while_it_runs = offline(&["sql", query]);
    // The sample is in the log alone.
    server.kill_9();
    let sql = offline(&["sql", "--output", "csv", query]);
    let promql = offline(&["promql", "--output", "json", "answer"]);

    assert!(!while_it_runs.status.success(), "one server at a time");
    let text = String::from_utf8_lossy(&sql.stdout).into_owned();
    let errors = String::from_utf8_lossy(&sql.stderr).into_owned();
    assert_eq!(text.lines().collect::<Vec<_>>(), ["value,tag_rule", "42.0,unassigned"], "{errors}");
    assert!(String::from_utf8_lossy(&promql.stdout).contains("\"42\""), "{promql:?}");
}

#[test]
fn a_question_that_is_wrong_ends_with_a_reason_and_not_with_0() {
    let server = with_a_sample("cli-wrong");

    let output = run(&server, &["promql", "answer{"]);

    assert!(!output.status.success());
    assert!(!output.stderr.is_empty(), "says why");
    assert!(output.stdout.is_empty(), "an error is not an answer");
}

fn with_a_sample(story: &'static str) -> Server {
    let server = Setup::new(story).start();
    let series = remote_write::series(&[("__name__", "answer")], &[(now_ms(), 42.0)]);
    let answer = server.caller().send(remote_write::write(vec![series]));
    assert_eq!(answer.status, 204, "{}", answer.text());
    server
}

#[track_caller]
fn ask(server: &Server, arguments: &[&str]) -> String {
    let output = run(server, arguments);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {}: {errors}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

fn run(server: &Server, arguments: &[&str]) -> Output {
    let url = format!("http://{}", server.caller().http);
    Command::new(crate::support::server::binary())
        .args(arguments)
        .args(["--server", &url])
        .output()
        .unwrap()
}
