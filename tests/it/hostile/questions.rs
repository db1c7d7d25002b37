//! PromQL, SQL and parameters that cost, nest, lie or reach for what is not theirs.

use super::case::{Case, Port, Want};
use crate::bad_input::Dialect;
use crate::support::Request;
use crate::support::ask::{escape, form};

const FORM: &str = "application/x-www-form-urlencoded";
const EITHER: Want = Want::Either(Dialect::Prometheus);
const REFUSED: Want = Want::Refused(&[400, 413, 422], Dialect::Prometheus);

pub(super) fn cases() -> Vec<Case> {
    let mut cases = expressions();
    cases.extend(ranges());
    cases.extend(parameters());
    cases.extend(statements());
    cases.extend(sql_bodies());
    cases.extend(paths());
    cases
}

/// Asks by a form, which has room for a long text.
fn promql(name: &str, query: &str, want: Want) -> Case {
    let request =
        Request::post("/api/v1/query", form(&[("query", query)])).header("Content-Type", FORM);
    Case::request(format!("promql: {name}"), Port::Http, request, want)
}

fn expressions() -> Vec<Case> {
    let refused = |name: &str, query: &str| promql(name, query, REFUSED);
    let either = |name: &str, query: &str| promql(name, query, EITHER);
    let chain = |term: &str, operator: &str, n: usize| vec![term; n].join(operator);
    vec![
        refused("1e400 as a range", "up[1e400]"),
        refused("a yottayear", "up[99999999999999999999y]"),
        refused("a yottayear as an offset", "up offset 99999999999999999999y"),
        refused("a range of 0", "up[0s]"),
        refused("a negative range", "up[-5m]"),
        refused("@ infinity", "up @ Inf"),
        refused("@ NaN", "up @ NaN"),
        either("@ the end of time", "up @ 9223372036854775807"),
        either("@ before time", "up @ -9223372036854775808"),
        refused("@ 1e400", "up @ 1e400"),
        either("an offset of 290 years", "up offset 290y"),
        either("numbers past a float", "1e309 + -1e309"),
        either("a number of 1,000 digits", &"9".repeat(1_000)),
        refused("a number of 20,000 digits", &"9".repeat(20_000)),
        refused("2,000 terms", &chain("1", "+", 2_000)),
        refused("8,000 terms", &chain("1", "+", 8_000)),
        refused("100,000 terms", &chain("1", "+", 100_000)),
        either("50 terms of selectors", &chain("up", " or ", 50)),
        refused("65 parentheses", &format!("{}1{}", "(".repeat(65), ")".repeat(65))),
        refused("50,000 parentheses", &"(".repeat(50_000)),
        refused("50,000 signs", &format!("{}1", "-".repeat(50_000))),
        refused("500 functions", &format!("{}up{}", "abs(".repeat(500), ")".repeat(500))),
        refused("powers", &chain("2", "^", 3_000)),
        refused("500 sub-queries", &format!("up{}", "[5m:1s]".repeat(500))),
        either("a sub-query of a billion steps", "max_over_time(up[30y:1ms])"),
        refused(
            "nested sub-queries",
            "max_over_time(max_over_time(max_over_time(up[1y:1s])[1y:1s])[1y:1s])",
        ),
        either("everything", "{__name__=~\".+\"}"),
        refused("everything and nothing", "{__name__=~\".*\"}"),
        either(
            "everything by everything",
            "count by (__name__) ({__name__=~\".+\"}) * on() group_right {__name__=~\".+\"}",
        ),
        either("a large regular expression", "up{a=~\"(a{1000}){1000}\"}"),
        either("a slow regular expression", "up{a=~\"(a+)+$\"}"),
        refused("a long regular expression", &format!("up{{a=~\"{}\"}}", "a|".repeat(40_000))),
        refused("an unknown escape", "up{a=\"\\q\"}"),
        either("NUL", "up{a=\"\\x00\"}"),
        refused("a bare NUL", "up\0"),
        either("a name of UTF-8", "{\"\u{2603}\"}"),
        refused("a text that does not end", "up{a=\"b"),
        refused("comments only", &"# x\n".repeat(1_000)),
        either(
            "label_replace amplifies",
            "label_replace(vector(1), \"a\", \"$1$1$1$1$1$1$1$1\", \"\", \"(.*)\")",
        ),
        refused("label_replace to no label", "label_replace(up, \"a b\\xff\", \"\", \"c\", \"(\")"),
        either("a quantile of NaN", "quantile(NaN, up)"),
        either("topk of 1e18", "topk(1e18, up)"),
        either("topk below 0", "topk(-9223372036854775808, up)"),
        either("count_values", "count_values(\"a\", {__name__=~\".+\"})"),
        either("round to 0", "round(up, 0)"),
        either("a month of NaN", "month(vector(NaN))"),
        either("a day past all years", "days_in_month(vector(1e300))"),
        either("holt-winters", "double_exponential_smoothing(up[5m], 2, -1)"),
        either("predict past the end", "predict_linear(up[5m], 1e300)"),
        refused("half a sequence of UTF-8", "up{a=\"\u{fffd}"),
        refused("two expressions", "up up"),
        refused("a template", "{{ .Labels }}"),
    ]
}

