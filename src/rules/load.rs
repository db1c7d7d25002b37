//! Rule files to checked definitions; every mistake of every file is reported at once.
//!
//! The format is Prometheus'. A name that is wrong, an expression or template that cannot be read, a
//! key that nobody knows: all are found here, so that a rule which is in force can only fail on data.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_saphyr::Spanned;

use crate::base::units;

use super::text::Template;
use super::yaml::{self, mapping};
use super::{Config, RulesError};

/// Checks a PromQL expression and returns it formatted, or says what is wrong with it.
pub type CheckExpr<'a> = &'a dyn Fn(&str) -> Result<String, String>;

/// A rule file as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFile {
    /// Where it lies; shown in messages and in the API.
    pub path: String,
    /// What is in it.
    pub text: String,
}

/// What a group takes when it says nothing itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Defaults {
    /// Time between evaluations.
    pub interval_ms: i64,
    /// How far evaluations look back.
    pub query_offset_ms: i64,
    /// The most groups.
    pub groups_max: usize,
}

impl From<&Config> for Defaults {
    fn from(config: &Config) -> Self {
        Self {
            interval_ms: config.evaluation_interval.as_ms().max(1),
            query_offset_ms: config.query_offset.as_ms(),
            groups_max: config.groups_max,
        }
    }
}

/// A group of rules that are evaluated in order, at one time.
#[derive(Debug, Clone, PartialEq)]
pub struct GroupDef {
    /// The file it is from.
    pub file: String,
    /// Its name, one of a kind in its file.
    pub name: String,
    /// Time between evaluations.
    pub interval_ms: i64,
    /// How far evaluations look back.
    pub query_offset_ms: i64,
    /// The most alerts or series a rule may yield; 0 is no limit.
    pub limit: usize,
    /// The rules, in order.
    pub rules: Vec<RuleDef>,
}

/// A rule.
#[derive(Debug, Clone, PartialEq)]
pub enum RuleDef {
    /// Tells people.
    Alert(AlertDef),
    /// Stores a result under a new name.
    Record(RecordDef),
}

impl RuleDef {
    /// Returns the alert's name or the new metric's.
    pub fn name(&self) -> &str {
        match self {
            RuleDef::Alert(rule) => &rule.name,
            RuleDef::Record(rule) => &rule.name,
        }
    }

    /// Returns the expression as it was written.
    pub fn expr(&self) -> &str {
        match self {
            RuleDef::Alert(rule) => &rule.expr,
            RuleDef::Record(rule) => &rule.expr,
        }
    }
}

/// An alerting rule.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertDef {
    /// The `alertname`.
    pub name: String,
    /// The expression as it was written.
    pub expr: String,
    /// The expression, formatted.
    pub query: String,
    /// `for`.
    pub hold_ms: i64,
    /// `keep_firing_for`.
    pub keep_firing_ms: i64,
    /// Labels to add; the group's are among them.
    pub labels: Vec<(String, Template)>,
    /// Annotations.
    pub annotations: Vec<(String, Template)>,
}

/// A recording rule.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordDef {
    /// The new metric's name.
    pub name: String,
    /// The expression as it was written.
    pub expr: String,
    /// The expression, formatted.
    pub query: String,
    /// Labels to set; an empty one removes.
    pub labels: Vec<(String, String)>,
}

/// A mistake in a rule file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The file.
    pub file: String,
    /// The line where the group or rule begins, from 1; 0 when unknown.
    pub line: u64,
    /// Group and rule, in words; empty for the file as a whole.
    pub place: String,
    /// What is wrong.
    pub message: String,
}

impl std::fmt::Display for Mistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        if !self.place.is_empty() {
            write!(f, ": {}", self.place)?;
        }
        write!(f, ": {}", self.message)
    }
}

mapping!(RawFile { groups: Vec<Spanned<RawGroup>> = "groups" });

mapping!(RawGroup {
    name: String = "name",
    interval: String = "interval",
    query_offset: String = "query_offset",
    limit: usize = "limit",
    labels: BTreeMap<String, String> = "labels",
    rules: Vec<Spanned<RawRule>> = "rules",
});

mapping!(RawRule {
    record: String = "record",
    alert: String = "alert",
    expr: String = "expr",
    hold: String = "for",
    keep_firing: String = "keep_firing_for",
    labels: BTreeMap<String, String> = "labels",
    annotations: BTreeMap<String, String> = "annotations",
});

