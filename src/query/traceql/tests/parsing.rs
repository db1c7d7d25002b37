//! What is read, written again and refused.

use super::super::fuzzing::check_text;
use super::*;

#[track_caller]
fn check(text: &str, printed: &str) {
    assert_eq!(parse(text, &Limits::default()).unwrap().to_string(), printed);
    check_text(text);
}

#[track_caller]
fn check_refused(text: &str, message: &str) {
    let error = parse(text, &Limits::default()).unwrap_err().to_string();
    assert_eq!(error, format!("invalid TraceQL query: {message}"));
}

#[test]
fn operators_bind_as_in_tempo() {
    check("{ .a || .b && .c }", "{ ((.a || .b) && .c) }");
    check("{ .a = 1 + 2 * 3 ^ 2 }", "{ (.a = (1 + (2 * (3 ^ 2)))) }");
    check("{ !.a && .b }", "{ (!(.a) && .b) }");
    check("{ -.a > 2 }", "{ (-(.a) > 2) }");
    check("{ .a = -1 }", "{ (.a = -1) }");
    check("{ -.a ^ 2 = -4 }", "{ (-((.a ^ 2)) = -4) }");
    check("{ (-.a) ^ 2 = (-2) ^ 2 }", "{ (((-(.a)) ^ 2) = ((-2) ^ 2)) }");
    check("{ .a * -2 ^ 2 - 1 < 3 }", "{ (((.a * -((2 ^ 2))) - 1) < 3) }");
    check("{} && {} || {}", "(({ } && { }) || { })");
    check("{.a} > {.b} && {.c}", "(({ .a } > { .b }) && { .c })");
    check("{.a} >> {.b} > {.c}", "(({ .a } >> { .b }) > { .c })");
}

#[test]
fn arithmetic_between_metrics_is_written_with_all_its_parentheses() {
    check(
        "({.a} | rate()) + ({.b} | rate()) / ({.c} | rate()) with(exemplars=3)",
        "(({ .a } | rate()) + (({ .b } | rate()) / ({ .c } | rate()))) with(exemplars=3)",
    );
    check(
        "(({.a} | rate() by(name)) - ({.b} | rate()) | topk(2)) * ({} | rate() > 1) | bottomk(1) > 2ms",
        "((({ .a } | rate() by(name)) - ({ .b } | rate()) | topk(2)) * ({ } | rate() > 1.0) | bottomk(1) > 0.002)",
    );
    check("((({} | rate())))", "{ } | rate()");
    check("(({} | rate()) | topk(3)) > 1", "{ } | rate() | topk(3) > 1.0");
    let sum = vec!["({} | rate())"; 1_000].join(" + ");
    let error = parse(&sum, &Limits::default()).unwrap_err();
    assert!(error.limit().unwrap().contains("query.traceql_depth_max"), "{error}");
}

#[test]
fn the_ends_of_whole_numbers_have_names() {
    check("{ .a > minInt && .a < maxInt }", "{ ((.a > minInt) && (.a < 9223372036854775807)) }");
    check(
        "{ } | count() > -maxInt with(x=minInt)",
        "{ } | count() > -9223372036854775807 with(x=minInt)",
    );
    check_refused(
        "{ } | compare({ }, minInt)",
        "parse error at line 1, col 26: syntax error: unexpected ), expecting a whole number before this",
    );
}

#[test]
fn networks_are_read() {
    check(
        "{ cidr(.client.address, `10.0.0.0/8`, \"fc00::/7\") && !cidr(.a, \"::/0\") }",
        "{ (cidr(.client.address, \"10.0.0.0/8\", \"fc00::/7\") && !(cidr(.a, \"::/0\"))) }",
    );
    check("{ } | by(cidr(.a, \"::/0\"))", "{ } | by(cidr(.a, \"::/0\"))");
    check_refused(
        "{ cidr(duration, \"::/0\") }",
        "cidr() requires a string attribute as its first argument: cidr(duration, \"::/0\")",
    );
    check_refused(
        "{ cidr(.a, \"10.0.0.0\") }",
        "cidr() has an invalid prefix \"10.0.0.0\": wanted an address and its bits, \"10.0.0.0/8\"",
    );
    check_refused(
        "{ cidr(.a) }",
        "parse error at line 1, col 10: syntax error: unexpected ), expecting `,`",
    );
    check_refused(
        "{ cidr(.a, .b) }",
        "parse error at line 1, col 14: syntax error: unexpected ), expecting a network in quotes before this",
    );
}

