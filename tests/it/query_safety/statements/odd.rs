//! Statements with odd values, names and shapes: refused or answered, and bounded.

use super::*;

/// What panics, divides by nothing or runs past the end of a number.
pub(super) fn odd() -> Vec<Case> {
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
