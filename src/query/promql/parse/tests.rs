//! Errors with their places, printing, and the tree as JSON.

use serde_json::{Value, json};

use super::super::limits::ParseLimits;
use super::{expr_to_json, features, format_expr, parse};

#[track_caller]
fn check_error(text: &str, want: &str) {
    match parse(text, &ParseLimits::experimental()) {
        Err(error) => assert_eq!(error.to_string(), want, "{text}"),
        Ok(expr) => panic!("{text} was read as {expr}"),
    }
}

#[track_caller]
fn check_print(text: &str, want: &str) {
    let limits = ParseLimits::experimental();
    let printed = parse(text, &limits).unwrap().to_string();
    assert_eq!(printed, want, "{text}");
    assert_eq!(parse(&printed, &limits).unwrap().to_string(), want, "{text}, printed twice");
}

#[test]
fn errors_say_where() {
    check_error("", "1:1: parse error: no expression found in input");
    check_error("# nothing", "1:1: parse error: no expression found in input");
    check_error("1 +", "1:4: parse error: unexpected end of input");
    check_error("a b", "1:3: parse error: unexpected identifier \"b\"");
    check_error("((1)", "1:5: parse error: unclosed left parenthesis");
    check_error("(1))", "1:4: parse error: unexpected right parenthesis ')'");
    check_error("x[5m)", "1:5: parse error: unexpected right parenthesis ')'");
    check_error("x[5m", "1:5: parse error: unclosed left bracket");
    check_error("x{a=\"b]", "1:5: parse error: unterminated quoted string");
    check_error(
        "x{a}",
        "1:4: parse error: unexpected \"}\" in label matching, expected label matching operator",
    );
    check_error("x{a=1}", "1:5: parse error: unexpected character inside braces: '1'");
    check_error("x{", "1:3: parse error: unexpected end of input inside braces");
    check_error(
        "sum by job (x)",
        "1:8: parse error: unexpected identifier \"job\" in grouping opts, expected \"(\"",
    );
    check_error("sum(x,)", "1:6: parse error: trailing commas not allowed in function call args");
    check_error("a\n+\n  nope(b)", "3:3: parse error: unknown function with name \"nope\"");
    check_error(
        "x offset",
        "1:9: parse error: unexpected end of input in offset, expected number, duration, step(), or range()",
    );
    check_error("x[5parsecs]", "1:3: parse error: bad number or duration syntax: \"5parsecs\"");
    check_error("x[300y]", "1:3: parse error: duration out of range");
    check_error("x[0m]", "1:3: parse error: duration must be greater than 0");
    check_error("x @ y", "1:5: parse error: unexpected identifier \"y\" in @, expected timestamp");
    check_error("a + group_left () b", "1:5: parse error: unexpected <group_left>");
    check_error("x$", "1:2: parse error: unexpected character: '$'");
    check_error("a < / 1", "1:5: parse error: unexpected <op:/>");
    check_error("a >/", "1:5: parse error: unexpected end of input");
    check_error(
        "x[5m >/ 1m]",
        "1:6: parse error: unexpected <op:>/> in subquery or range, expected \":\" or \"]\"",
    );
}

