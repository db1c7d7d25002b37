//! Which language a rule's expression is written in, and what is asked in it.
//!
//! PromQL and LogQL say themselves how far back they look, `[5m]`. A TraceQL metrics query and an SQL
//! statement do not: they look at a rule's `range`, the time up to the evaluation.

use crate::base::units::format_duration_ms;

/// The language of an expression: `type` of a group or a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// PromQL, when nothing is said.
    #[default]
    Promql,
    /// LogQL that yields numbers.
    Logql,
    /// TraceQL that ends in a metrics function.
    Traceql,
    /// SQL that yields a column `value`.
    Sql,
}

/// What a TraceQL or SQL rule looks at that names no `range`.
pub(super) const RANGE_MS_USUAL: i64 = 5 * 60_000;

impl Dialect {
    /// Every language.
    pub const ALL: [Self; 4] = [Self::Promql, Self::Logql, Self::Traceql, Self::Sql];

    /// Returns the language of a name; other programs call the first one `prometheus`.
    pub fn named(name: &str) -> Option<Self> {
        let known = Self::ALL.into_iter().find(|one| one.as_str() == name);
        known.or((name == "prometheus").then_some(Self::Promql))
    }

    /// Returns the name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Promql => "promql",
            Self::Logql => "logql",
            Self::Traceql => "traceql",
            Self::Sql => "sql",
        }
    }

    /// Returns whether a rule of this language says how far back it looks.
    pub(super) fn has_range(self) -> bool {
        matches!(self, Self::Traceql | Self::Sql)
    }
}

/// What a rule asks of the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Question<'a> {
    /// The language.
    pub dialect: Dialect,
    /// The expression as it was written.
    pub text: &'a str,
    /// How far back the answer looks, where the language does not say so itself.
    pub range_ms: i64,
}

impl<'a> Question<'a> {
    /// Returns a question in PromQL.
    pub fn promql(text: &'a str) -> Self {
        Self { dialect: Dialect::Promql, text, range_ms: RANGE_MS_USUAL }
    }

    /// Returns the same question about another text: what a template asks.
    pub(super) fn about<'b>(self, text: &'b str) -> Question<'b> {
        Question { text, dialect: self.dialect, range_ms: self.range_ms }
    }

    /// Returns the question, to keep.
    pub fn to_asked(self) -> Asked {
        Asked { dialect: self.dialect, text: self.text.to_owned(), range_ms: self.range_ms }
    }
}

impl std::fmt::Display for Question<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text)?;
        if self.dialect.has_range() {
            write!(f, " over {}", format_duration_ms(self.range_ms))?;
        }
        Ok(())
    }
}

/// What a rule asks, as the rule keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Asked {
    /// The language.
    pub dialect: Dialect,
    /// The expression as it was written.
    pub text: String,
    /// How far back the answer looks, where the language does not say so itself.
    pub range_ms: i64,
}

impl Asked {
    /// Returns it as a question.
    pub fn question(&self) -> Question<'_> {
        Question { dialect: self.dialect, text: &self.text, range_ms: self.range_ms }
    }
}

#[cfg(test)]
impl Asked {
    /// Returns a PromQL expression.
    pub(super) fn promql(text: &str) -> Self {
        Self { dialect: Dialect::Promql, text: text.to_owned(), range_ms: RANGE_MS_USUAL }
    }
}
