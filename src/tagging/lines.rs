//! `lines.toml`: what single lines mean.
//!
//! The rules stand here as data, compiled for looking texts up; what is counted of a line that fits
//! is `derive`'s.

use std::collections::BTreeMap;

use hashbrown::HashMap;
use memchr::memmem::Finder;
use serde::Deserialize;

use super::error::TaggingError;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LinesFile {
    #[serde(default)]
    rule: Vec<RuleEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleEntry {
    services: Vec<String>,
    contains: Vec<String>,
    #[serde(default)]
    lacks: Option<String>,
    family: LineFamily,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    take: BTreeMap<String, String>,
    #[serde(default)]
    value: Option<ValueEntry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ValueEntry {
    after: String,
    #[serde(default = "one")]
    times: f64,
}

fn one() -> f64 {
    1.0
}

/// What a rule counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LineFamily {
    /// Lines that mean something by themselves.
    LogEvents,
    /// What audit lost.
    AuditErrors,
    /// How launches of workspaces end.
    WorkspaceLaunch,
    /// How long Elasticsearch takes, in seconds.
    EsQueryDuration,
    /// How much is behind signed URLs, in KiB.
    PresignedKib,
}

impl LineFamily {
    /// Returns the names of its labels.
    pub fn labels(self) -> &'static [&'static str] {
        match self {
            LineFamily::LogEvents => &["event"],
            LineFamily::AuditErrors => &["side"],
            LineFamily::WorkspaceLaunch => &["backend", "outcome"],
            LineFamily::EsQueryDuration => &["index"],
            LineFamily::PresignedKib => &[],
        }
    }

    fn needs_value(self) -> bool {
        matches!(self, LineFamily::EsQueryDuration | LineFamily::PresignedKib)
    }
}

/// Where a label's value is from.
#[derive(Debug, Clone)]
enum Source {
    Fixed(Box<str>),
    /// The word behind a text.
    Behind(Box<Finder<'static>>),
}

/// One rule, compiled.
#[derive(Debug, Clone)]
pub struct LineRule {
    /// What it counts in.
    pub family: LineFamily,
    contains: Vec<Finder<'static>>,
    lacks: Option<Finder<'static>>,
    /// In the order of the family's labels.
    labels: Vec<Source>,
    value: Option<(Finder<'static>, f64)>,
}

impl LineRule {
    /// Returns true when the rule fits a message.
    pub fn fits(&self, message: &str) -> bool {
        let has = |finder: &Finder<'_>| finder.find(message.as_bytes()).is_some();
        self.contains.iter().all(has) && !self.lacks.as_ref().is_some_and(has)
    }

    /// Returns the values of the family's labels, in its order; an empty one where the message has
    /// none.
    pub fn values<'r>(&'r self, message: &'r str) -> impl Iterator<Item = &'r str> {
        self.labels.iter().map(move |source| match source {
            Source::Fixed(text) => &**text,
            Source::Behind(finder) => behind(finder, message).map_or("", word),
        })
    }

    /// Returns what is added: 1, or the number in the message; `None` when there is none.
    pub fn value(&self, message: &str) -> Option<f64> {
        let Some((finder, times)) = &self.value else { return Some(1.0) };
        let number = behind(finder, message)?.trim_start();
        let is_digit = |c: char| c.is_ascii_digit() || c == '.';
        let end = number.find(|c| !is_digit(c)).unwrap_or(number.len());
        let number: f64 = number[..end].trim_end_matches('.').parse().ok()?;
        Some(number * times).filter(|value| value.is_finite())
    }

