//! Where values come from, and which one wins: flag, then environment, then file.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use toml::de::DeTable;
use toml::{Table, Value};

use super::mistake::{ConfigError, Mistake, Origin};
use super::{ConfigFile, keys};

/// The file that is read when none is named, if it exists.
pub const DEFAULT_PATH: &str = "config/commonwatch.toml";

/// What every variable of ours begins with.
const PREFIX: &str = "COMMONWATCH_";

/// A value from the command line.
#[derive(Debug, Clone)]
pub struct Flag {
    /// As a person writes it, `--http`.
    pub name: &'static str,
    /// `section.key`.
    pub key: &'static str,
    /// The value.
    pub value: Value,
}

/// Where values come from.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// The file named by a person; `None` reads [`DEFAULT_PATH`] if it exists.
    pub path: Option<PathBuf>,
    /// The environment; other programs' variables are passed over.
    pub environment: Vec<(String, String)>,
    /// The command line.
    pub flags: Vec<Flag>,
}

/// The values that were understood, where each comes from, and what was not understood.
#[derive(Debug, Default)]
pub(super) struct Merged {
    pub(super) file: ConfigFile,
    pub(super) origins: HashMap<String, Origin>,
    pub(super) mistakes: Vec<Mistake>,
    pub(super) table: Table,
}

impl Sources {
    /// Reads and merges; fails only when the file cannot be read.
    pub(super) fn merge(&self) -> Result<Merged, ConfigError> {
        let mut merged = Merged::default();
        if let Some((path, text)) = self.read()? {
            merged.add_file(&path, &text);
        }
        for (name, text) in &self.environment {
            merged.add_variable(name, text);
        }
        for flag in &self.flags {
            let (section, key) =
                flag.key.split_once('.').expect("flags are written as section.key");
            merged.add(section, key, std::slice::from_ref(&flag.value), Origin::Flag(flag.name));
        }
        merged.file = ConfigFile::deserialize(merged.table.clone()).unwrap_or_else(|error| {
            merged.fault(Origin::Default, "", error.message().to_owned());
            ConfigFile::default()
        });
        Ok(merged)
    }

    fn read(&self) -> Result<Option<(PathBuf, String)>, ConfigError> {
        let path = self.path.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_PATH));
        match std::fs::read_to_string(&path) {
            Ok(text) => Ok(Some((path, text))),
            Err(error) if self.path.is_none() && error.kind() == std::io::ErrorKind::NotFound => {
                Ok(None)
            }
            Err(source) => Err(ConfigError::Read { path, source }),
        }
    }
}

impl Merged {
    pub(super) fn fault(&mut self, origin: Origin, key: &str, message: String) {
        self.mistakes.push(Mistake { origin, key: key.to_owned(), message });
    }

    /// Returns where a key, or an element of a list, was set.
    pub(super) fn origin_of(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }

    pub(super) fn add_file(&mut self, path: &Path, text: &str) {
        let at = |offset: usize| {
            let line = 1 + text.as_bytes().iter().take(offset).filter(|b| **b == b'\n').count();
            Origin::Line { path: path.to_owned(), line }
        };
        let (spans, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            for error in errors {
                let offset = error.span().map_or(0, |span| span.start);
                self.fault(at(offset), "", format!("this is not TOML: {}", error.message()));
            }
            return;
        }
        let values: Table = text.parse().expect("the same text was parsed just now");
        for (section, spanned) in spans.get_ref() {
            let value = &values[section.get_ref().as_ref()];
            let (Some(keys), Some(table)) = (spanned.get_ref().as_table(), value.as_table()) else {
                self.fault(at(section.span().start), section.get_ref(), stray(section.get_ref()));
                continue;
            };
            if keys::of_section(section.get_ref()).is_empty() {
                let name = section.get_ref();
                self.fault(at(section.span().start), name, no_section(name));
                continue;
            }
            for (key, value_span) in keys {
                let value = &table[key.get_ref().as_ref()];
                let full = format!("{}.{}", section.get_ref(), key.get_ref());
                if let Some(elements) = value_span.get_ref().as_array() {
                    for (idx, element) in elements.iter().enumerate() {
                        let element_key = format!("{full}[{idx}]");
                        self.note_keys(&element_key, element.get_ref().as_table(), &at);
                        self.origins.insert(element_key, at(element.span().start));
                    }
                }
                self.note_keys(&full, value_span.get_ref().as_table(), &at);
                let origin = at(key.span().start);
                self.add(section.get_ref(), key.get_ref(), std::slice::from_ref(value), origin);
            }
        }
    }

    /// Notes where the keys inside of a value were set.
    fn note_keys(&mut self, full: &str, table: Option<&DeTable<'_>>, at: &dyn Fn(usize) -> Origin) {
        for inner in table.into_iter().flat_map(|table| table.keys()) {
            let inner_key = format!("{full}.{}", inner.get_ref());
            self.origins.insert(inner_key, at(inner.span().start));
        }
    }

