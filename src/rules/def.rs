//! What a rule file says, checked: groups, rules, and the mistakes where it cannot be.

use super::Config;
use super::dialect::{Asked, Dialect};
use super::overrides::{Overrides, Threshold};
use super::text::Template;

/// Checks an expression of a language and returns it formatted, or says what is wrong with it.
pub type CheckExpr<'a> = &'a dyn Fn(Dialect, &str) -> Result<String, String>;

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

    /// Returns what it asks.
    pub fn asked(&self) -> &Asked {
        match self {
            RuleDef::Alert(rule) => &rule.asked,
            RuleDef::Record(rule) => &rule.asked,
        }
    }

    /// Returns the expression, formatted.
    pub fn query(&self) -> &str {
        match self {
            RuleDef::Alert(rule) => &rule.query,
            RuleDef::Record(rule) => &rule.query,
        }
    }
}

/// An alerting rule.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertDef {
    /// The `alertname`.
    pub name: String,
    /// What it asks.
    pub asked: Asked,
    /// The expression, formatted, with the threshold behind it.
    pub query: String,
    /// What a result must pass, where that is not in the expression.
    pub threshold: Option<Threshold>,
    /// What single commons have different.
    pub overrides: Overrides,
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
    /// What it asks.
    pub asked: Asked,
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
