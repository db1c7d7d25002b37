//! Rule files to checked definitions; every mistake of every file is reported at once.
//!
//! The format is Prometheus'. A name that is wrong, an expression or template that cannot be read, a
//! key that nobody knows: all are found here, so that a rule which is in force can only fail on data.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_saphyr::Spanned;

use crate::base::units;
use crate::model::names::is_label_name;

use super::RulesError;
use super::def::{CheckExpr, Defaults, GroupDef, Mistake, RuleFile};
use super::dialect::{Dialect, RANGE_MS_USUAL};
use super::objectives::{self, RawObjective};
use super::overrides_load::{self, RawOverride};
use super::rule_load::Speech;
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
    pub(super) check_expr: CheckExpr<'a>,
    mistakes: &'a mut Vec<Mistake>,
}

/// Where in a file something stands.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) words: String,
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
}
