//! One condition on one label: `=`, `!=`, `=~`, `!~`.

use regex::Regex;

/// How a matcher compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`
    Eq,
    /// `!=`
    Ne,
    /// `=~`, anchored at both ends, `.` matches newlines.
    Re,
    /// `!~`, the opposite of `=~`.
    Nre,
}

/// A pattern that is not a regular expression, or one whose program would be too large.
#[derive(Debug, Clone, thiserror::Error)]
#[error("invalid regular expression `{pattern}` for label `{name}`")]
pub struct MatcherError {
    name: String,
    pattern: String,
    source: Box<regex::Error>,
}

/// The largest compiled pattern, in bytes, unless a query's limits say otherwise; the crate's own
/// default refuses `(a{1000}){1000}` too late.
pub const REGEX_PROGRAM_BYTES_MAX: usize = 1 << 20;
/// The largest compiled pattern of any matcher; a query's limits may be lower, not higher.
pub const REGEX_PROGRAM_BYTES_CEILING: usize = 8 << 20;

/// One condition on one label. An absent label compares as the empty string.
#[derive(Debug, Clone)]
pub struct Matcher {
    /// The label's name; `__name__` is the metric.
    pub name: String,
    /// How to compare.
    pub op: MatchOp,
    /// The text or pattern as it was written.
    pub value: String,
    regex: Option<Regex>,
}

impl Matcher {
    /// Returns a matcher, compiling the pattern of `=~` and `!~`.
    pub fn new(name: &str, op: MatchOp, value: &str) -> Result<Self, MatcherError> {
        let regex = match op {
            MatchOp::Eq | MatchOp::Ne => None,
            MatchOp::Re | MatchOp::Nre => Some(compile(name, value)?),
        };
        Ok(Self { name: name.to_owned(), op, value: value.to_owned(), regex })
    }

    /// Returns the matcher `name="value"`.
    pub fn equal(name: &str, value: &str) -> Self {
        Self { name: name.to_owned(), op: MatchOp::Eq, value: value.to_owned(), regex: None }
    }

    /// Returns true when a label of this value (empty for an absent one) meets the condition.
    pub fn matches(&self, value: &str) -> bool {
        match (self.op, &self.regex) {
            (MatchOp::Eq, _) => value == self.value,
            (MatchOp::Ne, _) => value != self.value,
            (MatchOp::Re, Some(regex)) => regex.is_match(value),
            (MatchOp::Nre, Some(regex)) => !regex.is_match(value),
            (MatchOp::Re | MatchOp::Nre, None) => false,
        }
    }

    /// Returns true for `=~` and `!~`.
    pub fn is_regex(&self) -> bool {
        self.regex.is_some()
    }

    /// Returns true when an absent label meets the condition.
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.op, &self.value) == (&other.name, other.op, &other.value)
    }
}

impl std::fmt::Display for Matcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let op = match self.op {
            MatchOp::Eq => "=",
            MatchOp::Ne => "!=",
            MatchOp::Re => "=~",
            MatchOp::Nre => "!~",
        };
        write!(f, "{}{op}{:?}", self.name, self.value)
    }
}

/// Compiles a pattern as matchers do: anchored at both ends, `.` matches newlines.
pub fn compile_label_regex(pattern: &str, program_bytes_max: usize) -> Result<Regex, regex::Error> {
    regex::RegexBuilder::new(&format!("^(?:{pattern})$"))
        .dot_matches_new_line(true)
        .size_limit(program_bytes_max)
        .build()
}

fn compile(name: &str, pattern: &str) -> Result<Regex, MatcherError> {
    compile_label_regex(pattern, REGEX_PROGRAM_BYTES_CEILING).map_err(|error| MatcherError {
        name: name.to_owned(),
        pattern: pattern.to_owned(),
        source: Box::new(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(op: MatchOp, pattern: &str, value: &str, want: bool) {
        assert_eq!(Matcher::new("l", op, pattern).unwrap().matches(value), want);
    }

    #[test]
    fn matchers_compare_whole_values() {
        check(MatchOp::Eq, "a", "a", true);
        check(MatchOp::Ne, "a", "", true);
        check(MatchOp::Re, "a|b", "ab", false);
        check(MatchOp::Re, "a.c", "a\nc", true);
        check(MatchOp::Nre, "a.*", "abc", false);
        check(MatchOp::Re, "", "", true);
    }

    #[test]
    fn huge_patterns_are_refused() {
        assert!(Matcher::new("l", MatchOp::Re, "((a{1000}){1000})").is_err());
        assert!(Matcher::new("l", MatchOp::Re, "(").is_err());
    }
}
