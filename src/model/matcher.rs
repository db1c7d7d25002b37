//! One condition on one label: `=`, `!=`, `=~`, `!~`.
//!
//! A pattern is also read for what its matches must be ([`Matcher::one_of`]) or begin with: `a|b|c` means
//! three texts and needs no regular expression, and of `api-.*` most values are told apart by their
//! first bytes.

use std::sync::{Arc, LazyLock};

use hashbrown::HashMap;
use parking_lot::Mutex;
use regex::Regex;
use regex_syntax::ParserBuilder;
use regex_syntax::hir::literal::{ExtractKind, Extractor};

use super::regexp::{self, Dot, RegexpError};

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

impl MatchOp {
    /// Returns how it is written.
    pub fn as_str(self) -> &'static str {
        match self {
            MatchOp::Eq => "=",
            MatchOp::Ne => "!=",
            MatchOp::Re => "=~",
            MatchOp::Nre => "!~",
        }
    }
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
    pattern: Option<Arc<Pattern>>,
}

/// A compiled pattern.
#[derive(Debug)]
struct Pattern {
    regex: Regex,
    literals: Literals,
}

/// What is known of the texts that a pattern matches.
#[derive(Debug, Clone, Default)]
enum Literals {
    /// Nothing.
    #[default]
    Any,
    /// They are these, sorted.
    OneOf(Vec<String>),
    /// They begin with one of these.
    BeginWith(Vec<String>),
}

/// Texts that a pattern is taken apart into, at most.
const LITERALS_MAX: usize = 256;

impl Literals {
    fn of(translated: &str) -> Self {
        let parsed = ParserBuilder::new().dot_matches_new_line(true).build().parse(translated);
        // A look at what stands around is not in the literals.
        let Some(hir) = parsed.ok().filter(|hir| hir.properties().look_set().is_empty()) else {
            return Self::Any;
        };
        let mut extractor = Extractor::new();
        extractor.kind(ExtractKind::Prefix).limit_total(LITERALS_MAX).limit_literal_len(1 << 12);
        let found = extractor.extract(&hir);
        let Some(literals) = found.literals().filter(|literals| !literals.is_empty()) else {
            return Self::Any;
        };
        let texts =
            literals.iter().map(|one| std::str::from_utf8(one.as_bytes()).map(str::to_owned));
        let Ok(mut texts) = texts.collect::<Result<Vec<_>, _>>() else { return Self::Any };
        let is_whole = literals.iter().all(|literal| literal.is_exact());
        texts.sort_unstable();
        texts.dedup();
        match is_whole {
            true => Self::OneOf(texts),
            false if texts.iter().any(String::is_empty) => Self::Any,
            false => Self::BeginWith(texts),
        }
    }
}

impl Matcher {
    /// Returns a matcher, compiling the pattern of `=~` and `!~`.
    pub fn new(name: &str, op: MatchOp, value: &str) -> Result<Self, RegexpError> {
        let pattern = match op {
            MatchOp::Eq | MatchOp::Ne => None,
            MatchOp::Re | MatchOp::Nre => Some(compiled(value)?),
        };
        Ok(Self { name: name.to_owned(), op, value: value.to_owned(), pattern })
    }

    /// Returns the matcher `name="value"`.
    pub fn equal(name: &str, value: &str) -> Self {
        let (name, value) = (name.to_owned(), value.to_owned());
        Self { name, op: MatchOp::Eq, value, pattern: None }
    }

    /// Returns true when a label of this value (empty for an absent one) meets the condition.
    pub fn matches(&self, value: &str) -> bool {
        match (self.op, &self.pattern) {
            (MatchOp::Eq, _) => value == self.value,
            (MatchOp::Ne, _) => value != self.value,
            (MatchOp::Re, Some(pattern)) => pattern.is_match(value),
            (MatchOp::Nre, Some(pattern)) => !pattern.is_match(value),
            (MatchOp::Re | MatchOp::Nre, None) => false,
        }
    }

    /// Returns the values that meet the condition, when they are few and known: that of `=`, and those
    /// of a pattern such as `a|b|c`.
    pub fn one_of(&self) -> Option<&[String]> {
        match (self.op, self.pattern.as_deref()) {
            (MatchOp::Eq, _) => Some(std::slice::from_ref(&self.value)),
            (MatchOp::Re, Some(Pattern { literals: Literals::OneOf(texts), .. })) => Some(texts),
            _ => None,
        }
    }

    /// Returns true for `=~` and `!~`.
    pub fn is_regex(&self) -> bool {
        self.pattern.is_some()
    }

    /// Returns true when an absent label meets the condition.
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }
}

impl Pattern {
    fn is_match(&self, value: &str) -> bool {
        match &self.literals {
            Literals::OneOf(texts) => {
                texts.binary_search_by(|text| text.as_str().cmp(value)).is_ok()
            }
            Literals::BeginWith(texts) => {
                texts.iter().any(|text| value.starts_with(text)) && self.regex.is_match(value)
            }
            Literals::Any => self.regex.is_match(value),
        }
    }
}

impl PartialEq for Matcher {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, self.op, &self.value) == (&other.name, other.op, &other.value)
    }
}

