//! `line_format` and `label_format`: Go's `text/template` with Loki's functions.
//!
//! A template is parsed once a query and run once a line, with the line's labels as its fields. What
//! it may do is bounded: how deep it nests, how much it writes and how many steps it takes for one
//! line, so that no template can be made to run for ever. There is no way out of it: it reads the
//! line, its time and its labels, and nothing else.

mod arithmetic;
mod dates;
mod functions;
mod lexer;
mod parse;
mod printf;
mod run;
mod texts;
mod value;

#[cfg(test)]
mod tests;

use parking_lot::Mutex;
use regex::Regex;

pub(super) use run::Scope;

/// A parsed template.
#[derive(Debug)]
pub(super) struct Template {
    nodes: Vec<parse::Node>,
    /// Regular expressions that functions were called with, compiled.
    regexes: Mutex<Vec<(String, Regex)>>,
}

/// Compiled expressions kept by one template; a label may be one, so there is no end to them.
const REGEXES_MAX: usize = 16;
/// The largest compiled expression.
const REGEX_PROGRAM_BYTES_MAX: usize = 1 << 20;

impl Template {
    /// Parses a template.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        Ok(Self { nodes: parse::parse(text)?, regexes: Mutex::default() })
    }

    /// Returns what the template makes of a line.
    pub(super) fn render(&self, scope: &Scope<'_>) -> Result<String, String> {
        run::render(self, scope)
    }

    /// Returns the labels that the template names, or `None` when it may look at any.
    pub(super) fn fields(&self) -> Option<Vec<String>> {
        parse::fields(&self.nodes)
    }

    fn regex(&self, pattern: &str) -> Result<Regex, String> {
        let mut known = self.regexes.lock();
        if let Some((_, regex)) = known.iter().find(|(text, _)| text == pattern) {
            return Ok(regex.clone());
        }
        let regex = regex::RegexBuilder::new(pattern).size_limit(REGEX_PROGRAM_BYTES_MAX).build();
        let regex = regex.map_err(|error| format!("error parsing regexp: {error}"))?;
        if known.len() >= REGEXES_MAX {
            known.clear();
        }
        known.push((pattern.to_owned(), regex.clone()));
        Ok(regex)
    }
}
