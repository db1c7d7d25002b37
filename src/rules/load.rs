//! Rule files to checked definitions; every mistake of every file is reported at once.
//!
//! The format is Prometheus'. A name that is wrong, an expression or template that cannot be read, a
//! key that nobody knows: all are found here, so that a rule which is in force can only fail on data.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_saphyr::Spanned;

use crate::base::units;
use crate::model::names::{is_label_name, is_metric_name};

use super::RulesError;
use super::def::{AlertDef, CheckExpr, Defaults, GroupDef, Mistake, RecordDef, RuleDef, RuleFile};
use super::dialect::{Asked, Dialect, RANGE_MS_USUAL};
use super::objectives::{self, RawObjective};
use super::overrides::{Overrides, Threshold};
use super::overrides_load::{self, RawOverride};
use super::text::Template;
use super::yaml::{self, mapping};

mapping!(RawFile {
    groups: Vec<Spanned<RawGroup>> = "groups",
    overrides: Vec<Spanned<RawOverride>> = "overrides",
    objectives: Vec<Spanned<RawObjective>> = "objectives",
});

mapping!(RawGroup {
    name: String = "name",
    interval: String = "interval",
    query_offset: String = "query_offset",
    limit: usize = "limit",
    dialect: String = "type",
    range: String = "range",
    labels: BTreeMap<String, String> = "labels",
    rules: Vec<Spanned<RawRule>> = "rules",
});

mapping!(RawRule {
    record: String = "record",
    alert: String = "alert",
    expr: String = "expr",
    dialect: String = "type",
    range: String = "range",
    threshold: String = "threshold",
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
    let mut overrides = Vec::new();
    for file in files {
        let mut reader = Reader { file, defaults, check_expr, mistakes: &mut mistakes };
        let (read, named) = reader.file();
        groups.extend(read);
        overrides.extend(named);
    }
    overrides_load::apply(overrides, &mut groups, &mut mistakes);
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

/// Reads one file.
pub(super) struct Reader<'a> {
    pub(super) file: &'a RuleFile,
    defaults: Defaults,
    check_expr: CheckExpr<'a>,
    mistakes: &'a mut Vec<Mistake>,
}

/// Where in a file something stands.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) words: String,
}

/// The language of a group's or a rule's expression, and how far back it looks.
#[derive(Clone, Copy)]
struct Speech {
    dialect: Dialect,
    range_ms: i64,
}

/// What a rule says beside its name; what could not be read is not there.
struct Said {
    asked: Option<Asked>,
    /// The expression, formatted.
    query: Option<String>,
    threshold: Option<Threshold>,
    hold_ms: Option<i64>,
    keep_firing_ms: Option<i64>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
}

