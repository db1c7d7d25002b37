//! What is wrong with a configuration, where, and how to mend it.

use std::fmt;
use std::path::PathBuf;

use crate::base::Kind;

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A line of the file, counted from 1.
    Line {
        /// The file.
        path: PathBuf,
        /// The line.
        line: usize,
    },
    /// An environment variable.
    Variable(String),
    /// A flag of the command line.
    Flag(&'static str),
    /// Nobody set it.
    Default,
}

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where it stands.
    pub origin: Origin,
    /// `section.key`, or empty for a file that cannot be parsed.
    pub key: String,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::Line { path, line } => write!(f, "{}:{line}: ", path.display())?,
            Origin::Variable(name) => write!(f, "{name}: ")?,
            Origin::Flag(name) => write!(f, "{name}: ")?,
            Origin::Default => {}
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// It was read, and is wrong.
    #[error("{}", list(.0))]
    Mistakes(Vec<Mistake>),
}

impl ConfigError {
    /// Returns what the error asks of the caller.
    pub fn kind(&self) -> Kind {
        Kind::BadInput
    }
}

fn list(mistakes: &[Mistake]) -> String {
    let n = mistakes.len();
    let mut text = format!("{n} mistake{} in the configuration:", if n == 1 { "" } else { "s" });
    for mistake in mistakes {
        text.push_str(&format!("\n  {mistake}"));
    }
    text
}
