//! `detected_level`: how severe a line is, whoever says so.
//!
//! The record's own severity comes first, then a label or field called level, then the words of the
//! line; the names are Loki's: `trace debug info warn error critical fatal unknown`.

use super::fields::Fields;
use crate::model::level::{of_number, of_word};

/// Labels and metadata that say it, as Loki looks for them.
const NAMES: [&str; 6] = ["level", "LEVEL", "severity", "severity_text", "lvl", "log_level"];

/// Returns the level of a line.
pub(super) fn of(fields: &Fields<'_>, text: &str, number: i32, line: &str) -> &'static str {
    if let Some(level) = of_word(text) {
        return level;
    }
    if let Some(level) = of_number(number) {
        return level;
    }
    let named = NAMES.iter().filter_map(|name| fields.get(name)).find_map(of_word);
    named.or_else(|| of_line(line)).unwrap_or("unknown")
}

/// How much of a line is looked at for words.
const LINE_BYTES_MAX: usize = 1024;

/// Returns the level that a line names: `level=…` or `"level":"…"`, else its first word that is one.
fn of_line(line: &str) -> Option<&'static str> {
    let mut end = line.len().min(LINE_BYTES_MAX);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    let line = &line[..end];
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut first: Option<&'static str> = None;
    let mut is_named = false;
    for word in line.split(|c| !is_part(c)).filter(|word| !word.is_empty()) {
        // Only words of the right length can be one.
        let level = if (3..=11).contains(&word.len()) { of_word(word) } else { None };
        if is_named && level.is_some() {
            return level;
        }
        first = first.or_else(|| level.filter(|_| is_shouted(word)));
        is_named = NAMES.iter().any(|name| word.eq_ignore_ascii_case(name));
    }
    first
}

/// In running text only a word in capitals, or one that nobody writes by chance, is a level.
fn is_shouted(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_uppercase())
        || ["error", "panic", "fatal", "critical", "warning"].contains(&word)
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