/// Reads the files that the patterns name, sorted by path. A path without a wildcard must exist.
pub fn read_files(patterns: &[String]) -> Result<Vec<RuleFile>, RulesError> {
    let mut paths = BTreeSet::new();
    for pattern in patterns {
        let found = glob::glob(pattern).map_err(|error| RulesError::Pattern {
            pattern: pattern.clone(),
            reason: error.to_string(),
        })?;
        if !pattern.contains(['*', '?', '[']) {
            paths.insert(Path::new(pattern).to_owned());
        }
        paths.extend(found.filter_map(Result::ok).filter(|path| path.is_file()));
    }
    paths.into_iter().map(read_file).collect()
}

fn read_file(path: std::path::PathBuf) -> Result<RuleFile, RulesError> {
    let shown = path.display().to_string();
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(RuleFile { path: shown, text }),
        Err(source) => Err(RulesError::Read { path: shown, source }),
    }
}

/// Reads and checks all files, or returns every mistake in them.
pub fn parse(
    files: &[RuleFile],
    defaults: Defaults,
    check_expr: CheckExpr<'_>,
) -> Result<Vec<GroupDef>, RulesError> {
    let mut groups = Vec::new();
    let mut mistakes = Vec::new();
    for file in files {
        let mut reader = Reader { file, defaults, check_expr, mistakes: &mut mistakes };
        groups.extend(reader.file());
    }
    if groups.len() > defaults.groups_max {
        mistakes.push(Mistake {
            file: "all files".to_owned(),
            line: 0,
            place: String::new(),
            message: format!(
                "{} groups, at most {} are allowed (rules.groups_max)",
                groups.len(),
                defaults.groups_max
            ),
        });
    }
    if mistakes.is_empty() { Ok(groups) } else { Err(RulesError::Mistakes(mistakes)) }
}

struct Reader<'a> {
    file: &'a RuleFile,
    defaults: Defaults,
    check_expr: CheckExpr<'a>,
    mistakes: &'a mut Vec<Mistake>,
}

/// Where in a file something stands.
#[derive(Clone)]
struct Place {
    line: u64,
    words: String,
}

