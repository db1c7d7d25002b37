//! Every statement that was ever seen to write, to read what it should not, to fill the memory or
//! never to end: refused or ended, while a sender is acknowledged and another question answered.
//!
//! The table is one line a statement: what it is, the text, what must come of it. The server's
//! deadline and its workers' memory are small here, so that an ended statement ends soon.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{metric, send_numbers, sql};
use crate::support::process::rss_bytes;
use crate::support::wait::now_ms;
use crate::support::{Caller, Server, Setup, remote_write};

const CONFIG: &str = "
[tagging]
enabled = false

[query]
memory = \"64MiB\"
worker_memory = \"640MiB\"
result_bytes_max = \"8MiB\"
";

/// What must come of a statement.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Want {
    /// 400 with a reason that has this text.
    Refused(&'static str),
    /// Ended by the deadline, by a limit on memory, or by an error of its own; never answered.
    Ended,
    /// Refused or ended, by whichever of the gates meets it first; never answered.
    Unanswered,
    /// Answered, refused or ended: whichever, it is bounded.
    Bounded,
}
use Want::{Bounded, Ended, Refused, Unanswered};

struct Case {
    name: String,
    text: String,
    want: Want,
}

fn case(name: &str, text: impl Into<String>, want: Want) -> Case {
    Case { name: name.to_owned(), text: text.into(), want }
}

/// What writes, changes or names what is not a table of ours.
fn reaching_out() -> Vec<Case> {
    let only = Refused("only queries are answered");
    vec![
        case("copy", "COPY metrics TO '/tmp/commonwatch-stolen.csv'", only),
        case("explain copy", "EXPLAIN ANALYZE COPY metrics TO '/tmp/commonwatch-stolen.csv'", only),
        case("copy a query", "COPY (SELECT 1) TO '/tmp/commonwatch-stolen.parquet'", only),
        case(
            "external table",
            "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '/etc/passwd'",
            only,
        ),
        case("table", "CREATE TABLE t AS SELECT 1", only),
        case("view", "CREATE VIEW v AS SELECT 1", only),
        case("function", "CREATE FUNCTION f() RETURNS INT RETURN 1", only),
        case("insert", "INSERT INTO metrics SELECT * FROM metrics", only),
        case(
            "with insert",
            "WITH x AS (SELECT 1) INSERT INTO metrics SELECT * FROM x",
            Refused(""),
        ),
        case("update", "UPDATE metrics SET value = 0", only),
        case("delete", "DELETE FROM metrics", only),
        case("drop", "DROP TABLE metrics", only),
        case("truncate", "TRUNCATE TABLE metrics", only),
        case("set", "SET datafusion.catalog.information_schema = true", only),
        case("set memory", "SET datafusion.runtime.memory_limit = '64G'", only),
        case("reset", "RESET datafusion.catalog.information_schema", only),
        case("prepare", "PREPARE p AS SELECT 1", only),
        case("execute", "EXECUTE p", only),
        case("begin", "BEGIN", only),
        case("load", "LOAD 'evil.so'", only),
        case("call", "CALL evil()", only),
        case("grant", "GRANT ALL ON metrics TO everybody", only),
        case("two statements", "SELECT 1; SELECT 2", Refused("single SQL statement")),
        case("a hidden second", "SELECT 1 -- \n; DROP TABLE logs", Refused("single SQL statement")),
        case("a file as a table", "SELECT * FROM '/etc/passwd'", Refused("not found")),
        case("a data file", "SELECT * FROM 'parquet/metrics/x.parquet'", Refused("not found")),
        case("a URL", "SELECT * FROM 'http://127.0.0.1:9/x.csv'", Refused("not found")),
        case("read_csv", "SELECT * FROM read_csv('/etc/passwd')", Refused("")),
        case("read_parquet", "SELECT * FROM read_parquet('/tmp/x')", Refused("")),
        case("show", "SHOW TABLES", only),
        case("show all", "SHOW ALL", only),
        case("describe", "DESCRIBE metrics", only),
        case("information_schema", "SELECT * FROM information_schema.tables", Refused("not found")),
        case("settings", "SELECT * FROM information_schema.df_settings", Refused("not found")),
        case("another catalog", "SELECT * FROM datafusion.public.metrics", Refused("not found")),
        case("pg_catalog", "SELECT * FROM pg_catalog.pg_class", Refused("not found")),
        case("a variable", "SELECT @@version", Refused("")),
        case(
            "input_file_name",
            "SELECT input_file_name() FROM metrics",
            Refused("input_file_name"),
        ),
        case("a lambda", "SELECT array_transform([1], x -> x + 1)", Refused("")),
    ]
}