impl Reader<'_> {
    pub(super) fn mistake(&mut self, place: &Place, message: impl Into<String>) {
        self.mistakes.push(Mistake {
            file: self.file.path.clone(),
            line: place.line,
            place: place.words.clone(),
            message: message.into(),
        });
    }

    fn file(&mut self) -> (Vec<GroupDef>, Vec<overrides_load::Named>) {
        let top = Place { line: 0, words: String::new() };
        if self.file.text.lines().all(|line| line.trim().is_empty() || line.starts_with('#')) {
            return (Vec::new(), Vec::new());
        }
        let raw: RawFile = match serde_saphyr::from_str(&self.file.text) {
            Ok(raw) => raw,
            Err(error) => {
                let (line, reason) = yaml::reason(&error);
                self.mistake(&Place { line, ..top }, reason);
                return (Vec::new(), Vec::new());
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
        groups.extend(objectives::groups(self, raw.objectives.unwrap_or_default()));
        let overrides = raw.overrides.unwrap_or_default();
        (groups, overrides_load::read(self, overrides))
    }

    pub(super) fn unknown(&mut self, place: &Place, keys: &[String], known: &[&str]) {
        for key in keys {
            self.mistake(place, yaml::unknown_key(key, known));
        }
    }

    /// Checks a group whose rules were made here and not read.
    pub(super) fn compiled(
        &mut self,
        place: &Place,
        name: String,
        group: RawGroup,
        rules: Vec<RawRule>,
    ) -> GroupDef {
        let mut def = self.group(place, name, group);
        let speech = Speech { dialect: Dialect::Promql, range_ms: RANGE_MS_USUAL };
        for rule in rules {
            def.rules.extend(self.rule(place, rule, &BTreeMap::new(), speech));
        }
        def
    }

    fn group(&mut self, place: &Place, name: String, raw: RawGroup) -> GroupDef {
        self.unknown(place, &raw.unknown, RawGroup::KEYS);
        let interval_ms = self.duration(place, "interval", raw.interval.as_deref());
        let query_offset_ms = self.duration(place, "query_offset", raw.query_offset.as_deref());
        let usual = Speech { dialect: Dialect::Promql, range_ms: RANGE_MS_USUAL };
        let speech = self.speech(place, raw.dialect.as_deref(), raw.range.as_deref(), usual);
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
            rules.extend(self.rule(&rule_place, value, &shared, speech));
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
        mut raw: RawRule,
        shared: &BTreeMap<String, String>,
        speech: Speech,
    ) -> Option<RuleDef> {
        self.unknown(place, &raw.unknown, RawRule::KEYS);
        let names = (raw.alert.take(), raw.record.take());
        let said = self.said(place, raw, shared, speech);
        match names {
            (Some(name), None) if !name.is_empty() => {
                self.alert(place, name, said).map(RuleDef::Alert)
            }
            (None, Some(name)) if !name.is_empty() => {
                self.record(place, name, said).map(RuleDef::Record)
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

    fn said(
        &mut self,
        place: &Place,
        raw: RawRule,
        shared: &BTreeMap<String, String>,
        speech: Speech,
    ) -> Said {
        let mut labels = shared.clone();
        self.label_names(place, "label", raw.labels.iter().flat_map(BTreeMap::keys));
        labels.extend(raw.labels.unwrap_or_default());
        let speech = self.speech(place, raw.dialect.as_deref(), raw.range.as_deref(), speech);
        let threshold = self.threshold(place, raw.threshold.as_deref());
        let query = self.expr(place, speech.dialect, raw.expr.as_deref());
        let Speech { dialect, range_ms } = speech;
        let asked = raw.expr.map(|text| Asked { dialect, text, range_ms });
        let hold_ms = self.duration(place, "for", raw.hold.as_deref());
        let keep_firing_ms = self.duration(place, "keep_firing_for", raw.keep_firing.as_deref());
        let annotations = raw.annotations.unwrap_or_default();
        self.label_names(place, "annotation", annotations.keys());
        Said { asked, query, threshold, hold_ms, keep_firing_ms, labels, annotations }
    }

    fn alert(&mut self, place: &Place, name: String, said: Said) -> Option<AlertDef> {
        let labels = self.templates(place, &name, "label", said.labels);
        let annotations = self.templates(place, &name, "annotation", said.annotations);
        Some(AlertDef {
            name,
            asked: said.asked?,
            query: with_threshold(said.query?, said.threshold),
            threshold: said.threshold,
            overrides: Overrides::default(),
            hold_ms: said.hold_ms.unwrap_or(0),
            keep_firing_ms: said.keep_firing_ms.unwrap_or(0),
            labels,
            annotations,
        })
    }

    fn record(&mut self, place: &Place, name: String, said: Said) -> Option<RecordDef> {
        let of_alerts = [
            ("for", said.hold_ms.is_some()),
            ("keep_firing_for", said.keep_firing_ms.is_some()),
            ("annotations", !said.annotations.is_empty()),
            ("threshold", said.threshold.is_some()),
        ];
        self.record_only(place, &name, of_alerts);
        let labels = said.labels.into_iter().collect();
        Some(RecordDef { name, asked: said.asked?, query: said.query?, labels })
    }

    fn record_only(&mut self, place: &Place, name: &str, alert_keys: [(&str, bool); 4]) {
        if !is_metric_name(name) {
            self.mistake(place, format!("`{name}` is not a metric name"));
        }
        for (key, _) in alert_keys.iter().filter(|(_, is_set)| *is_set) {
            self.mistake(place, format!("`{key}` has no meaning in a recording rule"));
        }
    }

    /// Reads `type` and `range`; what is not said is as it is around.
    fn speech(
        &mut self,
        place: &Place,
        dialect: Option<&str>,
        range: Option<&str>,
        around: Speech,
    ) -> Speech {
        let named = dialect.map(|name| (name, Dialect::named(name)));
        if let Some((name, None)) = named {
            let known = Dialect::ALL.map(Dialect::as_str).join(", ");
            self.mistake(place, format!("`type`: `{name}` is none of {known}"));
        }
        let dialect = named.and_then(|(_, known)| known).unwrap_or(around.dialect);
        let range_ms = self.duration(place, "range", range);
        if range_ms.is_some() && !dialect.has_range() {
            let message = format!(
                "`range` has no meaning in {}, whose expressions say it themselves",
                dialect.as_str()
            );
            self.mistake(place, message);
        }
        if range_ms == Some(0) {
            self.mistake(place, "`range` must be more than 0");
        }
        Speech { dialect, range_ms: range_ms.unwrap_or(around.range_ms) }
    }

    fn threshold(&mut self, place: &Place, text: Option<&str>) -> Option<Threshold> {
        match Threshold::parse(text?) {
            Ok(threshold) => Some(threshold),
            Err(reason) => {
                self.mistake(place, format!("`threshold`: {reason}"));
                None
            }
        }
    }

    fn expr(&mut self, place: &Place, dialect: Dialect, expr: Option<&str>) -> Option<String> {
        let Some(expr) = expr.filter(|expr| !expr.trim().is_empty()) else {
            self.mistake(place, "a rule needs an `expr`");
            return None;
        };
        match (self.check_expr)(dialect, expr) {
            Ok(query) => Some(query),
            Err(reason) => {
                self.mistake(place, format!("cannot read the expression: {reason}"));
                None
            }
        }
    }

    pub(super) fn duration(&mut self, place: &Place, key: &str, text: Option<&str>) -> Option<i64> {
        match units::parse_duration_ms(text?) {
            Ok(ms) => Some(ms),
            Err(error) => {
                self.mistake(place, format!("`{key}`: {error}"));
                None
            }
        }
    }

    pub(super) fn label_names<'n>(
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

/// Shows a threshold where it belongs: behind the expression.
fn with_threshold(query: String, threshold: Option<Threshold>) -> String {
    match threshold {
        Some(threshold) => format!("({query}) {threshold}"),
        None => query,
    }
}
