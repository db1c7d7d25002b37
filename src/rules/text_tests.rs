//! The cases under `tests/cases/rules/template.txt` were recorded from promtool.
use super::Point;
use super::text::*;
use crate::model::{Histogram, Labels};

const CASES: &str = include_str!("../../tests/cases/rules/template.txt");

fn data(value: f64) -> Data {
    Data {
        labels: Labels::from_pairs([("n", "1"), ("__name__", "m")]),
        value: value.into(),
        external_labels: Labels::empty(),
        external_url: "https://watch.example/base/".into(),
        now_ms: 1_500,
    }
}

fn histogram() -> Point {
    let positive = [(1, 2.0), (2, 0.5)].into_iter().collect();
    Point::Histogram(std::sync::Arc::new(Histogram {
        count: 2.5,
        sum: 4.0,
        positive,
        ..Histogram::default()
    }))
}

#[test]
fn a_histogram_is_shown_as_prometheus_shows_it() {
    let of = Data { value: histogram(), ..data(0.0) };
    let want = "{count:2.5, sum:4, (1,2]:2, (2,4]:0.5}";

    let shown = expand_with("{{ $value }} {{ .Value }}", &of);
    let asked = expand_with("{{ query \"h\" | first | value }}", &data(0.0));
    let made_a_number = expand_with("{{ $value | humanize }}", &of).unwrap();

    assert_eq!(shown, Ok(format!("{want} {want}")));
    assert_eq!(asked.as_deref(), Ok(want));
    assert!(made_a_number.starts_with("<error expanding template: "), "{made_a_number}");
}

fn expand_with(text: &str, data: &Data) -> Result<String, TemplateError> {
    let template = Template::parse("__alert_A", text)?;
    let ask = |expr: String| async move {
        match expr.as_str() {
            "m" => Ok(["4", "2", "1"]
                .map(|n| (Labels::from_pairs([("n", n)]), Point::Float(n.parse().unwrap())))
                .to_vec()),
            "h" => Ok(vec![(Labels::empty(), histogram())]),
            "broken" => Err("no such thing".to_owned()),
            _ => Ok(Vec::new()),
        }
    };
    Ok(futures::executor::block_on(template.expand(data, ask)))
}

#[track_caller]
fn check(text: &str, want: &str) {
    assert_eq!(expand_with(text, &data(2.5)).as_deref(), Ok(want), "{text}");
}

#[track_caller]
fn check_refused(text: &str, want: &str) {
    let error = Template::parse("__alert_A", text).unwrap_err();
    assert_eq!(error.to_string(), want, "{text}");
}

#[track_caller]
fn check_fails(text: &str, reason: &str) {
    let want = format!(
        "<error expanding template: error executing template __alert_A: template: __alert_A:{reason}>"
    );
    check(text, &want);
}

#[test]
fn expansions_are_those_of_promtool() {
    let mut n_cases = 0;
    for case in CASES.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let [value, text, want] = case.split('\t').collect::<Vec<_>>()[..] else {
            panic!("not value, template and result: {case}");
        };

        let got = expand_with(text, &data(value.parse().unwrap()));

        assert_eq!(got.as_deref(), Ok(want), "{text} of {value}");
        n_cases += 1;
    }
    assert!(n_cases > 100, "only {n_cases} cases");
}