/// What overflows the stack of the parser, the planner or the optimiser.
fn deep() -> Vec<Case> {
    let nested = |open: &str, n: usize, close: &str| {
        format!("SELECT {}1{}", open.repeat(n), close.repeat(n))
    };
    let chain = |head: &str, piece: &str, n: usize| format!("{head}{}", piece.repeat(n));
    let mut selects = "SELECT 1 AS v".to_owned();
    for level in 0..60 {
        selects = format!("SELECT v FROM ({selects}) AS t{level}");
    }
    let long = format!("SELECT '{}'", "x".repeat(70_000));
    vec![
        case("parentheses", nested("(", 20_000, ")"), Refused("more than the")),
        case("parentheses at the limit", nested("(", 50, ")"), Bounded),
        case("CASE", nested("CASE WHEN true THEN ", 200, " END"), Refused("levels of nesting")),
        case("sub-selects", selects, Refused("")),
        case("calls", nested("abs(", 500, ")"), Refused("levels of nesting")),
        case("lists", nested("[", 500, "]"), Refused("levels of nesting")),
        case("additions", chain("SELECT 1", "+1", 2_000), Refused("operators")),
        case("additions at the limit", chain("SELECT 1", "+1", 499), Bounded),
        case("OR", chain("SELECT 1 WHERE 1 = 1", " OR 1=1", 20_000), Refused("")),
        case("OR at the limit", chain("SELECT 1 WHERE 1 = 1", " OR 1=1", 240), Bounded),
        case("UNION ALL", chain("SELECT 1", " UNION ALL SELECT 1", 20_000), Refused("")),
        case("UNION", chain("SELECT 1", " UNION SELECT 1", 500), Refused("UNION")),
        case("UNION at the limit", chain("SELECT 1", " UNION SELECT 1", 64), Bounded),
        case("negations", chain("SELECT ", "- ", 3_000) + "1", Refused("operators")),
        case("NOT", chain("SELECT ", "NOT ", 3_000) + "true", Refused("operators")),
        case("casts", chain("SELECT 1", "::int", 3_000), Refused("operators")),
        case("subscripts", chain("SELECT labels", "['a']", 3_000) + " FROM metrics", Refused("")),
        case("members", chain("SELECT a", ".a", 3_000) + " FROM metrics", Refused("")),
        case("joins", chain("SELECT 1 FROM logs", " CROSS JOIN logs", 200), Refused("JOIN")),
        case("commas", chain("SELECT 1 FROM logs", ", logs", 200), Refused("")),
        case("a long literal", long, Refused("query.sql_text_max")),
        case(
            "a long IN",
            format!("SELECT 1 WHERE 1 IN ({}1)", "1,".repeat(20_000)),
            Refused("tokens"),
        ),
        case(
            "an IN at the limit",
            format!("SELECT 1 WHERE 1 IN ({}1)", "1,".repeat(5_000)),
            Bounded,
        ),
        case("many columns", format!("SELECT {}1", "1,".repeat(5_000)), Bounded),
        case("VALUES", format!("VALUES {}(1)", "(1),".repeat(2_800)), Bounded),
        case("a WITH of everything twice", doubling_with(), Refused("")),
    ]
}

