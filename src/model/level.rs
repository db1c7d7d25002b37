//! The levels of log records: eight names, as Loki has them, and the words and numbers that mean them.
//!
//! A record's own severity comes first, then a label or field called level, then the words of the
//! line. What a record says of its level by a label is left to the question: only there it is known
//! what its labels are. All other records have their level decided once, when they come.

use std::sync::LazyLock;

use memchr::memmem::Finder;

/// The names, from the mildest to the worst, and last what no one said.
pub const LEVELS: [&str; 8] =
    ["trace", "debug", "info", "warn", "error", "critical", "fatal", "unknown"];

/// Returns the level of an OTLP severity.
pub fn of_number(number: i32) -> Option<&'static str> {
    Some(match number {
        1..=4 => "trace",
        5..=8 => "debug",
        9..=12 => "info",
        13..=16 => "warn",
        17..=20 => "error",
        21..=24 => "fatal",
        _ => return None,
    })
}

/// Returns the level of a word.
pub fn of_word(word: &str) -> Option<&'static str> {
    let is = |names: &[&str]| names.iter().any(|name| word.eq_ignore_ascii_case(name));
    Some(match word {
        "" => return None,
        _ if is(&["trace", "trc"]) => "trace",
        _ if is(&["debug", "dbg"]) => "debug",
        _ if is(&["info", "inf", "information", "notice"]) => "info",
        _ if is(&["warn", "wrn", "warning"]) => "warn",
        _ if is(&["error", "err", "eror"]) => "error",
        _ if is(&["critical", "crit", "emerg", "alert"]) => "critical",
        _ if is(&["fatal", "panic"]) => "fatal",
        _ => return None,
    })
}

/// Returns a set of levels as bits, in the order of [`LEVELS`].
pub fn set_of(mut is_in: impl FnMut(&str) -> bool) -> u8 {
    let bits = LEVELS.iter().enumerate().filter(|(_, name)| is_in(name)).map(|(at, _)| 1 << at);
    bits.fold(0, |set, bit: u8| set | bit)
}

/// Labels and metadata that say a level, as Loki looks for them.
pub const NAMES: [&str; 14] = [
    "level",
    "LEVEL",
    "Level",
    "log_level",
    "severity",
    "SEVERITY",
    "Severity",
    "SeverityText",
    "lvl",
    "LVL",
    "Lvl",
    "severity_text",
    "Severity_Text",
    "SEVERITY_TEXT",
];

/// The same in a line, where capitals are like small letters.
const NAMES_IN_LINES: [&str; 6] =
    ["level", "log_level", "severity", "severitytext", "lvl", "severity_text"];

/// Returns the level that a record's severity says.
pub fn of_severity(text: &str, number: i32) -> Option<&'static str> {
    of_word(text).or_else(|| of_number(number))
}

/// What the attributes of a record or of its resource, a JSON object, may say of its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Says {
    /// Nothing.
    Nothing,
    /// What counts when the severity says nothing.
    Perhaps,
    /// What counts before anything else: they may have been given the level that was detected.
    First,
}

impl Says {
    /// Looks for names that labels of that meaning have a part of.
    pub fn of(object: &str) -> Self {
        // Every record is asked: what the search needs is made once.
        static DETECTED: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("detected"));
        let object = object.as_bytes();
        if !memchr::memchr2_iter(b'v', b'V', object).any(|at| is_in_name(object, at)) {
            return Says::Nothing;
        }
        if DETECTED.find(object).is_some() { Says::First } else { Says::Perhaps }
    }
}

/// Returns true when a letter `v`, which all names of a level have, stands in one.
fn is_in_name(object: &[u8], at: usize) -> bool {
    [("level", 2), ("lvl", 1), ("severity", 2)].into_iter().any(|(name, n_before)| {
        let start = at.checked_sub(n_before);
        let found = start.and_then(|start| object.get(start..start + name.len()));
        found.is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes()))
    })
}

/// Returns the level of a record, or `None` when its labels have to be asked.
pub fn of_record(
    (text, number): (&str, i32),
    labels: impl IntoIterator<Item = Says>,
    line: &str,
) -> Option<&'static str> {
    match labels.into_iter().max().unwrap_or(Says::Nothing) {
        Says::First => None,
        Says::Perhaps => of_severity(text, number),
        Says::Nothing => {
            Some(of_severity(text, number).or_else(|| of_line(line)).unwrap_or("unknown"))
        }
    }
}

/// How much of a line is looked at for words.
const LINE_BYTES_MAX: usize = 1024;

/// Returns the level that a line names: `level=…` or `"level":"…"`, else its first word that is one.
pub fn of_line(line: &str) -> Option<&'static str> {
    let line = line.as_bytes();
    let line = &line[..line.len().min(LINE_BYTES_MAX)];
    let mut first: Option<&'static str> = None;
    let mut is_named = false;
    let mut at = 0;
    while at < line.len() {
        if !IS_PART[usize::from(line[at])] {
            at += 1;
            continue;
        }
        let start = at;
        while at < line.len() && IS_PART[usize::from(line[at])] {
            at += 1;
        }
        let was_named = std::mem::take(&mut is_named);
        // Most words begin like no level and no name of one, or are too short or long.
        let n_bytes = at - start;
        if !(3..=13).contains(&n_bytes) || !may_begin(line[start], line[start + 1]) {
            continue;
        }
        let Ok(word) = std::str::from_utf8(&line[start..at]) else { continue };
        let level = if n_bytes <= 11 { of_word(word) } else { None };
        if was_named && level.is_some() {
            return level;
        }
        first = first.or_else(|| level.filter(|_| is_shouted(word)));
        is_named = NAMES_IN_LINES.iter().any(|name| word.eq_ignore_ascii_case(name));
    }
    first
}

