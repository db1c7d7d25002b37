//! Names that not every scraper can read, as one can.
//!
//! Before Prometheus 3 names were of `[a-zA-Z0-9_:]` and began with no digit. Who can read others says so,
//! or how they are to be rewritten (prometheus/common, `model.EscapeName`).

use std::borrow::Cow;

use crate::model::names::is_metric_name;

/// What becomes of a name that has other characters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Escaping {
    /// It stays.
    AllowUtf8,
    /// Each of them is `_`. This is also for who says nothing.
    #[default]
    Underscores,
    /// A dot is `_dot_`, any other is `__`, and so is `_`.
    Dots,
    /// It begins with `U__`, each of them is its number between two `_`, and `_` is `__`: the one that can
    /// be undone.
    Values,
}

impl Escaping {
    const ALL: [(&'static str, Escaping); 4] = [
        ("allow-utf-8", Escaping::AllowUtf8),
        ("underscores", Escaping::Underscores),
        ("dots", Escaping::Dots),
        ("values", Escaping::Values),
    ];

    /// Returns the one that is called so.
    pub(super) fn called(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, escaping)| *escaping)
    }

    /// Returns what it is called.
    pub(super) fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, escaping)| *escaping == self).expect("all are listed").0
    }

    /// Returns a name of a metric or label as it is given out.
    pub(super) fn name(self, name: &str) -> Cow<'_, str> {
        if self == Escaping::AllowUtf8 || is_metric_name(name) {
            return Cow::Borrowed(name);
        }
        let mut out = String::from(if self == Escaping::Values { "U__" } else { "" });
        for (idx, letter) in name.chars().enumerate() {
            match (self, letter) {
                (Escaping::Dots | Escaping::Values, '_') => out.push_str("__"),
                (_, letter) if is_plain_at(idx, letter) => out.push(letter),
                (Escaping::Dots, '.') => out.push_str("_dot_"),
                (Escaping::Dots, _) => out.push_str("__"),
                (Escaping::Values, letter) => out.push_str(&format!("_{:x}_", u32::from(letter))),
                (Escaping::Underscores | Escaping::AllowUtf8, _) => out.push('_'),
            }
        }
        Cow::Owned(out)
    }
}

fn is_plain_at(idx: usize, letter: char) -> bool {
    letter == '_'
        || letter == ':'
        || letter.is_ascii_alphabetic()
        || (idx > 0 && letter.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::prometheus::escape::unescape;

    #[track_caller]
    fn check(name: &str, want: [&str; 4]) {
        let found = Escaping::ALL.map(|(_, escaping)| escaping.name(name));
        assert_eq!(found, want, "{name}");
    }

    #[test]
    fn only_names_with_other_characters_are_rewritten() {
        check("up", ["up"; 4]);
        check("a_b:c1", ["a_b:c1"; 4]);
        check(
            "http.status_code",
            [
                "http.status_code",
                "http_status_code",
                "http_dot_status__code",
                "U__http_2e_status__code",
            ],
        );
        check("1a", ["1a", "_a", "__a", "U___31_a"]);
        check("a b😀", ["a b😀", "a_b_", "a__b__", "U__a_20_b_1f600_"]);
    }

    #[test]
    fn values_come_back() {
        for name in ["http.status_code", "1a", "a b😀", "_._"] {
            assert_eq!(unescape(&Escaping::Values.name(name)), name);
        }
    }
}