/// Each name reads the one before it twice.
fn doubling_with() -> String {
    let mut text = "WITH t0 AS (SELECT value FROM metrics)".to_owned();
    for level in 1..30 {
        let below = level - 1;
        text.push_str(&format!(
            ", t{level} AS (SELECT a.value FROM t{below} a JOIN t{below} b ON a.value = b.value)"
        ));
    }
    text + " SELECT count(*) FROM t29"
}

/// Nests an expression over a column `v` in named sub-selects.
fn nested(n: usize, expression: &str, first: &str) -> String {
    let mut text = format!("SELECT {first} AS v");
    for level in 0..n {
        text = format!("SELECT {expression} AS v FROM ({text}) AS t{level}");
    }
    text
}

/// What makes memory out of nothing.
fn large() -> Vec<Case> {
    let from_logs = |n, expression: &str| nested(n, expression, "body") + "%";
    let of_body = |n: usize, expression: &str, outer: &str| {
        let inner =
            from_logs(n, expression).replace("SELECT body AS v", "SELECT body AS v FROM logs");
        format!("SELECT {outer} FROM ({}) AS outermost", inner.trim_end_matches('%'))
    };
    let eight = "concat(v, v, v, v, v, v, v, v)";
    let all = "metrics a, metrics b";
    vec![
        case("repeat", "SELECT repeat('a', 2147483648)", Refused("repeat")),
        case("repeat of repeat", "SELECT repeat(repeat('a', 65536), 65536)", Refused("repeat")),
        case("array_repeat", "SELECT array_repeat(1, 500000000)", Refused("array_repeat")),
        case("array_resize", "SELECT array_resize([1], 500000000, 1)", Refused("array_resize")),
        case("lpad", "SELECT lpad('a', 2147483647, 'b')", Refused("lpad")),
        case("rpad", "SELECT rpad('a', 2147483647, 'b')", Refused("rpad")),
        case(
            "regexp_replace",
            "SELECT regexp_replace(body, '.', body) FROM logs",
            Refused("regexp_replace"),
        ),
        case(
            "string_agg",
            format!("SELECT string_agg(a.labels, b.labels) FROM {all}"),
            Refused("string_agg"),
        ),
        case(
            "generate_series",
            "SELECT * FROM generate_series(1, 1000000000000)",
            Refused("generate_series"),
        ),
        case("range", "SELECT unnest(range(1, 1000000000000))", Refused("range")),
        case(
            "recursion",
            "WITH RECURSIVE t AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
            Refused(""),
        ),
        case("concat, doubled", of_body(9, eight, "length(v)"), Ended),
        case("concat, doubled and returned", of_body(8, eight, "v"), Bounded),
        case(
            "replace, doubled",
            of_body(12, "replace(v, 'a', 'aaaaaaaaaaaaaaaa')", "length(v)"),
            Ended,
        ),
        case(
            "lists, doubled",
            nested(20, "array_concat(v, v, v, v)", "make_array(1, 2, 3)"),
            Ended,
        ),
        case(
            "flattened",
            nested(20, "flatten(make_array(v, v, v, v))", "make_array(1, 2, 3)"),
            Ended,
        ),
        case("structs, doubled", nested(20, "struct(v, v)", "1"), Unanswered),
        case("named structs, doubled", nested(20, "named_struct('a', v, 'b', v)", "1"), Unanswered),
        case("maps, doubled", nested(20, "map(['a', 'b'], [v, v])", "1"), Bounded),
        case(
            "sums, doubled",
            nested(40, "v + v", "value")
                .replace("SELECT value AS v", "SELECT value AS v FROM metrics"),
            Bounded,
        ),
        case("array_agg", format!("SELECT array_agg(a.value) FROM {all}"), Ended),
        case(
            "array_agg of texts",
            format!("SELECT array_agg(a.labels || b.labels) FROM {all}"),
            Ended,
        ),
        case("sort", format!("SELECT a.labels FROM {all} ORDER BY a.value * b.value"), Ended),
        case(
            "distinct",
            format!("SELECT count(*) FROM (SELECT DISTINCT a.labels || b.labels FROM {all}) AS d"),
            Ended,
        ),
        case(
            "groups",
            format!(
                "SELECT count(*) FROM (SELECT a.labels, b.labels, count(*) FROM {all} GROUP BY a.labels, b.labels) AS g"
            ),
            Ended,
        ),
        case("median", format!("SELECT median(a.value * b.value) FROM {all}"), Ended),
        case(
            "a window over everything",
            format!(
                "SELECT sum(a.value) OVER (ORDER BY b.value ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) FROM {all}"
            ),
            Ended,
        ),
        case(
            "a fixed size",
            "SELECT arrow_cast(body, 'FixedSizeBinary(2147483647)') FROM logs",
            Unanswered,
        ),
        case(
            "a wide list",
            "SELECT arrow_cast(make_array(1), 'FixedSizeList(2147483647, Int64)')",
            Bounded,
        ),
        case("rows past the limit", "SELECT * FROM metrics a, logs b", Bounded),
        case(
            "unnest",
            "SELECT unnest([1,2,3]), unnest([4,5,6]) FROM metrics a, metrics b, metrics c",
            Bounded,
        ),
        case("nested aggregates", nested(40, "array_agg(v)", "1"), Bounded),
    ]
}