fn ranges() -> Vec<Case> {
    let range = |name: &str, start: &str, end: &str, step: &str, want| {
        let parameters = [("query", "up"), ("start", start), ("end", end), ("step", step)];
        let request = Request::get(format!("/api/v1/query_range?{}", form(&parameters)));
        Case::request(format!("query_range: {name}"), Port::Http, request, want)
    };
    let refused = |name: &str, start, end, step| range(name, start, end, step, REFUSED);
    vec![
        refused("a step of 0", "0", "10", "0"),
        refused("a step below 0", "0", "10", "-1"),
        refused("a step of NaN", "0", "10", "NaN"),
        refused("a step of infinity", "0", "10", "Inf"),
        refused("a step of 1e-30", "0", "10", "1e-30"),
        refused("a step of 1e300", "0", "10", "1e300"),
        range("a step of 100 years", "0", "10", "100y", EITHER),
        refused("11,001 points", "0", "11001", "1"),
        refused("all of time", "-9223372036854775808", "9223372036854775807", "1"),
        refused("times past a float", "-1e400", "1e400", "1"),
        refused("times of NaN", "NaN", "NaN", "1"),
        refused("the end before the start", "10", "0", "1"),
        refused("times in words", "yesterday", "now", "1"),
        range("years before zero", "-62135596801", "-62135596800", "1", EITHER),
        refused("a date of 1,000,000", "1000000-01-01T00:00:00Z", "2", "1"),
        refused("the 30th of February", "2026-02-30T00:00:00Z", "2026-03-01T00:00:00Z", "1"),
    ]
}

fn parameters() -> Vec<Case> {
    let get = |path: &str, want| {
        let name: String = path.chars().take(60).collect();
        Case::request(format!("api: GET {name}"), Port::Http, Request::get(path), want)
    };
    let any = || Want::Answered;
    let matches = |n: usize| "match[]=up&".repeat(n);
    let bad_code =
        Request::post("/api/v1/query", "query=%ff%fe&query=%").header("Content-Type", FORM);
    let large = Request::post("/api/v1/query", format!("query={}", "x".repeat(2 << 20)))
        .header("Content-Type", FORM);
    let many = Request::post("/api/v1/query", "a=1&".repeat(200_000)).header("Content-Type", FORM);
    let post = |name: &str, request: Request| {
        Case::request(format!("api: {name}"), Port::Http, request, REFUSED)
    };
    vec![
        get("/api/v1/series", REFUSED),
        get("/api/v1/series?match[]=", REFUSED),
        get("/api/v1/series?match[]=up%5B5m%5D", REFUSED),
        get("/api/v1/series?match[]=%7B%7D", REFUSED),
        get(&format!("/api/v1/series?{}", matches(5_000)), EITHER),
        get("/api/v1/labels?limit=-1", REFUSED),
        get("/api/v1/labels?limit=99999999999999999999", REFUSED),
        get("/api/v1/labels?start=nan&end=inf", REFUSED),
        get("/api/v1/label/%00/values", EITHER),
        get("/api/v1/label/..%2f..%2fetc/values", EITHER),
        get(&format!("/api/v1/label/{}/values", "x".repeat(20_000)), EITHER),
        get("/api/v1/metadata?limit=1e9", EITHER),
        get("/api/v1/rules?type=colour", EITHER),
        get("/api/v1/query?query=up&timeout=-1", EITHER),
        get("/api/v1/query?query=up&timeout=1e400", EITHER),
        get("/api/v1/query?query=up&timeout=9999999999y", EITHER),
        get("/api/v1/query?query=up&lookback_delta=-5m", EITHER),
        get("/api/v1/query?query=up&stats=all&stats=none", EITHER),
        get("/api/v1/query_exemplars?query=up&start=0&end=1", any()),
        get("/api/v1/format_query?query=((((", any()),
        get("/api/v1/status/config", any()),
        get("/api/v1/status/tsdb?limit=-5", any()),
        get("/api/v1/targets?state=%ff", any()),
        get("/api/v1/query?query=up&time=1e308", EITHER),
        post("a form that is not UTF-8", bad_code),
        post("a form of 2 MiB", large),
        post("a form of 200,000 parameters", many),
        post(
            "a form of another type",
            Request::post("/api/v1/query", "{}").header("Content-Type", "multipart/form-data"),
        ),
    ]
}