#[test]
fn escapes_in_texts_say_bytes() {
    check(r#"{{ "\xc3\xa9\303\251\u00e9" }}"#, "ééé");
    check(r"{{ '\xe9' }} {{ '\351' }} {{ '\n' }} {{ 'é' }}", "233 233 10 233");
    check(r#"{{ printf "%q" "\a\b\f\v\x01\x7f\u0085" }}"#, r#""\a\b\f\v\x01\x7f\u0085""#);
    check_refused(r#"{{ "\q" }}"#, "template: __alert_A:1: invalid syntax in quoted string");
}

#[test]
fn blocks_branch_and_repeat() {
    check("{{ if gt $value 2.0 }}high{{ else }}low{{ end }}", "high");
    check("{{ if eq $value 1.0 }}1{{ else if eq $value 2.5 }}2{{ else }}3{{ end }}", "2");
    check("{{ with $labels.none }}{{ . }}{{ else }}-{{ end }}", "-");
    check("{{ with $x := $labels.n }}{{ $x }}{{ . }}{{ end }}", "11");
    check("{{ range query `m` | sortByLabel `n` }}{{ .Value }},{{ end }}", "1,2,4,");
    check(
        "{{ range query `m` }}{{ if eq .Value 2.0 }}{{ break }}{{ end }}{{ .Value }}{{ end }}",
        "4",
    );
    check(
        "{{ range query `m` }}{{ if eq .Value 2.0 }}{{ continue }}{{ end }}{{ .Value }}{{ end }}",
        "41",
    );
    check("{{ range query `none` }}x{{ else }}nothing{{ end }}", "nothing");
    check("{{ $n := 0 }}{{ range $i, $s := query `m` }}{{ $n = $i }}{{ end }}{{ $n }}", "2");
}

#[test]
fn templates_call_each_other() {
    check("{{ define `t` }}<{{ .arg0 }}>{{ end }}{{ template `t` args 1 2 }}", "<1>");
    check("{{ define `t` }}<{{ . }}>{{ end }}{{ tmpl `t` 7 | toUpper }}", "<7>");
    check_fails(
        "{{ define `t` }}{{ template `t` }}{{ end }}{{ template `t` }}",
        "1: templates call each other more than 20 deep",
    );
}

#[test]
fn white_space_is_trimmed_where_marked() {
    check("a {{- 1 -}} b", "a1b");
    check("a {{/* nothing */ -}}  b", "a b");
    check("{{ -1 }}", "-1");
}

#[test]
fn the_outside_is_seen_through_functions() {
    check("{{ externalURL }} {{ pathPrefix }} {{ now }}", "https://watch.example/base/ /base 1.5");
    check("{{ toDuration 90 }} {{ toTime 90 }}", "1m30s 1970-01-01 00:01:30 +0000 UTC");
    check("{{ urlQueryEscape `{app=\"a b\"}` }}", "%7Bapp%3D%22a+b%22%7D");
    check(
        "{{ query `broken` }}",
        "<error expanding template: error executing template __alert_A: \
         error calling query: no such thing>",
    );
}

#[test]
fn external_labels_are_seen_by_either_name() {
    let of_site = Data { external_labels: Labels::from_pairs([("site", "uchicago")]), ..data(1.0) };
    for (text, want) in [
        ("{{ $externalLabels.site }}", "uchicago"),
        ("{{ .ExternalLabels.site }}/{{ $.ExternalLabels.site }}", "uchicago/uchicago"),
        (
            "{{ $externalURL }} {{ .ExternalURL }}",
            "https://watch.example/base/ https://watch.example/base/",
        ),
        (
            "{{ range $name, $value := $externalLabels }}{{ $name }}={{ $value }}{{ end }}",
            "site=uchicago",
        ),
        ("{{ $externalLabels.none }}", ""),
    ] {
        assert_eq!(expand_with(text, &of_site).as_deref(), Ok(want), "{text}");
    }
}

#[test]
fn mistakes_are_found_when_the_file_is_loaded() {
    check_refused("a\n{{ nope 1 }}", "template: __alert_A:2: function \"nope\" not defined");
    check_refused("{{ $nope }}", "template: __alert_A:1: undefined variable \"$nope\"");
    check_refused("{{ if true }}x", "template: __alert_A:1: unexpected EOF");
    check_refused("{{ end }}", "template: __alert_A:1: unexpected {{end}}");
    check_refused("{{ 1", "template: __alert_A:1: unclosed action");
    check_refused("{{ \"x }}", "template: __alert_A:1: unterminated quoted string");
    check_refused("{{ (1 }}", "template: __alert_A:1: unclosed left paren");
    check_refused("{{ break }}", "template: __alert_A:1: {{break}} outside {{range}}");
    check_refused("{{ 1 | 2 }}", "template: __alert_A:1: non executable command in pipeline stage");
    check_refused(
        "{{ if $x := 1 }}{{ end }}{{ $x }}",
        "template: __alert_A:1: undefined variable \"$x\"",
    );
}

#[test]
fn deep_nesting_is_refused_and_not_walked() {
    let nested = format!("{}1{}", "(".repeat(10_000), ")".repeat(10_000));

    check_refused(
        &format!("{{{{ {nested} }}}}"),
        "template: __alert_A:1: nested deeper than 50 levels",
    );
}

#[test]
fn fuel_and_output_are_limited() {
    check_fails(
        "{{ range 1000000 }}{{ range 1000 }}{{ end }}{{ end }}",
        "1: more than 100000 steps",
    );
    check_fails(
        "{{ range 1000 }}{{ printf `%100d` 1 }}{{ end }}",
        "1: more than 65536 bytes of output",
    );
    check_fails(
        "{{ $x := `ab` }}{{ range 100 }}{{ $x = printf `%s%s` $x $x }}{{ end }}",
        "1: error calling printf: more than 65536 bytes",
    );
}

#[test]
fn queries_are_limited() {
    let text = "{{ range 20 }}{{ query (print .) }}{{ end }}";

    let got = expand_with(text, &data(0.0)).unwrap();

    assert!(got.contains("more than 16 different queries in one template"), "{got}");
}