/// What takes for ever.
fn long() -> Vec<Case> {
    let twelve = nested(12, "concat(v, v, v, v)", "'abcdefgh'");
    vec![
        case("a cross join", super::ENDLESS, Ended),
        case(
            "a three-way cross join",
            "SELECT count(*) FROM metrics a, metrics b, metrics c WHERE a.value * b.value * c.value < -1",
            Ended,
        ),
        case(
            "an inequality join",
            "SELECT count(*) FROM metrics a JOIN metrics b ON a.value <> b.value JOIN metrics c ON b.value <> c.value",
            Ended,
        ),
        case(
            "a lateral join",
            "SELECT count(*) FROM metrics a, LATERAL (SELECT count(*) AS n FROM metrics b WHERE b.value <> a.value) AS l",
            Bounded,
        ),
        case(
            "a correlated sub-select",
            "SELECT count(*) FROM metrics a WHERE a.value < (SELECT sum(b.value) FROM metrics b WHERE b.value <> a.value)",
            Bounded,
        ),
        case(
            "random",
            "SELECT count(*) FROM metrics a, metrics b, metrics c WHERE random() * a.value * b.value * c.value < -1",
            Ended,
        ),
        case("uuid", "SELECT count(DISTINCT uuid()) FROM metrics a, metrics b", Ended),
        case(
            "levenshtein",
            format!("SELECT levenshtein(v, reverse(v)) FROM ({twelve}) AS big"),
            Ended,
        ),
        case(
            "frames",
            "SELECT sum(value) OVER (ORDER BY timestamp ROWS BETWEEN 99999 PRECEDING AND 99999 FOLLOWING) FROM metrics",
            Bounded,
        ),
        case(
            "frames over distinct",
            "SELECT count(DISTINCT labels) OVER (ORDER BY timestamp ROWS 50000 PRECEDING) FROM metrics",
            Bounded,
        ),
        case(
            "factorial",
            "SELECT sum(factorial(20)) FROM metrics a, metrics b, metrics c",
            Bounded,
        ),
    ]
}

