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
}

/// Values of one field that are kept; a cardinality is not counted beyond.
const VALUES_MAX: usize = 1_000;

/// Returns the fields of some lines, sorted by name.
pub(super) fn fields(lines: &[LogLine]) -> Vec<DetectedField> {
    let mut found: BTreeMap<String, DetectedField> = BTreeMap::new();
    let mut add = |name: &str, value: &str, parser: Option<&'static str>| {
        if value.is_empty() || name.starts_with("__error") {
            return;
        }
        let field = found.entry(name.to_owned()).or_insert_with(|| DetectedField {
            name: name.to_owned(),
            kind: kind_of(value),
            values: BTreeSet::new(),
            parsers: BTreeSet::new(),
        });
        if field.kind != kind_of(value) {
            field.kind = wider(field.kind, kind_of(value));
        }
        field.parsers.extend(parser);
        if field.values.len() < VALUES_MAX {
            field.values.insert(value.to_owned());
        }
    };
    for line in lines {
        for (name, value) in line.metadata.iter().chain(&line.parsed) {
            add(name, value, None);
        }
        let (parser, pairs) = parse(&line.line);
        for (name, value) in pairs {
            let is_of_stream = line.stream.iter().any(|(known, _)| *known == name);
            let name = if is_of_stream { format!("{name}_extracted") } else { name };
            add(&name, &value, Some(parser));
        }
    }
    found.into_values().collect()
}

/// Reads a line as JSON when it begins like it, else as logfmt when it has several pairs.
fn parse(line: &str) -> (&'static str, Vec<(String, String)>) {
    let (parser, stage) = if line.trim_start().starts_with('{') {
        ("json", Stage::Json(Vec::new()))
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
}