impl std::fmt::Display for Matcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}{:?}", self.name, self.op.as_str(), self.value)
    }
}

/// Patterns that are kept compiled, at most; to compile one takes as long as to ask a small question.
const KEPT_MAX: usize = 64;
/// The longest that are kept, and the largest program and table of one.
const KEPT_PATTERN_BYTES: usize = 256;
const KEPT_PROGRAM_BYTES: usize = 64 << 10;
const KEPT_TABLE_BYTES: usize = 128 << 10;

static KEPT: LazyLock<Mutex<HashMap<String, Arc<Pattern>>>> = LazyLock::new(Mutex::default);

/// Returns a pattern that was compiled lately, or compiles it.
fn compiled(pattern: &str) -> Result<Arc<Pattern>, RegexpError> {
    if let Some(known) = KEPT.lock().get(pattern) {
        return Ok(Arc::clone(known));
    }
    let translated = regexp::translate(pattern, Dot::Any)?;
    let literals = Literals::of(&translated);
    if let Some(regex) = small(pattern, &translated) {
        let compiled = Arc::new(Pattern { regex, literals });
        let mut kept = KEPT.lock();
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(pattern.to_owned(), Arc::clone(&compiled));
        return Ok(compiled);
    }
    let mut builder = regexp::whole(&translated, Dot::Any);
    let regex = regexp::build(pattern, builder.size_limit(REGEX_PROGRAM_BYTES_CEILING))?;
    Ok(Arc::new(Pattern { regex, literals }))
}

/// Compiles a pattern that takes little room, also while it matches.
fn small(pattern: &str, translated: &str) -> Option<Regex> {
    if pattern.len() > KEPT_PATTERN_BYTES {
        return None;
    }
    let mut builder = regexp::whole(translated, Dot::Any);
    builder.size_limit(KEPT_PROGRAM_BYTES).dfa_size_limit(KEPT_TABLE_BYTES).build().ok()
}

/// Compiles a pattern as matchers do: anchored at both ends, `.` matches newlines.
pub fn compile_label_regex(pattern: &str, bytes_max: usize) -> Result<Regex, RegexpError> {
    regexp::compile_whole(pattern, Dot::Any, bytes_max)
}

/// Returns an error when a pattern cannot be compiled within a limit.
pub fn check_label_regex(pattern: &str, bytes_max: usize) -> Result<(), RegexpError> {
    let is_known = bytes_max >= KEPT_PROGRAM_BYTES && KEPT.lock().contains_key(pattern);
    if is_known { Ok(()) } else { compile_label_regex(pattern, bytes_max).map(drop) }
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
    fn patterns_are_taken_apart_where_they_mean_few_texts() {
        let check = |pattern: &str, want: Option<&[&str]>| {
            let matcher = Matcher::new("l", MatchOp::Re, pattern).unwrap();
            let got = matcher.one_of().map(|texts| texts.iter().map(String::as_str).collect());
            assert_eq!(got, want.map(<[&str]>::to_vec), "{pattern}");
        };
        check("b|a|a", Some(&["a", "b"]));
        check("web-(a|b)", Some(&["web-a", "web-b"]));
        check("a[0-2]", Some(&["a0", "a1", "a2"]));
        check("a\\.b", Some(&["a.b"]));
        check("(?i)ab", Some(&["AB", "Ab", "aB", "ab"]));
        check(r"a\Q.b\E|[[]", Some(&["[", "a.b"]));
        check(r"a\d", Some(&["a0", "a1", "a2", "a3", "a4", "a5", "a6", "a7", "a8", "a9"]));
        check("", Some(&[""]));
        check("a.*", None);
        check("a|b.*", None);
        check("^a", None);
        check("a\\b", None);
        check(".+", None);
        check("[^a]", None);
    }

    #[test]
    fn a_pattern_taken_apart_matches_as_the_regular_expression_does() {
        use rand::{Rng as _, SeedableRng as _};
        let seed = 5;
        let mut rng = rand::rngs::SmallRng::seed_from_u64(seed);
        let pieces = [
            "a", "b", "é", "|", "(a|b)", ".*", ".", "[ab]", "a?", "(?i)a", "^", "$", "\\b", "x+",
            "()",
        ];
        let texts = ["", "a", "b", "ab", "ba", "aa", "A", "é", "aé", "xa", "abab", "a\nb"];
        for _ in 0..5_000 {
            let n = rng.random_range(0..6);
            let pattern: String =
                (0..n).map(|_| pieces[rng.random_range(0..pieces.len())]).collect();
            let Ok(regex) = compile_label_regex(&pattern, 1 << 20) else { continue };
            let matcher = Matcher::new("l", MatchOp::Re, &pattern).unwrap();
            for text in texts {
                let want = regex.is_match(text);
                assert_eq!(matcher.matches(text), want, "{pattern} and {text:?}, seed {seed}");
            }
        }
    }

    #[test]
    fn huge_patterns_are_refused() {
        assert!(Matcher::new("l", MatchOp::Re, "((a{1000}){1000})").is_err());
        assert!(Matcher::new("l", MatchOp::Re, "(").is_err());
        assert!(Matcher::new("l", MatchOp::Re, "a)|(b").is_err());
    }
}