/// What panics, divides by nothing or runs past the end of a number.
fn odd() -> Vec<Case> {
    let min = "-9223372036854775808";
    let max = "9223372036854775807";
    let of_logs = |what: &str| format!("SELECT {what} FROM logs");
    let mut cases: Vec<Case> = [
        "1 / (severity_number - severity_number)",
        "severity_number % 0",
        "CAST(body AS INT)",
        "CAST('99999999999999999999' AS BIGINT)",
        "CAST(1e308 AS DECIMAL(38, 37))",
        "CAST('1' AS DECIMAL(99, 98))",
        "arrow_cast(1, 'no such type')",
        "arrow_cast(body, 'Dictionary(Int8, Utf8)')",
        "timestamp + INTERVAL '999999999 years'",
        "timestamp - INTERVAL '999999999 months'",
        "INTERVAL '9223372036854775807 days' * 2",
        "CAST('+292278994-08-17T07:12:55.807Z' AS TIMESTAMP)",
        "to_timestamp_seconds(9223372036854775807)",
        "to_timestamp(9e307)",
        "date_bin(INTERVAL '0 seconds', timestamp)",
        "date_bin(INTERVAL '-1 day', timestamp, timestamp)",
        "date_trunc('millennium', timestamp)",
        "make_date(2147483647, 1, 1)",
        "make_date(1, 0, -1)",
        "chr(0)",
        "chr(-1)",
        "chr(1114112)",
        "to_char(timestamp, '%Q%%%')",
        "to_char(timestamp, body)",
        "regexp_like(body, '(a{1000}){1000}')",
        "regexp_like(body, '(')",
        "regexp_match(body, '(a*)*b')",
        "regexp_count(body, '(x+x+)+y')",
        "body SIMILAR TO '%(a|b|c)*%'",
        "body LIKE '%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%a%b'",
        "body LIKE '\\'",
        "body ILIKE '%_%_%_%_%_%'",
        "split_part(body, '', 0)",
        "split_part(body, 'a', -2147483648)",
        "encode(body, 'base65')",
        "decode(body, 'hex')",
        "labels['a']['b']",
        "attributes[0]",
        "attributes[9223372036854775807]",
        "attributes[NULL]",
        "json_get(attributes, -1)",
        "greatest()",
        "coalesce()",
        "make_array()[1]",
        "ascii('')",
        "log(0, 0)",
        "power(10, 400)",
        "gcd(-9223372036854775808, -9223372036854775808)",
        "lcm(9223372036854775807, 9223372036854775806)",
        "factorial(1000)",
        "round(1e308, 400)",
        "abs(-9223372036854775808)",
        "\"body\u{0}\"",
        "\"’; DROP TABLE logs; --\"",
        "$$ $$ || $x$ $x$",
        "U&'\\0000'",
        "E'\\x00'",
        "x'zz'",
        "$1",
        "$0",
        "$99999999999999999999",
        "?",
    ]
    .map(|what| case(what, of_logs(what), Bounded))
    .into();
    for text in [
        format!(
            "SELECT left(body, {min}), right(body, {min}), substr(body, {min}, {max}) FROM logs"
        ),
        format!("SELECT array_slice([1,2,3], {min}, {max}), array_element([1,2], {min})"),
        format!("SELECT array_slice([1,2,3], 1, 3, {min})"),
        format!("SELECT lag(value, {min}) OVER (ORDER BY timestamp) FROM metrics"),
        format!("SELECT lead(value, {max}) OVER (ORDER BY timestamp) FROM metrics"),
        "SELECT ntile(0) OVER () FROM metrics".to_owned(),
        format!("SELECT ntile({max}) OVER () FROM logs"),
        "SELECT nth_value(value, -1) OVER () FROM metrics".to_owned(),
        format!(
            "SELECT sum(value) OVER (ROWS BETWEEN {max} FOLLOWING AND {max} FOLLOWING) FROM metrics"
        ),
        format!("SELECT value FROM metrics LIMIT {max} OFFSET {max}"),
        "SELECT value FROM metrics LIMIT -1".to_owned(),
        "SELECT value FROM metrics LIMIT (SELECT 1)".to_owned(),
        "SELECT percentile_cont(2.0) WITHIN GROUP (ORDER BY value) FROM metrics".to_owned(),
        "SELECT approx_percentile_cont(0.5, 0) WITHIN GROUP (ORDER BY value) FROM metrics"
            .to_owned(),
        "SELECT approx_percentile_cont(0.5, 2147483647) WITHIN GROUP (ORDER BY value) FROM metrics"
            .to_owned(),
        "SELECT count(*) FROM metrics GROUP BY GROUPING SETS ((), (), ())".to_owned(),
        format!(
            "SELECT count(*) FROM metrics GROUP BY CUBE ({})",
            [
                "value",
                "labels",
                "metric",
                "kind",
                "unit",
                "service",
                "env",
                "cluster",
                "commons",
                "timestamp"
            ]
            .join(", ")
        ),
        "SELECT * FROM metrics NATURAL JOIN logs NATURAL JOIN spans".to_owned(),
        "SELECT * EXCEPT (value) FROM metrics PIVOT (sum(value) FOR metric IN ('n'))".to_owned(),
        "SELECT * FROM metrics TABLESAMPLE BERNOULLI (50)".to_owned(),
        "SELECT * FROM metrics FOR UPDATE".to_owned(),
        "SELECT * INTO t FROM metrics".to_owned(),
        "SELECT value FROM metrics MATCH_RECOGNIZE (PATTERN (a) DEFINE a AS true)".to_owned(),
        "TABLE metrics".to_owned(),
        "VALUES".to_owned(),
        "SELECT".to_owned(),
        ";".to_owned(),
        "\u{feff}SELECT 1".to_owned(),
        "SELECT 1 /* never closed".to_owned(),
        format!("SELECT 1 {}", "/*".repeat(20_000)),
        format!("SELECT \"{}\" FROM logs", "n".repeat(60_000)),
        format!("SELECT '{}'", "\\u0041".repeat(9_000)),
        format!("SELECT {}", "9".repeat(60_000)),
        format!("SELECT 1e{}", "9".repeat(60_000)),
        format!("SELECT 1 AS \"{}\"", "\u{202e}\u{0}\u{1b}[2J".repeat(100)),
        "EXPLAIN ANALYZE SELECT count(*) FROM metrics".to_owned(),
        "EXPLAIN VERBOSE SELECT * FROM metrics a JOIN logs b ON a.commons = b.commons".to_owned(),
        "EXPLAIN EXPLAIN SELECT 1".to_owned(),
    ] {
        let name: String = text.chars().take(60).collect();
        cases.push(case(&name, text, Bounded));
    }
    cases
}