#[test]
fn escapes_say_bytes() {
    check(r#"{ .a = "\xc3\xa9\303\251\u00e9\t" }"#, "{ (.a = \"ééé\\t\") }");
    check_refused(r#"{ .a = "\xc3" }"#, "parse error at line 1, col 8: invalid escape");
    check_refused(r#"{ .a = "\q" }"#, "parse error at line 1, col 8: invalid escape");
}

#[test]
fn comments_are_no_part_of_a_query() {
    check("// first\n{ .a /* of\nthe span */ = `//` } // last", "{ (.a = \"//\") }");
    check("{ .a/*b*/ = 1 }", "{ (.a/*b*/ = 1) }");
    check_refused("{ } /* open", "parse error at line 1, col 5: comment not terminated");
}

#[test]
fn ids_get_their_zeros_back() {
    check("{ span:id = \"AB\" }", "{ (span:id = \"00000000000000ab\") }");
    check("{ \"1\" = link:spanID }", "{ (\"0000000000000001\" = link:spanID) }");
    check("{ trace:id = \"AB\" }", "{ (trace:id = \"000000000000000000000000000000ab\") }");
    check(
        "{ trace:id != \"\" && trace:id != \"xyz\" }",
        "{ ((trace:id != \"\") && (trace:id != \"xyz\")) }",
    );
}

#[test]
fn what_grafana_sends_is_read() {
    for text in [
        "{nestedSetParent<0 && true} | rate()  with(sample=true)",
        "{nestedSetParent<0 && true && status=error} | rate()  with(sample=true)",
        "{nestedSetParent<0 && true} | histogram_over_time(duration) with(sample=true)",
        "{nestedSetParent<0 && true && resource.service.name != nil} | rate() by(resource.service.name)",
        "{nestedSetParent<0 && true && span.x != nil} | quantile_over_time(duration, 0.9) by(span.x)",
        "{nestedSetParent<0 && true} | compare({status = error}, 10)",
        "{nestedSetParent<0 && true} | compare({duration >= 1.2s && duration <= 3s}, 10, 1700000000000000000, 1700000001000000000)",
        "({nestedSetParent<0 && true  && status = error} &>> { status = error }) || ({nestedSetParent<0 && true  && status = error}) | select(status, resource.service.name, name, nestedSetParent, nestedSetLeft, nestedSetRight)",
        "{nestedSetParent<0 && true && status = error} | select(resource.service.name, event.exception.message,event.exception.stacktrace,event.exception.type) with(most_recent=true)",
        "{kind=server && span.db.system.name!=\"\"}",
        "{ .a = \"x\" } | rate() by(.b) | topk(5)",
        "{ } | count_over_time() > 2",
        "{ } | min_over_time(span.x) by(name, kind) with(exemplars=true)",
        "{ } | quantile_over_time(duration, .99, .5) | bottomk(1)",
        "({ .a } | count() > 1) && ({ .b } | avg(duration) < 1s)",
        "({ .a } | count()) + ({ .b } | count()) > 3",
        "{ } | by(resource.service.name) | count() > 2 | coalesce() | select(.a)",
        "{ parent.resource.service.name != resource.service.name && parent.x = 1 && parent.span.y = 2 }",
        "{ span.\"a b\" = `c` && resource.x-y.z/w = 1e3 && .\"9\" != nil }",
        "{ event:name = \"x\" && link:traceID != \"\" && instrumentation:version =~ \"1.*\" && trace:id = \"ab\" }",
        "{ duration > 1h30m && duration < 1.5s && duration != 100us && traceDuration > 2d }",
    ] {
        parse(text, &Limits::default()).unwrap_or_else(|error| panic!("{text}: {error}"));
        check_text(text);
    }
}

#[test]
fn a_mistake_is_named_with_its_place() {
    check_refused(
        "{ .a = }",
        "parse error at line 1, col 8: syntax error: unexpected }, expecting a value or an attribute",
    );
    check_refused(
        "{ .a = 1 ",
        "parse error at line 1, col 10: syntax error: unexpected end of query, expecting `}`",
    );
    check_refused(
        "{ }\n| cuont() > 2",
        "parse error at line 2, col 3: syntax error: unexpected cuont, expecting a spanset, `{ … }`, or a function",
    );
    check_refused("{ .a = \"x }", "parse error at line 1, col 8: literal not terminated");
    check_refused("{ span:nope = 1 }", "parse error at line 1, col 3: unknown intrinsic span:nope");
    check_refused("{ é# }", "parse error at line 1, col 4: syntax error: unexpected '#'");
}

#[test]
fn what_makes_no_sense_is_refused_in_tempos_words() {
    check_refused("{ name = 2 }", "binary operations must operate on the same type: (name = 2)");
    check_refused(
        "{ duration }",
        "span filter field expressions must resolve to a boolean: { duration }",
    );
    check_refused("{ status > error }", "illegal operation for the given types: (status > error)");
    check_refused(
        "{ } | avg(name) > 1",
        "aggregate field expressions must resolve to a number type: avg(name)",
    );
    check_refused(
        "{ } | avg(1 + 2) > 1",
        "aggregate field expressions must reference the span: avg((1 + 2))",
    );
    check_refused("{ } | by(1)", "grouping field expressions must reference the span: by(1)");
    check_refused("rate()", "a metrics function needs a spanset before it, such as `{ } |`");
    check_refused("{ } | quantile_over_time(duration, 2)", "quantiles must be between 0 and 1");
}

#[test]
fn what_is_too_long_or_deep_is_refused_by_its_limit() {
    let limits = Limits { text_bytes_max: 100, ..Limits::default() };
    let error = parse(&format!("{{ {} }}", "x".repeat(200)), &limits).unwrap_err();
    assert_eq!(error.limit(), Some("query.traceql_text_max"));

    for (open, close) in [("(", ")"), ("!(", ")"), ("-(", ")")] {
        let text = format!("{{ {}.a{} }}", open.repeat(2_000), close.repeat(2_000));
        let error = parse(&text, &Limits::default()).unwrap_err();
        assert_eq!(error.limit(), Some("query.traceql_depth_max"), "{open}");
    }
    let chain = format!("{{ {}.a }}", ".a || ".repeat(1_000));
    let error = parse(&chain, &Limits::default()).unwrap_err();
    assert!(error.limit().unwrap().contains("query.traceql_depth_max"), "{error}");
    let nested = format!("{}{{ }}{}", "(".repeat(2_000), ")".repeat(2_000));
    let error = parse(&nested, &Limits::default()).unwrap_err();
    assert_eq!(error.limit(), Some("query.traceql_depth_max"));
}

#[test]
fn a_regular_expression_has_limits_too() {
    let long = format!("{{ name =~ \"{}\" }}", "a".repeat(5_000));
    let error = parse(&long, &Limits::default()).unwrap_err();
    assert_eq!(error.limit(), Some("query.regex_text_max"));

    let many = |n: usize| format!("{{ {} }}", vec!["name=~\"a.b\""; n].join(" && "));
    assert!(parse(&many(64), &Limits::default()).is_ok());
    let error = parse(&many(65), &Limits::default()).unwrap_err().to_string();
    assert!(error.contains("more than 64 regular expressions"), "{error}");

    let huge = "{ name =~ \"(((a{100}){100}){100})\" }";
    let error = parse(huge, &Limits::default()).unwrap_err().to_string();
    assert!(error.starts_with("invalid TraceQL query: invalid regex"), "{error}");
}
