//! Structured metadata: what a record has of its own beside its line, and the level that is found.

use std::borrow::Cow;

use super::super::columns::LEVEL_COLUMN;
use super::super::fields::Fields;
use super::super::level;
use super::Wanted;
use super::json::{Flow, Value, all_values};

/// What a record has beside its line, as the store has it.
#[derive(Debug, Clone, Copy, Default)]
pub(in super::super) struct Metadata<'a> {
    /// A JSON object.
    pub(in super::super) attributes: &'a str,
    pub(in super::super) trace_id: &'a str,
    pub(in super::super) span_id: &'a str,
    pub(in super::super) severity_text: &'a str,
    pub(in super::super) severity_number: i32,
    pub(in super::super) scope_name: &'a str,
    /// What was found when the record came; empty when its labels have to be asked.
    pub(in super::super) level: &'a str,
    /// Attributes of the resource that are not labels of the stream.
    pub(in super::super) of_resource: &'a [(String, String)],
    /// True when it is known to have come over OTLP.
    pub(in super::super) is_of_otlp: bool,
}

impl<'a> Metadata<'a> {
    /// Adds what is wanted of the metadata to a line's labels. Of one name, what the record says comes
    /// first; what its stream is called it cannot say otherwise.
    pub(in super::super) fn add_to(&self, fields: &mut Fields<'a>, line: &str, wanted: &Wanted) {
        if *wanted == Wanted::Nothing {
            return;
        }
        let wants_level = wanted.has(LEVEL);
        // Where it is not known the level is found by labels that nobody may have asked for.
        let finds_level = wants_level && self.level.is_empty();
        let wants = |name: &str| finds_level || wanted.has(name);
        let is_of_push = self.add_attributes(fields, &wants);
        self.add_columns(fields, &wants);
        // What OTLP says of its severity stands for itself, whatever an attribute says.
        if wants_severity(wanted) && (self.is_of_otlp || !is_of_push) {
            self.add_severity(fields, &wants);
        }
        if wants_level && fields.get(LEVEL).is_none() {
            let level = match self.level {
                "" => level::of(fields, self.severity_text, self.severity_number, line),
                known => known,
            };
            fields.add_metadata(Cow::Borrowed(LEVEL), Cow::Borrowed(level));
        }
    }

    /// Adds the attributes; returns true when a label says what the severity says, as of a push.
    fn add_attributes(&self, fields: &mut Fields<'a>, wants: &dyn Fn(&str) -> bool) -> bool {
        let is_told = |told: &str| told == self.severity_text;
        let mut is_of_push =
            LEVELS_OF_PUSH.iter().any(|name| fields.of_stream(name).is_some_and(is_told));
        if self.attributes.len() > 2 {
            // We wrote the object ourselves; were it damaged, its beginning still counts.
            let _: Result<Flow, _> = all_values(self.attributes, &mut |name, value| {
                if LEVELS_OF_PUSH.contains(&&*name) {
                    is_of_push |= is_told(&value.into_label());
                }
                let name = fields.extracted_name(name);
                if wants(&name) {
                    let value = value.into_label();
                    let value = if name == LEVEL { level::meant(value) } else { value };
                    fields.add_metadata(name, value);
                }
                Flow::On
            });
        }
        is_of_push
    }

    /// Adds what stands in columns of its own, and what the resource says.
    fn add_columns(&self, fields: &mut Fields<'a>, wants: &dyn Fn(&str) -> bool) {
        let of_record = [
            ("trace_id", self.trace_id),
            ("span_id", self.span_id),
            ("scope_name", self.scope_name),
        ];
        let of_resource =
            self.of_resource.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        for (name, value) in of_record.into_iter().chain(of_resource) {
            // The trace that a push names by a label stands in the record's column as well.
            let is_told = |told: &str| told.eq_ignore_ascii_case(value);
            if fields.of_stream(name).is_some_and(is_told) {
                continue;
            }
            let name = fields.extracted_name(Cow::Borrowed(name));
            if wants(&name) {
                fields.add_metadata(name, Cow::Borrowed(value));
            }
        }
    }