/// The bytes of words.
const IS_PART: [bool; 256] = {
    let mut is_part = [false; 256];
    let mut byte: u8 = 0;
    while byte < 128 {
        is_part[byte as usize] = byte.is_ascii_alphanumeric() || byte == b'_';
        byte += 1;
    }
    is_part
};

/// The first two letters of levels' words and of their names.
const BEGINNINGS: [&[u8; 2]; 17] = [
    b"tr", b"de", b"db", b"in", b"no", b"wa", b"wr", b"er", b"cr", b"em", b"al", b"fa", b"pa",
    b"le", b"lv", b"lo", b"se",
];

/// By the first letter, which second ones there are, as bits.
const SECONDS: [u32; 32] = {
    let mut seconds = [0; 32];
    let mut at = 0;
    while at < BEGINNINGS.len() {
        let [first, second] = *BEGINNINGS[at];
        seconds[(first & 31) as usize] |= 1 << (second & 31);
        at += 1;
    }
    seconds
};

/// Returns whether a word may be a level or name one that begins so, small or large; of bytes that are
/// no letters it may say so too.
fn may_begin(first: u8, second: u8) -> bool {
    SECONDS[usize::from(first & 31)] & (1 << (second & 31)) != 0
}

/// In running text only a word in capitals, or one that nobody writes by chance, is a level.
fn is_shouted(word: &str) -> bool {
    word.bytes().all(|byte| byte.is_ascii_uppercase())
        || ["error", "panic", "fatal", "critical", "warning"].contains(&word)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[track_caller]
    fn check(severity: (&str, i32), labels: &str, line: &str, want: Option<&str>) {
        assert_eq!(of_record(severity, [Says::of(labels)], line), want, "{labels} {line}");
    }

    #[test]
    fn what_the_record_says_comes_first() {
        check(("WARNING", 9), "{}", "ERROR", Some("warn"));
        check(("", 17), "{}", "INFO", Some("error"));
        check(("", 17), r#"{"level":"debug"}"#, "INFO", Some("error"));
    }

    #[test]
    fn lines_say_it_themselves() {
        for (line, want) in [
            ("[2026-08-21 10:11:12,345][ fence][   INFO] Signed URL", "info"),
            ("2026/08/21 10:11:12 response.go:81: ERROR: could not", "error"),
            (r#"{"level":"debug","msg":"an ERROR is no error"}"#, "debug"),
            (r#"{"severity_text": "warn", "x": 1}"#, "warn"),
            ("ts=1 level=warn msg=x", "warn"),
            ("GET /info 200", "unknown"),
            ("caf\u{e9} ERROR", "error"),
            ("", "unknown"),
        ] {
            check(("", 0), "{}", line, Some(want));
        }
    }

    #[test]
    fn no_word_of_a_level_and_no_name_is_passed_over() {
        let words = [
            "trace",
            "trc",
            "debug",
            "dbg",
            "info",
            "inf",
            "information",
            "notice",
            "warn",
            "wrn",
            "warning",
            "error",
            "err",
            "eror",
            "critical",
            "crit",
            "emerg",
            "alert",
            "fatal",
            "panic",
        ];
        for word in words {
            let level = of_word(word).unwrap();
            assert_eq!(of_line(&format!("x {} y", word.to_uppercase())), Some(level), "{word}");
            for name in NAMES {
                assert_eq!(of_line(&format!("{name}={word}")), Some(level), "{name}={word}");
            }
        }
        let first_two = |word: &str| [word.as_bytes()[0], word.as_bytes()[1]];
        let begun: BTreeSet<[u8; 2]> = words.iter().chain(&NAMES).map(|w| first_two(w)).collect();
        let begun: BTreeSet<_> =
            begun.iter().map(|two| two.map(|b| b.to_ascii_lowercase())).collect();
        assert_eq!(begun, BEGINNINGS.iter().map(|two| **two).collect());
    }

    #[test]
    fn what_labels_may_say_is_left_open() {
        for labels in [
            r#"{"level":"x"}"#,
            r#"{"log.level":"x"}"#,
            r#"{"a":{"lvl":1}}"#,
            r#"{"SeverityText":"x"}"#,
        ] {
            check(("", 0), labels, "ERROR", None);
            check(("odd", 0), labels, "ERROR", None);
        }
        for name in NAMES {
            assert_eq!(Says::of(&format!("{{\"{name}\":1}}")), Says::Perhaps, "{name}");
        }
        check(("INFO", 9), r#"{"detected_level":"error"}"#, "x", None);
        for labels in [r#"{"pod":"fence-1"}"#, r#"{"v":"lv","detected":"V","severit":1}v"#] {
            check(("", 0), labels, "ERROR", Some("error"));
        }
    }
}