#[test]
fn wrong_types_are_named() {
    check_error(
        "rate(x)",
        "1:6: parse error: expected type range vector in call to function \"rate\", got instant vector",
    );
    check_error(
        "abs(1)",
        "1:5: parse error: expected type instant vector in call to function \"abs\", got scalar",
    );
    check_error(
        "sum(1)",
        "1:5: parse error: expected type instant vector in aggregation expression, got scalar",
    );
    check_error("1 == 2", "1:3: parse error: comparisons between scalars must use BOOL modifier");
    check_error(
        "a + bool b",
        "1:3: parse error: bool modifier can only be used on comparison operators",
    );
    check_error(
        "a </ bool 1",
        "1:3: parse error: bool modifier can only be used on comparison operators",
    );
    check_error(
        "a >/ on (x) 1",
        "1:1: parse error: vector matching only allowed between instant vectors",
    );
    check_error(
        "a and 1",
        "1:1: parse error: set operator \"and\" not allowed in binary scalar expression",
    );
    check_error(
        "a[5m] + 1",
        "1:1: parse error: binary expression must contain only scalar and instant vector types",
    );
    check_error(
        "{}",
        "1:1: parse error: vector selector must contain at least one non-empty matcher",
    );
    check_error(
        "{a=~\".*\"}",
        "1:1: parse error: vector selector must contain at least one non-empty matcher",
    );
    check_error(
        "a{__name__=\"b\"}",
        "1:1: parse error: metric name must not be set twice: \"a\" or \"b\"",
    );
    check_error(
        "rate(x[1m], 1)",
        "1:1: parse error: expected 1 argument(s) in call to \"rate\", got 2",
    );
    check_error(
        "round()",
        "1:1: parse error: expected at least 1 argument(s) in call to \"round\", got 0",
    );
    check_error(
        "round(x, 1, 2)",
        "1:1: parse error: expected at most 2 argument(s) in call to \"round\", got 3",
    );
    check_error(
        "topk(x)",
        "1:1: parse error: wrong number of arguments for aggregate expression provided, expected 2, got 1",
    );
    check_error("1[5m]", "1:2: parse error: ranges only allowed for vector selectors");
    check_error("x[5m][5m]", "1:6: parse error: ranges only allowed for vector selectors");
    check_error(
        "1[5m:1m]",
        "1:1: parse error: subquery is only allowed on instant vector, got scalar instead",
    );
    check_error(
        "-\"a\"",
        "1:1: parse error: unary expression only allowed on expressions of type scalar or instant vector, got \"string\"",
    );
    check_error(
        "info(x, y{a=\"b\"})",
        "1:9: parse error: expected label selectors only, got vector selector instead",
    );
    check_error(
        "a + fill(1) 1",
        "1:1: parse error: filling in missing series only allowed between instant vectors",
    );
    check_error(
        "x offset 1m anchored smoothed",
        "1:1: parse error: anchored and smoothed modifiers cannot be used together",
    );
}

#[test]
fn what_is_experimental_must_be_allowed() {
    for text in [
        "mad_over_time(x[5m])",
        "limitk(1, x)",
        "a + fill(0) b",
        "info(x)",
        "sort_by_label(x, \"a\")",
        "vector(step())",
    ] {
        let error = parse(text, &ParseLimits::default()).unwrap_err().to_string();
        assert!(error.contains("`query.promql_experimental`"), "{text}: {error}");
        assert!(parse(text, &ParseLimits::experimental()).is_ok(), "{text}");
    }
}

#[test]
fn what_was_experimental_once_needs_no_leave() {
    for text in [
        "x[5m + 1m]",
        "x[(2m)]",
        "x offset -(step() * 2)",
        "x[1h:5m / 2]",
        "x[5m] anchored",
        "x[5m] smoothed",
        "x smoothed",
        "first_over_time(x[5m])",
    ] {
        assert!(parse(text, &ParseLimits::default()).is_ok(), "{text}");
    }
}