    pub(super) fn add_variable(&mut self, name: &str, text: &str) {
        let Some(rest) = name.strip_prefix(PREFIX) else { return };
        let rest = rest.to_ascii_lowercase();
        // Kubernetes sets `COMMONWATCH_SERVICE_HOST` and the like for a service of our name, so a
        // variable that names none of our sections is not ours.
        let sections = keys::sections().iter();
        let found = sections.filter_map(|s| Some((*s, rest.strip_prefix(s)?.strip_prefix('_')?)));
        let Some((section, key)) = found.max_by_key(|(section, _)| section.len()) else { return };
        let mut candidates = vec![Value::String(text.to_owned())];
        if let Ok(table) = format!("v = {text}").parse::<Table>() {
            candidates.extend(table.get("v").cloned());
        }
        let parts = text.split(',').map(|part| Value::String(part.trim().to_owned()));
        candidates.push(Value::Array(parts.collect()));
        let origin = Origin::Variable(name.to_owned());
        match key_in_table(section, key) {
            Some((table, inner)) => self.add_inner(section, (table, inner), &candidates, origin),
            None => self.add(section, key, &candidates, origin),
        }
    }

    /// Adds a key of a table in a section, beside those that the table has.
    fn add_inner(
        &mut self,
        section: &str,
        (table, inner): (&str, &str),
        candidates: &[Value],
        origin: Origin,
    ) {
        let there = self.table.get(section).and_then(|section| section.get(table));
        let there = there.and_then(Value::as_table).cloned().unwrap_or_default();
        let with = |candidate: &Value| {
            let mut table = there.clone();
            table.insert(inner.to_owned(), candidate.clone());
            Value::Table(table)
        };
        let candidates: Vec<Value> = candidates.iter().map(with).collect();
        self.origins.insert(format!("{section}.{table}.{inner}"), origin.clone());
        self.add(section, table, &candidates, origin);
    }

    /// Takes the first candidate that is understood when it stands alone.
    fn add(&mut self, section: &str, key: &str, candidates: &[Value], origin: Origin) {
        let full = format!("{section}.{key}");
        let known = keys::of_section(section);
        if !known.contains(&key) {
            self.fault(origin, &full, no_key(section, key, known));
            return;
        }
        let fits = |value: &&Value| try_alone(section, key, value).is_ok();
        match candidates.iter().find(fits) {
            Some(value) => {
                let slot = self.table.entry(section).or_insert_with(|| Value::Table(Table::new()));
                let table = slot.as_table_mut().expect("sections are tables");
                table.insert(key.to_owned(), value.clone());
                self.origins.insert(full, origin);
            }
            None => self.explain(section, key, &candidates[0], origin),
        }
    }

    /// Tells what is wrong with a value; of a list, with each of its elements.
    fn explain(&mut self, section: &str, key: &str, value: &Value, origin: Origin) {
        let full = format!("{section}.{key}");
        let n_before = self.mistakes.len();
        for (idx, element) in value.as_array().into_iter().flatten().enumerate() {
            let alone = Value::Array(vec![element.clone()]);
            if let Err(message) = try_alone(section, key, &alone) {
                let element = format!("{full}[{idx}]");
                let origin = self.origins.get(&element).cloned().unwrap_or_else(|| origin.clone());
                self.fault(origin, &element, message);
            }
        }
        if self.mistakes.len() == n_before
            && let Err(message) = try_alone(section, key, value)
        {
            self.fault(origin, &full, message);
        }
    }
}

/// Returns the table of a section and the key in it that a variable's name means.
fn key_in_table<'a>(section: &str, key: &'a str) -> Option<(&'static str, &'a str)> {
    let known = keys::of_section(section);
    if known.contains(&key) {
        return None;
    }
    let split = |table: &&'static str| Some((*table, key.strip_prefix(*table)?.strip_prefix('_')?));
    let found = known.iter().filter_map(split);
    found.into_iter().find(|(table, inner)| keys::of_table(section, table).contains(inner))
}

fn try_alone(section: &str, key: &str, value: &Value) -> Result<(), String> {
    let mut inner = Table::new();
    inner.insert(key.to_owned(), value.clone());
    let mut outer = Table::new();
    outer.insert(section.to_owned(), Value::Table(inner));
    let tried = ConfigFile::deserialize(outer).map(drop);
    // Serde names Rust's types, which say nothing to whoever writes the file.
    tried.map_err(|error| {
        let message = error.message().replace("expected usize", "expected a whole number");
        message.replace("expected u32", "expected a whole number")
    })
}

fn stray(key: &str) -> String {
    let home = keys::sections().iter().find(|section| keys::of_section(section).contains(&key));
    match home {
        Some(section) => format!("the key belongs under [{section}]"),
        None => no_section(key),
    }
}

fn no_section(name: &str) -> String {
    let known = keys::sections();
    match keys::nearest(name, known) {
        Some(near) => format!("there is no section [{name}]: did you mean [{near}]?"),
        None => format!("there is no section [{name}]: there are {}", known.join(", ")),
    }
}

/// Keys that have moved, by their old names.
const MOVED: [(&str, &str); 7] = [
    ("limits.query_text", "query.promql_text_max"),
    ("limits.query_tokens", "query.promql_tokens_max"),
    ("limits.query_depth", "query.promql_depth_max"),
    ("limits.query_samples", "query.samples_max"),
    ("limits.query_series", "query.series_max"),
    ("limits.query_memory", "query.memory"),
    ("limits.query_timeout", "query.timeout"),
];

fn no_key(section: &str, key: &str, known: &[&str]) -> String {
    let full = format!("{section}.{key}");
    if let Some((_, now)) = MOVED.iter().find(|(old, _)| *old == full) {
        return format!("[{section}] has no key `{key}`: it is `{now}` now");
    }
    match keys::nearest(key, known) {
        Some(near) => format!("[{section}] has no key `{key}`: did you mean `{near}`?"),
        None => format!("[{section}] has no key `{key}`: there are {}", known.join(", ")),
    }
}
