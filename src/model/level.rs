//! The levels of log records: eight names, as Loki has them, and the words and numbers that mean them.

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
