//! `detected_level`: how severe a line is, whoever says so.
//!
//! The record's own severity comes first, then a label or field called level, then the words of the
//! line; the names are Loki's: `trace debug info warn error critical fatal unknown`.

use std::borrow::Cow;

use super::fields::Fields;
use crate::model::level::{NAMES, of_line, of_severity, of_word};

/// Returns the level of a line.
pub(super) fn of(fields: &Fields<'_>, text: &str, number: i32, line: &str) -> &'static str {
    let named = || NAMES.iter().filter_map(|name| fields.get(name)).find_map(of_word);
    of_severity(text, number).or_else(named).or_else(|| of_line(line)).unwrap_or("unknown")
}

/// Returns the level that a text means; one that means none stays as it is.
pub(super) fn meant(text: Cow<'_, str>) -> Cow<'_, str> {
    match of_word(&text) {
        Some(level) => Cow::Borrowed(level),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, number: i32, line: &str, want: &str) {
        assert_eq!(of(&Fields::new(&[]), text, number, line), want, "{line}");
    }

    #[test]
    fn what_the_record_says_comes_first() {
        check("WARNING", 9, "ERROR", "warn");
        check("", 17, "INFO", "error");
    }

    #[test]
    fn lines_say_it_themselves() {
        check("", 0, "[2026-08-21 10:11:12,345][ fence][   INFO] Signed URL", "info");
        check("", 0, "2026/08/21 10:11:12 response.go:81: ERROR: could not", "error");
        check("", 0, r#"{"level":"debug","msg":"an ERROR is no error"}"#, "debug");
        check("", 0, "ts=1 level=warn msg=x", "warn");
        check("", 0, "GET /info 200", "unknown");
        check("", 0, "", "unknown");
    }
}