fn sql(name: &str, statement: &str, want: Want) -> Case {
    let request = Request::post("/api/v1/sql", statement).header("Content-Type", "text/plain");
    Case::request(format!("sql: {name}"), Port::Http, request, want)
}

fn statements() -> Vec<Case> {
    let refused = |name: &str, statement: &str| sql(name, statement, REFUSED);
    // A bounded answer, or a refusal that names a limit; time is a limit too.
    let either = |name: &str, statement: &str| sql(name, statement, EITHER);
    let terms = |n: usize, operator: &str| format!("SELECT {}", vec!["1"; n].join(operator));
    vec![
        refused("2,000 terms", &terms(2_000, "+")),
        refused("20,000 alternatives", &format!("{} = 1", terms(20_000, " OR 1="))),
        refused("20,000 unions", &vec!["SELECT 1"; 6_000].join(" UNION ALL ")),
        refused("20,000 parentheses", &format!("SELECT {}", "(".repeat(20_000))),
        refused("5,000 CASEs", &format!("SELECT {}1", "CASE WHEN ".repeat(5_000))),
        refused("NOT NOT NOT", &format!("SELECT {}true", "NOT ".repeat(10_000))),
        refused("30,000 minus signs", &format!("SELECT {}1", "- ".repeat(30_000))),
        either("30,000 columns", &format!("SELECT {}", vec!["1"; 20_000].join(","))),
        either(
            "a list of 10,000",
            &format!("SELECT * FROM logs WHERE body IN ({})", vec!["'x'"; 10_000].join(",")),
        ),
        either(
            "20 joins",
            &format!(
                "SELECT 1 FROM {}",
                (0..20).map(|n| format!("logs l{n}")).collect::<Vec<_>>().join(",")
            ),
        ),
        refused(
            "a sub-select in a sub-select, 500 times",
            &format!("{}1{}", "SELECT (".repeat(500), ")".repeat(500)),
        ),
        refused("repeat", "SELECT repeat('a', 2147483648)"),
        refused("repeat of repeat", "SELECT repeat(repeat('a', 1000000), 1000000)"),
        refused("lpad", "SELECT lpad('a', 2147483647, 'b')"),
        refused("array_repeat", "SELECT array_repeat(1, 500000000)"),
        refused("generate_series", "SELECT * FROM generate_series(1, 1000000000000)"),
        refused("range", "SELECT count(*) FROM range(1, 1000000000000)"),
        either(
            "a recursive query",
            "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
        ),
        refused("a file as a table", "SELECT * FROM '/etc/passwd'"),
        refused("a file by a function", "SELECT * FROM read_csv('/etc/passwd')"),
        refused("Parquet's insides", "SELECT * FROM parquet_metadata('/etc/passwd')"),
        refused("COPY", "COPY (SELECT 1) TO '/tmp/commonwatch-was-here.csv'"),
        refused(
            "EXPLAIN ANALYZE COPY",
            "EXPLAIN ANALYZE COPY (SELECT 1) TO '/tmp/commonwatch-was-here.csv'",
        ),
        refused("CREATE TABLE", "CREATE TABLE t AS SELECT 1"),
        refused("CREATE VIEW", "CREATE VIEW v AS SELECT 1"),
        refused("CREATE FUNCTION", "CREATE FUNCTION f() RETURNS INT RETURN 1"),
        refused(
            "CREATE EXTERNAL TABLE",
            "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
        ),
        refused("INSERT", "INSERT INTO logs SELECT * FROM logs"),
        refused("DELETE", "DELETE FROM logs"),
        refused("DROP", "DROP TABLE logs"),
        refused("SET", "SET datafusion.execution.batch_size = 1"),
        refused("PREPARE", "PREPARE p AS SELECT 1"),
        refused("SHOW", "SHOW TABLES"),
        refused("information_schema", "SELECT * FROM information_schema.df_settings"),
        refused("two statements", "SELECT 1; DROP TABLE logs"),
        refused("a table that is not there", "SELECT * FROM secrets"),
        refused("another catalog", "SELECT * FROM datafusion.public.secrets"),
        refused("half a statement", "SELECT * FROM"),
        refused("a text that does not end", "SELECT 'abc"),
        refused("NUL", "SELECT 1\0"),
        refused("only a comment", "-- x"),
        either("a division by 0", "SELECT 1/0"),
        either("an overflow", "SELECT 9223372036854775807 + 1"),
        either("a cast that fails", "SELECT CAST('x' AS INT)"),
        either(
            "a regular expression that explodes",
            "SELECT regexp_like('aaaa', '(a{1000}){1000}')",
        ),
        either("regexp_replace that grows", "SELECT regexp_replace(body, '', body, 'g') FROM logs"),
        either("a number of 5,000 digits", &format!("SELECT {}", "9".repeat(5_000))),
        either("a name of 60,000 bytes", &format!("SELECT 1 AS \"{}\"", "x".repeat(60_000))),
        refused("70 KiB", &format!("SELECT '{}'", "x".repeat(70 << 10))),
        refused("900 KiB", &format!("SELECT '{}'", "x".repeat(900 << 10))),
        either("a time past all times", "SELECT TIMESTAMP '999999-12-31T00:00:00'"),
        either("LIMIT below 0", "SELECT 1 LIMIT -1"),
        either("LIMIT 2^63", "SELECT 1 LIMIT 9223372036854775808"),
        either("OFFSET 2^62", "SELECT * FROM logs OFFSET 4611686018427387904"),
    ]
}