#[test]
fn what_is_printed_is_what_was_read() {
    check_print("x{b=\"2\",a=\"1\"}", "x{a=\"1\",b=\"2\"}");
    check_print(
        "{\"metric.name\", 'label name'=~`\\d+`}",
        "{\"label name\"=~\"\\\\d+\",__name__=\"metric.name\"}",
    );
    check_print("sum by(a,\"b c\")(x)", "sum by (a, \"b c\") (x)");
    check_print("sum(x)without(a)", "sum without (a) (x)");
    check_print("a+on()group_left(b)c", "a + on () group_left (b) c");
    check_print(
        "a / ignoring (x) fill_left(1) fill_right(2) b",
        "a / ignoring (x) fill_left (1) fill_right (2) b",
    );
    check_print("a>bool fill(-1)b", "a > bool fill (-1) b");
    check_print("x[90m:5m]@start()offset -1w", "x[1h30m:5m] @ start() offset -1w");
    check_print("x[300]", "x[5m]");
    check_print("x[step() * 2 + min_of(1m, range())]", "x[step() * 2 + min_of(1m, range())]");
    check_print(
        "x[max(1m, step())] offset MIN_OF(1m, 5)",
        "x[max_of(1m, step())] offset min_of(1m, 5s)",
    );
    check_print("x[(1m + 2m) * 3]", "x[(1m + 2m) * 3]");
    check_print("x[5m] smoothed @ 10.5 offset 1m", "x[5m] smoothed @ 10.500 offset 1m");
    check_print("x offset -(step() * 2)", "x offset -(step() * 2)");
    check_print("-2^2", "-2 ^ 2");
    check_print("2 ^ 3 ^ 2 * -x % 5", "2 ^ 3 ^ 2 * -x % 5");
    check_print("a or b and c unless d", "a or b and c unless d");
    check_print("a</2>/-b", "a </ 2 >/ -b");
    check_print("a>/on(x)group_left()b", "a >/ on (x) group_left () b");
    check_print("- -x", "--x");
    check_print("Inf + -nan + 1e3 + 0x1F + 1_000 + 5m", "+Inf + NaN + 1000 + 31 + 1000 + 5m");
    check_print("sum", "sum");
    check_print("sum{by=\"on\"} + by", "sum{by=\"on\"} + by");
}

#[test]
fn operators_bind_as_they_should() {
    let shape = |text: &str| {
        let json = expr_to_json(&parse(text, &ParseLimits::experimental()).unwrap());
        (json["op"].clone(), json["lhs"]["op"].clone(), json["rhs"]["op"].clone())
    };

    assert_eq!(shape("a + b * c"), ("+".into(), serde_json::Value::Null, "*".into()));
    assert_eq!(shape("a - b - c"), ("-".into(), "-".into(), serde_json::Value::Null));
    assert_eq!(shape("a ^ b ^ c"), ("^".into(), serde_json::Value::Null, "^".into()));
    assert_eq!(shape("-a * b").1, "-");
    assert_eq!(shape("a == b + c or d").0, "or");
    assert_eq!(shape("a >/ b </ c"), ("</".into(), ">/".into(), serde_json::Value::Null));
    assert_eq!(shape("a < b </ c"), ("</".into(), "<".into(), serde_json::Value::Null));
    assert_eq!(shape("a </ b == c"), ("==".into(), "</".into(), serde_json::Value::Null));
    assert_eq!(shape("a </ b + c"), ("</".into(), serde_json::Value::Null, "+".into()));
    assert_eq!(shape("a </ b and c").0, "and");
    assert_eq!(shape("x offset 1m * 2").0, "*");
    assert_eq!(shape("x offset -2 ^ 2").0, "^");
}

#[test]
fn long_queries_are_broken_at_their_brackets() {
    let long = "sum by (job, instance) (rate(http_requests_total{job=\"api\", code=~\"5..\"}[5m])) \
                / on (job) group_left () sum by (job) (rate(http_requests_total{job=\"api\"}[5m]))";

    let pretty = format_expr(&parse(long, &ParseLimits::default()).unwrap());

    let want = "  sum by (job, instance) (rate(http_requests_total{code=~\"5..\",job=\"api\"}[5m]))\n\
                / on (job) group_left ()\n  sum by (job) (rate(http_requests_total{job=\"api\"}[5m]))";
    assert_eq!(pretty, want);
}