    /// Returns true when all that it counts is known beforehand.
    pub fn is_fixed(&self) -> bool {
        self.value.is_none() && self.labels.iter().all(|label| matches!(label, Source::Fixed(_)))
    }
}

fn behind<'m>(finder: &Finder<'_>, message: &'m str) -> Option<&'m str> {
    let at = finder.find(message.as_bytes())?;
    message.get(at + finder.needle().len()..)
}

/// Returns the first word of a text, its quotes taken off.
fn word(text: &str) -> &str {
    let is_edge =
        |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ',' | '}' | '{' | ')' | '(');
    let text = text.trim_start_matches(is_edge);
    &text[..text.find(is_edge).unwrap_or(text.len())]
}

/// The compiled `lines.toml`.
#[derive(Debug, Default)]
pub(super) struct LineRules {
    by_service: HashMap<Box<str>, Vec<LineRule>>,
}

impl LineRules {
    pub(super) fn new(file: &LinesFile) -> Result<Self, TaggingError> {
        let mut rules = Self::default();
        for (idx, entry) in file.rule.iter().enumerate() {
            let rule = compile(entry).map_err(|message| {
                let number = idx + 1;
                TaggingError::LineRule { number, message }
            })?;
            for service in &entry.services {
                rules.by_service.entry(Box::from(&**service)).or_default().push(rule.clone());
            }
        }
        Ok(rules)
    }

    pub(super) fn of_service(&self, service: &str) -> &[LineRule] {
        self.by_service.get(service).map_or(&[], Vec::as_slice)
    }
}

fn compile(entry: &RuleEntry) -> Result<LineRule, String> {
    let finder = |text: &String| Finder::new(text.as_bytes()).into_owned();
    if entry.contains.is_empty() || entry.contains.iter().any(String::is_empty) {
        return Err("`contains` must name a text".to_owned());
    }
    if entry.family.needs_value() != entry.value.is_some() {
        let needs = if entry.family.needs_value() { "needs" } else { "has no" };
        return Err(format!("the family {:?} {needs} `value`", entry.family));
    }
    let names = entry.family.labels();
    let given = entry.labels.keys().chain(entry.take.keys());
    if let Some(odd) = given.clone().find(|name| !names.contains(&name.as_str())) {
        return Err(format!("the family {:?} has no label `{odd}`", entry.family));
    }
    let source = |name: &&str| match (entry.labels.get(*name), entry.take.get(*name)) {
        (Some(text), None) => Ok(Source::Fixed(Box::from(&**text))),
        (None, Some(text)) => Ok(Source::Behind(Box::new(finder(text)))),
        _ => Err(format!("label `{name}` must stand once, in `labels` or in `take`")),
    };
    Ok(LineRule {
        family: entry.family,
        contains: entry.contains.iter().map(finder).collect(),
        lacks: entry.lacks.as_ref().map(finder),
        labels: names.iter().map(source).collect::<Result<_, _>>()?,
        value: entry.value.as_ref().map(|value| (finder(&value.after), value.times)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(text: &str) -> Result<LineRules, TaggingError> {
        LineRules::new(&toml::from_str(text).unwrap())
    }

    #[track_caller]
    fn check_refused(text: &str, want: &str) {
        let error = rules(text).unwrap_err().to_string();
        assert!(error.contains(want), "{error}");
    }

    #[test]
    fn a_rule_takes_words_and_numbers_out_of_a_message() {
        let rules = rules(
            "[[rule]]\nservices = [\"guppy\"]\ncontains = [\"took\"]\nfamily = \"es_query_duration\"\n\
             take = { index = \"of:\" }\nvalue = { after = \"took\", times = 0.001 }\n",
        )
        .unwrap();
        let rule = &rules.of_service("guppy")[0];
        let read = |message| (rule.value(message), rule.values(message).collect::<Vec<_>>());

        assert_eq!(read("took 137. of:  'a_idx' {}"), (Some(0.137), vec!["a_idx"]));
        assert_eq!(read("took 1.5 of:"), (Some(0.0015), vec![""]));
        assert_eq!(read("took long"), (None, vec![""]));
        assert!(rules.of_service("fence").is_empty());
    }

    #[test]
    fn mistakes_in_a_rule_are_named() {
        let rule = |rest: &str| format!("[[rule]]\nservices = [\"x\"]\n{rest}");
        check_refused(&rule("contains = []\nfamily = \"log_events\""), "rule 1: `contains`");
        check_refused(&rule("contains = [\"a\"]\nfamily = \"log_events\""), "label `event`");
        check_refused(
            &rule("contains = [\"a\"]\nfamily = \"presigned_kib\""),
            "PresignedKib needs `value`",
        );
        check_refused(
            &rule(
                "contains = [\"a\"]\nfamily = \"audit_errors\"\nlabels = { side = \"x\", user = \"y\" }",
            ),
            "no label `user`",
        );
    }
}
