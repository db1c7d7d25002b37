//! Which fields lines have, learned from the newest of them: what Logs Drilldown shows.

use std::collections::{BTreeMap, BTreeSet};

use super::fields::{Fields, sanitized};
use super::pipeline::Wanted;
use super::select::LogLine;
use super::syntax::ast::Stage;
use super::units::{parse_bytes, parse_duration_ns};
use super::{pipeline, syntax};

/// A field that some line has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DetectedField {
    /// The label under which it would be found.
    pub name: String,
    /// `string`, `int`, `float`, `boolean`, `duration` or `bytes`.
    pub kind: &'static str,
    /// The values, sorted; not more than [`VALUES_MAX`].
    pub values: BTreeSet<String>,
    /// The parsers that find it; none for structured metadata.
    pub parsers: BTreeSet<&'static str>,
    /// The keys that lead to it in the JSON of a line, as they stand there; none where it is in none.
    pub json_path: Vec<String>,
}

impl DetectedField {
    fn lacks_place(&self) -> bool {
        self.json_path.is_empty() && self.parsers.contains(JSON)
    }
}

/// Values of one field that are kept; a cardinality is not counted beyond.
const VALUES_MAX: usize = 1_000;

/// Returns the fields of some lines, sorted by name.
pub(super) fn fields(lines: &[LogLine]) -> Vec<DetectedField> {
    let mut found = Found::default();
    for line in lines {
        let (parser, pairs) = parse(&line.line);
        for (name, value) in &line.metadata {
            found.add(name, value, None);
        }
        // What the query has found, a parser has: Grafana takes what none has for metadata.
        for (name, value) in &line.parsed {
            found.add(name, value, Some(parser));
        }
        for (name, value) in pairs {
            found.add(&name_beside(line, name), &value, Some(parser));
        }
        found.add_places(line);
    }
    found.0.into_values().collect()
}

/// Returns the name of what a parser finds in a line, beside the labels of its stream.
fn name_beside(line: &LogLine, name: String) -> String {
    let is_of_stream = line.stream.iter().any(|(known, _)| *known == name);
    if is_of_stream { format!("{name}_extracted") } else { name }
}

#[derive(Default)]
struct Found(BTreeMap<String, DetectedField>);

impl Found {
    fn add(&mut self, name: &str, value: &str, parser: Option<&'static str>) {
        if value.is_empty() || name.starts_with("__error") {
            return;
        }
        let field = self.0.entry(name.to_owned()).or_insert_with(|| DetectedField {
            name: name.to_owned(),
            kind: kind_of(value),
            values: BTreeSet::new(),
            parsers: BTreeSet::new(),
            json_path: Vec::new(),
        });
        if field.kind != kind_of(value) {
            field.kind = wider(field.kind, kind_of(value));
        }
        field.parsers.extend(parser);
        if field.values.len() < VALUES_MAX {
            field.values.insert(value.to_owned());
        }
    }

    /// Notes where fields are in the JSON of a line. Most lines are like one before and tell nothing new.
    fn add_places(&mut self, line: &LogLine) {
        if !self.0.values().any(DetectedField::lacks_place) {
            return;
        }
        for (name, keys) in pipeline::json_places(&line.line) {
            let field = self.0.get_mut(&name_beside(line, name));
            if let Some(field) = field.filter(|field| field.lacks_place()) {
                field.json_path = keys;
            }
        }
    }
}

const JSON: &str = "json";

/// Reads a line as JSON when it begins like it, else as logfmt when it has several pairs.
fn parse(line: &str) -> (&'static str, Vec<(String, String)>) {
    let (parser, stage) = if line.trim_start().starts_with('{') {
        (JSON, Stage::Json(Vec::new()))
    } else {
        let stage = Stage::Logfmt { is_strict: false, keeps_empty: false, extractions: Vec::new() };
        ("logfmt", stage)
    };
    let log = syntax::LogExpr { matchers: Vec::new(), stages: vec![stage] };
    let Ok(pipeline) = pipeline::Pipeline::new(&log, Wanted::All, 0) else {
        return (parser, Vec::new());
    };
    let mut entry = pipeline::Entry::new(0, line, &[]);
    let metadata = pipeline::Metadata { severity_number: 9, ..Default::default() };
    pipeline.run(&mut entry, &metadata);
    let pairs: Vec<(String, String)> = parsed(&entry.fields);
    // A `=` somewhere in a sentence is no field.
    let is_sentence = parser == "logfmt" && pairs.len() < 2;
    (parser, if is_sentence { Vec::new() } else { pairs })
}

fn parsed(fields: &Fields<'_>) -> Vec<(String, String)> {
    let own = fields.own(super::fields::Source::Parsed);
    let own = own.filter(|(name, _)| !name.starts_with("__") && sanitized(name) == *name);
    own.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn kind_of(value: &str) -> &'static str {
    if value.parse::<i64>().is_ok() {
        "int"
    } else if value.parse::<f64>().is_ok_and(f64::is_finite) {
        "float"
    } else if matches!(value, "true" | "false") {
        "boolean"
    } else if parse_duration_ns(value).is_some() {
        "duration"
    } else if parse_bytes(value).is_some() {
        "bytes"
    } else {
        "string"
    }
}

fn wider(left: &'static str, right: &'static str) -> &'static str {
    match (left, right) {
        ("int", "float") | ("float", "int") => "float",
        _ => "string",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> LogLine {
        LogLine {
            ts_ns: 0,
            line: text.to_owned(),
            stream: vec![("app".to_owned(), "a".to_owned())],
            metadata: vec![("detected_level".to_owned(), "info".to_owned())],
            parsed: Vec::new(),
        }
    }

    #[test]
    fn fields_have_kinds_and_parsers() {
        let lines = [
            line(r#"{"status":200,"took":1.5,"app":"x","ok":true}"#),
            line(r#"{"status":404,"took":2,"size":"3KB"}"#),
            line("level=info wait=5ms"),
            line("a sentence with x=1"),
        ];

        let found = fields(&lines);

        let shown: Vec<String> = found
            .iter()
            .map(|f| {
                let parsers: Vec<&str> = f.parsers.iter().copied().collect();
                format!("{} {} {} {}", f.name, f.kind, f.values.len(), parsers.join(","))
            })
            .collect();
        assert_eq!(
            shown,
            [
                "app_extracted string 1 json",
                "detected_level string 1 ",
                "level string 1 logfmt",
                "ok boolean 1 json",
                "size bytes 1 json",
                "status int 2 json",
                "took float 2 json",
                "wait duration 1 logfmt",
            ]
        );
    }

    #[test]
    fn fields_of_json_say_where_they_are() {
        let mut of_query = line("a sentence with z=1");
        of_query.parsed = vec![("z".to_owned(), "1".to_owned())];
        let lines =
            [line("k=v l=w"), line(r#"{"a-b":{"c d":1},"app":"x","a_b":{"c_d":2}}"#), of_query];

        let found = fields(&lines);

        let of = |name: &str| {
            let field = found.iter().find(|field| field.name == name).expect(name);
            (field.json_path.join("|"), field.parsers.first().copied().unwrap_or(""))
        };
        assert_eq!(of("a_b_c_d"), ("a-b|c d".to_owned(), "json"));
        assert_eq!(of("app_extracted"), ("app".to_owned(), "json"));
        assert_eq!(of("k"), (String::new(), "logfmt"));
        assert_eq!(of("z"), (String::new(), "logfmt"));
        assert_eq!(of("detected_level"), (String::new(), ""));
    }
}