/// The server while it is asked bad things.
struct Watched {
    server: Server,
    caller: Caller,
    n_sent: AtomicU32,
    start_ms: i64,
    rss_before: u64,
    wrong: Mutex<Vec<String>>,
}

/// How much larger the server may be after a statement than before all of them: what allocators
/// keep, and one answer of the largest size in its several forms.
const GROWTH_BYTES_MAX: u64 = 192 << 20;

impl Watched {
    fn start(story: &'static str, timeout: &str) -> Self {
        let config = format!("{CONFIG}timeout = \"{timeout}\"\n");
        let server = Setup::new(story).config(&config).start();
        let caller = server.caller();
        send_numbers(&caller, 1_000, 100);
        let lines = vec![crate::support::loki::entry(now_ms() * 1_000_000, &"abc ".repeat(1_000))];
        let pushed = caller.send(crate::support::loki::push("{app=\"a\"}", lines));
        assert!((200..300).contains(&pushed.status), "{}", pushed.text());
        let rss_before = rss_bytes(server.pid());
        let start_ms = now_ms() - 3_600_000;
        let (n_sent, wrong) = (AtomicU32::new(0), Mutex::default());
        Self { server, caller, n_sent, start_ms, rss_before, wrong }
    }

    /// Asks one statement; while it runs, someone else writes and asks.
    fn ask(&self, case: &Case) {
        let answer = std::thread::scope(|scope| {
            let asked = scope.spawn(|| self.caller.send(sql(&case.text)));
            self.others_are_served(&case.name);
            asked.join().unwrap()
        });
        let text = answer.text();
        let fits = match case.want {
            Refused(reason) => answer.status == 400 && text.contains(reason),
            Ended => matches!(answer.status, 422 | 503),
            Unanswered => matches!(answer.status, 400 | 422 | 503),
            Bounded => matches!(answer.status, 200 | 400 | 422 | 503),
        };
        let shown: String = text.chars().take(160).collect();
        if !fits {
            self.fault(&case.name, format!("{:?}, got {} {shown}", case.want, answer.status));
        }
        if answer.status != 200 && serde_json::from_str::<serde_json::Value>(&text).is_err() {
            self.fault(&case.name, format!("the refusal is not JSON: {shown}"));
        }
        let grown = rss_bytes(self.server.pid()).saturating_sub(self.rss_before);
        if grown > GROWTH_BYTES_MAX {
            self.fault(&case.name, format!("the server has grown by {} MiB", grown >> 20));
        }
    }

