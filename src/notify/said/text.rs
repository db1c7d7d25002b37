//! A text of the configuration: plain, or a template of Alertmanager's kind.
//!
//! Files that `templates` names define templates, which any text may call beside those that
//! Alertmanager has by itself. A template that cannot be read is a mistake of the configuration; one
//! that fails on a notification gives way to the default and says so in the log, because a broken text
//! must not keep anybody from being told.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::words::Words;
use crate::template::{Kind, Limits, Program, Stop, TEXT_FUNCTIONS, Value};

/// What Alertmanager adds to Go's functions, and the dot.
pub(super) const KIND: Kind =
    Kind { functions: &[super::host::FUNCTIONS, TEXT_FUNCTIONS], variables: &["$"] };

/// The most that one text may become, and what it may cost.
const LIMITS: Limits = Limits { output_bytes_max: 256 << 10, steps_max: 500_000 };

/// The templates that files define.
#[derive(Debug, Default)]
pub(in crate::notify) struct Library {
    programs: Vec<Program>,
    /// The files' texts, to tell two libraries apart.
    texts: Vec<String>,
}

impl Library {
    /// Adds the templates of a file; the error names its line.
    pub(in crate::notify) fn add(&mut self, text: String) -> Result<(), (usize, String)> {
        self.programs.push(Program::parse(&text, KIND)?);
        self.texts.push(text);
        Ok(())
    }

    /// Returns the file that defines a template; of two the later one.
    pub(super) fn defining(&self, name: &str) -> Option<&Program> {
        self.programs.iter().rev().find(|program| program.defined().any(|own| own == name))
    }

    /// Returns the names of templates that are called and that nobody defines.
    pub(in crate::notify) fn missing(&self) -> Vec<String> {
        let called = self.programs.iter().flat_map(Program::called);
        let missing: BTreeSet<&str> = called.filter(|name| !self.knows(name)).collect();
        missing.into_iter().map(str::to_owned).collect()
    }

    fn knows(&self, name: &str) -> bool {
        self.defining(name).is_some() || super::host::is_built_in(name)
    }
}

/// A text.
#[derive(Debug, Clone)]
pub(in crate::notify) struct Text {
    text: Arc<str>,
    program: Option<Arc<Program>>,
    library: Arc<Library>,
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        (&self.text, &self.library.texts) == (&other.text, &other.library.texts)
    }
}

impl Text {
    /// Reads a text, or says what is wrong with it.
    pub(in crate::notify) fn parse(text: &str, library: &Arc<Library>) -> Result<Self, String> {
        let mut program = None;
        if text.contains("{{") {
            let parsed = Program::parse(text, KIND)
                .map_err(|(line, reason)| format!("template: line {line}: {reason}"))?;
            if let Some(missing) = parsed.called().find(|name| !library.knows(name)) {
                return Err(format!("template {missing:?} is defined nowhere"));
            }
            program = Some(Arc::new(parsed));
        }
        Ok(Self { text: text.into(), program, library: Arc::clone(library) })
    }

    /// Returns what it says of a notification.
    pub(super) fn say(&self, words: &Words<'_>, is_html: bool) -> Result<String, String> {
        let Some(program) = &self.program else { return Ok(self.text.to_string()) };
        let host = super::host::Told { words, library: &self.library, is_html };
        let variables = vec![("$".to_owned(), Value::Root)];
        program.run(&host, LIMITS, &Value::Root, variables).map_err(|(line, stop)| match stop {
            Stop::Fail(reason) => format!("line {line}: {reason}"),
            Stop::NeedsQuery(_) => "a notification asks nothing".to_owned(),
        })
    }
}