    /// Adds the severity as a record of OTLP says it, under Loki's names.
    fn add_severity(&self, fields: &mut Fields<'a>, wants: &dyn Fn(&str) -> bool) {
        let number = match self.severity_number {
            0 => String::new(),
            number => number.to_string(),
        };
        let [text_name, number_name] = SEVERITY;
        for (name, value) in
            [(text_name, Cow::Borrowed(self.severity_text)), (number_name, Cow::Owned(number))]
        {
            let name = fields.extracted_name(Cow::Borrowed(name));
            if wants(&name) {
                fields.add_metadata(name, value);
            }
        }
    }
}

/// What a record's severity is called, as text and as number.
pub(super) const SEVERITY: [&str; 2] = ["severity_text", "severity_number"];
/// The labels that a push says its level by. Our columns of the severity then say the same, which need
/// not be told twice.
const LEVELS_OF_PUSH: [&str; 2] = ["level", LEVEL];

/// Returns true when somebody asks for the severity itself.
pub(super) fn wants_severity(wanted: &Wanted) -> bool {
    SEVERITY.iter().any(|name| wanted.has_extracted(name))
}

/// The label of a line's level.
pub(in super::super) const LEVEL: &str = "detected_level";

/// Returns the columns that what is wanted of the metadata may stand in.
pub(super) fn columns(wanted: &Wanted) -> Vec<&'static str> {
    let all = [
        "severity_number",
        "severity_text",
        "attributes",
        "scope_name",
        "trace_id",
        "span_id",
        LEVEL_COLUMN,
    ];
    let is_wanted = |column: &&str| match *column {
        "attributes" => *wanted != Wanted::Nothing,
        "severity_number" | "severity_text" => wanted.has(LEVEL) || wants_severity(wanted),
        LEVEL_COLUMN => wanted.has(LEVEL),
        column => wanted.has_extracted(column),
    };
    all.into_iter().filter(is_wanted).collect()
}

/// Returns the pairs of a JSON object as labels have them.
pub(in super::super) fn pairs_of(object: &str) -> Vec<(String, String)> {
    let mut pairs = Vec::new();
    let _: Result<Flow, _> = super::json::members(object, &mut |name, value| {
        if value != Value::Null {
            pairs.push((name.into_owned(), value.into_label().into_owned()));
        }
        Ok(Flow::On)
    });
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_stream_says_already_is_not_told_twice() {
        let stream = [("trace_id".to_owned(), "AB".to_owned())];
        let beside = |trace_id| {
            let mut fields = Fields::new(&stream);
            let metadata = Metadata { trace_id, ..Metadata::default() };
            metadata.add_to(&mut fields, "", &Wanted::All);
            assert_eq!(fields.get("trace_id"), Some("AB"));
            fields.get("trace_id_extracted").map(str::to_owned)
        };

        assert_eq!(beside("ab"), None);
        assert_eq!(beside("cd").as_deref(), Some("cd"));
    }

    #[test]
    fn a_list_is_metadata_as_it_is_written() {
        let mut fields = Fields::new(&[]);
        let attributes = r#"{"process.args":["a","b"],"http":{"codes":[1,2]}}"#;

        let metadata = Metadata { attributes, ..Metadata::default() };
        metadata.add_to(&mut fields, "", &Wanted::All);

        assert_eq!(fields.get("process_args"), Some(r#"["a","b"]"#));
        assert_eq!(fields.get("http_codes"), Some("[1,2]"));
    }

    #[test]
    fn what_stands_behind_a_map_under_a_very_long_name_is_metadata_as_well() {
        let long = "k".repeat(2_000);
        let attributes = format!(r#"{{"{long}":{{"a":1}},"user":"ada"}}"#);
        let mut fields = Fields::new(&[]);

        let metadata = Metadata { attributes: &attributes, ..Metadata::default() };
        metadata.add_to(&mut fields, "", &Wanted::All);

        assert_eq!(fields.get(&long), Some(r#"{"a":1}"#));
        assert_eq!(fields.get("user"), Some("ada"));
    }

    #[test]
    fn an_attribute_of_otlp_does_not_hide_the_severity() {
        let severity = |is_of_otlp| {
            let mut fields = Fields::new(&[]);
            let (attributes, severity_text) = (r#"{"level":"ERROR"}"#, "ERROR");
            let metadata =
                Metadata { attributes, severity_text, is_of_otlp, ..Metadata::default() };
            metadata.add_to(&mut fields, "", &Wanted::All);
            fields.get("severity_text").map(str::to_owned)
        };

        assert_eq!(severity(false), None, "a push says it once");
        assert_eq!(severity(true).as_deref(), Some("ERROR"));
    }
}
