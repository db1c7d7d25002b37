//! Statements that reach out of the tables, or overflow the stack of who reads them.

use super::*;

/// What writes, changes or names what is not a table of ours.
pub(super) fn reaching_out() -> Vec<Case> {
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
pub(super) fn deep() -> Vec<Case> {
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