    fn fault(&self, name: &str, what: String) {
        self.wrong.lock().unwrap().push(format!("{name}: {what}"));
    }

    fn others_are_served(&self, name: &str) {
        let number = self.n_sent.fetch_add(1, Ordering::Relaxed);
        let at_ms = self.start_ms + i64::from(number) * 1_000;
        let series = remote_write::series(&[("__name__", "honest")], &[(at_ms, f64::from(number))]);
        let written = self.caller.send(remote_write::write(vec![series]));
        if !(200..300).contains(&written.status) {
            self.fault(name, format!("an honest sender got {}", written.status));
        }
        let found = self.caller.promql("honest", at_ms);
        if found.len() != 1 {
            self.fault(name, format!("an honest reader got {found:?}"));
        }
    }

    #[track_caller]
    fn ask_all(&self, cases: &[Case]) {
        let pid = self.server.pid();
        let next = AtomicU32::new(0);
        std::thread::scope(|scope| {
            // As many at a time as there are processes for SQL.
            for _ in 0..2 {
                scope.spawn(|| {
                    while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed) as usize)
                    {
                        self.ask(case);
                    }
                });
            }
        });

        let wrong = self.wrong.lock().unwrap();
        assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
        assert!(crate::support::process::is_alive(pid), "the server is the one that was started");
        let n_honest = self.n_sent.load(Ordering::Relaxed);
        let kept = self.caller.sql("SELECT count(*) AS n FROM metrics WHERE metric = 'honest'");
        assert_eq!(kept[0]["n"].as_u64(), Some(u64::from(n_honest)));
        assert_eq!(metric(&self.caller, "commonwatch_query_running", &[]), 0.0);
        assert_eq!(metric(&self.caller, "commonwatch_query_workers_busy", &[]), 0.0);
    }
}

#[test]
fn what_reaches_out_or_overflows_is_refused() {
    let watched = Watched::start("sql-refused", "10s");

    watched.ask_all(&[reaching_out(), deep()].concat_all());

    for file in ["/tmp/commonwatch-stolen.csv", "/tmp/commonwatch-stolen.parquet"] {
        assert!(!std::path::Path::new(file).exists(), "{file} was written");
    }
}

#[test]
fn what_fills_memory_or_never_ends_is_ended() {
    let watched = Watched::start("sql-ended", "2s");

    watched.ask_all(&[large(), long()].concat_all());

    let restarts = |reason| {
        metric(&watched.caller, "commonwatch_query_worker_restarts_total", &[("reason", reason)])
    };
    assert!(restarts("deadline") >= 3.0, "the deadline ended {}", restarts("deadline"));
    assert!(restarts("memory") >= 1.0, "the kernel refused {} memory", restarts("memory"));
}

#[test]
fn odd_values_are_refused_or_answered() {
    let watched = Watched::start("sql-odd", "4s");

    watched.ask_all(&odd());
}

trait ConcatAll {
    fn concat_all(self) -> Vec<Case>;
}

impl<const N: usize> ConcatAll for [Vec<Case>; N] {
    fn concat_all(self) -> Vec<Case> {
        self.into_iter().flatten().collect()
    }
}
