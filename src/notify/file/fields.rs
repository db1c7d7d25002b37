//! Reading the keys of a mapping, and collecting every mistake instead of stopping at the first.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use super::Mistake;
use super::node::{Node, Value};
use crate::base::units;

/// What all readers share: the file's place and the mistakes so far.
#[derive(Debug)]
pub(super) struct Reading {
    pub(super) folder: PathBuf,
    mistakes: RefCell<Vec<Mistake>>,
}

impl Reading {
    pub(super) fn new(path: &Path) -> Self {
        let folder = path.parent().unwrap_or(Path::new(".")).to_owned();
        Self { folder, mistakes: RefCell::default() }
    }

    pub(super) fn mistake(&self, line: u64, message: impl Into<String>) {
        self.mistakes.borrow_mut().push(Mistake { line, message: message.into() });
    }

    pub(super) fn into_mistakes(self) -> Vec<Mistake> {
        let mut mistakes = self.mistakes.into_inner();
        mistakes.sort_by_key(|mistake| mistake.line);
        mistakes
    }

    /// Returns the items of a list; one that is missing is empty.
    pub(super) fn list<'n>(&self, key: &str, node: Option<&'n Node>) -> &'n [Node] {
        match node {
            None | Some(Node { value: Value::Null, .. }) => &[],
            Some(Node { value: Value::List(nodes), .. }) => nodes,
            Some(other) => {
                let kind = other.kind();
                self.mistake(other.line, format!("`{key}` must be a list, and is {kind}"));
                &[]
            }
        }
    }

    /// Returns a scalar's text.
    pub(super) fn text<'n>(&self, key: &str, node: &'n Node) -> Option<&'n str> {
        match &node.value {
            Value::Scalar(text) => Some(text),
            Value::Null => None,
            _ => {
                let kind = node.kind();
                self.mistake(node.line, format!("`{key}` must be a text, and is {kind}"));
                None
            }
        }
    }

    /// Returns what is in a file that is named beside this one; a line's end at its end is not part.
    pub(super) fn file(&self, key: &str, line: u64, path: impl AsRef<Path>) -> Option<String> {
        let path = self.folder.join(path);
        match read_small(&path) {
            Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) => {
                self.mistake(line, format!("`{key}`: cannot read {}: {error}", path.display()));
                None
            }
        }
    }
}

/// The most bytes of a file that holds a secret, a URL, a certificate or templates.
const SMALL_BYTES_MAX: u64 = 1 << 20;

/// A device or a pipe may have no end.
fn read_small(path: &Path) -> std::io::Result<String> {
    let about = std::fs::metadata(path)?;
    if !about.is_file() || about.len() > SMALL_BYTES_MAX {
        let message = format!("not a file of at most {SMALL_BYTES_MAX} bytes");
        return Err(std::io::Error::other(message));
    }
    std::fs::read_to_string(path)
}

/// A mapping whose keys are taken one after the other; what is left at the end is unknown.
#[derive(Debug)]
pub(super) struct Fields<'n, 'r> {
    pub(super) reading: &'r Reading,
    pub(super) what: String,
    pub(super) line: u64,
    pairs: &'n [(String, Node)],
    known: RefCell<Vec<&'static str>>,
}

impl<'n, 'r> Fields<'n, 'r> {
    /// Begins to read a mapping; `what` names it in messages.
    pub(super) fn of(reading: &'r Reading, what: impl Into<String>, node: &'n Node) -> Self {
        let what = what.into();
        let pairs: &[(String, Node)] = match &node.value {
            Value::Map(pairs) => pairs,
            Value::Null => &[],
            _ => {
                let kind = node.kind();
                reading.mistake(node.line, format!("{what} must be a mapping, and is {kind}"));
                &[]
            }
        };
        Self { reading, what, line: node.line, pairs, known: RefCell::default() }
    }

    /// Returns a key's value; `key: null` counts as absent.
    pub(super) fn get(&self, key: &'static str) -> Option<&'n Node> {
        self.known.borrow_mut().push(key);
        let found = self.pairs.iter().find(|(name, _)| name == key).map(|(_, node)| node);
        found.filter(|node| node.value != Value::Null)
    }

    /// Returns the line of a key's value, or that of the mapping.
    pub(super) fn line_of(&self, key: &str) -> u64 {
        let found = self.pairs.iter().find(|(name, _)| name == key);
        found.map_or(self.line, |(_, node)| node.line)
    }

    pub(super) fn text(&self, key: &'static str) -> Option<&'n str> {
        self.get(key).and_then(|node| self.reading.text(key, node))
    }

    pub(super) fn list(&self, key: &'static str) -> &'n [Node] {
        self.reading.list(key, self.get(key))
    }

    /// Returns the texts of a list.
    pub(super) fn texts(&self, key: &'static str) -> Vec<&'n str> {
        self.list(key).iter().filter_map(|node| self.reading.text(key, node)).collect()
    }

    pub(super) fn bool(&self, key: &'static str, default: bool) -> bool {
        match self.text(key) {
            None => default,
            Some("true" | "yes" | "on") => true,
            Some("false" | "no" | "off") => false,
            Some(other) => {
                self.wrong(key, format!("`{other}` is neither true nor false"));
                default
            }
        }
    }

    pub(super) fn number(&self, key: &'static str) -> Option<u64> {
        let text = self.text(key)?;
        let number = text.parse().ok();
        if number.is_none() {
            self.wrong(key, format!("`{text}` is not a whole number"));
        }
        number
    }

    pub(super) fn duration_ms(&self, key: &'static str) -> Option<i64> {
        let text = self.text(key)?;
        match units::parse_duration_ms(text) {
            Ok(ms) => Some(ms),
            Err(error) => {
                self.wrong(key, error.to_string());
                None
            }
        }
    }

    /// Returns the value of `key`, or what is in the file that `file_key` names; both is a mistake.
    pub(super) fn text_or_file(&self, key: &'static str, file_key: &'static str) -> Option<String> {
        match (self.text(key), self.text(file_key)) {
            (Some(_), Some(_)) => {
                self.wrong(file_key, format!("`{key}` is given as well: one of them is enough"));
                None
            }
            (Some(text), None) => Some(text.to_owned()),
            (None, Some(path)) => self.reading.file(file_key, self.line_of(file_key), path),
            (None, None) => None,
        }
    }

    /// Notes what is wrong with a key.
    pub(super) fn wrong(&self, key: &str, message: impl std::fmt::Display) {
        self.reading.mistake(self.line_of(key), format!("{}: `{key}`: {message}", self.what));
    }

    /// Refuses a key of Alertmanager's that we do not follow, by its name, when it is there.
    pub(super) fn refuse(&self, key: &'static str, why: &str) {
        if self.get(key).is_some() {
            self.wrong(key, format!("is not supported: {why}"));
        }
    }

    /// Notes every key that nobody asked for.
    pub(super) fn finish(self) {
        let mut known: Vec<&str> = Vec::new();
        for key in self.known.borrow().iter() {
            if !known.contains(key) {
                known.push(key);
            }
        }
        for (key, node) in self.pairs {
            if !known.contains(&key.as_str()) {
                let message =
                    format!("{}: unknown key `{key}`; known are {}", self.what, known.join(", "));
                self.reading.mistake(node.line, message);
            }
        }
    }
}
