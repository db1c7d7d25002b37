//! Hostile questions, and paths that do not exist.

use super::{Case, Dialect, Port};
use crate::support::Request;
use crate::support::ask::form;

pub(super) fn cases() -> Vec<Case> {
    let mut cases = promql();
    cases.extend(sql());
    cases.extend(unknown_paths());
    cases
}

fn case(name: &'static str, request: Request, dialect: Dialect) -> Case {
    Case { name, request, port: Port::Http, statuses: &[400], says: "", dialect }
}

fn promql() -> Vec<Case> {
    let query = |name, query: &str| {
        let request = Request::get(format!("/api/v1/query?{}", form(&[("query", query)])));
        case(name, request, Dialect::Prometheus)
    };
    let range = |name, parameters: &[(&str, &str)]| {
        let request = Request::get(format!("/api/v1/query_range?{}", form(parameters)));
        case(name, request, Dialect::Prometheus)
    };
    let up = [("query", "up"), ("start", "0"), ("end", "10")];
    vec![
        query("promql: a brace missing", "up{"),
        query("promql: empty", ""),
        query("promql: unknown function", "upper(up)"),
        query("promql: a range of a yottayear", "up[99999999999999999999y]"),
        query("promql: infinity as a range", "up[1e400]"),
        query("promql: 50,000 parentheses", &"(".repeat(15_000)),
        query("promql: a long chain", &vec!["1"; 8_000].join("+")),
        query("promql: a selector of everything", "{__name__=~\".*\"}"),
        query("promql: a bad regular expression", "up{a=~\"(\"}"),
        range("promql: no step", &up),
        range("promql: step of zero", &[&up[..], &[("step", "0")]].concat()),
        range(
            "promql: too many points",
            &[("query", "up"), ("start", "0"), ("end", "99999999"), ("step", "1")],
        ),
        range(
            "promql: the end before the start",
            &[("query", "up"), ("start", "9"), ("end", "1"), ("step", "1")],
        ),
        range(
            "promql: a time in words",
            &[("query", "up"), ("start", "now"), ("end", "1"), ("step", "1")],
        ),
        case(
            "promql: series without a matcher",
            Request::get("/api/v1/series"),
            Dialect::Prometheus,
        ),
        case(
            "promql: a negative limit",
            Request::get("/api/v1/labels?limit=-1"),
            Dialect::Prometheus,
        ),
    ]
}

fn sql() -> Vec<Case> {
    let ask = |name, text: &str, says| {
        let request = Request::post("/api/v1/sql", text).header("Content-Type", "text/plain");
        Case { says, statuses: &[400, 413, 422], ..case(name, request, Dialect::Json) }
    };
    let json = |name, body: &str| {
        let request = Request::post("/api/v1/sql", body).header("Content-Type", "application/json");
        case(name, request, Dialect::Json)
    };
    vec![
        ask("sql: not SQL", "SELEKT 1", ""),
        ask("sql: empty", "", ""),
        ask("sql: two statements", "SELECT 1; SELECT 2", ""),
        ask("sql: unknown table", "SELECT * FROM secrets", "secrets"),
        ask("sql: unknown column", "SELECT colour FROM logs", "colour"),
        ask("sql: a file as a table", "SELECT * FROM '/etc/passwd'", ""),
        ask("sql: write a file", "COPY (SELECT 1) TO '/tmp/commonwatch-was-here.csv'", ""),
        ask(
            "sql: make a table",
            "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
            "",
        ),
        ask("sql: change a setting", "SET datafusion.execution.batch_size = 1", ""),
        ask("sql: drop", "DROP TABLE logs", ""),
        ask("sql: 5,000 terms", &format!("SELECT {}", vec!["1"; 5_000].join("+")), ""),
        ask("sql: 50,000 parentheses", &format!("SELECT {}", "(".repeat(15_000)), ""),
        json("sql: half a JSON", "{\"query\": "),
        json("sql: no query", "{\"params\": []}"),
    ]
}

fn unknown_paths() -> Vec<Case> {
    let missing = |name, path: &str, dialect| Case {
        statuses: &[404],
        ..case(name, Request::get(path), dialect)
    };
    vec![
        missing("unknown: prometheus", "/api/v1/colours", Dialect::Prometheus),
        missing("unknown: loki", "/loki/api/v1/colours", Dialect::Text),
        missing("unknown: tempo", "/tempo/api/colours", Dialect::Text),
        missing("unknown: alertmanager", "/am/api/v2/colours", Dialect::Json),
        missing("unknown: the other alertmanager", "/alertmanager/api/v2/status", Dialect::Json),
        missing("unknown: admin", "/api/v1/admin/colours", Dialect::Prometheus),
    ]
}