#[test]
fn the_tree_is_prometheus_json() {
    let expr = parse("topk(2, x{a!=\"b\"}[5m:] offset 1m) ", &ParseLimits::default());
    assert!(expr.is_err(), "a range is no instant vector");

    let expr =
        parse("sum by (a) (rate(x{a!=\"b\"}[5m] @ end())) > bool 2", &ParseLimits::default());

    let json = expr_to_json(&expr.unwrap());
    assert_eq!(json["type"], "binaryExpr");
    assert_eq!((&json["bool"], &json["matching"]), (&true.into(), &serde_json::Value::Null));
    let sum = &json["lhs"];
    assert_eq!((&sum["type"], &sum["op"]), (&"aggregation".into(), &"sum".into()));
    assert_eq!(sum["grouping"], serde_json::json!(["a"]));
    let call = &sum["expr"];
    assert_eq!(call["func"]["argTypes"], serde_json::json!(["matrix"]));
    let matrix = &call["args"][0];
    assert_eq!((&matrix["range"], &matrix["startOrEnd"]), (&300_000.into(), &"end".into()));
    assert_eq!(
        matrix["matchers"],
        serde_json::json!([
            { "name": "a", "value": "b", "type": "!=" },
            { "name": "__name__", "value": "x", "type": "=" },
        ])
    );
}

fn node(op: &str, lhs: Option<&Value>, rhs: Option<&Value>, is_wrapped: bool) -> Value {
    json!({ "type": "durationExpr", "op": op, "lhs": lhs, "rhs": rhs, "wrapped": is_wrapped })
}

#[test]
fn durations_that_are_arithmetic_are_in_the_tree() {
    let json = |text: &str| expr_to_json(&parse(text, &ParseLimits::default()).unwrap());
    let number = |val: &str, is_duration: bool| json!({ "type": "numberLiteral", "val": val, "duration": is_duration });
    let step = node("step", None, None, false);

    let plain = json("x[(5m)] offset -(1m)");
    assert_eq!((&plain["range"], &plain["rangeExpr"]), (&300_000.into(), &Value::Null));
    assert_eq!((&plain["offset"], &plain["offsetExpr"]), (&(-60_000).into(), &Value::Null));

    let matrix = json("x[max_of(5m, step())] offset -(step() * 2)");
    let longer = node("max_of", Some(&number("300", true)), Some(&step), false);
    assert_eq!((&matrix["range"], &matrix["rangeExpr"]), (&0.into(), &longer));
    let twice = node("*", Some(&step), Some(&number("2", false)), true);
    assert_eq!(matrix["offsetExpr"], node("-", None, Some(&twice), false));

    let subquery = json("x[1h:range() / 10]");
    assert_eq!(subquery["rangeExpr"], Value::Null);
    assert_eq!((&subquery["stepExpr"]["op"], &subquery["step"]), (&"/".into(), &0.into()));
    assert_eq!(subquery["stepExpr"]["lhs"]["op"], "range");
}

#[test]
fn features_say_which_words_can_be_written() {
    let texts = [
        ("anchored", "rate(x[5m] anchored)"),
        ("smoothed", "rate(x[5m] smoothed)"),
        ("fill", "x + fill (0) x"),
        ("fill_left", "x + fill_left (0) x"),
        ("fill_right", "x + fill_right (0) x"),
        ("duration_expr", "x[5m * 2]"),
        ("bool", "x == bool 1"),
    ];
    let operators = [("</", "x </ 1"), (">/", "x >/ 1"), ("limitk", "limitk(1, x)")];
    for has_experimental in [false, true] {
        let limits = ParseLimits { has_experimental, ..ParseLimits::default() };
        let features = features(has_experimental);
        let words = texts.map(|text| ("promql", text));
        let operators = operators.map(|text| ("promql_operators", text));
        for (part, (word, text)) in words.into_iter().chain(operators) {
            let can_be_written = parse(text, &limits).is_ok();
            assert_eq!(features[part][word], can_be_written, "{word}, {has_experimental}");
        }
    }
}