impl Reader<'_> {
    fn mistake(&mut self, place: &Place, message: impl Into<String>) {
        self.mistakes.push(Mistake {
            file: self.file.path.clone(),
            line: place.line,
            place: place.words.clone(),
            message: message.into(),
        });
    }

    fn file(&mut self) -> Vec<GroupDef> {
        let top = Place { line: 0, words: String::new() };
        if self.file.text.lines().all(|line| line.trim().is_empty() || line.starts_with('#')) {
            return Vec::new();
        }
        let raw: RawFile = match serde_saphyr::from_str(&self.file.text) {
            Ok(raw) => raw,
            Err(error) => {
                let (line, reason) = yaml::reason(&error);
                self.mistake(&Place { line, ..top }, reason);
                return Vec::new();
            }
        };
        self.unknown(&top, &raw.unknown, RawFile::KEYS);
        let mut names = BTreeSet::new();
        let mut groups = Vec::new();
        for (idx, Spanned { value, referenced, .. }) in
            raw.groups.unwrap_or_default().into_iter().enumerate()
        {
            let name = value.name.clone().unwrap_or_default();
            let words = match name.is_empty() {
                true => format!("group {}", idx + 1),
                false => format!("group {name:?}"),
            };
            let place = Place { line: referenced.line(), words };
            if name.is_empty() {
                self.mistake(&place, "a group needs a `name`");
            } else if !names.insert(name.clone()) {
                self.mistake(&place, "this name stands twice in the file");
            }
            groups.push(self.group(&place, name, value));
        }
        groups
    }

    fn unknown(&mut self, place: &Place, keys: &[String], known: &[&str]) {
        for key in keys {
            self.mistake(place, yaml::unknown_key(key, known));
        }
    }

    fn group(&mut self, place: &Place, name: String, raw: RawGroup) -> GroupDef {
        self.unknown(place, &raw.unknown, RawGroup::KEYS);
        let interval_ms = self.duration(place, "interval", raw.interval.as_deref());
        let query_offset_ms = self.duration(place, "query_offset", raw.query_offset.as_deref());
        let shared = raw.labels.unwrap_or_default();
        self.label_names(place, "label", shared.keys());
        let mut rules = Vec::new();
        for (idx, Spanned { value, referenced, .. }) in
            raw.rules.unwrap_or_default().into_iter().enumerate()
        {
            let called = value.alert.as_ref().or(value.record.as_ref());
            let called = called.map(|name| format!(" {name:?}")).unwrap_or_default();
            let words = format!("{}, rule {}{called}", place.words, idx + 1);
            let rule_place = Place { line: referenced.line(), words };
            rules.extend(self.rule(&rule_place, value, &shared));
        }
        GroupDef {
            file: self.file.path.clone(),
            name,
            // As in Prometheus, an interval of 0 asks for the default.
            interval_ms: interval_ms.filter(|ms| *ms > 0).unwrap_or(self.defaults.interval_ms),
            query_offset_ms: query_offset_ms.unwrap_or(self.defaults.query_offset_ms),
            limit: raw.limit.unwrap_or(0),
            rules,
        }
    }

    fn rule(
        &mut self,
        place: &Place,
        raw: RawRule,
        shared: &BTreeMap<String, String>,
    ) -> Option<RuleDef> {
        self.unknown(place, &raw.unknown, RawRule::KEYS);
        let mut labels = shared.clone();
        self.label_names(place, "label", raw.labels.iter().flat_map(BTreeMap::keys));
        labels.extend(raw.labels.unwrap_or_default());
        let query = self.expr(place, raw.expr.as_deref());
        let hold_ms = self.duration(place, "for", raw.hold.as_deref());
        let keep_firing_ms = self.duration(place, "keep_firing_for", raw.keep_firing.as_deref());
        let annotations = raw.annotations.unwrap_or_default();
        self.label_names(place, "annotation", annotations.keys());
        match (raw.alert, raw.record) {
            (Some(name), None) if !name.is_empty() => {
                let labels = self.templates(place, &name, "label", labels);
                let annotations = self.templates(place, &name, "annotation", annotations);
                Some(RuleDef::Alert(AlertDef {
                    name,
                    expr: raw.expr?,
                    query: query?,
                    hold_ms: hold_ms.unwrap_or(0),
                    keep_firing_ms: keep_firing_ms.unwrap_or(0),
                    labels,
                    annotations,
                }))
            }
            (None, Some(name)) if !name.is_empty() => {
                self.record_only(
                    place,
                    &name,
                    [
                        ("for", hold_ms.is_some()),
                        ("keep_firing_for", keep_firing_ms.is_some()),
                        ("annotations", !annotations.is_empty()),
                    ],
                );
                let labels = labels.into_iter().collect();
                Some(RuleDef::Record(RecordDef { name, expr: raw.expr?, query: query?, labels }))
            }
            (Some(_), Some(_)) => {
                self.mistake(place, "a rule has `record` or `alert`, not both");
                None
            }
            _ => {
                self.mistake(place, "a rule needs `record` or `alert`");
                None
            }
        }
    }

    fn record_only(&mut self, place: &Place, name: &str, alert_keys: [(&str, bool); 3]) {
        if !is_metric_name(name) {
            self.mistake(place, format!("`{name}` is not a metric name"));
        }
        for (key, _) in alert_keys.iter().filter(|(_, is_set)| *is_set) {
            self.mistake(place, format!("`{key}` has no meaning in a recording rule"));
        }
    }

    fn expr(&mut self, place: &Place, expr: Option<&str>) -> Option<String> {
        let Some(expr) = expr.filter(|expr| !expr.trim().is_empty()) else {
            self.mistake(place, "a rule needs an `expr`");
            return None;
        };
        match (self.check_expr)(expr) {
            Ok(query) => Some(query),
            Err(reason) => {
                self.mistake(place, format!("cannot read the expression: {reason}"));
                None
            }
        }
    }

    fn duration(&mut self, place: &Place, key: &str, text: Option<&str>) -> Option<i64> {
        match units::parse_duration_ms(text?) {
            Ok(ms) => Some(ms),
            Err(error) => {
                self.mistake(place, format!("`{key}`: {error}"));
                None
            }
        }
    }

    fn label_names<'n>(
        &mut self,
        place: &Place,
        what: &str,
        names: impl Iterator<Item = &'n String>,
    ) {
        for name in names {
            if !is_label_name(name) || name == "__name__" {
                self.mistake(place, format!("`{name}` is not a name for {what}s"));
            }
        }
    }

    fn templates(
        &mut self,
        place: &Place,
        alert: &str,
        what: &str,
        texts: BTreeMap<String, String>,
    ) -> Vec<(String, Template)> {
        let mut templates = Vec::new();
        for (name, text) in texts {
            match Template::parse(&format!("__alert_{alert}"), &text) {
                Ok(template) => templates.push((name, template)),
                Err(error) => self.mistake(place, format!("{what} {name:?}: {error}")),
            }
        }
        templates
    }
}

fn is_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let starts_well = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    starts_well && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

fn is_metric_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let starts_well =
        bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || matches!(b, b'_' | b':'));
    starts_well && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':'))
}
