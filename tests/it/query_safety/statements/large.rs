//! Statements that fill memory, or never end.

use super::*;

/// What makes memory out of nothing.
pub(super) fn large() -> Vec<Case> {
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
pub(super) fn long() -> Vec<Case> {
    let twelve = nested(12, "concat(v, v, v, v)", "'abcdefgh'");
    vec![
        case("a cross join", super::super::ENDLESS, Ended),
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

/// Nests an expression over a column `v` in named sub-selects.
fn nested(n: usize, expression: &str, first: &str) -> String {
    let mut text = format!("SELECT {first} AS v");
    for level in 0..n {
        text = format!("SELECT {expression} AS v FROM ({text}) AS t{level}");
    }
    text
}
