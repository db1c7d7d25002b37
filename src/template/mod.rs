//! Go's text/template: what people write into rules, notifications and LogQL.
//!
//! The engine is pure: a program, a host and a value in, text or a reason out. The host is whoever runs
//! it: it knows functions beside Go's own, methods of values, and what the dot is. Every run has fuel
//! and a largest output, since a template is code that others wrote; a host says how much.
//!
//! `lex` cuts the text into tokens, `parse` makes the tree and refuses unknown names, `run` walks it,
//! `evaluate` says what expressions yield; `builtin` holds Go's functions, `texts` those that Prometheus
//! and Alertmanager share, `format` how Go writes values.
//!
//! When you add a function to a host, add it to its [`Kind`] too, or no template may name it.

mod builtin;
pub(crate) mod dates;
mod evaluate;
mod format;
mod humanize;
mod lex;
mod names;
mod parse;
mod run;
mod texts;
mod value;

pub use format::format_float_exponent;
pub use texts::{graph_link, query_escape, table_link};

pub(crate) use builtin::escape_html;
pub(crate) use format::print;
pub(crate) use parse::Program;
pub(crate) use run::{Host, Limits, Run};
pub(crate) use texts::{call as call_text, path_of, want};
pub(crate) use value::Value;

/// What a template may name beside what Go has.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Kind {
    /// Functions.
    pub(crate) functions: &'static [&'static [&'static str]],
    /// Variables that are declared before the text, `$` among them.
    pub(crate) variables: &'static [&'static str],
}

impl Kind {
    fn knows(&self, function: &str) -> bool {
        self.functions.iter().any(|names| names.contains(&function))
    }
}

/// The functions of [`call_text`], for a [`Kind`].
pub(crate) const TEXT_FUNCTIONS: &[&str] = texts::NAMES;

/// Why a run stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    /// The template is wrong for this data.
    Fail(String),
    /// The answer to this expression is needed first.
    NeedsQuery(String),
}

impl Stop {
    pub(crate) fn fail<T>(message: impl Into<String>) -> Result<T, Stop> {
        Err(Stop::Fail(message.into()))
    }
}
