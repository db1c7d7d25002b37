//! One rule for every commons, and what single commons have different: threshold, hold, owner,
//! severity, hours.
//!
//! A rule is asked once for all commons; what differs is applied to each result by its `commons`. So
//! a hundred commons with a threshold of their own cost one question, not a hundred. An override names
//! the rule and the commons, and may end by itself.

use std::collections::BTreeMap;

use crate::model::Labels;

/// A comparison that is made here, so that a commons may have its own number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Threshold {
    /// How a result is compared.
    pub op: Comparison,
    /// With what.
    pub value: f64,
}

/// How a result is compared with a threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// `>`
    Above,
    /// `>=`
    AtLeast,
    /// `<`
    Below,
    /// `<=`
    AtMost,
}

impl Comparison {
    fn as_str(self) -> &'static str {
        match self {
            Self::Above => ">",
            Self::AtLeast => ">=",
            Self::Below => "<",
            Self::AtMost => "<=",
        }
    }

    fn holds(self, found: f64, limit: f64) -> bool {
        match self {
            Self::Above => found > limit,
            Self::AtLeast => found >= limit,
            Self::Below => found < limit,
            Self::AtMost => found <= limit,
        }
    }
}

impl Threshold {
    /// Reads `> 0.05`.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        use Comparison::{Above, AtLeast, AtMost, Below};
        let text = text.trim();
        // The longer sign first: `>=` begins with `>`.
        let found = [AtLeast, AtMost, Above, Below]
            .into_iter()
            .find_map(|op| Some((op, text.strip_prefix(op.as_str())?)));
        let wrong = || format!("`{text}` is not a comparison such as `> 0.05`");
        let (op, number) = found.ok_or_else(wrong)?;
        let value: f64 = number.trim().parse().map_err(|_| wrong())?;
        if value.is_nan() { Err(wrong()) } else { Ok(Self { op, value }) }
    }

    /// Returns whether a result passes.
    pub(super) fn holds(self, found: f64, own: Option<f64>) -> bool {
        self.op.holds(found, own.unwrap_or(self.value))
    }
}

impl std::fmt::Display for Threshold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.op.as_str(), self.value)
    }
}

/// What one commons has different in one rule.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    /// The file it stands in.
    pub file: String,
    /// The line, from 1.
    pub line: u64,
    /// The commons.
    pub commons: String,
    /// The number that is compared with.
    pub threshold: Option<f64>,
    /// `for`, in ms.
    pub hold_ms: Option<i64>,
    /// Labels that take the place of the rule's: `owner`, `severity`, `hours` and any other.
    pub labels: BTreeMap<String, String>,
    /// The rule does not hold for this commons.
    pub is_off: bool,
    /// When it ends by itself, ms since 1970 UTC.
    pub until_ms: Option<i64>,
    /// Why, in somebody's words.
    pub why: String,
}

impl Override {
    /// Returns whether it holds at a time.
    pub fn holds_at(&self, now_ms: i64) -> bool {
        self.until_ms.is_none_or(|until_ms| now_ms < until_ms)
    }
}

/// The overrides of one rule, by commons.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Overrides(pub(super) BTreeMap<String, Override>);

impl Overrides {
    /// Returns what holds at a time for a result with these labels.
    pub(super) fn of(&self, labels: &Labels, now_ms: i64) -> Option<&Override> {
        let found = self.0.get(labels.get("commons")?)?;
        found.holds_at(now_ms).then_some(found)
    }

    /// Walks all, by commons.
    pub fn iter(&self) -> impl Iterator<Item = &Override> {
        self.0.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, found: f64, want: bool) {
        assert_eq!(Threshold::parse(text).unwrap().holds(found, None), want, "{text} {found}");
    }

    #[test]
    fn a_result_is_compared_with_the_number() {
        check("> 5", 5.0, false);
        check(">=5", 5.0, true);
        check(" < 0.5", 0.4, true);
        check("<= 1e3", 1000.0, true);
        check("> 5", f64::NAN, false);
    }

    #[test]
    fn a_commons_may_have_its_own_number() {
        let threshold = Threshold::parse("> 5").unwrap();

        assert!(threshold.holds(6.0, None));
        assert!(!threshold.holds(6.0, Some(7.0)));
    }

    #[test]
    fn what_is_no_comparison_is_refused() {
        for text in ["", "5", "> ", "> five", "== 5", "> NaN"] {
            assert!(Threshold::parse(text).is_err(), "{text}");
        }
    }
}
