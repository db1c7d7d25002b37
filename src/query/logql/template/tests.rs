use super::*;
use crate::query::logql::fields::Fields;

fn render(text: &str) -> Result<String, String> {
    let stream = [
        ("app".to_owned(), "fence".to_owned()),
        ("status".to_owned(), "500".to_owned()),
        ("took".to_owned(), "1.5".to_owned()),
        ("json".to_owned(), r#"{"a":[1,{"b":"x"}]}"#.to_owned()),
    ];
    let fields = Fields::new(&stream);
    let ts_ns = 1_763_730_000_123_456_789;
    let scope = Scope { fields: &fields, line: "GET /a", ts_ns, now_ns: ts_ns };
    Template::parse(text)?.render(&scope)
}

#[track_caller]
fn check(text: &str, want: &str) {
    assert_eq!(render(text).as_deref(), Ok(want), "{text}");
}

#[track_caller]
fn check_bad(text: &str, want: &str) {
    let error = render(text).unwrap_err();
    assert!(error.contains(want), "{text}: {error}");
}

#[test]
fn fields_and_pipes() {
    check("{{.app}}-{{ .status | printf \"%5s\" }}|{{.none}}|", "fence-  500||");
    check("a {{- .app -}} b", "afenceb");
    check("{{/* no */}}x{{ `}}` }}", "x}}");
    check("{{ $a := .app }}{{ $a | upper }}{{ $.app }}", "FENCEfence");
    check("{{ __line__ | ToLower }} {{ __timestamp__ | unixEpoch }}", "get /a 1763730000");
}

#[test]
fn conditions_and_loops() {
    check("{{ if eq .app \"fence\" }}y{{ else }}n{{ end }}", "y");
    check("{{if .none}}a{{else if hasPrefix \"5\" .status}}b{{else}}c{{end}}", "b");
    check("{{ with .app }}<{{ . }}>{{ end }}{{ with .none }}x{{ end }}", "<fence>");
    check("{{ range $i, $v := (fromJson .json).a }}{{ $i }}:{{ $v }};{{ end }}", "0:1;1:map[b:x];");
    check("{{ if and .app (not .none) }}y{{ end }}{{ or .none \"z\" }}", "yz");
}

#[test]
fn texts() {
    check("{{ Replace .app \"e\" \"3\" 1 }}{{ replace \"e\" \"3\" .app }}", "f3ncef3nc3");
    check("{{ trunc 3 .app }}{{ trunc -2 .app }}{{ substr 1 3 .app }}", "fenceen");
    check("{{ alignLeft 7 .app }}|{{ alignRight 3 .app }}", "fence  |nce");
    check("{{ regexReplaceAll \"(e)n\" .app \"[$1]\" }}{{ .app | count \"e\" }}", "f[e]ce2");
    check(
        "{{ b64enc .app | b64dec }}{{ urlencode \"a b&\" }}{{ urldecode \"a%20b\" }}",
        "fencea+b%26a b",
    );
    check("{{ title \"ab cd\" }}{{ repeat 2 \"x\" }}{{ default \"d\" .none }}", "Ab Cdxxd");
}

#[test]
fn numbers() {
    check(
        "{{ add .status 1 2 }} {{ div 7 2 }} {{ mulf .took 2 }} {{ round 1.2345 2 }}",
        "503 3 3 1.23",
    );
    check("{{ printf \"%05.1f|%-4d|%q|%x\" 3.14159 7 \"a\" 255 }}", "003.1|7   |\"a\"|ff");
    check("{{ duration \"1m30s\" }} {{ bytes \"2KB\" }} {{ int \"3.9\" }}", "90 2000 3");
    check("{{ if gt (int .status) 499 }}bad{{ end }}", "bad");
    check_bad("{{ div 1 0 }}", "division by zero");
    check_bad("{{ if gt .status 499 }}{{ end }}", "incompatible types for comparison");
}

#[test]
fn times() {
    check(
        "{{ __timestamp__ | date \"2006-01-02T15:04:05.000Z07:00\" }}",
        "2025-11-21T13:00:00.123Z",
    );
    check("{{ date \"Mon Jan _2 3PM\" (unixToTime \"1763730000\") }}", "Fri Nov 21 1PM");
    check(
        "{{ toDate \"2006-01-02 15:04\" \"2025-11-21 13:00\" | unixEpochMillis }}",
        "1763730000000",
    );
    check("{{ toDate \"2006-01-02\" \"nonsense\" | unixEpoch }}", "-9223372037");
}

#[test]
fn what_is_no_template_is_refused() {
    check_bad("{{ .a", "unclosed action");
    check_bad("{{ nope }}", "function \"nope\" not defined");
    check_bad("{{ if .a }}", "unexpected EOF");
    check_bad("{{ end }}", "unexpected {{end}}");
    check_bad("{{ .a | .b }}", "non executable command in pipeline stage");
    check_bad("{{ ( }}", "missing value for command");
    check_bad("{{ $x }}", "undefined variable");
    check_bad(&"{{ if 1 }}".repeat(60), "nested deeper than");
}

#[test]
fn no_template_runs_for_ever() {
    check_bad("{{ repeat 1000000000 \"x\" }}", "at most");
    check_bad(
        "{{ range 1000000 }}{{ range 1000000 }}x{{ end }}{{ end }}",
        "more than 100000 steps",
    );
    check_bad("{{ range 3000 }}{{ repeat 1000 \"x\" }}{{ end }}", "bytes of output");
}

#[test]
fn the_labels_a_template_needs_are_known() {
    let fields = |text| Template::parse(text).unwrap().fields();
    assert_eq!(fields("{{.a}}{{if .b}}{{.c | lower}}{{end}}").unwrap(), ["a", "b", "c"]);
    assert_eq!(fields("{{ . }}"), None);
    assert_eq!(fields("{{ $ }}"), None);
}