fn sql_bodies() -> Vec<Case> {
    let post = |name: &str, content_type: &str, body: &[u8]| {
        let request = Request::post("/api/v1/sql", body).header("Content-Type", content_type);
        Case::request(format!("sql body: {name}"), Port::Http, request, REFUSED)
    };
    let json = |name: &str, body: &str| post(name, "application/json", body.as_bytes());
    vec![
        post("not UTF-8", "text/plain", b"SELECT '\xff'"),
        post("2 MiB", "text/plain", &vec![b'x'; 2 << 20]),
        json("half", "{\"query\": \"SELECT 1"),
        json("an unknown key", "{\"query\": \"SELECT 1\", \"file\": \"/etc/passwd\"}"),
        json("no query", "{}"),
        json("a query that is a list", "{\"query\": [\"SELECT 1\"]}"),
        json("the query twice", "{\"query\": \"SELECT 1\", \"query\": \"SELECT 2\"}"),
        json("a parameter that is missing", "{\"query\": \"SELECT $1\"}"),
        json("a parameter of another shape", "{\"query\": \"SELECT $1\", \"params\": [{}]}"),
        json("parameters that are no list", "{\"query\": \"SELECT $1\", \"params\": 5}"),
    ]
}

fn paths() -> Vec<Case> {
    let get = |path: &str| {
        let dialect = if path.starts_with("/loki/") { Dialect::Text } else { Dialect::Json };
        let want = Want::Refused(&[404, 405], dialect);
        Case::request(format!("path: {path}"), Port::Http, Request::get(path), want)
    };
    [
        "/.env",
        "/.git/config",
        "/admin",
        "/debug/pprof/",
        "/actuator/env",
        "/cgi-bin/luci",
        "/api/v1/admin/tsdb/delete_series",
        "/api/v1/write/",
        "/loki/api/v1/nothing?query=x",
        "/wp-login.php",
        "/server-status",
        "/api/v1/sql/../../metrics",
    ]
    .iter()
    .map(|path| get(path))
    .chain([get(&format!("/{}", escape("\u{2603}/../x")))])
    .collect()
}
